package reports

import (
	"fmt"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// A Stance is what a pipeline makes of a run that has decided nothing.
type Stance string

// The stances. The zero value lets nothing through, and does not call it a failure either: the run has an exit
// code of its own, is skipped in JUnit and a warning on the job's page.
const (
	Undecided Stance = ""
	Fail      Stance = "fail" // as an objective that failed
	Warn      Stance = "warn" // let through, with a warning
	Let       Stance = "pass" // let through, with a notice
)

// A Policy says what verdicts without a decision are to a pipeline. It never touches run.json: a verdict is what
// was measured, whoever reads it.
type Policy struct {
	Inconclusive Stance
	Invalid      Stance // [Undecided], [Fail] or [Warn]; what was not measured cannot be let through unseen

	// File is the scenario's path as the pipeline knows it, below its repository's root; "" is the name that run.json has.
	File string
}

// file is the scenario's path for one line of text.
func (p Policy) file(r *rundir.Run) string {
	if p.File == "" {
		return flat(r.Provenance.Scenario)
	}
	return flat(p.File)
}

// Check refuses what is no policy.
func (p Policy) Check() error {
	switch p.Inconclusive {
	case Undecided, Fail, Warn, Let:
	default:
		return fmt.Errorf("an inconclusive run cannot be %q to a pipeline; expected fail, warn or pass", p.Inconclusive)
	}
	switch p.Invalid {
	case Undecided, Fail, Warn:
		return nil
	case Let:
		return fmt.Errorf("an invalid run measured nothing, so that it cannot pass; expected fail or warn")
	}
	return fmt.Errorf("an invalid run cannot be %q to a pipeline; expected fail or warn", p.Invalid)
}

// Of is the stance towards a verdict; [Undecided] for all that are decided.
func (p Policy) Of(v rundir.Verdict) Stance {
	switch v {
	case rundir.Inconclusive:
		return p.Inconclusive
	case rundir.Invalid:
		return p.Invalid
	case rundir.Pass, rundir.Fail, rundir.Interrupted, rundir.Errored:
	}
	return Undecided
}

// Lets reports whether a run with this verdict goes through.
func (p Policy) Lets(v rundir.Verdict) bool {
	s := p.Of(v)
	return v == rundir.Pass || s == Warn || s == Let
}
