package main

import (
	"path/filepath"
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
)

// The table of gates says what was noticed, by which objectives, and keeps the rows of what was not run.
func TestGateTable(t *testing.T) {
	found := &tutti.SelfTest{
		Schema: tutti.SelfTestSchema,
		Runs: []tutti.Tried{
			{Name: "as-is", Kind: tutti.AsIs, Outcome: tutti.Alarm, Bites: []tutti.Bite{{Number: 6}}},
			{Name: "slow", Outcome: tutti.Caught, Bites: []tutti.Bite{{Number: 1}, {Number: 3, Beyond: true}, {Number: 6}, {Number: 7}}},
			{Name: "fewer", Outcome: tutti.Likely, Bites: []tutti.Bite{{Number: 2, Beyond: true}}},
			{Name: "same", Outcome: tutti.Missed},
			{Name: "odd", Outcome: tutti.Unknown},
			{Name: "none", Outcome: tutti.Skipped},
			{Name: "equal-arms", Outcome: tutti.Alarm},
		},
		Never: []tutti.NeverFailed{{Number: 4}, {Number: 5}},
	}
	of := &scenario.Scenario{Objectives: make([]slo.Objective, 7)}
	of.Objectives[6].Severity = slo.SeverityWarn
	got := gateTable([]*gate{
		{job: &job{name: "a", scenario: of}, found: found},
		{job: &job{name: "b"}, row: "| [b](b.yaml) | x |"},
		{job: &job{name: "c"}, why: "no image | there"},
		{job: &job{name: "d"}, why: "it fell over", failed: true, row: "| [d](d.yaml) | old |"},
		{job: &job{name: "f"}},
		{job: &job{name: "g"}},
		{job: &job{name: "e", scenario: of}, found: &tutti.SelfTest{}},
	})
	for _, want := range []string{
		"| [a](a.yaml) | slow: 1 (3)<br>fewer: (2) | same | odd | as-is<br>equal-arms | 4, 5 |\n", "| [b](b.yaml) | x |\n", "- c: no image \\| there", "- d: it fell over", "Not run yet: f, g.\n",
		"| [e](e.yaml) | – | – | – | – | – |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "old") {
		t.Errorf("what was tried in vain has its old row:\n%s", got)
	}
	rows := gateMarks().rows(gateMarks().begin + "\n" + got + gateMarks().end)
	if len(rows) != 3 || rows["b"] != "| [b](b.yaml) | x |" {
		t.Errorf("rows %v", rows)
	}
}

// fakeGate stands for tutti: gate --self-test --out DIR … takes the next verdict from the file beside it.
const fakeGate = `#!/bin/sh
set -eu
here=$(dirname "$0")
echo "$@" >> "$here/calls"
test "$1 $2 $3" = "gate --self-test --out"
v=$(head -n 1 "$here/verdicts")
tail -n +2 "$here/verdicts" > "$here/rest"
mv "$here/rest" "$here/verdicts"
test ! -e "$4" || exit 20
test "$v" != none || exit 0
mkdir -p "$4"
echo '{"schema":"tutti.selftest/v1","blocks":1,"verdict":"'$v'","reasons":["it is '$v'"]}' > "$4/selftest.json"
test "$v" = pass
`

// A self-test that broke off is no finding: it is told, not published, and done again.
func TestGateBrokeOff(t *testing.T) {
	s, out := bench(t, "error", "interrupted", "none", "fail", "pass")
	write(t, filepath.Join(s.dir, "tutti"), fakeGate)
	j := control(t, s, 1)
	j.targets = nil // no image is missing
	for i, want := range []struct {
		why   string
		found rundir.Verdict
	}{{"it is error", ""}, {"it is interrupted", ""}, {"wrote no selftest.json", ""}, {"", rundir.Fail}, {"", rundir.Fail}} {
		g := &gate{job: j}
		s.tryGate(t.Context(), g)
		if g.failed != (want.why != "") || !strings.Contains(g.why, want.why) || (g.found != nil) != (want.found != "") || g.found != nil && g.found.Verdict != want.found {
			t.Errorf("%d: failed %v, why %q, found %+v", i, g.failed, g.why, g.found)
		}
	}
	if n := calls(t, s); n != 4 {
		t.Errorf("tutti was run %d times, want 4: the fourth finished\n%s", n, out)
	}
}
