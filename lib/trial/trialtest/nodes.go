package trialtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// A beside is a helper of a [Fake].
type beside struct {
	node   string
	inside bool // ends with its node
	kill   context.CancelFunc
}

// A bench is the worker of a [Fake]'s helpers: it keeps parts in the fake's nodes, where they stay if it is killed. A
// part's report is itself.
type bench struct {
	f    *Fake
	node string
}

// Arm takes down that it was asked.
func (b bench) Arm(_ context.Context, name string, _ json.RawMessage) error {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if b.f.ArmErr != nil {
		return b.f.ArmErr
	}
	b.f.armed = append(b.f.armed, b.node+" "+name)
	return nil
}

// Set makes the parts all that is in force in the node.
func (b bench) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	out := agent.Outcome{From: time.Now(), Ended: agent.Parts{}}
	for name, p := range b.f.parts[b.node] {
		if _, stays := parts[name]; !stays {
			out.Ended[name] = p
		}
	}
	b.f.parts[b.node] = maps.Clone(parts)
	out.To = time.Now()
	return out, nil
}

// Read returns the parts.
func (b bench) Read(context.Context) (agent.Parts, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	return maps.Clone(b.f.parts[b.node]), nil
}

// Close ends nothing: what is to end, Set ends.
func (bench) Close() error { return nil }

// Enter starts a helper in a node that runs.
func (f *Fake) Enter(_ context.Context, n target.Node, p target.Place, _ string, _ ...string) (*target.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead[n.Name] {
		return nil, errors.New("it does not run")
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := agent.Help(ctx, inR, outW, bench{f, n.Name}, 24*time.Hour)
		_ = outW.CloseWithError(io.EOF)
		_ = inR.Close()
		ended <- err
	}()
	f.beside = append(f.beside, beside{node: n.Name, inside: p == target.InNode, kill: cancel})
	return &target.Process{Stdin: inW, Stdout: outR, Kill: cancel, Wait: sync.OnceValue(func() error { return <-ended })}, nil
}

// Exec asks ExecFunc.
func (f *Fake) Exec(_ context.Context, n target.Node, command []string) (target.Executed, error) {
	if f.ExecFunc == nil {
		return target.Executed{}, errors.New("no such command")
	}
	code, output := f.ExecFunc(n, command)
	now := time.Now()
	return target.Executed{From: now, To: now, Code: code, Output: output}, nil
}

// InForce lists what helpers keep up in a node, or have left there.
func (f *Fake) InForce(node string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.parts[node]))
}

// Armed lists what was armed, as node and fault, in no order.
func (f *Fake) Armed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.armed)
}

// Lose kills the helpers of a node; what they kept up stays.
func (f *Fake) Lose(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.beside {
		if b.node == node {
			b.kill()
		}
	}
}

// Die ends a node's process by itself, and Return has it run again. Helpers inside the node end with it, and so does all
// that was kept up.
func (f *Fake) Die(node string) { f.turn(node, true, record.NodeDie, "exit code 1") }

// Return has a node's process run again.
func (f *Fake) Return(node string) { f.turn(node, false, record.NodeStart, "") }

// Tell has the engine tell of something else that happens to a node.
func (f *Fake) Tell(node, kind, detail string) {
	f.mu.Lock()
	watch := f.spec.Watch
	f.mu.Unlock()
	watch(target.NodeEvent{At: time.Now(), Node: node, Kind: kind, Detail: detail})
}

func (f *Fake) turn(node string, dead bool, kind, detail string) {
	f.mu.Lock()
	if dead {
		f.dead[node] = true
		delete(f.parts, node)
	} else {
		delete(f.dead, node)
	}
	for _, b := range f.beside {
		if dead && b.node == node && b.inside {
			b.kill()
		}
	}
	f.mu.Unlock()
	f.Tell(node, kind, detail)
}
