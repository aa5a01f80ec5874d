package tutti

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
)

// againSuffix makes the name of the second one of two equal arms.
const againSuffix = "-again"

// vary changes a scenario before it is planned, or before what came of it is judged again.
func vary(s *scenario.Scenario, v *rundir.Variation, kinds fault.Kinds) error {
	switch {
	case v == nil:
		return nil
	case v.Kind == rundir.Again:
		return again(s)
	case v.Kind == rundir.Mutation:
		return mutate(s, v, kinds)
	}
	return fmt.Errorf("%s: the run is a variation of kind %q, which this program does not know", s.File, v.Kind)
}

// baselineArm is the arm that the others are compared with, or the only one.
func baselineArm(s *scenario.Scenario) scenario.Arm {
	i := slices.IndexFunc(s.Arms, func(a scenario.Arm) bool { return a.Name == s.Baseline })
	return s.Arms[max(i, 0)]
}

// again makes two equal arms of the baseline. What is compared between arms is compared between these, under the same margin, where
// both sides say the same of their arms; of everything else that objectives measure the two are held against each other
// without a say.
func again(s *scenario.Scenario) error {
	one := baselineArm(s)
	two := one
	two.Name += againSuffix
	s.Arms, s.Baseline, s.Sweep = []scenario.Arm{one, two}, one.Name, nil
	known := func(m slo.Metric) bool { return measures(one, s, m.Ref) }
	var objectives []slo.Objective
	// Of several that become the same the strictest one that gates counts: whatever is wider holds where it does.
	add := func(o slo.Objective) {
		o.Text = o.Check.String()
		gates := o.Severity != slo.SeverityWarn
		switch k := slices.IndexFunc(objectives, func(was slo.Objective) bool { return was.Text == o.Text }); {
		case k < 0:
			objectives = append(objectives, o)
		case gates && (objectives[k].Severity == slo.SeverityWarn || o.Margin < objectives[k].Margin):
			objectives[k] = o
		}
	}
	for _, o := range s.Objectives {
		if expr, ok := equalSides(o.Check); ok && !slices.ContainsFunc(slo.Metrics(expr), func(m slo.Metric) bool { return !known(m) }) {
			o.Check = apart(expr, o.Check.Op, one.Name)
			o.Name = o.Check.String()
			add(o)
		}
	}
	for _, m := range worthKnowing(s) {
		if known(m) {
			spec, _ := analysis.SpecOf(m.Ref.Metric)
			check := apart(m, map[bool]string{false: "<=", true: ">="}[spec.Higher], one.Name)
			add(slo.Objective{Name: check.String(), Check: check, Severity: slo.SeverityWarn})
		}
	}
	s.Objectives = objectives
	return nil
}

// equalSides returns what a comparison measures on both sides alike, without arms.
func equalSides(c slo.Comparison) (slo.Expr, bool) {
	if c.L == nil || c.R == nil || len(slo.Metrics(c.L)) == 0 || c.Op == "==" || c.Op == "!=" || len(c.Arms()) < 2 {
		return nil, false
	}
	bare := c.Map(func(m slo.Metric) slo.Metric { m.Arm, m.Offset = "", 0; return m })
	return bare.L, slo.Text(bare.L) == slo.Text(bare.R)
}

// apart holds a measure of the second one of two equal arms against that of the first.
func apart(e slo.Expr, op, arm string) slo.Comparison {
	c := slo.Comparison{L: e, Op: op, R: e}
	left := c.Map(func(m slo.Metric) slo.Metric { m.Arm = arm + againSuffix; return m })
	right := c.Map(func(m slo.Metric) slo.Metric { m.Arm = arm; return m })
	return slo.Comparison{L: left.L, Op: op, R: right.R}
}

// worthKnowing are the metrics that objectives are about, and those that everybody looks at, without arms.
func worthKnowing(s *scenario.Scenario) []slo.Metric {
	var all []slo.Metric
	for _, o := range s.Objectives {
		for _, m := range o.Check.Metrics() {
			m.Arm = ""
			all = append(all, m)
		}
	}
	if s.Load.Capacity != nil {
		return append(all, slo.Metric{Ref: analysis.Ref{Metric: "capacity"}})
	}
	for _, name := range []string{"availability", "ok_p50", "ok_p99"} {
		all = append(all, slo.Metric{Ref: analysis.Ref{Metric: name}})
	}
	return all
}

// measures reports whether a trial of an arm has a metric, as far as its faults say so.
func measures(a scenario.Arm, s *scenario.Scenario, r analysis.Ref) bool {
	if r.Phase != analysis.Whole && len(a.Faults) == 0 {
		return false
	}
	return r.Fault == "" || slices.Contains(faultNames(a, s.Load.For()), r.Fault)
}

// armExperiment are the parts of an experiment that are about one arm, or about all.
func armExperiment(s *scenario.Scenario, arm scenario.Arm) map[string]string {
	of := *s
	of.Arms, of.Baseline = []scenario.Arm{arm}, ""
	parts := experiment(&of)
	maps.DeleteFunc(parts, func(k, _ string) bool { return k == "baseline" })
	return parts
}
