package cmd_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// TestReleasedRuns: the folders that earlier programs left are judged as they were, drawn and exported.
func TestReleasedRuns(t *testing.T) {
	runs, err := filepath.Glob("../lib/rundir/testdata/v*/*/run.json")
	if err != nil || len(runs) == 0 {
		t.Fatalf("no runs: %v", err)
	}
	for _, name := range runs {
		t.Run(filepath.Base(filepath.Dir(name)), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Dir(name))); err != nil {
				t.Fatal(err)
			}
			read := func() (r rundir.Run) {
				t.Helper()
				b, err := os.ReadFile(filepath.Join(dir, "run.json"))
				if err == nil {
					err = json.Unmarshal(b, &r)
				}
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			was := read()
			for _, args := range [][]string{
				{"report", dir}, {"export", dir, "--format", "benchmarks"}, {"export", dir, "--format", "hdr"}, {"export", dir, "--format", "csv", "--out", t.TempDir()}, {"judge", dir},
			} {
				out, err := exec.Command(binary(t), args...).CombinedOutput()
				if err != nil && (args[0] != "judge" || was.ExitCode == 0) {
					t.Errorf("%s: %v\n%s", args[0], err, out)
				}
			}
			is := read()
			if is.Verdict != was.Verdict || len(is.Objectives) != len(was.Objectives) {
				t.Fatalf("verdict %s over %d objectives, was %s over %d", is.Verdict, len(is.Objectives), was.Verdict, len(was.Objectives))
			}
			for i := range is.Objectives {
				if is.Objectives[i].Verdict != was.Objectives[i].Verdict {
					t.Errorf("%s: %s, was %s", is.Objectives[i].Text, is.Objectives[i].Verdict, was.Objectives[i].Verdict)
				}
			}
		})
	}
}
