package rundir_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

var update = flag.Bool("update", false, "write the golden files")

// The published schema is what `tutti schema --run` prints.
func TestJSONSchema(t *testing.T) {
	b, err := rundir.JSONSchema()
	check(t, err)
	const golden = "run.schema.json"
	if *update {
		check(t, os.WriteFile(golden, b, 0o644))
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if !bytes.Equal(b, want) {
		t.Errorf("%s is not what the types say; run with -update if this is meant, and never take a key away", golden)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	check(t, err)
	c := jsonschema.NewCompiler()
	check(t, c.AddResource("run.json", doc))
	s, err := c.Compile("run.json")
	check(t, err)
	if s.Validate(map[string]any{"schema": rundir.Schema}) == nil {
		t.Error("the schema takes a file with nothing in it")
	}
}

// Every key has a place in the README, so that what scripts rely on is told.
func TestReadmeNamesKeys(t *testing.T) {
	b, err := rundir.JSONSchema()
	check(t, err)
	var s struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	check(t, json.Unmarshal(b, &s))
	readme, err := os.ReadFile("README.md")
	check(t, err)
	named := func(key string) {
		if !strings.Contains(string(readme), "`"+key+"`") {
			t.Errorf("README.md does not name %q", key)
		}
	}
	for key := range s.Properties {
		named(key)
	}
	for _, def := range s.Defs {
		for key := range def.Properties {
			named(key)
		}
	}
}

// A fault is one flat object with times in seconds, and comes back as it was.
func TestFault(t *testing.T) {
	want := rundir.Fault{Arm: "a", Block: 1, Order: 2, Proven: true, Signature: map[string]uint64{"timeout": 3}, Fault: record.Fault{
		Name: "crash", Verb: "kill", At: 10 * time.Second, For: 1500 * time.Millisecond, Nodes: []string{"app-1"},
		Onset: &record.Edge{From: 10_001_234_567, To: 10_002_345_678, Source: "engine"}, Means: "m", Proof: []record.Proof{{Node: "app-1", What: "die", OK: true, Asked: "delay 100ms", Delivered: "100.2 ms at the median"}},
		Trigger: "2s after crash healed", Drawn: "nemesis", Role: "exec redis-cli role", Renewed: []string{"app-1: in force again"}, Collateral: []string{"app-2: died"},
	}}
	b, err := json.Marshal(want)
	check(t, err)
	var flat map[string]any
	check(t, json.Unmarshal(b, &flat))
	if flat["arm"] != "a" || flat["name"] != "crash" || flat["at"] != 10.0 || flat["for"] != 1.5 || flat["onset"].(map[string]any)["to"] != 10.002345678 {
		t.Errorf("%s", b)
	}
	var got rundir.Fault
	check(t, json.Unmarshal(b, &got))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	b, err = json.Marshal(rundir.Fault{})
	check(t, err)
	if strings.Contains(string(b), "null") {
		t.Errorf("a fault that never was has null: %s", b)
	}
}
