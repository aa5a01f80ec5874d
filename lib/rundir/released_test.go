package rundir_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// released are the folders of runs that earlier programs left, by the version of the format.
func released(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/v*/*/run.json")
	check(t, err)
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	if len(dirs) < 2 {
		t.Fatalf("there are the runs %v only", dirs)
	}
	return dirs
}

// TestReleased: every run that was left by a released version is read, whole, and is what the schema says.
func TestReleased(t *testing.T) {
	b, err := rundir.JSONSchema()
	check(t, err)
	now := compile(t, b)
	for _, dir := range released(t) {
		t.Run(dir, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "run.json"))
			check(t, err)
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			check(t, err)
			if err := now.Validate(doc); err != nil {
				t.Errorf("the schema of today refuses it: %v", err)
			}
			then, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "run.schema.json"))
			check(t, err)
			if err := compile(t, then).Validate(doc); err != nil {
				t.Errorf("its own schema refuses it: %v", err)
			}
			folder, err := rundir.Open(dir)
			check(t, err)
			run, err := folder.Run()
			check(t, err)
			again, err := json.Marshal(run)
			check(t, err)
			var was, is any
			check(t, json.Unmarshal(text, &was))
			check(t, json.Unmarshal(again, &is))
			lost(t, "run.json", was, is)
			if _, err := folder.Plan(); err != nil {
				t.Error(err)
			}
			recordings, err := folder.Recordings()
			check(t, err)
			if len(recordings) != len(run.Trials) {
				t.Errorf("%d recordings of %d trials", len(recordings), len(run.Trials))
			}
		})
	}
}

func compile(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	check(t, err)
	c := jsonschema.NewCompiler()
	check(t, c.AddResource("run.json", doc))
	s, err := c.Compile("run.json")
	check(t, err)
	return s
}

// lost tells what of a document is not in another: keys that the types no longer have, and values that changed.
func lost(t *testing.T, at string, was, is any) {
	t.Helper()
	switch was := was.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			t.Errorf("%s is no object any more", at)
			return
		}
		for key, v := range was {
			got, there := is[key]
			if !there {
				t.Errorf("%s.%s is not read any more", at, key)
				continue
			}
			lost(t, at+"."+key, v, got)
		}
	case []any:
		is, ok := is.([]any)
		if !ok || len(is) != len(was) {
			t.Errorf("%s has %v, had %v", at, is, was)
			return
		}
		for i := range was {
			lost(t, fmt.Sprintf("%s[%d]", at, i), was[i], is[i])
		}
	default:
		if was != is {
			t.Errorf("%s is %v, was %v", at, is, was)
		}
	}
}

// TestSchemaGrows: within a version keys are added; none is taken away, none changes its type, and none that a reader could
// count on may be left out.
func TestSchemaGrows(t *testing.T) {
	b, err := rundir.JSONSchema()
	check(t, err)
	old, err := os.ReadFile("testdata/v1/run.schema.json")
	check(t, err)
	var is, was map[string]any
	check(t, json.Unmarshal(b, &is))
	check(t, json.Unmarshal(old, &was))
	for _, difference := range shrunk("", was, is) {
		t.Error(difference)
	}
	// The comparison finds what it is for.
	for change, want := range map[string]string{
		`"hypothesis": {`: "hypothesis is gone", `"type": "integer"`: "was integer", `"verdict",`: "need not be there",
	} {
		var less map[string]any
		check(t, json.Unmarshal(bytes.ReplaceAll(old, []byte(change), []byte(map[string]string{
			`"hypothesis": {`: `"thesis": {`, `"type": "integer"`: `"type": "string"`, `"verdict",`: "",
		}[change])), &less))
		if got := shrunk("", was, less); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("without %s: %q", change, got)
		}
	}
}

// shrunk is what a schema asks for less than another did.
func shrunk(at string, was, is map[string]any) (out []string) {
	object := func(m map[string]any, key string) map[string]any { o, _ := m[key].(map[string]any); return o }
	for _, key := range []string{"type", "$ref", "const", "format"} {
		if w, there := was[key]; there && fmt.Sprint(w) != fmt.Sprint(is[key]) {
			out = append(out, fmt.Sprintf("%s: %s was %v, is %v", at, key, w, is[key]))
		}
	}
	words, _ := is["enum"].([]any)
	old, _ := was["enum"].([]any)
	for _, w := range old {
		if !slices.Contains(words, w) {
			out = append(out, fmt.Sprintf("%s: the word %v is gone", at, w))
		}
	}
	needs, _ := is["required"].([]any)
	needed, _ := was["required"].([]any)
	for _, key := range needed {
		if !slices.Contains(needs, key) {
			out = append(out, fmt.Sprintf("%s.%v need not be there any more", at, key))
		}
	}
	for _, of := range []string{"properties", "$defs"} {
		for key, w := range object(was, of) {
			n, there := object(is, of)[key].(map[string]any)
			if !there {
				out = append(out, fmt.Sprintf("%s.%s is gone", at, key))
				continue
			}
			out = append(out, shrunk(at+"."+key, w.(map[string]any), n)...)
		}
	}
	for _, of := range []string{"items", "additionalProperties"} {
		if w := object(was, of); w != nil {
			out = append(out, shrunk(at+"[]", w, object(is, of))...)
		}
	}
	return out
}
