package slo

import (
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// A Condition is what `when` and `while` say: comparisons of metrics of the arm itself, all of which must hold.
type Condition struct {
	Text        string
	Comparisons []Comparison // no metric in them names an arm
}

// ParseCondition reads comparisons joined by `and`, as [Parse] reads one:
//
//	p99 > 200ms and availability < 99.9%
//
// A metric is METRIC alone, then its arguments and labels: a condition is about the arm that is running, and is judged before
// there are phases or what comes of faults, so that arms, phases and metrics of faults are refused. The error is a [*SyntaxError].
func ParseCondition(text string) (Condition, error) {
	p := &parser{text: text, bare: true}
	if err := p.fits(); err != nil {
		return Condition{}, err
	}
	c := Condition{Text: strings.TrimSpace(text)}
	for {
		one, err := p.one()
		if err != nil {
			return Condition{}, err
		}
		c.Comparisons = append(c.Comparisons, one)
		p.space()
		if p.pos == len(p.text) {
			return c, nil
		}
		if err := p.and(); err != nil {
			return Condition{}, err
		}
	}
}

// and reads the word between two comparisons.
func (p *parser) and() error {
	const want = `the end, or "and" and another comparison`
	at := p.token()
	switch got := p.at(at); {
	case got == "and":
		p.pos = at.to
		return nil
	case got == "or" || got == "||":
		return at.wrong("comparisons are joined by and alone").expect("%s", want)
	case got == "&&" || got == "," || strings.EqualFold(got, "and"):
		e := at.wrong("%s joins nothing", quote(got)).expect("%s", want)
		e.Nearest = "and"
		return e
	case strings.ContainsAny(got[:1], "<>=!"):
		return at.wrong("a second comparison without its left side").expect("%s", want)
	default:
		return p.notAnOperator(want)
	}
}

// String writes the condition in its canonical form, which [ParseCondition] reads back to the same.
func (c Condition) String() string {
	parts := make([]string, len(c.Comparisons))
	for i, one := range c.Comparisons {
		parts[i] = one.String()
	}
	return strings.Join(parts, " and ")
}

// Metrics lists the metrics of all comparisons, from left to right.
func (c Condition) Metrics() []Metric {
	var all []Metric
	for _, one := range c.Comparisons {
		all = append(all, one.Metrics()...)
	}
	return all
}

// Holds reports whether every comparison is known to hold in a stretch of load, which is given as a trial of its own. One without data does not hold.
func (c Condition) Holds(t *analysis.Trial) bool {
	block := map[string]*analysis.Trial{"": t}
	for _, one := range c.Comparisons {
		l, r := eval(one.L, block, false), eval(one.R, block, false)
		if l.missing() || r.missing() || !surely(one.Op, l, r) {
			return false
		}
	}
	return len(c.Comparisons) > 0
}

// surely reports whether a comparison holds wherever in their extents both sides are.
func surely(op string, l, r extent) bool {
	switch op {
	case ">=":
		return l.lo >= r.hi
	case "<=":
		return l.hi <= r.lo
	case ">":
		return l.lo > r.hi
	case "<":
		return l.hi < r.lo
	case "==":
		return l.lo == l.hi && l == r
	case "!=":
		return l.hi < r.lo || l.lo > r.hi
	}
	return false
}
