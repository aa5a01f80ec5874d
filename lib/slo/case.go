package slo

import (
	"fmt"
	"math"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/stats"
)

// A judgedCase is one objective over the blocks that count, on its way to a finding.
//
// It is judged mirrored where the limit is a lower one, so that smaller is always better:
// xs, limit and est are in that direction, and in logs where the case is.
type judgedCase struct {
	objective Objective
	blocks    []int
	raw       []extent // the value in each block, as the objective states it (logs: of the quotient)
	xs        []extent // the same, mirrored if need be
	est       estimated
	limit     float64

	subject    string // how the value is called in a sentence
	unit       analysis.Unit
	form       Form
	comparison bool // both sides are measured
	directed   bool // op is < <= > >=
	logs       bool
	lower      bool // the limit is a lower one
	share      bool // the value is a metric that 1 is the most of, and no quotient that can be above it
	signed     bool // what can be below 0, such as a difference of metrics: a limit of 0 is one like any other
	strict     bool
	refused    string // why it cannot be judged at all
	perBlock   time.Duration
	looks      *looks // nil without a planned extension
}

// newCase reads an objective and computes its value in every block.
func newCase(o Objective, numbers []int, blocks map[int]map[string]*analysis.Trial, perBlock time.Duration, looks *looks) *judgedCase {
	c := &judgedCase{objective: o, blocks: numbers, perBlock: perBlock, looks: looks, form: Absolute}
	l, r, op := o.Check.L, o.Check.R, o.Check.Op
	if l == nil || r == nil {
		c.refused = "the objective has no expression that can be evaluated"
		return c
	}
	_, constL := Constant(l)
	limit, constR := Constant(r)
	if constL && !constR { // 5s >= a.recovery reads a.recovery <= 5s
		l, r, op = r, l, mirrored(op)
		limit, _ = Constant(r)
		constL, constR = false, true
	}
	c.comparison = !constL && !constR
	c.directed, c.lower, c.strict = op != "==" && op != "!=", op == ">" || op == ">=", op == "<" || op == ">"
	switch {
	case constL && constR:
		c.refused = "the objective measures nothing"
	case op != "<" && op != "<=" && op != ">" && op != ">=" && c.directed:
		c.refused = fmt.Sprintf("unknown operator %q", op)
	case (constL || constR) && math.IsNaN(limit):
		c.refused = "the limit is not a number"
	case math.IsNaN(o.Margin) || math.IsInf(o.Margin, 0) || o.Margin < 0:
		c.refused = fmt.Sprintf("the margin %v is not a number from 0", o.Margin)
	case o.Margin > 0 && (!c.comparison || !c.directed):
		c.refused = "a margin is for comparisons by < <= > >= of two measured sides"
	}
	if c.refused != "" {
		return c
	}
	if c.comparison {
		c.compare(l, r)
	} else {
		c.subject, c.unit, c.limit, c.signed = show(l, 0), l.unit(), limit, canBeNegative(l)
		if m, ok := l.(Metric); ok {
			spec, known := analysis.SpecOf(m.Ref.Metric)
			c.share = known && spec.Unit == analysis.Ratio
		}
	}
	for _, n := range numbers {
		x := eval(l, blocks[n], c.logs)
		if c.comparison {
			x = apart(x, eval(r, blocks[n], c.logs), c.logs)
		}
		c.raw = append(c.raw, x)
	}
	c.mirror(l)
	return c
}

func mirrored(op string) string {
	if m, ok := map[string]string{"<": ">", ">": "<", "<=": ">=", ">=": "<="}[op]; ok {
		return m
	}
	return op
}

// compare sets how two measured sides are held against each other: in logs when both
// are products or quotients of times or rates, else by the plain difference. A relative margin on times or rates needs
// the quotient too, whatever the sides are made of; one on shares and counts is of their difference.
func (c *judgedCase) compare(l, r Expr) {
	m := c.objective.Margin
	timed := l.unit() == analysis.Seconds || l.unit() == analysis.PerSecond
	c.logs = c.directed && (isProduct(l) && isProduct(r) && (m == 0 || timed) || m > 0 && timed)
	if !c.logs {
		c.form, c.unit, c.subject = Difference, l.unit(), operandText(l)+" less "+operandText(r)
		c.limit = m
		if c.lower {
			c.limit = -m
		}
		return
	}
	c.form, c.unit, c.subject = Ratio, analysis.Number, operandText(l)+" over "+operandText(r)
	c.limit = math.Log1p(m)
	if c.lower {
		if m >= 1 {
			c.refused = "a margin of 100 % or more allows everything"
			return
		}
		c.limit = math.Log1p(-m)
	}
}

// operandText is a side as it stands beside a word, a sum in parentheses.
func operandText(e Expr) string { return show(e, precedence('*')) }

// isProduct reports whether an expression is made of times, rates and plain numbers by
// * and / alone.
func isProduct(e Expr) bool {
	switch e := e.(type) {
	case Num:
		return true
	case Metric:
		return e.unit() == analysis.Seconds || e.unit() == analysis.PerSecond
	case Binary:
		return (e.Op == '*' || e.Op == '/') && isProduct(e.L) && isProduct(e.R)
	}
	return false
}

// mirror makes smaller the better direction, and estimates.
func (c *judgedCase) mirror(l Expr) {
	if c.refused != "" {
		return
	}
	for _, x := range c.raw {
		if c.lower {
			x = x.mirror()
		}
		c.xs = append(c.xs, x)
		if x.missing() {
			c.est = estimated{mid: x}
		}
	}
	if c.lower {
		c.limit = -c.limit
	}
	if len(c.xs) == 0 || c.est.mid.missing() {
		return
	}
	c.est = estimate(c.xs, c.looks)
	if m, plain := l.(Metric); plain && !c.comparison {
		spec, _ := analysis.SpecOf(m.Ref.Metric)
		lo, hi := least(spec), most(spec)
		if c.lower {
			lo, hi = -hi, -lo
		}
		c.est = c.est.within(lo, hi)
	}
}

// out returns a number of the judged scale as it is printed.
func (c *judgedCase) out(v float64) float64 {
	if c.lower {
		v = -v
	}
	if c.logs {
		return math.Exp(v)
	}
	if v == 0 {
		return 0 // never −0
	}
	return v
}

// above is what Holm weighs: whether "no change, or better" is excluded with an error of alpha.
func (c *judgedCase) above(alpha float64) bool {
	if c.refused != "" || !c.est.ok || c.est.mid.missing() {
		return false
	}
	if c.looks.at(len(c.xs)) {
		low, _, ok := c.looks.bounds(lows(c.xs), alpha)
		return ok && low > 0
	}
	return c.est.above <= alpha
}

// stands reports whether "no change, or better" is excluded with the error divided among so many, and among fewer. At looks the one does not
// follow from the other: what ranks could spend of a larger share at an early look is missing later. Holm's rule would depend on the order
// of objectives without it.
func (c *judgedCase) stands(among int) bool {
	for k := among; k > 0; k-- {
		if !c.above(judged / float64(k)) {
			return false
		}
	}
	return true
}

// chance says how likely chance alone is, where there is a p value.
func (c *judgedCase) chance() string {
	if c.looks.at(len(c.xs)) {
		return ""
	}
	return fmt.Sprintf(", p = %.2g", c.est.above)
}

// judge makes the finding.
func (c *judgedCase) judge() Finding {
	f := Finding{Objective: c.objective, Subject: c.subject, Form: c.form, Limit: c.out(c.limit)}
	f.Estimate = Estimate{Unit: c.unit, State: analysis.NoData, N: len(c.xs)}
	if c.refused == "" && len(c.xs) == 0 {
		c.refused = "no block counts"
	}
	if c.refused != "" {
		f.Reason = c.refused
		return f
	}
	for i, x := range c.raw {
		if c.logs && !x.missing() {
			x = extent{lo: math.Exp(x.lo), hi: math.Exp(x.hi)}
		}
		f.Per = append(f.Per, Point{c.blocks[i], x.value()})
	}
	for i, x := range c.xs {
		if x.missing() {
			f.Estimate.Note = x.why
			f.Reason = fmt.Sprintf("no data in block %d: %s", c.blocks[i], x.why)
			return f
		}
	}
	f.Estimate = c.est.report(c.unit, len(c.xs), c.out)
	switch {
	case c.est.normal:
		f.Estimate.Note = c.normalNote()
	case c.est.ok && f.Estimate.Note == "" && c.looks.at(len(c.xs)):
		f.Estimate.Note = c.looks.note(c.est.interval)
	}
	switch {
	case c.est.mid.missing():
		f.Reason = "the values have no centre: " + c.est.mid.why
	case !c.directed:
		c.everyTrial(&f)
	case !c.est.ok && (c.comparison || !c.mustNot()) && c.looks.at(len(c.xs)):
		c.tooEarly(&f)
	case c.comparison && !c.est.ok:
		c.noInterval(&f)
	case !c.comparison && (c.mustNot() || !c.est.ok):
		c.worst(&f)
	default:
		c.bounded(&f)
	}
	return f
}

func (c *judgedCase) normalNote() string {
	if c.comparison {
		return fmt.Sprintf("paired t on %d blocks: assumes normal noise", len(c.xs))
	}
	return fmt.Sprintf("t on %d trials: assumes normal noise", len(c.xs))
}

// mustNot reports whether the objective allows no violation at all: a count or a share
// that must be 0, a ratio that must be 100 %.
func (c *judgedCase) mustNot() bool {
	counted := (c.unit == analysis.Ratio || c.unit == analysis.Number) && !c.signed
	if c.lower {
		return c.share && -c.limit >= 1
	}
	return counted && c.limit <= 0
}

// tolerance is for rounding: what differs by less is the same number.
const tolerance = 1e-12

// below reports whether a is less than b by more than rounding.
func below(a, b float64) bool {
	if math.IsInf(a, 0) || math.IsInf(b, 0) {
		return a < b
	}
	return a < b-tolerance*max(1, math.Abs(b))
}

// meets reports whether a number is on the good side of the limit.
func (c *judgedCase) meets(v float64) bool {
	if math.IsInf(v, 1) {
		return false // never violates every upper limit
	}
	if c.strict {
		return below(v, c.limit)
	}
	return !below(c.limit, v)
}

// bounded judges by one-sided bounds. Pass: the upper one meets the limit. Fail: the
// estimate does not, and the lower one does not either (an absolute objective) or excludes "no change" (a
// comparison).
func (c *judgedCase) bounded(f *Finding) {
	beyond := !c.meets(c.est.lower)
	if c.comparison {
		beyond = below(0, c.est.lower)
	}
	switch {
	case c.meets(c.est.upper):
		f.Outcome, f.Reason = Pass, c.passReason()
	case !c.meets(c.est.mid.lo) && beyond:
		f.Outcome, f.Reason = Fail, c.failReason()
	default:
		f.MoreBlocks = c.moreBlocks()
		f.Reason = c.openReason(f.MoreBlocks)
	}
}

// worst judges on the worst trial: where there is no interval, and where one violation is too many.
func (c *judgedCase) worst(f *Finding) {
	at, violated, open := 0, false, false
	for i, x := range c.xs {
		violated = violated || !c.meets(x.lo)
		open = open || !c.meets(x.hi)
		if w := c.xs[at]; x.lo > w.lo || x.lo == w.lo && x.hi > w.hi {
			at = i
		}
	}
	f.Estimate = estimated{mid: c.xs[at]}.report(c.unit, len(c.xs), c.out)
	f.Estimate.Note = "the worst of " + plural(len(c.xs), "trial")
	why := fmt.Sprintf("%s is %s in the worst of %s (block %d)", c.subject, c.sayValue(f.Estimate), plural(len(c.xs), "trial"), c.blocks[at])
	switch {
	case violated:
		f.Outcome, f.Reason = Fail, fmt.Sprintf("%s, beyond the limit of %s", why, c.say(c.limit))
	case !open:
		f.Outcome, f.Reason = Pass, fmt.Sprintf("%s, within the limit of %s", why, c.say(c.limit))
	default:
		f.Reason = fmt.Sprintf("%s, so that the limit of %s is neither met nor broken", why, c.say(c.limit))
	}
	if !c.mustNot() {
		f.Reason += "; too few values for an interval"
	}
}

// tooEarly is a look at which no error may be spent yet: always inconclusive. Scenarios with such looks are refused.
func (c *judgedCase) tooEarly(f *Finding) {
	n := len(c.xs)
	f.MoreBlocks = c.looks.next(n) - n
	f.Estimate.Note = "no interval"
	f.Reason = fmt.Sprintf("%s is %s over %s: %d..%d is so wide that nothing can be told at this look; %s",
		c.subject, c.sayValue(f.Estimate), plural(n, "block"), c.looks.least, c.looks.most, c.cost(f.MoreBlocks, "lead to the next look"))
}

// noInterval is a comparison without one: always inconclusive.
func (c *judgedCase) noInterval(f *Finding) {
	n := len(c.xs)
	f.MoreBlocks = max(0, stats.MinSignedRank-n)
	why := fmt.Sprintf("a comparison needs %d blocks for an interval", minT)
	if n >= minT {
		why = fmt.Sprintf("with a value that never came among them, a comparison needs %d blocks for an interval", stats.MinSignedRank)
	}
	f.Estimate.Note = "no interval"
	f.Reason = fmt.Sprintf("%s is %s over %s: %s, so that nothing is excluded; %s", c.subject, c.sayValue(f.Estimate), plural(n, "block"), why, c.cost(f.MoreBlocks, "give one"))
}

// everyTrial judges == and != on every trial.
func (c *judgedCase) everyTrial(f *Finding) {
	want := c.objective.Check.Op == "=="
	held, open := 0, -1
	for i, x := range c.xs {
		equal := math.Abs(x.lo-c.limit) <= 1e-9*max(1, math.Abs(c.limit)) && x.lo == x.hi
		if x.lo == c.limit && x.hi == c.limit {
			equal = true
		}
		apart := !equal && (below(c.limit, x.lo) || below(x.hi, c.limit))
		switch {
		case equal == want && (equal || apart):
			held++
		case equal || apart:
			f.Outcome = Fail
			f.Reason = fmt.Sprintf("%s is %s in block %d, where it must %sbe %s", c.subject, c.sayExtent(x), c.blocks[i], map[bool]string{false: "not "}[want], c.say(c.limit))
			return
		default:
			open = i
		}
	}
	if held == len(c.xs) {
		f.Outcome, f.Reason = Pass, fmt.Sprintf("%s holds in every one of %s", c.objective.Check, plural(held, "block"))
		return
	}
	f.Reason = fmt.Sprintf("%s is %s in block %d: it cannot be told whether it is %s", c.subject, c.sayExtent(c.xs[open]), c.blocks[open], c.say(c.limit))
}

// moreBlocks is about how many more blocks would decide, 0 if that cannot be said. The
// nearest thing to be shown is that the limit is met, or, from the other side, that there is a change.
func (c *judgedCase) moreBlocks() int {
	if !c.est.mid.finite() || !allFinite(c.xs) {
		return 0
	}
	delta := c.limit - c.est.mid.lo
	if c.comparison && delta < 0 {
		delta = c.est.mid.lo
	}
	total := stats.Trials(stats.SD(lows(c.xs)), delta, judged, power)
	if total == 0 || total > maxBlocks {
		return 0
	}
	if c.looks.at(len(c.xs)) && len(c.xs) < c.looks.most { // the plan goes on anyway
		return max(c.looks.next(len(c.xs)), total) - len(c.xs)
	}
	return max(1, total-len(c.xs))
}

// maxBlocks is beyond what anybody would run.
const maxBlocks = 500
