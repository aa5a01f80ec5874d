package slo

import (
	"fmt"
	"math"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/stats"
)

// A Change is one measure in two runs that are held against each other. Their trials are not paired.
type Change struct {
	Subject  string
	Was, Now []analysis.Value // one of each block
	Unit     analysis.Unit    // of the values
	Ratio    bool             // the values change by a factor: times, rates and quotients
	Floor    float64          // what is below counts as this, so that there are factors; of a ratio
	Lower    bool             // less is worse; else more is
	Margin   float64          // what it may be worse: relative of a ratio, else in Unit
	Severity Severity         // several that gate are held by Holm's rule
}

// A Changed is a [Change] judged.
type Changed struct {
	Was, Now Estimate // on their own
	By       Estimate // what Now is over, or above, Was
	Form     Form
	Limit    float64 // what By is held against
	Outcome  Outcome // pass: no worse by more than the margin; fail: worse
	Better   bool    // it is shown to be better
	Reason   string
}

// Changes judges what changed between two runs: by the Hodges–Lehmann estimate of the shift with the exact interval of Mann and Whitney.
//
// Pass: the one-sided 95 % bound is within the margin. Fail: the estimate is beyond the margin and the bound excludes "no change". No data
// on either side is inconclusive.
func Changes(cs []Change) []Changed {
	out := make([]Changed, len(cs))
	var family []int
	var ps []float64
	for i, c := range cs {
		var p float64
		out[i], p = c.judge()
		if c.Severity != SeverityWarn {
			family, ps = append(family, i), append(ps, p)
		}
	}
	for k, stands := range stats.Holm(ps, judged) {
		o := &out[family[k]]
		if o.Outcome == Fail && !stands {
			o.Outcome = Inconclusive
			o.Reason += fmt.Sprintf("; alone that would fail, but among %d comparisons chance is too likely (Holm, p = %.2g)", len(ps), ps[k])
		}
	}
	return out
}

// judge judges one change alone; p is against "no change, or better".
func (c Change) judge() (out Changed, p float64) {
	spec := analysis.Spec{Unit: c.Unit}
	if c.Ratio && c.Unit == analysis.Ratio {
		spec.Unit = analysis.Number // a quotient may be above 1
	}
	out = Changed{Form: Difference, Was: estimateAny(c.Was, spec), Now: estimateAny(c.Now, spec), Limit: c.limit()}
	unit := c.Unit
	if c.Ratio {
		out.Form, unit = Ratio, analysis.Number
	}
	out.By = Estimate{Unit: unit, State: analysis.NoData, N: len(c.Now)}
	was, now := c.extents(c.Was), c.extents(c.Now)
	for i, xs := range [][]extent{was, now} {
		for _, x := range xs {
			if x.missing() {
				out.Reason = fmt.Sprintf("%s: no data %s: %s", c.Subject, [...]string{"before", "now"}[i], x.why)
				return out, 1
			}
		}
	}
	if !(c.Margin >= 0) || math.IsInf(c.Margin, 0) {
		out.Reason = fmt.Sprintf("%s: the margin %v is no number from 0", c.Subject, c.Margin)
		return out, 1
	}
	if len(was) == 0 || len(now) == 0 {
		out.Reason = c.Subject + ": no block counts on one side"
		return out, 1
	}
	mid := extent{lo: stats.Shift(highs(was), lows(now)), hi: stats.Shift(lows(was), highs(now))}.checked()
	e := estimated{mid: mid}
	e.lower, _, e.ok = stats.ShiftBounds(highs(was), lows(now), judged)
	_, e.upper, _ = stats.ShiftBounds(lows(was), highs(now), judged)
	e.low, _, _ = stats.ShiftBounds(highs(was), lows(now), printed)
	_, e.high, _ = stats.ShiftBounds(lows(was), highs(now), printed)
	if _, _, two := stats.ShiftBounds(lows(was), highs(now), printed); !two {
		e.ok = false
	}
	e.interval = e.ok
	out.By = e.report(unit, len(now), c.out)
	p = stats.ShiftAbove(highs(was), lows(now))
	c.conclude(&out, e, len(was), len(now))
	return out, p
}

func (c Change) conclude(out *Changed, e estimated, was, now int) {
	say := func(v float64) string { return sayNumber(c.out(v), c.Unit, out.Form) }
	limit := c.inward(c.bound())
	direction := "above"
	if c.Ratio {
		direction = "times"
	}
	switch found := fmt.Sprintf("%s is %s %s what it was", c.Subject, say(e.mid.lo), direction); {
	case e.mid.missing():
		out.Reason = c.Subject + ": " + e.mid.why
	case !e.ok:
		out.By.Note = "no interval"
		out.Reason = fmt.Sprintf("%s; an interval takes four blocks on each side, and here are %d and %d", found, was, now)
	case !below(limit, e.upper):
		out.Outcome, out.Better = Pass, e.upper < 0
		out.Reason = fmt.Sprintf("%s, with 95 %% confidence within the limit of %s", found, say(limit))
	case below(limit, e.mid.lo) && below(0, e.lower):
		out.Outcome = Fail
		out.Reason = fmt.Sprintf("%s: worse than the limit of %s, and no change is excluded", found, say(limit))
	default:
		out.Reason = fmt.Sprintf("%s; neither that it is worse nor that it is within the limit of %s is shown", found, say(limit))
	}
}

// bound is the margin on the scale of the values: logarithms of a ratio.
func (c Change) bound() float64 {
	switch {
	case c.Ratio && c.Lower:
		return math.Log1p(-min(c.Margin, 1))
	case c.Ratio:
		return math.Log1p(c.Margin)
	case c.Lower:
		return -c.Margin
	}
	return c.Margin
}

// inward turns the judged scale so that more is worse.
func (c Change) inward(v float64) float64 {
	if c.Lower {
		return -v
	}
	return v
}

// limit is the margin as it is printed.
func (c Change) limit() float64 { return c.out(c.inward(c.bound())) }

// out returns a number of the judged scale as it is printed.
func (c Change) out(v float64) float64 {
	if v = c.inward(v); c.Ratio {
		return math.Exp(v)
	}
	return v + 0 // never −0
}

// extents are the values on the judged scale.
func (c Change) extents(values []analysis.Value) []extent {
	xs := make([]extent, len(values))
	for i, v := range values {
		x := extentOf(v)
		if !x.missing() && c.Ratio {
			if x.lo < 0 {
				x = unknown("a time or a rate below zero")
			} else {
				x = extent{lo: math.Log(max(x.lo, c.Floor)), hi: math.Log(max(x.hi, c.Floor))}.checked()
			}
		}
		if c.Lower {
			x = x.mirror()
		}
		xs[i] = x
	}
	return xs
}

// estimateAny is [EstimateOf] without the bounds of a metric: a difference may be below 0.
func estimateAny(values []analysis.Value, spec analysis.Spec) Estimate {
	xs := make([]extent, len(values))
	for i, v := range values {
		if xs[i] = extentOf(v); xs[i].missing() {
			return Estimate{Unit: spec.Unit, State: analysis.NoData, N: len(values), Note: xs[i].why}
		}
	}
	if len(xs) == 0 {
		return Estimate{Unit: spec.Unit, State: analysis.NoData}
	}
	return estimate(xs, nil).report(spec.Unit, len(xs), func(v float64) float64 { return v })
}
