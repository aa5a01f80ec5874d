package network_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/network"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// helped is a cluster whose helpers are goroutines that keep nothing up: they remember what they were asked for, and
// report what the test says.
type helped struct {
	target.Cluster
	nodes []target.Node

	mu      sync.Mutex
	parts   map[string]rule.Part   // in force, by node
	reports map[string]rule.Report // by node
	proxies map[string][]target.Toxic
}

func newHelped() *helped {
	return &helped{
		nodes: []target.Node{
			{Name: "app-1", Service: "app", Address: "10.0.0.2", Addresses: []string{"10.0.0.2", "10.1.0.2", "fd00::2"}},
			{Name: "app-2", Service: "app", Address: "10.0.0.3"},
			{Name: "db-1", Service: "db", Address: "10.0.0.4"},
			{Name: "other-1", Service: "other", Address: "10.0.0.5"},
		},
		parts: make(map[string]rule.Part), reports: make(map[string]rule.Report), proxies: make(map[string][]target.Toxic),
	}
}

func (c *helped) Nodes() []target.Node { return c.nodes }

func (c *helped) Enter(_ context.Context, n target.Node, p target.Place, _ string, args ...string) (*target.Process, error) {
	if p != target.InNetwork || !reflect.DeepEqual(args, []string{"helper", rule.Worker}) {
		return nil, fmt.Errorf("a helper %v in %s", args, p)
	}
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := agent.Help(ctx, in, out, worker{c, n.Name}, time.Minute)
		_ = out.Close()
		done <- err
	}()
	return &target.Process{Stdin: stdin, Stdout: stdout, Wait: func() error { return <-done }, Kill: cancel}, nil
}

func (c *helped) Proxy(_ context.Context, n target.Node, _ string, toxics []target.Toxic) (target.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proxies[n.Name] = toxics
	return target.Effect{Node: n, From: time.Now(), To: time.Now(), Source: "proxy"}, nil
}

type worker struct {
	c    *helped
	node string
}

func (w worker) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	out := agent.Outcome{From: time.Now(), To: time.Now()}
	delete(w.c.parts, w.node)
	for _, raw := range parts {
		var p rule.Part
		if err := json.Unmarshal(raw, &p); err != nil {
			return out, err
		}
		w.c.parts[w.node] = p
	}
	if len(parts) == 0 {
		raw, err := json.Marshal(w.c.reports[w.node])
		if err != nil {
			return out, err
		}
		out.Ended = agent.Parts{"f": raw}
	}
	return out, nil
}

func (worker) Read(context.Context) (agent.Parts, error) { return nil, nil }
func (worker) Close() error                              { return nil }

// injection is a fault that was made, armed and injected on the nodes that it chooses, else on those of app.
func (c *helped) inject(t *testing.T, k fault.Kind, way string, p fault.Params) fault.Revert {
	t.Helper()
	f, err := k.New(p)
	if err != nil {
		t.Fatal(err)
	}
	nodes := c.nodes[:2]
	if k.Choose != nil {
		chosen, err := k.Choose(p, c.nodes)
		if err != nil {
			t.Fatal(err)
		}
		if chosen != nil {
			nodes = chosen
		}
	}
	s := &fault.Site{Cluster: c, Name: "f", Way: way, Helpers: fault.NewHelpers(c), Rand: rand.New(rand.NewPCG(1, 2))}
	t.Cleanup(func() { _ = s.Helpers.Close() })
	if err := f.(fault.Armer).Arm(t.Context(), s, nodes); err != nil {
		t.Fatal(err)
	}
	if len(c.parts)+len(c.proxies) > 0 {
		t.Fatalf("armed, it is in force: %v %v", c.parts, c.proxies)
	}
	effects, revert, err := f.Inject(t.Context(), s, nodes)
	if err != nil || len(effects) != len(nodes) {
		t.Fatalf("%d effects on %d nodes: %v", len(effects), len(nodes), err)
	}
	return revert
}

func (c *helped) end(t *testing.T, revert fault.Revert) map[string]target.Effect {
	t.Helper()
	effects, err := revert(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.parts) > 0 {
		t.Errorf("undone, it is in force: %v", c.parts)
	}
	of := make(map[string]target.Effect)
	for _, e := range effects {
		of[e.Node.Name] = e
	}
	return of
}

// said writes parts in a line each, to be compared.
func said(parts map[string]rule.Part) string {
	b, _ := json.Marshal(parts) // sorted by the nodes' names
	return string(b)
}

// Every member of a partition drops what comes from the members of the other groups, by all of their addresses.
func TestPartition(t *testing.T) {
	for _, test := range []struct {
		name   string
		params fault.Params
		want   string
	}{
		{
			"groups",
			fault.Params{"between": [][]string{{"app"}, {"db-1", "other"}}},
			`{"app-1":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.4","10.0.0.5"]}],` +
				`"app-2":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.4","10.0.0.5"]}],` +
				`"db-1":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.2","10.0.0.3","10.1.0.2","fd00::2"]}],` +
				`"other-1":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.2","10.0.0.3","10.1.0.2","fd00::2"]}]}`,
		},
		{
			"replicas",
			fault.Params{"between": [][]string{{"app-1"}, {"app-2"}}},
			`{"app-1":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.3"]}],` +
				`"app-2":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.2","10.1.0.2","fd00::2"]}]}`,
		},
		{
			"one way",
			fault.Params{"from": "app-2", "to": "db"},
			`{"db-1":[{"act":"drop","way":"nft","direction":"in","peers":["10.0.0.3"]}]}`,
		},
		{
			"from everyone",
			fault.Params{},
			`{"app-1":[{"act":"drop","way":"nft","direction":"in"}],"app-2":[{"act":"drop","way":"nft","direction":"in"}]}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newHelped()
			c.inject(t, network.PartitionKind(), rule.WayNFT, test.params)
			if got := said(c.parts); got != test.want {
				t.Errorf("want\n%s\ngot\n%s", test.want, got)
			}
		})
	}
	for _, p := range []fault.Params{
		{"between": [][]string{{"app"}}},
		{"between": [][]string{{"app"}, {"db"}}, "to": "db"},
		{"from": "app"},
		{"to": "app"},
	} {
		if _, err := network.PartitionKind().New(p); err == nil {
			t.Errorf("%v was accepted", p)
		}
	}
	for _, p := range []fault.Params{
		{"between": [][]string{{"app"}, {"nobody"}}},
		{"between": [][]string{{"app"}, {"app-1"}}},
		{"from": "nobody", "to": "app"},
		{"from": "app", "to": "nobody"},
	} {
		if _, err := network.PartitionKind().Choose(p, newHelped().nodes); err == nil {
			t.Errorf("%v means nodes", p)
		}
	}
}

// One member that dropped something proves a partition between groups; a fault on single nodes is proven on each.
func TestProof(t *testing.T) {
	none, some := rule.Report{{}}, rule.Report{{Packets: 7, Hit: 7, Bytes: 700}}
	between := fault.Params{"between": [][]string{{"app-1"}, {"app-2"}}}
	for _, test := range []struct {
		name   string
		kind   fault.Kind
		way    string
		params fault.Params
		one    rule.Report // of app-1; app-2 met something
		short  bool
	}{
		{"partition", network.PartitionKind(), rule.WayNFT, between, none, false},
		{"cut off", network.PartitionKind(), rule.WayNFT, fault.Params{}, none, true},
		{"blackhole", network.BlackholeKind(), rule.WayNFT, fault.Params{}, none, true},
		{"refuse", network.RefuseKind(), rule.WayNFT, fault.Params{}, none, true},
		{"refuse", network.RefuseKind(), rule.WayNFT, fault.Params{}, some, false},
		{"reset", network.ResetKind(), "destroy", fault.Params{}, none, true},
		{"reset", network.ResetKind(), "destroy", fault.Params{}, rule.Report{{Resets: 1}}, false},
		{"reset", network.ResetKind(), "reject", fault.Params{}, some, false},
		{"a report of another rule", network.ResetKind(), "reject", fault.Params{}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newHelped()
			c.reports["app-1"], c.reports["app-2"] = test.one, some
			revert := c.inject(t, test.kind, test.way, test.params)
			ended := c.end(t, revert)
			if e := ended["app-1"]; e.Short != test.short || e.Asked == "" || e.Delivered == "" {
				t.Errorf("app-1: %+v", e)
			}
			if e := ended["app-2"]; e.Short || !strings.Contains(e.Delivered, "7 packets") {
				t.Errorf("app-2: %+v", e)
			}
			if e := c.end(t, revert)["app-2"]; e.Short || e.Delivered != "" {
				t.Errorf("undone twice: %+v", e)
			}
		})
	}
	c := newHelped()
	c.reports["app-1"], c.reports["app-2"] = none, none
	for node, e := range c.end(t, c.inject(t, network.PartitionKind(), rule.WayNFT, between)) {
		if !e.Short || !strings.Contains(e.Delivered, "nothing was cut") {
			t.Errorf("%s: %+v", node, e)
		}
	}
}

// What was lost has to be what chance gives in 999 of 1,000 cases. The limits were found by summing the distribution in
// whole numbers: 926…1,074 of 2,000 at 1/2, 7…36 at 1/100, 157…245 at 1/10, 1…10 of 11 at 1/2, 0…3 of 20 at 1/100.
func TestLost(t *testing.T) {
	for _, test := range []struct {
		share float64
		n, k  uint64
		short bool
	}{
		{0.5, 2000, 925, true},
		{0.5, 2000, 926, false},
		{0.5, 2000, 1074, false},
		{0.5, 2000, 1075, true},
		{0.01, 2000, 6, true},
		{0.01, 2000, 7, false},
		{0.01, 2000, 36, false},
		{0.01, 2000, 37, true},
		{0.1, 2000, 156, true},
		{0.1, 2000, 157, false},
		{0.1, 2000, 245, false},
		{0.1, 2000, 246, true},
		{0.5, 11, 1, false},
		{0.5, 11, 10, false},
		{0.5, 11, 11, true},
		{0.01, 20, 3, false},
		{0.01, 20, 4, true},
		{0.01, 20, 0, true}, // likely, but nothing was lost
		{1, 10, 10, false},
		{1, 10, 9, true},
		{0.5, 0, 0, true},
		{0.3, 5_000_000, 1_500_000, false},
		{0.3, 5_000_000, 1_510_000, true},
	} {
		c := newHelped()
		p := fault.Params{"share": test.share, "from": "db"}
		revert := c.inject(t, network.LossKind(), rule.WayNFT, p)
		if r := c.parts["app-1"][0]; r.Share != test.share || len(r.Peers) != 1 || r.Peers[0].String() != "10.0.0.4" {
			t.Fatalf("rule %+v", r)
		}
		c.reports["app-1"] = rule.Report{{Packets: test.n, Hit: test.k}}
		if e := c.end(t, revert)["app-1"]; e.Short != test.short {
			t.Errorf("%d of %d at %v: %+v", test.k, test.n, test.share, e)
		}
	}
}

// A limit is proven by the rate that came through, and says whether anything had to wait.
func TestBandwidth(t *testing.T) {
	rules := func(p fault.Params, d ...rule.Delivered) target.Effect {
		t.Helper()
		c := newHelped()
		revert := c.inject(t, network.BandwidthKind(), rule.WayTBF, p)
		for _, r := range c.parts["app-1"] {
			if r.Act != rule.Limit || r.Rate != 1_000_000 {
				t.Fatalf("rule %+v", r)
			}
		}
		if n := len(c.parts["app-1"]); n != len(d) {
			t.Fatalf("%d rules, want %d", n, len(d))
		}
		c.reports["app-1"] = d
		time.Sleep(10 * time.Millisecond)
		return c.end(t, revert)["app-1"]
	}
	both, out := fault.Params{"rate": int64(1_000_000)}, fault.Params{"rate": int64(1_000_000), "direction": "out"}
	idle := rule.Delivered{Packets: 1, Bytes: 100}
	if e := rules(both, idle, idle); e.Short || strings.Count(e.Delivered, "never reached") != 2 {
		t.Errorf("idle: %+v", e)
	}
	if e := rules(out, rule.Delivered{Packets: 10, Bytes: 1000, Hit: 3}); e.Short || !strings.Contains(e.Delivered, "3 times") {
		t.Errorf("reached: %+v", e)
	}
	if e := rules(both, idle, rule.Delivered{Packets: 10000, Bytes: 100e6}); !e.Short {
		t.Errorf("exceeded: %+v", e)
	}
	if e := rules(out, rule.Delivered{}); !e.Short {
		t.Errorf("nothing: %+v", e)
	}
}

// Where there are proxies, they are asked, and asked to end it.
func TestProxied(t *testing.T) {
	for _, test := range []struct {
		kind   fault.Kind
		params fault.Params
		want   string
	}{
		{network.RefuseKind(), fault.Params{}, "[{down  map[]}]"},
		{network.ResetKind(), fault.Params{}, "[{reset_peer  map[]}]"},
		{network.BandwidthKind(), fault.Params{"rate": int64(1_000_000)}, "[{bandwidth upstream map[rate:125]} {bandwidth downstream map[rate:125]}]"},
	} {
		facts := target.Facts{Driver: "process", Abilities: target.CanProxy, Primitives: map[string]target.Primitive{}}
		w, err := test.kind.On(facts, test.params)
		if err != nil {
			t.Fatal(err)
		}
		c := newHelped()
		revert := c.inject(t, test.kind, w.Name, test.params)
		if got := fmt.Sprint(c.proxies["app-2"]); got != test.want {
			t.Errorf("want %s, got %s", test.want, got)
		}
		c.end(t, revert)
		if toxics := c.proxies["app-2"]; toxics != nil {
			t.Errorf("undone: %v", toxics)
		}
	}
}

// A machine takes the best way that it has, and one that has none says why.
func TestWays(t *testing.T) {
	has := func(names ...string) target.Facts {
		f := target.Facts{Driver: "docker", Abilities: target.CanEnterNetwork, Primitives: map[string]target.Primitive{}}
		for _, n := range names {
			f.Primitives[n] = target.Primitive{OK: true}
		}
		return f
	}
	out := fault.Params{"rate": int64(1_000_000), "direction": "out"}
	for _, test := range []struct {
		kind   fault.Kind
		facts  target.Facts
		params fault.Params
		want   string
	}{
		{network.ResetKind(), has(rule.HasNFT, rule.HasReject, rule.HasResets), fault.Params{}, "destroy"},
		{network.ResetKind(), has(rule.HasNFT, rule.HasReject), fault.Params{}, "reject"},
		{network.ResetKind(), has(rule.HasNFT), fault.Params{}, ""},
		{network.LossKind(), has(rule.HasNFT, rule.HasNumgen, rule.HasNFQueue), fault.Params{"share": 0.1}, rule.WayNFT},
		{network.LossKind(), has(rule.HasNFT, rule.HasNFQueue), fault.Params{"share": 0.1}, rule.WayNFQueue},
		{network.BandwidthKind(), has(rule.HasTBF), out, "tbf-out"},
		{network.BandwidthKind(), has(rule.HasTBF), fault.Params{"rate": int64(1_000_000)}, ""},
		{network.RefuseKind(), target.Facts{Driver: "process", Abilities: target.CanProxy}, fault.Params{"port": 80}, ""},
	} {
		w, err := test.kind.On(test.facts, test.params)
		if w.Name != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: want %q, got %q, %v", test.kind.Summary, test.want, w.Name, err)
		}
	}
}
