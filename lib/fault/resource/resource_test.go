package resource_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/resource"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

// bare is a cluster that can do nothing to its nodes.
type bare struct{}

func (bare) Nodes() []target.Node { return nil }
func (bare) Attach(context.Context, ...string) (*target.Process, error) {
	return nil, errors.New("not in this test")
}
func (bare) Down(context.Context) error { return nil }

// cluster has helpers that do nothing but report, and limits.
type cluster struct {
	bare
	reports map[string]any // by worker
	deadly  bool           // the helper in the node ends with the node

	mu      sync.Mutex
	entered []string
	parts   map[string]agent.Parts // what each helper keeps up, by node and worker
	cores   map[string]float64
	count   target.Throttling
	counted error
	revived []string
	put     []string  // every part that a helper was given
	kill    func()    // the helper that was started last
	started time.Time // what Revive says; zero: now
}

func newCluster() *cluster {
	return &cluster{reports: make(map[string]any), parts: make(map[string]agent.Parts), cores: make(map[string]float64)}
}

// Enter starts a helper within the test.
func (c *cluster) Enter(_ context.Context, n target.Node, p target.Place, volume string, args ...string) (*target.Process, error) {
	key := n.Name + " " + args[1]
	c.mu.Lock()
	c.entered = append(c.entered, strings.TrimSpace(key+" "+string(p)+" "+volume))
	c.mu.Unlock()
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	done := make(chan struct{})
	w := &worker{c: c, key: key, name: args[1], die: func() { _ = out.CloseWithError(io.EOF) }}
	var ended error
	go func() {
		defer close(done)
		if ended = agent.Help(context.Background(), in, out, w, time.Minute); ended != nil {
			ended = errors.New(dead)
		}
		_ = in.Close()
		_ = out.Close()
	}()
	c.mu.Lock()
	c.kill = func() {
		w.die()
		_ = in.CloseWithError(errors.New(dead))
	}
	c.mu.Unlock()
	return &target.Process{Stdin: stdin, Stdout: stdout, Wait: func() error { <-done; return ended }, Kill: func() { _ = in.Close() }}, nil
}

type worker struct {
	c    *cluster
	key  string
	name string
	die  func()
	was  agent.Parts
}

func (w *worker) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	out := agent.Outcome{From: time.Now(), To: time.Now(), Ended: agent.Parts{}}
	if w.name == task.OOM && w.c.deadly {
		w.die()
		return out, errors.New("nobody hears this")
	}
	for name := range w.was {
		if _, ok := parts[name]; !ok {
			out.Ended[name] = w.report()
		}
	}
	w.was = maps.Clone(parts)
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.parts[w.key] = w.was
	for _, part := range parts {
		w.c.put = append(w.c.put, string(part))
	}
	return out, nil
}

func (w *worker) report() json.RawMessage {
	raw, err := json.Marshal(w.c.reports[w.name])
	if err != nil {
		return json.RawMessage(`"` + err.Error() + `"`)
	}
	return raw
}

func (w *worker) Read(context.Context) (agent.Parts, error) {
	all := make(agent.Parts)
	for name := range w.was {
		all[name] = w.report()
	}
	return all, nil
}

func (*worker) Close() error { return nil }

func (c *cluster) Limit(_ context.Context, n target.Node, cores float64) (target.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.Name == "app-9" {
		return target.Effect{}, errors.New("no such container")
	}
	c.cores[n.Name] = cores
	return target.Effect{Node: n, From: time.Now(), To: time.Now(), Source: "fake", Proof: fmt.Sprintf("%v cores", cores)}, nil
}

func (c *cluster) Throttled(context.Context, target.Node) (target.Throttling, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count, c.counted
}

func (c *cluster) Crash(_ context.Context, n target.Node) (target.Effect, error) {
	return target.Effect{Node: n}, nil
}

func (c *cluster) Revive(_ context.Context, n target.Node) (target.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revived = append(c.revived, n.Name)
	at := c.started
	if at.IsZero() {
		at = time.Now()
	}
	return target.Effect{Node: n, From: at, To: at, Source: "fake", Proof: "start"}, nil
}

// dead is how a helper ends with its node.
const dead = "exit code 137"

func nodes(n int) []target.Node {
	all := make([]target.Node, n)
	for i := range all {
		all[i] = target.Node{Name: target.ReplicaName("app", i+1), Service: "app", Replica: i + 1, ID: strings.Repeat("ab", 31) + fmt.Sprintf("%02d", i)}
	}
	return all
}

func site(t *testing.T, c target.Cluster) *fault.Site {
	t.Helper()
	h := fault.NewHelpers(c)
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !strings.Contains(err.Error(), dead) {
			t.Error(err)
		}
	})
	return &fault.Site{Cluster: c, Name: "x", Helpers: h}
}

func made(t *testing.T, k fault.Kind, p fault.Params) fault.Fault {
	t.Helper()
	f, err := k.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// helped are the verbs that are a part and a proof: what the helper is asked for, and what a good and a bad report prove.
func helped() map[string]struct {
	kind      fault.Kind
	params    fault.Params
	tool      string
	part      string
	good, bad any
	asked     string
	delivered string
} {
	type row = struct {
		kind      fault.Kind
		params    fault.Params
		tool      string
		part      string
		good, bad any
		asked     string
		delivered string
	}
	return map[string]row{
		"cpu": {
			resource.CPUKind(),
			fault.Params{"burn": 0.9},
			"burn node", `{"share":0.9}`,
			task.Burnt{Held: time.Second, CPU: 1700 * time.Millisecond, Cores: 2, Asked: 0.9, Delivered: 0.85},
			task.Burnt{Held: time.Second, CPU: time.Millisecond, Cores: 2, Asked: 0.9, Delivered: 0.0005},
			"90 % of 2 cores", "85 %: 1.7s of CPU in 1s",
		},
		"memory": {
			resource.MemoryKind(), nil, "fill node", `{"share":0.8}`,
			task.Filled{Limit: 100 << 20, Before: 10 << 20, Want: 80 << 20, Used: 81 << 20, Least: 78 << 20, Ours: 70 << 20, Most: 71 << 20},
			task.Filled{Limit: 100 << 20, Before: 10 << 20, Want: 80 << 20, Used: 81 << 20, Least: 50 << 20, Ours: 70 << 20, Most: 71 << 20},
			"80 MiB (80 % of 100 MiB) in use", "78 MiB at the least",
		},
		"disk-full": {
			resource.DiskFullKind(),
			fault.Params{"volume": "data", "size": int64(1 << 20)},
			"disk volume data", `{"bound":1048576}`,
			task.Fullness{Size: 1 << 20, FreeBefore: 1 << 19, NoSpace: 9, Ours: 1 << 19, TopUps: 2},
			task.Fullness{Size: 1 << 20, FreeAfter: 4096},
			"no space on 1 MiB", "512 KiB free before, 0 B at the end, 512 KiB of it ours; 9 writes",
		},
		"disk-slow": {
			resource.DiskSlowKind(),
			fault.Params{"rate": int64(1 << 20)},
			"throttle disk", `{"id":"` + nodes(1)[0].ID + `","rate":1048576}`,
			task.Braked{Devices: []string{"8:0"}, Reaches: "some I/O", Held: 4 * time.Second, Written: 4 << 20},
			task.Braked{Devices: []string{"8:0"}, Reaches: "some I/O", Held: 4 * time.Second},
			"1 MiB/s at most on 8:0, for some I/O", "0 B/s read, 1 MiB/s written in 4s",
		},
		"clock": {
			resource.ClockKind(),
			fault.Params{"skew": -time.Minute},
			"clock processes", `{"offset":-60000000000}`,
			task.Skewed{Asked: -time.Minute, Seen: -time.Minute + time.Microsecond, Processes: 3, Stopped: time.Millisecond},
			task.Skewed{Asked: -time.Minute, Seen: -time.Minute, Processes: 3, Missed: []string{"sh (7): a reason"}},
			"-1m0s", "of 3; they stood still for it for 1ms",
		},
	}
}

// Each is armed, gives every node its part, and proves itself by the helper's report; twice undone is undone.
func TestHelped(t *testing.T) {
	for verb, v := range helped() {
		for _, short := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s short %v", verb, short), func(t *testing.T) {
				c := newCluster()
				worker := strings.Fields(v.tool)[0]
				if c.reports[worker] = v.good; short {
					c.reports[worker] = v.bad
				}
				s, f := site(t, c), made(t, v.kind, v.params)
				if err := f.(fault.Armer).Arm(t.Context(), s, nodes(2)); err != nil {
					t.Fatal(err)
				}
				slices.Sort(c.entered)
				if want := []string{"app-1 " + v.tool, "app-2 " + v.tool}; !slices.Equal(c.entered, want) {
					t.Errorf("entered %q, want %q", c.entered, want)
				}
				effects, revert, err := f.Inject(t.Context(), s, nodes(2))
				if err != nil || len(effects) != 2 {
					t.Fatalf("effects %v: %v", effects, err)
				}
				if got := string(c.parts["app-1 "+worker]["x"]); got != v.part {
					t.Errorf("part %s, want %s", got, v.part)
				}
				ended, err := revert(t.Context())
				if err != nil || len(ended) != 2 {
					t.Fatalf("undone %v: %v", ended, err)
				}
				for _, e := range ended {
					if e.Short != short {
						t.Errorf("short is %v: asked %q, delivered %q", e.Short, e.Asked, e.Delivered)
					}
					if !short && (e.Asked != v.asked || !strings.Contains(e.Delivered, v.delivered)) {
						t.Errorf("asked %q, delivered %q", e.Asked, e.Delivered)
					}
				}
				if len(c.parts["app-1 "+worker]) != 0 {
					t.Error("the helper keeps it up")
				}
				if _, err := revert(t.Context()); err != nil {
					t.Errorf("undone twice: %v", err)
				}
			})
		}
	}
}

// Memory that the service itself uses is not the fault's doing.
func TestMemoryNotTaken(t *testing.T) {
	c := newCluster()
	c.reports[task.Fill] = task.Filled{Limit: 100 << 20, Before: 90 << 20, Want: 80 << 20, Used: 90 << 20, Least: 90 << 20}
	_, revert, err := made(t, resource.MemoryKind(), nil).Inject(t.Context(), site(t, c), nodes(1))
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := revert(t.Context()); err != nil || len(ended) != 1 || !ended[0].Short || !strings.Contains(ended[0].Delivered, "nothing was taken") {
		t.Errorf("%+v, %v", ended, err)
	}
}

// What a killed helper has left in the kernel, another one takes away, once.
func TestDiskSlowLost(t *testing.T) {
	c := newCluster()
	s := site(t, c)
	_, revert, err := made(t, resource.DiskSlowKind(), fault.Params{"rate": int64(1 << 20)}).Inject(t.Context(), s, nodes(1))
	if err != nil {
		t.Fatal(err)
	}
	c.kill()
	select {
	case <-s.Helpers.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("nobody misses the helper")
	}
	for range 2 {
		if _, err := revert(t.Context()); err != nil {
			t.Error(err)
		}
	}
	want := []string{`{"id":"` + nodes(1)[0].ID + `","rate":1048576}`, `{"id":"` + nodes(1)[0].ID + `","rate":0}`}
	if !slices.Equal(c.put, want) || len(c.parts["app-1 throttle"]) != 0 {
		t.Errorf("put %q, want %q; in force %q", c.put, want, c.parts)
	}
}

// A report that is none proves nothing.
func TestNoReport(t *testing.T) {
	c := newCluster()
	c.reports[task.Burn] = "nonsense"
	_, revert, err := made(t, resource.CPUKind(), fault.Params{"burn": 0.5}).Inject(t.Context(), site(t, c), nodes(1))
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := revert(t.Context()); err != nil || len(ended) != 1 || !ended[0].Short {
		t.Errorf("%+v, %v", ended, err)
	}
}

// A quota is proven by what the node has used, and what it had comes back, also from a node that has died.
func TestQuota(t *testing.T) {
	for name, c := range map[string]struct {
		used, back time.Duration
		throttled  uint64
		counted    error
		delivered  string
		short      bool
	}{
		"held back":     {10 * time.Millisecond, time.Second, 9, nil, "held back in 9 of 10 periods, for 1s", false},
		"wants no more": {time.Millisecond, 0, 0, nil, "never held back", false},
		"not limited":   {time.Hour, 0, 0, nil, "cores used", true},
		"dead":          {0, 0, 0, errors.New("it does not run"), "not known: it does not run", false},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster()
			cl.count = target.Throttling{Periods: 100, Throttled: 5, Time: time.Minute, Used: time.Hour}
			f := made(t, resource.CPUKind(), fault.Params{"limit": 0.2})
			effects, revert, err := f.Inject(t.Context(), site(t, cl), nodes(2))
			if err != nil || len(effects) != 2 || cl.cores["app-1"] != 0.2 {
				t.Fatalf("effects %v, cores %v: %v", effects, cl.cores, err)
			}
			cl.count = target.Throttling{Periods: 110, Throttled: 5 + c.throttled, Time: time.Minute + c.back, Used: time.Hour + c.used}
			cl.counted = c.counted
			ended, err := revert(t.Context())
			if err != nil || cl.cores["app-1"] != 0 {
				t.Fatalf("cores %v: %v", cl.cores, err)
			}
			for _, e := range ended {
				if e.Asked != "0.2 cores at most" || !strings.Contains(e.Delivered, c.delivered) || e.Short != c.short {
					t.Errorf("asked %q, delivered %q, short %v", e.Asked, e.Delivered, e.Short)
				}
			}
			if again, err := revert(t.Context()); err != nil || len(again) != 2 || again[0].Asked != "" {
				t.Errorf("undone twice: %+v, %v", again, err)
			}
		})
	}
	cl := newCluster()
	broken := append(nodes(1), target.Node{Name: "app-9"})
	effects, revert, err := made(t, resource.CPUKind(), fault.Params{"limit": 0.2}).Inject(t.Context(), site(t, cl), broken)
	if err == nil || !strings.Contains(err.Error(), "app-9: no such container") || len(effects) != 1 || revert == nil {
		t.Errorf("effects %v: %v", effects, err)
	}
}

// Where the helper dies with the node, the watcher's word counts; where it lives, its own.
func TestOOM(t *testing.T) {
	died := time.Now().Add(-time.Millisecond)
	c := newCluster()
	c.deadly = true
	c.reports[task.Signal] = task.Ended{PID: 77, Dead: true, From: died, To: died.Add(time.Millisecond)}
	s, f := site(t, c), made(t, resource.OOMKind(), nil)
	if err := f.(fault.Armer).Arm(t.Context(), s, nodes(1)); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(c.entered); !slices.Equal(c.entered, []string{"app-1 oom node", "app-1 signal machine"}) {
		t.Errorf("entered %q", c.entered)
	}
	effects, revert, err := f.Inject(t.Context(), s, nodes(1))
	if err != nil || len(effects) != 1 || !effects[0].From.Equal(died) || effects[0].Short || !strings.Contains(effects[0].Proof, "77") {
		t.Fatalf("effects %+v: %v", effects, err)
	}
	for range 2 {
		if _, err := revert(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(c.revived, []string{"app-1", "app-1"}) {
		t.Errorf("revived %q", c.revived)
	}

	for kills, short := range map[uint64]bool{1: false, 0: true} {
		c = newCluster()
		c.reports[task.Signal] = task.Ended{PID: 77}
		c.reports[task.OOM] = task.Killed{Kills: kills, Who: []string{"worker (8)"}, Limit: 64 << 20, Used: 64 << 20}
		c.started = time.Now().Add(-time.Hour) // it was never down
		effects, revert, err = f.Inject(t.Context(), site(t, c), nodes(1))
		if err != nil || len(effects) != 1 || effects[0].Short != short || !strings.Contains(effects[0].Proof, "worker (8)") {
			t.Errorf("%d kills: effects %+v: %v", kills, effects, err)
		}
		if len(c.parts["app-1 signal"]) != 0 {
			t.Error("the watch goes on")
		}
		healed, err := revert(t.Context())
		if err != nil || len(healed) != 1 || healed[0].To.Before(effects[0].To) || !strings.Contains(healed[0].Proof, "never went down") {
			t.Errorf("healed %+v: %v", healed, err)
		}
	}
}

// A cluster without the ability that its driver declares is told, and there is nothing to undo.
func TestUnable(t *testing.T) {
	for verb, f := range map[string]fault.Fault{
		"cpu": made(t, resource.CPUKind(), fault.Params{"limit": 0.5}), "oom": made(t, resource.OOMKind(), nil),
	} {
		effects, revert, err := f.Inject(t.Context(), site(t, bare{}), nodes(1))
		if err == nil || !strings.Contains(err.Error(), "resource_test.bare") || effects != nil || revert != nil {
			t.Errorf("%s: effects %v: %v", verb, effects, err)
		}
	}
}

// What cannot work is refused before anything starts, with the reason.
func TestRefused(t *testing.T) {
	shared := target.Service{Name: "a", MemoryLimit: 1 << 30, HostNamespaces: []string{"pid"}}
	for want, f := range map[string]func() error{
		"and not both": func() error { _, err := resource.CPUKind().New(fault.Params{"limit": 1.0, "burn": 0.5}); return err },
		"one of":       func() error { _, err := resource.CPUKind().New(nil); return err },
		"engines":      func() error { _, err := resource.CPUKind().New(fault.Params{"limit": 0.001}); return err },
		"`rate` must":  func() error { _, err := resource.DiskSlowKind().New(nil); return err },
		"no means": func() error {
			_, err := resource.DiskSlowKind().New(fault.Params{"latency": time.Second, "rate": int64(1)})
			return err
		},
		"`skew` must":           func() error { _, err := resource.ClockKind().New(nil); return err },
		"memory: serv":          func() error { return resource.MemoryKind().Check(nil, target.Service{Name: "a"}, &target.Spec{}) },
		"oom: service":          func() error { return resource.OOMKind().Check(nil, target.Service{Name: "a"}, &target.Spec{}) },
		"oom: service a shares": func() error { return resource.OOMKind().Check(nil, shared, &target.Spec{}) },
		"clock: service a shar": func() error { return resource.ClockKind().Check(nil, shared, &target.Spec{}) },
		"no named":              func() error { return bound(nil, nil, "/bind", "ro:data") },
		"several":               func() error { return bound(fault.Params{}, nil, "a", "b") },
		`no volume "c"`:         func() error { return bound(fault.Params{"volume": "c"}, nil, "a", "b") },
		"it has one siz":        func() error { return bound(fault.Params{}, map[string]int64{"a": 1}, "a") },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

// bound checks disk-full on a service with volumes.
func bound(p fault.Params, sizes map[string]int64, volumes ...string) error {
	s := target.Service{Name: "app"}
	for _, v := range volumes {
		name, ro := strings.CutPrefix(v, "ro:")
		m := target.Mount{Kind: "volume", Source: name, Target: "/" + name, ReadOnly: ro}
		if strings.HasPrefix(v, "/") {
			m.Kind = "bind"
		}
		s.Mounts = append(s.Mounts, m)
	}
	return resource.DiskFullKind().Check(p, s, &target.Spec{Bounded: sizes})
}

// The volume is the only one if none is named, has its size from the start, and the fault fills that one.
func TestBounded(t *testing.T) {
	p, spec := fault.Params{}, &target.Spec{}
	f := made(t, resource.DiskFullKind(), p)
	s := target.Service{Name: "app", Mounts: []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}}}
	for range 2 { // two arms, or two faults
		if err := resource.DiskFullKind().Check(p, s, spec); err != nil || spec.Bounded["data"] != 64<<20 {
			t.Errorf("%v: %v", spec.Bounded, err)
		}
	}
	c := newCluster()
	c.reports[task.Disk] = task.Fullness{NoSpace: 1}
	if _, _, err := f.Inject(t.Context(), site(t, c), nodes(1)); err != nil || !slices.Equal(c.entered, []string{"app-1 disk volume data"}) {
		t.Errorf("entered %q: %v", c.entered, err)
	}
	if _, _, err := made(t, resource.DiskFullKind(), fault.Params{}).Inject(t.Context(), site(t, newCluster()), nodes(1)); err == nil {
		t.Error("a volume without a name is filled")
	}
}

// Every verb says what it is, what it needs and how it is done.
func TestKinds(t *testing.T) {
	for verb, k := range map[string]fault.Kind{
		"cpu": resource.CPUKind(), "memory": resource.MemoryKind(), "oom": resource.OOMKind(),
		"disk-full": resource.DiskFullKind(), "disk-slow": resource.DiskSlowKind(), "clock": resource.ClockKind(),
	} {
		if k.Summary == "" || k.New == nil || len(k.Places) == 0 || k.Silent != (verb == "oom") || k.NoFor {
			t.Errorf("%s: %+v", verb, k)
		}
		if (k.Means == "" || k.Needs == 0) && len(k.Ways) == 0 {
			t.Errorf("%s: how it is done, or what it needs, is not said", verb)
		}
		for _, p := range k.Params {
			if p.Name == "" || p.Summary == "" || p.Type == "" {
				t.Errorf("%s: parameter %+v", verb, p)
			}
		}
		for _, w := range k.Ways {
			if w.Name == "" || w.Means == "" || w.Abilities == 0 || w.Fits(fault.Params{}) {
				t.Errorf("%s: way %+v", verb, w)
			}
		}
	}
}
