package cmd

import (
	"errors"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// The exit codes of every command. 1, 2 and 125–127 are what go run, make, flag parsers and
// containers say, so they are not used. A verdict's code (10 fail, 11 a regression, 12 inconclusive, 13 invalid) stands in run.json.
const (
	exitPass        = 0
	exitInvalid     = 13
	exitUsage       = 20
	exitEnvironment = 30
	exitInternal    = 70
	exitInterrupted = 130
)

// errInterrupted is the cause of a context that Ctrl-C cancelled.
var errInterrupted = errors.New("interrupted")

// exitOf says how a command ends that returned err.
func exitOf(err error) int {
	var (
		verdict     *verdictError
		wrong       scenario.Errors
		usage       *tutti.UsageError
		environment *target.UnavailableError
	)
	switch {
	case err == nil:
		return exitPass
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &verdict):
		return verdict.code
	case errors.As(err, &wrong), errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &environment):
		return exitEnvironment
	}
	return exitInternal
}

// A verdictError ends a command that did its work, with another verdict than pass. It has been
// told already.
type verdictError struct {
	verdict rundir.Verdict
	code    int // as in run.json
}

func (e *verdictError) Error() string { return "verdict: " + string(e.verdict) }

// verdictOf is nil for a pass.
func verdictOf(r *rundir.Run) error {
	if r.ExitCode == exitPass {
		return nil
	}
	return &verdictError{r.Verdict, r.ExitCode}
}
