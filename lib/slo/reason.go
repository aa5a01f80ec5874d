package slo

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// say writes a number of the judged scale with its unit.
func (c *judgedCase) say(v float64) string { return sayNumber(c.out(v), c.unit, c.form) }

// sayExtent writes what is known of a value.
func (c *judgedCase) sayExtent(x extent) string {
	return c.sayValue(estimated{mid: x}.report(c.unit, 1, c.out))
}

func (c *judgedCase) sayValue(e Estimate) string {
	switch {
	case e.State == analysis.Censored:
		return "more than " + sayNumber(e.Value, c.unit, c.form)
	case e.State == analysis.Never && c.comparison && e.Value > 0:
		return "beyond all numbers (one side never came)"
	case e.State == analysis.Never && c.comparison:
		return "below all numbers (one side never came)"
	case e.State == analysis.Never:
		return "never"
	}
	return sayNumber(e.Value, c.unit, c.form)
}

func sayNumber(v float64, unit analysis.Unit, form Form) string {
	switch {
	case math.IsInf(v, 0):
		return "never"
	case form == Ratio:
		return significant(v, 4)
	case unit == analysis.Seconds && math.Abs(v) < 1 && v != 0:
		return short(v*1000) + " ms"
	case unit == analysis.Seconds:
		return short(v) + " s"
	case unit == analysis.PerSecond:
		return short(v) + "/s"
	case unit == analysis.Ratio && form == Difference:
		return trimmed(v*100) + " points"
	case unit == analysis.Ratio:
		return trimmed(v*100) + " %"
	}
	return short(v)
}

// short writes three significant digits, and all digits before the point.
func short(v float64) string { return significant(v, 3) }

func significant(v float64, digits int) string {
	if math.Abs(v) >= math.Pow10(digits-1) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	s, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	return strconv.FormatFloat(s, 'f', -1, 64)
}

// trimmed writes a percentage to a thousandth: 99.995 is not 100.
func trimmed(v float64) string {
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}

// beyond and most are the words for the direction in which the case is worse.
func (c *judgedCase) beyond() string {
	if c.lower {
		return "less than"
	}
	return "more than"
}

func (c *judgedCase) most(worse bool) string {
	if c.lower == worse {
		return "at most"
	}
	return "at least"
}

func (c *judgedCase) mid() string {
	return c.sayExtent(c.est.mid)
}

func (c *judgedCase) passReason() string {
	return fmt.Sprintf("%s is %s%s: within the limit of %s", c.subject, c.mid(), c.confidence(false, c.est.upper), c.say(c.limit))
}

func (c *judgedCase) failReason() string {
	if c.comparison && !math.IsInf(c.est.lower, 0) {
		return fmt.Sprintf("%s is %s: beyond the limit of %s; with 95 %% confidence it is %s %s, so that no change is excluded",
			c.subject, c.mid(), c.say(c.limit), c.most(true), c.say(c.est.lower))
	}
	return fmt.Sprintf("%s is %s%s: beyond the limit of %s", c.subject, c.mid(), c.confidence(true, c.est.lower), c.say(c.limit))
}

// confidence states a one-sided bound, where it says more than the value.
func (c *judgedCase) confidence(worse bool, bound float64) string {
	if math.IsInf(bound, 0) {
		return ""
	}
	return fmt.Sprintf(", with 95 %% confidence %s %s", c.most(worse), c.say(bound))
}

// openReason says what is excluded and what would decide.
func (c *judgedCase) openReason(more int) string {
	limit := "the limit of " + c.say(c.limit)
	s := fmt.Sprintf("%s is %s; ", c.subject, c.mid())
	if math.IsInf(c.est.upper, 1) {
		s += fmt.Sprintf("nothing beyond %s is excluded", limit)
	} else {
		s += fmt.Sprintf("%s %s is excluded, %s is not", c.beyond(), c.say(c.est.upper), limit)
	}
	if c.comparison && !c.meets(c.est.mid.lo) {
		s += ", nor is no change"
	}
	return s + "; " + c.cost(more, "decide")
}

// cost says how many more blocks would do it, and how long they take.
func (c *judgedCase) cost(more int, do string) string {
	if more == 0 {
		return "more blocks alone would hardly decide"
	}
	s := fmt.Sprintf("about %s would %s", plural(more, "more block"), do)
	if c.perBlock > 0 {
		s += fmt.Sprintf(" (≈ %d min)", max(1, int(math.Round((time.Duration(more)*c.perBlock).Minutes()))))
	}
	return s
}
