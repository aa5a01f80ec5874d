package faulttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// A Bed is a running target on which a verb is tried.
type Bed struct {
	Cluster target.Cluster
	Hit     []string // names of the nodes that the verb hits
	Ready   func(context.Context) error
	Way     string // of the verb, if it has several

	helpers *fault.Helpers
	entered *entered
}

// NewBed makes a bed of a cluster. ready returns nil once the target answers through its ingress. Its helpers are closed
// when the test ends; the cluster is the caller's.
func NewBed(t *testing.T, c target.Cluster, hit []string, ready func(context.Context) error) *Bed {
	t.Helper()
	b := &Bed{Cluster: c, Hit: hit, Ready: ready, entered: &entered{Cluster: c}}
	b.helpers = fault.NewHelpers(c)
	if in, ok := c.(target.Enterer); ok {
		b.entered.in = in
		b.helpers = fault.NewHelpers(b.entered)
	}
	t.Cleanup(func() {
		if err := b.helpers.Close(); err != nil {
			t.Logf("close the helpers: %v", err) // one of them was killed
		}
	})
	return b
}

// Site is where a fault of that name happens.
func (b *Bed) Site(name string) *fault.Site {
	return &fault.Site{
		Cluster: b.Cluster, Name: name, Way: b.Way, Helpers: b.helpers, Ready: b.Ready, Rand: rand.New(rand.NewPCG(1, 2)),
	}
}

// Nodes are those that are hit, as they are now.
func (b *Bed) Nodes() []target.Node { return b.which(true) }

// Others are the rest.
func (b *Bed) Others() []target.Node { return b.which(false) }

func (b *Bed) which(hit bool) []target.Node {
	names := make(map[string]bool)
	for _, n := range b.Hit {
		names[n] = true
	}
	var nodes []target.Node
	for _, n := range b.Cluster.Nodes() {
		if names[n.Name] == hit {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// entered remembers the processes that helpers are, so that a test can kill them.
type entered struct {
	target.Cluster
	in target.Enterer

	mu    sync.Mutex
	procs []*target.Process
}

var _ target.Enterer = (*entered)(nil)

// Enter starts our own binary in a node.
func (e *entered) Enter(ctx context.Context, n target.Node, p target.Place, volume string, args ...string) (*target.Process, error) {
	if e.in == nil {
		return nil, errors.New("the cluster has no helpers")
	}
	proc, err := e.in.Enter(ctx, n, p, volume, args...)
	if err == nil {
		e.mu.Lock()
		e.procs = append(e.procs, proc)
		e.mu.Unlock()
	}
	return proc, err
}

// kill ends all helpers without warning, and returns how many there have been.
func (e *entered) kill() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.procs {
		p.Kill()
	}
	return len(e.procs)
}
