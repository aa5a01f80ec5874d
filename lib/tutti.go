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
	Trials []*analysis.Trial // those of Run.Trials, in their order
	Source []byte            // the scenario as run, secrets masked
}
