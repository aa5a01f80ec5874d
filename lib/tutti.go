package tutti

import (
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// A Result is a run that is over: what run.json says, and what the recordings
// show. Reports are drawn from it and from nothing else.
type Result struct {
	Dir    string // the run's folder
	Run    *rundir.Run
	Trials []*analysis.Trial // in the order of Run.Trials; nil where a trial has no recording
	Source []byte            // the scenario as run, secrets masked
}
