package plan_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

var update = flag.Bool("update", false, "write the golden files")

func kinds() fault.Kinds {
	return fault.Kinds{
		"kill": node.KillKind(), "stop": node.StopKind(), "restart": node.RestartKind(), "pause": node.PauseKind(), "scale": node.ScaleKind(),
	}
}

var able = target.Facts{Driver: "docker", Abilities: target.CanKill | target.CanStop | target.CanPause | target.CanScale}

const sound = `version: 1
name: sound
target: {compose: compose.yaml, ingress: "http://lb:8080", nodes: app}
arms:
  single: {scale: {app: 1}}
  cluster: {scale: {app: 8}}
  other: {scale: {app: 8}}
baseline: single
load: {rate: 100/s, for: 60s, warmup: 2s, timeout: 1s, requests: [GET /]}
faults:
  - {name: late, at: 30s, kill: app, for: 5s}
  - {name: half, at: 10s, pause: {service: app, pick: 50%}, for: 5s}
  - {name: third, at: 20s, stop: {service: app, replica: 3}, for: 5s}
objectives:
  - cluster.availability >= 99%
repeats: 6
seed: 7
`

const moreTo = "faults:\n  - {name: more, at: 1s, scale: {service: app, to: %d}, for: 2s}\n"

// verifying is the sound scenario with half of its requests read back.
func verifying(long, within string) string {
	s := with("load: {rate: 100/s, for: 60s,", "load: {rate: 100/s, for: "+long+",")
	s = strings.Replace(s, "requests: [GET /]}", `requests: [GET /, {PUT: "/kv/{{.Key}}", name: write, body: "{{.Value}}"}]}`, 1)
	return s + "verify: [{of: write, read: \"GET /kv/{{.Key}}\", contains: \"{{.Value}}\", within: " + within + "}]\n"
}

// sharing has so many keys, written and read in equal parts.
func sharing(keys int, long string) string {
	s := strings.Replace(verifying(long, "30s"), "timeout: 1s,", fmt.Sprintf("timeout: 1s, keys: %d,", keys), 1)
	return strings.Replace(s, "[GET /,", "[\"GET /kv/{{.Key}}\",", 1)
}

// with replaces one part of the sound scenario.
func with(old, new string) string { return strings.Replace(sound, old, new, 1) }

func parse(t *testing.T, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("scenario.yaml", []byte(text), kinds())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// targets gives every arm lb, which has an alias, app, and cache without a replica.
func targets(s *scenario.Scenario) map[string]*target.Target {
	of := make(map[string]*target.Target)
	for _, a := range s.Arms {
		of[a.Name] = &target.Target{Services: map[string]target.Service{
			"lb":    {Name: "lb", Scale: 1, Networks: map[string]target.Attachment{"default": {Aliases: []string{"www"}}}},
			"app":   {Name: "app", Scale: 2},
			"cache": {Name: "cache", Scale: 0},
		}}
	}
	return of
}

func build(t *testing.T, text string) (*plan.Plan, error) {
	t.Helper()
	s := parse(t, text)
	return plan.Build(s, targets(s), kinds(), able)
}

func built(t *testing.T, text string) *plan.Plan {
	t.Helper()
	p, err := build(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func block(t *testing.T, p *plan.Plan, n int) []plan.Trial {
	t.Helper()
	trials, err := p.Block(kinds(), n)
	if err != nil {
		t.Fatal(err)
	}
	return trials
}

// What is wrong is told with its place, in the order of the file, and nothing is planned.
func TestErrors(t *testing.T) {
	arm := func(more string) string {
		return with("cluster: {scale: {app: 8}}", "cluster: {scale: {app: 8}, "+more+"}")
	}
	var b bytes.Buffer
	for _, c := range []struct{ name, text string }{
		{"fault on no service", with("kill: app", "kill: ap")},
		{"fault on a service without replicas", with("kill: app", "kill: cache")},
		{"scale of no service", with("cluster: {scale: {app: 8}}", "cluster: {scale: {app: 8, db: 2}}")},
		{"scaled to nothing", with("single: {scale: {app: 1}}", "single: {scale: {app: 0}}")},
		{"nodes of no service", arm("nodes: apps")},
		{"ingress outside", arm(`ingress: "http://example.com"`)},
		{"ingress at a replica that is not there", arm(`ingress: "http://app-9:8080"`)},
		{"ingress that only begins like a service", arm(`ingress: "http://app-server:8080"`)},
		{"scale that changes nothing", with("faults:\n", fmt.Sprintf(moreTo, 8))},
		{"writes that cannot be read back in time", verifying("60s", "10s")},
		{"writes that cannot be remembered", strings.Replace(verifying("24h", "1h"), "100/s", "3000/s", 1)},
		{"too much of each key", sharing(4, "60s")},
		{"too much of all keys", strings.Replace(sharing(100_000, "60m"), "within: 30s", "within: 1h", 1)},
		{"several, in the order of the file", strings.NewReplacer("kill: app", "kill: ap", "cluster: {scale: {app: 8}}", "cluster: {nodes: web}").Replace(sound)},
	} {
		p, err := build(t, c.text)
		var wrong scenario.Errors
		if p != nil || !errors.As(err, &wrong) {
			t.Errorf("%s: plan %v, error %v", c.name, p, err)
			continue
		}
		fmt.Fprintf(&b, "# %s\n%v\n", c.name, err)
		if !strings.Contains(wrong.Pretty(), "^") {
			t.Errorf("%s: nothing is underlined:\n%s", c.name, wrong.Pretty())
		}
	}
	const golden = "testdata/errors.txt"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestIngress(t *testing.T) {
	for _, host := range []string{"lb", "app", "app-8", "lb-1", "www"} {
		if _, err := build(t, with("cluster: {scale: {app: 8}}", `cluster: {scale: {app: 8}, ingress: "http://`+host+`"}`)); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// What the driver cannot do is the surroundings' lack, named with the fault's place.
func TestAbilities(t *testing.T) {
	s := parse(t, sound)
	_, err := plan.Build(s, targets(s), kinds(), target.Facts{Driver: "tiny", Abilities: target.CanKill | target.CanScale})
	var unable *plan.UnableError
	var lacking *target.UnavailableError
	if !errors.As(err, &unable) || !errors.As(err, &lacking) {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{
		"scenario.yaml:12: fault half (pause) in arms single, cluster, other: the tiny driver cannot pause nodes here",
		"scenario.yaml:13: fault third (stop) in arms single, cluster, other: the tiny driver cannot stop nodes here", "nothing was started",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not say %q:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "late") {
		t.Errorf("kill is told, and the driver can kill:\n%v", err)
	}
}

// The same scenario gives the same plan, another seed another one.
func TestSeed(t *testing.T) {
	of := func(text string) [][]plan.Trial {
		p := built(t, text)
		var blocks [][]plan.Trial
		for n := 1; n <= 8; n++ {
			blocks = append(blocks, withoutFuncs(block(t, p, n)))
		}
		return blocks
	}
	one := of(sound)
	if !reflect.DeepEqual(one, of(sound)) {
		t.Error("the same scenario gave another plan")
	}
	if reflect.DeepEqual(choices(one), choices(of(with("seed: 7", "seed: 8")))) {
		t.Error("another seed gave the same victims and orders")
	}
	seeds := make(map[int64]bool)
	for _, b := range one {
		seeds[b[0].Seed] = true
		for _, tr := range b {
			if tr.Seed != b[0].Seed || tr.Load.Seed != b[0].Seed {
				t.Errorf("block %d has several seeds", tr.Block)
			}
		}
	}
	if len(seeds) != len(one) {
		t.Errorf("%d blocks have %d seeds", len(one), len(seeds))
	}
}

// withoutFuncs takes out what cannot be compared.
func withoutFuncs(trials []plan.Trial) []plan.Trial {
	for i := range trials {
		for k := range trials[i].Steps {
			trials[i].Steps[k].Kind.New = nil
		}
	}
	return trials
}

// choices are what is drawn of every trial: its place and its victims.
func choices(blocks [][]plan.Trial) []string {
	var c []string
	for _, b := range blocks {
		for _, tr := range b {
			c = append(c, tr.Arm+" "+victims(tr))
		}
	}
	return c
}

func victims(tr plan.Trial) string {
	var v []string
	for _, s := range tr.Steps {
		v = append(v, s.Name+": "+strings.Join(s.Victims, " "))
	}
	return strings.Join(v, "; ")
}

// Blocks differ in order and victims; within a block, arms of the same size are hit alike.
func TestBlocks(t *testing.T) {
	p := built(t, sound)
	orders, hits := make(map[string]bool), make(map[string]bool)
	next := 1
	for n := 1; n <= 12; n++ {
		by := make(map[string]plan.Trial)
		var order []string
		for _, tr := range block(t, p, n) {
			if tr.Block != n || tr.Order != next {
				t.Errorf("%s is trial %d of block %d, want %d of %d", tr.Arm, tr.Order, tr.Block, next, n)
			}
			next++
			order = append(order, tr.Arm)
			by[tr.Arm] = tr
		}
		if len(by) != 3 {
			t.Fatalf("block %d has %v", n, order)
		}
		if a, b := victims(by["cluster"]), victims(by["other"]); a != b {
			t.Errorf("block %d: cluster is hit at %s, other at %s", n, a, b)
		}
		orders[strings.Join(order, " ")], hits[victims(by["cluster"])] = true, true
	}
	if len(orders) < 3 || len(hits) < 3 {
		t.Errorf("12 blocks have orders %v and victims %v", orders, hits)
	}
}

// Steps are in the order of their times, and hit as many as they say, at least one.
func TestSteps(t *testing.T) {
	for _, tr := range block(t, built(t, sound), 1) {
		var names []string
		for _, s := range tr.Steps {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, []string{"half", "third", "late"}) {
			t.Errorf("%s: steps %v", tr.Arm, names)
		}
		want := map[string][]int{"single": {1, 1, 1}, "cluster": {4, 1, 1}, "other": {4, 1, 1}}[tr.Arm]
		for i, s := range tr.Steps {
			if len(s.Victims) != want[i] {
				t.Errorf("%s: %s hits %v, want %d", tr.Arm, s.Name, s.Victims, want[i])
			}
		}
		if third := tr.Steps[1].Victims[0]; tr.Arm == "single" && third != "app-1" || tr.Arm != "single" && third != "app-3" {
			t.Errorf("%s: replica 3 is %s", tr.Arm, third)
		}
	}
}

// A verb about a whole service takes all of it, and the driver knows beforehand how many there may be.
func TestScale(t *testing.T) {
	p := built(t, with("faults:\n", fmt.Sprintf(moreTo, 5)))
	for _, arm := range p.Scenario.Arms {
		spec, want := p.Spec(arm), max(5, arm.Scale["app"])
		if spec.MaxScale["app"] != want || spec.MaxScale["lb"] != 1 || spec.Target != p.Targets[arm.Name] || spec.Ingress.Host != "lb:8080" {
			t.Errorf("%s: spec %+v, want at most %d", arm.Name, spec, want)
		}
		if got := p.Replicas(arm, "app"); got != arm.Scale["app"] {
			t.Errorf("%s begins with %d replicas", arm.Name, got)
		}
	}
	for _, tr := range block(t, p, 1) {
		if s := tr.Steps[0]; s.Name != "more" || tr.Arm == "cluster" && len(s.Victims) != 8 {
			t.Errorf("%s: %s is about %v", tr.Arm, s.Name, s.Victims)
		}
	}
}

func TestLoad(t *testing.T) {
	for text, want := range map[string]int{
		"rate: 100/s": 256 + 125, "rate: 1/s": 256 + 2, "rate: 10000/s": 12_000, "rate: 1000000/s": 12_000,
	} {
		l := block(t, built(t, with("rate: 100/s", text)), 1)[0].Load
		if l.Connections != want {
			t.Errorf("%s: at most %d in flight, want %d", text, l.Connections, want)
		}
		if l.Schedule.Warmup != 2*time.Second || l.Schedule.For() != time.Minute || l.Timeout != time.Second || l.Ingress != "http://lb:8080" || len(l.Requests) != 1 {
			t.Errorf("load %+v", l)
		}
	}
}

// An objective that so few blocks cannot decide is a warning, and nothing more.
func TestWarnings(t *testing.T) {
	compare := with("cluster.availability >= 99%", "cluster.availability > single.availability")
	if p := built(t, strings.Replace(compare, "repeats: 6", "repeats: 2", 1)); len(p.Warnings) == 0 {
		t.Error("two blocks decide no comparison, and nobody says so")
	}
	if p := built(t, compare); len(p.Warnings) != 0 {
		t.Errorf("warnings %q", p.Warnings)
	}
}

func TestSpares(t *testing.T) {
	for blocks, want := range map[int]int{1: 1, 6: 1, 7: 2, 12: 2, 13: 3} {
		if got := plan.Spares(blocks); got != want {
			t.Errorf("%d blocks have %d spare ones, want %d", blocks, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	if got, want := built(t, sound).Duration(8*time.Second), 6*3*70*time.Second; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
