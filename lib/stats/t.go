package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Mean is the arithmetic mean; NaN of none. Equal values have exactly their value as
// their mean.
func Mean(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	// Deviations from the first value, so that rounding cannot push equal values over a limit.
	sum := 0.0
	for _, x := range xs {
		sum += x - xs[0]
	}
	return xs[0] + sum/float64(len(xs))
}

// SD is the standard deviation of a sample (n − 1); NaN of fewer than two.
func SD(xs []float64) float64 {
	m, sum := Mean(xs), 0.0
	for _, x := range xs {
		sum += (x - m) * (x - m)
	}
	return math.Sqrt(sum / float64(len(xs)-1))
}

// TBounds returns a lower and an upper bound of the mean, each missing it with
// probability alpha if the values are normal: mean ± t₁₋α,ₙ₋₁ · s/√n. It reports false for fewer than two values
// and where one is not finite. Source: Student, "The Probable Error of a Mean", Biometrika 6
// (1908).
func TBounds(xs []float64, alpha float64) (low, high float64, ok bool) {
	mean, se := Mean(xs), SD(xs)/math.Sqrt(float64(len(xs)))
	if len(xs) < 2 || math.IsNaN(se) || math.IsInf(se, 0) {
		return math.Inf(-1), math.Inf(1), false
	}
	d := distuv.StudentsT{Sigma: 1, Nu: float64(len(xs) - 1)}.Quantile(1-alpha) * se
	return mean - d, mean + d, true
}

// TAbove is the one-sided p value of the t test against "the mean is at most zero".
func TAbove(xs []float64) float64 {
	mean, se := Mean(xs), SD(xs)/math.Sqrt(float64(len(xs)))
	switch {
	case len(xs) < 2 || math.IsNaN(se) || math.IsInf(se, 0):
		return 1
	case se == 0 && mean > 0:
		return 0
	case se == 0:
		return 1
	}
	return distuv.StudentsT{Sigma: 1, Nu: float64(len(xs) - 1)}.Survival(mean / se)
}
