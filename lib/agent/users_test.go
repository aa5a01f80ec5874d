package agent_test

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// Of a closed loop what was begun is what was scheduled, and every request of it is in one bin.
func TestLoadOfUsers(t *testing.T) {
	s := serve(t, &loadtest.Server{FailEvery: 7, Delay: 10 * time.Millisecond})
	c := dial(t, start(t, "good"))
	p := plan(s, 1, time.Second)
	p.Connections = 5
	p.Schedule = schedule.Schedule{Warmup: 300 * time.Millisecond, Stages: []schedule.Stage{
		{Users: 3, Think: 10 * time.Millisecond, For: 500 * time.Millisecond}, {Users: 5, For: 500 * time.Millisecond},
	}}
	last := -1000
	due, good := uint64(0), uint64(0)
	var examples []record.Example
	g, err := c.Load(t.Context(), p, func(time.Time) {}, func(b record.Bin) {
		if b.Index <= last || b.Index < -3 || b.Index > 9 {
			t.Errorf("bin %d comes after bin %d", b.Index, last)
		}
		last = b.Index
		due, good = due+b.Due, good+b.Good
		examples = append(examples, b.TakeExamples()...)
	})
	if err != nil {
		t.Fatal(err)
	}
	served := uint64(len(s.Log()))
	if !g.Complete || g.Scheduled != served || g.Counted != served || due != served || served == 0 || g.Inflight < 1 || g.Inflight > 5 || g.CPU <= 0 {
		t.Errorf("%+v; %d requests in the bins, the server saw %d", g, due, served)
	}
	if len(g.Slowest) != record.MaxSlowest || g.Slowest[0].Response() < g.Slowest[1].Response() || g.Engine != "" || g.Took < time.Second || g.Goroutines == 0 {
		t.Errorf("%d slowest, %+v", len(g.Slowest), g.Generator)
	}
	if len(examples) == 0 {
		t.Error("no example of a failure")
	}
	for _, e := range examples {
		if e.Class != record.Wrong || e.Status != 500 || e.Seq >= served || e.Seq == 0 && e.Due > 100*time.Millisecond {
			t.Errorf("%+v", e)
		}
	}
	if bad := served / 7; good != served-bad {
		t.Errorf("%d of %d are good, want all but %d", good, served, bad)
	}
	checkClose(t, c)
}
