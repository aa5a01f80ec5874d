package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
)

// How a command ends: its exit code, and what it says.
func TestEnds(t *testing.T) {
	lacking := &target.UnavailableError{What: "start", Err: errors.New("no \x1b[31m\u202eengine"), Hint: "start one"}
	for name, c := range map[string]struct {
		err  error
		code int
		says string
		not  string
	}{
		"done":                        {nil, 0, "", "tutti"},
		"failed objective":            {verdictOf(&rundir.Run{Verdict: rundir.Fail, ExitCode: 10}), 10, "", "tutti"},
		"wrong scenario":              {scenario.Errors{{File: "f", Line: 1, Column: 1, Msg: "bad"}}, 20, "1 error, nothing was started", ""},
		"wrong command line":          {&tutti.UsageError{Err: errors.New("no such arm")}, 20, "tutti: no such arm", ""},
		"surroundings":                {fmt.Errorf("run: %w", lacking), 30, "start one", "\x1b"},
		"interrupted":                 {errors.Join(errInterrupted, errors.New("context canceled")), 130, "interrupted; everything was removed", "canceled"},
		"interrupted, something left": {errors.Join(errInterrupted, trial.ErrLeft, errors.New("container abc stays")), 130, "container abc stays", "everything was removed"},
		"interrupted comes first":     {errors.Join(lacking, errInterrupted), 130, "interrupted", ""},
		"ours":                        {errors.New("nobody thought of it"), 70, "nobody thought of it", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			(&app{err: &b}).complain(c.err)
			if got := exitOf(c.err); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
			if !strings.Contains(b.String(), c.says) || c.not != "" && strings.Contains(b.String(), c.not) {
				t.Errorf("it says %q, want %q and not %q", b.String(), c.says, c.not)
			}
		})
	}
}
