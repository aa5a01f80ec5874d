package reports_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/reports"
)

// TestFlow: figure 9 blames no target for a rate that was low, and says what its points are means of.
func TestFlow(t *testing.T) {
	bad := func(from, to time.Duration) func(*record.Sample, *rand.Rand) {
		return func(s *record.Sample, _ *rand.Rand) {
			if s.Due >= from && s.Due < to && s.Seq%4 == 0 {
				s.Class = record.Wrong
			}
		}
	}
	ramp := []schedule.Stage{{Rate: 10, To: 100, For: 10 * time.Second}}
	for _, c := range []struct {
		name       string
		of         analysistest.Trial
		want, each string
	}{
		{"a ramp", analysistest.Trial{Stages: ramp}, "and gave a good answer to all that was offered.", "each second"},
		{"a second", analysistest.Trial{For: 10 * time.Second, Each: bad(4*time.Second, 5*time.Second)}, "and gave no good answer to 25 of 100 offered/s in its worst second.", "each second"},
		{"points of several seconds", analysistest.Trial{Rate: 4, For: 500 * time.Second, Each: bad(100*time.Second, 102*time.Second)}, "and gave no good answer to 1 of 4 offered/s in its worst 2 s.", "each 2 s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runOf([]*record.Recording{c.of.Recording()})
			if got := finding(t, r, "f9"); !strings.HasSuffix(got, c.want) {
				t.Errorf("figure 9 finds: %s", got)
			}
			if got := reading(t, r, "f9"); !strings.Contains(got, "means over "+c.each) || !strings.Contains(got, "100 ms of "+c.each) {
				t.Errorf("figure 9 is read so: %s", got)
			}
		})
	}
}

// TestShortEnd: a step that ends with load 10 ms after it began has the same rate in figures 7 and 9.
func TestShortEnd(t *testing.T) {
	r := runOf([]*record.Recording{analysistest.Trial{For: 5*time.Second + 10*time.Millisecond}.Recording()})
	es := elements(t, render(t, r, reports.HTML))
	for _, id := range []string{"t-f7", "t-f9"} {
		rows := rowsOf(t, es, id)
		if last := rows[len(rows)-1]; last[0][0] != "5" || !slices.Contains(last, [2]string{"10", ""}) {
			t.Errorf("the last row of %s is %v", id, last)
		}
	}
}

// TestDashedLines: figure 7 speaks of dashed lines where there are some.
func TestDashedLines(t *testing.T) {
	if got := reading(t, steady(), "f7"); strings.Contains(got, "dashed") {
		t.Errorf("without a fault figure 7 is read so: %s", got)
	}
	if got := reading(t, crash(1), "f7"); !strings.HasSuffix(got, "The fault was in force between the dashed lines.") {
		t.Errorf("with one fault figure 7 is read so: %s", got)
	}
	if got := reading(t, nemesis(), "f7"); !strings.HasSuffix(got, "A fault was in force between the dashed lines.") {
		t.Errorf("with several faults figure 7 is read so: %s", got)
	}
}
