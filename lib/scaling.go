package tutti

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/stats"
)

func searchOf(c *scenario.Capacity) *rundir.Search {
	if c == nil {
		return nil
	}
	return &rundir.Search{While: c.While.Text, From: c.From, To: c.To, Hold: c.Hold.Seconds()}
}

func holds(r *record.Recording) []rundir.Hold {
	var out []rundir.Hold
	for i := range r.Holds {
		h := &r.Holds[i]
		one := rundir.Hold{
			At: h.At.Seconds(), Rate: h.Rate, Offered: h.Offered, Achieved: h.Achieved, Goodput: h.Goodput,
			Availability: h.Availability, Answer: h.Answer, Why: h.Why,
		}
		if h.P99 != record.None && h.Generator.Scheduled > 0 {
			one.P99 = finite(h.P99.Seconds())
		}
		out = append(out, one)
	}
	return out
}

// nodesOf is how many replicas of a service a trial had when its load began.
func nodesOf(t *analysis.Trial, service string) (n int) {
	for _, node := range t.Rec.Nodes {
		if node.Service == service && !node.Late {
			n++
		}
	}
	return n
}

// scaled is the service whose replicas the arms differ in: a sweep's, or the balanced one of all of them; "" if there is none.
func (j *judging) scaled() string {
	s := j.scenario
	if s.Load.Capacity == nil {
		return ""
	}
	if s.Sweep != nil {
		return s.Sweep.Service
	}
	service := s.Arms[0].Nodes
	for _, a := range s.Arms {
		if a.Nodes != service {
			return ""
		}
	}
	return service
}

// scaling sets capacity against nodes, where there are two sizes or more and no two arms have the same.
func (j *judging) scaling(blocks map[int]map[string]*analysis.Trial) *rundir.Scaling {
	service := j.scaled()
	if service == "" {
		return nil
	}
	nodes, arms := make(map[string]int), make(map[int]string)
	for _, t := range j.trials {
		if blocks[t.Rec.Block][t.Rec.Arm] != t {
			continue
		}
		n := nodesOf(t, service)
		if other, there := arms[n]; n == 0 || there && other != t.Rec.Arm {
			return nil
		}
		nodes[t.Rec.Arm], arms[n] = n, t.Rec.Arm
	}
	if len(arms) < 2 || len(arms) != len(nodes) {
		return nil
	}
	out := &rundir.Scaling{Service: service}
	rising := slices.Sorted(maps.Keys(arms))
	for _, n := range rising {
		out.Sizes = append(out.Sizes, j.size(arms[n], n, arms[rising[0]], rising[0], blocks))
	}
	out.Fit, out.Refused = fitOf(out.Sizes)
	return out
}

// size is one arm of a scaling; base is the smallest.
func (j *judging) size(arm string, nodes int, base string, least int, blocks map[int]map[string]*analysis.Trial) rundir.Size {
	capacity := analysis.Ref{Metric: "capacity"}
	spec, _ := analysis.SpecOf(capacity.Metric)
	size := rundir.Size{Arm: arm, Nodes: nodes, PerBlock: []rundir.BlockValue{}}
	var found, shares []analysis.Value
	for _, n := range slices.Sorted(maps.Keys(blocks)) {
		v, one := blocks[n][arm].Metric(capacity), blocks[n][base].Metric(capacity)
		found, shares = append(found, v), append(shares, perNode(v, nodes, one, least))
		b := rundir.BlockValue{Block: n, State: v.State}
		if v.State == analysis.OK || v.State == analysis.Censored {
			b.Value = finite(v.V)
		}
		size.PerBlock = append(size.PerBlock, b)
	}
	size.Capacity = value(slo.EstimateOf(found, spec))
	// No ratio of something's parts: several nodes can have more than their number's share.
	size.Efficiency = value(slo.EstimateOf(shares, analysis.Spec{Name: "efficiency", Unit: analysis.Number}))
	return size
}

// perNode is the capacity of each of n nodes over that of each of the least.
func perNode(v analysis.Value, n int, base analysis.Value, least int) analysis.Value {
	switch {
	case v.State == analysis.NoData:
		return v
	case base.State != analysis.OK:
		return analysis.Missing("the capacity of the smallest size is not known")
	}
	share := v.V / float64(n) / (base.V / float64(least))
	if v.State == analysis.Censored {
		return analysis.Value{V: share, State: analysis.Censored}
	}
	return analysis.Good(share)
}

// fitOf fits the law to the sizes whose capacity is known in every block; what is only known as "at least" in one would
// have it bend too early.
func fitOf(sizes []rundir.Size) (*rundir.Fit, string) {
	var ms []stats.Sized
	var left []string
	for _, s := range sizes {
		known := !slices.ContainsFunc(s.PerBlock, func(b rundir.BlockValue) bool { return b.State != analysis.OK || b.Value == nil })
		if !known {
			left = append(left, s.Arm)
			continue
		}
		for _, b := range s.PerBlock {
			ms = append(ms, stats.Sized{N: float64(s.Nodes), X: *b.Value, Block: b.Block})
		}
	}
	u, err := stats.FitUSL(ms)
	if err != nil {
		why := err.Error()
		if len(left) > 0 {
			why += fmt.Sprintf("; the capacity of %s is not known in every block", strings.Join(left, ", "))
		}
		return nil, why
	}
	fit := &rundir.Fit{
		Lambda: parameter(u, analysis.PerSecond, func(o stats.USL) float64 { return o.Lambda }),
		Sigma:  parameter(u, analysis.Number, func(o stats.USL) float64 { return o.Sigma }),
		Kappa:  parameter(u, analysis.Number, func(o stats.USL) float64 { return o.Kappa }),
		Peak:   peak(u),
		Curve:  []rundir.CurvePoint{},
	}
	for n, last := float64(sizes[0].Nodes), float64(sizes[len(sizes)-1].Nodes); ; {
		p := rundir.CurvePoint{Nodes: n, Value: u.At(n)}
		if low, high, ok := u.Band(n, alpha); ok {
			p.Low, p.High = finite(low), finite(high)
		}
		if fit.Curve = append(fit.Curve, p); n >= last {
			break
		}
		n = min(n+max((last-float64(sizes[0].Nodes))/curveSteps, 0.125), last)
	}
	note := ""
	if len(left) > 0 {
		note = fmt.Sprintf("without %s, whose capacity is not known in every block", strings.Join(left, ", "))
	}
	return fit, note
}

const (
	alpha      = 0.025 // on each side of a printed interval
	curveSteps = 48    // of the curve that is drawn
)

// parameter is one of a law, never below 0.
func parameter(u stats.USL, unit analysis.Unit, of func(stats.USL) float64) rundir.Value {
	e := slo.Estimate{Value: of(u), Unit: unit, State: analysis.OK, N: u.N}
	e.Low, e.High, e.HasInterval = u.Bounds(alpha, of)
	e.Low = max(e.Low, 0)
	return value(e)
}

// peak is where a law is highest. It counts only where the interval of κ excludes 0.
func peak(u stats.USL) rundir.Value {
	none := slo.Estimate{Unit: analysis.Number, State: analysis.NoData, N: u.N}
	n, ok := u.Peak()
	if !ok {
		none.Note = "more nodes never make it less"
		return value(none)
	}
	low, _, known := u.Bounds(alpha, func(o stats.USL) float64 { return o.Kappa })
	if !known {
		none.Note = "a peak is not shown: κ has no interval"
		return value(none)
	}
	if low <= 0 {
		none.Note = "a peak is not shown: the interval of κ contains 0"
		return value(none)
	}
	e := slo.Estimate{Value: n, Unit: analysis.Number, State: analysis.OK, N: u.N}
	low, high, ok := u.Bounds(alpha, func(o stats.USL) float64 {
		if n, ok := o.Peak(); ok {
			return math.Log(n)
		}
		return math.NaN()
	})
	if e.HasInterval = ok; ok {
		e.Low, e.High = math.Exp(low), math.Exp(high)
	}
	return value(e)
}
