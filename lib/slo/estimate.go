package slo

import (
	"fmt"
	"math"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/stats"
)

// The errors allowed: the printed interval misses on each side with half of 5 %, a
// judged bound with 5 %.
const (
	printed = 0.025
	judged  = 0.05
	power   = 0.9
)

// minT is the number of values from which Student's t has a useful interval.
const minT = 3

// An estimated is the centre of the values of several trials or blocks.
type estimated struct {
	mid          extent // from the values at their lowest, and at their highest
	low, high    float64
	lower, upper float64 // one-sided bounds
	ok           bool    // there are one-sided bounds
	interval     bool    // there are low and high; an early look may have bounds and no interval
	above        float64 // one-sided p value against "the centre is at most zero"
	normal       bool    // by t, which assumes normal noise
}

func lows(xs []extent) []float64 {
	vs := make([]float64, len(xs))
	for i, x := range xs {
		vs[i] = x.lo
	}
	return vs
}

func highs(xs []extent) []float64 {
	vs := make([]float64, len(xs))
	for i, x := range xs {
		vs[i] = x.hi
	}
	return vs
}

func allFinite(xs []extent) bool {
	for _, x := range xs {
		if !x.finite() {
			return false
		}
	}
	return true
}

// estimate finds the centre of values none of which is missing: from six the
// Hodges–Lehmann estimate with its exact signed-rank interval (of a planned extension that of its last look), from three Student's t if all are
// numbers, else the median without an interval.
func estimate(xs []extent, looks *looks) estimated {
	lo, hi := lows(xs), highs(xs)
	e := estimated{low: math.Inf(-1), high: math.Inf(1), lower: math.Inf(-1), upper: math.Inf(1), above: 1}
	switch {
	case looks.at(len(xs)):
		e.mid = extent{lo: stats.HodgesLehmann(lo), hi: stats.HodgesLehmann(hi)}
		e.lower, _, e.ok = looks.bounds(lo, judged)
		_, e.upper, _ = looks.bounds(hi, judged)
		e.low, _, e.interval = looks.bounds(lo, printed)
		_, e.high, _ = looks.bounds(hi, printed)
	case len(xs) >= stats.MinSignedRank:
		e.mid = extent{lo: stats.HodgesLehmann(lo), hi: stats.HodgesLehmann(hi)}
		e.low, _, e.ok = stats.SignedRankBounds(lo, printed)
		_, e.high, _ = stats.SignedRankBounds(hi, printed)
		e.lower, _, _ = stats.SignedRankBounds(lo, judged)
		_, e.upper, _ = stats.SignedRankBounds(hi, judged)
		e.above, e.interval = stats.SignedRankAbove(lo), e.ok
	case len(xs) >= minT && allFinite(xs):
		e.mid = exactly(stats.Mean(lo))
		e.low, e.high, e.ok = stats.TBounds(lo, printed)
		e.lower, e.upper, _ = stats.TBounds(lo, judged)
		e.above, e.normal, e.interval = stats.TAbove(lo), true, e.ok
	default:
		e.mid = extent{lo: stats.Median(lo), hi: stats.Median(hi)}
	}
	e.mid = e.mid.checked()
	return e
}

// within keeps bounds inside what a metric can be.
func (e estimated) within(lo, hi float64) estimated {
	clamp := func(v *float64) { *v = min(max(*v, lo), hi) }
	for _, v := range []*float64{&e.low, &e.high, &e.lower, &e.upper} {
		clamp(v)
	}
	return e
}

// least is the smallest value that a metric can have.
func least(s analysis.Spec) float64 {
	if s.Signed {
		return math.Inf(-1)
	}
	return 0
}

// most is the largest value that a metric can have.
func most(s analysis.Spec) float64 {
	if s.Unit == analysis.Ratio || s.Name == "balance" {
		return 1
	}
	return math.Inf(1)
}

// report makes the printed form, each number put through scale.
func (e estimated) report(unit analysis.Unit, n int, scale func(float64) float64) Estimate {
	out := Estimate{Unit: unit, N: n, HasInterval: e.interval}
	mid := extent{lo: scale(e.mid.lo), hi: scale(e.mid.hi), why: e.mid.why}
	if mid.lo > mid.hi {
		mid.lo, mid.hi = mid.hi, mid.lo
	}
	v := mid.value()
	out.State, out.Value, out.Note = v.State, v.V, v.Why
	if v.State == analysis.Never {
		out.Value = mid.lo
	}
	if e.interval {
		out.Low, out.High = scale(e.low), scale(e.high)
		if out.Low > out.High {
			out.Low, out.High = out.High, out.Low
		}
	}
	return out
}

// EstimateOf estimates one metric of one arm from its trials, one value each.
// Value is +Inf where State is never, and the point up to which it did not happen where it is censored.
// No data in any trial is no data.
func EstimateOf(values []analysis.Value, spec analysis.Spec) Estimate {
	xs := make([]extent, len(values))
	missing, why := 0, ""
	for i, v := range values {
		if xs[i] = extentOf(v); xs[i].missing() {
			missing++
			why = xs[i].why
		}
	}
	out := Estimate{Unit: spec.Unit, State: analysis.NoData, N: len(values)}
	switch {
	case len(values) == 0:
		out.Note = "no trial counts"
		return out
	case missing > 0:
		out.Note = fmt.Sprintf("no data in %d of %d trials: %s", missing, len(values), why)
		return out
	}
	e := estimate(xs, nil).within(least(spec), most(spec))
	out = e.report(spec.Unit, len(xs), func(v float64) float64 { return v })
	switch {
	case e.normal:
		out.Note = fmt.Sprintf("t on %d trials: assumes normal noise", len(xs))
	case len(xs) == 1 && out.Note == "":
		out.Note = "1 trial: no interval"
	case !e.ok && out.Note == "":
		out.Note = fmt.Sprintf("median of %s: no interval", plural(len(xs), "trial"))
	}
	return out
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
