package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/target"
)

// bare is a cluster that can do nothing to its nodes.
type bare struct{}

func (bare) Nodes() []target.Node { return nil }
func (bare) Attach(context.Context, ...string) (*target.Process, error) {
	return nil, errors.New("not in this test")
}
func (bare) Down(context.Context) error { return nil }

// cluster can do everything; each call takes a second, and a broken node refuses.
type cluster struct {
	bare
	broken string

	mu    sync.Mutex
	state map[string]string
	calls []string // what was asked, without the node
	grace time.Duration
	count int // replicas of app
}

func newCluster() *cluster { return &cluster{state: make(map[string]string), count: 3} }

func (c *cluster) do(ctx context.Context, n target.Node, state string) (target.Effect, error) {
	from := time.Now()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return target.Effect{}, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, state)
	if n.Name == c.broken {
		return target.Effect{}, errors.New("no such container")
	}
	c.state[n.Name] = state
	return target.Effect{Node: n, From: from, To: time.Now(), Source: "fake", Proof: state}, nil
}

func (c *cluster) Kill(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "killed")
}

func (c *cluster) Start(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "running")
}

func (c *cluster) Stop(ctx context.Context, n target.Node, grace time.Duration) (target.Effect, error) {
	c.mu.Lock()
	c.grace = grace
	c.mu.Unlock()
	return c.do(ctx, n, "stopped")
}

func (c *cluster) Pause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "frozen")
}

func (c *cluster) Unpause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "running")
}

func (c *cluster) Scale(_ context.Context, service string, n int) ([]target.Effect, error) {
	var effects []target.Effect
	for i := min(n, c.count); i < max(n, c.count); i++ {
		effects = append(effects, target.Effect{Node: target.Node{Name: target.ReplicaName(service, i+1)}, Source: "fake"})
	}
	c.count = n
	return effects, nil
}

// every is the table of verbs, and what a node is while they are in force.
func every() map[string]struct {
	kind  fault.Kind
	state string
} {
	return map[string]struct {
		kind  fault.Kind
		state string
	}{
		"kill": {node.KillKind(), "killed"}, "stop": {node.StopKind(), "stopped"}, "restart": {node.RestartKind(), "stopped"}, "pause": {node.PauseKind(), "frozen"},
	}
}

func nodes(n int) []target.Node {
	all := make([]target.Node, n)
	for i := range all {
		all[i] = target.Node{Name: target.ReplicaName("app", i+1), Service: "app", Replica: i + 1}
	}
	return all
}

func made(t *testing.T, k fault.Kind, p fault.Params) fault.Fault {
	t.Helper()
	f, err := k.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (c *cluster) all(t *testing.T, state string, of []target.Node) {
	t.Helper()
	for _, n := range of {
		if c.state[n.Name] != state {
			t.Errorf("%s is %q, want %q", n.Name, c.state[n.Name], state)
		}
	}
}

func names(effects []target.Effect) string {
	var all []string
	for _, e := range effects {
		all = append(all, e.Node.Name)
	}
	return strings.Join(all, " ")
}

// Each does what it says to all chosen nodes at once, and undoes it, twice if it must.
func TestInjectAndRevert(t *testing.T) {
	for verb, v := range every() {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, began := newCluster(), time.Now()
				effects, revert, err := made(t, v.kind, nil).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(3))
				if err != nil {
					t.Fatal(err)
				}
				c.all(t, v.state, nodes(3))
				if got := names(effects); got != "app-1 app-2 app-3" {
					t.Errorf("effects on %s", got)
				}
				if took := time.Since(began); took != time.Second {
					t.Errorf("it took %v: one after the other?", took)
				}
				for _, e := range effects {
					if e.From != began || !strings.HasPrefix(e.Proof, v.state) {
						t.Errorf("effect %+v", e)
					}
				}
				for range 2 {
					healed, err := revert(t.Context())
					if err != nil || names(healed) != "app-1 app-2 app-3" {
						t.Errorf("undone on %s: %v", names(healed), err)
					}
				}
				c.all(t, "running", nodes(3))
			})
		})
	}
}

// Where one node refuses, it is named, the others are hit, and all of it can be undone.
func TestPartial(t *testing.T) {
	for verb, v := range every() {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.broken = "app-2"
				effects, revert, err := made(t, v.kind, nil).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(3))
				if err == nil || !strings.Contains(err.Error(), "app-2: no such container") || strings.Contains(err.Error(), "app-1") {
					t.Errorf("error %v", err)
				}
				if got := names(effects); got != "app-1 app-3" {
					t.Errorf("effects on %s", got)
				}
				if revert == nil {
					t.Fatal("there is no way back")
				}
				c.broken = ""
				if _, err := revert(t.Context()); err != nil {
					t.Error(err)
				}
				c.all(t, "running", nodes(3))
			})
		})
	}
}

// A cluster without the ability that its driver declares is told, and there is nothing to undo.
func TestUnable(t *testing.T) {
	kinds := map[string]fault.Kind{"scale": node.ScaleKind()}
	for verb, v := range every() {
		kinds[verb] = v.kind
	}
	for verb, k := range kinds {
		effects, revert, err := made(t, k, fault.Params{"to": 2}).Inject(t.Context(), &fault.Site{Cluster: bare{}}, nodes(3))
		if err == nil || !strings.Contains(err.Error(), "node_test.bare") || revert != nil || effects != nil {
			t.Errorf("%s: effects %v, error %v", verb, effects, err)
		}
	}
}

// A stop begins with the signal, not when the node is gone: from then on it may refuse.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, want := range []struct {
			params fault.Params
			grace  time.Duration
		}{{nil, -1}, {fault.Params{"grace": 3 * time.Second}, 3 * time.Second}, {fault.Params{"grace": time.Duration(0)}, 0}} {
			c := newCluster()
			signal := time.Now()
			effects, _, err := made(t, node.StopKind(), want.params).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(1))
			if err != nil {
				t.Fatal(err)
			}
			if c.grace != want.grace {
				t.Errorf("grace %v, want %v", c.grace, want.grace)
			}
			if e := effects[0]; e.From != signal || e.To != signal || !strings.Contains(e.Proof, "gone 1s after the signal") {
				t.Errorf("effect %+v", e)
			}
		}
	})
}

// A restart waits between stop and start, and no longer than it may.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, revert, err := made(t, node.RestartKind(), fault.Params{"pause": 10 * time.Second}).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(1))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Second, errors.New("too long"))
		defer cancel()
		if _, err := revert(ctx); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("error %v", err)
		}
		c.all(t, "stopped", nodes(1))
		began := time.Now()
		if _, err := revert(t.Context()); err != nil || time.Since(began) != 11*time.Second {
			t.Errorf("it took %v: %v", time.Since(began), err)
		}
		if !slices.Equal(c.calls, []string{"stopped", "running"}) {
			t.Errorf("calls %v", c.calls)
		}
	})
}

func TestScale(t *testing.T) {
	for to, want := range map[int]string{1: "app-2 app-3", 5: "app-4 app-5", 0: "app-1 app-2 app-3"} {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			c := newCluster()
			effects, revert, err := made(t, node.ScaleKind(), fault.Params{"to": to}).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(3))
			if err != nil || names(effects) != want || c.count != to {
				t.Fatalf("effects on %s, %d replicas: %v", names(effects), c.count, err)
			}
			healed, err := revert(t.Context())
			if err != nil || names(healed) != want || c.count != 3 {
				t.Errorf("undone on %s, %d replicas: %v", names(healed), c.count, err)
			}
		})
	}
	for _, n := range []int{0, 2} {
		_, revert, err := made(t, node.ScaleKind(), fault.Params{"to": 2}).Inject(t.Context(), &fault.Site{Cluster: newCluster()}, nodes(n))
		if err == nil || revert != nil {
			t.Errorf("from %d to 2 replicas: error %v", n, err)
		}
	}
	if _, err := node.ScaleKind().New(nil); err == nil || !strings.Contains(err.Error(), "to") {
		t.Errorf("without `to`: error %v", err)
	}
}

// Every verb says what it is, what it needs and how it is done; what must be given is a parameter.
func TestKinds(t *testing.T) {
	needs := map[string]target.Ability{"kill": target.CanKill, "stop": target.CanStop, "restart": target.CanStop, "pause": target.CanPause, "scale": target.CanScale}
	kinds := map[string]fault.Kind{"scale": node.ScaleKind()}
	for verb, v := range every() {
		kinds[verb] = v.kind
	}
	for verb, k := range kinds {
		if k.Summary == "" || k.Means == "" || k.New == nil || k.Needs != needs[verb] {
			t.Errorf("%s: %+v", verb, k)
		}
		if k.NoFor != (verb == "restart") || k.WholeService != (verb == "scale") || k.Silent != (verb != "scale") {
			t.Errorf("%s: no for %v, whole service %v, silent %v", verb, k.NoFor, k.WholeService, k.Silent)
		}
		for _, p := range k.Params {
			if p.Name == "" || p.Summary == "" || p.Type != fault.Duration && p.Type != fault.Count {
				t.Errorf("%s: parameter %+v", verb, p)
			}
		}
	}
}
