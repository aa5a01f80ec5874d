package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tutti-bench/tutti/lib/stats"
)

// law draws measurements of a law: blocks of all sizes, with noise of each measurement and of each block, as shares.
func law(of stats.USL, sizes []float64, blocks int, noise, block float64, r *rand.Rand) []stats.Sized {
	var ms []stats.Sized
	for b := range blocks {
		together := block * r.NormFloat64()
		for _, n := range sizes {
			ms = append(ms, stats.Sized{N: n, X: of.At(n) * math.Exp(together+noise*r.NormFloat64()), Block: b + 1})
		}
	}
	return ms
}

var toSix = []float64{1, 2, 3, 4, 5, 6}

// Without noise the parameters come back, at the bounds too.
func TestUSLParameters(t *testing.T) {
	for _, want := range []stats.USL{
		{Lambda: 50, Sigma: 0.05, Kappa: 0.01},
		{Lambda: 1e5, Sigma: 0.3, Kappa: 0},
		{Lambda: 0.02, Sigma: 0, Kappa: 0.2},
		{Lambda: 7, Sigma: 0, Kappa: 0},
		{Lambda: 995.65, Sigma: 0.02671, Kappa: 0.000769},
	} {
		for _, sizes := range [][]float64{toSix, {1, 2, 4}, {2, 5, 9, 30}} {
			u, err := stats.FitUSL(law(want, sizes, 2, 0, 0, rand.New(rand.NewPCG(1, 1))))
			if err != nil {
				t.Fatalf("%+v: %v", want, err)
			}
			for _, p := range [][2]float64{{u.Lambda, want.Lambda}, {1 + u.Sigma, 1 + want.Sigma}, {1 + u.Kappa, 1 + want.Kappa}} {
				if math.Abs(p[0]-p[1]) > 1e-6*p[1] {
					t.Errorf("sizes %v: got λ %v, σ %v, κ %v, want %+v", sizes, u.Lambda, u.Sigma, u.Kappa, want)
					break
				}
			}
		}
	}
}

// A benchmark that others have fitted: SPEC SDM91, of which R's package usl says σ = 0.0277 and κ = 0.000104.
func TestUSLPublished(t *testing.T) {
	var ms []stats.Sized
	for _, m := range [][2]float64{{1, 64.9}, {18, 995.9}, {36, 1652.4}, {72, 1853.2}, {108, 1828.9}, {144, 1775.0}, {216, 1702.2}} {
		ms = append(ms, stats.Sized{N: m[0], X: m[1]})
	}
	u, err := stats.FitUSL(ms)
	if err != nil {
		t.Fatal(err)
	}
	// That fit takes all errors as equally large, ours as shares: the parameters agree, not their digits.
	if u.Lambda < 64 || u.Lambda > 95 || u.Sigma < 0.01 || u.Sigma > 0.04 || u.Kappa < 5e-5 || u.Kappa > 3e-4 {
		t.Errorf("λ %v, σ %v, κ %v", u.Lambda, u.Sigma, u.Kappa)
	}
	if n, ok := u.Peak(); !ok || n < 70 || n > 130 {
		t.Errorf("peak at %v", n)
	}
}

// A system that gains more than its nodes is held at the bound, never given a negative cost.
func TestUSLBetterThanLinear(t *testing.T) {
	var ms []stats.Sized
	for block := 1; block <= 3; block++ {
		for _, n := range toSix {
			ms = append(ms, stats.Sized{N: n, X: 10 * math.Pow(n, 1.2), Block: block})
		}
	}
	u, err := stats.FitUSL(ms)
	if err != nil || u.Sigma != 0 || u.Kappa != 0 {
		t.Fatalf("%+v, %v", u, err)
	}
	if n, ok := u.Peak(); ok {
		t.Errorf("a peak at %v", n)
	}
}

func TestUSLRefuses(t *testing.T) {
	for what, ms := range map[string][]stats.Sized{
		"nothing":        nil,
		"two sizes":      {{N: 1, X: 1}, {N: 2, X: 2}, {N: 1, X: 1.1}, {N: 2, X: 2.1}, {N: 2, X: 1.9}},
		"three points":   {{N: 1, X: 1}, {N: 2, X: 2}, {N: 3, X: 2.5}},
		"no throughput":  {{N: 1, X: 0}, {N: 2, X: 2}, {N: 3, X: 3}, {N: 4, X: 4}},
		"not a number":   {{N: 1, X: math.NaN()}, {N: 2, X: 2}, {N: 3, X: 3}, {N: 4, X: 4}},
		"infinite":       {{N: 1, X: math.Inf(1)}, {N: 2, X: 2}, {N: 3, X: 3}, {N: 4, X: 4}},
		"less than none": {{N: 0, X: 1}, {N: 2, X: 2}, {N: 3, X: 3}, {N: 4, X: 4}},
	} {
		if u, err := stats.FitUSL(ms); err == nil {
			t.Errorf("%s: %+v", what, u)
		}
	}
	two, err := stats.FitUSL(law(stats.USL{Lambda: 5, Sigma: 0.1}, toSix, 2, 0.01, 0, rand.New(rand.NewPCG(3, 3))))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := two.Band(3, 0.025); ok {
		t.Error("an interval from two blocks")
	}
}

// The band covers the law as often as it says, whatever the parameters, also where a block's measurements err together; and the
// same measurements give the same bytes.
func TestUSLCoverage(t *testing.T) {
	draws := 1500
	if testing.Short() {
		draws = 300
	}
	for _, c := range []struct {
		of           stats.USL
		noise, block float64
		blocks       int
	}{
		{stats.USL{Lambda: 50, Sigma: 0.05, Kappa: 0.005}, 0.04, 0.04, 6},
		{stats.USL{Lambda: 50}, 0.04, 0, 6},
		{stats.USL{Lambda: 50, Sigma: 0.05, Kappa: 0.05}, 0.04, 0.02, 3},
	} {
		r := rand.New(rand.NewPCG(7, 9))
		hit := make(map[float64]int)
		for range draws {
			ms := law(c.of, toSix, c.blocks, c.noise, c.block, r)
			u, err := stats.FitUSL(ms)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range toSix {
				low, high, ok := u.Band(n, 0.025)
				if !ok || low > u.At(n) || high < u.At(n) {
					t.Fatalf("band %v to %v around %v", low, high, u.At(n))
				}
				if low <= c.of.At(n) && c.of.At(n) <= high {
					hit[n]++
				}
			}
		}
		for _, n := range toSix {
			if share := float64(hit[n]) / float64(draws); share < 0.92 || share > 0.98 {
				t.Errorf("%+v: with %v nodes the 95 %% band covers %.1f %%", c, n, 100*share)
			}
		}
	}
}
