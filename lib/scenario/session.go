package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/slo"
)

// DefaultThink is the time between two steps of a session.
const DefaultThink = time.Second

// Limits on what is sent. Steps count as requests.
const (
	maxRequests = 100
	maxSteps    = 50
)

// The texts of captures.
var (
	captureName = text{
		what: "a name for a captured value", pattern: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`),
		hint: "a letter, then letters, digits and _, so that {{.Captured.NAME}} can say it",
	}
	capturePath = text{
		what: "a path into JSON", pattern: regexp.MustCompile(`^\$`), hint: "a path into JSON, such as $.order.id or $.items[0].id",
		fix: func(path string) string {
			if capturable.MatchString(path) {
				return "$." + strings.TrimLeft(path, ".")
			}
			return ""
		},
	}
	capturable = regexp.MustCompile(`^\.?[A-Za-z_][A-Za-z0-9_.\[\]-]*$`)
	match      = text{what: "a regular expression", pattern: nonEmpty, hint: `a regular expression of at most one group, such as 'id=(\d+)'`}
)

// A requestForm is an item of `requests`: a request or a session. A mapping with steps is a session.
type requestForm struct {
	request either
	session *keys
}

func (f requestForm) String() string { return f.request.String() }

func (f requestForm) schema() object {
	return object{"anyOf": []object{f.request.short.schema(), f.request.long.schema(), f.session.schema()}}
}

func (f requestForm) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind == yaml.MappingNode && f.steps(n) {
		return f.session.read(r, n)
	}
	return f.request.read(r, n)
}

// steps reports whether a mapping has steps, be they misspelt.
func (f requestForm) steps(n *yaml.Node) bool {
	all := append(f.request.long.names(), f.session.names()...)
	for i := 0; i < len(n.Content); i += 2 {
		word := deref(n.Content[i]).Value
		if _, known := f.request.long.find(word); word == "steps" || !known && slo.Nearest(word, all) == "steps" {
			return true
		}
	}
	return false
}

func sessionKeys() *keys {
	belong := map[string]string{
		"headers": "headers in each step", "body": "body in a step", "json": "json in a step", "expect": "expect in each step", "capture": "capture in a step",
	}
	for _, m := range methods {
		belong[m] = "a request in the list of steps"
	}
	return &keys{
		name: "a session", item: true, brief: "{name: order, steps: [GET /cart, POST /orders]}", belong: belong,
		list: []key{
			{name: "name", doc: "for plan and messages; objectives and reports name its steps", def: "session-n, n from 1", form: text{what: "a name", pattern: nonEmpty}},
			{name: "weight", doc: "how often one begins, against the other requests and sessions", def: "1", form: number{"a number above 0", 1e6}},
			{name: "think", doc: "between the due times of two steps, on average", def: "1s", form: duration{0, time.Hour}},
			{name: "steps", doc: "a client's requests in order; it keeps its cookies", required: true, form: many{
				of: either{requestLine, requestKeys(true)}, what: "a list of requests, such as [GET /cart, POST /orders]", min: 1, max: maxSteps,
			}},
		},
	}
}

// captureForm is what `capture` of a step says.
func captureForm() form {
	return table{
		what: "values by name, such as {id: $.order.id}", names: captureName, min: 1, max: 20,
		of: either{capturePath, &keys{
			name: "a captured value", brief: `{header: Location, match: "[0-9]+$"}`, needs: []string{"json", "header", "match"}, list: []key{
				{name: "json", doc: "where it stands in a body of JSON", form: capturePath},
				{name: "header", doc: "the header that it stands in", form: header},
				{name: "match", doc: "a regular expression: its group, or all that it matches; of the body, if nothing else is said", form: match},
			},
		}},
	}
}

// A scope is what the templates of one request may use beside what all may.
type scope struct {
	session  bool
	captured []string // by the steps before it
	unsure   bool     // a step before it could not be read, and may capture more
}

// session reads a client's steps. Those that cannot be read are left out.
func (b *builder) session(f *fields, n int) (load.Session, []sent) {
	s := load.Session{Name: f.text("name"), Weight: get(f, "weight", 1.0), Think: f.duration("think", DefaultThink)}
	if s.Name == "" {
		s.Name = fmt.Sprintf("session-%d", n)
	}
	in := scope{session: true}
	items := get[[]item](f, "steps", nil)
	in.unsure = len(items) < len(f.valueOf("steps").Content)
	var steps []sent
	for _, i := range items {
		one, ok := b.request(i, in)
		if fields, ok := i.v.(*fields); ok {
			one.Capture = b.captures(fields)
			in.unsure = in.unsure || fields.has("capture") && len(one.Capture) < len(fields.valueOf("capture").Content)/2
		}
		if ok {
			steps = append(steps, sent{one, i})
		}
		for _, c := range one.Capture {
			if !slices.Contains(in.captured, c.Name) {
				in.captured = append(in.captured, c.Name)
			}
		}
	}
	s.Steps = len(steps)
	return s, steps
}

// captures reads what a step captures. One that cannot work is kept for its name.
func (b *builder) captures(f *fields) []load.Capture {
	var all []load.Capture
	for _, i := range get[[]item](f, "capture", nil) {
		c := load.Capture{Name: i.key.Value}
		at := map[string]item{"json": i, "name": {node: i.key}}
		if long, ok := i.v.(*fields); ok {
			c.JSON, c.Header, c.Match = long.text("json"), long.text("header"), long.text("match")
			at = long.at
		} else {
			c.JSON, _ = i.v.(string)
		}
		all = append(all, c)
		bad, ok := errors.AsType[*load.CaptureError](c.Check())
		if !ok || at[bad.Field].node == nil { // what the form has refused, it has told of
			continue
		}
		want := map[string]string{"json": capturePath.hint, "match": match.hint}[bad.Field]
		if c.JSON != "" && c.Header != "" {
			b.wrong(at["json"].key, "%s", bad.Msg).expect("one of json and header")
			continue
		}
		b.wrongAt(b.src.within(at[bad.Field].node, bad.Offset, bad.Length), "%s", visible(bad.Msg)).expect("%s", want)
	}
	return all
}

// reached reports the sessions that nobody could finish before load ends.
func (b *builder) reached(s *Scenario, f *fields) {
	arm := s.Arms[0]
	p := load.Plan{
		Schedule: s.Load.Schedule,
		Ingress:  arm.Ingress.String(), Requests: s.Load.Requests, Sessions: s.Load.Sessions, Env: arm.Env, Seed: s.Seed,
	}
	_, err := p.Templates()
	u, ok := errors.AsType[*load.UnreachedError](err)
	if !ok {
		return
	}
	n := 0
	for _, i := range get[[]item](f, "requests", nil) {
		one, _ := i.v.(*fields)
		if !one.has("steps") {
			continue
		}
		if n == u.Session {
			b.wrong(b.head(one.valueOf("steps")), "load ends before a client is through: its last step comes %s after its first, and load with its warm-up lasts %s",
				short(u.Lasts.Round(time.Millisecond)), short(u.Load)).expect("a shorter think, fewer steps, a higher rate, or a longer load")
		}
		n++
	}
}

// captured checks what follows .Captured in a template.
func (in scope) check(names []string) *templateError {
	switch word := ".Captured"; {
	case !in.session:
		return &templateError{msg: ".Captured has a value in the steps of a session alone", word: word, want: "one of " + strings.Join(templateFields, ", ")}
	case len(names) == 0:
		return &templateError{msg: ".Captured alone is no value", word: word, want: "{{.Captured.NAME}}" + in.known()}
	case !slices.Contains(in.captured, names[0]) && in.unsure:
	case !slices.Contains(in.captured, names[0]):
		e := &templateError{msg: fmt.Sprintf("no step before this one captures %s", quote(names[0])), word: word + "." + names[0], want: "capture: {" + names[0] + ": $.path} in an earlier step"}
		for _, known := range in.captured {
			e.words = append(e.words, word+"."+known)
		}
		if len(in.captured) > 0 {
			e.want = "one of " + strings.Join(e.words, ", ") + "; or " + e.want
		}
		return e
	case len(names) > 1:
		return &templateError{msg: ".Captured has texts, and they have no fields", word: word, want: "{{.Captured." + names[0] + "}}"}
	}
	return nil
}

// known says which names there are.
func (in scope) known() string {
	if len(in.captured) == 0 {
		return ", with capture in an earlier step"
	}
	return ", NAME one of " + strings.Join(in.captured, ", ")
}
