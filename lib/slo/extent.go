package slo

import (
	"fmt"
	"math"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
)

// An extent is what is known of a number: it lies in [lo, hi]. Both ends are the same
// where it is known; [V, +Inf] is censored at V; [+Inf, +Inf] is never. With a why there is no number at all.
//
// Judging both ends of every extent is what makes censored values honest: they count
// as long as can be for an upper bound, and as short as can be for a lower one.
type extent struct {
	lo, hi float64
	why    string
}

func exactly(v float64) extent            { return extent{lo: v, hi: v} }
func unknown(why string, a ...any) extent { return extent{why: fmt.Sprintf(why, a...)} }

func (e extent) missing() bool { return e.why != "" }
func (e extent) mirror() extent {
	return extent{lo: -e.hi, hi: -e.lo, why: e.why}
}

// finite reports whether the value is known and a number.
func (e extent) finite() bool {
	return !e.missing() && e.lo == e.hi && !math.IsInf(e.lo, 0)
}

// checked turns what is no number into no data.
func (e extent) checked() extent {
	if !e.missing() && (math.IsNaN(e.lo) || math.IsNaN(e.hi) || e.lo > e.hi) {
		return unknown("the expression is not a number")
	}
	return e
}

func extentOf(v analysis.Value) extent {
	switch v.State {
	case analysis.OK:
		return exactly(v.V).checked()
	case analysis.Never:
		return exactly(math.Inf(1))
	case analysis.Censored:
		return extent{lo: v.V, hi: math.Inf(1)}.checked()
	case analysis.NoData:
	}
	if v.Why == "" {
		return unknown("no data")
	}
	return extent{why: v.Why}
}

// atMost is why a value is only the upper end of what it can be.
const atMost = "at most: one side did not come while it was looked for"

// value is the inverse of extentOf. Infinitely far on either side is never. What is
// bounded above only has its upper end as its value, and a why: it is at most that.
func (e extent) value() analysis.Value {
	switch low, high := math.IsInf(e.lo, -1), math.IsInf(e.hi, 1); {
	case e.missing():
		return analysis.Value{State: analysis.NoData, Why: e.why}
	case low && high:
		return analysis.Value{State: analysis.NoData, Why: "neither side came while it was looked for"}
	case math.IsInf(e.lo, 1), math.IsInf(e.hi, -1):
		return analysis.Value{State: analysis.Never}
	case high:
		return analysis.Value{V: e.lo, State: analysis.Censored}
	case e.lo < e.hi:
		return analysis.Value{V: e.hi, State: analysis.OK, Why: atMost}
	}
	return analysis.Value{V: e.hi, State: analysis.OK}
}

// eval computes an expression over the trials of one block. With floors a time below
// its resolution counts as the resolution, so that logarithms exist.
func eval(e Expr, block map[string]*analysis.Trial, floors bool) extent {
	switch e := e.(type) {
	case Num:
		return exactly(e.V).checked()
	case Metric:
		t := block[e.Arm]
		if t == nil {
			return unknown("arm %s was not run", e.Arm)
		}
		x := extentOf(t.Metric(e.Ref))
		if x.missing() {
			x.why = e.Arm + "." + e.Ref.Metric + ": " + x.why
		} else if floors && e.unit() == analysis.Seconds {
			floor := resolution(e.Ref.Metric, t.Rec.Schedule.Lowest())
			x.lo, x.hi = max(x.lo, floor), max(x.hi, floor)
		}
		return x
	case Binary:
		l, r := eval(e.L, block, floors), eval(e.R, block, floors)
		if l.missing() {
			return l
		}
		if r.missing() {
			return r
		}
		return combine(e.Op, l, r).checked()
	}
	return unknown("the objective has no expression that can be evaluated")
}

// resolution is the smallest time that a metric can tell from none, in seconds: the
// grid of 100 ms for what starts on it, the distance of two requests at the lowest rate for gaps between them, and
// 1 µs for response times.
func resolution(metric string, rate float64) float64 {
	switch metric {
	case "recovery", "failover", "detection", "rebalanced":
		return record.Grid.Seconds()
	case "first_error": // within the bin that the onset cuts it may be off
		if rate > 0 {
			return max(1/rate, record.Grid.Seconds())
		}
	case "longest_silence", "downtime":
		if rate > 0 {
			return 1 / rate
		}
	}
	return 1e-6
}

// combine is interval arithmetic.
func combine(op byte, l, r extent) extent {
	switch op {
	case '+':
		return extent{lo: l.lo + r.lo, hi: l.hi + r.hi}
	case '-':
		return extent{lo: l.lo - r.hi, hi: l.hi - r.lo}
	case '*':
		return among(l.lo*r.lo, l.lo*r.hi, l.hi*r.lo, l.hi*r.hi)
	case '/':
		if r.lo <= 0 && r.hi >= 0 {
			return unknown("a division by zero")
		}
		return among(l.lo/r.lo, l.lo/r.hi, l.hi/r.lo, l.hi/r.hi)
	}
	return unknown("unknown operator %q", op)
}

func among(xs ...float64) extent {
	e := exactly(xs[0])
	for _, x := range xs {
		e.lo, e.hi = min(e.lo, x), max(e.hi, x) // NaN stays NaN, and becomes no data
	}
	return e
}

// apart is how far l is beyond r within one block: the difference, or in logs the
// logarithm of the quotient. Equal values are 0 apart even where both are never, or both zero in logs:
// these compare by rank.
func apart(l, r extent, logs bool) extent {
	if l.missing() {
		return l
	}
	if r.missing() {
		return r
	}
	if l.lo == l.hi && r == l {
		return exactly(0)
	}
	if logs {
		if l.lo < 0 || r.lo < 0 {
			return unknown("a time or a rate below zero")
		}
		l, r = extent{lo: math.Log(l.lo), hi: math.Log(l.hi)}, extent{lo: math.Log(r.lo), hi: math.Log(r.hi)}
	}
	d := extent{lo: l.lo - r.hi, hi: l.hi - r.lo}
	// Infinity less infinity, where one is censored and the other never: either may be beyond.
	if math.IsNaN(d.lo) {
		d.lo = math.Inf(-1)
	}
	if math.IsNaN(d.hi) {
		d.hi = math.Inf(1)
	}
	return d.checked()
}
