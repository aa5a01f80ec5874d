// Package trialtest has a target without containers or processes: nodes that are up or not, on the clock of
// a testing/synctest bubble. The load agent is the real one, over pipes, with a generator that asks the
// fake in place of a network.
package trialtest

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// Service is the one service that a [Fake] runs.
const Service = "app"

// A Fake is a driver and its cluster in one. Its fields are set before it is used.
type Fake struct {
	Header     string // what nodes call themselves in the header; "" is their name
	Facts      target.Facts
	ProbeErr   error
	PrepareErr error
	// UpErr is asked before each target is started; its error is Up's.
	UpErr func(s target.Spec) error
	// KillErr is asked before each kill, which then has no effect.
	KillErr func(s target.Spec, n target.Node) error
	DownErr error
	ArmErr  error // of every helper's arming
	// ExecFunc answers commands in nodes, with an exit code and output. Nil: none can be run.
	ExecFunc func(n target.Node, command []string) (int, string)
	Network  string // of the nodes' addresses; "" is 10.0.0.
	// Carries is how many requests a second so many nodes answer; those beyond it time out. Nil: all.
	Carries func(nodes int) float64
	// Takes is how long an answer takes in a trial of this spec; nil or 0: 1 ms.
	Takes func(s target.Spec) time.Duration
	// Offers is how many requests a second the generator can send; beyond it they leave later and later. 0: any.
	Offers float64

	mu    sync.Mutex
	spec  target.Spec
	nodes []target.Node
	dead  map[string]bool
	ups   []string // trials, in the order in which they were started
	downs int

	beside []beside
	parts  map[string]agent.Parts // by node
	armed  []string
}

// Abilities are what a Fake can do to its nodes.
const Abilities = target.CanKill | target.CanScale | target.CanExec | target.CanEnterNetwork | target.CanEnterNode

// Ups are the trials whose target was asked for, in order.
func (f *Fake) Ups() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ups)
}

// Downs is how often a target was removed.
func (f *Fake) Downs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.downs
}

// Dead lists the nodes that were killed and not started again.
func (f *Fake) Dead() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.dead))
}

// Probe returns Facts and ProbeErr.
func (f *Fake) Probe(context.Context) (target.Facts, error) { return f.Facts, f.ProbeErr }

// Prepare knows one image.
func (f *Fake) Prepare(ctx context.Context, _ *target.Target, progress func(string)) (map[string]string, error) {
	progress("preparing")
	if f.PrepareErr != nil {
		return nil, f.PrepareErr
	}
	return map[string]string{Service: "sha256:fake"}, ctx.Err()
}

// Versions knows one version.
func (f *Fake) Versions(context.Context, *target.Target) (map[string]string, error) {
	return map[string]string{Service: "fake 1.0"}, nil
}

// Up starts the replicas that the spec asks for.
func (f *Fake) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ups = append(f.ups, s.Trial)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.UpErr != nil {
		if err := f.UpErr(s); err != nil {
			return nil, err
		}
	}
	f.spec, f.nodes, f.dead, f.parts, f.beside = s, nil, make(map[string]bool), make(map[string]agent.Parts), nil
	for i := range s.Replicas(Service) {
		f.add(i + 1)
	}
	return f, nil
}

func (f *Fake) add(n int) target.Node {
	network := f.Network
	if network == "" {
		network = "10.0.0."
	}
	node := target.Node{Name: target.ReplicaName(Service, n), Service: Service, Replica: n, Address: network + strconv.Itoa(n)}
	f.nodes = append(f.nodes, node)
	return node
}

// Nodes lists the replicas.
func (f *Fake) Nodes() []target.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

// Down counts. Under a context that is done it is an error: a real one would leave things behind.
func (f *Fake) Down(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.downs++
	return errors.Join(ctx.Err(), f.DownErr)
}

// Attach starts the agent.
func (f *Fake) Attach(ctx context.Context, _ ...string) (*target.Process, error) {
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

func (f *Fake) set(n target.Node, dead bool, kind string) (target.Effect, error) {
	now := time.Now()
	f.turn(n.Name, dead, kind, "")
	return target.Effect{Node: n, From: now, To: now, Source: "fake", Proof: kind}, nil
}

// Kill makes a node silent.
func (f *Fake) Kill(_ context.Context, n target.Node) (target.Effect, error) {
	if f.KillErr != nil {
		if err := f.KillErr(f.spec, n); err != nil {
			return target.Effect{}, err
		}
	}
	return f.set(n, true, record.NodeDie)
}

// Start makes it answer again.
func (f *Fake) Start(_ context.Context, n target.Node) (target.Effect, error) {
	return f.set(n, false, record.NodeStart)
}

// Scale adds and removes the highest replicas.
func (f *Fake) Scale(_ context.Context, _ string, n int) ([]target.Effect, error) {
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

// Generate asks the nodes in turn; a dead one does not answer, which is known at the timeout.
func (f *Fake) Generate(ctx context.Context, p load.Plan, started func(time.Time), emit func(record.Sample)) error {
	zero := time.Now().Add(p.Schedule.Warmup)
	if p.At != 0 {
		zero = p.Zero(0, 0)
	}
	started(zero)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	times := p.Part.Pacer(p.Schedule.Timetable())
	for k := range times.Count() {
		n, due := p.Part.Seq(k), times.Due(k)
		select {
		case <-time.After(time.Until(zero.Add(due))):
		case <-ctx.Done():
			return ctx.Err()
		}
		s := f.sample(n, due, p)
		if s.Class != record.Timeout {
			emit(s)
			continue
		}
		waiting.Go(func() {
			select {
			case <-time.After(time.Until(zero.Add(s.Done))):
				emit(s)
			case <-ctx.Done():
			}
		})
	}
	return nil
}

// zeroless is how many requests of measured load come before this one.
func zeroless(n uint64, p load.Plan) float64 { return float64(n) - float64(p.Schedule.Warm()) }

func (f *Fake) sample(n uint64, due time.Duration, p load.Plan) record.Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	to := f.nodes[int(n)%len(f.nodes)]
	lost := f.dead[to.Name]
	takes := time.Millisecond
	if f.Takes != nil {
		takes = max(takes, f.Takes(f.spec))
	}
	s := record.Sample{Seq: n, Due: due, Sent: due, Free: record.None, Done: due + takes, Class: record.OK, Node: to.Name}
	if p.AttemptsHeader != "" {
		s.Tried, s.Traced = []string{to.Address + ":8080"}, true
	}
	if f.Header != "" {
		s.Node = f.Header
	}
	if late := zeroless(n, p) / f.Offers; f.Offers > 0 && late > due.Seconds() {
		s.Sent = time.Duration(late * float64(time.Second))
		s.Done = s.Sent + takes
	}
	if f.Carries != nil {
		share := f.Carries(len(f.nodes)) / p.Schedule.Mean()
		lost = share < 1 && math.Floor(float64(n+1)*share) == math.Floor(float64(n)*share)
	}
	if lost {
		s.Class, s.Node, s.Done, s.Traced, s.Tried = record.Timeout, "", due+p.Timeout, false, nil
	}
	return s
}
