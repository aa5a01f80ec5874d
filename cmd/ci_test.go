package cmd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/cmd"
)

// TestRunnerTakesNoCommands reads what a step prints as GitHub's runner does: outside of the tokens there are annotations and nothing
// else, since a line of a target's could be a command.
func TestRunnerTakesNoCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS("../lib/rundir/testdata/v1/everything")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_ACTIONS", "true")
	t.Setenv("GITHUB_STEP_SUMMARY", filepath.Join(dir, "step.md"))
	t.Setenv("GITHUB_OUTPUT", filepath.Join(dir, "outputs"))
	var out, errs bytes.Buffer
	if code := cmd.Main(cmd.Builtin(), []string{"judge", dir}, os.Stdin, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	token, stops, taken := "", 0, []string{}
	var tokens []string
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSpace(line)
		switch next, stop := strings.CutPrefix(line, "::stop-commands::"); {
		case token != "":
			if line == "::"+token+"::" {
				token = ""
			}
		case stop:
			token, stops = next, stops+1
			tokens = append(tokens, next)
		default:
			taken = append(taken, line)
		}
	}
	if token != "" || stops != 2 || len(tokens[0]) < 16 || tokens[0] == tokens[1] {
		t.Errorf("stopped %d times with %q, the last one not ended: %q", stops, tokens, token)
	}
	if i := slices.IndexFunc(taken, func(s string) bool {
		return !strings.HasPrefix(s, "::notice file=") && !strings.HasPrefix(s, "::warning file=") && !strings.HasPrefix(s, "::error file=")
	}); i >= 0 || len(taken) == 0 {
		t.Errorf("the runner reads %q", taken)
	}
	if !strings.Contains(out.String(), "PASS") {
		t.Errorf("no result in\n%s", &out)
	}
}
