package stats

import (
	"math"
	"slices"
)

// MinSignedRank is the number of values from which the signed-rank statistic has a
// two-sided 95 % interval: 2/2⁶ ≤ 5 % < 2/2⁵.
const MinSignedRank = 6

// signedRank returns P(W ≤ w) for w = 0 … n(n+1)/2, where W is Wilcoxon's signed-rank
// statistic of n values symmetric about zero: the sum of a random subset of 1 … n, each subset as
// likely. Source: Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin
// 1 (1945); the recursion over the largest rank is that of R's psignrank.
func signedRank(n int) []float64 {
	p := make([]float64, n*(n+1)/2+1)
	p[0] = 1
	for rank, top := 1, 0; rank <= n; rank++ {
		top += rank
		for w := top; w >= 0; w-- {
			p[w] /= 2
			if w >= rank {
				p[w] += p[w-rank] / 2
			}
		}
	}
	for w := 1; w < len(p); w++ {
		p[w] += p[w-1]
	}
	return p
}

// SignedRankP is P(W ≤ w) for n values symmetric about zero, exactly.
func SignedRankP(n, w int) float64 {
	p := signedRank(n)
	switch {
	case w < 0:
		return 0
	case w >= len(p):
		return 1
	}
	return p[w]
}

// SignedRankCount is how many Walsh averages may lie outside one end of an interval
// that misses with probability alpha at most on that side: the number of w with P(W ≤ w) ≤ alpha. 0 means that n
// values are too few.
func SignedRankCount(n int, alpha float64) int {
	count := 0
	for _, p := range signedRank(n) {
		if p > alpha {
			break
		}
		count++
	}
	return count
}

// walsh returns the averages of all pairs of values, each value with itself too, in
// rising order. An average of opposite infinities is unknown and becomes unknown.
func walsh(xs []float64, unknown float64) []float64 {
	ws := make([]float64, 0, len(xs)*(len(xs)+1)/2)
	for i, x := range xs {
		for _, y := range xs[i:] {
			w := x/2 + y/2
			if x == y {
				w = x
			}
			if math.IsNaN(w) {
				w = unknown
			}
			ws = append(ws, w)
		}
	}
	slices.Sort(ws)
	return ws
}

// walshes returns the Walsh averages with what is unknown as low, and as high, as can be.
func walshes(xs []float64) (down, up []float64) {
	down = walsh(xs, math.Inf(-1))
	if slices.Contains(xs, math.Inf(-1)) && slices.Contains(xs, math.Inf(1)) {
		return down, walsh(xs, math.Inf(1))
	}
	return down, down
}

// Median is the middle value, or the mean of the two in the middle; NaN of none, and
// of two opposite infinities.
func Median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	return middle(slices.Sorted(slices.Values(xs)))
}

// middle is the median of values in order.
func middle(s []float64) float64 {
	a, b := s[(len(s)-1)/2], s[len(s)/2]
	if a == b {
		return a
	}
	return a/2 + b/2
}

// HodgesLehmann is the median of the Walsh averages: an estimate of the centre that
// one outlier in four does not carry away. Values may be infinite (something that never happened). Where
// opposite infinities leave it open, it is the median of the values. Source: Hodges and Lehmann,
// "Estimates of Location Based on Rank Tests", Ann. Math. Statist. 34 (1963).
func HodgesLehmann(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	down, up := walshes(xs)
	if low := middle(down); low == middle(up) {
		return low
	}
	return Median(xs)
}

// SignedRankBounds returns a lower and an upper bound of the centre, each missing it
// with probability alpha at most: order statistics of the Walsh averages, by the exact distribution. It
// reports false when the values are too few for alpha. Source: Hollander, Wolfe, Chicken,
// "Nonparametric Statistical Methods", 3rd ed., 3.3.
func SignedRankBounds(xs []float64, alpha float64) (low, high float64, ok bool) {
	c := SignedRankCount(len(xs), alpha)
	if c == 0 {
		return math.Inf(-1), math.Inf(1), false
	}
	down, up := walshes(xs)
	return down[c-1], up[len(up)-c], true
}

// SignedRankAbove is the one-sided p value against "the centre is at most zero": small
// when it is above. It is the inversion of [SignedRankBounds]: p ≤ alpha just when the lower bound for
// alpha is above zero. Ties with zero count against.
func SignedRankAbove(xs []float64) float64 {
	if len(xs) == 0 {
		return 1
	}
	w := 0
	for _, x := range walsh(xs, math.Inf(-1)) {
		if x <= 0 {
			w++
		}
	}
	return SignedRankP(len(xs), w)
}
