package scenario

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
)

// sweepKeys are the keys of a sweep.
func sweepKeys() *keys {
	return &keys{name: "sweep", brief: "a mapping, such as {service: app, scale: [1, 2, 3]}", list: []key{
		{name: "service", doc: "the service whose replicas are varied", required: true, form: service},
		{name: "scale", doc: "how many replicas, an arm for each", required: true, form: many{
			of: integer{what: "a whole number", min: 1, max: 1000}, what: "a list of numbers, such as [1, 2, 3]", min: 1, max: 50,
		}},
	}}
}

// capacityKeys are the keys of a search for the highest rate.
func capacityKeys() *keys {
	return &keys{name: "capacity", brief: `a mapping, such as {while: "p99 <= 100ms", from: 50/s, to: 5000/s, hold: 10s}`, list: []key{
		{name: "while", doc: "what a hold must meet", required: true, form: condition{}},
		{name: "from", doc: "the lowest rate, which is tried first", required: true, form: rate{1e6}},
		{name: "to", doc: "the highest rate that is tried", required: true, form: rate{1e6}},
		{name: "hold", doc: "how long each rate is held", required: true, form: duration{time.Second, time.Hour}},
	}}
}

// sweep makes an arm of each scale.
func (b *builder) sweep(s *Scenario, base Arm, f *fields) {
	if f == nil {
		return
	}
	name := f.text("service")
	if name == "" {
		return
	}
	if !namePattern.MatchString(name) {
		b.wrong(f.at["service"].node, "%s makes no name for an arm", quote(name)).expect("arms, one for each scale, with names of their own")
		return
	}
	s.Sweep = &Sweep{Service: name}
	first := make(map[int]*yaml.Node)
	for _, i := range get[[]item](f, "scale", nil) {
		n := int(i.v.(int64))
		if at := first[n]; at != nil {
			b.wrong(i.node, "scale %d stands here twice", n).expect("each scale once")
			continue
		}
		first[n] = i.node
		arm := base
		arm.Name, arm.Line = fmt.Sprintf("%s-%d", name, n), i.node.Line
		arm.Compose, arm.Profiles, arm.Env = slices.Clone(base.Compose), slices.Clone(base.Profiles), maps.Clone(base.Env)
		arm.Scale = map[string]int{name: n}
		s.Arms = append(s.Arms, arm)
		s.Sweep.Scale = append(s.Sweep.Scale, n)
	}
}

// smallest is the arm of a sweep's smallest scale.
func (s *Scenario) smallest() string {
	if s.Sweep == nil || len(s.Sweep.Scale) == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d", s.Sweep.Service, slices.Min(s.Sweep.Scale))
}

// search reads the search for the highest rate.
func (b *builder) search(f *fields) *Capacity {
	c := get[*fields](f, "capacity", nil)
	if c == nil {
		return nil
	}
	if f.has("for") {
		b.wrong(f.at["for"].key, "a search lasts as long as it takes: it has no \"for\"").expect("hold inside capacity, how long each rate is held")
	}
	out := &Capacity{From: get(c, "from", 0.0), To: get(c, "to", 0.0), Hold: c.duration("hold", 0)}
	out.While, _ = c.at["while"].v.(slo.Condition)
	switch {
	case out.From > 0 && out.To > 0 && out.To < out.From:
		b.wrong(c.at["to"].node, "%s is below \"from\"", c.at["to"].node.Value).expect("a rate of at least %s", c.at["from"].node.Value)
	case out.From > 0 && out.Hold > 0 && out.From*out.Hold.Seconds() < 20:
		b.wrong(c.at["hold"].node, "at %s it has %.3g requests, from which nothing can be told", c.at["from"].node.Value, out.From*out.Hold.Seconds()).
			expect("20 requests at least: a longer hold, or a higher \"from\"")
	case f.text("arrivals") == string(schedule.Poisson) && out.To > 0 && out.Hold > 0:
		hold := schedule.Constant(out.To, f.duration("warmup", DefaultWarmup), out.Hold)
		if n := hold.Count(); n > schedule.MaxPoisson {
			b.wrong(f.at["arrivals"].node, "a hold of %d requests cannot be drawn", n).expect("at most %d requests with poisson arrivals at the highest rate, or arrivals: uniform", schedule.MaxPoisson)
		}
	}
	return out
}

// searched checks what `while` measures, and that nothing is broken meanwhile.
func (b *builder) searched(s *Scenario, load *fields, header string) {
	if s.Load.Capacity == nil {
		return
	}
	c := get[*fields](load, "capacity", nil)
	b.condition(c, "while", s.Load.Requests, header, s.Load.Capacity.Hold, "a hold")
	if len(s.Verify) > 0 {
		e := b.wrong(load.at["capacity"].key, "a search for capacity sends more than its target stores, on purpose, and verify says what an ordinary load left behind")
		e.expect("rate and for, or no verify")
		return
	}
	for _, a := range s.Arms {
		if len(a.Faults) > 0 {
			e := b.wrong(load.at["capacity"].key, "arm %s has faults, and a search for capacity needs a target that nothing breaks", a.Name)
			e.expect("rate and for, or no faults")
			return
		}
	}
}
