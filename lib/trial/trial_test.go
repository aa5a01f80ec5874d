package trial_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
	"github.com/tutti-bench/tutti/lib/trial/trialtest"
)

func config(f *trialtest.Fake, replicas int, faults ...scenario.Fault) trial.Config {
	kinds := fault.Kinds{"kill": node.KillKind(), "scale": node.ScaleKind(), "restart": node.RestartKind()}
	ingress, _ := url.Parse("http://127.0.0.1:1")
	t := &target.Target{Services: map[string]target.Service{"app": {Name: "app", Scale: replicas}}}
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
			Schedule: schedule.Constant(10, 2*time.Second, 60*time.Second),
			Timeout:  time.Second, Ingress: ingress.String(), Connections: 100, AttemptsHeader: "X-Upstream", NodeHeader: "X-Node",
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
	f := &trialtest.Fake{}
	c := config(f, 2, killAt10())
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
		if f.Downs() != 1 {
			t.Errorf("the target was removed %d times", f.Downs())
		}
	})
}

// Cancelled in the middle of a fault, the fault is undone and the target removed all the same.
func TestCancelDuringFault(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2, killAt10())
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(15*time.Second, func() { cancel(why) })
		rec, err := trial.Run(ctx, c)
		if err == nil || ctx.Err() == nil {
			t.Fatalf("error %v, want the cancellation", err)
		}
		if len(f.Dead()) > 0 {
			t.Error("the fault was not undone")
		}
		if got := rec.Faults[0].Ended; got != record.EndedAborted {
			t.Errorf("the fault ended because %q", got)
		}
		if f.Downs() != 1 {
			t.Errorf("the target was removed %d times", f.Downs())
		}
		if len(analysis.Of(rec).Problems()) == 0 {
			t.Error("a trial that was cut off is taken for valid")
		}
	})
}

// A target that never answers is not ready, which is told apart from other errors.
func TestNeverReady(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 1) // nobody listens at its ingress
	synctest.Test(t, func(t *testing.T) {
		_, err := trial.Run(t.Context(), c)
		if !errors.Is(err, trial.ErrNotReady) {
			t.Errorf("error %v, want that it did not get ready", err)
		}
		if f.Downs() != 1 {
			t.Errorf("the target was removed %d times", f.Downs())
		}
	})
}

// A header that names no replica makes the trial invalid and is named.
func TestStranger(t *testing.T) {
	f := &trialtest.Fake{Header: "who\x1b[31m"}
	c := config(f, 1)
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

// A leaver is an engine that tells of the end of each node that it removes.
type leaver struct{ *trialtest.Fake }

func (l *leaver) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	if _, err := l.Fake.Up(ctx, s); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *leaver) Scale(ctx context.Context, service string, n int) ([]target.Effect, error) {
	if nodes := l.Nodes(); len(nodes) > n {
		l.Tell(nodes[len(nodes)-1].Name, record.NodeDie, "exit code 0")
		time.Sleep(100 * time.Millisecond)
	}
	return l.Fake.Scale(ctx, service, n)
}

// Replicas that a fault adds are nodes like the others, and were not missing before. That they end when it is undone is
// not a death under it.
func TestScaleUp(t *testing.T) {
	f := &leaver{&trialtest.Fake{}}
	c := config(f.Fake, 2, scenario.Fault{Name: "more", Verb: "scale", At: 10 * time.Second, For: 20 * time.Second, Params: fault.Params{"to": 3}})
	c.Driver = f
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if p := analysis.Of(rec).Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
		if g := rec.Faults[0]; len(g.Renewed) > 0 || g.Heal == nil || g.Heal.From < 30*time.Second {
			t.Errorf("healed at %+v, and it says %q", g.Heal, g.Renewed)
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
	f := &trialtest.Fake{}
	c := config(f, 2,
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
	f := &trialtest.Fake{}
	c := config(f, 1, killAt10())
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

// What could not be removed is told, and is no matter of the target's getting ready.
func TestLeft(t *testing.T) {
	f := &trialtest.Fake{DownErr: errors.New("container abc stays")}
	c := config(f, 1)
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		_, err := trial.Run(t.Context(), c)
		if !errors.Is(err, trial.ErrLeft) || errors.Is(err, trial.ErrNotReady) || !strings.Contains(err.Error(), "container abc stays") {
			t.Errorf("error %v, want what is left", err)
		}
	})
}

// A live view is told of every stage, of the clock, of every bin and of what happens to nodes, as it is recorded.
func TestHooks(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2, killAt10())
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		var (
			mu      sync.Mutex
			stages  []string
			started time.Time
			bins    int
			events  []string
		)
		told := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
		c.Hooks = trial.Hooks{
			Stage:   func(s string) { told(func() { stages = append(stages, s) }) },
			Started: func(zero time.Time) { told(func() { started = zero }) },
			Bin:     func(record.Bin) { told(func() { bins++ }) },
			Event:   func(e record.Event) { told(func() { events = append(events, e.Kind+" "+e.Node) }) },
		}
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"starting the target", "waiting until it is ready", "warm-up", "removing the target"}; !slices.Equal(stages, want) {
			t.Errorf("stages %q, want %q", stages, want)
		}
		if !started.Equal(rec.Zero) || bins != len(rec.Bins) || bins == 0 {
			t.Errorf("zero %v and %d bins were told, %v and %d recorded", started, bins, rec.Zero, len(rec.Bins))
		}
		if want := []string{"die app-1", "fault.onset app-1", "start app-1", "fault.healed app-1"}; !slices.Equal(events, want) {
			t.Errorf("events %q, want %q", events, want)
		}
	})
}

// shortLived is a target of which one agent dies: some time after it was started, or by die.
type shortLived struct {
	*trialtest.Fake

	which    int           // of its agents, from 1 on; 0: none does
	after    time.Duration // 0: not by itself
	die      func()
	attached int
}

func (m *shortLived) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	_, err := m.Fake.Up(ctx, s)
	return m, err
}

func (m *shortLived) Attach(ctx context.Context, args ...string) (*target.Process, error) {
	p, err := m.Fake.Attach(ctx, args...)
	if m.attached++; m.attached == m.which {
		out := p.Stdout
		r, w := io.Pipe()
		p.Stdout = r
		go func() { // what a process that was killed had to say is not said
			_, err := io.Copy(w, out)
			_ = w.CloseWithError(err)
		}()
		m.die = func() { _ = w.Close(); p.Kill() }
		if m.after > 0 {
			time.AfterFunc(m.after, m.die)
		}
	}
	return p, err
}

// Three agents give the trial that one would, faults and examples included.
func TestAgentsSideBySide(t *testing.T) {
	recs := make([]*record.Recording, 2)
	for i, agents := range []int{1, 3} {
		m := &shortLived{Fake: &trialtest.Fake{}}
		c := config(m.Fake, 2, killAt10())
		c.Driver, c.Plan.Agents = m, agents
		ingress(t, &c)
		synctest.Test(t, func(t *testing.T) {
			rec, err := trial.Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if p := analysis.Of(rec).Problems(); len(p) > 0 {
				t.Errorf("%d agents: problems: %q", agents, p)
			}
			recs[i] = rec
		})
		if m.attached != agents || recs[i].Generator.Agents != agents {
			t.Errorf("%d agents were started, and %d say so; want %d", m.attached, recs[i].Generator.Agents, agents)
		}
	}
	one, three := analysis.Of(recs[0]), analysis.Of(recs[1])
	for _, metric := range []string{"availability", "p99", "ok_p99", "longest_silence", "throughput", "downtime"} {
		if a, b := one.Metric(analysis.Ref{Metric: metric}), three.Metric(analysis.Ref{Metric: metric}); math.Abs(a.V-b.V) > 0.2*math.Abs(a.V) || a.State != b.State {
			t.Errorf("%s: %+v of one agent, %+v of three", metric, a, b)
		}
	}
	for i, rec := range recs {
		if len(rec.Failures) < 20 || len(rec.Failures) > record.MaxFailures || len(rec.Slowest) != record.MaxSlowest {
			t.Errorf("recording %d: %d failures, %d slowest", i, len(rec.Failures), len(rec.Slowest))
		}
		for _, e := range rec.Slowest {
			if e.Node != "app-1" && e.Node != "app-2" || !strings.HasPrefix(e.Tried[0], "app-") {
				t.Errorf("recording %d has %+v", i, e)
			}
		}
		for k := range rec.Bins {
			if rec.Bins[k].Mask != nil || len(rec.Bins[k].TakeExamples()) > 0 {
				t.Fatalf("bin %d of recording %d has what is for the way alone", k, i)
			}
		}
	}
}

// A trial that lost an agent is not valid, and says why; it is no reason to end the run.
func TestAgentDies(t *testing.T) {
	m := &shortLived{Fake: &trialtest.Fake{}, which: 2, after: 20 * time.Second}
	c := config(m.Fake, 2, killAt10())
	c.Driver, c.Plan.Agents = m, 2
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		problems := analysis.Of(rec).Problems()
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "agent 2 of 2: the load agent was lost") }) {
			t.Errorf("problems: %q", problems)
		}
		if len(m.Dead()) > 0 || m.Downs() != 1 {
			t.Errorf("dead %q, removed %d times", m.Dead(), m.Downs())
		}
	})
}
