package tutti

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Against is what a run is held against.
type Against struct {
	File     string // as given
	Baseline *rundir.Baseline
}

// regress adds an objective for everything in the run's baseline that can be a regression, and lets them have their say: a failed
// objective of the scenario goes first, and whatever is not shown to be no worse is undecided.
func (j *judging) regress(run *rundir.Run) error {
	b, err := j.folder.Baseline()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c := compare(&measuredRun{Baseline: b, file: j.plan.Against}, &measuredRun{Baseline: j.measured(run), file: j.folder.Path()})
	held := 0
	for _, r := range c.Rows {
		if r.Gates {
			held++
			o := regression(b, r)
			o.Line = lineOf(run, r.Subject)
			run.Objectives = append(run.Objectives, o)
		}
	}
	if len(c.Moved) > 0 {
		run.Objectives = append(run.Objectives, elsewhere(j.plan.Against, c.Moved, held))
	}
	switch {
	case run.Verdict == rundir.Fail && c.Verdict == rundir.Fail:
		run.Reasons = append(run.Reasons, c.Reasons...)
	case run.Verdict != rundir.Pass && run.Verdict != rundir.Inconclusive:
	case c.Verdict == rundir.Fail:
		run.Verdict, run.ExitCode = rundir.Fail, exitRegression
		run.Reasons = append(told("regression", c.Reasons), run.Reasons...)
	case c.Verdict == rundir.Inconclusive && run.Verdict == rundir.Pass:
		run.Verdict, run.ExitCode = rundir.Inconclusive, exitCode(rundir.Inconclusive)
		run.Reasons = append(told("baseline", c.Reasons), run.Reasons...)
	case c.Verdict == rundir.Inconclusive:
		run.Reasons = append(run.Reasons, told("baseline", c.Reasons)...)
	default:
		run.Reasons = append(run.Reasons, "nothing is worse than in the baseline "+j.plan.Against)
	}
	return nil
}

// elsewhere tells that a baseline was measured on another machine. It has a say where nothing is left that could be held against it.
func elsewhere(file string, moved []string, held int) rundir.Objective {
	o := rundir.Objective{
		Name: "the baseline's machine", Text: "baseline: the same machine", Severity: slo.SeverityWarn, Verdict: rundir.Inconclusive, Form: slo.Absolute, Op: "==",
		Value: rundir.Value{Unit: analysis.Number, State: analysis.NoData}, Arms: []string{}, Regression: true,
		Reason: fmt.Sprintf("%s was measured on another machine (%s): only what compares arms inside a run is held against it", file, strings.Join(moved, "; ")),
	}
	if held == 0 {
		o.Severity = slo.SeverityFail
	}
	return o
}

func told(what string, reasons []string) []string {
	out := make([]string, len(reasons))
	for i, r := range reasons {
		out[i] = what + ": " + r
	}
	return out
}

// lineOf is where the run's scenario has an objective about a subject, 0 if it has none. The baseline's line is of another file, or of an older one.
func lineOf(run *rundir.Run, subject string) int {
	k := slices.IndexFunc(run.Objectives, func(o rundir.Objective) bool { return o.Subject == subject && !o.Regression })
	if k < 0 {
		return 0
	}
	return run.Objectives[k].Line
}

// regression is a compared row as an objective of the run.
func regression(b *rundir.Baseline, r ComparedRow) rundir.Objective {
	o := rundir.Objective{
		Name: r.Subject + " against the baseline", Text: "baseline: " + r.Subject, Subject: r.Subject, Severity: slo.SeverityFail, Verdict: r.Verdict,
		Form: r.Form, Op: "<=", Limit: r.Limit, N: r.Now.N, Value: r.By, Arms: []string{}, Regression: true, Reason: r.Reason,
	}
	if k := slices.IndexFunc(b.Measures, func(m rundir.Measure) bool { return m.Subject == r.Subject && m.Lower == r.Lower && m.Gates }); k >= 0 {
		m := b.Measures[k]
		o.Margin, o.Arms = m.Margin, append(o.Arms, m.Arms...)
		if m.Lower {
			o.Op = ">="
		}
	}
	return o
}
