package stats_test

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/tutti-bench/tutti/lib/stats"
)

// TestMannWhitneyByEnumeration holds the recursion against all ways to deal ranks to two samples.
func TestMannWhitneyByEnumeration(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {4, 4}, {3, 5}, {5, 3}, {6, 6}} {
		m, n := size[0], size[1]
		by, all := make([]int, m*n+1), 0
		for set := range 1 << (m + n) {
			if bits.OnesCount(uint(set)) != m {
				continue
			}
			u := 0
			for i := range m + n {
				if set>>i&1 == 1 { // a first one: it is larger than the second ones below it
					u += i - bits.OnesCount(uint(set&(1<<i-1)))
				}
			}
			by[u]++
			all++
		}
		sum := 0
		for u, k := range by {
			sum += k
			near(t, "P(U ≤ u)", stats.MannWhitneyP(m, n, u), float64(sum)/float64(all))
		}
	}
	for _, c := range []struct {
		m, n int
		want int
	}{{4, 4, 1}, {3, 5, 1}, {3, 4, 0}, {5, 5, 3}, {6, 6, 6}, {10, 10, 24}} { // tables of the U test at two-sided 5 %, which name the largest U to reject: one less
		if got := stats.MannWhitneyCount(c.m, c.n, 0.025); got != c.want {
			t.Errorf("count(%d, %d) = %d, want %d", c.m, c.n, got, c.want)
		}
	}
	if stats.MannWhitneyP(3, 3, -1) != 0 || stats.MannWhitneyP(3, 3, 9) != 1 {
		t.Error("beyond its range the distribution is neither 0 nor 1")
	}
	// The approximation goes on where the recursion ends.
	if p := stats.MannWhitneyP(60, 60, 1426); math.Abs(p-0.025) > 0.0002 { // (1426.5 − 1800) / √(3600·121/12) is −1.96
		t.Errorf("P(U ≤ 1426) of 60 and 60 is %v", p)
	}
	if c := stats.MannWhitneyCount(60, 60, 0.025); stats.MannWhitneyP(60, 60, c-1) > 0.025 || stats.MannWhitneyP(60, 60, c) <= 0.025 {
		t.Errorf("count(60, 60) = %d", c)
	}
}

func TestShift(t *testing.T) {
	// Hollander and Wolfe's data on the permeability of membranes (example 4.1): Δ̂ = −0.305, 95.2 % interval (−0.76, 0.15).
	x := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	y := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	near(t, "shift", stats.Shift(x, y), -0.305)
	low, high, ok := stats.ShiftBounds(x, y, 0.025)
	if !ok {
		t.Fatal("no interval")
	}
	near(t, "low", low, -0.76)
	near(t, "high", high, 0.15)
	if _, _, ok := stats.ShiftBounds([]float64{1, 2, 3}, []float64{1, 2, 3}, 0.025); ok {
		t.Error("three values against three have a 95 % interval")
	}
	never := []float64{inf, inf, inf, inf}
	near(t, "never and never", stats.Shift(never, never), 0)
	if low, high, ok := stats.ShiftBounds(never, never, 0.025); !ok || low != 0 || high != 0 {
		t.Errorf("never and never: %v to %v", low, high)
	}
	near(t, "what never came", stats.Shift([]float64{1, 2, 3, 4}, never), inf)
	if p := stats.ShiftAbove([]float64{1, 2, 3, 4}, never); math.Abs(p-1./70) > 1e-12 {
		t.Errorf("p of what never came is %v", p)
	}
	if p := stats.ShiftAbove(nil, never); p != 1 || !math.IsNaN(stats.Shift(nil, never)) {
		t.Error("nothing is above nothing")
	}
}

// TestShiftCoverage draws 5,000 pairs of unpaired samples: the printed 95 % interval holds the truth in 94 % at the least, and p ≤ alpha just
// when the lower bound is above zero.
func TestShiftCoverage(t *testing.T) {
	const draws = 5000
	r := rand.New(rand.NewPCG(20261129, 3))
	for _, n := range [][2]int{{4, 4}, {6, 6}, {6, 12}, {10, 10}} {
		hit := 0
		for i := range draws {
			xs, ys := make([]float64, n[0]), make([]float64, n[1])
			for i := range xs {
				xs[i] = 0.14 * r.NormFloat64()
			}
			for i := range ys {
				ys[i] = 0.18 + 0.14*r.NormFloat64()
			}
			low, high, _ := stats.ShiftBounds(xs, ys, 0.025)
			if low <= 0.18 && 0.18 <= high {
				hit++
			}
			if p := stats.ShiftAbove(xs, ys); i < 500 && (p <= 0.025) != (low > 0) {
				t.Fatalf("p %v, lower bound %v", p, low)
			}
		}
		if share := float64(hit) / draws; share < 0.94 || share > 0.985 {
			t.Errorf("%v: intervals cover %.2f %%", n, 100*share)
		}
	}
}
