package tutti_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/target"
)

// extended is two arms without faults, compared with a margin in 6 to 12 blocks.
const extended = `version: 1
name: extended
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app}
arms:
  one: {scale: {app: 1}}
  two: {scale: {app: 2}}
baseline: one
load: {rate: 10/s, for: 5s, warmup: 1s, timeout: 1s, requests: [GET /]}
objectives:
  - {check: two.p50 <= one.p50, margin: 10%}
repeats: 6..12
`

// takes makes arm two slower than arm one by ratio, with a noise by block.
func takes(ratio float64, noise func(block int) float64) func(target.Spec) time.Duration {
	return func(s target.Spec) time.Duration {
		var block int
		arm, n, _ := strings.Cut(s.Trial, "-")
		_, _ = fmt.Sscan(n, &block)
		d := float64(20 * time.Millisecond)
		if arm == "two" {
			d *= ratio * (1 + noise(block))
		}
		return time.Duration(d)
	}
}

// spread is noise in which neither a loss of 10 % nor none is ever excluded.
func spread(block int) float64 { return []float64{0.4, -0.2}[block%2] }

func still(int) float64 { return 0 }

// An extension ends at the first look at which every objective is decided, and goes on to its end where none is.
func TestExtension(t *testing.T) {
	for name, c := range map[string]struct {
		takes   func(target.Spec) time.Duration
		verdict rundir.Verdict
		code    int
		blocks  int
		looks   []int
		why     string
	}{
		"passes at once":             {takes(1, still), rundir.Pass, 0, 6, []int{6}, "every objective is decided"},
		"fails at once":              {takes(1.3, still), rundir.Fail, 10, 6, []int{6}, "every objective is decided"},
		"decided at the second look": {takes(1.3, func(b int) float64 { return []float64{0, 1.02/1.3 - 1, 0, 0, 0, 0.96/1.3 - 1, 0, 0, 0, 0}[b] }), rundir.Fail, 10, 9, []int{6, 9}, "every objective is decided"},
		"remains undecided":          {takes(1, spread), rundir.Inconclusive, 12, 12, []int{6, 9, 12}, "12 blocks were the most"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, extended)
			b.Takes = c.takes
			var told []int
			b.opts.Hooks.Look = func(blocks int, open []string) {
				if told = append(told, blocks); (len(open) == 0) != (blocks == c.blocks && c.verdict != rundir.Inconclusive) {
					t.Errorf("after %d blocks %q are told to be open", blocks, open)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				res, err := b.run(t.Context(), t)
				if err != nil {
					t.Fatal(err)
				}
				verdict(t, res.Run, c.verdict, c.code)
				if got := len(res.Run.Trials) / 2; got != c.blocks {
					t.Errorf("%d blocks, want %d", got, c.blocks)
				}
				isLooks(t, res.Run.Extension, c.looks, c.why)
				if !slices.Equal(told, c.looks) {
					t.Errorf("told of looks after %v, want %v", told, c.looks)
				}
				again, err := tutti.Judge(res.Dir, b.opts.Kit)
				if err != nil {
					t.Fatal(err)
				}
				isLooks(t, again.Run.Extension, c.looks, c.why)
				if o := res.Run.Objectives[0]; o.N != c.blocks || !strings.Contains(o.Note, "6..12") {
					t.Errorf("the objective is judged on %d blocks, note %q", o.N, o.Note)
				}
			})
		})
	}
}

func isLooks(t *testing.T, e *rundir.Extension, want []int, why string) {
	t.Helper()
	if e == nil {
		t.Fatal("there is no extension")
	}
	var got []int
	for i, l := range e.Looks {
		got = append(got, l.Blocks)
		if open := len(l.Open) > 0; open != (i < len(e.Looks)-1 || why != "every objective is decided") {
			t.Errorf("after %d blocks %q are open", l.Blocks, l.Open)
		}
	}
	if !slices.Equal(got, want) || !strings.Contains(e.Why, why) || e.Most != 12 {
		t.Errorf("looks %v, why %q, most %d; want %v and %q", got, e.Why, e.Most, want, why)
	}
}

// Invalid blocks have spare ones, and a look counts valid ones.
func TestExtensionSpares(t *testing.T) {
	b := newBench(t, extended)
	b.Takes = takes(1, spread)
	b.UpErr = func(s target.Spec) error {
		if slices.Contains([]string{"one-2", "two-9"}, s.Trial) {
			return errors.New("it fell over")
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, res.Run, rundir.Inconclusive, 12)
		isLooks(t, res.Run.Extension, []int{6, 9, 12}, "12 blocks were the most")
		if n := len(res.Run.Trials) / 2; n != 14 {
			t.Errorf("%d blocks, want 14", n)
		}
	})
}

// An extension that runs out of time is judged on what there is; the look that nobody planned costs its part of the error.
func TestExtensionOutOfTime(t *testing.T) {
	b := newBench(t, extended)
	b.Takes, b.opts.MaxTime = takes(1, spread), 100*time.Second
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, res.Run, rundir.Inconclusive, 12)
		n := len(res.Run.Trials) / 2
		if n <= 6 || n >= 9 || res.Run.Objectives[0].N != n || !strings.Contains(res.Run.Extension.Why, "--max-time") {
			t.Errorf("%d blocks, judged on %d, why %q", n, res.Run.Objectives[0].N, res.Run.Extension.Why)
		}
	})
}

// A look knows the health check, as the verdict does: what is over its floor can end an extension.
func TestExtensionHealth(t *testing.T) {
	text := strings.NewReplacer(
		"nodes: app}", "nodes: app, health_check: {interval: 500ms, timeout: 250ms, fails: 2}}", "for: 5s", "for: 10s",
		"{check: two.p50 <= one.p50, margin: 10%}", "two.loss_over_floor <= 1000",
		"repeats:", "faults: [{name: crash, at: 3050ms, kill: app, for: 2s}]\nrepeats:",
	).Replace(extended)
	b := newBench(t, text)
	b.Takes = takes(1, still)
	b.opts.Hooks.Look = func(blocks int, open []string) {
		if len(open) > 0 {
			t.Errorf("after %d blocks %q are told to be open", blocks, open)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, res.Run, rundir.Pass, 0)
		isLooks(t, res.Run.Extension, []int{6}, "every objective is decided")
		if n := len(res.Run.Trials) / 2; n != 6 {
			t.Errorf("%d blocks, want 6", n)
		}
	})
}

// Repeats of the command line go first, and take the extension away or make one.
func TestExtensionOverridden(t *testing.T) {
	b := newBench(t, extended)
	b.Takes, b.opts.Repeats = takes(1, spread), 2
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if res.Run.Extension != nil || len(res.Run.Trials) != 4 {
			t.Errorf("%d trials, extension %+v", len(res.Run.Trials), res.Run.Extension)
		}
	})
}
