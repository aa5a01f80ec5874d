package reports_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// wide is a run of many arms and blocks, whose trials are all copies of a few.
func wide(arms, blocks int) *tutti.Result {
	var few []*record.Recording
	for b := 1; b <= 7; b++ {
		const onset, heal = 3 * time.Second, 6 * time.Second
		t := analysistest.Trial{
			Arm: "arm-1", Block: b, Order: b, Seed: int64(b), Rate: 60, For: 10 * time.Second, Attempts: true,
			Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", onset, heal)}, Events: analysistest.Down("app-1", "crash", onset, heal),
		}
		t.Each = func(s *record.Sample, r *rand.Rand) {
			s.Done = s.Due + time.Duration(4e6*math.Exp(0.35*r.NormFloat64()))
			if s.Node == "app-1" && s.Due >= onset && s.Due < onset+time.Second {
				t.Fail(s, record.Timeout, 0)
			}
		}
		few = append(few, t.Recording())
	}
	of := runOf(few)
	run := *of.Run
	r := &tutti.Result{Dir: of.Dir, Source: of.Source, Run: &run}
	run.Arms, run.ArmOrder, run.Trials, run.Faults = map[string]rundir.Arm{}, nil, nil, nil
	run.Repeats, run.Baseline = blocks, "arm-1"
	for a := 1; a <= arms; a++ {
		name := fmt.Sprintf("arm-%d", a)
		run.Arms[name], run.ArmOrder = of.Run.Arms["arm-1"], append(run.ArmOrder, name)
	}
	for b := 1; b <= blocks; b++ {
		for a, name := range run.ArmOrder {
			k := (b + a) % len(few)
			rec, trial, fault := *few[k], of.Run.Trials[k], of.Run.Faults[k]
			rec.Arm, rec.Block, rec.Order = name, b, len(r.Trials)+1
			trial.Arm, trial.Block, trial.Order = name, b, rec.Order
			fault.Arm, fault.Block, fault.Order = name, b, rec.Order
			r.Trials, run.Trials, run.Faults = append(r.Trials, analysis.Of(&rec)), append(run.Trials, trial), append(run.Faults, fault)
		}
	}
	return r
}

// TestPageBounded: a page of many blocks or of many arms stays under 2 MB, and says what it leaves out.
func TestPageBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	for _, c := range []struct {
		arms, blocks int
		want         []string
	}{
		{2, 400, []string{
			"and 600 more; run.json has all of them", "Of the blocks one in 4 is drawn.", "400\u00a0blocks",
			"but for what hangs on what is left out for its size: ", "each trial’s response times, bad requests and lags",
		}},
		{50, 6, []string{"Of 50 arms ", "more; run.json has all of them", "arm-50</span>"}},
	} {
		begun := time.Now()
		page := render(t, wide(c.arms, c.blocks), reports.HTML)
		t.Logf("%d arms, %d blocks: %d bytes in %v", c.arms, c.blocks, len(page), time.Since(begun))
		if len(page) > 2_000_000 {
			t.Errorf("%d arms and %d blocks make a page of %d bytes", c.arms, c.blocks, len(page))
		}
		for _, want := range c.want {
			if !strings.Contains(string(page), want) {
				t.Errorf("the page of %d arms and %d blocks lacks %q", c.arms, c.blocks, want)
			}
		}
		es := elements(t, page)
		checkIDs(t, es)
		checkTables(t, es)
		checkFigures(t, es)
	}
}

// TestLevels: each level of detail makes a smaller page of what grows with the run, and is whole.
func TestLevels(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	r := wide(12, 6)
	last := 0
	for level := range reports.Levels() {
		page := render(t, r, func(w io.Writer, r *tutti.Result) error { return reports.LevelHTML(w, r, level) })
		es := elements(t, page)
		checkIDs(t, es)
		checkTables(t, es)
		checkFigures(t, es)
		if level > 0 && len(page) >= last*9/10 {
			t.Errorf("level %d makes %d bytes of %d", level, len(page), last)
		}
		last = len(page)
		d := dataOf(t, es)
		if arms := []int{12, 9, 6, 2}[level]; len(d.Figures.Timeline) != arms || len(d.Figures.Answered) != arms {
			t.Errorf("level %d draws %d arms", level, len(d.Figures.Timeline))
		}
	}
	if last > 500_000 {
		t.Errorf("the last level makes %d bytes", last)
	}
	hundred := render(t, wide(100, 1), func(w io.Writer, r *tutti.Result) error { return reports.LevelHTML(w, r, reports.Levels()-1) })
	if len(hundred) > 2_000_000 {
		t.Errorf("a hundred arms make %d bytes", len(hundred))
	}
}
