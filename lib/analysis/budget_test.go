package analysis_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
)

// outage is 20 s at 100/s of which every request to app-1 between 5 s and 7 s is lost; it answers again from back on.
func outage(verb string, replicas int, back time.Duration) *analysis.Trial {
	tr := analysistest.Trial{
		Replicas: replicas, Faults: []record.Fault{analysistest.Fault("crash", verb, "app-1", 5*time.Second, 10*time.Second)},
		Events: analysistest.Down("app-1", "crash", 5*time.Second, 10*time.Second),
	}
	tr.Each = func(s *record.Sample, _ *rand.Rand) {
		switch {
		case s.Node != "app-1" || s.Due < 5*time.Second || s.Due >= back:
		case s.Due < 7*time.Second:
			tr.Fail(s, record.Timeout, 0)
		case replicas > 1:
			s.Node = "app-2"
		default:
			tr.Fail(s, record.Refused, 0)
		}
	}
	return analysis.Of(tr.Recording())
}

func TestFloor(t *testing.T) {
	check := func(silent bool) *analysis.HealthCheck {
		return &analysis.HealthCheck{Interval: 500 * time.Millisecond, Timeout: 250 * time.Millisecond, Fails: 2, SilentDeath: silent}
	}
	for _, c := range []struct {
		name   string
		verb   string
		nodes  int
		health *analysis.HealthCheck
		want   float64 // NaN: no data
	}{
		{"a container dies", "kill", 4, check(true), 100. / 4 * (0.75 + 0.25)},
		{"a process dies", "kill", 4, check(false), 100. / 4 * 0.75},
		{"frozen, whatever the engine", "pause", 4, check(false), 100. / 4 * (0.75 + 0.25)},
		{"refuses, whatever the engine", "refuse", 4, check(true), 100. / 4 * 0.75},
		{"over before it is seen", "kill", 4, &analysis.HealthCheck{Interval: time.Minute, Timeout: time.Second, Fails: 3}, 100. / 4 * 5},
		{"nobody is left", "kill", 1, check(true), math.NaN()},
		{"it takes no node away", "latency", 4, check(true), math.NaN()},
		{"nobody says", "kill", 4, nil, math.NaN()},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := outage(c.verb, c.nodes, 11*time.Second)
			tr.Health = c.health
			floor, over := tr.Metric(analysis.Ref{Metric: "floor"}), tr.Metric(analysis.Ref{Metric: "loss_over_floor", Fault: "crash"})
			if math.IsNaN(c.want) {
				if floor.State != analysis.NoData || floor.Why == "" || over.State != analysis.NoData {
					t.Errorf("got %+v and %+v, want no data and a reason", floor, over)
				}
				return
			}
			lost := tr.Metric(analysis.Ref{Metric: "lost_requests"})
			if floor.State != analysis.OK || math.Abs(floor.V-c.want) > 1e-9 || math.Abs(over.V-(lost.V-c.want)) > 1e-9 || lost.V != 50 {
				t.Errorf("floor %+v, over it %+v, lost %+v, want a floor of %v and 50 lost", floor, over, lost, c.want)
			}
			if got := tr.Unlagged().Metric(analysis.Ref{Metric: "floor"}); got != floor {
				t.Errorf("without lag the floor is %+v", got)
			}
		})
	}
}

func TestRebalanced(t *testing.T) {
	for _, c := range []struct {
		name  string
		back  time.Duration
		nodes int
		want  analysis.Value
	}{
		{"it serves 1.2 s after the heal", 11200 * time.Millisecond, 4, analysis.Good(1)}, // 80 % of a share is there 200 ms before the whole of it
		{"at once", 10 * time.Second, 4, analysis.Good(0)},
		{"alone", 12 * time.Second, 1, analysis.Good(1.1)}, // any answer is all of them
		{"never", time.Hour, 4, analysis.Value{State: analysis.Censored, V: 9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := outage("kill", c.nodes, c.back).Metric(analysis.Ref{Metric: "rebalanced"}); got.State != c.want.State || math.Abs(got.V-c.want.V) > 1e-9 {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	for name, tr := range map[string]analysistest.Trial{
		"never undone": {Faults: []record.Fault{analysistest.Fault("f", "kill", "app-1", 5*time.Second, record.None)}},
		"too late":     {Faults: []record.Fault{analysistest.Fault("f", "kill", "app-1", 5*time.Second, 19500*time.Millisecond)}},
		"not balanced": {Faults: []record.Fault{analysistest.Fault("f", "kill", "lb-1", 5*time.Second, 6*time.Second)}},
		"no header": {
			Faults: []record.Fault{analysistest.Fault("f", "kill", "app-1", 5*time.Second, 6*time.Second)},
			Each:   func(s *record.Sample, _ *rand.Rand) { s.Node = "" },
		},
	} {
		if got := analysis.Of(tr.Recording()).Metric(analysis.Ref{Metric: "rebalanced"}); got.State != analysis.NoData || got.Why == "" {
			t.Errorf("%s: got %+v, want no data and a reason", name, got)
		}
	}
}

func TestAffordable(t *testing.T) {
	ask := func(tr *analysis.Trial, objective float64) analysis.Value {
		return tr.Metric(analysis.Ref{Metric: "affordable", Args: []float64{objective}})
	}
	// A quarter of two seconds is lost: half a second of the 2,592 s that 99.9 % of 30 days leave.
	if got := ask(outage("kill", 4, 11*time.Second), 0.999); got.State != analysis.OK || math.Abs(got.V-5184) > 1e-6 {
		t.Errorf("got %+v, want 5184", got)
	}
	if got := ask(analysis.Of(analysistest.Trial{}.Recording()), 0.999); got.State != analysis.Censored || math.Abs(got.V-259200) > 1e-6 {
		t.Errorf("nothing lost: got %+v, want at least 259200", got)
	}
	if got := ask(outage("kill", 4, 11*time.Second), 1); got.State != analysis.NoData {
		t.Errorf("an objective of 100 %%: got %+v, want no data", got)
	}
}
