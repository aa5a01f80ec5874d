package network

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// nodes stand for a cluster that only lists them.
type nodes []target.Node

func (n nodes) Nodes() []target.Node { return n }

type cluster struct {
	target.Cluster
	nodes
}

func (c cluster) Nodes() []target.Node { return c.nodes }

func site() *fault.Site {
	return &fault.Site{
		Cluster: cluster{nodes: nodes{
			{Name: "app-1", Service: "app", Address: "10.0.0.2", Addresses: []string{"10.0.0.2", "fd00::2"}},
			{Name: "app-2", Service: "app", Address: "10.0.0.3"},
			{Name: "db-1", Service: "db", Address: "10.0.0.4"},
		}},
		Name: "f", Rand: rand.New(rand.NewPCG(1, 2)),
	}
}

// parts are what a way of a kind wants of nodes.
func parts(t *testing.T, k fault.Kind, way string, p fault.Params) map[string]rule.Part {
	t.Helper()
	f, err := k.New(p)
	if err != nil {
		t.Fatal(err)
	}
	s := site()
	h, ok := f.(byWay)[way].(fault.Helped)
	if !ok {
		t.Fatalf("%T", f.(byWay)[way])
	}
	all, err := h.Parts(s, s.Nodes()[:2])
	if err != nil {
		t.Fatal(err)
	}
	of := make(map[string]rule.Part)
	for name, p := range all {
		of[name] = p.(rule.Part)
	}
	return of
}

// proven is what a way says of a report.
func proven(t *testing.T, k fault.Kind, way string, p fault.Params, d ...rule.Delivered) (asked, delivered string, short bool) {
	t.Helper()
	f, err := k.New(p)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return f.(byWay)[way].(fault.Helped).Prove(parts(t, k, way, p)["app-1"], raw, time.Second)
}

func TestLatencyParts(t *testing.T) {
	p := fault.Params{"delay": 100 * time.Millisecond, "jitter": 10 * time.Millisecond, "from": "db", "direction": "both"}
	all := parts(t, LatencyKind(), rule.WayNFQueue, p)
	one, other := all["app-1"], all["app-2"]
	if len(one) != 2 || one[0].Direction != rule.In || one[1].Direction != rule.Out || one[0].Delay != 100*time.Millisecond ||
		one[0].Jitter != 10*time.Millisecond || one[0].Way != rule.WayNFQueue || len(one[0].Peers) != 1 || one[0].Peers[0].String() != "10.0.0.4" {
		t.Errorf("%+v", one)
	}
	if one[0].Seed == other[0].Seed {
		t.Error("all nodes have the same chance")
	}
	if def := parts(t, LatencyKind(), wayNetemOut, fault.Params{"delay": time.Second})["app-1"]; len(def) != 1 || def[0].Direction != rule.In || def[0].Way != rule.WayNetem {
		t.Errorf("%+v", def)
	}
	if _, err := LatencyKind().New(fault.Params{}); err == nil {
		t.Error("a latency without a delay was made")
	}
}

func TestLatencyProof(t *testing.T) {
	k, p := LatencyKind(), fault.Params{"delay": 100 * time.Millisecond}
	at := func(median time.Duration) rule.Delivered {
		return rule.Delivered{Packets: 4012, Hit: 4012, Delay: &rule.Spread{Count: 4012, P50: median, P99: median, SD: time.Millisecond}}
	}
	for median, want := range map[time.Duration]bool{
		100300 * time.Microsecond: false, 109 * time.Millisecond: false, 91 * time.Millisecond: false, 111 * time.Millisecond: true, 80 * time.Millisecond: true,
	} {
		asked, delivered, short := proven(t, k, rule.WayNFQueue, p, at(median))
		if short != want || asked != "delay 100ms in" || !strings.Contains(delivered, "4012 packets") {
			t.Errorf("%v: %q, %q, short %t", median, asked, delivered, short)
		}
	}
	if _, said, short := proven(t, k, rule.WayNFQueue, fault.Params{"delay": time.Millisecond}, at(2900*time.Microsecond)); short {
		t.Errorf("a millisecond is judged too hard: %s", said)
	}
	if _, said, short := proven(t, k, rule.WayNFQueue, p, rule.Delivered{}); !short {
		t.Errorf("nothing is proof: %s", said)
	}
	passed := at(100 * time.Millisecond)
	passed.Passed = 1000
	if _, said, short := proven(t, k, rule.WayNFQueue, p, passed); !short || !strings.Contains(said, "1000 could not be held") {
		t.Errorf("that much passed is proof: %s", said)
	}
	if _, said, short := proven(t, k, rule.WayNetem, p, rule.Delivered{Packets: 5}); short || !strings.Contains(said, "5 packets through the emulator") {
		t.Errorf("netem: %s, short %t", said, short)
	}
	if _, said, short := proven(t, k, rule.WayNFQueue, p, rule.Delivered{Packets: 5, Hit: 5}); !short {
		t.Errorf("what was never let go is proof: %s", said)
	}
}

func TestLatencyWays(t *testing.T) {
	fits := func(p fault.Params) (names []string) {
		for _, w := range LatencyKind().Ways {
			if w.Fits == nil || w.Fits(p) {
				names = append(names, w.Name)
			}
		}
		return names
	}
	for want, p := range map[string]fault.Params{
		"nfqueue netem netem-peers proxy":           {"delay": time.Second},
		"nfqueue netem netem-out netem-peers proxy": {"delay": time.Second, "direction": "out"},
		"nfqueue netem-peers":                       {"delay": time.Second, "direction": "out", "from": "db"},
		"nfqueue netem netem-peers":                 {"delay": time.Second, "jitter": time.Millisecond},
	} {
		if got := strings.Join(fits(p), " "); got != want {
			t.Errorf("%v: %s, want %s", p, got, want)
		}
	}
	for _, k := range []fault.Kind{LatencyKind(), DuplicateKind(), CorruptKind(), ReorderKind()} {
		f, err := k.New(fault.Params{"delay": time.Second, "share": 0.5})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range k.Ways {
			if f.(byWay)[w.Name] == nil {
				t.Errorf("%s: nothing carries out %s", k.Summary, w.Name)
			}
		}
	}
	f, err := LatencyKind().New(fault.Params{"delay": 250 * time.Millisecond, "direction": "both"})
	if err != nil {
		t.Fatal(err)
	}
	want := proxied{
		{Type: "latency", Stream: "upstream", Attributes: map[string]any{"latency": int64(250), "jitter": int64(0)}},
		{Type: "latency", Stream: "downstream", Attributes: map[string]any{"latency": int64(250), "jitter": int64(0)}},
	}
	if got := f.(byWay)[wayProxy]; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestShared(t *testing.T) {
	for act, k := range map[rule.Act]fault.Kind{rule.Duplicate: DuplicateKind(), rule.Corrupt: CorruptKind(), rule.Reorder: ReorderKind()} {
		p := fault.Params{"share": 0.1, "from": "app-2"}
		part := parts(t, k, rule.WayNFQueue, p)["app-1"]
		if len(part) != 1 || part[0].Act != act || part[0].Share != 0.1 || part[0].Direction != rule.In || len(part[0].Peers) != 1 || (part[0].Delay > 0) != (act == rule.Reorder) {
			t.Errorf("%+v", part)
		}
		for hit, want := range map[uint64]bool{1000: false, 1050: false, 0: true, 800: true, 1300: true} {
			if asked, said, short := proven(t, k, rule.WayNFQueue, p, rule.Delivered{Packets: 10_000, Hit: hit}); short != want {
				t.Errorf("%s: %s, short %t", asked, said, short)
			}
		}
		if _, said, short := proven(t, k, rule.WayNFQueue, p, rule.Delivered{Packets: 20_000, Passed: 10_000, Hit: 1000}); short || !strings.Contains(said, "10000 could not") {
			t.Errorf("%s, short %t", said, short)
		}
		if _, said, short := proven(t, k, rule.WayNetem, p, rule.Delivered{}); !short {
			t.Errorf("nothing is proof: %s", said)
		}
		if _, err := k.New(fault.Params{"share": 1.5}); err == nil {
			t.Error("a share above 1 was taken")
		}
	}
}
