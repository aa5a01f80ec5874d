package scenario_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// FuzzParse: whatever the file, there is a scenario or there are errors inside the file.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../../scenarios/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no files: %v", err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := scenario.Parse("fuzz.yaml", src, kinds())
		if err == nil {
			checkWhole(t, s)
			return
		}
		var errs scenario.Errors
		if !errors.As(err, &errs) || s != nil {
			t.Fatalf("got %v and %v, want Errors", s, err)
		}
		checkPlaces(t, src, errs)
	})
}

// checkWhole checks what users of a scenario rely on.
func checkWhole(t *testing.T, s *scenario.Scenario) {
	t.Helper()
	if s.Name == "" || s.Repeats < 1 || len(s.Arms) == 0 || len(s.Load.Requests) == 0 || s.Load.Timeout <= 0 ||
		s.Load.Capacity == nil && s.Load.Schedule.Check() != nil {
		t.Errorf("an empty scenario: %+v", s)
	}
	for _, v := range s.Verify {
		if v.Of == "" || v.Read.Method == "" || v.Read.Path == "" || v.Want == "" || v.Within <= 0 || v.Line <= 0 {
			t.Errorf("an empty item of verify: %+v", v)
		}
	}
	for _, one := range s.Load.Sessions {
		if one.Name == "" || one.Steps < 1 || one.First < 0 || one.First+one.Steps > len(s.Load.Requests) || !(one.Weight > 0) || one.Think < 0 {
			t.Errorf("an empty session: %+v", one)
		}
	}
	p := load.Plan{
		Schedule: s.Load.Schedule,
		Requests: s.Load.Requests, Sessions: s.Load.Sessions, Env: s.Arms[0].Env, Ingress: s.Arms[0].Ingress.String(), Seed: s.Seed,
	}
	if _, err := p.Templates(); err != nil {
		t.Errorf("load that cannot be sent: %v", err)
	}
	if p.Keys = s.Load.Keys; len(s.Verify) > 0 {
		for _, v := range s.Verify {
			p.Verify = append(p.Verify, v.Verify)
		}
		if _, err := p.Readbacks(); err != nil {
			t.Errorf("writes that cannot be read back: %v", err)
		}
	}
	baseline := len(s.Arms) == 1
	for _, a := range s.Arms {
		baseline = baseline || a.Name == s.Baseline
		if a.Name == "" || a.Ingress == nil || len(a.Compose) == 0 || a.Env == nil || a.Scale == nil || a.Ready.Within <= 0 {
			t.Errorf("an empty arm: %+v", a)
		}
		for _, f := range a.Faults {
			if f.Name == "" || f.Verb == "" || f.At < 0 || f.At >= s.Load.For() {
				t.Errorf("an empty fault: %+v", f)
			}
			if f.Random != nil && (len(f.Random.Verbs) == 0 || f.Random.Every <= 0 || f.Random.Max < f.Random.Min || len(f.Draws(s.Load.For())) == 0) {
				t.Errorf("an empty nemesis: %+v", f.Random)
			}
			if f.Random == nil && (f.Fault == nil || scenario.Anywhere(f, kinds()[f.Verb])) {
				t.Errorf("a fault of nothing: %+v", f)
			}
			if f.After != nil && (f.At != 0 || !slices.ContainsFunc(a.Faults, func(o scenario.Fault) bool { return o.Name == f.After.Fault })) || f.When != nil && len(f.When.Comparisons) == 0 {
				t.Errorf("a fault without its trigger: %+v", f)
			}
		}
	}
	if !baseline {
		t.Errorf("no baseline among %d arms", len(s.Arms))
	}
	for _, o := range s.Objectives {
		if o.Name == "" || o.Text == "" || o.Check.L == nil || o.Check.R == nil || o.Margin < 0 {
			t.Errorf("an empty objective: %+v", o)
		}
	}
	if c := s.Load.Capacity; c != nil && (!(c.From > 0) || c.To < c.From || c.Hold <= 0 || len(c.While.Comparisons) == 0) {
		t.Fatalf("an empty search: %+v", c)
	}
}
