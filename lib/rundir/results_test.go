package rundir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/rundir"
)

func TestResults(t *testing.T) {
	folder, err := rundir.Create(filepath.Join(t.TempDir(), "run"))
	check(t, err)
	for agent, name := range []string{"requests.gob", "requests-1.gob", "requests-2.gob"} {
		w, err := folder.Results("cluster", 3, agent, "gob")
		check(t, err)
		_, err = w.Write([]byte(name))
		check(t, err)
		check(t, w.Close())
		if b, err := os.ReadFile(folder.Path("trials", "cluster-3", name)); err != nil || string(b) != name {
			t.Errorf("%s has %q, %v", name, b, err)
		}
	}
	if _, err := folder.Results("cluster", 3, 0, "no/such/folder"); err == nil || !strings.Contains(err.Error(), "all requests") {
		t.Error(err)
	}
}

// A file of all requests has a limit, and what was written before it stays.
func TestResultsAreBounded(t *testing.T) {
	folder, err := rundir.Create(filepath.Join(t.TempDir(), "run"))
	check(t, err)
	w, err := folder.Results("a", 1, 0, "csv")
	check(t, err)
	_, err = w.Write([]byte("one\n"))
	check(t, err)
	rundir.Fill(w)
	if _, err := w.Write([]byte("two\n")); err == nil || !strings.Contains(err.Error(), "4 GiB") {
		t.Error(err)
	}
	check(t, w.Close())
	if b, err := os.ReadFile(folder.Path("trials", "a-1", "requests.csv")); err != nil || string(b) != "one\n" {
		t.Errorf("%q, %v", b, err)
	}
}
