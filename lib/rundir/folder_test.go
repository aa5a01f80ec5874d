package rundir_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

func create(t *testing.T) (folder *rundir.Folder, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "runs", "a [b] *") // a name that looks like a pattern
	folder, err := rundir.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	return folder, dir
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "run")
	if _, err := rundir.Create(dir); err != nil {
		t.Fatalf("a folder that is not there: %v", err)
	}
	_, err := rundir.Create(dir)
	refused(t, err, dir, "not empty", "--out")
	if _, err := rundir.Create(t.TempDir()); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	_, err = rundir.Create(file)
	refused(t, err, file)
}

// Two runs that come to one folder at once both see it empty: one of them has it, and the other is told.
func TestCreateAtOnce(t *testing.T) {
	for range 100 {
		dir := filepath.Join(t.TempDir(), "run")
		errs, begin := make(chan error), make(chan bool)
		const runs = 4
		for range runs {
			go func() {
				<-begin
				_, err := rundir.Create(dir)
				errs <- err
			}()
		}
		close(begin)
		have := 0
		for range runs {
			if err := <-errs; err == nil {
				have++
			} else {
				refused(t, err, dir)
			}
		}
		if have != 1 {
			t.Fatalf("%d of %d runs have the folder", have, runs)
		}
	}
}

func TestOpen(t *testing.T) {
	_, err := rundir.Open(t.TempDir())
	refused(t, err, "plan.json", "no run's folder")
}

// Files are whole or not there, and nothing else stays.
func TestWriteFile(t *testing.T) {
	f, dir := create(t)
	check(t, f.WriteFile("report.html", []byte("one")))
	check(t, f.WriteFile("report.html", []byte("two")))
	b, err := os.ReadFile(filepath.Join(dir, "report.html"))
	check(t, err)
	if string(b) != "two" {
		t.Errorf("the file is %q", b)
	}
	if info, err := os.Stat(filepath.Join(dir, "report.html")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("others cannot read it: %v, %v", info.Mode(), err)
	}
	check(t, os.Mkdir(filepath.Join(dir, "taken"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "taken", "x"), nil, 0o600))
	refused(t, f.WriteFile("taken", []byte("three")), "write taken")
	var names []string
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"report.html", "taken", "trials"}; !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
}

// Recordings come in the order in which the trials ran, and a trial without one is no trial.
func TestRecordings(t *testing.T) {
	f, _ := create(t)
	for _, r := range []record.Header{{Arm: "a", Block: 1, Order: 2}, {Arm: "b", Block: 1, Order: 1}, {Arm: "a", Block: 10, Order: 20}, {Arm: "a", Block: 2, Order: 3}} {
		check(t, f.SaveRecording(&record.Recording{Header: r}))
	}
	if _, err := f.LogDir("b", 2); err != nil { // cut off before its recording
		t.Fatal(err)
	}
	check(t, os.WriteFile(f.Path("trials", ".DS_Store"), nil, 0o600))
	all, err := f.Recordings()
	check(t, err)
	var got []int
	for _, r := range all {
		got = append(got, r.Order)
	}
	if !slices.Equal(got, []int{1, 2, 3, 20}) {
		t.Errorf("order %v", got)
	}
	check(t, os.WriteFile(f.Path(rundir.TrialDir("a", 1), "recording.jsonl.gz"), []byte("half"), 0o600))
	_, err = f.Recordings()
	refused(t, err, "a-1")
}

func TestPlanAndRun(t *testing.T) {
	f, dir := create(t)
	check(t, f.WritePlan(rundir.Plan{Schema: rundir.Schema, ID: "x", Repeats: 3, Blocks: map[string][]string{"001": {"b", "a"}}}))
	again, err := rundir.Open(dir)
	check(t, err)
	p, err := again.Plan()
	check(t, err)
	if p.ID != "x" || p.Repeats != 3 || !slices.Equal(p.Blocks["001"], []string{"b", "a"}) {
		t.Errorf("plan %+v", p)
	}
	check(t, f.WriteRun(&rundir.Run{Schema: rundir.Schema, ID: "x"}))
	r, err := again.Run()
	check(t, err)
	if r.ID != "x" {
		t.Errorf("run %+v", r)
	}
}

// Another version's files are refused by name.
func TestOtherSchema(t *testing.T) {
	f, _ := create(t)
	check(t, f.WritePlan(rundir.Plan{Schema: "tutti.run/v9"}))
	_, err := f.Plan()
	refused(t, err, "plan.json", "tutti.run/v9", rundir.Schema)
	check(t, f.WriteRun(&rundir.Run{Schema: "tutti.run/v9"}))
	_, err = f.Run()
	refused(t, err, "run.json", "tutti.run/v9", rundir.Schema)
	check(t, f.WriteFile("run.json", []byte("{")))
	_, err = f.Run()
	refused(t, err, "run.json")
}

// A run that was killed has no end.
func TestEnd(t *testing.T) {
	f, _ := create(t)
	e, err := f.End()
	check(t, err)
	if !e.Interrupted {
		t.Error("a run without end.json is not interrupted")
	}
	want := rundir.End{Ended: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Error: "why", Stopped: "late"}
	check(t, f.WriteEnd(want))
	if e, err = f.End(); err != nil || e != want {
		t.Errorf("end %+v, %v", e, err)
	}
	check(t, f.WriteFile("end.json", []byte("{")))
	_, err = f.End()
	refused(t, err, "end.json")
}
