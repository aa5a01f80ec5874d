package stats_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tutti-bench/tutti/lib/stats"
)

func TestLookSizes(t *testing.T) {
	for _, c := range []struct {
		least, most int
		want        []int
	}{{6, 12, []int{6, 9, 12}}, {6, 7, []int{6, 7}}, {6, 8, []int{6, 7, 8}}, {8, 15, []int{8, 12, 15}}, {6, 6, []int{6}}, {6, 0, []int{6}}} {
		if got := stats.LookSizes(c.least, c.most); !slices.Equal(got, c.want) {
			t.Errorf("%d..%d is looked at after %v, want %v", c.least, c.most, got, c.want)
		}
	}
}

// TestLooksByEnumeration holds the recursion against all assignments of ranks and signs: the chance that a bound misses at one of
// the looks is what was allowed at most, and one more sum at any look would be too many.
func TestLooksByEnumeration(t *testing.T) {
	sizes, most := []int{3, 4, 6}, 6
	const alpha = 0.2
	looks := stats.Looks(sizes, most, alpha)
	missed := make([]int, len(looks)) // by the look that is the first to miss
	all, more := 0, make([]int, len(looks))
	for _, order := range permutations(most) {
		for signs := range 1 << most {
			all++
			for i, l := range looks {
				sum := negative(order[:l.N], signs)
				if sum == l.Tail {
					more[i]++
				}
				if sum < l.Tail {
					missed[i]++
					break
				}
			}
		}
	}
	spent := 0.0
	for i, l := range looks {
		spent += float64(missed[i]) / float64(all)
		may := alpha * math.Sqrt(float64(l.N)/float64(most))
		if spent > may+1e-12 {
			t.Errorf("after %d values a bound has missed with %.4f, allowed %.4f", l.N, spent, may)
		}
		if with := spent + float64(more[i])/float64(all); with <= may {
			t.Errorf("after %d values one more Walsh average could lie outside: %.4f of %.4f", l.N, with, may)
		}
	}
	if spent < 0.12 {
		t.Errorf("only %.4f of %.4f is spent", spent, alpha)
	}
}

// negative is the sum of the ranks among the first values of those whose sign is negative.
func negative(order []int, signs int) (sum int) {
	for i, v := range order {
		if signs>>i&1 == 0 {
			continue
		}
		for _, o := range order {
			if o <= v {
				sum++
			}
		}
	}
	return sum
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n))
		}
	}
	return all
}

// Without an extension, and at a single look, the bounds are the plain ones.
func TestOneLook(t *testing.T) {
	for n := 6; n <= 20; n++ {
		for _, alpha := range []float64{0.05, 0.025, 0.01} {
			if got, want := stats.Looks([]int{n}, n, alpha)[0].Tail, stats.SignedRankCount(n, alpha); got != want {
				t.Errorf("%d values, %v: %d, want %d", n, alpha, got, want)
			}
		}
	}
	if _, _, ok := stats.LookBounds([]float64{1, 2, 3}, stats.Look{N: 6, Tail: 2}); ok {
		t.Error("bounds for six values of three")
	}
	if _, _, ok := stats.LookBounds([]float64{1, 2, 3, 4, 5, 6}, stats.Look{N: 6}); ok {
		t.Error("bounds where nothing can be told")
	}
}

// TestManyLooks: beyond what is computed exactly nothing is spent twice.
func TestManyLooks(t *testing.T) {
	looks := stats.Looks(stats.LookSizes(10, 40), 40, 0.05)
	sum := 0.0
	for _, l := range looks {
		sum += stats.SignedRankP(l.N, l.Tail-1)
	}
	if sum > 0.05 || sum < 0.045 {
		t.Errorf("looks %v spend %.4f together", looks, sum)
	}
}

// extension judges draws of a comparison with a margin of 10 % by `repeats: 6..12`, as objectives are: it ends at the first look that
// passes or fails. Each trial has a noise of 10 %.
func extension(r *rand.Rand, draws int, ratio float64) (fails, passes, blocks float64) {
	margin := math.Log(1.1)
	sizes := stats.LookSizes(6, 12)
	looks := stats.Looks(sizes, 12, 0.05)
	for range draws {
		xs := make([]float64, 12)
		for i := range xs {
			xs[i] = math.Log(ratio) + 0.1*r.NormFloat64() - 0.1*r.NormFloat64()
		}
		for i, l := range looks {
			ended := xs[:l.N]
			lower, upper, _ := stats.LookBounds(ended, l)
			pass := upper <= margin
			fail := !pass && stats.HodgesLehmann(ended) > margin && lower > 0
			if pass {
				passes++
			}
			if fail {
				fails++
			}
			if pass || fail || i == len(looks)-1 {
				blocks += float64(l.N)
				break
			}
		}
	}
	n := float64(draws)
	return fails / n, passes / n, blocks / n
}

// TestExtension draws 20,000 runs with `repeats: 6..12`, a margin of 10 % and a noise of 10 % in each trial: equal arms fail at most
// 3 %, a loss of 20 % is found in at least 95 %, and one right at the margin passes in 5 % at most.
func TestExtension(t *testing.T) {
	r := rand.New(rand.NewPCG(20261129, 1))
	fails, passes, blocks := extension(r, 20000, 1)
	t.Logf("equal arms: %.1f %% fail, %.1f %% pass, %.1f blocks", 100*fails, 100*passes, blocks)
	if fails > 0.03 || passes < 0.5 {
		t.Errorf("equal arms: %.1f %% fail, %.1f %% pass", 100*fails, 100*passes)
	}
	fails, passes, blocks = extension(r, 20000, 1.2)
	t.Logf("20 %% slower: %.1f %% fail, %.1f %% pass, %.1f blocks", 100*fails, 100*passes, blocks)
	if fails < 0.95 || passes > 0.01 || blocks > 8.5 {
		t.Errorf("20 %% slower: %.1f %% fail, %.1f %% pass, %.1f blocks", 100*fails, 100*passes, blocks)
	}
	_, passes, _ = extension(r, 20000, 1.1)
	t.Logf("at the margin: %.1f %% pass", 100*passes)
	if passes > 0.052 {
		t.Errorf("at the margin: %.1f %% pass", 100*passes)
	}
}

// TestLookCoverage draws 20,000 runs that end at whichever look is the first whose interval excludes no difference: the
// printed 95 % interval there holds the truth in 95 % at least. It is one that holds at all looks together, so that it is a little wide.
func TestLookCoverage(t *testing.T) {
	const draws = 20000
	r := rand.New(rand.NewPCG(20261129, 2))
	sizes := stats.LookSizes(6, 12)
	looks := stats.Looks(sizes, 12, 0.025)
	for _, truth := range []float64{0, math.Log(1.1)} {
		hit := 0
		for range draws {
			xs := make([]float64, 12)
			for i := range xs {
				xs[i] = truth + 0.14*r.NormFloat64()
			}
			for i, l := range looks {
				low, high, _ := stats.LookBounds(xs[:l.N], l)
				if low <= 0 && high >= 0 && i < len(looks)-1 {
					continue
				}
				if low <= truth && truth <= high {
					hit++
				}
				break
			}
		}
		share := float64(hit) / draws
		t.Logf("a difference of %.2f: intervals cover %.2f %%", truth, 100*share)
		if share < 0.945 || share > 0.985 {
			t.Errorf("a difference of %.2f: intervals cover %.2f %%", truth, 100*share)
		}
	}
}

// TestWidest: up to there the first look tells something, and beyond nothing.
func TestWidest(t *testing.T) {
	for least, want := range map[int]int{6: 61, 7: 286, 8: 1310} {
		got := stats.Widest(least, 0.05)
		if got != want {
			t.Errorf("from %d it is %d, want %d", least, got, want)
		}
		for most, tells := range map[int]bool{got: true, got + 1: false} {
			if l := stats.Looks(stats.LookSizes(least, most), most, 0.05); (l[0].Tail > 0) != tells {
				t.Errorf("%d..%d has looks %v", least, most, l)
			}
		}
	}
	if got := stats.Widest(4, 0.05); got >= 4 {
		t.Errorf("from 4, which is too few, it is %d", got)
	}
	if got := stats.Widest(900, 0.05); got < 1000 {
		t.Errorf("from 900 it is %d", got)
	}
}
