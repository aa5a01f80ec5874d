package cmd

import (
	"os"
	"path/filepath"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
)

// Every sample can be run where it was written: its target is there, too.
func TestSamplesAreWhole(t *testing.T) {
	dir := t.TempDir()
	a := &app{kit: Builtin()}
	if err := a.writeSamples(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "scenarios", "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		s, err := a.read(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := tutti.LoadTargets(t.Context(), s, tutti.ComposeOptions{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "scenarios", demoScenario)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "scenarios", "scenario.schema.json")); err != nil { // which each of them names
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "scenarios", "shop-crash.yaml")); err == nil {
		t.Error("a scenario is there whose target is not")
	}
}
