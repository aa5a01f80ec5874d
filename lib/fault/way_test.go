package fault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// The best way that a machine has is taken; where there is none, each says what it lacks.
func TestOn(t *testing.T) {
	kind := fault.Kind{Ways: []fault.Way{
		{Name: "kernel", Abilities: target.CanEnterNetwork, Primitives: []string{"netem"}},
		{Name: "helper", Abilities: target.CanEnterNetwork, Primitives: []string{"nfqueue"}, Fits: func(p fault.Params) bool { return !p.Has("hard") }},
		{Name: "proxy", Abilities: target.CanProxy},
	}}
	have := func(names ...string) map[string]target.Primitive {
		m := map[string]target.Primitive{"netem": {Why: "no such file", Serves: "modprobe sch_netem"}}
		for _, n := range names {
			m[n] = target.Primitive{OK: true}
		}
		return m
	}
	for _, c := range []struct {
		facts target.Facts
		p     fault.Params
		want  string // a way, or the beginning of the error
	}{
		{target.Facts{Abilities: target.CanEnterNetwork, Primitives: have("netem", "nfqueue")}, nil, "kernel"},
		{target.Facts{Abilities: target.CanEnterNetwork, Primitives: have("nfqueue")}, fault.Params{}, "helper"},
		{target.Facts{Abilities: target.CanEnterNetwork | target.CanProxy, Primitives: have("nfqueue")}, fault.Params{"hard": true}, "proxy"},
		{target.Facts{Abilities: target.CanProxy, Primitives: map[string]target.Primitive{}}, nil, "proxy"},
		{target.Facts{Abilities: target.CanEnterNetwork}, nil, "kernel"},
		{
			target.Facts{Driver: "tiny", Abilities: target.CanEnterNetwork, Primitives: have()},
			nil,
			"kernel: the kernel lacks netem (no such file); helper: the kernel lacks nfqueue; proxy: the tiny driver cannot put a proxy in front of nodes here",
		},
	} {
		w, err := kind.On(c.facts, c.p)
		got := w.Name
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v with %v: %q, want %q", c.facts, c.p, got, c.want)
		}
		var lack *fault.LackError
		if err != nil && (!errors.As(err, &lack) || len(lack.Ways) != 3 || lack.Ways[0].Fixes[0] != "modprobe sch_netem") {
			t.Errorf("error %#v", err)
		}
	}
	if _, err := kind.On(target.Facts{Driver: "tiny"}, nil); err == nil || strings.Contains(err.Error(), "netem") {
		t.Errorf("a driver without helpers: %v", err)
	}
	if w, err := (fault.Kind{Means: "by hand"}).On(target.Facts{}, nil); err != nil || w.Name != "" || w.Means != "by hand" {
		t.Errorf("a kind without ways: %+v, %v", w, err)
	}
	_, err := fault.Kind{Needs: target.CanKill}.On(target.Facts{Driver: "tiny"}, nil)
	if err == nil || !strings.Contains(err.Error(), "the tiny driver cannot kill nodes here") {
		t.Errorf("error %v", err)
	}
}
