package scenario_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/scenario"
)

// A mutation is over its arms as an arm is over the target; without a list it is over all but the baseline.
func TestMutations(t *testing.T) {
	s := parse(t, "testdata/valid/mutations.yaml")
	if len(s.Mutations) != 3 || len(s.Arms) != 2 {
		t.Fatalf("%d mutations, %d arms", len(s.Mutations), len(s.Arms))
	}
	check, longer, alone := s.Mutations[0], s.Mutations[1], s.Mutations[2]
	if len(check.Arms) != 1 || check.Arms[0].Name != "cluster" || check.Arms[0].Env["CHECK"] != "off" || check.Arms[0].Scale["app"] != 3 || check.Line != 28 {
		t.Errorf("no-check: %+v", check)
	}
	if f := longer.Arms[0].Faults; len(longer.Arms) != 1 || len(f) != 1 || f[0].For != 30*time.Second || !f[0].Selector.All || len(longer.Arms[0].Compose) != 2 {
		t.Errorf("longer: %+v", longer)
	}
	if len(alone.Arms) != 2 || !reflect.DeepEqual(alone.Arms[1].Scale, map[string]int{"app": 1, "lb": 1}) {
		t.Errorf("alone: %+v", alone)
	}
	// The arms themselves are as they were.
	if a := s.Arms[1]; a.Env["CHECK"] != "/healthz" || a.Scale["app"] != 3 || len(a.Scale) != 1 || a.Faults[0].For != 15*time.Second || len(a.Compose) != 1 {
		t.Errorf("cluster is %+v", a)
	}
}

// A scenario's only arm is what a mutation breaks, with and without a baseline.
func TestMutationOfOneArm(t *testing.T) {
	for _, baseline := range []string{"", "baseline: two\n"} {
		text := "version: 1\nname: t\ntarget: {compose: c.yaml, ingress: \"http://lb:8080\"}\narms: {two: {scale: {app: 2}}}\n" + baseline +
			"load: {rate: 10/s, for: 10s, requests: [GET /]}\nmutations: {slow: {env: {SLOW: \"1\"}}}\n"
		s, err := scenario.Parse("t.yaml", []byte(text), kinds())
		if err != nil {
			t.Fatal(err)
		}
		if m := s.Mutations[0]; len(m.Arms) != 1 || m.Arms[0].Env["SLOW"] != "1" {
			t.Errorf("%q: %+v", baseline, m)
		}
	}
}
