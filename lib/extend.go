package tutti

import (
	"fmt"
	"slices"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// last is the number of the last block that may be run when so many are valid: the spare ones are those of the repeats until these
// are there, so that a range does not make an invalid run longer.
func (r *running) last(valid int) int {
	s := r.Plan.Scenario
	if valid < s.Repeats {
		return s.Repeats + plan.Spares(s.Repeats)
	}
	return r.Plan.Last()
}

// decided reports whether this is a look of a planned extension at which every objective is decided.
func (r *running) decided(valid int) bool {
	s := r.Plan.Scenario
	if s.Most == 0 || !slices.Contains(slo.Looks(s.Repeats, s.Most), valid) {
		return false
	}
	j := &judging{plan: rundir.Plan{Repeats: s.Repeats, Most: s.Most, Provenance: rundir.Provenance{Engine: r.Facts.Driver}}, scenario: s, trials: r.trials}
	j.tellHealth() // as reading the folder does: without it what a health check must lose is not known
	seen := j.judge(r.trials)
	if r.o.Hooks.Look != nil {
		r.o.Hooks.Look(valid, seen.Open())
	}
	return seen.Decided()
}

// judge judges some of the trials, as [Judge] does all.
func (j *judging) judge(trials []*analysis.Trial) slo.Verdict {
	return slo.Judge(slo.Input{
		Objectives: j.scenario.Objectives, Blocks: j.blocksOf(trials), Repeats: j.plan.Repeats, Most: j.plan.Most, Lost: j.lostOf(trials),
		PerBlock: j.perBlock(),
	})
}

// extension is what a range of repeats came to: what was seen at each look, made again from the recordings. nil without one.
func (j *judging) extension(v slo.Verdict) *rundir.Extension {
	if j.plan.Most == 0 {
		return nil
	}
	out := &rundir.Extension{Most: j.plan.Most, Looks: []rundir.Look{}}
	for _, n := range slo.Looks(j.plan.Repeats, j.plan.Most) {
		if n > len(v.Blocks) {
			break
		}
		until := v.Blocks[n-1]
		then := slices.DeleteFunc(slices.Clone(j.trials), func(t *analysis.Trial) bool { return t.Rec.Block > until })
		seen := j.judge(then)
		out.Looks = append(out.Looks, rundir.Look{Blocks: n, Verdict: rundir.Verdict(seen.Outcome.String()), Open: append([]string{}, seen.Open()...)})
	}
	switch last := len(out.Looks) - 1; {
	case last >= 0 && out.Looks[last].Blocks == len(v.Blocks) && len(out.Looks[last].Open) == 0:
		out.Why = "every objective is decided"
	case len(v.Blocks) >= j.plan.Most:
		out.Why = fmt.Sprintf("%d blocks were the most that was planned", j.plan.Most)
	case j.end.Stopped != "":
		out.Why = j.end.Stopped
	case j.end.Error != "":
		out.Why = oneLine(j.end.Error)
	case j.end.Interrupted:
		out.Why = "the run was interrupted"
	default:
		out.Why = "too many blocks were invalid"
	}
	return out
}
