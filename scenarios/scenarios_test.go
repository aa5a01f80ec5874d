package scenarios_test

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/cmd"
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
		if _, err := scenario.Parse(file, src, cmd.Builtin().Faults); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(string(src), "# yaml-language-server: $schema=./scenario.schema.json\n") {
			t.Errorf("%s does not begin with its schema", file)
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
