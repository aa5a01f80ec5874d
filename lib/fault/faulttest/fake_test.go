package faulttest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/command"
	"github.com/tutti-bench/tutti/lib/fault/faulttest"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/target"
)

// fake is a cluster whose nodes are words; each call takes some milliseconds.
type fake struct {
	mu    sync.Mutex
	state map[string]string
	count int
}

const (
	running = "running"
	dead    = "dead"
	frozen  = "frozen"
	missing = "missing"
)

func newFake(t *testing.T, hit ...string) *faulttest.Bed {
	c := &fake{state: make(map[string]string), count: 3}
	for i := range c.count {
		c.state[target.ReplicaName("app", i+1)] = running
	}
	return faulttest.NewBed(t, c, hit, func(ctx context.Context) error { return ctx.Err() })
}

func (c *fake) Nodes() []target.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []target.Node
	for i := range c.count {
		all = append(all, target.Node{Name: target.ReplicaName("app", i+1), Service: "app", Replica: i + 1})
	}
	return all
}

func (c *fake) Attach(context.Context, ...string) (*target.Process, error) {
	return nil, errors.New("not in this test")
}
func (c *fake) Down(context.Context) error { return nil }

// do takes a node from one of some states to another one.
func (c *fake) do(ctx context.Context, n target.Node, to string, from ...string) (target.Effect, error) {
	e := target.Effect{Node: n, From: time.Now(), Source: "fake", Proof: to}
	select {
	case <-time.After(5 * time.Millisecond):
	case <-ctx.Done():
		return target.Effect{}, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range from {
		if c.state[n.Name] == f {
			c.state[n.Name] = to
			e.To = time.Now()
			return e, nil
		}
	}
	return target.Effect{}, fmt.Errorf("%s is %s", n.Name, c.state[n.Name])
}

func (c *fake) Kill(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, dead, running, frozen)
}

func (c *fake) Start(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, running, dead)
}

func (c *fake) Stop(ctx context.Context, n target.Node, _ time.Duration) (target.Effect, error) {
	return c.do(ctx, n, dead, running, frozen)
}

func (c *fake) Pause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, frozen, running)
}

func (c *fake) Unpause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, running, frozen)
}

func (c *fake) Crash(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, dead, running)
}

func (c *fake) Revive(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, running, running, dead)
}

func (c *fake) Remove(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, missing, running, dead)
}

func (c *fake) Recreate(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, running, missing)
}

// Exec knows the commands "break", "mend", "fail" and "hang".
func (c *fake) Exec(ctx context.Context, n target.Node, words []string) (target.Executed, error) {
	to := map[string]string{"break": frozen, "mend": running}[words[0]]
	switch words[0] {
	case "fail":
		return target.Executed{From: time.Now(), To: time.Now(), Code: 3, Output: "\x1b[31mout of coolant\n"}, nil
	case "hang":
		<-ctx.Done()
		return target.Executed{}, context.Cause(ctx)
	}
	e, err := c.do(ctx, n, to, running, frozen)
	return target.Executed{From: e.From, To: e.To, Output: "it is done\nand more"}, err
}

func (c *fake) Scale(_ context.Context, service string, n int) ([]target.Effect, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var effects []target.Effect
	for i := min(n, c.count); i < max(n, c.count); i++ {
		now := time.Now()
		effects = append(effects, target.Effect{
			Node: target.Node{Name: target.ReplicaName(service, i+1), Service: service}, From: now, To: now, Source: "fake", Proof: "scaled",
		})
	}
	c.count = n
	return effects, nil
}

// hurt sees any state but running.
func hurt(_ context.Context, b *faulttest.Bed, n target.Node) bool {
	c := b.Cluster.(*fake)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state[n.Name] != running
}

func TestNodeVerbs(t *testing.T) {
	two := func(t *testing.T) *faulttest.Bed { return newFake(t, "app-1", "app-2") }
	for verb, c := range map[string]faulttest.Case{
		"kill":            {Kind: node.KillKind(), Down: true, Once: true},
		"stop":            {Kind: node.StopKind(), Down: true, Once: true},
		"crash":           {Kind: node.CrashKind(), Down: true, Once: true},
		"remove":          {Kind: node.RemoveKind(), Down: true, Once: true},
		"restart":         {Kind: node.RestartKind(), Down: true, Once: true},
		"rolling-restart": {Kind: node.RollingRestartKind(), Down: true, Once: true},
		"pause":           {Kind: node.PauseKind(), Once: true},
		"stutter":         {Kind: node.StutterKind(), Once: true, Hold: 600 * time.Millisecond, Params: fault.Params{"run": 50 * time.Millisecond, "freeze": 150 * time.Millisecond}},
		"exec":            {Kind: command.ExecKind(), Once: true, Params: fault.Params{"command": []string{"break"}, "undo": []string{"mend"}}},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			c.New, c.See, c.Limit = two, hurt, 5*time.Second
			faulttest.Run(t, c)
		})
	}
	t.Run("scale", func(t *testing.T) {
		faulttest.Run(t, faulttest.Case{
			Kind: node.ScaleKind(), Params: fault.Params{"to": 1}, Once: true, Down: true,
			New: func(t *testing.T) *faulttest.Bed { return newFake(t, "app-1", "app-2", "app-3") },
		})
	})
}

// A defect is a fault that breaks one promise, and what the suite says of it.
type defect struct {
	says string
	do   func(s *fault.Site, nodes []target.Node, inject func() []target.Effect, revert fault.Revert) ([]target.Effect, fault.Revert, error)
}

func defects() map[string]defect {
	type effects = []target.Effect
	return map[string]defect{
		"does nothing": {"want true", func(_ *fault.Site, nodes []target.Node, _ func() effects, _ fault.Revert) (effects, fault.Revert, error) {
			now := time.Now()
			return effects{{Node: nodes[0], From: now, To: now, Source: "hope", Proof: "surely"}}, nil, nil
		}},
		"has no proof": {"there is no proof for app-1", func(_ *fault.Site, _ []target.Node, inject func() effects, revert fault.Revert) (effects, fault.Revert, error) {
			inject()
			return nil, revert, nil
		}},
		"is not undone": {"want false", func(_ *fault.Site, _ []target.Node, inject func() effects, _ fault.Revert) (effects, fault.Revert, error) {
			return inject(), func(context.Context) (effects, error) { return nil, nil }, nil
		}},
		"is not undone twice": {"undo twice", func(_ *fault.Site, _ []target.Node, inject func() effects, revert fault.Revert) (effects, fault.Revert, error) {
			calls := 0
			return inject(), func(ctx context.Context) (effects, error) {
				if calls++; calls > 1 {
					return nil, errors.New("there is nothing")
				}
				return revert(ctx)
			}, nil
		}},
		"hits others": {"on app-2 too", func(s *fault.Site, _ []target.Node, inject func() effects, revert fault.Revert) (effects, fault.Revert, error) {
			c := s.Cluster.(*fake)
			_, _ = c.Pause(context.Background(), target.Node{Name: "app-2"})
			return inject(), revert, nil
		}},
		"is short": {"too little", func(_ *fault.Site, _ []target.Node, inject func() effects, revert fault.Revert) (effects, fault.Revert, error) {
			e := inject()
			e[0].Short = true
			return e, revert, nil
		}},
	}
}

// broken is one of the defects, on top of a pause.
type broken struct{ defect }

func (b broken) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var done []target.Effect
	p := s.Cluster.(target.Pauser)
	return b.do(s, nodes, func() []target.Effect {
		e, err := p.Pause(ctx, nodes[0])
		if err == nil {
			done = append(done, e)
		}
		return done
	}, func(ctx context.Context) ([]target.Effect, error) {
		_, _ = p.Unpause(ctx, nodes[0])
		return nil, nil
	})
}

const defectEnv = "FAULTTEST_DEFECT"

// TestDefect runs the suite on the defect that the environment names, and fails.
func TestDefect(t *testing.T) {
	d, ok := defects()[os.Getenv(defectEnv)]
	if !ok {
		t.Skip("it is run by TestFindsDefects")
	}
	k := node.PauseKind()
	k.New = func(fault.Params) (fault.Fault, error) { return broken{d}, nil }
	faulttest.Run(t, faulttest.Case{
		Kind: k, See: hurt, Quick: true, Limit: 300 * time.Millisecond, New: func(t *testing.T) *faulttest.Bed { return newFake(t, "app-1") },
	})
}

// The suite finds what is broken.
func TestFindsDefects(t *testing.T) {
	for name, d := range defects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDefect$")
			cmd.Env = append(os.Environ(), defectEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), d.says) {
				t.Errorf("the suite ends with %v, want %q in:\n%s", err, d.says, out)
			}
		})
	}
}
