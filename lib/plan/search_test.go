package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/target"
)

const sweeping = `version: 1
name: sweeping
target: {compose: compose.yaml, ingress: "http://lb:8080", nodes: app}
sweep: {service: app, scale: [1, 4, 2]}
load:
  capacity: {while: "p99 <= 100ms", from: 50/s, to: 800/s, hold: 10s}
  warmup: 2s
  timeout: 1s
  requests: [GET /]
objectives:
  - app-4.capacity >= 2 * app-1.capacity
repeats: 6
seed: 7
`

// Every arm of a sweep is a trial of each block, with its scale, and its load is made for the highest rate of the search.
func TestSweep(t *testing.T) {
	p := built(t, sweeping)
	arms := make(map[string]int)
	for n := 1; n <= 6; n++ {
		for _, tr := range block(t, p, n) {
			arms[tr.Arm]++
			if tr.Capacity == nil || tr.Capacity.From != 50 || tr.Load.Schedule.Peak() != 800 || tr.Load.Schedule.For() != 10*time.Second || tr.Load.Connections < 1000 {
				t.Errorf("trial %+v", tr)
			}
			if len(tr.Steps) > 0 {
				t.Errorf("%s has steps", tr.Arm)
			}
		}
	}
	for i, n := range []int{1, 4, 2} {
		a := p.Scenario.Arms[i]
		if arms[a.Name] != 6 || p.Replicas(a, "app") != n || p.Replicas(a, "lb") != 1 {
			t.Errorf("arm %s: %d trials with %d replicas, want 6 with %d", a.Name, arms[a.Name], p.Replicas(a, "app"), n)
		}
	}
	// 50 to 800 is four doublings after the first rate; four halvings; one more for rounding and one tried again.
	if want := 2*time.Second + 11*(plan.LeadIn+10*time.Second+plan.Settle); p.TrialLoad() != want {
		t.Errorf("a trial's load takes %v, want %v", p.TrialLoad(), want)
	}
	if got := p.Duration(time.Second); got != 18*(p.TrialLoad()+time.Second) {
		t.Errorf("the run takes %v", got)
	}
}

// A percentile over too few requests is told of, and no other.
func TestFewRequests(t *testing.T) {
	if p := built(t, sweeping); len(p.Warnings) > 0 {
		t.Errorf("warnings: %q", p.Warnings)
	}
	p := built(t, strings.Replace(sweeping, "p99 <= 100ms", "ok_p999 <= 100ms and p99 <= 90ms", 1))
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "ok_p999 over the 500 requests") {
		t.Errorf("warnings: %q", p.Warnings)
	}
}

// A sweep of a service that is not there is told at its place.
func TestSweepOfNothing(t *testing.T) {
	s := parse(t, strings.NewReplacer("service: app", "service: ap", "app-4.capacity >= 2 * app-1.capacity", "ap-4.capacity >= 1/s").Replace(sweeping))
	_, err := plan.Build(s, targets(s), kinds(), target.Facts{})
	if err == nil || !strings.Contains(err.Error(), `has no service "ap"`) || !strings.Contains(err.Error(), ":4:") {
		t.Errorf("error %v", err)
	}
}
