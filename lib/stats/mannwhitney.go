package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// maxPairs is the number of pairs up to which the distribution of the Mann–Whitney statistic is computed exactly.
const maxPairs = 2500

// mannWhitney returns P(U ≤ u) for u = 0 … mn, where U counts the pairs of m and n values of one distribution in which the first is the larger
// one: p(m, n, u) = m/(m+n)·p(m−1, n, u−n) + n/(m+n)·p(m, n−1, u). Source: Mann and Whitney, "On a Test of Whether One of
// Two Random Variables is Stochastically Larger than the Other", Ann. Math. Statist. 18 (1947).
func mannWhitney(m, n int) []float64 {
	row := make([][]float64, n+1) // of i values on the first side, by how many there are on the second
	for k := range row {
		row[k] = []float64{1}
	}
	for i := 1; i <= m; i++ {
		next := make([][]float64, n+1)
		next[0] = []float64{1}
		for k := 1; k <= n; k++ {
			p := make([]float64, i*k+1)
			first, second := float64(i)/float64(i+k), float64(k)/float64(i+k)
			for u, v := range row[k] {
				p[u+k] += first * v
			}
			for u, v := range next[k-1] {
				p[u] += second * v
			}
			next[k] = p
		}
		row = next
	}
	p := row[n]
	for u := 1; u < len(p); u++ {
		p[u] += p[u-1]
	}
	return p
}

// MannWhitneyP is P(U ≤ u) for m and n values of one distribution: exactly up to 2,500 pairs, then by the normal approximation with a
// correction for continuity.
func MannWhitneyP(m, n, u int) float64 {
	switch pairs := m * n; {
	case u < 0:
		return 0
	case u >= pairs:
		return 1
	case pairs <= maxPairs:
		return mannWhitney(m, n)[u]
	}
	mean := float64(m*n) / 2
	sd := math.Sqrt(float64(m*n) * float64(m+n+1) / 12)
	return distuv.UnitNormal.CDF((float64(u) + 0.5 - mean) / sd)
}

// MannWhitneyCount is how many differences of pairs may lie outside one end of an interval that misses with probability alpha
// at most on that side; 0 means that the values are too few.
func MannWhitneyCount(m, n int, alpha float64) int {
	if m*n <= maxPairs {
		for u, p := range mannWhitney(m, n) {
			if p > alpha {
				return u
			}
		}
		return m*n + 1 // not with an alpha below 1
	}
	low, high := 0, m*n // P(U ≤ high) is 1
	for low < high {
		if middle := (low + high) / 2; MannWhitneyP(m, n, middle) > alpha {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// pairs returns what each value of ys is above each of xs, in rising order. Equal infinities are 0 apart.
func pairs(xs, ys []float64) []float64 {
	ds := make([]float64, 0, len(xs)*len(ys))
	for _, x := range xs {
		for _, y := range ys {
			d := y - x
			if x == y {
				d = 0
			}
			ds = append(ds, d)
		}
	}
	slices.Sort(ds)
	return ds
}

// Shift is the median of what each value of ys is above each of xs: the Hodges–Lehmann estimate of how far the second of two
// samples is above the first. NaN without values. Source: Hodges and Lehmann, "Estimates of Location
// Based on Rank Tests", Ann. Math. Statist. 34 (1963).
func Shift(xs, ys []float64) float64 {
	if len(xs) == 0 || len(ys) == 0 {
		return math.NaN()
	}
	return middle(pairs(xs, ys))
}

// ShiftBounds returns a lower and an upper bound of how far ys are above xs, each missing it with probability alpha at
// most: order statistics of the differences, by the exact distribution of Mann and Whitney's statistic. The samples are not paired. It reports
// false when the values are too few: for two-sided 95 % four on each side, or three against five. Source:
// Hollander, Wolfe, Chicken, "Nonparametric Statistical Methods", 3rd ed., 4.3.
func ShiftBounds(xs, ys []float64, alpha float64) (low, high float64, ok bool) {
	if len(xs) == 0 || len(ys) == 0 {
		return math.Inf(-1), math.Inf(1), false
	}
	c := MannWhitneyCount(len(xs), len(ys), alpha)
	if c == 0 {
		return math.Inf(-1), math.Inf(1), false
	}
	ds := pairs(xs, ys)
	return ds[c-1], ds[len(ds)-c], true
}

// ShiftAbove is the one-sided p value against "ys are not above xs". It is the inversion of [ShiftBounds]: p ≤ alpha just when the
// lower bound for alpha is above zero.
func ShiftAbove(xs, ys []float64) float64 {
	if len(xs) == 0 || len(ys) == 0 {
		return 1
	}
	u := 0
	for _, d := range pairs(xs, ys) {
		if d <= 0 {
			u++
		}
	}
	return MannWhitneyP(len(xs), len(ys), u)
}
