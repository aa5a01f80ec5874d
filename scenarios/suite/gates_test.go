package main

import (
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
)

// The table of gates says what was noticed, by which objectives, and keeps the rows of what was not run.
func TestGateTable(t *testing.T) {
	found := &tutti.SelfTest{
		Schema: tutti.SelfTestSchema,
		Runs: []tutti.Tried{
			{Name: "as-is", Outcome: tutti.Quiet},
			{Name: "slow", Outcome: tutti.Caught, Bites: []tutti.Bite{{Number: 1}, {Number: 3, Beyond: true}}},
			{Name: "fewer", Outcome: tutti.Likely, Bites: []tutti.Bite{{Number: 2, Beyond: true}}},
			{Name: "same", Outcome: tutti.Missed},
			{Name: "odd", Outcome: tutti.Unknown},
			{Name: "none", Outcome: tutti.Skipped},
			{Name: "equal-arms", Outcome: tutti.Alarm},
		},
		Never: []tutti.NeverFailed{{Number: 4}, {Number: 5}},
	}
	got := gateTable([]*gate{
		{job: &job{name: "a"}, found: found},
		{job: &job{name: "b"}, row: "| [b](b.yaml) | x |"},
		{job: &job{name: "c"}, why: "no image | there"},
		{job: &job{name: "d"}, why: "it fell over", failed: true, row: "| [d](d.yaml) | old |"},
		{job: &job{name: "f"}},
		{job: &job{name: "g"}},
		{job: &job{name: "e"}, found: &tutti.SelfTest{}},
	})
	for _, want := range []string{
		"| [a](a.yaml) | slow: 1 (3)<br>fewer: (2) | same | odd | equal-arms | 4, 5 |\n", "| [b](b.yaml) | x |\n", "- c: no image \\| there", "- d: it fell over", "Not run yet: f, g.\n",
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
