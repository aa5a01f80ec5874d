package scenario

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

func (b *builder) objectives(s *Scenario, top *fields) {
	sound := len(b.errs) == 0 // else arms, faults or requests may be missing because they are wrong
	named := make(map[string]*yaml.Node)
	for _, i := range get[[]item](top, "objectives", nil) {
		o, at, ok := b.objective(i)
		if !ok {
			continue
		}
		c := checker{builder: b, s: s, at: at, sound: sound}
		o.Check = c.comparison(o.Check)
		if first := named[o.Name]; first != nil {
			b.wrong(at, "two objectives are named %s", quote(o.Name)).expect("another name; the first stands in line %d", first.Line)
		}
		named[o.Name] = at
		s.Objectives = append(s.Objectives, o)
	}
}

// objective makes one objective; the node is its comparison's.
func (b *builder) objective(i item) (slo.Objective, *yaml.Node, bool) {
	o := slo.Objective{Severity: slo.SeverityFail, Line: i.node.Line}
	at := i.node
	switch v := i.v.(type) {
	case slo.Comparison:
		o.Check = v
	case *fields:
		c, ok := v.at["check"].v.(slo.Comparison)
		if !ok {
			return o, at, false
		}
		o.Check, at = c, v.at["check"].node
		o.Name = v.text("name")
		if v.text("severity") == string(slo.SeverityWarn) {
			o.Severity = slo.SeverityWarn
		}
		if m, ok := v.at["margin"].v.(margin); ok {
			o.Margin = m.v
			b.margin(c, m, v.at["margin"].node)
		}
	default:
		return o, at, false
	}
	o.Text = strings.TrimRight(at.Value, " \n")
	if o.Name == "" {
		o.Name = o.Text
	}
	return o, at, true
}

// margin checks that a margin goes with what is compared.
func (b *builder) margin(c slo.Comparison, m margin, at *yaml.Node) {
	if len(slo.Metrics(c.L)) == 0 || len(slo.Metrics(c.R)) == 0 {
		b.wrong(at, "a margin needs a comparison between metrics").expect("metrics on both sides, or another limit in the comparison")
		return
	}
	switch u := slo.UnitOf(c.L); {
	case u == analysis.Number && m.percent:
		b.wrong(at, "%s of a count", at.Value).expect("a number, such as 5")
	case u == analysis.Ratio && !m.percent && m.v > 1:
		b.wrong(at, "%s is more than a ratio can be", at.Value).expect("points, such as 1%% or 0.01").Nearest = at.Value + "%"
	case (u == analysis.Seconds || u == analysis.PerSecond) && !m.percent && m.v > 1:
		b.wrong(at, "%s times the baseline", at.Value).expect("a share of the baseline's, such as 10%%").Nearest = at.Value + "%"
	}
}

// A checker checks one objective against the rest of the scenario.
type checker struct {
	*builder
	s     *Scenario
	at    *yaml.Node
	sound bool
}

// comparison checks each metric and names the fault of those that leave it to us.
func (c *checker) comparison(cmp slo.Comparison) slo.Comparison {
	errors := len(c.errs)
	cmp = cmp.Map(c.metric)
	if len(c.errs) == errors && c.sound {
		c.reachable(cmp)
		c.possible(cmp)
	}
	return cmp
}

// word is the place of a word of a metric, or of the whole metric.
func (c *checker) word(m slo.Metric, word string) place {
	if i := strings.Index(c.at.Value[m.Offset:], word); i >= 0 {
		return c.src.within(c.at, m.Offset+i, len(word))
	}
	return c.src.of(c.at)
}

func (c *checker) metric(m slo.Metric) slo.Metric {
	i := slices.IndexFunc(c.s.Arms, func(a Arm) bool { return a.Name == m.Arm })
	if i < 0 && !c.allArms {
		return m
	}
	if i < 0 {
		names := armNames(c.s)
		c.wrongAt(c.word(m, m.Arm), "no arm is named %q", m.Arm).near(m.Arm, names).expect("%s", list(names, "or"))
		return m
	}
	arm := c.s.Arms[i]
	if !c.sound {
		return m
	}
	if m.Ref.Request != "" {
		c.request(m)
	}
	spec, _ := analysis.SpecOf(m.Ref.Metric)
	switch searches := c.s.Load.Capacity != nil; {
	case spec.Search && !searches:
		c.wrongAt(c.word(m, m.Ref.Metric), "%s is what a search finds, and this load has a rate", m.Ref.Metric).
			expect("capacity in load, such as capacity: {while: \"p99 <= 100ms\", from: 50/s, to: 5000/s, hold: 10s}; or another metric")
		return m
	case !spec.Search && searches:
		c.wrongAt(c.word(m, m.Ref.Metric), "a search for capacity has no %s: each of its holds has a rate of its own", m.Ref.Metric).
			expect("capacity; or %s inside while; or rate and for in load", m.Ref.Metric)
		return m
	}
	if spec.OfFault {
		m = c.fault(m, arm)
	}
	if spec.OfWrite {
		c.ofWrites(m)
	}
	if m.Ref.Phase != analysis.Whole {
		c.phase(m, arm)
	}
	if (m.Ref.Metric == "floor" || m.Ref.Metric == "loss_over_floor") && arm.Health == nil {
		c.wrongAt(c.word(m, m.Ref.Metric), "%s needs to know what the balancer's health check is set to", m.Ref.Metric).
			expect("health_check in target, such as health_check: {interval: 500ms, timeout: 250ms, fails: 2}")
	}
	needs := map[string]struct{ header, key string }{
		"detection": {arm.Attempts, "attempts_header"}, "balance": {arm.NodeHeader, "node_header"},
		"rebalanced": {arm.NodeHeader, "node_header"}, "serving_nodes": {arm.NodeHeader, "node_header"},
	}
	if n, ok := needs[m.Ref.Metric]; ok && n.header == "" {
		c.wrongAt(c.word(m, m.Ref.Metric), "%s needs a header that the target does not name", m.Ref.Metric).
			expect("%s in target, such as %s: X-Node", n.key, n.key)
	}
	return m
}

func (c *checker) request(m slo.Metric) {
	var names []string
	for _, q := range c.s.Load.Requests {
		names = append(names, q.Name)
	}
	if !slices.Contains(names, m.Ref.Request) {
		c.wrongAt(c.word(m, strconv.Quote(m.Ref.Request)), "no request is named %s", quote(m.Ref.Request)).
			near(m.Ref.Request, names).expect("%s", list(quoted(names), "or"))
	}
}

func quoted(words []string) []string {
	var q []string
	for _, w := range words {
		q = append(q, quote(w))
	}
	return q
}

// faults are those of a trial of the arm.
func (c *checker) faults(arm Arm) []timed { return trialFaults(arm.Faults, c.kinds, c.s.Load.For()) }

// faultNames lists them for a message: of what one random fault draws only the ends.
func faultNames(of []timed, show func(string) string) string {
	var names []string
	for i, f := range of {
		first := f.of == "" || i == 0 || of[i-1].of != f.of
		last := f.of == "" || i == len(of)-1 || of[i+1].of != f.of
		switch {
		case first:
			names = append(names, show(f.name))
		case last:
			names[len(names)-1] += " … " + show(f.name)
		}
	}
	return list(names, "or")
}

// fault checks which fault a metric is about, and fills in the only one.
func (c *checker) fault(m slo.Metric, arm Arm) slo.Metric {
	all := c.faults(arm)
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.name
	}
	plain := func(name string) string { return name }
	random := slices.IndexFunc(all, func(f timed) bool { return f.of != "" && f.of == m.Ref.Fault })
	switch {
	case len(names) == 0:
		c.wrongAt(c.word(m, m.Ref.Metric), "arm %s has no fault, so there is no %s", arm.Name, m.Ref.Metric).
			expect("a metric without a fault, or a fault in that arm")
	case m.Ref.Fault == "" && len(names) > 1:
		c.wrongAt(c.word(m, m.Ref.Metric), "%s of which fault? arm %s has %d", m.Ref.Metric, arm.Name, len(names)).
			expect(`%s{fault="…"} with %s`, m.Ref.Metric, faultNames(all, plain))
	case m.Ref.Fault == "":
		m.Ref.Fault = names[0]
	case slices.Contains(names, m.Ref.Fault):
	case random >= 0:
		drawn := slices.DeleteFunc(slices.Clone(all), func(f timed) bool { return f.of != m.Ref.Fault })
		c.wrongAt(c.word(m, strconv.Quote(m.Ref.Fault)), "%s is a random fault, and %s is of one that it draws", m.Ref.Fault, m.Ref.Metric).
			expect("%s", faultNames(drawn, quote))
	default:
		c.wrongAt(c.word(m, strconv.Quote(m.Ref.Fault)), "arm %s has no fault named %s", arm.Name, quote(m.Ref.Fault)).
			near(m.Ref.Fault, names).expect("%s", faultNames(all, quote))
	}
	return m
}

// phase checks that the arm has the phase that a metric is asked of.
func (c *checker) phase(m slo.Metric, arm Arm) {
	phase := m.Ref.Phase
	at := c.word(m, string(phase)+".")
	at.length = len(phase)
	faults := c.faults(arm)
	if len(faults) == 0 {
		c.wrongAt(at, "arm %s has no fault, so there is no phase %s", arm.Name, phase).expect("%s.%s", arm.Name, m.Ref.Metric)
		return
	}
	for _, f := range faults {
		if phase == analysis.Before && !f.open && f.from <= c.s.Load.Timeout {
			c.wrongAt(at, "there is no phase before: it ends a timeout (%s) before fault %s, which comes at %s",
				short(c.s.Load.Timeout), f.name, short(f.from)).expect("a later fault, or a shorter timeout")
			return
		}
		if phase == analysis.After && f.to >= c.s.Load.For() {
			may := "is"
			if f.of != "" {
				may = "may be"
			}
			c.wrongAt(at, "there is no phase after: fault %s %s in force until measured load ends", f.name, may).
				expect("a fault whose \"for\" ends earlier")
			return
		}
	}
}

// possible refuses a limit on a ratio that lies outside 0…1: mostly a forgotten percent sign.
func (c *checker) possible(cmp slo.Comparison) {
	m, isMetric := cmp.L.(slo.Metric)
	limit, constant := slo.Constant(cmp.R)
	if !isMetric {
		m, isMetric = cmp.R.(slo.Metric)
		limit, constant = slo.Constant(cmp.L)
	}
	if !isMetric || !constant || slo.UnitOf(m) != analysis.Ratio || limit >= 0 && limit <= 1 {
		return
	}
	e := c.wrongAt(c.src.of(c.at), "%s lies between 0 and 1 (100%%), so that a limit of %v says nothing", m.Ref.Metric, limit)
	if limit >= 2 && limit <= 100 {
		e.expect("a share; did you mean %v%%?", limit)
		return
	}
	e.expect("a share, such as 99%%")
}

// reachable refuses a limit on recovery or failover that is beyond the time that is looked at: not
// recovering at all could never be told from meeting it.
func (c *checker) reachable(cmp slo.Comparison) {
	m, isMetric := cmp.L.(slo.Metric)
	limit, constant := slo.Constant(cmp.R)
	upper := cmp.Op[0] == '<'
	if !isMetric {
		m, isMetric = cmp.R.(slo.Metric)
		limit, constant = slo.Constant(cmp.L)
		upper = cmp.Op[0] == '>'
	}
	if !isMetric || !constant || !upper || m.Ref.Metric != "recovery" && m.Ref.Metric != "failover" {
		return
	}
	i := slices.IndexFunc(c.s.Arms, func(a Arm) bool { return a.Name == m.Arm })
	faults := c.faults(c.s.Arms[i])
	f := faults[slices.IndexFunc(faults, func(f timed) bool { return f.name == m.Ref.Fault })]
	end := c.s.Load.For()
	if m.Ref.Metric == "failover" && !f.open {
		end = f.to
	}
	hold := analysis.Hold(c.s.Load.Schedule)
	seen := end - hold - f.from
	if limit <= seen.Seconds() {
		return
	}
	what := "load end"
	if m.Ref.Metric == "failover" {
		what = "the fault's end"
	}
	if seen <= 0 {
		c.wrongAt(c.word(m, m.Ref.Metric), "%s cannot be seen: fault %s comes at %s, and a hold of %s does not fit before %s",
			m.Ref.Metric, f.name, short(f.from), short(hold), what).expect("an earlier fault, or more time after it")
		return
	}
	c.wrongAt(c.src.of(c.at), "this limit cannot be judged: fault %s leaves %s to look at (%s − %s of hold − %s)",
		f.name, short(seen), what, short(hold), short(f.from)).expect("at most %s, or more time after the fault", short(seen))
}
