package stats

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// MinSizes is the number of different sizes from which a scalability law can be fitted: it has three
// parameters.
const MinSizes = 3

// A Sized is one measured throughput of a system of so many nodes.
type Sized struct {
	N     float64 // nodes, 1 or more
	X     float64 // throughput, above 0
	Block int     // measurements of one block may err together
}

// A USL is the Universal Scalability Law
//
//	X(N) = λN / (1 + σ(N−1) + κN(N−1))
//
// fitted to measurements: λ is the throughput of one node, σ what nodes wait for one another (contention), κ what it costs that they
// agree (coherency). Source: Gunther, "A Simple Capacity Model of Massively Parallel Transaction Systems", CMG 1993, and
// "Guerrilla Capacity Planning", Springer 2007, chapter 4.
type USL struct {
	Lambda, Sigma, Kappa float64
	N                    int // measurements

	without []USL // the fits without one block each; nil if there are too few
}

// errFlat is a law of which more than one fits the measurements.
var errFlat = errors.New("the measurements do not tell the parameters apart")

// FitUSL fits the law by least squares of the logarithms, since what errs in a throughput is a share of it, with
// σ, κ ≥ 0: more nodes than one do not make each of them faster. A system that seems to scale better than linearly
// has σ = κ = 0. An error says why there is no fit: fewer than [MinSizes] sizes, or no more measurements than parameters.
//
// For each of the four cases of which parameters are free the law's linear form N/X = (1 + σ(N−1) + κN(N−1))/λ gives the start,
// and Gauss–Newton steps with halving the end; the best case without a negative parameter is taken.
func FitUSL(ms []Sized) (USL, error) {
	u, err := fitUSL(ms)
	if err != nil {
		return USL{}, err
	}
	u.without = leftOut(ms)
	return u, nil
}

// leftOut are the fits without one block each; nil if there are too few blocks, or if it cannot be told without one of them.
func leftOut(ms []Sized) []USL {
	var blocks []int
	for _, m := range ms {
		blocks = append(blocks, m.Block)
	}
	slices.Sort(blocks)
	blocks = slices.Compact(blocks)
	if len(blocks) < minBlocks {
		return nil
	}
	us := make([]USL, len(blocks))
	for i, block := range blocks {
		left := slices.DeleteFunc(slices.Clone(ms), func(m Sized) bool { return m.Block == block })
		var err error
		if us[i], err = fitUSL(left); err != nil {
			return nil
		}
	}
	return us
}

func fitUSL(ms []Sized) (USL, error) {
	for _, m := range ms {
		if !(m.N >= 1) || !(m.X > 0) || math.IsInf(m.N, 0) || math.IsInf(m.X, 0) {
			return USL{}, fmt.Errorf("a throughput of %v with %v nodes is none", m.X, m.N)
		}
	}
	switch sizes := sizesOf(ms); {
	case sizes < MinSizes:
		return USL{}, fmt.Errorf("a law with three parameters wants %d sizes, and here are %d", MinSizes, sizes)
	case len(ms) <= 3:
		return USL{}, fmt.Errorf("a law with three parameters wants more than three measurements, and here are %d", len(ms))
	}
	best, least := USL{}, math.Inf(1)
	for _, free := range [][]int{{0, 1, 2}, {0, 1}, {0, 2}, {0}} {
		u, ok := refine(linear(ms, free), ms, free)
		if rss := u.rss(ms); ok && u.Sigma >= 0 && u.Kappa >= 0 && rss < least {
			best, least = u, rss
		}
	}
	if math.IsInf(least, 1) {
		return USL{}, errFlat
	}
	best.N = len(ms)
	return best, nil
}

func sizesOf(ms []Sized) int {
	sizes := make(map[float64]bool)
	for _, m := range ms {
		sizes[m.N] = true
	}
	return len(sizes)
}

// minBlocks is the number of blocks from which a jackknife has a useful interval.
const minBlocks = 3

// At is the law's throughput with n nodes.
func (u USL) At(n float64) float64 { return u.Lambda * n / u.cost(n) }

func (u USL) cost(n float64) float64 { return 1 + u.Sigma*(n-1) + u.Kappa*n*(n-1) }

// gradient is that of log X(n) by log λ, σ and κ.
func (u USL) gradient(n float64) [3]float64 {
	d := u.cost(n)
	return [3]float64{1, -(n - 1) / d, -n * (n - 1) / d}
}

func (u USL) rss(ms []Sized) float64 {
	sum := 0.0
	for _, m := range ms {
		r := math.Log(m.X) - math.Log(u.At(m.N))
		sum += r * r
	}
	return sum
}

// normal are the normal equations of the free parameters: JᵀJ and Jᵀr.
func (u USL) normal(ms []Sized, free []int) (*mat.SymDense, *mat.VecDense) {
	a, b := mat.NewSymDense(len(free), nil), mat.NewVecDense(len(free), nil)
	for _, m := range ms {
		g := u.gradient(m.N)
		r := math.Log(m.X) - math.Log(u.At(m.N))
		for i, p := range free {
			b.SetVec(i, b.AtVec(i)+g[p]*r)
			for k := i; k < len(free); k++ {
				a.SetSym(i, k, a.At(i, k)+g[p]*g[free[k]])
			}
		}
	}
	return a, b
}

// linear fits the law's linear form, each measurement weighted by its throughput over its size, so that relative errors count alike.
func linear(ms []Sized, free []int) USL {
	terms := func(n float64) [3]float64 { return [3]float64{1, n - 1, n * (n - 1)} }
	a, b := mat.NewDense(len(ms), len(free), nil), mat.NewVecDense(len(ms), nil)
	for i, m := range ms {
		w := m.X / m.N
		for k, p := range free {
			a.Set(i, k, w*terms(m.N)[p])
		}
		b.SetVec(i, 1) // w·N/X
	}
	var x mat.VecDense
	u := USL{Lambda: ms[0].X / ms[0].N}
	if err := x.SolveVec(a, b); err != nil || !(x.AtVec(0) > 0) {
		return u
	}
	u.Lambda = 1 / x.AtVec(0)
	for k, p := range free {
		switch p {
		case 1:
			u.Sigma = max(x.AtVec(k)*u.Lambda, 0)
		case 2:
			u.Kappa = max(x.AtVec(k)*u.Lambda, 0)
		}
	}
	return u
}

// refine takes Gauss–Newton steps until they change nothing. It reports false if the law came to have no value at a size.
func refine(u USL, ms []Sized, free []int) (USL, bool) {
	rss := u.rss(ms)
	for range 100 {
		a, b := u.normal(ms, free)
		var step mat.VecDense
		var chol mat.Cholesky
		if !chol.Factorize(a) {
			return u, false
		}
		if err := chol.SolveVecTo(&step, b); err != nil {
			return u, false
		}
		next, after, moved := u, rss, false
		for scale := 1.0; scale > 1e-9 && !moved; scale /= 2 {
			next = u.moved(&step, free, scale)
			after = next.rss(ms)
			moved = after < rss // false of NaN
		}
		if !moved {
			return u, true
		}
		done := rss-after <= 1e-14*rss
		u, rss = next, after
		if done {
			return u, true
		}
	}
	return u, true
}

func (u USL) moved(step *mat.VecDense, free []int, scale float64) USL {
	for i, p := range free {
		d := scale * step.AtVec(i)
		switch p {
		case 0:
			u.Lambda *= math.Exp(d)
		case 1:
			u.Sigma += d
		case 2:
			u.Kappa += d
		}
	}
	return u
}

// Bounds returns bounds of anything that the law says, each missing it with probability alpha: by the jackknife over whole blocks,
// since those are what is independent, with Student's t. They are about the law, not about single measurements. It reports false with
// fewer than three blocks, and where what is asked is not finite. In the suite's simulations the two-sided 95 % interval of the
// throughput covers 94 to 96 %, whether or not the measurements of a block err together. Source: Tukey, "Bias and
// Confidence in Not-quite Large Samples", Annals of Mathematical Statistics 29 (1958).
func (u USL) Bounds(alpha float64, of func(USL) float64) (low, high float64, ok bool) {
	n := float64(len(u.without))
	if n < minBlocks {
		return 0, 0, false
	}
	whole := of(u)
	pseudo := make([]float64, len(u.without))
	for i, one := range u.without {
		pseudo[i] = n*whole - (n-1)*of(one)
	}
	low, high, ok = TBounds(pseudo, alpha)
	half := (high - low) / 2
	return whole - half, whole + half, ok && !math.IsNaN(half)
}

// Band is [USL.Bounds] of the throughput with n nodes, on its logarithm.
func (u USL) Band(n, alpha float64) (low, high float64, ok bool) {
	low, high, ok = u.Bounds(alpha, func(o USL) float64 { return math.Log(o.At(n)) })
	return math.Exp(low), math.Exp(high), ok
}

// Peak is the size at which the law's throughput is highest, √((1−σ)/κ). It reports false where there is none: with κ = 0 more nodes
// never make it less.
func (u USL) Peak() (n float64, ok bool) {
	if u.Kappa <= 0 || u.Sigma >= 1 {
		return 0, false
	}
	return max(math.Sqrt((1-u.Sigma)/u.Kappa), 1), true
}
