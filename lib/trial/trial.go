// Package trial runs one planned trial: a fresh target, warm-up, load and faults on
// one clock, and a recording of what happened. It is the only package of the core that starts
// goroutines and reads the clock.
//
//	Up → agent → ready → arm → [ load ∥ injector ] → undo → ready again → read back → Down → judge keys
//
// The target is made ready again, and read back, where the scenario verifies writes; keys are judged where several of those share one.
//
// Where the load is a search for capacity, there are no faults, and one load after the other: see [record.Hold].
//
// What a fault needs beside its nodes is armed before the load, on every node that it may hit. It fires at its time,
// after another fault's measured onset or heal, or once its condition held in a full second of the load, which is known
// up to the requests' timeout, and never more than a bin of the grid, after that second. It ends when its time or
// the load is over, when its node restarts and it cannot be put in force again, or when what keeps it up is lost; and
// always before Down.
package trial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/linear"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// Limits on the steps of a trial whose length the scenario does not say.
const (
	upLimit    = 5 * time.Minute  // images are there already
	downLimit  = 2 * time.Minute  //
	undoLimit  = 30 * time.Second // for each fault, and what it says itself
	drainSpare = 30 * time.Second // for the agent to end after the last deadline
	readSpare  = 10 * time.Second // for the agent to end after the last read's
	probeEvery = 100 * time.Millisecond
	probeLimit = 2 * time.Second // for one probe
)

// Config is one trial to run.
type Config struct {
	Driver target.Driver
	Spec   target.Spec // Run, Trial, LogDir and Env are set; Watch and Progress are the trial's own
	Plan   plan.Trial
	Ready  scenario.Ready
	Nodes  string            // the balanced service
	Images map[string]string // digests by service, for the record
	Hooks  Hooks
	// Results are where every request is written down, too; nil: nowhere.
	Results *load.Results
	// Journal is told what is about to be done to nodes, before it is; nil: nothing is written. Who opened it closes it.
	Journal Journal
}

// Hooks tell a live view what happens. Each may be nil; none may block.
type Hooks struct {
	Stage   func(string)         // what the trial is doing now
	Started func(zero time.Time) // the clock of measured load, on the harness's clock; the warm-up runs
	Bin     func(record.Bin)
	Event   func(record.Event)
	Hold    func(record.Hold) // of a search, when it begins, without an answer, and when it is judged
}

func (h Hooks) stage(s string) {
	if h.Stage != nil {
		h.Stage(s)
	}
}

// ErrNotReady is in the chain of Run's error when the target came up, or should have, and never
// answered.
var ErrNotReady = errors.New("the target did not get ready")

// ErrLeft is in the chain of Run's error when something of the target could not be removed.
var ErrLeft = target.ErrLeft

// Run runs the trial. It always returns a recording, as far as it came; with an error too,
// the trial has no meaning: ctx was cancelled, or the environment failed. Whatever
// happens, faults are undone and the target is removed before Run returns; an error that names
// what is left is joined to the others.
func Run(ctx context.Context, c Config) (rec *record.Recording, err error) {
	r := &run{Config: c, watch: newWatch(c.Hooks)}
	r.rec = r.blank()
	defer func() { rec = r.finish(ctx) }()

	c.Hooks.stage("starting the target")
	spec := c.Spec
	spec.Watch, spec.Progress = r.watch.node, c.Hooks.stage
	upCtx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	cluster, err := c.Driver.Up(upCtx, spec)
	if err != nil {
		return nil, notReady(ctx, err)
	}
	defer func() {
		c.Hooks.stage("removing the target")
		downCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downLimit)
		defer cancel()
		if derr := cluster.Down(downCtx); derr != nil {
			err = errors.Join(err, ErrLeft, derr)
		}
	}()
	r.watch.know(cluster.Nodes())
	r.rec.Nodes = r.nodes(cluster.Nodes())
	return nil, r.measure(ctx, cluster)
}

// notReady marks an error of starting as the target's own, unless we were told to stop.
func notReady(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return errors.Join(ErrNotReady, err)
}

// A run is a trial under way.
type run struct {
	Config
	rec   *record.Recording
	watch *watch
}

func (r *run) blank() *record.Recording {
	p := r.Plan
	names := make([]string, len(p.Load.Requests))
	for i, q := range p.Load.Requests {
		names[i] = q.Name
	}
	rec := &record.Recording{Header: record.Header{
		Version: record.Version, Run: r.Spec.Run, Arm: p.Arm, Block: p.Block, Order: p.Order, Seed: p.Seed,
		Warmup: p.Load.Schedule.Warmup, For: p.Load.Schedule.For(), Timeout: p.Load.Timeout,
		Schedule: p.Load.Schedule, Requests: names, Attempts: p.Load.AttemptsHeader != "",
	}}
	if c := p.Capacity; c != nil {
		rec.Capacity = &record.Capacity{While: c.While.Text, From: c.From, To: c.To, Hold: c.Hold}
		rec.Schedule.Stages, rec.For = nil, 0
	}
	return rec
}

func (r *run) nodes(of []target.Node) []record.Node {
	nodes := make([]record.Node, len(of))
	for i, n := range of {
		image := n.Image
		if image == "" {
			image = r.Images[n.Service]
		}
		nodes[i] = record.Node{
			Name: n.Name, Service: n.Service, Balanced: n.Service == r.Nodes, Address: n.Address, ID: n.ID, Image: image,
		}
	}
	return nodes
}

// late lists the replicas that a fault added.
func (r *run) late() []record.Node {
	there := make(map[string]bool)
	for _, n := range r.rec.Nodes {
		there[n.Name] = true
	}
	var late []record.Node
	for _, n := range r.nodes(r.watch.known()) {
		if !there[n.Name] {
			n.Late, there[n.Name] = true, true
			late = append(late, n)
		}
	}
	return late
}

// measure sends the load and injects the faults, once the target is ready.
func (r *run) measure(ctx context.Context, cluster target.Cluster) error {
	agents, err := r.agents(ctx, cluster)
	defer func() { _ = agents.Close() }() // its errors have been told by Load
	if err != nil {
		return err
	}
	client := agents[0]

	r.Hooks.stage("waiting until it is ready")
	dial, err := r.ready(ctx, client)
	if err != nil {
		return notReady(ctx, err)
	}
	if r.Plan.Capacity != nil {
		return r.unlost(ctx, r.search(ctx, agents, dial))
	}
	in := r.newInjector(cluster, client, dial)
	defer in.close()
	if err := in.arm(ctx); err != nil {
		return err
	}
	p := r.Plan.Load
	p.Dial, p.Results = dial, r.Results

	limit := p.Schedule.Warmup + p.Schedule.For() + p.Timeout + drainSpare
	loadCtx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the load agent did not end within %v", limit))
	defer cancel()
	zero := make(chan time.Time, 1)
	injected := make(chan struct{})
	go func() { defer close(injected); in.inject(loadCtx, zero) }()

	r.Hooks.stage("warm-up")
	offset, _ := client.Offset()
	started := func(at time.Time) { // at is on the engine's clock
		r.rec.Zero = at
		r.watch.start(at)
		here := at.Add(-offset)
		if r.Hooks.Started != nil {
			r.Hooks.Started(here)
		}
		zero <- here
	}
	found, err := agents.Load(loadCtx, p, started, func(b record.Bin) {
		r.rec.Failures = append(r.rec.Failures, b.TakeExamples()...)
		b = r.watch.bin(b)
		r.rec.Bins = append(r.rec.Bins, b)
		if in.seconds != nil {
			in.seconds.bin(b)
		}
	})
	r.rec.Generator, r.rec.Slowest = found.Generator, found.Slowest
	if err != nil {
		cancel() // the injector undoes what it has done, and ends
	}
	close(zero)
	<-injected
	r.rec.Faults = in.faults()
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("send the load: %w", err)
	}
	if err != nil || len(p.Verify) == 0 {
		return r.unlost(ctx, err)
	}
	return r.unlost(ctx, r.readBack(ctx, client, p))
}

// dialLimit bounds how long an agent may take until it speaks.
const dialLimit = time.Minute

func dial(ctx context.Context, proc *target.Process) (*agent.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialLimit, fmt.Errorf("it said nothing within %v", dialLimit))
	defer cancel()
	return agent.Dial(ctx, proc)
}

// agents starts the agents that send the load, and waits until each answers. With an error there can be some, too.
func (r *run) agents(ctx context.Context, cluster target.Cluster) (agent.Group, error) {
	var group agent.Group
	for range max(r.Plan.Agents, 1) {
		proc, err := cluster.Attach(ctx, "agent")
		if err != nil {
			return group, fmt.Errorf("start the load agent on the target's network: %w", err)
		}
		client, err := dial(ctx, proc)
		if err != nil {
			proc.Kill()
			return group, fmt.Errorf("speak with the load agent: %w", errors.Join(err, proc.Wait()))
		}
		group = append(group, client)
	}
	return group, nil
}

// unlost takes the loss of an agent for what it is: no trial that can be trusted, and no reason to end the run.
func (r *run) unlost(ctx context.Context, err error) error {
	if ctx.Err() != nil || !errors.Is(err, agent.ErrLost) {
		return err
	}
	r.rec.Problems = append(r.rec.Problems, oneLine(err))
	return nil
}

// readBack waits until the target is ready again and has the writes read back. A target that is never ready again is a
// finding, not an error: then nothing is known of what it kept.
func (r *run) readBack(ctx context.Context, client *agent.Client, p load.Plan) error {
	r.Hooks.stage("waiting until it is ready again")
	readyCtx, cancel := context.WithTimeoutCause(ctx, r.Ready.Within, fmt.Errorf("not within %v", r.Ready.Within))
	defer cancel()
	problem := ""
	if err := r.answers(readyCtx, client, p.Dial); err != nil {
		if ctx.Err() != nil {
			return err
		}
		problem = oneLine(fmt.Errorf("the target was not ready again after the load: %w", err))
	}
	r.Hooks.stage("reading back what was written")
	limit := p.Verifying() + readSpare
	readCtx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the load agent did not end within %v", limit))
	defer cancel()
	writes, histories, err := client.Verify(readCtx, problem, func(at agent.Progress) {
		r.Hooks.stage(fmt.Sprintf("reading back what was written: %d of %d", at.Done, at.Of))
	})
	if err != nil {
		return fmt.Errorf("read back what was written: %w", err)
	}
	r.rec.Writes, r.rec.Histories = writes, histories
	return nil
}

// ready waits until the target answers through its ingress, and returns the address that the
// ingress has. That is resolved once, so that the load does not depend on a name service.
func (r *run) ready(ctx context.Context, client *agent.Client) (dial string, err error) {
	within := r.Ready.Within
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ingress, err := url.Parse(r.Plan.Load.Ingress)
	if err != nil {
		return "", fmt.Errorf("ingress: %w", err)
	}
	port := ingress.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[ingress.Scheme]
	}
	if port == "" {
		port = "80"
	}
	last := errors.New("it was never asked")
	for {
		if dial == "" {
			dial, last = resolve(ctx, client, ingress.Hostname(), port)
		}
		if dial != "" {
			if last = client.Probe(ctx, r.probe(dial)); last == nil {
				return dial, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s%s was not ready within %v: %w", ingress, r.Ready.Path, within, last)
		case <-time.After(probeEvery):
		}
	}
}

// probe asks whether the target answers.
func (r *run) probe(dial string) agent.Probe {
	l := r.Plan.Load
	return agent.Probe{URL: l.Ingress, Dial: dial, Path: r.Ready.Path, Timeout: probeLimit, HTTP2: l.HTTP2, TLS: l.TLS}
}

// answers waits until the target answers at the address that its ingress has.
func (r *run) answers(ctx context.Context, client *agent.Client, dial string) error {
	for {
		err := client.Probe(ctx, r.probe(dial))
		if err == nil {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(probeEvery)) {
			return fmt.Errorf("%s%s does not answer: %w", r.Plan.Load.Ingress, r.Ready.Path, errors.Join(err, context.Cause(ctx)))
		}
	}
}

func resolve(ctx context.Context, client *agent.Client, host, port string) (string, error) {
	addresses, err := client.Resolve(ctx, net.JoinHostPort(host, port))
	if err != nil {
		return "", err
	}
	if len(addresses) == 0 {
		return "", fmt.Errorf("%s has no address", host)
	}
	return addresses[0], nil
}

// judgeKeys judges what happened to keys that several writes share. It is done here, once, and kept: a search that is given up after a time
// must not say one thing today and another tomorrow.
func (r *run) judgeKeys(ctx context.Context) {
	by := make(map[string][]record.History)
	for _, h := range r.rec.Histories {
		by[h.Of] = append(by[h.Of], h)
	}
	for i := range r.rec.Writes {
		w := &r.rec.Writes[i]
		if all := by[w.Of]; len(all) > 0 && ctx.Err() == nil {
			r.Hooks.stage("judging what was read")
			found := linear.Judge(all)
			w.Registers = &found
		}
	}
}

// finish makes the recording whole: what was watched, in its order, and the nodes that came late.
func (r *run) finish(ctx context.Context) *record.Recording {
	r.judgeKeys(ctx)
	r.watch.finish(r.rec)
	r.rec.Nodes = append(r.rec.Nodes, r.late()...)
	r.rec.Sort()
	r.rec.Failures = analysis.Of(r.rec).Examples(r.rec.Failures)
	return r.rec
}
