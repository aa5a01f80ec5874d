package slo

import (
	"fmt"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/stats"
)

// Input is what a run is judged from.
type Input struct {
	Objectives []Objective
	// Blocks holds the trials by block and arm. A block counts if every arm that any block
	// has is there, not nil and without [analysis.Trial.Problems].
	Blocks   map[int]map[string]*analysis.Trial
	Repeats  int            // blocks asked for
	Most     int            // blocks up to which a planned extension goes; 0: there is none
	Lost     map[int]string // blocks that cannot count for a reason known elsewhere
	PerBlock time.Duration  // how long a block takes, to say what more would cost; 0: unknown
}

// Judge judges a run. It is pure.
//
// The run is invalid with fewer valid blocks than asked for, and where the generator's own lag decides
// an objective; else it fails with any objective that does, is inconclusive with any that is, and passes with
// at least one objective and all passed. Objectives of severity warn change nothing.
func Judge(in Input) Verdict {
	v := Verdict{Dropped: make(map[int]string)}
	blocks := in.sift(&v)
	v.Findings = judgeAll(in, v.Blocks, blocks)
	lagging := in.judgeLag(&v, blocks)
	v.Outcome, v.Reasons = in.conclude(&v, lagging)
	return v
}

// sift fills in which blocks count and which do not, and returns the former.
func (in Input) sift(v *Verdict) map[int]map[string]*analysis.Trial {
	arms, numbers := make(map[string]bool), make(map[int]bool)
	for n, b := range in.Blocks {
		numbers[n] = true
		for arm := range b {
			arms[arm] = true
		}
	}
	for n := range in.Lost {
		numbers[n] = true
	}
	names := sortedKeys(arms)
	counted := make(map[int]map[string]*analysis.Trial)
	for _, n := range sortedKeys(numbers) {
		if why := in.blockProblem(n, names); why != "" {
			v.Dropped[n] = why
			continue
		}
		v.Blocks = append(v.Blocks, n)
		counted[n] = in.Blocks[n]
	}
	return counted
}

func (in Input) blockProblem(n int, arms []string) string {
	if why := in.Lost[n]; why != "" {
		return why
	}
	for _, arm := range arms {
		t := in.Blocks[n][arm]
		if t == nil {
			return fmt.Sprintf("%s: no valid trial", arm)
		}
		if p := t.Problems(); len(p) > 0 {
			return fmt.Sprintf("%s: %s", arm, p[0])
		}
	}
	if len(arms) == 0 {
		return "it has no trial"
	}
	return ""
}

func sortedKeys[K int | string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// judgeAll judges every objective, and holds the fails of several gating comparisons
// to Holm's bounds: twelve checks at 5 % each would raise a false alarm in every second run.
func judgeAll(in Input, numbers []int, blocks map[int]map[string]*analysis.Trial) []Finding {
	findings := make([]Finding, len(in.Objectives))
	looks := in.looks(len(numbers))
	var family []int
	var cases []*judgedCase
	for i, o := range in.Objectives {
		c := newCase(o, numbers, blocks, in.PerBlock, looks)
		findings[i] = c.judge()
		if o.gates() && c.comparison && c.directed {
			family, cases = append(family, i), append(cases, c)
		}
	}
	stands := stats.HolmBy(len(cases), func(i, among int) bool { return cases[i].stands(among) })
	for k, i := range family {
		if f := &findings[i]; f.Outcome == Fail && !stands[k] {
			f.Outcome = Inconclusive
			f.Reason = fmt.Sprintf("%s; alone that would fail, but among %d comparisons chance is too likely (Holm%s)", f.Reason, len(cases), cases[k].chance())
		}
	}
	return findings
}

func (o Objective) gates() bool { return o.Severity != SeverityWarn }

// judgeLag judges the objectives again as if the generator had been punctual. Where that
// changes an outcome the finding is invalid; it returns the reasons of those that gate.
func (in Input) judgeLag(v *Verdict, blocks map[int]map[string]*analysis.Trial) []string {
	punctual := make(map[int]map[string]*analysis.Trial, len(blocks))
	for n, b := range blocks {
		punctual[n] = make(map[string]*analysis.Trial, len(b))
		for arm, t := range b {
			punctual[n][arm] = t.Unlagged()
		}
	}
	var reasons []string
	for i, p := range judgeAll(in, v.Blocks, punctual) {
		f := &v.Findings[i]
		if p.Outcome == f.Outcome {
			continue
		}
		f.Reason = fmt.Sprintf("the load generator's own lag decides this: %s with it, %s without it", f.Outcome, p.Outcome)
		f.Outcome, f.MoreBlocks = Invalid, 0
		if f.Objective.gates() {
			reasons = append(reasons, f.Objective.title()+": "+f.Reason)
		}
	}
	return reasons
}

func (o Objective) title() string {
	for _, s := range []string{o.Name, o.Text} {
		if s != "" {
			return s
		}
	}
	return "unnamed objective"
}

// conclude makes the run's verdict from those on its objectives.
func (in Input) conclude(v *Verdict, lagging []string) (Outcome, []string) {
	var reasons []string
	if asked := max(in.Repeats, 1); len(v.Blocks) < asked {
		reasons = append(reasons, fmt.Sprintf("%d of the %d blocks asked for are valid", len(v.Blocks), asked))
		for _, n := range sortedKeys(v.Dropped) {
			reasons = append(reasons, fmt.Sprintf("block %d: %s", n, v.Dropped[n]))
		}
	}
	if reasons = append(reasons, lagging...); len(reasons) > 0 {
		return Invalid, reasons
	}
	gating := 0
	by := make(map[Outcome][]string)
	for _, f := range v.Findings {
		if f.Objective.gates() {
			gating++
			by[f.Outcome] = append(by[f.Outcome], f.Objective.title()+": "+f.Reason)
		}
	}
	switch {
	case len(in.Objectives) == 0:
		return Inconclusive, []string{"the scenario has no objectives: nothing was to be shown"}
	case gating == 0:
		return Inconclusive, []string{"every objective has severity warn: nothing was to be shown"}
	case len(by[Fail]) > 0:
		return Fail, append(by[Fail], by[Inconclusive]...)
	case len(by[Pass]) == gating:
		return Pass, []string{fmt.Sprintf("%s met", allOf(gating))}
	}
	return Inconclusive, by[Inconclusive]
}

func allOf(n int) string {
	if n == 1 {
		return "the one objective is"
	}
	return fmt.Sprintf("all %d objectives are", n)
}
