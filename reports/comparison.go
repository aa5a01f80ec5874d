package reports

import (
	"fmt"
	"math"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A pairing is a metric of two arms.
type pairing struct {
	phase  analysis.Phase
	metric string
}

// A compared is a metric of the subject held against the baseline's, within blocks.
type compared struct {
	value rundir.Value
	form  slo.Form
	words string // instead of a number, where failures leave none
}

// phaseMetrics are the rows of the phase table.
var phaseMetrics = []string{"availability", "goodput", "p50", "p95", "p99", "ok_p99"}

// compare holds the subject against the baseline in every row of the phase table. It asks
// the judge of objectives itself, so that a number here and one there cannot differ.
func (s *sheet) compare() map[pairing]compared {
	out := make(map[pairing]compared)
	if s.subject == nil || s.baseline == nil || s.subject == s.baseline {
		return out
	}
	blocks := make(map[int]map[string]*analysis.Trial)
	s.each(func(t rundir.Trial, a *analysis.Trial) {
		if a == nil || !t.Counted || t.Arm != s.subject.Name && t.Arm != s.baseline.Name {
			return
		}
		if blocks[t.Block] == nil {
			blocks[t.Block] = make(map[string]*analysis.Trial)
		}
		blocks[t.Block][t.Arm] = a
	})
	for n, b := range blocks {
		if len(b) < 2 {
			delete(blocks, n)
		}
	}
	if len(blocks) == 0 {
		return out
	}
	var asked []pairing
	var objectives []slo.Objective
	for _, p := range append(analysis.Phases(), analysis.Whole) {
		for _, m := range phaseMetrics {
			metric := func(a *arm) slo.Metric {
				return slo.Metric{Arm: a.Name, Ref: analysis.Ref{Metric: m, Phase: p}}
			}
			asked = append(asked, pairing{p, m})
			objectives = append(objectives, slo.Objective{Check: slo.Comparison{L: metric(s.subject), Op: "<=", R: metric(s.baseline)}})
		}
	}
	verdict := slo.Judge(slo.Input{Objectives: objectives, Blocks: blocks, Repeats: len(blocks)})
	for i, f := range verdict.Findings {
		c := compared{value: valueOf(f.Estimate), form: f.Form}
		if ref := (analysis.Ref{Metric: asked[i].metric, Phase: asked[i].phase}); c.value.State != analysis.OK || s.never(blocks, ref) {
			c.words = s.inWords(blocks, ref)
		}
		out[asked[i]] = c
	}
	return out
}

// valueOf makes a value of an estimate; what is not finite is left out.
func valueOf(e slo.Estimate) rundir.Value {
	keep := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	v := rundir.Value{Unit: e.Unit, State: e.State, N: e.N, Note: e.Note}
	if e.State == analysis.OK {
		v.Value = keep(e.Value)
	}
	if e.HasInterval {
		v.Low, v.High = keep(e.Low), keep(e.High)
	}
	return v
}

// never tells whether the metric of either arm did not come in some block: a factor of
// nothing is no number.
func (s *sheet) never(blocks map[int]map[string]*analysis.Trial, ref analysis.Ref) bool {
	for _, b := range blocks {
		for _, t := range b {
			if v := t.Metric(ref); has(v) && v.State != analysis.OK {
				return true
			}
		}
	}
	return false
}

// inWords compares where a value that never came leaves no number.
func (s *sheet) inWords(blocks map[int]map[string]*analysis.Trial, ref analysis.Ref) string {
	lower, higher, never, same, n := 0, 0, 0, 0, 0
	for _, b := range blocks {
		l, r := b[s.subject.Name].Metric(ref), b[s.baseline.Name].Metric(ref)
		if !has(l) || !has(r) {
			continue
		}
		n++
		switch x, y := height(l), height(r); {
		case math.IsInf(x, 1) && math.IsInf(y, 1):
			never++
		case x < y:
			lower++
		case x > y:
			higher++
		default:
			same++
		}
	}
	switch {
	case n == 0:
		return ""
	case never == n:
		return "never in both"
	case same == n:
		return "no difference"
	case lower >= higher:
		return fmt.Sprintf("lower in %d of %s", lower, plural(n, "block", "blocks"))
	}
	return fmt.Sprintf("higher in %d of %s", higher, plural(n, "block", "blocks"))
}

func has(v analysis.Value) bool { return v.State != analysis.NoData && v.State != "" }

// height orders values; never and censored are above all times.
func height(v analysis.Value) float64 {
	if v.State == analysis.OK {
		return v.V
	}
	return math.Inf(1)
}

// comparison is the subject over, or less, the baseline, as the run's own objective has it if there is one.
func (s *sheet) comparison(phase analysis.Phase, metric string) compared {
	if o, ok := s.priceObjective(); ok && phase == s.pricePhase() && metric == "p50" {
		return compared{value: o.Value, form: o.Form}
	}
	if c, ok := s.pairs[pairing{phase, metric}]; ok {
		return c
	}
	return compared{value: rundir.Value{State: analysis.NoData}}
}

// cell is the comparison in the phase table.
func (c compared) cell() cell {
	switch {
	case c.words != "":
		return text(c.words)
	case c.value.State == analysis.NoData:
		return cell{}
	case c.value.Value != nil && (c.form == slo.Difference && *c.value.Value == 0 || c.form == slo.Ratio && *c.value.Value == 1) &&
		c.value.Low != nil && c.value.High != nil && *c.value.Low == *c.value.High:
		return quiet("no difference")
	}
	return read(c.value, c.form).cell(false)
}
