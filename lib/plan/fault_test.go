package plan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// A made is a fault that is never injected here, with what it was made of.
type made struct{ params fault.Params }

func (*made) Inject(context.Context, *fault.Site, []target.Node) ([]target.Effect, fault.Revert, error) {
	return nil, nil, errors.New("not in this test")
}

// catalogue has a verb for everything that a kind can ask of the plan.
func catalogue() fault.Kinds {
	of := func(p fault.Params) (fault.Fault, error) { return &made{p}, nil }
	all := kinds()
	maps.Copy(all, fault.Kinds{
		"latency": {
			Summary: "delay", New: of, Places: []target.Place{target.InNetwork}, Params: []fault.Param{
				{Name: "delay", Type: fault.Duration, Required: true}, {Name: "jitter", Type: fault.Duration}, {Name: "from", Type: fault.Peer},
			},
			Ways: []fault.Way{
				{Name: "netem", Means: "the kernel's emulator", Abilities: target.CanEnterNetwork, Primitives: []string{"netem"}},
				{Name: "nfqueue", Means: "packets held", Abilities: target.CanEnterNetwork, Primitives: []string{"nft", "nfqueue"}},
				{Name: "proxy", Means: "a proxy", Abilities: target.CanProxy, Fits: func(p fault.Params) bool { return !p.Has("from") }},
			},
		},
		"reset": {
			Summary: "reset", New: of, Places: []target.Place{target.InNetwork}, Params: []fault.Param{{Name: "port", Type: fault.Port}},
			Ways: []fault.Way{{Name: "proxy", Means: "a proxy", Abilities: target.CanProxy, Fits: func(p fault.Params) bool { return !p.Has("port") }}},
		},
		"partition": {
			Summary: "cut off", New: of, Needs: target.CanEnterNetwork, Means: "rules", Places: []target.Place{target.InNetwork},
			Params: []fault.Param{{Name: "between", Type: fault.Groups, Alone: true}, {Name: "from", Type: fault.Peer, Alone: true}, {Name: "to", Type: fault.Peer, Alone: true}},
			Choose: func(p fault.Params, all []target.Node) ([]target.Node, error) {
				var of []target.Node
				groups := append(p.Groups("between"), []string{p.Text("to", "")})
				for _, n := range all {
					if slices.ContainsFunc(groups, func(g []string) bool { return slices.Contains(g, n.Name) || slices.Contains(g, n.Service) }) {
						of = append(of, n)
					}
				}
				return of, nil
			},
		},
		"disk-full": {
			Summary: "fill", New: of, Needs: target.CanMount | target.CanBound, Means: "a helper that fills it", Places: []target.Place{target.AtVolume},
			Params: []fault.Param{{Name: "volume", Type: fault.Text}, {Name: "size", Type: fault.Size}},
			Check: func(p fault.Params, s target.Service, spec *target.Spec) error {
				if len(s.Mounts) == 0 {
					return fmt.Errorf("disk-full: service %s has no volume", s.Name)
				}
				p["volume"] = s.Mounts[0].Source
				spec.Bounded[s.Mounts[0].Source] = p.Amount("size", 1<<20)
				return nil
			},
		},
	})
	return all
}

// everything can do all, and knows of no primitive that is missing.
var everything = target.Facts{Driver: "docker", Abilities: ^target.Ability(0)}

const zoned = `version: 1
name: zoned
target: {compose: compose.yaml, ingress: "http://lb:8080"}
arms:
  small: {scale: {east: 1, west: 1}}
  large: {scale: {east: 3, west: 2}}
  other: {scale: {east: 3, west: 2}}
baseline: small
load: {rate: 100/s, for: 60s, timeout: 1s, requests: [GET /]}
faults:
`

// zones gives every arm lb, east in zone a with a volume, west in zone b with one, and cache without a replica.
func zones(s *scenario.Scenario) map[string]*target.Target {
	of := make(map[string]*target.Target)
	in := func(name, zone string, scale int) target.Service {
		return target.Service{Name: name, Scale: scale, Labels: map[string]string{target.LabelZone: zone}, Mounts: []target.Mount{{Kind: "volume", Source: name + "-data"}}}
	}
	for _, a := range s.Arms {
		of[a.Name] = &target.Target{Services: map[string]target.Service{
			"lb": {Name: "lb", Scale: 1}, "east": in("east", "a", 2), "west": in("west", "b", 2), "cache": in("cache", "c", 0),
		}}
	}
	return of
}

func parseZoned(t *testing.T, faults ...string) *scenario.Scenario {
	t.Helper()
	text := zoned
	for _, f := range faults {
		text += "  - " + f + "\n"
	}
	s, err := scenario.Parse("scenario.yaml", []byte(text), catalogue())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func buildZoned(t *testing.T, facts target.Facts, faults ...string) *plan.Plan {
	t.Helper()
	s := parseZoned(t, faults...)
	p, err := plan.Build(s, zones(s), catalogue(), facts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// arm is a trial of one arm in a block.
func arm(t *testing.T, p *plan.Plan, name string, n int) plan.Trial {
	t.Helper()
	trials, err := p.Block(catalogue(), n)
	if err != nil {
		t.Fatal(err)
	}
	return trials[slices.IndexFunc(trials, func(tr plan.Trial) bool { return tr.Arm == name })]
}

// What is known to hit nothing is told before anything starts.
func TestFaultErrors(t *testing.T) {
	var b bytes.Buffer
	for _, c := range []struct{ name, fault string }{
		{"zone of nobody", "{at: 1s, kill: {zone: d}}"},
		{"zone without a replica", "{at: 1s, kill: {zone: c}}"},
		{"service elsewhere", "{at: 1s, kill: {service: east, zone: b}}"},
		{"service without a zone", "{at: 1s, kill: {service: lb, zone: a}}"},
		{"role without replicas", "{at: 1s, kill: {service: cache, role: {exec: [is-leader]}}}"},
		{"role of no service", "{at: 1s, kill: {service: db, role: {exec: [is-leader]}}}"},
		{"groups of no service", "{at: 1s, partition: {between: [east, db]}}"},
		{"groups of no replica", "{at: 1s, partition: {between: [east, west-2]}}"},
		{"group without replicas", "{at: 1s, partition: {between: [east, cache]}}"},
		{"a node in two groups", "{at: 1s, partition: {between: [east, [east-1, west]]}}"},
		{"peer of no service", "{at: 1s, latency: {service: east, delay: 5ms, from: lbb}}"},
		{"to nobody", "{at: 1s, partition: {from: east, to: cache}}"},
		{"no way can do it", "{at: 1s, reset: {service: east, port: 80}}"},
		{"impossible by the Compose file", "{at: 1s, disk-full: lb}"},
		{"random on no service", "{at: 1s, random: {verbs: [kill, {pause: east}], services: [east, db], every: 5s, for: 2s}}"},
		{"random in no zone", "{at: 1s, random: {verbs: [{kill: {zone: d}}], every: 5s, for: 2s}}"},
		{"random that is impossible", "{at: 1s, random: {verbs: [disk-full], services: [east, lb], every: 5s, for: 2s}}"},
	} {
		s := parseZoned(t, c.fault)
		p, err := plan.Build(s, zones(s), catalogue(), everything)
		var wrong scenario.Errors
		if p != nil || !errors.As(err, &wrong) {
			t.Errorf("%s: plan %v, error %v", c.name, p, err)
			continue
		}
		fmt.Fprintf(&b, "# %s\n%v\n", c.name, err)
	}
	const golden = "testdata/faults.txt"
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

// Victims are chosen by zone, by the parameters, or left to the role; steps that wait come last.
func TestVictims(t *testing.T) {
	p := buildZoned(
		t, everything,
		"{name: waits, after: {fault: zone, event: healed, delay: 2s}, kill: east, for: 1s}",
		"{name: sees, when: p99 > 1s, kill: west, for: 1s}",
		"{name: zone, at: 10s, kill: {zone: a}, for: 5s}",
		"{name: one, at: 9s, kill: {zone: b, pick: one}, for: 5s}",
		"{name: role, at: 20s, kill: {service: east, role: {exec: [is-leader]}}, for: 5s}",
		"{name: cut, at: 21s, partition: {between: [lb, east-1]}, for: 5s}",
		"{name: one-way, at: 22s, partition: {from: lb, to: west}, for: 5s}",
		"{name: full, at: 23s, disk-full: {zone: b}, for: 5s}",
	)
	tr := arm(t, p, "large", 1)
	var got []string
	for _, s := range tr.Steps {
		victims := strings.Join(s.Victims, " ")
		if s.Name == "one" || s.Name == "waits" || s.Name == "sees" { // by the seed
			victims = fmt.Sprintf("%d of %s", len(s.Victims), s.Victims[0][:4])
		}
		got = append(got, s.Name+" "+s.Trigger()+": "+victims)
	}
	want := []string{
		"one at 9s: 1 of west", "zone at 10s: east-1 east-2 east-3", "role at 20s: east-1 east-2 east-3", "cut at 21s: east-1 lb-1",
		"one-way at 22s: west-1 west-2", "full at 23s: west-1 west-2", "waits 2s after zone healed: 1 of east", "sees when p99 > 1s: 1 of west",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	full := tr.Steps[slices.IndexFunc(tr.Steps, func(s plan.Step) bool { return s.Name == "full" })]
	if v := full.Params.Text("volume", ""); v != "west-data" || full.Fault.Fault.(*made).params.Text("volume", "") != v {
		t.Errorf("what the service says is not in the parameters: %v, %v", full.Params, full.Fault.Fault)
	}
	if given := p.Scenario.Arms[0].Faults[7].Params; given.Has("volume") {
		t.Errorf("the scenario was changed: %v", given)
	}
}

// A fault is done in the first way that the machine has and that can do it, and the driver is told where helpers or proxies
// will be.
func TestWays(t *testing.T) {
	const simple, peered = "{at: 1s, latency: {service: east, delay: 5ms}, for: 5s}", "{at: 1s, latency: {service: east, delay: 5ms, from: lb}, for: 5s}"
	have := func(names ...string) map[string]target.Primitive {
		all := map[string]target.Primitive{
			"netem": {Why: "add a netem qdisc: no such file", Serves: "modprobe sch_netem"}, "nft": {Why: "no nftables"}, "nfqueue": {Why: "no queue"},
		}
		for _, n := range names {
			all[n] = target.Primitive{OK: true}
		}
		return all
	}
	docker := target.Facts{Driver: "docker", Abilities: target.CanEnterNetwork}
	for _, c := range []struct {
		fault string
		facts target.Facts
		way   string // "" for none
		says  []string
	}{
		{simple, target.Facts{Driver: "docker", Abilities: target.CanEnterNetwork}, "netem", nil},
		{simple, target.Facts{Driver: "docker", Abilities: target.CanEnterNetwork, Primitives: have("netem", "nft", "nfqueue")}, "netem", nil},
		{simple, target.Facts{Driver: "docker", Abilities: target.CanEnterNetwork, Primitives: have("nft", "nfqueue")}, "nfqueue", nil},
		{simple, target.Facts{Driver: "process", Abilities: target.CanProxy}, "proxy", nil},
		{simple, target.Facts{Driver: "docker", Abilities: docker.Abilities, Primitives: have("nft")}, "", []string{
			"scenario.yaml:11: fault latency-east-1 (latency) in arms small, large, other: ", "netem: the kernel lacks netem (add a netem qdisc: no such file)",
			"nfqueue: the kernel lacks nfqueue (no queue)", "proxy: the docker driver cannot put a proxy in front of nodes here", "nothing was started",
		}},
		{peered, target.Facts{Driver: "process", Abilities: target.CanProxy}, "", []string{"proxy: it cannot do what is asked", "the process driver cannot enter nodes' network namespaces here"}},
		{simple, target.Facts{Driver: "docker", Abilities: docker.Abilities, Primitives: map[string]target.Primitive{}}, "", []string{"netem: the kernel lacks netem", "nft"}},
	} {
		s := parseZoned(t, c.fault)
		p, err := plan.Build(s, zones(s), catalogue(), c.facts)
		if c.way == "" {
			var lacking *target.UnavailableError
			if !errors.As(err, &lacking) {
				t.Errorf("%s on %+v: %v", c.fault, c.facts, err)
				continue
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s on %+v does not say %q:\n%v", c.fault, c.facts, part, err)
				}
			}
			continue
		}
		if err != nil {
			t.Errorf("%s on %+v: %v", c.fault, c.facts, err)
			continue
		}
		step := arm(t, p, "large", 1).Steps[0]
		means := map[string]string{"netem": "the kernel's emulator", "nfqueue": "packets held", "proxy": "a proxy"}[c.way]
		if step.Way != c.way || step.Means != means {
			t.Errorf("%s on %+v: way %q by %q, want %s", c.fault, c.facts, step.Way, step.Means, c.way)
		}
		spec := p.Spec(p.Scenario.Arms[1])
		places, proxied := map[string][]target.Place{"east": {target.InNetwork}}, map[string]bool{}
		if c.way == "proxy" {
			places, proxied = map[string][]target.Place{}, map[string]bool{"east": true}
		}
		if !reflect.DeepEqual(spec.Places, places) || !reflect.DeepEqual(spec.Proxied, proxied) {
			t.Errorf("%s: places %v, proxied %v", c.way, spec.Places, spec.Proxied)
		}
	}
}

// The driver is told what every fault may need of it, those that are yet to be drawn included.
func TestSpec(t *testing.T) {
	p := buildZoned(
		t, everything,
		"{at: 1s, partition: {between: [lb, east]}, for: 5s}",
		"{at: 1s, disk-full: {service: east, size: 8MiB}, for: 5s}",
		"{at: 1s, random: {verbs: [disk-full, {scale: {to: 7}}, {latency: {delay: 5ms}}], services: [west], every: 5s, for: 2s}}",
	)
	spec := p.Spec(p.Scenario.Arms[1])
	if want := (map[string][]target.Place{"east": {target.InNetwork, target.AtVolume}, "lb": {target.InNetwork}, "west": {target.AtVolume, target.InNetwork}}); !reflect.DeepEqual(spec.Places, want) {
		t.Errorf("places %v, want %v", spec.Places, want)
	}
	if want := (map[string]int64{"east-data": 8 << 20, "west-data": 1 << 20}); !reflect.DeepEqual(spec.Bounded, want) {
		t.Errorf("bounded %v, want %v", spec.Bounded, want)
	}
	if spec.MaxScale["west"] != 7 || spec.MaxScale["east"] != 3 {
		t.Errorf("at most %v", spec.MaxScale)
	}
}

func TestNeedsPrimitives(t *testing.T) {
	for text, want := range map[string]bool{
		"{at: 1s, kill: east}":                           false,
		"{at: 1s, reset: east}":                          false,
		"{at: 1s, partition: {from: lb, to: west}}":      false,
		"{at: 1s, latency: {service: east, delay: 1ms}}": true,
		"{at: 1s, random: {verbs: [kill, {latency: {delay: 1ms}}], services: [east], every: 5s, for: 2s}}": true,
	} {
		if got := plan.NeedsPrimitives(parseZoned(t, text), catalogue()); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// A nemesis draws from the block's seed alone, alike in all arms, and what it draws stays within what the file says.
func TestRandom(t *testing.T) {
	const nemesis = "{name: nemesis, at: 5s, for: 54s, random: {verbs: [kill, pause, restart, {latency: {delay: 5ms}}, {kill: {zone: b}}], services: [east, west], every: 4s, for: 2s..7s}}"
	p := buildZoned(t, everything, nemesis, "{name: crash, at: 6s, kill: west, for: 1s}", "{after: {fault: crash, event: healed}, pause: west, for: 1s}")
	told := func(tr plan.Trial) []string {
		var all []string
		for _, s := range tr.Steps {
			if s.Drawn == "nemesis" {
				all = append(all, fmt.Sprintf("%s %v %v %s %s%s", s.Name, s.At, s.For, s.Verb, s.Selector.Service, s.Selector.Zone))
			}
		}
		return all
	}
	verbs, services, lengths, blocks := map[string]int{}, map[string]int{}, map[time.Duration]int{}, map[string]bool{}
	for n := 1; n <= 20; n++ {
		large := arm(t, p, "large", n)
		if again := arm(t, p, "large", n); !slices.Equal(told(again), told(large)) || victims(again) != victims(large) {
			t.Fatalf("block %d was drawn twice differently", n)
		}
		if a, b := told(large), told(arm(t, p, "small", n)); !slices.Equal(a, b) {
			t.Errorf("block %d: large is hit by %q, small by %q", n, a, b)
		}
		if other := arm(t, p, "other", n); victims(other) != victims(large) {
			t.Errorf("block %d: large is hit at %s, other at %s", n, victims(large), victims(other))
		}
		blocks[strings.Join(told(large), "\n")] = true
		faults, k := make(map[fault.Fault]bool), 0
		for _, s := range large.Steps {
			if s.Drawn == "" {
				continue
			}
			if s.Name != fmt.Sprintf("nemesis-%d", k+1) || s.At != 5*time.Second+time.Duration(k)*4*time.Second || s.Random != nil || len(s.Victims) == 0 {
				t.Errorf("block %d: draw %d is %+v", n, k, s)
			}
			k++
			if s.Fault.Fault == nil || s.Verb == "latency" && (faults[s.Fault.Fault] || s.Way != "netem") {
				t.Errorf("%s has no fault of its own, or no way", s.Name)
			}
			faults[s.Fault.Fault] = s.Verb == "latency"
			verbs[s.Verb]++
			if s.Selector.Zone == "" {
				services[s.Selector.Service]++
			}
			least, most := 2*time.Second, min(7*time.Second, time.Minute-s.At)
			switch {
			case s.Verb == "restart" && s.For != 0, s.Verb != "restart" && (s.For < min(least, most) || s.For > most):
				t.Errorf("%s (%s) at %v lasts %v", s.Name, s.Verb, s.At, s.For)
			case s.Verb != "restart":
				lengths[s.For]++
			}
		}
		if k != 14 {
			t.Errorf("block %d has %d draws, want 14", n, k)
		}
	}
	if len(blocks) != 20 || len(verbs) != 4 || len(services) != 2 || len(lengths) < 100 {
		t.Errorf("of 280 draws: %d blocks differ, verbs %v, services %v, %d lengths", len(blocks), verbs, services, len(lengths))
	}
	for what, n := range map[string]int{"kill, of 2 in 5 draws": verbs["kill"] * 5 / 2, "pause, of 1 in 5": verbs["pause"] * 5, "east, of 2 in 5": services["east"] * 5 / 2} {
		if n < 280/2 || n > 280*3/2 { // five standard deviations and more
			t.Errorf("%s, was drawn as often as %d in 280 would be", what, n)
		}
	}
}

// Names of drawn faults can be judged.
func TestRandomObjective(t *testing.T) {
	text := zoned + "  - {name: nemesis, at: 5s, random: {verbs: [{kill: east}], every: 10s, for: 2s}}\nobjectives:\n  - large.recovery{fault=\"nemesis-2\"} <= 5s\n"
	s, err := scenario.Parse("scenario.yaml", []byte(text), catalogue())
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Build(s, zones(s), catalogue(), everything)
	if err != nil {
		t.Fatal(err)
	}
	name := s.Objectives[0].Check.Metrics()[0].Ref.Fault
	if !slices.ContainsFunc(arm(t, p, "large", 1).Steps, func(s plan.Step) bool { return s.Name == name }) {
		t.Errorf("no step is named %s", name)
	}
}

// Faults of which the end of one would undo the other are refused where they can be in force together, and only there.
func TestExclusive(t *testing.T) {
	for text, refused := range map[string]bool{
		"{at: 1s, scale: {service: app, to: 9}, for: 10s}\n  - {at: 5s, scale: {service: app, to: 2}, for: 10s}":                                                                     true,
		"{at: 1s, scale: {service: app, to: 9}, for: 4s}\n  - {at: 5s, scale: {service: app, to: 2}, for: 10s}":                                                                      false,
		"{at: 1s, scale: {service: app, to: 9}}\n  - {at: 5s, scale: {service: app, to: 2}, for: 10s}":                                                                               true,
		"{name: up, at: 1s, scale: {service: app, to: 9}, for: 4s}\n  - {after: {fault: up, event: healed}, scale: {service: app, to: 2}, for: 10s}":                                 false,
		"{name: up, at: 1s, scale: {service: app, to: 9}, for: 4s}\n  - {after: {fault: up, event: onset}, scale: {service: app, to: 2}, for: 10s}":                                  true,
		"{at: 1s, random: {verbs: [{scale: {service: app, to: 9}}, kill], services: [app], every: 4s, for: 2s..5s}}":                                                                 true,
		"{at: 1s, random: {verbs: [{scale: {service: app, to: 9}}, kill], services: [app], every: 5s, for: 2s..5s}}":                                                                 false,
		"{at: 1s, scale: {service: app, to: 9}, for: 10s}\n  - {at: 5s, random: {verbs: [{scale: {service: app, to: 2}}, kill], services: [app], every: 5s, for: 2s..5s}}":           true,
		"{at: 1s, scale: {service: app, to: 9}, for: 3s}\n  - {at: 5s, random: {verbs: [{scale: {service: app, to: 2}}, kill], services: [app], every: 5s, for: 2s..5s}}":            false,
		"{at: 1s, for: 4s, random: {verbs: [{scale: {service: app, to: 2}}, kill], services: [app], every: 5s, for: 2s..5s}}\n  - {at: 8s, scale: {service: app, to: 9}, for: 10s}":  true,
		"{at: 1s, for: 4s, random: {verbs: [{scale: {service: app, to: 2}}, kill], services: [app], every: 5s, for: 2s..5s}}\n  - {at: 11s, scale: {service: app, to: 9}, for: 10s}": false,
		"{at: 1s, kill: {service: app, replica: 1}, for: 10s}\n  - {at: 5s, kill: {service: app, replica: 2}, for: 10s}":                                                             false,
	} {
		_, err := build(t, with("faults:\n", "faults:\n  - "+text+"\n"))
		if got := err != nil && (strings.Contains(err.Error(), "would undo the other") || strings.Contains(err.Error(), "would undo it")); got != refused {
			t.Errorf("%s\nrefused %v, want %v: %v", text, got, refused, err)
		}
	}
}
