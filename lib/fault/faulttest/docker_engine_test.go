package faulttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/cmd"
	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/faulttest"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// fullEnv asks for all of the suite on every verb. Without it a verb's effect, its undoing and cancelling are tried, and all
// of the suite on a few verbs, which takes about two minutes.
const fullEnv = "TUTTI_FAULTTEST"

// An engine is a Docker engine with targets on it that the verbs share: two nodes that keep a journal on a volume, and a balancer
// that looks them up. The first node is hit, or the balancer.
type engine struct {
	driver *docker.Driver
	spec   target.Spec
	facts  target.Facts
	lanes  chan *lane
}

// lanes is how many verbs are tried at a time, each on a target of its own. More would be in each other's way.
const lanes = 2

// A lane is one target after the other, for one verb at a time.
type lane struct {
	*engine
	name    string
	cluster target.Cluster
	trials  int
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "tutti")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", exe, "github.com/tutti-bench/tutti/cmd/tutti")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if msg, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tutti: %v\n%s", err, msg)
	}
	e := &engine{lanes: make(chan *lane, lanes)}
	var all []*lane
	for i := range lanes {
		all = append(all, &lane{engine: e, name: fmt.Sprintf("bed-%d", i+1)})
		e.lanes <- all[i]
	}
	var err error
	e.driver, err = docker.New(t.Context(), docker.Config{Executable: exe, Host: "faulttest"})
	if err == nil {
		t.Cleanup(func() { e.driver.Close() })
		e.facts, err = e.driver.Probe(t.Context())
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs a Docker engine: %v", err)
		}
		t.Skipf("needs a Docker engine: %v", err)
	}
	run := fmt.Sprintf("faulttest-%d", time.Now().UnixNano())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, l := range all {
			if l.cluster == nil {
				continue
			}
			if err := l.cluster.Down(ctx); err != nil {
				t.Error(err)
			}
		}
		if found, err := e.driver.Sweep(ctx, run); err != nil || found > 0 {
			t.Errorf("the run left %d things on the engine: %v", found, err)
		}
		if _, err := e.driver.Prune(ctx); err != nil {
			t.Log(err)
		}
	})
	e.probe(t, run)
	node := target.Service{
		Name: "app", Image: target.Image{Kind: target.ImageTutti}, Scale: 2, StopGrace: 2 * time.Second, MemoryLimit: 128 << 20,
		Command:  []string{"target", "node", "-delay", "1ms", "-lame-duck", "0s", "-journal", "/data/journal"},
		Networks: map[string]target.Attachment{"default": {}}, Expose: []string{"8080"},
		Mounts: []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}},
	}
	lb := target.Service{
		Name: "lb", Image: node.Image, Scale: 1, StopGrace: 2 * time.Second, Networks: node.Networks, Expose: node.Expose,
		Command: []string{"target", "balancer", "-to", "http://app:8080", "-resolve", "100ms"},
	}
	e.spec = target.Spec{
		Target: &target.Target{
			Name: "faulttest", Dir: t.TempDir(), Networks: map[string]target.Network{"default": {Name: "default"}},
			Volumes:  map[string]target.Volume{"data": {Name: "data"}},
			Services: map[string]target.Service{"app": node, "lb": lb},
		},
		Run: run, MaxScale: map[string]int{"app": 3}, Watch: func(target.NodeEvent) {}, Progress: func(m string) { t.Log(m) },
		Bounded: make(map[string]int64),
		Places: map[string][]target.Place{
			"app": {target.InNetwork, target.InMachine, target.InNode, target.InProcesses, target.AtVolume, target.InDisk},
			"lb":  {target.InNetwork},
		},
	}
	if _, err := e.driver.Prepare(t.Context(), e.spec.Target, e.spec.Progress); err != nil {
		t.Fatal(err)
	}
	return e
}

// probe asks what the kernel can do where helpers run.
func (e *engine) probe(t *testing.T, run string) {
	t.Helper()
	p, err := e.driver.Scratch(t.Context(), run, target.InNetwork, "helper", rule.Prober)
	if err != nil {
		t.Fatal(err)
	}
	h, err := agent.DialHelper(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := h.Read(t.Context())
	if err = errors.Join(err, h.Close()); err != nil {
		t.Fatal(err)
	}
	e.facts.Primitives = make(map[string]target.Primitive)
	for name, raw := range parts {
		var one target.Primitive
		if err := json.Unmarshal(raw, &one); err != nil {
			t.Fatal(err)
		}
		e.facts.Primitives[name] = one
	}
}

// bed returns the target, whole: a new one where a test has left it otherwise.
func (l *lane) bed(t *testing.T, hit ...string) *faulttest.Bed {
	t.Helper()
	if l.cluster == nil || l.whole(t.Context()) != nil {
		if l.cluster != nil {
			if err := l.cluster.Down(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		l.trials++
		spec := l.spec
		spec.Trial = fmt.Sprintf("%s-%d", l.name, l.trials)
		var err error
		if l.cluster, err = l.driver.Up(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := l.whole(t.Context()); err != nil {
			t.Fatalf("is the engine's bridge reachable from here? %v", err)
		}
	}
	return faulttest.NewBed(t, l.cluster, hit, l.whole)
}

// whole returns nil once every node answers.
func (l *lane) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	nodes := l.cluster.Nodes()
	if len(nodes) != 3 {
		return fmt.Errorf("there are %d nodes", len(nodes))
	}
	for _, n := range nodes {
		for {
			_, err := get(ctx, n, time.Second)
			if err == nil {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
	}
	return nil
}

// gone sees a node that neither answers nor refuses, or does not answer.
func gone(ctx context.Context, _ *faulttest.Bed, n target.Node) bool {
	_, err := get(ctx, n, 300*time.Millisecond)
	return err != nil
}

// connectable reports whether a node's kernel takes connections.
func connectable(ctx context.Context, n target.Node) bool {
	c, err := (&net.Dialer{Timeout: 300 * time.Millisecond}).DialContext(ctx, "tcp4", endpoint(n))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// frozenSeen sees a node whose kernel takes connections for it, and that answers nothing.
func frozenSeen(ctx context.Context, b *faulttest.Bed, n target.Node) bool {
	return connectable(ctx, n) && gone(ctx, b, n)
}

func refused(ctx context.Context, _ *faulttest.Bed, n target.Node) bool {
	_, err := get(ctx, n, time.Second)
	return errors.Is(err, syscall.ECONNREFUSED)
}

// verbs are the cases, by a verb's name and what is asked of it.
func verbs() map[string]faulttest.Case {
	const busy = time.Second
	// Five freezes: one that a busy engine brings about late is then within what the proof allows.
	const stuttering = 9 * time.Second
	p := func(pairs ...any) fault.Params {
		m := make(fault.Params)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	return map[string]faulttest.Case{
		"kill":            {See: gone, Once: true, Down: true},
		"stop":            {See: gone, Once: true, Down: true},
		"crash":           {See: gone, Once: true, Down: true},
		"oom":             {See: gone, Once: true, Down: true},
		"remove":          {See: gone, Once: true, Down: true},
		"restart":         {See: gone, Once: true, Down: true},
		"rolling-restart": {See: gone, Once: true, Down: true},
		"pause":           {See: frozenSeen, Once: true},
		"stutter":         {Params: p("run", time.Second, "freeze", time.Second), See: frozenSeen, Once: true, Hold: stuttering},
		"scale":           {Params: p("to", 3), Once: true, Down: true},
		"exec":            {Params: p("command", []string{"/tutti", "version"}, "undo", []string{"/tutti", "version"})},

		"partition": {See: gone},
		"blackhole": {See: gone},
		"refuse":    {See: refused},
		"reset":     {See: refused},
		"latency":   {Params: p("delay", 100*time.Millisecond), See: slow(100 * time.Millisecond), Load: asking, Hold: busy},
		"loss":      {Params: p("share", 1.0), See: gone},
		"duplicate": {Params: p("share", 0.5), Load: asking, Hold: busy},
		"corrupt":   {Params: p("share", 0.3), Load: asking, Hold: busy},
		"reorder":   {Params: p("share", 0.5), Load: asking, Hold: busy},
		"bandwidth": {Params: p("rate", int64(1_000_000)), Load: asking, Hold: busy},
		"http":      {Params: p("status", 503, "port", 8080), Load: asking, Hold: busy},
		"dns":       {Params: p("mode", "refused"), Hold: busy},

		"cpu":       {Params: p("limit", 0.2), Load: asking, Hold: busy},
		"cpu burn":  {Params: p("burn", 0.5), Hold: busy},
		"memory":    {Params: p("fill", 0.5), Hold: busy},
		"disk-full": {Params: p("size", int64(4<<20)), Load: asking, Hold: busy},
		"disk-slow": {Params: p("rate", int64(1<<20)), Idle: true, Hold: busy}, // the nodes' volume is memory, for disk-full
		"clock":     {Params: p("skew", time.Hour), Hold: busy},
	}
}

// whole are the verbs that are tried in full even by the quick suite: one for each place.
var whole = []string{"blackhole", "latency", "memory", "pause", "kill"}

// Every verb of the kit, on an engine.
func TestOnDocker(t *testing.T) {
	e := newEngine(t)
	cases, kinds := verbs(), cmd.Builtin().Faults
	ways := make(map[string]fault.Way)
	lacks := make(map[string]error)
	for name, c := range cases {
		verb := verbOf(name)
		c.Kind = kinds[verb]
		var err error
		if c.Kind.New == nil {
			err = errors.New("the kit has no such verb")
		} else if ways[name], err = c.Kind.On(e.facts, c.Params); err == nil && c.Kind.Check != nil {
			if c.Params == nil {
				c.Params = make(fault.Params)
			}
			err = c.Kind.Check(c.Params, e.spec.Target.Services["app"], &e.spec)
		}
		cases[name] = c
		lacks[name] = err
	}
	for verb := range kinds {
		if _, ok := cases[verb]; !ok {
			t.Errorf("the table has no case for %s", verb)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			if lacks[name] != nil {
				t.Skip(lacks[name])
			}
			t.Parallel()
			l := <-e.lanes
			t.Cleanup(func() { e.lanes <- l })
			c := cases[name]
			c.Quick = os.Getenv(fullEnv) == "" && !slices.Contains(whole, name)
			t.Logf("by %s", ways[name].Means)
			c.New = func(t *testing.T) *faulttest.Bed {
				hit := []string{"app-1"}
				switch {
				case c.Kind.WholeService && verbOf(name) == "scale":
					hit = []string{"app-1", "app-2"}
				case verbOf(name) == "dns":
					hit = []string{"lb-1"}
				}
				b := l.bed(t, hit...)
				b.Way = ways[name].Name
				return b
			}
			faulttest.Run(t, c)
		})
	}
}

// verbOf is the first word of a case's name.
func verbOf(name string) string {
	for i, r := range name {
		if r == ' ' {
			return name[:i]
		}
	}
	return name
}
