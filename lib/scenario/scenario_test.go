package scenario_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A nothing is a fault that is never injected here.
type nothing struct{ params fault.Params }

func (nothing) Inject(context.Context, target.Cluster, []target.Node) ([]target.Effect, fault.Revert, error) {
	return nil, nil, errors.New("not in this test")
}

// kinds are the verbs of these tests.
func kinds() fault.Kinds {
	made := func(p fault.Params) (fault.Fault, error) { return nothing{p}, nil }
	return fault.Kinds{
		"kill":  {Summary: "end a node without warning", Silent: true, New: made},
		"pause": {Summary: "freeze a node", Silent: true, New: made},
		"stop": {Summary: "stop a node by its signal", New: made, Params: []fault.Param{
			{Name: "grace", Type: fault.Duration, Summary: "time before SIGKILL"},
		}},
		"restart": {Summary: "stop and start a node", NoFor: true, New: made, Params: []fault.Param{
			{Name: "pause", Type: fault.Duration, Summary: "time between stop and start"},
		}},
		"scale": {Summary: "change the number of replicas", WholeService: true, Params: []fault.Param{
			{Name: "to", Type: fault.Count, Required: true, Summary: "replicas"},
		}, New: func(p fault.Params) (fault.Fault, error) {
			if p.Count("to", 0) == 13 {
				return nil, errors.New("13 replicas bring bad luck")
			}
			return nothing{p}, nil
		}},
	}
}

func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d malformed files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := scenario.Parse(filepath.Base(file), src, kinds())
			var errs scenario.Errors
			if !errors.As(err, &errs) || s != nil {
				t.Fatalf("got %v and %v, want Errors", s, err)
			}
			checkPlaces(t, src, errs)
			checkGolden(t, strings.TrimSuffix(file, ".yaml")+".golden", []byte(errs.Pretty()))
		})
	}
}

// checkPlaces checks that every error points into the file, in the order of the file.
func checkPlaces(t *testing.T, src []byte, errs scenario.Errors) {
	t.Helper()
	if len(errs) == 0 {
		t.Error("an error without errors")
	}
	lines := len(strings.Split(string(src), "\n")) + strings.Count(string(src), "\r") + strings.Count(string(src), "\u0085") +
		strings.Count(string(src), "\u2028") + strings.Count(string(src), "\u2029")
	before := &scenario.Error{}
	for _, e := range errs {
		width := len([]rune(e.Source))
		if e.Line < 1 || e.Line > lines || e.Column < 1 || e.Column > width+1 || e.Length < 1 || e.Column+e.Length > width+2 {
			t.Errorf("%v: length %d lies outside the file (%d lines, this one %d wide)", e, e.Length, lines, width)
		}
		if e.Line < before.Line || e.Line == before.Line && e.Column < before.Column {
			t.Errorf("%v comes after %v", e, before)
		}
		if e.Msg == "" || strings.ContainsFunc(e.Pretty(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("no message, or control characters: %q", e.Pretty())
		}
		before = e
	}
}

func checkGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (run the test with -update)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func parse(t *testing.T, file string) *scenario.Scenario {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(file, src, kinds())
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

func TestNodeCrash(t *testing.T) {
	s := parse(t, "testdata/valid/node-crash.yaml")
	if len(s.Arms) != 2 || s.Arms[0].Name != "single" || s.Arms[1].Scale["app"] != 3 || s.Baseline != "single" {
		t.Errorf("arms: %+v, baseline %q", s.Arms, s.Baseline)
	}
	if f := s.Arms[1].Faults[0]; f.Name != "crash" || f.Verb != "kill" || f.At != 10*time.Second || f.For != 10*time.Second || f.Selector.Service != "app" || f.Fault == nil {
		t.Errorf("fault: %+v", f)
	}
	if s.Load.Rate != 300 || s.Load.For != time.Minute || s.Load.Timeout != time.Second || s.Load.Requests[0].Path != "/" {
		t.Errorf("load: %+v", s.Load)
	}
	if len(s.Objectives) != 4 || s.Objectives[2].Line != 34 || s.Objectives[2].Check.Metrics()[0].Ref.Fault != "crash" {
		t.Errorf("objectives: %+v", s.Objectives)
	}
	if s.Repeats != 6 || s.Seed != 7 {
		t.Errorf("repeats %d, seed %d", s.Repeats, s.Seed)
	}
}
