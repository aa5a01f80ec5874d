package tutti_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// ran is the folder of a run that passed.
func ran(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, twoArms)
	synctest.Test(t, func(t *testing.T) {
		if _, err := b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	return b
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestJudge(t *testing.T) {
	b := ran(t)
	name := filepath.Join(b.opts.Dir, "run.json")
	first := read(t, name)
	judge := func(t *testing.T) *tutti.Result {
		t.Helper()
		res, err := tutti.Judge(b.opts.Dir, b.opts.Kit)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	t.Run("the same bytes", func(t *testing.T) {
		for range 2 {
			judge(t)
			if read(t, name) != first {
				t.Fatal("run.json has changed")
			}
		}
	})
	t.Run("opened", func(t *testing.T) {
		res, err := tutti.Open(b.opts.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Trials) != len(res.Run.Trials) || res.Dir != b.opts.Dir || !strings.Contains(string(res.Source), "hypothesis") {
			t.Errorf("%d trials of %d, in %s", len(res.Trials), len(res.Run.Trials), res.Dir)
		}
	})
	t.Run("other objectives", func(t *testing.T) {
		file := filepath.Join(b.opts.Dir, "scenario.yaml")
		write(t, file, strings.Replace(read(t, file), "two.availability >= 90%", "two.availability >= 99%", 1))
		res := judge(t)
		verdict(t, res.Run, rundir.Fail, 10)
	})
	t.Run("killed", func(t *testing.T) {
		if err := os.Remove(filepath.Join(b.opts.Dir, "end.json")); err != nil {
			t.Fatal(err)
		}
		res := judge(t)
		verdict(t, res.Run, rundir.Interrupted, 130)
		if res.Run.Provenance.Ended.Before(res.Run.Provenance.Started) {
			t.Errorf("it ended at %v", res.Run.Provenance.Ended)
		}
	})
	t.Run("a copied trial", func(t *testing.T) {
		trials := filepath.Join(b.opts.Dir, "trials")
		copied := filepath.Join(trials, "two-2 (copy)")
		if err := os.CopyFS(copied, os.DirFS(filepath.Join(trials, "two-2"))); err != nil {
			t.Fatal(err)
		}
		counts := func(want string) {
			t.Helper()
			res := judge(t)
			for _, tr := range res.Run.Trials {
				if tr.Counted != (tr.Block == 1) {
					t.Errorf("%s-%d counts: %v", tr.Arm, tr.Block, tr.Counted)
				}
			}
			says(t, "reasons", res.Run.Reasons, "block 2", want)
		}
		counts("two recordings of arm two")
		// Beside one that is not there it does not stand for that.
		away := filepath.Join(b.opts.Dir, "one-2")
		if err := os.Rename(filepath.Join(trials, "one-2"), away); err != nil {
			t.Fatal(err)
		}
		counts("two recordings of arm two")
		if err := errors.Join(os.Rename(away, filepath.Join(trials, "one-2")), os.RemoveAll(copied)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a trial is missing", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(b.opts.Dir, "trials", "one-2")); err != nil {
			t.Fatal(err)
		}
		_, err := tutti.Open(b.opts.Dir)
		if err == nil || !strings.Contains(err.Error(), "4 trials, the folder 3") || !strings.Contains(err.Error(), "tutti judge") {
			t.Errorf("error %v", err)
		}
		res := judge(t)
		for _, tr := range res.Run.Trials {
			if tr.Counted != (tr.Block == 1) || !tr.Valid {
				t.Errorf("%s-%d counts: %v", tr.Arm, tr.Block, tr.Counted)
			}
		}
		says(t, "reasons", res.Run.Reasons, "block 2", "not complete")
	})
	t.Run("no scenario", func(t *testing.T) {
		if err := os.Remove(filepath.Join(b.opts.Dir, "scenario.yaml")); err != nil {
			t.Fatal(err)
		}
		if _, err := tutti.Judge(b.opts.Dir, b.opts.Kit); err == nil || !strings.Contains(err.Error(), "scenario.yaml") {
			t.Errorf("error %v", err)
		}
	})
}

func TestOpenNoRun(t *testing.T) {
	if _, err := tutti.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "plan.json") {
		t.Errorf("error %v", err)
	}
}
