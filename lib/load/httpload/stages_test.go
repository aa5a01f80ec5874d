package httpload_test

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// Every shape of load is sent as it is due: each number once, and as many as the rates make.
func TestEveryShapeIsSent(t *testing.T) { engines(t, testEveryShapeIsSent) }

func testEveryShapeIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		s    schedule.Schedule
		want int
	}{
		"stages": {schedule.Schedule{Warmup: 100 * time.Millisecond, Stages: []schedule.Stage{
			{Rate: 200, For: 200 * time.Millisecond}, {Rate: 200, To: 600, For: 300 * time.Millisecond}, {Rate: 300, Swing: 300, Period: 200 * time.Millisecond, For: 400 * time.Millisecond},
		}}, 20 + 40 + 120 + 120},
		"poisson": {schedule.Schedule{Warmup: 200 * time.Millisecond, Arrivals: schedule.Poisson, Seed: 5, Stages: []schedule.Stage{{Rate: 400, For: 700 * time.Millisecond}}}, 80 + 280},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, new(loadtest.Server))
			p := plan(t, s, 1, time.Second)
			p.Schedule = c.s
			got := generate(t, generator(t), p) // which checks every due time
			if len(got) != c.want || len(s.Log()) != c.want {
				t.Errorf("%d samples, the server saw %d requests, want %d", len(got), len(s.Log()), c.want)
			}
			checkClasses(t, classes(got), map[record.Class]int{record.OK: c.want})
		})
	}
}
