package cmd

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
	"github.com/tutti-bench/tutti/reports"
)

// A view shows a run while it goes on, on standard error: the answer comes on standard output.
type view struct {
	a    *app
	live *reports.Live
	stop func() // watching the terminal's size
}

// A teller says things to the reader: on the live view while there is one, else plainly. Two writers on one
// terminal would spoil each other's lines.
type teller struct {
	mu   sync.Mutex
	live *reports.Live
}

func (a *app) tell(format string, args ...any) {
	a.teller.mu.Lock()
	defer a.teller.mu.Unlock()
	text := clean(fmt.Sprintf(format, args...))
	if a.teller.live != nil {
		a.teller.live.Note(text)
		return
	}
	fmt.Fprintln(a.err, text)
}

func (a *app) newView() *view {
	_, tty := terminal(a.err)
	live := reports.NewLive(a.err, reports.LiveOptions{
		TTY: tty && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == "", Color: colour(a.err),
		Width: func() int { return width(a.err) }, Height: func() int { return height(a.err) },
	})
	a.teller.mu.Lock()
	defer a.teller.mu.Unlock()
	a.teller.live = live
	return &view{a: a, live: live, stop: onResize(live.Resized)}
}

// close leaves the terminal in order. It may be called twice.
func (v *view) close() {
	v.a.teller.mu.Lock()
	defer v.a.teller.mu.Unlock()
	if v.a.teller.live != nil {
		v.stop()
		_ = v.live.Close() // a terminal that cannot be written to cannot be told so
		v.a.teller.live = nil
	}
}

func (v *view) hooks(s *scenario.Scenario) tutti.Hooks {
	return tutti.Hooks{
		Engine: func(f target.Facts, why string) { v.a.tell("engine %s: %s", f.Driver, why) },
		Trial: func(t plan.Trial, of int, left time.Duration) {
			lt := reports.LiveTrial{
				Scenario: s.Name, Arm: t.Arm, Block: t.Block, Blocks: max(s.Repeats, s.Most), N: t.Order, Of: of,
				Warmup: t.Load.Schedule.Warmup, For: t.Load.Schedule.For(), Schedule: t.Load.Schedule, Left: left,
			}
			for _, st := range t.Steps {
				lt.Faults = append(lt.Faults, reports.LiveFault{Name: st.Name, At: st.At, For: st.For})
			}
			v.live.Trial(lt)
		},
		Within: trial.Hooks{Stage: v.live.Stage, Started: v.live.Started, Bin: v.live.Bin, Event: v.live.Event, Hold: v.live.Hold},
		Look: func(blocks int, open []string) {
			if len(open) == 0 {
				v.a.tell("look after %d blocks: every objective is decided", blocks)
				return
			}
			v.a.tell("look after %d blocks: undecided: %s", blocks, strings.Join(open, "; "))
		},
		Done: func(_ plan.Trial, a *analysis.Trial, err error) { v.live.Done(a.Problems(), err) },
	}
}

// planned says what will be done, before it is.
func (v *view) planned(p *tutti.Prepared) {
	s := p.Plan.Scenario
	blocks := count(s.Repeats, "block")
	if s.Most > 0 {
		blocks = blocksOf(s) + " blocks, looks after " + looksOf(s)
	}
	v.a.tell("%s: %s of %s, about %s; %s", s.Name, blocks, count(len(s.Arms), "arm"), lengthOf(p.Plan), "run "+p.ID)
	for _, n := range p.Notes {
		v.a.tell("note: %s", n)
	}
	for _, w := range p.Plan.Warnings {
		v.a.tell("warning: %s", w)
	}
}
