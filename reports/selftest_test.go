package reports_test

import (
	"bytes"
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// The self-test's table says what each run came to and which objectives noticed, and names those that never fail.
func TestSelfTest(t *testing.T) {
	s := &tutti.SelfTest{
		Name: "gate\x1b[2J", Blocks: 1, Verdict: rundir.Fail, ExitCode: 10, Reasons: []string{"nothing failed with weak (as the scenario says)"},
		Runs: []tutti.Tried{
			{Name: "as-is", Verdict: rundir.Pass, Outcome: tutti.Quiet},
			{Name: "equal-arms", Outcome: tutti.Skipped, Why: "no objective compares the same of two arms"},
			{Name: "delay-200ms", Verdict: rundir.Fail, Outcome: tutti.Caught, Bites: []tutti.Bite{{Number: 1}, {Number: 3}, {Number: 2, Beyond: true}}},
			{Name: "weak", Verdict: rundir.Pass, Outcome: tutti.Missed},
			{Name: "odd", Verdict: rundir.Invalid, Outcome: tutti.Unknown, Why: "block 1: \x1b[31m"},
			{Name: "likely", Verdict: rundir.Inconclusive, Outcome: tutti.Likely, Bites: []tutti.Bite{{Number: 2, Beyond: true}}},
		},
		Never: []tutti.NeverFailed{{Objective: "cluster.availability >= 1%", Number: 4, Line: 33, Why: "it is about the baseline alone, in which nothing was broken"}},
	}
	var b bytes.Buffer
	if err := reports.SelfTest(&b, s, "runs/x/selftest.json", reports.TextOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(b.String(), "\u00a0", " ")
	for _, want := range []string{
		"✖ THE GATE DOES NOT BITE", `gate\x1b[2J`, "quiet", "skipped", "caught   1, 3 (2)", "✖ missed", "△ unknown", "◇ likely   (2)",
		"4 cluster.availability >= 1% (line 33): it is about the baseline alone", "nothing failed with weak", "runs/x/selftest.json", "exit 10",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("it steers:\n%q", text)
	}
}
