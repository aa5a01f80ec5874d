package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// A step is one fault under way. What is below the line belongs to the goroutine of its carryOut until that has
// returned.
type step struct {
	*injector
	plan          plan.Step
	site          *fault.Site
	began, healed *moment
	undone        chan struct{} // closed when it is in force no more, or could not be undone
	onset         int           // its place among the onsets; guarded by injector.mu
	hit           []string      // the nodes on which it is in force; not changed once it is

	//
	rec    record.Fault
	cursor int  // into what the keeper tells
	calls  span // around Inject, on the engine's clock
	over   map[string]record.Edge
	came   bool // over on some node because that came back by itself
}

// carryOut does the step when its time comes, holds it, and undoes it.
func (s *step) carryOut(ctx context.Context) {
	defer func() { // whatever has not come by now never will
		s.began.tell(0, false)
		s.healed.tell(0, false)
		close(s.undone)
	}()
	if !s.await(ctx) {
		return
	}
	nodes, ok := s.victims(ctx)
	if !ok {
		return
	}
	revert := s.begin(ctx, nodes)
	if revert == nil {
		if s.rec.Onset != nil {
			s.rec.Ended = record.EndedItself
		}
		return
	}
	s.enters(s)
	if s.rec.Onset != nil { // else nothing was hit: there is only something to clear up
		s.rec.Ended = s.hold(ctx)
	}
	s.undo(ctx, revert)
}

// candidates are the nodes that the plan chose, as they are now: of a role those that may have it.
func (s *step) candidates() ([]target.Node, error) {
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

// victims finds the nodes to hit, and writes down that they will be. For a planned time that is done a little
// before, so that the disk's slowness does not delay the fault; a role is asked at its time.
func (s *step) victims(ctx context.Context) ([]target.Node, bool) {
	role := s.plan.Selector.Role
	if role == nil {
		if err := s.note("inject", s.plan.Victims); err != nil {
			s.problem(err)
			return nil, false
		}
	}
	if !sleepUntil(ctx, s.zero.Add(s.rec.At)) {
		s.rec.Ended = record.EndedAborted
		return nil, false
	}
	nodes, err := s.candidates()
	if err == nil && role != nil {
		if nodes, err = s.having(ctx, *role, nodes); err == nil {
			s.rec.Nodes = namesOf(nodes)
			err = s.note("inject", s.rec.Nodes)
		}
	}
	if err != nil {
		s.problem(err)
		return nil, false
	}
	return nodes, true
}

// begin injects the fault and takes down what it did.
func (s *step) begin(ctx context.Context, nodes []target.Node) fault.Revert {
	s.cursor = s.keeper.told()
	s.calls.From = s.engine(time.Now())
	effects, revert, err := s.plan.Fault.Fault.Inject(ctx, s.site, nodes)
	s.calls.To = s.engine(time.Now())
	if err != nil {
		s.problem(fmt.Errorf("inject %s: %w", s.plan.Verb, err))
	}
	s.watch.know(nodesOf(effects))
	s.hit = namesOf(nodes)
	if s.plan.Kind.WholeService { // what it hit is known only now
		s.hit = uniqueNames(effects)
		s.rec.Nodes = s.hit
	}
	s.prove(effects, false)
	if s.rec.Onset = s.edge(effects); s.rec.Onset != nil {
		s.began.tell(s.rec.Onset.To, true)
	} else if err == nil {
		s.problem(errors.New("nothing was hit"))
	}
	s.tell("onset", s.rec.Onset)
	if err := s.note("injected", s.hit); err != nil {
		s.problem(err)
	}
	return revert
}

// hold waits while the fault is in force, and says why it ends.
func (s *step) hold(ctx context.Context) string {
	if s.plan.Kind.NoFor {
		return record.EndedItself
	}
	end, why := s.end(), record.EndedLoad
	if strings.HasPrefix(s.plan.Name, analysis.Planted) {
		end = end.Add(s.Plan.Load.Timeout) // it is how the target is: undoing it must not cut off what is still open
	}
	if until := s.zero.Add(s.rec.At + s.plan.For); s.plan.For > 0 && until.Before(end) {
		end, why = until, record.EndedFor
	}
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	for {
		turns, more := s.keeper.since(&s.cursor)
		for _, t := range turns {
			if ended := s.follow(ctx, t); ended != "" {
				return ended
			}
		}
		select {
		case <-timer.C:
			return why
		case <-ctx.Done():
			return record.EndedAborted
		case <-more:
		}
	}
}

// undo undoes the fault, whatever has become of ctx.
func (s *step) undo(ctx context.Context, revert fault.Revert) {
	ctx = context.WithoutCancel(ctx)
	undone := false
	defer func() { s.leaves(s, undone) }()
	if s.rec.Ended == record.EndedLoad || s.rec.Ended == record.EndedAborted {
		s.waitAbove(ctx)
	}
	if err := s.note("revert", s.hit); err != nil {
		s.problem(err) // undone it is all the same
	}
	limit := s.undoWithin()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was not undone within %v", limit))
	defer cancel()
	for _, n := range s.hit {
		if _, down := s.keeper.down(n); down {
			s.helpers.Died(n) // there is nothing of them to end
		}
	}
	call := span{From: s.engine(time.Now())}
	effects, err := revert(ctx)
	if err != nil {
		s.problem(fmt.Errorf("undo %s: %w", s.plan.Verb, err))
		// What is left must not stay, even if the trial is lost. The first try may have used up all its time.
		again, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, fmt.Errorf("it was not undone within another %v", limit))
		defer cancel()
		if sleepUntil(again, time.Now().Add(undoAgain)) {
			effects, err = revert(again)
		}
	}
	call.To = s.engine(time.Now())
	s.watch.know(nodesOf(effects))
	if err != nil {
		return
	}
	undone = true
	s.prove(effects, true)
	if s.rec.Onset != nil {
		s.rec.Heal = s.heal(effects, call)
		s.healed.tell(s.rec.Heal.To, true)
		s.tell("healed", s.rec.Heal)
	}
	if err := s.note("reverted", s.hit); err != nil {
		s.problem(err)
	}
}

// undoWithin is how long undoing it may take.
func (s *step) undoWithin() time.Duration {
	l, ok := s.plan.Fault.Fault.(fault.Lasting)
	if !ok {
		return undoLimit
	}
	var grace time.Duration
	if s.Spec.Target != nil {
		grace = s.Spec.Target.Services[s.plan.Selector.Service].StopGrace
	}
	return undoLimit + l.Lasts(len(s.hit), grace)
}

// waitAbove waits for the faults on its nodes that began later and end now too: what was put on top goes first.
func (s *step) waitAbove(ctx context.Context) {
	above := s.above(s)
	limit := undoLimit
	for _, o := range above {
		limit = max(limit, o.undoWithin())
	}
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	for _, o := range above {
		select {
		case <-o.undone:
		case <-ctx.Done():
			return
		}
	}
}

// heal is the bracket around the fault's end on all nodes. Where it was over before it was undone, that end counts;
// what kept it up and was lost may have left something, and then the end is when that was gone. A node that is down
// has nothing of the fault since it died. Where undoing has no effect to tell of, the call is the bracket.
func (s *step) heal(effects []target.Effect, call span) *record.Edge {
	var whole *record.Edge
	add := func(e record.Edge) {
		if whole == nil {
			whole = &e
			return
		}
		whole.From, whole.To = min(whole.From, e.From), max(whole.To, e.To)
	}
	_, renews := s.plan.Fault.Fault.(fault.Renewer)
	own := func(died time.Time) bool { return s.takesDown(died) || s.tookDown(call, died) }
	seen := make(map[string]bool)
	for _, e := range effects {
		if _, over := s.over[e.Node.Name]; over && s.rec.Ended != record.EndedLost {
			continue
		}
		if died, down := s.keeper.down(e.Node.Name); down && !renews && !own(died) {
			continue // it was undone on a node that had nothing of it any more
		}
		seen[e.Node.Name] = true
		add(*s.edge([]target.Effect{e}))
	}
	for _, n := range s.hit {
		if e, over := s.over[n]; over {
			add(e)
			continue
		}
		if seen[n] {
			continue
		}
		if died, down := s.keeper.down(n); down && !own(died) {
			at := s.since(died)
			add(record.Edge{From: at, To: at, Source: engineEvent})
			s.rec.Renewed = append(s.rec.Renewed, fmt.Sprintf("%s: over when it died at %s, and it was not back when the fault's time was over", n, instant(at)))
			continue
		}
		add(record.Edge{From: s.since(call.From), To: s.since(call.To), Source: "harness"})
	}
	if whole == nil {
		whole = &record.Edge{From: s.since(call.From), To: s.since(call.To), Source: "harness"}
	}
	return whole
}

// prove keeps what is known of effects; measured: only where something was measured.
func (s *step) prove(effects []target.Effect, measured bool) {
	for _, e := range effects {
		if !measured || e.Asked != "" {
			s.rec.Proof = append(s.rec.Proof, record.Proof{
				Node: e.Node.Name, What: e.Source + ": " + e.Proof, OK: !e.Short, Asked: e.Asked, Delivered: e.Delivered,
			})
		}
	}
}

// problem keeps what went wrong, in one line.
func (s *step) problem(err error) {
	text := oneLine(err)
	if s.rec.Problem != "" {
		text = s.rec.Problem + "; " + text
	}
	s.rec.Problem = text
}

func oneLine(err error) string {
	return strings.NewReplacer("\n  ", "; ", "\n", "; ").Replace(err.Error())
}

// since gives a moment of the engine's clock as an offset from zero.
func (s *step) since(t time.Time) time.Duration { return t.Sub(s.run.rec.Zero) }

// edge is the bracket around what was done to all nodes, relative to zero on the
// engine's clock. No effect, no edge.
func (s *step) edge(effects []target.Effect) *record.Edge {
	if len(effects) == 0 {
		return nil
	}
	e := &record.Edge{From: s.since(effects[0].From), To: s.since(effects[0].To), Source: effects[0].Source}
	for _, o := range effects[1:] {
		e.From, e.To = min(e.From, s.since(o.From)), max(e.To, s.since(o.To))
	}
	return e
}

func (s *step) tell(kind string, e *record.Edge) {
	if e == nil || s.Hooks.Event == nil {
		return
	}
	for _, n := range s.rec.Nodes {
		s.Hooks.Event(record.Event{At: e.To, Within: e.To - e.From, Kind: "fault." + kind, Node: n, Fault: s.plan.Name, Source: e.Source, Detail: s.plan.Verb})
	}
}

func nodesOf(effects []target.Effect) []target.Node {
	nodes := make([]target.Node, len(effects))
	for i, e := range effects {
		nodes[i] = e.Node
	}
	return nodes
}

func namesOf(nodes []target.Node) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}

func uniqueNames(effects []target.Effect) []string {
	names := namesOf(nodesOf(effects))
	sort.Strings(names)
	return slices.Compact(names)
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
