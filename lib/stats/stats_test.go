package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tutti-bench/tutti/lib/stats"
)

var inf = math.Inf(1)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got != want && !(math.Abs(got-want) <= 1e-6*math.Max(1, math.Abs(want))) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func TestSignedRankDistribution(t *testing.T) {
	// By enumeration of all 2ⁿ subsets.
	for _, c := range []struct {
		n, w int
		want float64
	}{
		{6, 0, 1. / 64},
		{6, 2, 3. / 64},
		{6, 21, 1},
		{8, 3, 5. / 256},
		{8, 5, 10. / 256},
		{10, 8, 25. / 1024},
		{20, 52, 25397. / (1 << 20)},
		{6, -1, 0},
		{6, 99, 1},
	} {
		near(t, "P(W ≤ w)", stats.SignedRankP(c.n, c.w), c.want)
	}
	for _, c := range []struct {
		n     int
		alpha float64
		want  int
	}{{5, 0.025, 0}, {6, 0.025, 1}, {8, 0.025, 4}, {10, 0.025, 9}, {20, 0.025, 53}, {4, 0.05, 0}, {6, 0.05, 3}, {6, 3. / 64, 3}, {8, 0.05, 6}} {
		if got := stats.SignedRankCount(c.n, c.alpha); got != c.want {
			t.Errorf("count(%d, %v) = %d, want %d", c.n, c.alpha, got, c.want)
		}
	}
	near(t, "P(W ≤ all) of 200", stats.SignedRankP(200, 200*201/2), 1)
}

func TestHodgesLehmann(t *testing.T) {
	// Hollander and Wolfe's depression data (example 3.1, 3.3): estimate −0.46, 96 % interval (−0.786, −0.010).
	depression := []float64{-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010}
	near(t, "estimate", stats.HodgesLehmann(depression), -0.46)
	low, high, ok := stats.SignedRankBounds(depression, 0.02)
	if !ok {
		t.Fatal("nine values have no interval")
	}
	near(t, "low", low, -0.786)
	near(t, "high", high, -0.010)
	for _, c := range []struct {
		xs              []float64
		mid, low, high  float64
		interval, early bool
	}{
		{xs: []float64{1, 2, 3, 4, 5, 6}, mid: 3.5, low: 1, high: 6, interval: true},
		{xs: []float64{2, 2, 2, 2, 2, 2}, mid: 2, low: 2, high: 2, interval: true},
		{xs: []float64{1, 2, 3, 4, 5}, mid: 3, low: -inf, high: inf},
		{xs: []float64{1, 2, 3, 4, 5, inf}, mid: 3.5, low: 1, high: inf, interval: true},
		{xs: []float64{inf, inf, inf, inf, inf, inf}, mid: inf, low: inf, high: inf, interval: true},
		{xs: []float64{-inf, inf, 0, 0, 0, 0}, mid: 0, low: -inf, high: inf, interval: true},
	} {
		near(t, "estimate", stats.HodgesLehmann(c.xs), c.mid)
		low, high, ok := stats.SignedRankBounds(c.xs, 0.025)
		near(t, "low", low, c.low)
		near(t, "high", high, c.high)
		if ok != c.interval {
			t.Errorf("%v: interval %v, want %v", c.xs, ok, c.interval)
		}
	}
	near(t, "median", stats.Median([]float64{3, 1, 2, inf}), 2.5)
	if !math.IsNaN(stats.Median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestT(t *testing.T) {
	low, high, ok := stats.TBounds([]float64{1, 2, 3}, 0.025)
	if !ok {
		t.Fatal("three values have no interval")
	}
	near(t, "low", low, 2-4.302653*math.Sqrt(1./3)) // t₀.₉₇₅,₂
	near(t, "high", high, 2+4.302653*math.Sqrt(1./3))
	near(t, "p", stats.TAbove([]float64{1, 2, 3}), 0.0370901)
	low, high, ok = stats.TBounds([]float64{0.3, 0.3, 0.3}, 0.025)
	if !ok || low != 0.3 || high != 0.3 {
		t.Errorf("equal values have bounds %v and %v", low, high)
	}
	if _, _, ok := stats.TBounds([]float64{1, inf, 2}, 0.025); ok {
		t.Error("an infinite value has an interval")
	}
	near(t, "p of equal ones above", stats.TAbove([]float64{1, 1, 1}), 0)
	near(t, "p of zeros", stats.TAbove([]float64{0, 0, 0}), 1)
}

func TestHolm(t *testing.T) {
	for _, c := range []struct {
		ps   []float64
		want []bool
	}{
		{[]float64{0.01, 0.04, 0.03}, []bool{true, false, false}},
		{[]float64{0.03, 0.01, 0.02}, []bool{true, true, true}},
		{[]float64{0.05}, []bool{true}},
		{[]float64{0.03, 0.03}, []bool{false, false}},
		{[]float64{math.NaN(), 0.001}, []bool{false, false}},
		{nil, nil},
	} {
		got := stats.Holm(c.ps, 0.05)
		for i := range c.want {
			if i < len(got) && got[i] != c.want[i] && !math.IsNaN(c.ps[0]) {
				t.Errorf("Holm(%v) = %v, want %v", c.ps, got, c.want)
			}
		}
		if len(c.ps) > 0 && math.IsNaN(c.ps[0]) && got[0] {
			t.Error("NaN was rejected")
		}
	}
}

func TestTrials(t *testing.T) {
	// (1.6449 + 1.2816)·0.14/ln 1.2 squared is 5.05, and two more.
	if got := stats.Trials(0.14, math.Log(1.2), 0.05, 0.9); got != 8 {
		t.Errorf("%d trials, want 8", got)
	}
	for _, bad := range [][2]float64{{1, 0}, {inf, 1}, {math.NaN(), 1}} {
		if got := stats.Trials(bad[0], bad[1], 0.05, 0.9); got != 0 {
			t.Errorf("sigma %v, delta %v: %d trials, want 0 for unknown", bad[0], bad[1], got)
		}
	}
}

// TestCoverage draws 20,000 paired comparisons: the printed 95 % interval must hold the
// truth in 93–98 %, for symmetric noise of several shapes, from 6 blocks (signed rank) and from 3 (t, normal noise).
func TestCoverage(t *testing.T) {
	const draws = 20000
	r := rand.New(rand.NewPCG(20260923, 1))
	noises := map[string]func() float64{
		"normal":      r.NormFloat64,
		"laplace":     func() float64 { return r.ExpFloat64() - r.ExpFloat64() },
		"one outlier": func() float64 { return r.NormFloat64() * map[bool]float64{true: 10, false: 1}[r.IntN(12) == 0] },
	}
	truth := math.Log(1.2)
	cover := func(n int, noise func() float64, bounds func([]float64, float64) (float64, float64, bool)) float64 {
		hit := 0
		for range draws {
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = truth + 0.14*noise()
			}
			if low, high, ok := bounds(xs, 0.025); ok && low <= truth && truth <= high {
				hit++
			}
		}
		return float64(hit) / draws
	}
	for _, name := range []string{"normal", "laplace", "one outlier"} {
		sizes := []int{6, 12}
		if name == "normal" {
			sizes = []int{6, 8, 10, 12}
		}
		for _, n := range sizes {
			if c := cover(n, noises[name], stats.SignedRankBounds); c < 0.93 || c > 0.98 {
				t.Errorf("%s noise, %d blocks: intervals cover %.2f %%", name, n, 100*c)
			} else {
				t.Logf("%s noise, %d blocks: intervals cover %.2f %%", name, n, 100*c)
			}
		}
	}
	for _, n := range []int{3, 4, 5} {
		if c := cover(n, noises["normal"], stats.TBounds); c < 0.94 || c > 0.96 {
			t.Errorf("t on %d blocks covers %.2f %%", n, 100*c)
		}
	}
}

// TestPValueInvertsTheBound: p ≤ alpha just when the lower bound is above zero.
func TestPValueInvertsTheBound(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 2000 {
		xs := make([]float64, 6+r.IntN(7))
		for i := range xs {
			xs[i] = math.Round(10*(r.NormFloat64()+0.7)) / 10 // rounded: ties and zeros
		}
		for _, alpha := range []float64{0.05, 0.025, 0.0167} {
			low, _, ok := stats.SignedRankBounds(xs, alpha)
			if p := stats.SignedRankAbove(xs); (p <= alpha) != (ok && low > 0) {
				t.Fatalf("%v: p %v, lower bound for %v is %v", xs, p, alpha, low)
			}
			low, _, _ = stats.TBounds(xs, alpha)
			if p := stats.TAbove(xs); (p <= alpha) != (low > 0) {
				t.Fatalf("%v: t p %v, lower bound for %v is %v", xs, p, alpha, low)
			}
		}
	}
}

// TestOneArmCoverage states how often one arm's interval holds the median when single
// trials are skewed, as times are: signed ranks assume symmetry, so the more trials the more the
// skew shows: about 97 % at 6 and 95 % at 12.
func TestOneArmCoverage(t *testing.T) {
	const draws = 20000
	r := rand.New(rand.NewPCG(20260923, 2))
	for _, c := range []struct {
		name  string
		sigma float64 // of the logarithm
		least float64
	}{{"a little skewed", 0.2, 0.93}, {"skewed", 0.5, 0.93}} {
		for _, n := range []int{6, 12} {
			hit := 0
			for range draws {
				xs := make([]float64, n)
				for i := range xs {
					xs[i] = math.Exp(c.sigma * r.NormFloat64())
				}
				if low, high, ok := stats.SignedRankBounds(xs, 0.025); ok && low <= 1 && 1 <= high {
					hit++
				}
			}
			share := float64(hit) / draws
			t.Logf("%s, %d trials: %.2f %%", c.name, n, 100*share)
			if share < c.least || share > 0.98 {
				t.Errorf("%s, %d trials: intervals cover %.2f %%", c.name, n, 100*share)
			}
		}
	}
}

// TestFalseFails draws 20,000 comparisons with a margin of 10 % at a noise of 10 % in each
// trial, and judges them as objectives are: fail when the estimate is beyond the margin and the bound excludes no
// change; pass when the bound is within the margin.
func TestFalseFails(t *testing.T) {
	const draws = 20000
	r := rand.New(rand.NewPCG(20260923, 3))
	margin := math.Log(1.1)
	run := func(draws, n int, ratio float64) (fails, passes float64) {
		for range draws {
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = math.Log(ratio) + 0.1*math.Sqrt2*r.NormFloat64()
			}
			lower, upper, _ := stats.SignedRankBounds(xs, 0.05)
			switch {
			case upper <= margin:
				passes++
			case stats.HodgesLehmann(xs) > margin && lower > 0:
				fails++
			}
		}
		return fails / float64(draws), passes / float64(draws)
	}
	for _, n := range []int{6, 8} {
		if fails, _ := run(draws, n, 1); fails > 0.04 {
			t.Errorf("%d blocks, no difference: %.1f %% fail", n, 100*fails)
		} else {
			t.Logf("%d blocks, no difference: %.1f %% fail", n, 100*fails)
		}
		if _, passes := run(draws/5, n, 1.1); passes > 0.06 {
			t.Errorf("%d blocks, at the margin: %.1f %% pass", n, 100*passes)
		}
		if fails, passes := run(draws/5, n, 1.3); fails < 0.97 || passes > 0.001 {
			t.Errorf("%d blocks, 30 %% slower: %.1f %% fail, %.1f %% pass", n, 100*fails, 100*passes)
		}
	}
}

// TestTrialsSuffice: of so many trials as are planned, nine of ten find the difference.
func TestTrialsSuffice(t *testing.T) {
	const draws = 4000
	r := rand.New(rand.NewPCG(20261129, 4))
	for _, c := range []struct{ sigma, delta float64 }{{0.14, math.Log(1.2)}, {0.14, math.Log(1.1)}, {0.05, math.Log(1.05)}, {0.3, math.Log(1.5)}} {
		n := max(stats.Trials(c.sigma, c.delta, 0.05, 0.9), stats.MinSignedRank)
		found := 0
		for range draws {
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = c.delta + c.sigma*r.NormFloat64()
			}
			if low, _, _ := stats.SignedRankBounds(xs, 0.05); low > 0 {
				found++
			}
		}
		if share := float64(found) / draws; share < 0.87 || share > 0.97 {
			t.Errorf("noise %v: %d trials find %.3f in %.1f %%", c.sigma, n, c.delta, 100*share)
		}
		if d := stats.Resolved(c.sigma, n, 0.05, 0.9); d > c.delta {
			t.Errorf("noise %v: %d trials are said to resolve %.3f, not %.3f", c.sigma, n, d, c.delta)
		}
	}
	if d := stats.Resolved(0.1, 2, 0.05, 0.9); !math.IsInf(d, 1) {
		t.Errorf("two trials resolve %v", d)
	}
}

func TestSDMost(t *testing.T) {
	near(t, "upper bound", stats.SDMost(1, 6, 0.2), math.Sqrt(5/2.3425343)) // χ²₀.₂,₅
	if v := stats.SDMost(1, 1, 0.2); !math.IsInf(v, 1) {
		t.Errorf("one value bounds the noise by %v", v)
	}
}
