package tutti

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/stats"
)

// What a plan promises: a wanted effect is shown with an error of 5 % on one side in nine of ten runs.
const (
	powerAlpha = 0.05
	powerShare = 0.9
	pilotAlpha = 0.2 // of the bound of a pilot's noise
)

// An Effect is a difference that somebody wants to be shown: a percentage, of times and rates relative and of shares points, or a
// plain number, of counts.
type Effect struct {
	V       float64
	Percent bool
}

// ParseEffect reads 10% or 5.
func ParseEffect(s string) (Effect, error) {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0) || math.IsInf(v, 0) || percent && v > 10 {
		return Effect{}, fmt.Errorf("%q is no effect; expected a percentage, such as 10%%, or a number of counts, such as 5", s)
	}
	return Effect{v, percent}, nil
}

// String writes it as it is read.
func (e Effect) String() string {
	if e.Percent {
		return strconv.FormatFloat(math.Round(e.V*1e8)/1e6, 'f', -1, 64) + "%"
	}
	return strconv.FormatFloat(e.V, 'f', -1, 64)
}

// A Power is how many blocks wanted effects need, by the noise of an earlier run.
type Power struct {
	Run      *rundir.Run
	PerBlock time.Duration // 0: unknown
	Rows     []PowerRow    // by objective
}

// A PowerRow is one objective.
type PowerRow struct {
	Name  string
	Noise Noise
	Needs []Need // by effect that makes sense of it
	Why   string // why there is none, else ""
}

// A Noise is how much an objective's value scatters from block to block.
type Noise struct {
	Relative bool          // SD is of logarithms, about a share of the value
	Unit     analysis.Unit // of SD, if it is not relative
	SD       float64
	Most     float64 // SD may be this large, with a confidence of 80 %
	N        int     // blocks it was measured in
}

// A Need is what one effect needs.
type Need struct {
	Effect Effect
	Blocks int // at the measured noise
	Most   int // at the most that the noise may be; 0: beyond counting
}

// PowerOf says what effects need, from the run in a folder; nil are usual ones. Nothing is written.
func PowerOf(dir string, kit plan.Kit, effects []Effect) (*Power, error) {
	j, err := readRun(dir, kit)
	if err != nil {
		return nil, &UsageError{err}
	}
	p := &Power{Run: j.run(j.judge(j.trials)), PerBlock: j.perBlock()}
	if len(p.Run.Objectives) == 0 {
		return nil, &UsageError{fmt.Errorf("plan from %s: its scenario has no objectives, and noise is that of an objective's value", dir)}
	}
	for i := range p.Run.Objectives {
		o := &p.Run.Objectives[i]
		row := PowerRow{Name: o.Name}
		scale := slo.ScaleOf(o.Form, measuredSide(j.scenario.Objectives[i].Check))
		if row.Noise, row.Why = noiseOf(o, scale); row.Why == "" {
			if scale == slo.Points {
				row.Noise.Unit = analysis.Ratio // balance is a number by its unit, and its effects are points
			}
			row.Needs, row.Why = row.Noise.needs(effects)
		}
		p.Rows = append(p.Rows, row)
	}
	return p, nil
}

// noiseOf measures it by an objective's value in each block, or says why that cannot be.
func noiseOf(o *rundir.Objective, scale slo.Scale) (Noise, string) {
	n := Noise{Unit: o.Unit, N: len(o.PerBlock), Relative: scale == slo.Factor}
	var xs []float64
	for _, b := range o.PerBlock {
		if b.State == analysis.NoData && b.Value != nil {
			return n, fmt.Sprintf("its value in block %d is at most %.3g: one side never came", b.Block, *b.Value)
		}
		if b.State != analysis.OK || b.Value == nil {
			return n, fmt.Sprintf("its value in block %d is %s", b.Block, orNothing(strings.ReplaceAll(string(b.State), "-", " ")))
		}
		x := *b.Value
		if n.Relative {
			if x = math.Log(x); math.IsInf(x, 0) || math.IsNaN(x) {
				return n, fmt.Sprintf("its value in block %d is zero, of which nothing is a share", b.Block)
			}
		}
		xs = append(xs, x)
	}
	if len(xs) < 3 {
		return n, fmt.Sprintf("%d blocks count, and noise takes 3", len(xs))
	}
	if n.SD = stats.SD(xs); n.SD == 0 && n.Relative {
		return n, "it never came on either side, or was the same to the last digit"
	}
	n.Most = stats.SDMost(n.SD, len(xs), pilotAlpha)
	return n, ""
}

// counts reports whether effects are numbers and not percentages.
func (n Noise) counts() bool { return !n.Relative && n.Unit == analysis.Number }

// needs are those of the effects that make sense, or why none does.
func (n Noise) needs(effects []Effect) (all []Need, why string) {
	if !n.Relative && ofMachine(n.Unit) {
		// A percentage would be one of a difference, which may be next to nothing.
		return nil, "it is a difference of times or rates, and an effect is a part of a time or a rate itself: compare without sums, or set a limit to a quotient"
	}
	if len(effects) == 0 {
		effects = n.usual()
	}
	for _, e := range effects {
		if e.Percent == n.counts() {
			continue
		}
		delta := e.V
		if n.Relative {
			delta = math.Log1p(e.V)
		}
		all = append(all, Need{e, blocksFor(n.SD, delta), blocksFor(n.Most, delta)})
	}
	if all == nil {
		why = "none of the effects is one of " + map[bool]string{true: "counts", false: "times, rates or shares"}[n.counts()]
	}
	return all, why
}

// blocksFor is at least what an interval takes that assumes nothing; 0 is more than anybody would run.
func blocksFor(sd, delta float64) int {
	n := stats.Trials(sd, delta, powerAlpha, powerShare)
	if n == 0 || n > 10_000 {
		return 0
	}
	return max(n, stats.MinSignedRank)
}

// Resolves is the smallest margin that so many blocks can decide where nothing differs: in nine of ten runs of equal arms the bound is
// within it. Of relative noise it is a share, up or, if lower, down.
func (n Noise) Resolves(blocks int, lower bool) float64 {
	d := stats.Resolved(n.SD, blocks, powerAlpha, powerShare)
	switch {
	case n.Relative && lower:
		return -math.Expm1(-d)
	case n.Relative:
		return math.Expm1(d)
	}
	return d
}

// usual effects are asked where nobody said which.
func (n Noise) usual() []Effect {
	switch {
	case n.Relative:
		return []Effect{{0.05, true}, {0.1, true}, {0.2, true}}
	case n.counts():
		return []Effect{{1, false}, {10, false}, {100, false}}
	}
	return []Effect{{0.001, true}, {0.01, true}, {0.05, true}}
}
