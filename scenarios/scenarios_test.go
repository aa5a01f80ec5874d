package scenarios_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/cmd"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/scenarios"
)

// The shipped schema has the verbs of the program.
func TestSchema(t *testing.T) {
	want, err := scenario.Schema(cmd.Builtin().Faults)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("scenario.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("scenario.schema.json is not what `tutti schema` prints: run `make schema`")
	}
}

// The shipped scenarios can be planned, and use the schema beside them.
func TestScenarios(t *testing.T) {
	files, err := fs.Glob(scenarios.Files, "*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		planned(t, file, "./")
	}
}

// So can the planted defects.
func TestDefects(t *testing.T) {
	files, err := filepath.Glob("defects/*.yaml")
	if err != nil || len(files) < 13 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if file != filepath.Join("defects", "expect.yaml") {
			planned(t, file, "../")
		}
	}
}

// planned plans a scenario for an engine that can do everything. Its schema is in folder dir, seen from its own.
func planned(t *testing.T, file, dir string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	kinds := cmd.Builtin().Faults
	s, err := scenario.Parse(file, src, kinds)
	if err != nil {
		t.Error(err)
		return
	}
	targets, err := tutti.LoadTargets(t.Context(), s, tutti.ComposeOptions{})
	if err == nil {
		_, err = plan.Build(s, targets, kinds, target.Facts{Driver: "any", Abilities: ^target.Ability(0)})
	}
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
	for arm, one := range targets {
		for _, note := range one.Notes {
			t.Errorf("%s: arm %s: %s", file, arm, note)
		}
	}
	if !strings.HasPrefix(string(src), "# yaml-language-server: $schema="+dir+"scenario.schema.json\n") {
		t.Errorf("%s does not begin with its schema", file)
	}
}

// Every verb of the program has a row in the reference.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for verb := range cmd.Builtin().Faults {
		if !strings.Contains(string(text), "\n| `"+verb+"` |") {
			t.Errorf("%s is not in the table of verbs", verb)
		}
	}
}
