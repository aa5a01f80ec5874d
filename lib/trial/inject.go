package trial

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// inject carries out the steps of the plan on the clock of the load, and undoes each when
// its time is over, when measured load ends, or when ctx is done. It returns when everything is undone.
// zero tells the start of measured load, on this machine's clock; closed without a value there was none.
func (r *run) inject(ctx context.Context, cluster target.Cluster, zero <-chan time.Time) []record.Fault {
	faults := make([]record.Fault, len(r.Plan.Steps))
	for i, s := range r.Plan.Steps {
		faults[i] = record.Fault{Name: s.Name, Verb: s.Verb, Line: s.Line, At: s.At, For: s.For, Nodes: s.Victims, Means: s.Kind.Means}
	}
	start, ok := <-zero
	if !ok {
		return faults
	}
	var wg sync.WaitGroup
	for i, s := range r.Plan.Steps {
		wg.Go(func() {
			step := &step{run: r, plan: s, rec: &faults[i], cluster: cluster, zero: start}
			step.carryOut(ctx)
		})
	}
	wg.Wait()
	return faults
}

// A step is one fault under way.
type step struct {
	run     *run
	plan    plan.Step
	rec     *record.Fault
	cluster target.Cluster
	zero    time.Time // of measured load, on this machine's clock
}

// carryOut does the step when its time comes, holds it, and undoes it.
func (s *step) carryOut(ctx context.Context) {
	if !sleepUntil(ctx, s.zero.Add(s.plan.At)) {
		s.rec.Ended = record.EndedAborted
		return
	}
	revert := s.begin(ctx)
	if revert == nil {
		return
	}
	s.rec.Ended = s.hold(ctx)
	s.undo(ctx, revert)
}

// begin injects the fault and takes down what it did.
func (s *step) begin(ctx context.Context) fault.Revert {
	victims, err := s.victims()
	if err != nil {
		s.problem(err)
		return nil
	}
	effects, revert, err := s.plan.Fault.Fault.Inject(ctx, s.cluster, victims)
	if err != nil {
		s.problem(fmt.Errorf("inject %s: %w", s.plan.Verb, err))
	}
	s.run.watch.know(nodesOf(effects))
	if s.plan.Kind.WholeService { // what it hit is known only now
		s.rec.Nodes = namesOf(effects)
	}
	for _, e := range effects {
		s.rec.Proof = append(s.rec.Proof, record.Proof{Node: e.Node.Name, What: e.Source + ": " + e.Proof, OK: true})
	}
	s.rec.Onset = s.edge(effects)
	s.tell("onset", s.rec.Onset)
	return revert
}

// victims finds the chosen nodes among those that are there now.
func (s *step) victims() ([]target.Node, error) {
	by := make(map[string]target.Node)
	var all []target.Node
	for _, n := range s.cluster.Nodes() {
		by[n.Name] = n
		if n.Service == s.plan.Selector.Service {
			all = append(all, n)
		}
	}
	if s.plan.Kind.WholeService {
		return all, nil
	}
	chosen := make([]target.Node, 0, len(s.plan.Victims))
	for _, name := range s.plan.Victims {
		n, ok := by[name]
		if !ok {
			return nil, fmt.Errorf("node %s is not there any more: nothing was hit", name)
		}
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// hold waits while the fault is in force, and says why it ends.
func (s *step) hold(ctx context.Context) string {
	if s.plan.Kind.NoFor {
		return record.EndedItself
	}
	end, why := s.zero.Add(s.run.Plan.Load.Rate.For), record.EndedLoad
	if until := s.zero.Add(s.plan.At + s.plan.For); s.plan.For > 0 && until.Before(end) {
		end, why = until, record.EndedFor
	}
	if !sleepUntil(ctx, end) {
		return record.EndedAborted
	}
	return why
}

// undo undoes the fault, whatever has become of ctx.
func (s *step) undo(ctx context.Context, revert fault.Revert) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	effects, err := revert(ctx)
	if err != nil {
		s.problem(fmt.Errorf("undo %s: %w", s.plan.Verb, err))
		return
	}
	s.run.watch.know(nodesOf(effects))
	s.rec.Heal = s.edge(effects)
	s.tell("healed", s.rec.Heal)
}

// problem keeps what went wrong, in one line.
func (s *step) problem(err error) {
	text := strings.NewReplacer("\n  ", "; ", "\n", "; ").Replace(err.Error())
	if s.rec.Problem != "" {
		text = s.rec.Problem + "; " + text
	}
	s.rec.Problem = text
}

// edge is the bracket around what was done to all nodes, relative to zero on the
// engine's clock. No effect, no edge.
func (s *step) edge(effects []target.Effect) *record.Edge {
	if len(effects) == 0 {
		return nil
	}
	zero := s.run.rec.Zero
	e := &record.Edge{From: effects[0].From.Sub(zero), To: effects[0].To.Sub(zero), Source: effects[0].Source}
	for _, o := range effects[1:] {
		e.From, e.To = min(e.From, o.From.Sub(zero)), max(e.To, o.To.Sub(zero))
	}
	return e
}

func (s *step) tell(kind string, e *record.Edge) {
	if e == nil || s.run.Hooks.Event == nil {
		return
	}
	for _, n := range s.rec.Nodes {
		s.run.Hooks.Event(record.Event{At: e.To, Within: e.To - e.From, Kind: "fault." + kind, Node: n, Fault: s.plan.Name, Source: e.Source, Detail: s.plan.Verb})
	}
}

func nodesOf(effects []target.Effect) []target.Node {
	nodes := make([]target.Node, len(effects))
	for i, e := range effects {
		nodes[i] = e.Node
	}
	return nodes
}

func namesOf(effects []target.Effect) []string {
	names := make([]string, len(effects))
	for i, e := range effects {
		names[i] = e.Node.Name
	}
	sort.Strings(names)
	return names
}

// sleepUntil reports whether the time came; false means that ctx was done first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.NewTimer(time.Until(at))
	defer wait.Stop()
	select {
	case <-wait.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
