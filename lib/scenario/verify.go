package scenario

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/slo"
)

// verify reads what is read back after the load.
func (b *builder) verify(s *Scenario, top *fields) {
	if s.Load.Agents > 1 && top.has("verify") {
		b.wrong(b.head(top.valueOf("verify")), "what %d agents wrote cannot be read back: each knows of its own requests alone", s.Load.Agents).expect("load without agents, or no verify")
	}
	sound := len(b.errs) == 0 // else requests may be missing because they are wrong
	seen := make(map[string]*yaml.Node)
	for _, i := range get[[]item](top, "verify", nil) {
		f, ok := i.v.(*fields)
		if !ok || !f.has("of") || !f.has("read") || f.chosen["comparison"] == "" {
			continue
		}
		read, ok := b.read(f.at["read"])
		if !ok {
			continue
		}
		v := Verify{Line: i.node.Line, Verify: load.Verify{
			Of: f.text("of"), Read: read, Within: f.duration("within", DefaultWithin), Whole: f.chosen["comparison"] == "body",
		}}
		want := f.at[f.chosen["comparison"]]
		v.Want, _ = want.v.(string)
		b.wanted(want, v.Want)
		of := f.at["of"].node
		if first := seen[v.Of]; first != nil {
			b.wrong(of, "%s is read back twice", quote(v.Of)).expect("each request once; the first stands in line %d", first.Line)
			continue
		}
		seen[v.Of] = of
		if sound {
			b.written(s, of, v.Of)
		}
		s.Verify = append(s.Verify, v)
	}
}

// read is how something is read back: a request line, or a request without what only load has.
func (b *builder) read(at item) (load.Request, bool) { return b.request(at, scope{}) }

// wanted checks what the answer must hold.
func (b *builder) wanted(at item, want string) {
	if strings.TrimSpace(want) == "" {
		b.wrong(at.node, "%s is empty, so that every answer would do", at.key.Value).expect(`what was written, such as %s: "{{.Value}}"`, at.key.Value)
		return
	}
	if b.template(at.node, 0, want, scope{}) && !strings.Contains(want, "{{") {
		b.wrong(at.node, "%s is the same for every write, so that one would do for all", at.key.Value).expect(`what was written, such as %s: "{{.Value}}"`, at.key.Value)
	}
}

// written checks that there is such a request, and that it writes.
func (b *builder) written(s *Scenario, at *yaml.Node, name string) {
	var names []string
	for _, q := range s.Load.Requests {
		names = append(names, q.Name)
		if q.Name != name {
			continue
		}
		if slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, q.Method) {
			b.wrong(at, "%s is a %s, which writes nothing", quote(name), q.Method).expect("a request that writes, such as a PUT")
		}
		return
	}
	b.wrong(at, "no request is named %s", quote(name)).near(name, names).expect("%s", list(quoted(names), "or"))
}

// fillInReads fills every read in once for every arm, so that a template that cannot work is an error here and not after the load.
func (b *builder) fillInReads(s *Scenario, top *fields) {
	items := get[[]item](top, "verify", nil)
	for i, v := range s.Verify {
		for _, arm := range s.Arms {
			p := load.Plan{Ingress: arm.Ingress.String(), Env: arm.Env, Seed: s.Seed, Keys: s.Load.Keys, Verify: []load.Verify{v.Verify}}
			if _, err := p.Readbacks(); err != nil {
				b.wrong(items[i].node, "arm %s cannot be read so: %s", arm.Name, visible(executing.ReplaceAllString(err.Error(), ""))).
					expect("values that are there; .Env has what env in the target and in the arm says")
				break
			}
		}
	}
}

// ofWrites checks a metric of what is read back.
func (c *checker) ofWrites(m slo.Metric) {
	var names []string
	for _, v := range c.s.Verify {
		names = append(names, v.Of)
	}
	switch {
	case len(names) == 0:
		c.wrongAt(c.word(m, m.Ref.Metric), "%s needs writes that are read back", m.Ref.Metric).
			expect("verify at the top level, such as verify: [{of: write, read: \"GET /kv/{{.Key}}\", contains: \"{{.Value}}\"}]")
	case m.Ref.Request != "" && !slices.Contains(names, m.Ref.Request):
		c.wrongAt(c.word(m, fmt.Sprintf("%q", m.Ref.Request)), "writes of %s are not read back", quote(m.Ref.Request)).
			near(m.Ref.Request, names).expect("%s, or an item of verify for it", list(quoted(names), "or"))
	default:
		c.ofKeys(m)
	}
}

// ofKeys checks a metric of keys that several writes share: the load must read them as verify does.
func (c *checker) ofKeys(m slo.Metric) {
	if spec, _ := analysis.SpecOf(m.Ref.Metric); !spec.OfKeys {
		return
	}
	if c.s.Load.Keys == 0 {
		c.wrongAt(c.word(m, m.Ref.Metric), "%s needs keys that several writes share", m.Ref.Metric).expect("keys in load, such as keys: 100")
		return
	}
	p := load.Plan{Keys: c.s.Load.Keys, Requests: c.s.Load.Requests}
	for _, v := range c.s.Verify {
		if (m.Ref.Request == "" || m.Ref.Request == v.Of) && p.Judged(v.Verify) < 0 {
			c.wrongAt(c.word(m, m.Ref.Metric), "%s needs a request that reads what %s writes", m.Ref.Metric, quote(v.Of)).
				expect("%s %s among the requests, as verify reads it", v.Read.Method, v.Read.Path)
			return
		}
	}
}
