package slo

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// Constant returns the value of an expression without metrics.
func Constant(e Expr) (float64, bool) {
	switch e := e.(type) {
	case Num:
		return e.V, true
	case Binary:
		l, ok := Constant(e.L)
		r, also := Constant(e.R)
		if !ok || !also {
			return 0, false
		}
		return map[byte]float64{'+': l + r, '-': l - r, '*': l * r, '/': l / r}[e.Op], true
	}
	return 0, false
}

// Text writes an expression as objectives have it.
func Text(e Expr) string { return show(e, 0) }

// UnitOf is what an expression is measured in.
func UnitOf(e Expr) analysis.Unit { return e.unit() }

// isPlain reports whether an expression is a number that takes any unit beside it: 2, 0.99, 1 + 1.
func isPlain(e Expr) bool {
	_, ok := Constant(e)
	return ok && e.unit() == analysis.Number
}

// same is the unit of two expressions that are added or compared. Ratios go with plain
// numbers, nothing else goes with what is measured in another unit.
func same(l, r Expr) (analysis.Unit, bool) {
	switch u, v := l.unit(), r.unit(); {
	case u == v:
		return u, true
	case u == analysis.Ratio && isPlain(r), v == analysis.Ratio && isPlain(l):
		return analysis.Ratio, true
	}
	return "", false
}

// productUnit is the unit of l * r or l / r, if it is one that metrics have.
func productUnit(op byte, l, r Expr) (analysis.Unit, bool) {
	const s, ratio, rate, number = analysis.Seconds, analysis.Ratio, analysis.PerSecond, analysis.Number
	u, v := l.unit(), r.unit()
	if op == '*' {
		switch {
		case isPlain(l), u == ratio && !isPlain(r):
			return v, true
		case isPlain(r), v == ratio, v == number:
			return u, true
		case u == number:
			return v, true
		case u == s && v == rate, u == rate && v == s:
			return number, true
		}
		return "", false
	}
	switch {
	case isPlain(l) && isPlain(r):
		return number, true
	case u == v:
		return ratio, true
	case v == number, v == ratio:
		return u, true
	case u == number && v == s:
		return rate, true
	case u == number && v == rate:
		return s, true
	}
	return "", false
}

var unitNames = map[analysis.Unit]string{
	analysis.Seconds:   "a time",
	analysis.Ratio:     "a ratio",
	analysis.PerSecond: "a rate",
	analysis.Number:    "a number",
}

// inUnit says what a user may write for a unit.
func inUnit(u analysis.Unit) string {
	return map[analysis.Unit]string{
		analysis.Seconds:   "a time, such as 250ms,",
		analysis.Ratio:     "a ratio, such as 99% or 0.99,",
		analysis.PerSecond: "a rate, such as 300/s,",
		analysis.Number:    "a number, such as 12,",
	}[u]
}

// unitToSay is the unit that both should have: the metric's, not the number's.
func unitToSay(l, r Expr) analysis.Unit {
	if _, constant := Constant(l); constant {
		return r.unit()
	}
	return l.unit()
}

// describe names an expression and its unit: `cluster.p99 (a time)`.
func describe(e Expr) string {
	return fmt.Sprintf("%s (%s)", show(e, 0), unitNames[e.unit()])
}

// String writes the comparison in its canonical form, which [Parse] reads back to the same.
func (c Comparison) String() string { return show(c.L, 0) + " " + c.Op + " " + show(c.R, 0) }

// Map returns the comparison with every metric replaced by f's.
func (c Comparison) Map(f func(Metric) Metric) Comparison {
	return Comparison{L: mapped(c.L, f), Op: c.Op, R: mapped(c.R, f)}
}

func mapped(e Expr, f func(Metric) Metric) Expr {
	switch e := e.(type) {
	case Metric:
		return f(e)
	case Binary:
		e.L, e.R = mapped(e.L, f), mapped(e.R, f)
		return e
	}
	return e
}

func precedence(op byte) int {
	if op == '*' || op == '/' {
		return 2
	}
	return 1
}

// show writes an expression, in parentheses if it binds less than its surroundings.
func show(e Expr, around int) string {
	switch e := e.(type) {
	case Num:
		return e.String()
	case Metric:
		return e.String()
	case Binary:
		own := precedence(e.Op)
		s := show(e.L, own) + " " + string(e.Op) + " " + show(e.R, own+1)
		if own < around {
			return "(" + s + ")"
		}
		return s
	}
	return fmt.Sprint(e)
}

// String writes the number with its unit, exactly.
func (n Num) String() string {
	switch n.Unit {
	case analysis.Seconds:
		return plain(n.V) + "s"
	case analysis.Ratio:
		return percent(n.V)
	case analysis.PerSecond:
		return plain(n.V) + "/s"
	case analysis.Number:
	}
	return plain(n.V)
}

// String writes the metric as objectives do, with its arm and phase.
func (m Metric) String() string {
	var b strings.Builder
	for _, s := range []string{m.Arm, string(m.Ref.Phase)} {
		if s != "" {
			b.WriteString(s + ".")
		}
	}
	b.WriteString(m.Ref.Metric)
	spec, _ := analysis.SpecOf(m.Ref.Metric)
	var args, labels []string
	for i, a := range m.Ref.Args {
		unit := analysis.Number
		if i < len(spec.Args) {
			unit = spec.Args[i]
		}
		args = append(args, Num{V: a, Unit: unit}.String())
	}
	if len(args) > 0 {
		b.WriteString("(" + strings.Join(args, ", ") + ")")
	}
	for _, l := range []struct{ name, value string }{{"class", m.Ref.Class}, {"fault", m.Ref.Fault}, {"request", m.Ref.Request}} {
		if l.value != "" {
			labels = append(labels, l.name+"="+strconv.Quote(l.value))
		}
	}
	if len(labels) > 0 {
		b.WriteString("{" + strings.Join(labels, ", ") + "}")
	}
	return b.String()
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// percent writes a ratio as a percentage by moving the point of its shortest decimal form
// two places, so that reading it gives the same number again.
func percent(v float64) string {
	digits, exp, _ := strings.Cut(strconv.FormatFloat(math.Abs(v), 'e', -1, 64), "e")
	e, _ := strconv.Atoi(exp)
	digits = strings.Replace(digits, ".", "", 1)
	point := e + 3 // digits before the point
	switch {
	case point <= 0:
		digits = "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		digits += strings.Repeat("0", point-len(digits))
	default:
		digits = digits[:point] + "." + digits[point:]
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" || digits[0] == '.' {
		digits = "0" + digits
	}
	if v < 0 {
		digits = "-" + digits
	}
	return digits + "%"
}

// Nearest is the one of words that word was probably meant to be, or "". Case counts less than letters; of
// equally near ones the first wins.
func Nearest(word string, words []string) string {
	best, distance := "", 1+max(1, min(2, len([]rune(word))/2))
	for _, w := range words {
		if w == "" || w == word {
			continue
		}
		if strings.EqualFold(w, word) {
			return w
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(w)); d < distance && d < len([]rune(w)) {
			best, distance = w, d
		}
	}
	return best
}

// editDistance is the Damerau–Levenshtein distance in its optimal string alignment form: how many
// letters to insert, delete, replace, or swap with their neighbour. (Damerau, CACM 7(3), 1964.)
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if d := len(s) - len(t); d > 3 || d < -3 {
		return 4 // far enough; also bounds the work on hostile text
	}
	before, last := make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row := make([]int, len(t)+1)
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}
