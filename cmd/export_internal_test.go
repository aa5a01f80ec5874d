package cmd

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// What looks like a file is a folder of requests only where one file cannot hold them.
func TestExportFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"there", "there.d", "there.json"} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][2]bool{ // of one trial, of several
		"": {false, false}, "one.json": {false, false}, "one.txt": {false, true}, "all": {true, true}, "all.d/": {true, true},
		"there": {true, true}, "there.d": {true, true}, "there.json": {true, true}, ".": {true, true}, "..": {true, true},
	} {
		f := exportFlags{format: "vegeta-json", out: name}
		if got := [2]bool{f.folder(1), f.folder(2)}; got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// A file is there whole or not at all, and its folder is made when there is something to write.
func TestExportTo(t *testing.T) {
	dir := t.TempDir()
	a := &app{err: io.Discard}
	broken := errors.New("nothing was recorded")
	if err := a.exportTo(filepath.Join(dir, "new", "one"), func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	err := a.exportTo(filepath.Join(dir, "half"), func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) || exitOf(err) != exitInternal {
		t.Errorf("what is not about the file: exit code %d, error %v", exitOf(err), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v lie there, error %v", entries, err)
	}
	empty := filepath.Join(dir, "empty")
	if err := a.exportTo(empty, func(io.Writer) error { return nil }); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(empty); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o644 {
		t.Errorf("%+v, error %v", info, err)
	}
	err = a.exportTo(filepath.Join(empty, "below"), func(w io.Writer) error {
		_, err := io.WriteString(w, "text")
		return err
	})
	if exitOf(err) != exitUsage {
		t.Errorf("a file below a file: exit code %d, error %v", exitOf(err), err)
	}
}
