package slo

import "github.com/tutti-bench/tutti/lib/analysis"

// A Scale says in what a value changes from one run to another.
type Scale int

// The scales.
const (
	Units  Scale = iota // so much in its unit: counts, and what can be below 0, such as differences of times
	Points              // so much of a whole: shares, and the balance of nodes
	Factor              // a factor: times, rates and quotients
)

// ScaleOf is the scale of what a finding of that form has measured; of is its left side, or the only one that is measured.
func ScaleOf(form Form, of Expr) Scale {
	unit := of.unit()
	switch {
	case form == Ratio:
		return Factor
	case (unit == analysis.Ratio || unit == analysis.Number) && onlyShares(of), form == Difference && unit == analysis.Ratio:
		return Points
	case form == Difference || canBeNegative(of):
		return Units
	case unit == analysis.Number:
		return Units
	}
	return Factor // a ratio that is made of more than shares is a quotient
}

// onlyShares reports whether nothing but shares and balance is measured by an expression.
func onlyShares(e Expr) bool {
	for _, m := range Metrics(e) {
		if spec, _ := analysis.SpecOf(m.Ref.Metric); most(spec) != 1 {
			return false
		}
	}
	return true
}

// canBeNegative reports whether an expression takes something from something, or has a metric that can be below 0.
func canBeNegative(e Expr) bool {
	switch e := e.(type) {
	case Num:
		return e.V < 0
	case Metric:
		spec, _ := analysis.SpecOf(e.Ref.Metric)
		return spec.Signed
	case Binary:
		if e.Op == '-' {
			return !isComplement(e)
		}
		return canBeNegative(e.L) || canBeNegative(e.R)
	}
	return false
}

// isComplement reports whether a difference is what a share lacks of 1.
func isComplement(e Binary) bool {
	whole, constant := Constant(e.L)
	m, metric := e.R.(Metric)
	spec, _ := analysis.SpecOf(m.Ref.Metric)
	return constant && metric && whole >= 1 && most(spec) == 1
}

// Resolution is the smallest time that an expression can tell from none at a rate of requests per second, in seconds: that of its metric,
// or the sum of theirs. It is 0 of all that is not made of times by + and by numbers.
func Resolution(e Expr, rate float64) float64 {
	if e.unit() != analysis.Seconds {
		return 0
	}
	switch e := e.(type) {
	case Metric:
		return resolution(e.Ref.Metric, rate)
	case Binary:
		l, constL := Constant(e.L)
		r, constR := Constant(e.R)
		switch {
		case e.Op == '+':
			return Resolution(e.L, rate) + Resolution(e.R, rate)
		case e.Op == '*' && constL:
			return max(l, 0) * Resolution(e.R, rate)
		case e.Op == '*' && constR:
			return max(r, 0) * Resolution(e.L, rate)
		case e.Op == '/' && constR:
			return max(1/r, 0) * Resolution(e.L, rate)
		}
	}
	return 0
}
