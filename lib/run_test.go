package tutti_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
)

// A whole run: two arms in two blocks, and what run.json says of it is what arithmetic says.
func TestRun(t *testing.T) {
	b := newBench(t, twoArms)
	var began []string
	var finished int
	b.opts.Hooks.Trial = func(p plan.Trial, of int, left time.Duration) {
		began = append(began, fmt.Sprintf("%s-%d", p.Arm, p.Block))
		if of != 4 || left <= 0 {
			t.Errorf("trial %d of %d, %v left", p.Order, of, left)
		}
	}
	b.opts.Hooks.Done = func(_ plan.Trial, _ *analysis.Trial, err error) { finished++ }
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		run := res.Run
		verdict(t, run, rundir.Pass, 0)
		if !slices.Equal(began, b.Ups()) || finished != 4 || b.Downs() != 4 {
			t.Errorf("hooks began %v, done %d; started %v, removed %d", began, finished, b.Ups(), b.Downs())
		}
		isValue(t, "one.availability", run.Arms["one"].Metrics["availability"], 250.0/300, 2)
		isValue(t, "two.availability", run.Arms["two"].Metrics["availability"], 275.0/300, 2)
		isValue(t, "two.during.availability", run.Arms["two"].Phases["during"]["availability"], 26.0/51, 2) // the bin of the heal is in it
		isValue(t, "two.after.availability", run.Arms["two"].Phases["after"]["availability"], 1, 2)
		if _, ok := run.Arms["two"].Requests["other"]["availability"]; !ok {
			t.Errorf("requests: %v", run.Arms["two"].Requests)
		}
		if len(run.Trials) != 4 || len(run.Faults) != 4 || len(run.Objectives) != 3 {
			t.Fatalf("%d trials, %d faults, %d objectives", len(run.Trials), len(run.Faults), len(run.Objectives))
		}
		for i, tr := range run.Trials {
			if tr.Order != i+1 || !tr.Valid || !tr.Counted || len(tr.Problems) > 0 {
				t.Errorf("trial %+v", tr)
			}
			if _, err := os.Stat(filepath.Join(res.Dir, tr.Dir, "recording.jsonl.gz")); err != nil {
				t.Error(err)
			}
			if res.Trials[i].Rec.Arm != tr.Arm || res.Trials[i].Rec.Block != tr.Block {
				t.Errorf("trial %d is %s-%d in run.json, %s-%d among the recordings", i, tr.Arm, tr.Block, res.Trials[i].Rec.Arm, res.Trials[i].Rec.Block)
			}
		}
		for _, f := range run.Faults {
			if !f.Proven || f.Signature["timeout"] == 0 || !slices.Contains(b.Ups(), fmt.Sprintf("%s-%d", f.Arm, f.Block)) {
				t.Errorf("fault %+v", f)
			}
		}
		provenance(t, run)
	})
}

func provenance(t *testing.T, run *rundir.Run) {
	t.Helper()
	p := run.Provenance
	if p.Tutti != "v0" || p.Engine != "fake" || p.Reason != "asked for" || p.Images["app"] != "sha256:fake" || p.Versions["app"] != "fake 1.0" || p.Seed != 7 || p.Scenario != "two-arms.yaml" || len(p.SHA256) != 64 || p.Details["engine"] != "1" {
		t.Errorf("provenance %+v", p)
	}
	if took := p.Ended.Sub(p.Started); took < 2*time.Minute || took > 3*time.Minute {
		t.Errorf("the run took %v by its provenance", took)
	}
}

// A percentile that a failed request stands in is never, not a number; what is not finite is null.
func TestNotFinite(t *testing.T) {
	b := newBench(t, strings.Replace(twoArms, "at: 10050ms, kill: app, for: 5s", "at: 5050ms, kill: app", 1)) // it never heals while we look
	synctest.Test(t, func(t *testing.T) {
		if _, err := b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	arms := readJSON(t, filepath.Join(b.opts.Dir, "run.json"))["arms"].(map[string]any)
	p99 := arms["one"].(map[string]any)["metrics"].(map[string]any)["p99"].(map[string]any)
	if v, there := p99["value"]; !there || v != nil || p99["state"] != "never" || p99["unit"] != "s" {
		t.Errorf("one.p99 is %v, want never", p99)
	}
	recovery := arms["one"].(map[string]any)["metrics"].(map[string]any)[`recovery{fault="crash"}`].(map[string]any)
	if recovery["state"] != "censored" || recovery["value"] != 4.95 {
		t.Errorf("one.recovery is %v, want censored: it may have begun after 4.95 s, of the 24.95 s that we looked the last 20 s are the hold", recovery)
	}
}

// Secrets are in no file of the folder that is not the target's own log.
func TestNoSecrets(t *testing.T) {
	b := newBench(t, twoArms)
	synctest.Test(t, func(t *testing.T) {
		if _, err := b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	files := 0
	err := filepath.WalkDir(b.opts.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("hunter22")) {
			t.Errorf("%s has the password", path)
		}
		return err
	})
	if err != nil || files < 7 {
		t.Errorf("%d files, %v", files, err)
	}
}

// A trial that is not to be trusted has its block run again, at most once for each six.
func TestSpare(t *testing.T) {
	for name, c := range map[string]struct {
		invalid []string // trials
		repeats int
		verdict rundir.Verdict
		code    int
		blocks  int
		counted int
	}{
		"none":                    {nil, 2, rundir.Pass, 0, 2, 4},
		"one is replaced":         {[]string{"two-2"}, 2, rundir.Pass, 0, 3, 4},
		"the spare one too":       {[]string{"one-2", "two-3"}, 2, rundir.Invalid, 13, 3, 2},
		"seven may lose two":      {[]string{"one-2", "one-3"}, 7, rundir.Pass, 0, 9, 14},
		"seven may not lose more": {[]string{"one-2", "one-3", "two-9"}, 7, rundir.Invalid, 13, 9, 12},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, twoArms)
			b.opts.Repeats = c.repeats
			b.UpErr = func(s target.Spec) error {
				if slices.Contains(c.invalid, s.Trial) {
					return errors.New("it fell over")
				}
				return nil
			}
			synctest.Test(t, func(t *testing.T) {
				res, err := b.run(t.Context(), t)
				if err != nil {
					t.Fatal(err)
				}
				verdict(t, res.Run, c.verdict, c.code)
				counted, last := 0, 0
				for _, tr := range res.Run.Trials {
					last = max(last, tr.Block)
					if tr.Counted {
						counted++
					}
					if slices.Contains(c.invalid, fmt.Sprintf("%s-%d", tr.Arm, tr.Block)) {
						says(t, "problems", tr.Problems, "did not get ready", "it fell over")
					}
				}
				if last != c.blocks || counted != c.counted || res.Run.Repeats != c.repeats {
					t.Errorf("%d blocks, %d trials count, %d repeats; want %d, %d and %d", last, counted, res.Run.Repeats, c.blocks, c.counted, c.repeats)
				}
				for _, trial := range c.invalid {
					if c.verdict == rundir.Invalid {
						says(t, "reasons", res.Run.Reasons, "block "+trial[4:], "it fell over")
					}
				}
			})
		})
	}
}

// A fault without effect makes its trial invalid, and is told.
func TestFaultWithoutEffect(t *testing.T) {
	b := newBench(t, twoArms)
	b.KillErr = func(s target.Spec, _ target.Node) error {
		if s.Trial == "two-1" {
			return errors.New("no such process")
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, res.Run, rundir.Pass, 0)
		for _, f := range res.Run.Faults {
			if want := f.Arm != "two" || f.Block != 1; f.Proven != want {
				t.Errorf("%s-%d: proven %v, problem %q", f.Arm, f.Block, f.Proven, f.Problem)
			}
		}
		for _, tr := range res.Run.Trials {
			if tr.Block == 1 && tr.Counted {
				t.Errorf("%s-1 counts, and its block is not whole", tr.Arm)
			}
		}
	})
}

// A target that never got ready is the surroundings' fault: nothing was measured, and the folder says so.
func TestNeverReady(t *testing.T) {
	b := newBench(t, twoArms)
	hosts(t, "127.0.0.1:1") // nobody listens
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		var unavailable *target.UnavailableError
		if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "was not ready within 5s") || !strings.Contains(err.Error(), "logs") {
			t.Fatalf("error %v", err)
		}
		verdict(t, res.Run, rundir.Errored, 30)
		says(t, "reasons", res.Run.Reasons, "was not ready within 5s")
		if n := len(b.Ups()); n != 1 || b.Downs() != 1 {
			t.Errorf("%d targets were started, %d removed; want one", n, b.Downs())
		}
		if len(res.Run.Trials) != 1 || res.Run.Trials[0].Valid {
			t.Errorf("trials %+v", res.Run.Trials)
		}
	})
	if got := readJSON(t, filepath.Join(b.opts.Dir, "run.json")); got["verdict"] != "error" || got["exit_code"] != 30.0 {
		t.Errorf("run.json has verdict %v, exit code %v", got["verdict"], got["exit_code"])
	}
}

// Something that stays behind ends the run, however its trial went.
func TestLeftBehind(t *testing.T) {
	b := newBench(t, twoArms)
	b.DownErr = errors.New("container abc stays")
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		var unavailable *target.UnavailableError
		if !errors.As(err, &unavailable) || !errors.Is(err, trial.ErrLeft) || !strings.Contains(err.Error(), "container abc stays") || !strings.Contains(err.Error(), "tutti clean") {
			t.Errorf("error %v", err)
		}
		verdict(t, res.Run, rundir.Errored, 30)
		if len(b.Ups()) != 1 {
			t.Errorf("after it %v were started", b.Ups())
		}
	})
}

// Interrupted, what stays is told all the same.
func TestInterruptedLeftBehind(t *testing.T) {
	b := newBench(t, twoArms)
	b.DownErr = errors.New("container abc stays")
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(after(t, 12*time.Second), t)
		if !errors.Is(err, errEnough) || !errors.Is(err, trial.ErrLeft) {
			t.Errorf("error %v", err)
		}
		verdict(t, res.Run, rundir.Interrupted, 130)
	})
}

func TestImagesFail(t *testing.T) {
	b := newBench(t, twoArms)
	b.PrepareErr = errors.New("no such image")
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		var unavailable *target.UnavailableError
		if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "no such image") {
			t.Errorf("error %v", err)
		}
		verdict(t, res.Run, rundir.Errored, 30)
		if len(b.Ups()) != 0 || len(res.Run.Trials) != 0 {
			t.Errorf("started %v, trials %v", b.Ups(), res.Run.Trials)
		}
	})
}

// Told to stop, a run is interrupted, whatever it was doing: in a trial, in a fault, between two.
func TestInterrupted(t *testing.T) {
	for _, at := range []time.Duration{0, 500 * time.Millisecond, 12 * time.Second, 31 * time.Second, 40 * time.Second, 100 * time.Second} {
		t.Run(at.String(), func(t *testing.T) {
			b := newBench(t, twoArms)
			synctest.Test(t, func(t *testing.T) {
				res, err := b.run(after(t, at), t)
				if !errors.Is(err, errEnough) {
					t.Errorf("error %v, want the cause", err)
				}
				verdict(t, res.Run, rundir.Interrupted, 130)
				says(t, "reasons", res.Run.Reasons, "interrupted")
				if dead := b.Dead(); len(dead) > 0 {
					t.Errorf("%v were not started again", dead)
				}
				valid := 0
				for _, tr := range res.Run.Trials {
					if tr.Valid {
						valid++
					}
				}
				if want := int(at / (31 * time.Second)); valid > want {
					t.Errorf("after %v, %d trials are valid, want at most %d", at, valid, want)
				}
			})
		})
	}
}

// Between two trials no other is begun.
func TestInterruptedBetween(t *testing.T) {
	b := newBench(t, twoArms)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		b.opts.Hooks.Done = func(plan.Trial, *analysis.Trial, error) { cancel(errEnough) }
		res, err := b.run(ctx, t)
		if !errors.Is(err, errEnough) {
			t.Errorf("error %v", err)
		}
		verdict(t, res.Run, rundir.Interrupted, 130)
		if len(b.Ups()) != 1 || len(res.Run.Trials) != 1 || !res.Run.Trials[0].Valid {
			t.Errorf("started %v, trials %+v", b.Ups(), res.Run.Trials)
		}
	})
}

// Cancelled when all is done, a run is whole.
func TestInterruptedLate(t *testing.T) {
	b := newBench(t, twoArms)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		b.opts.Hooks.Done = func(p plan.Trial, _ *analysis.Trial, _ error) {
			if p.Order == 4 {
				cancel(errEnough)
			}
		}
		res, err := b.run(ctx, t)
		if err != nil {
			t.Fatal(err)
		}
		verdict(t, res.Run, rundir.Pass, 0)
	})
}

// --only runs one arm, and there is nothing to compare it with.
func TestOnly(t *testing.T) {
	b := newBench(t, twoArms)
	b.opts.Only = "two"
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Ups(), []string{"two-1", "two-2"}) || !slices.Equal(res.Run.ArmOrder, []string{"two"}) || len(res.Run.Arms) != 1 || res.Run.Baseline != "" {
			t.Errorf("started %v, arms %v, baseline %q", b.Ups(), res.Run.ArmOrder, res.Run.Baseline)
		}
		if o := res.Run.Objectives; o[0].Verdict != rundir.Pass || o[1].Verdict == rundir.Pass || o[1].State != analysis.NoData {
			t.Errorf("objectives %+v", o[:2])
		}
	})
	b.opts.Only = "three"
	_, err := tutti.Prepare(t.Context(), b.parse(t), b.opts)
	var usage *tutti.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "--only three") || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("error %v", err)
	}
}

// No block is begun that would end after --max-time.
func TestMaxTime(t *testing.T) {
	for limit, blocks := range map[time.Duration]int{time.Minute: 0, 63 * time.Second: 1, 2 * time.Minute: 1, time.Hour: 2} {
		t.Run(limit.String(), func(t *testing.T) {
			b := newBench(t, twoArms)
			b.opts.MaxTime = limit
			synctest.Test(t, func(t *testing.T) {
				res, err := b.run(t.Context(), t)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Ups()) != 2*blocks {
					t.Errorf("started %v, want %d blocks", b.Ups(), blocks)
				}
				if blocks == 2 {
					verdict(t, res.Run, rundir.Pass, 0)
					return
				}
				verdict(t, res.Run, rundir.Invalid, 13)
				says(t, "reasons", res.Run.Reasons, fmt.Sprintf("block %d was not begun", blocks+1), "--max-time")
			})
		})
	}
}

// A folder that is there is not written into.
func TestFolderTaken(t *testing.T) {
	b := newBench(t, twoArms)
	if err := os.MkdirAll(filepath.Join(b.opts.Dir, "mine"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		var usage *tutti.UsageError
		if res != nil || !errors.As(err, &usage) || len(b.Ups()) != 0 {
			t.Errorf("result %v, error %v, started %v", res, err, b.Ups())
		}
	})
}

// What cannot be kept is the surroundings' fault, and ends the run.
func TestDiskFails(t *testing.T) {
	b := newBench(t, twoArms)
	b.UpErr = func(s target.Spec) error {
		// Somebody puts a folder where the recording is to be.
		return os.MkdirAll(filepath.Join(b.opts.Dir, "trials", s.Trial, "recording.jsonl.gz", "x"), 0o700)
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := b.run(t.Context(), t)
		var unavailable *target.UnavailableError
		if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "keep what was measured") {
			t.Errorf("error %v", err)
		}
		if len(b.Ups()) != 1 {
			t.Errorf("after it %v were started", b.Ups())
		}
	})
}

// Prepare starts nothing, and lets go of the driver where the plan cannot be.
func TestPrepareFails(t *testing.T) {
	b := newBench(t, strings.ReplaceAll(twoArms, "kill: app", "kill: db"))
	var facts target.Facts
	b.opts.Hooks.Engine = func(f target.Facts, _ string) { facts = f }
	p, err := tutti.Prepare(t.Context(), b.parse(t), b.opts)
	var wrong scenario.Errors
	if p != nil || !errors.As(err, &wrong) || !strings.Contains(err.Error(), `has no service "db"`) {
		t.Errorf("prepared %v, error %v", p, err)
	}
	if b.opened != 1 || b.released != 1 || facts.Driver != "fake" {
		t.Errorf("opened %d times, released %d; told of %+v", b.opened, b.released, facts)
	}
	b.opts.Kit.Drivers = nil
	b.scenario = strings.ReplaceAll(twoArms, "compose.yaml", "missing.yaml")
	_, err = tutti.Prepare(t.Context(), b.parse(t), b.opts)
	var usage *tutti.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "arm one") || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("error %v", err)
	}
}
