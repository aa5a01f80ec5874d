package stats

import (
	"math"
	"math/bits"
)

// maxLooks is how often data may be looked at: more looks cost power and save few trials.
const maxLooks = 3

// maxExact is the number of values up to which the joint distribution of several looks is computed: its states are the 2ⁿ
// assignments of signs to ranks.
const maxExact = 16

// A Look is one moment of a planned extension at which it may end.
type Look struct {
	N int // values there are
	// Tail is how many Walsh averages may lie outside one end of an interval at this look, as [SignedRankCount] is without looks; 0:
	// nothing can be told yet.
	Tail int
}

// LookSizes are the numbers of values at which an extension from least to most is looked at: both ends and one size
// in the middle.
func LookSizes(least, most int) []int {
	if most <= least {
		return []int{least}
	}
	steps := min(maxLooks-1, most-least)
	sizes := make([]int, steps+1)
	for i := range sizes {
		sizes[i] = least + int(math.Round(float64(i*(most-least))/float64(steps)))
	}
	return sizes
}

// Widest is the largest number of values that an extension from least may go on to and still tell something at its first look with an
// error of alpha: beyond, what may be spent there is less than the chance that all of least symmetric values are on one side. It is below
// least where so few values tell nothing in any case.
func Widest(least int, alpha float64) int {
	share := alpha / math.Ldexp(1, -least)
	return int(min(float64(least)*share*share*(1+1e-12), math.MaxInt32))
}

// Looks divides the error alpha of a one-sided bound among looks at so many values, rising, of at most most, so that
// the chance that the bound misses at any of them is alpha at most: whoever ends at whichever look, for whatever reason, has his
// confidence. Until n values alpha·√(n/most) may have been spent; what ranks cannot spend at one look is there at the next.
//
// The bounds are exact: for symmetric values the ranks of the new ones among the old and all signs are
// independent and uniform, so that the joint distribution of the signed-rank statistics of the looks is a recursion over which ranks are
// negative. Beyond 16 values each look has what its share adds, which is safe whatever the looks have in common (Bonferroni).
//
// Sources: Lan and DeMets, "Discrete Sequential Boundaries for Clinical Trials", Biometrika 70 (1983), for the
// spending; Kim and DeMets, "Design and Analysis of Group Sequential Tests Based on the Type I Error Spending Rate Function",
// Biometrika 74 (1987), for a power as its function; Jennison and Turnbull, "Interim Analyses: The Repeated Confidence Interval
// Approach", J. R. Statist. Soc. B 51 (1989), for bounds that hold at all looks together.
func Looks(sizes []int, most int, alpha float64) []Look {
	looks := make([]Look, len(sizes))
	spent := 0.0
	signs := []float64{1} // the chance of each set of negative ranks, where no look has ended it
	n := 0
	for i, size := range sizes {
		looks[i].N = size
		left := alpha*math.Sqrt(float64(size)/float64(most)) - spent
		if size > maxExact {
			looks[i].Tail = SignedRankCount(size, left)
			spent += left
			continue
		}
		for ; n < size; n++ {
			signs = withOneMore(signs, n)
		}
		tail, chance := tailOf(signs, left)
		looks[i].Tail = tail
		spent += chance
	}
	return looks
}

// withOneMore is the distribution of the set of negative ranks after one more value than n: its rank is any of n+1, its sign any
// of two, and the ranks from its own on rise by one.
func withOneMore(signs []float64, n int) []float64 {
	more := make([]float64, 2*len(signs))
	each := 1 / float64(2*(n+1))
	for set, p := range signs {
		if p == 0 {
			continue
		}
		for rank := range n + 1 {
			below := set & (1<<rank - 1)
			moved := set>>rank<<(rank+1) | below
			more[moved] += p * each
			more[moved|1<<rank] += p * each
		}
	}
	return more
}

// tailOf takes the sets with the smallest sums of negative ranks out of a distribution, as many sums as have no more than left
// together, and returns how many these are and what they have.
func tailOf(signs []float64, left float64) (tail int, chance float64) {
	sums := make([]int, len(signs))
	var by []float64
	for set, p := range signs {
		if set > 0 {
			low := bits.TrailingZeros(uint(set))
			sums[set] = sums[set&(set-1)] + low + 1
		}
		for len(by) <= sums[set] {
			by = append(by, 0)
		}
		by[sums[set]] += p
	}
	const rounding = 1e-12
	for tail < len(by) && chance+by[tail] <= left+rounding {
		chance += by[tail]
		tail++
	}
	for set := range signs {
		if sums[set] < tail {
			signs[set] = 0
		}
	}
	return tail, chance
}

// LookBounds is [SignedRankBounds] at one look. It reports false where nothing can be told yet.
func LookBounds(xs []float64, l Look) (low, high float64, ok bool) {
	if l.Tail == 0 || l.N != len(xs) {
		return math.Inf(-1), math.Inf(1), false
	}
	down, up := walshes(xs)
	return down[l.Tail-1], up[len(up)-l.Tail], true
}
