package trial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
)

// fake is a driver and its cluster in one: nodes that are up or not, on the bubble's clock. Its load agent is the
// real one, over pipes, with a generator that asks the fake instead of a network.
type fake struct {
	replicas int
	raw      string // what nodes call themselves; "" is their name

	mu    sync.Mutex
	spec  target.Spec
	nodes []target.Node
	dead  map[string]bool
	downs int
}

func (f *fake) Probe(context.Context) (target.Facts, error) { return target.Facts{}, nil }

func (f *fake) Prepare(context.Context, *target.Target, func(string)) (map[string]string, error) {
	return nil, nil
}

func (f *fake) Up(_ context.Context, s target.Spec) (target.Cluster, error) {
	f.spec, f.dead = s, make(map[string]bool)
	for i := range f.replicas {
		f.add(i + 1)
	}
	return f, nil
}

func (f *fake) add(n int) target.Node {
	node := target.Node{Name: target.ReplicaName("app", n), Service: "app", Replica: n, Address: fmt.Sprintf("10.0.0.%d", n)}
	f.nodes = append(f.nodes, node)
	return node
}

func (f *fake) Nodes() []target.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

func (f *fake) Down(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.downs++
	return ctx.Err() // a Down under a cancelled context would leave things behind
}

func (f *fake) Attach(ctx context.Context, _ ...string) (*target.Process, error) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		err := agent.Serve(ctx, inR, outW, f)
		_ = outW.CloseWithError(io.EOF)
		_ = inR.Close()
		ended <- err
	}()
	return &target.Process{
		Stdin: inW, Stdout: outR, Kill: cancel,
		Wait: sync.OnceValue(func() error { return <-ended }),
	}, nil
}

func (f *fake) set(n target.Node, dead bool, kind string) (target.Effect, error) {
	f.mu.Lock()
	f.dead[n.Name] = dead
	f.mu.Unlock()
	now := time.Now()
	f.spec.Watch(target.NodeEvent{At: now, Node: n.Name, Kind: kind})
	return target.Effect{Node: n, From: now, To: now, Source: "fake", Proof: kind}, nil
}

func (f *fake) Kill(_ context.Context, n target.Node) (target.Effect, error) {
	return f.set(n, true, record.NodeDie)
}

func (f *fake) Start(_ context.Context, n target.Node) (target.Effect, error) {
	return f.set(n, false, record.NodeStart)
}

func (f *fake) Scale(_ context.Context, _ string, n int) ([]target.Effect, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var effects []target.Effect
	for len(f.nodes) < n {
		effects = append(effects, target.Effect{Node: f.add(len(f.nodes) + 1), From: time.Now(), To: time.Now(), Source: "fake", Proof: "added"})
	}
	for len(f.nodes) > n {
		effects = append(effects, target.Effect{Node: f.nodes[len(f.nodes)-1], From: time.Now(), To: time.Now(), Source: "fake", Proof: "removed"})
		f.nodes = f.nodes[:len(f.nodes)-1]
	}
	return effects, nil
}

// Generate asks the nodes in turn; a dead one does not answer until the timeout.
func (f *fake) Generate(ctx context.Context, p load.Plan, started func(time.Time), emit func(record.Sample)) error {
	zero := time.Now().Add(p.Rate.Warmup)
	started(zero)
	for n := range p.Rate.Count() {
		due := p.Rate.Due(n)
		select {
		case <-time.After(time.Until(zero.Add(due))):
		case <-ctx.Done():
			return ctx.Err()
		}
		f.mu.Lock()
		to := f.nodes[int(n)%len(f.nodes)]
		s := record.Sample{Seq: n, Due: due, Sent: due, Free: record.None, Done: due + time.Millisecond, Class: record.OK, Node: to.Name, Tried: []string{to.Address + ":8080"}, Traced: true}
		if f.raw != "" {
			s.Node = f.raw
		}
		if f.dead[to.Name] {
			s.Class, s.Node, s.Done, s.Traced, s.Tried = record.Timeout, "", due+p.Timeout, false, nil
		}
		f.mu.Unlock()
		emit(s)
	}
	return nil
}

func config(f *fake, faults ...scenario.Fault) trial.Config {
	kinds := fault.Kinds{"kill": node.KillKind(), "scale": node.ScaleKind(), "restart": node.RestartKind()}
	ingress, _ := url.Parse("http://127.0.0.1:1")
	t := &target.Target{Services: map[string]target.Service{"app": {Name: "app", Scale: f.replicas}}}
	var steps []plan.Step
	for i := range faults {
		k := kinds[faults[i].Verb]
		faults[i].Fault, _ = k.New(faults[i].Params)
		faults[i].Selector.Service = "app"
		steps = append(steps, plan.Step{Fault: faults[i], Kind: k, Victims: []string{"app-1"}})
	}
	c := trial.Config{
		Driver: f, Spec: target.Spec{Target: t, Ingress: ingress}, Nodes: "app",
		Ready: scenario.Ready{Within: time.Second},
		Plan: plan.Trial{Arm: "cluster", Block: 1, Order: 1, Steps: steps, Load: load.Plan{
			Rate:    load.Constant{PerSecond: 10, Warmup: 2 * time.Second, For: 60 * time.Second},
			Timeout: time.Second, Ingress: ingress.String(), MaxInflight: 100, AttemptsHeader: "X-Upstream", NodeHeader: "X-Node",
			Requests: []load.Request{{Name: "GET /", Method: "GET", Path: "/"}},
		}},
	}
	return c
}

// ingress opens a port outside the bubble that takes connections: what a probe without a path asks for.
func ingress(t *testing.T, c *trial.Config) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c.Plan.Load.Ingress = "http://" + l.Addr().String()
}

func killAt10() scenario.Fault {
	return scenario.Fault{Name: "crash", Verb: "kill", At: 10*time.Second + 50*time.Millisecond, For: 10 * time.Second}
}

// A minute of load with a kill of 10 s, in no time: half of the requests that were due in it are lost, the edges
// are where they were planned, and everything is undone and removed.
func TestKill(t *testing.T) {
	f := &fake{replicas: 2}
	c := config(f, killAt10())
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		a := analysis.Of(rec)
		if p := a.Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
		crash := rec.Faults[0]
		if crash.Onset == nil || crash.Heal == nil || crash.Onset.To != 10050*time.Millisecond || crash.Heal.To != 20050*time.Millisecond {
			t.Errorf("onset %+v, heal %+v, want 10.05s and 20.05s", crash.Onset, crash.Heal)
		}
		if crash.Ended != record.EndedFor || !crash.Proven() {
			t.Errorf("ended %q, proof %+v", crash.Ended, crash.Proof)
		}
		if v := a.Metric(analysis.Ref{Metric: "availability"}); v.V != 1-50.0/600 {
			t.Errorf("availability %v, want 550 of 600", v)
		}
		if v := a.Metric(analysis.Ref{Metric: "balance"}); v.State != analysis.OK {
			t.Errorf("balance %v: nodes were not told apart by their addresses", v)
		}
		if f.downs != 1 {
			t.Errorf("the target was removed %d times", f.downs)
		}
	})
}

// Cancelled in the middle of a fault, the fault is undone and the target removed all the same.
func TestCancelDuringFault(t *testing.T) {
	f := &fake{replicas: 2}
	c := config(f, killAt10())
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(15*time.Second, func() { cancel(why) })
		rec, err := trial.Run(ctx, c)
		if err == nil || ctx.Err() == nil {
			t.Fatalf("error %v, want the cancellation", err)
		}
		if f.dead["app-1"] {
			t.Error("the fault was not undone")
		}
		if got := rec.Faults[0].Ended; got != record.EndedAborted {
			t.Errorf("the fault ended because %q", got)
		}
		if f.downs != 1 {
			t.Errorf("the target was removed %d times", f.downs)
		}
		if len(analysis.Of(rec).Problems()) == 0 {
			t.Error("a trial that was cut off is taken for valid")
		}
	})
}

// A target that never answers is not ready, which is told apart from other errors.
func TestNeverReady(t *testing.T) {
	f := &fake{replicas: 1}
	c := config(f) // nobody listens at its ingress
	synctest.Test(t, func(t *testing.T) {
		_, err := trial.Run(t.Context(), c)
		if !errors.Is(err, trial.ErrNotReady) {
			t.Errorf("error %v, want that it did not get ready", err)
		}
		if f.downs != 1 {
			t.Errorf("the target was removed %d times", f.downs)
		}
	})
}

// A header that names no replica makes the trial invalid and is named.
func TestStranger(t *testing.T) {
	f := &fake{replicas: 1, raw: "who\x1b[31m"}
	c := config(f)
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		problems := strings.Join(analysis.Of(rec).Problems(), "\n")
		if !strings.Contains(problems, `"who\x1b[31m", which is no replica`) || !strings.Contains(problems, "app-1") {
			t.Errorf("problems %q do not name the stranger and the replicas", problems)
		}
	})
}

// Replicas that a fault adds are nodes like the others, and were not missing before.
func TestScaleUp(t *testing.T) {
	f := &fake{replicas: 2}
	c := config(f, scenario.Fault{Name: "more", Verb: "scale", At: 10 * time.Second, For: 20 * time.Second, Params: fault.Params{"to": 3}})
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if p := analysis.Of(rec).Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
		if got := rec.Faults[0].Nodes; !slices.Equal(got, []string{"app-3"}) {
			t.Errorf("the fault hit %v, want app-3", got)
		}
		last := rec.Nodes[len(rec.Nodes)-1]
		if last.Name != "app-3" || !last.Late || !last.Balanced {
			t.Errorf("the last node is %+v, want app-3, late and balanced", last)
		}
		if n := len(f.Nodes()); n != 2 {
			t.Errorf("%d replicas after the trial, want 2 as before", n)
		}
	})
}

// Without `for` a fault is undone when measured load ends, and a verb without a time at once.
func TestEnds(t *testing.T) {
	f := &fake{replicas: 2}
	c := config(f,
		scenario.Fault{Name: "late", Verb: "kill", At: 50 * time.Second})
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if g := rec.Faults[0]; g.Ended != record.EndedLoad || g.Heal == nil || g.Heal.To != time.Minute {
			t.Errorf("ended %q at %+v, want at the end of load", g.Ended, g.Heal)
		}
	})
}

// A fault that hits nothing makes the trial invalid.
func TestVictimGone(t *testing.T) {
	f := &fake{replicas: 1}
	c := config(f, killAt10())
	c.Plan.Steps[0].Victims = []string{"app-7"}
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if p := strings.Join(analysis.Of(rec).Problems(), "\n"); !strings.Contains(p, "app-7") {
			t.Errorf("problems %q do not say that app-7 was not there", p)
		}
	})
}
