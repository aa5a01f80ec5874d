package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Holm tells which of several hypotheses are rejected when the chance of rejecting any true
// one shall be alpha at most: the i-th smallest p is held against alpha/(m−i+1), until one does not
// pass. Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6
// (1979).
func Holm(ps []float64, alpha float64) []bool {
	return HolmBy(len(ps), func(i, among int) bool { return ps[i] <= alpha/float64(among) })
}

// HolmBy is [Holm] for n hypotheses that are not tested by p values: rejects tells whether hypothesis i is rejected with the error
// divided among so many. It must reject with a larger share what it rejects with a smaller one, else what is rejected depends on the order. Source, for tests that look several
// times: Ye, Li, Liu, Yao, "A Group Sequential Holm Procedure with Multiple Primary Endpoints", Statistics in Medicine 32 (2013).
func HolmBy(n int, rejects func(i, among int) bool) []bool {
	rejected := make([]bool, n)
	for among := n; among > 0; among-- {
		next := -1
		for i := range rejected {
			if !rejected[i] && rejects(i, among) {
				next = i
				break
			}
		}
		if next < 0 {
			break
		}
		rejected[next] = true
	}
	return rejected
}

// Trials is about how many trials show a difference delta with probability power when single
// ones scatter by sigma and the error allowed is alpha, one-sided: ((z₁₋α + z_power)·σ/Δ)², and two more for
// small numbers. It is an approximation, and 0 when delta is 0 or anything is not finite. Source: Lachin,
// "Introduction to sample size determination and power analysis for clinical trials", Controlled Clinical
// Trials 2 (1981), for one sample of normal values.
func Trials(sigma, delta, alpha, power float64) int {
	z := distuv.UnitNormal.Quantile(1-alpha) + distuv.UnitNormal.Quantile(power)
	root := z * sigma / delta
	n := root * root
	if math.IsNaN(n) || math.IsInf(n, 0) || n > math.MaxInt32 {
		return 0
	}
	return int(math.Ceil(n)) + 2
}

// Resolved is about the smallest difference that so many trials show with probability power: the inverse of [Trials]. It is +Inf
// for fewer than three.
func Resolved(sigma float64, trials int, alpha, power float64) float64 {
	if trials < 3 || math.IsNaN(sigma) {
		return math.Inf(1)
	}
	z := distuv.UnitNormal.Quantile(1-alpha) + distuv.UnitNormal.Quantile(power)
	return z * sigma / math.Sqrt(float64(trials-2))
}

// SDMost is the upper bound of the standard deviation that n normal values with the standard deviation sd come from, which is above it
// with probability alpha at most: sd·√((n−1)/χ²_α,ₙ₋₁). +Inf for fewer than two values. A pilot's own standard deviation is too small
// about as often as too large, so that plans made of it fall short: Browne, "On the Use of a Pilot Sample for Sample Size
// Determination", Statistics in Medicine 14 (1995), takes a bound with alpha = 0.2 instead.
func SDMost(sd float64, n int, alpha float64) float64 {
	if n < 2 || math.IsNaN(sd) {
		return math.Inf(1)
	}
	nu := float64(n - 1)
	return sd * math.Sqrt(nu/distuv.ChiSquared{K: nu}.Quantile(alpha))
}
