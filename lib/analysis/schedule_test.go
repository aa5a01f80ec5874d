package analysis_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A hold goes by the lowest rate, wherever in the load that is.
func TestHoldOfAScheduleThatChanges(t *testing.T) {
	const minute = time.Minute
	for _, c := range []struct {
		want time.Duration
		of   []schedule.Stage
	}{
		{5 * sec, []schedule.Stage{{Rate: 40, For: minute}, {Rate: 40, To: 400, For: minute}}},
		{8 * sec, []schedule.Stage{{Rate: 400, To: 25, For: minute}, {Rate: 400, For: minute}}},
		{10 * sec, []schedule.Stage{{Rate: 100, Swing: 80, Period: 10 * sec, For: minute}}},
		{2 * minute, []schedule.Stage{{Rate: 100, Swing: 100, Period: 10 * sec, For: 2 * minute}}}, // it touches 0: nothing can be shown
		{5 * sec, []schedule.Stage{{Users: 3, For: minute}}},
		{5 * sec, nil},
	} {
		s := schedule.Schedule{Stages: c.of}
		if got := analysis.Hold(s); got != c.want {
			t.Errorf("a hold of %v lasts %v, want %v", s, got, c.want)
		}
	}
}

// The same outage is shown to be over under a ramp as soon as a hold at its lowest rate has passed, and not before.
func TestRecoveryUnderARamp(t *testing.T) {
	outage := func(last time.Duration) *analysis.Trial {
		return analysis.Of(analysistest.Trial{
			Stages: []schedule.Stage{{Rate: 20, To: 200, For: 10 * sec}, {Rate: 200, For: last}}, // H = 10 s
			Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 5*sec, record.None)},
			Each: func(s *record.Sample, _ *rand.Rand) {
				if s.Due >= 5*sec && s.Due < 7*sec {
					s.Class = record.Timeout
				}
			},
		}.Recording())
	}
	check(t, outage(7*sec), of("recovery"), num(2))
	check(t, outage(6_900*time.Millisecond), of("recovery"), censored(1.9))
}

// A closed loop has no rate that is known beforehand, and its nodes' lanes go by what was sent.
func TestLanesOfUsers(t *testing.T) {
	rec := analysistest.Trial{Rate: 10, For: 20 * sec, Attempts: true}.Recording()
	open := analysis.Of(rec).Lanes()
	rec.Schedule = schedule.Schedule{Stages: []schedule.Stage{{Users: 3, For: 20 * sec}}}
	closed := analysis.Of(rec).Lanes()
	if len(open) != 3 || len(closed) != 3 {
		t.Fatalf("%d and %d lanes", len(open), len(closed))
	}
	for i := range open {
		if len(closed[i].Spans) != len(open[i].Spans) || closed[i].Spans[0].State != analysis.InRotation {
			t.Errorf("%v, with a rate %v", closed[i], open[i])
		}
	}
}
