package scenarios_test

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/cmd"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/scenario"
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

// The shipped scenarios are ones, and use the schema beside them.
func TestScenarios(t *testing.T) {
	files, err := fs.Glob(scenarios.Files, "*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		src, err := fs.ReadFile(scenarios.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenario.Parse(file, src, cmd.Builtin().Faults)
		if err != nil {
			t.Error(err)
			continue
		}
		checkTargets(t, s)
		if !strings.HasPrefix(string(src), "# yaml-language-server: $schema=./scenario.schema.json\n") {
			t.Errorf("%s does not begin with its schema", file)
		}
	}
}

// checkTargets reads a scenario's Compose files, arm by arm: they have what the scenario names, and set every variable that they read.
func checkTargets(t *testing.T, s *scenario.Scenario) {
	t.Helper()
	targets, err := tutti.LoadTargets(t.Context(), s, tutti.ComposeOptions{})
	if err != nil {
		t.Errorf("%s: %v", s.File, err)
		return
	}
	for _, arm := range s.Arms {
		tg := targets[arm.Name]
		for _, service := range []string{arm.Nodes, arm.Ingress.Hostname()} {
			if _, ok := tg.Services[service]; service != "" && !ok {
				t.Errorf("%s: arm %s: its Compose files have no service %s", s.File, arm.Name, service)
			}
		}
		for service := range arm.Scale {
			if _, ok := tg.Services[service]; !ok {
				t.Errorf("%s: arm %s: it scales %s, which its Compose files do not have", s.File, arm.Name, service)
			}
		}
		for _, note := range tg.Notes {
			t.Errorf("%s: arm %s: %s", s.File, arm.Name, note)
		}
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
