package trial

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
	"golang.org/x/sync/errgroup"
)

// An injector carries out the steps of the plan on the clock of the load. Each has a goroutine of its own; what
// happens to nodes and helpers meanwhile, the keeper tells them.
type injector struct {
	*run
	cluster target.Cluster
	client  *agent.Client
	helpers *fault.Helpers
	steps   []*step
	keeper  *keeper
	seconds *seconds  // of measured load, for conditions; nil if no step has one
	zero    time.Time // of measured load, on this machine's clock

	writing sync.Mutex // held for each line of the journal

	mu     sync.Mutex
	onsets int     // so far
	force  []*step // the steps in force, by onset
	left   bool    // something could not be undone
}

// newInjector prepares the steps. dial is the ingress's address. Who made it closes it.
func (r *run) newInjector(cluster target.Cluster, client *agent.Client, dial string) *injector {
	in := &injector{run: r, cluster: cluster, client: client, helpers: fault.NewHelpers(cluster)}
	in.keeper = newKeeper(in)
	ready := func(ctx context.Context) error { return r.answers(ctx, client, dial) }
	for _, p := range r.Plan.Steps {
		s := &step{
			injector: in, plan: p, began: newMoment(), healed: newMoment(), undone: make(chan struct{}), over: make(map[string]record.Edge),
			rec: record.Fault{
				Name: p.Name, Verb: p.Verb, Line: p.Line, At: p.At, For: p.For, Drawn: p.Drawn, Nodes: p.Victims, Means: p.Means,
			},
		}
		s.site = &fault.Site{Cluster: cluster, Name: p.Name, Way: p.Way, Helpers: in.helpers, Ready: ready, Rand: chance(r.Plan.Seed, p.Name), Died: in.keeper.lately, Engine: in.engine}
		if p.After != nil || p.When != nil {
			s.rec.Trigger = p.Trigger()
		}
		if p.Selector.Role != nil {
			s.rec.Nodes, s.rec.Role = nil, roleText(*p.Selector.Role)
		}
		if p.When != nil && in.seconds == nil {
			in.seconds = newSeconds(r.Plan.Load.Schedule)
		}
		in.steps = append(in.steps, s)
	}
	return in
}

// chance is a fault's own, from the trial's seed and the fault's name: FNV-1a.
func chance(seed int64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}

// arm prepares every fault that can be prepared on the nodes that it may hit, all at once.
func (in *injector) arm(ctx context.Context) error {
	var armers []*step
	for _, s := range in.steps {
		if _, ok := s.plan.Fault.Fault.(fault.Armer); ok {
			armers = append(armers, s)
		}
	}
	if len(armers) == 0 {
		return nil
	}
	in.Hooks.stage("arming the faults")
	ctx, cancel := context.WithTimeoutCause(ctx, armLimit, fmt.Errorf("it was not armed within %v", armLimit))
	defer cancel()
	var g errgroup.Group
	errs := make([]error, len(armers))
	for i, s := range armers {
		g.Go(func() error {
			errs[i] = s.arm(ctx)
			return nil // all are told of
		})
	}
	_ = g.Wait() // never an error, see above
	return errors.Join(errs...)
}

func (s *step) arm(ctx context.Context) error {
	nodes, err := s.candidates()
	if err == nil {
		err = s.note("arm", namesOf(nodes))
	}
	if err == nil {
		err = s.plan.Fault.Fault.(fault.Armer).Arm(ctx, s.site, nodes)
	}
	if err != nil {
		return fmt.Errorf("arm fault %q (%s): %w", s.plan.Name, s.plan.Verb, err)
	}
	return nil
}

// inject carries out the steps, and undoes each when its time is over, when measured load ends, or
// when ctx is done. It returns when everything is undone. zero tells the start of measured load, on
// this machine's clock; closed without a value there was none.
func (in *injector) inject(ctx context.Context, zero <-chan time.Time) {
	start, ok := <-zero
	if !ok {
		return
	}
	in.zero = start
	keepCtx, stop := context.WithCancel(context.WithoutCancel(ctx)) // undoing needs it too
	var keeping, steps sync.WaitGroup
	keeping.Go(func() { in.keeper.keep(keepCtx) })
	keeping.Go(func() { in.keeper.beat(keepCtx) })
	measured, cancel := context.WithDeadline(ctx, in.end())
	defer cancel()
	for _, s := range in.steps {
		s.site.Over = measured.Done()
		steps.Go(func() { s.carryOut(ctx) })
	}
	steps.Wait()
	stop()
	keeping.Wait()
}

// faults are what became of the steps, once inject has returned.
func (in *injector) faults() []record.Fault {
	faults := make([]record.Fault, len(in.steps))
	for i, s := range in.steps {
		faults[i] = s.rec
	}
	in.collateral(faults)
	return faults
}

// close ends the helpers. How they end matters only if they may keep something up still.
func (in *injector) close() {
	err := in.helpers.Close()
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil && in.left {
		in.rec.Problems = append(in.rec.Problems, oneLine(fmt.Errorf("end what could not be undone: %w", err)))
	}
}

// engine gives a moment of this machine's clock as the engine's clock has it.
func (in *injector) engine(t time.Time) time.Time { return in.rec.Zero.Add(t.Sub(in.zero)) }

// end is when measured load ends, on this machine's clock.
func (in *injector) end() time.Time { return in.zero.Add(in.Plan.Load.Schedule.For()) }

// enters counts a step among those in force.
func (in *injector) enters(s *step) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.onsets++
	s.onset = in.onsets
	in.force = append(in.force, s)
}

// leaves takes it out again.
func (in *injector) leaves(s *step, undone bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, o := range in.force {
		if o == s {
			in.force = append(in.force[:i], in.force[i+1:]...)
			break
		}
	}
	in.left = in.left || !undone
}

// above are the steps in force on a node of s that began after it.
func (in *injector) above(s *step) []*step {
	in.mu.Lock()
	defer in.mu.Unlock()
	var above []*step
	for _, o := range in.force {
		if o.onset > s.onset && shares(o.hit, s.hit) {
			above = append(above, o)
		}
	}
	return above
}

func shares(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}
