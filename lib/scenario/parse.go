package scenario

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
)

// Defaults of the format.
const (
	DefaultArm     = "target" // the only arm, where the file has none
	DefaultRepeats = 6
	DefaultSeed    = 1
	DefaultWarmup  = 5 * time.Second
	DefaultTimeout = 5 * time.Second
	DefaultWithin  = 60 * time.Second
)

// Parse reads a scenario file. It looks at nothing but src; file is its name in messages, and kinds
// are the verbs that this program has. The error is [Errors]: everything found wrong, in the order
// of the file.
func Parse(file string, src []byte, kinds fault.Kinds) (*Scenario, error) {
	r := &reader{file: file, src: newSource(trimBOM(src)), keyOf: make(map[*yaml.Node]*yaml.Node)}
	b := builder{reader: r, kinds: kinds}
	s := &Scenario{File: file, Source: src}
	if doc := r.document(src); doc != nil {
		if top, ok := vocabulary(kinds).read(r, doc); ok {
			b.scenario(s, top.(*fields))
		}
	}
	if len(r.errs) == 0 {
		return s, nil
	}
	sort.SliceStable(r.errs, func(i, j int) bool {
		a, b := r.errs[i], r.errs[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	if more := len(r.errs) - maxErrors; more > 1 {
		r.errs = r.errs[:maxErrors+1]
		last := r.errs[maxErrors]
		last.Msg, last.Nearest, last.Expected = fmt.Sprintf("%d more errors from here on", more), "", ""
	}
	return nil, r.errs
}

func trimBOM(src []byte) []byte {
	if s, ok := strings.CutPrefix(string(src), "\xef\xbb\xbf"); ok {
		return []byte(s)
	}
	return src
}

// A builder makes a scenario of what was read. It goes on after errors, so that one run
// tells of all of them; what could not be read is left at its default.
type builder struct {
	*reader
	kinds fault.Kinds
	// allArms is false if an arm could not be read, so that nobody can say that one does not exist.
	allArms bool
}

func (b *builder) scenario(s *Scenario, top *fields) {
	s.Name = top.text("name")
	s.Hypothesis = strings.TrimSpace(top.text("hypothesis"))
	repeats := get(top, "repeats", extension{least: DefaultRepeats})
	s.Repeats, s.Most = repeats.least, repeats.most
	s.Seed = get(top, "seed", int64(DefaultSeed))
	s.Engine = top.text("engine")
	load := get[*fields](top, "load", nil)
	if load != nil {
		s.Load = b.load(load)
	}
	b.arms(s, top)
	b.encrypted(s, load)
	b.baseline(s, top)
	b.verify(s, top)
	b.ofUsers(s, top, load)
	b.searched(s, load, get[*fields](top, "target", nil).text("node_header"))
	b.objectives(s, top)
	b.mutations(s, top)
	if len(b.errs) == 0 {
		b.fillIn(s, load)
		b.fillInReads(s, top)
	}
}

// inherit fills in what a target or an arm says, over what is there already.
func (b *builder) inherit(arm *Arm, f *fields) {
	if f == nil {
		return
	}
	for _, i := range get[[]item](f, "compose", nil) {
		arm.Compose = append(arm.Compose, i.v.(string))
	}
	for _, i := range get[[]item](f, "profiles", nil) {
		arm.Profiles = append(arm.Profiles, i.v.(string))
	}
	for _, i := range get[[]item](f, "env", nil) {
		arm.Env[i.key.Value] = i.v.(string)
	}
	if f.text("ingress") != "" {
		if u := b.ingress(f.at["ingress"]); u != nil {
			arm.Ingress = u
		}
	}
	if r := get[*fields](f, "ready", nil); r != nil {
		arm.Ready = Ready{Path: r.text("path"), Within: r.duration("within", DefaultWithin)}
	}
	if n := f.text("nodes"); n != "" {
		arm.Nodes = n
	}
}

func (b *builder) arms(s *Scenario, top *fields) {
	errors := len(b.errs)
	target := get[*fields](top, "target", nil)
	base := Arm{Env: make(map[string]string), Ready: Ready{Within: DefaultWithin}}
	b.inherit(&base, target)
	if target != nil {
		base.NodeHeader, base.Attempts = target.text("node_header"), target.text("attempts_header")
		if h := get[*fields](target, "health_check", nil); h != nil {
			base.Health = &HealthCheck{Interval: h.duration("interval", 0), Timeout: h.duration("timeout", 0), Fails: int(get(h, "fails", int64(0)))}
		}
	}
	base.Faults = b.faults(get[[]item](top, "faults", nil), s.Load, base.NodeHeader)
	arms := get[[]item](top, "arms", nil)
	b.allArms = !top.has("arms") || len(arms) == len(top.valueOf("arms").Content)/2
	switch {
	case top.has("arms") && top.has("sweep"):
		b.wrong(top.at["sweep"].key, "a sweep makes the arms, and here are arms too").expect("sweep or arms")
	case top.has("sweep"):
		b.sweep(s, base, get[*fields](top, "sweep", nil))
		b.allArms = s.Sweep != nil && len(s.Sweep.Scale) > 0 && len(b.errs) == errors
	case !top.has("arms"):
		base.Name, base.Scale = DefaultArm, map[string]int{}
		if target != nil {
			base.Line = b.head(target.node).Line
		}
		s.Arms = []Arm{base}
	}
	for _, i := range arms {
		s.Arms = append(s.Arms, b.arm(base, i, s.Load))
	}
	for i, arm := range s.Arms {
		if target == nil || len(b.errs) > errors {
			return
		}
		at := b.head(target.node)
		if i < len(arms) {
			at = arms[i].key
		}
		for _, need := range []struct {
			name string
			ok   bool
			want form
		}{{"compose", len(arm.Compose) > 0, text{what: "the path of a Compose file"}}, {"ingress", arm.Ingress != nil, ingress}} {
			if !need.ok && !target.has(need.name) {
				b.wrong(at, "neither target nor arm %s says %q", arm.Name, need.name).expect("%s: %s", need.name, need.want)
			}
		}
	}
}

func (b *builder) arm(base Arm, i item, load Load) Arm {
	arm := base
	arm.Name, arm.Line = i.key.Value, i.key.Line
	arm.Compose, arm.Profiles, arm.Env = slices.Clone(base.Compose), slices.Clone(base.Profiles), maps.Clone(base.Env)
	arm.Scale = make(map[string]int)
	if _, metric := analysis.SpecOf(arm.Name); metric || slices.Contains(analysis.Later(), arm.Name) {
		b.wrong(i.key, "%q is a metric, and no name for an arm", arm.Name).expect("another name, so that objectives can be read")
	}
	if slices.Contains(analysis.Phases(), analysis.Phase(arm.Name)) {
		b.wrong(i.key, "%q is a phase, and no name for an arm", arm.Name).expect("another name, so that objectives can be read")
	}
	f, _ := i.v.(*fields)
	b.inherit(&arm, f)
	for _, s := range get[[]item](f, "scale", nil) {
		arm.Scale[s.key.Value] = int(s.v.(int64))
	}
	if f.has("faults") {
		arm.Faults = b.faults(get[[]item](f, "faults", nil), load, base.NodeHeader)
	}
	return arm
}

func (b *builder) baseline(s *Scenario, top *fields) {
	s.Baseline = top.text("baseline")
	if !top.has("baseline") {
		s.Baseline = s.smallest()
	}
	names := armNames(s)
	switch {
	case s.Baseline != "" && b.allArms && !slices.Contains(names, s.Baseline):
		b.wrong(top.valueOf("baseline"), "no arm is named %q", s.Baseline).near(s.Baseline, names).expect("%s", list(names, "or"))
	case len(names) > 1 && s.Baseline == "" && !top.has("baseline"):
		b.wrong(b.head(top.valueOf("arms")), "of %d arms, none is the baseline", len(names)).
			expect("baseline: %s at the top level", list(names, "or"))
	}
}

func armNames(s *Scenario) []string {
	names := make([]string, len(s.Arms))
	for i, a := range s.Arms {
		names[i] = a.Name
	}
	return names
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

func (b *builder) ingress(i item) *url.URL {
	text := i.v.(string)
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" {
		e := b.wrong(i.node, "%s is no address", quote(text)).expect("%s", ingress)
		if hostAndPort.MatchString(text) {
			e.Nearest = "http://" + text
		}
		return nil
	}
	port, err := strconv.Atoi(u.Port())
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		b.wrong(i.node, "%s is not spoken here", quote(u.Scheme)).near(u.Scheme, []string{"http", "https"}).expect("%s", ingress)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		b.wrong(i.node, "%s is more than an address", quote(text)).expect("%s; paths stand in the requests", ingress)
	case !hostPattern.MatchString(u.Hostname()):
		b.wrong(i.node, "%s is no host's name", quote(u.Hostname())).expect("%s", ingress)
	case u.Port() != "" && (err != nil || port < 1 || port > 65535):
		b.wrong(i.node, "%s is no port", quote(u.Port())).expect("a port from 1 to 65535")
	default:
		u.Path = ""
		return u
	}
	return nil
}

var hostAndPort = regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]+)?$`)
