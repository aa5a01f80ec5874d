package cmd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tutti-bench/tutti/lib/scenario"
)

// Every scenario among the samples has its Compose files beside it.
func TestSamplesAreComplete(t *testing.T) {
	dir := t.TempDir()
	if err := writeSamples(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "scenarios", "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(file, src, Builtin().Faults)
		if err != nil {
			t.Fatal(err)
		}
		for _, arm := range s.Arms {
			for _, compose := range arm.Compose {
				if _, err := os.Stat(filepath.Join(dir, "scenarios", compose)); err != nil {
					t.Errorf("%s: %v", filepath.Base(file), err)
				}
			}
		}
	}
}
