package reports_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/reports"
)

// oneLined is a report's text, its lines joined.
func oneLined(b []byte) string {
	text := strings.NewReplacer("\u00a0", " ", "<wbr>", "").Replace(string(b))
	return strings.Join(strings.Fields(text), " ")
}

// A closed loop is called one wherever its figures stand, and an open one never.
func TestClosedLoopIsLabelled(t *testing.T) {
	least := map[string]int{"html": 5, "md": 1, "txt": 1, "xml": 1} // the head, both figures, the table of phases, how to read it
	for _, model := range []rundir.Model{"", rundir.OpenLoop, rundir.ClosedLoop} {
		r := steady()
		r.Run.Load.Model = model
		if model == rundir.ClosedLoop {
			r.Run.Load.Rate, r.Run.Load.Stages = 0, []rundir.Stage{{Users: 20, Think: 0.5, For: 6}, {Users: 1, For: 4}}
		}
		for ext, want := range least {
			text := oneLined(render(t, r, formats[ext]))
			n := strings.Count(text, reports.ClosedNote)
			if closed := model == rundir.ClosedLoop; closed && n < want || !closed && n > 0 {
				t.Errorf("model %q: %s says %d times that the loop is closed", model, ext, n)
			}
			if words := "a closed loop of 20 users who think for 500 ms for 6 s, then 1 user who thinks for 0 s for 4 s"; model == rundir.ClosedLoop && ext != "txt" && ext != "xml" && !strings.Contains(text, words) {
				t.Errorf("%s does not say %q", ext, words)
			}
		}
	}
}

func TestStagesInWords(t *testing.T) {
	r := steady()
	r.Run.Load.Stages, r.Run.Load.Arrivals = []rundir.Stage{
		{Rate: 100, For: 5}, {Rate: 100, To: 400, For: 30}, {Rate: 400, Swing: 50, Period: 2.5, For: 90},
	}, "poisson"
	want := "100 requests/s for 5 s, then 100 to 400 requests/s over 30 s, then 400 ± 50 requests/s every 2.5 s for 90 s, arriving at random (Poisson) after a warm-up of 2 s"
	for _, ext := range []string{"html", "md"} {
		if text := oneLined(render(t, r, formats[ext])); !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", ext, want)
		}
	}
}

// The live view has the rate of the moment, and says what kind of load it is.
func TestLiveRate(t *testing.T) {
	stages := []schedule.Stage{{Rate: 100, For: 2 * time.Second}, {Rate: 100, To: 500, For: 4 * time.Second}}
	users := []schedule.Stage{{Users: 7, For: 2 * time.Second}, {Users: 31, Think: time.Second, For: 4 * time.Second}}
	for want, s := range map[string]schedule.Schedule{
		"rate 350 /s due 40":     {Stages: stages}, // in the middle of second 4
		"closed loop, users: 31": {Stages: users},
	} {
		synctest.Test(t, func(t *testing.T) {
			var w tape
			l := reports.NewLive(&w, reports.LiveOptions{TTY: true, Width: func() int { return 100 }})
			b := begin()
			b.Faults, b.For, b.Warmup, b.Schedule = nil, s.For(), 0, s
			l.Trial(b)
			l.Started(time.Now())
			h := new(record.Hist)
			h.AddN(time.Millisecond, 4)
			for i := range 55 {
				l.Bin(record.Bin{Index: i, Due: 4, Good: 4, Cells: []record.Cell{{Class: record.OK, Count: 4, Response: h}}})
			}
			time.Sleep(5500 * time.Millisecond)
			synctest.Wait()
			said := oneLined([]byte(picture(w.writes[len(w.writes)-1])))
			if !strings.Contains(said, want) {
				t.Errorf("no %q in %s", want, said)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Whoever is handed a page of a run in which something was broken on purpose is told so, first thing.
func TestVariationIsTold(t *testing.T) {
	for want, v := range map[string]*rundir.Variation{
		"Broken on purpose, to try whether the objectives notice: one-node-less, in cluster, other. What fails here": {
			Kind: rundir.Mutation, Name: "one-node-less", Scale: map[string]map[string]int{"other": {"app": 1}, "cluster": {"app": 2}},
		},
		"Broken on purpose, to try whether the objectives notice: delay-200ms, in cluster. What": {
			Kind: rundir.Mutation, Name: "delay-200ms", Verb: "http", Services: map[string]string{"cluster": "lb"},
		},
		"Broken on purpose, to try whether the objectives notice: no-check. What": {Kind: rundir.Mutation, Name: "no-check"},
		"the baseline twice, under two names":                                     {Kind: rundir.Again},
	} {
		for ext, write := range formats {
			r := steady()
			if strings.Contains(oneLined(render(t, r, write)), want) {
				t.Errorf("%s of a run without a variation has one", ext)
			}
			r.Run.Variation = v
			if !strings.Contains(oneLined(render(t, r, write)), want) {
				t.Errorf("%s does not say %q", ext, want)
			}
		}
	}
}
