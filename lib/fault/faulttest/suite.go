// Package faulttest is the conformance suite of faults: what every verb promises, whatever it does. Its effect is seen, on
// the nodes that it hits and on no other; it is proven; it is undone, twice if it must; cancelled midway nothing of it stays; a
// node that dies and a helper that is killed meanwhile keep nobody waiting; and two of a kind on one node compose.
//
// A verb is a [Case]; [Run] tries it. What the suite cannot know the case says: how to bring up a target, and what the
// effect looks like to a client. docker_engine_test.go has the table of the verbs that tutti comes with, on an engine.
package faulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// undoAgain is the pause before what could not be undone is undone again.
const undoAgain = time.Second

// A Case is one verb, and how to try it.
type Case struct {
	Kind   fault.Kind
	Params fault.Params

	// New returns a target that is as it should be. It is called for each test; they may share a cluster.
	New func(t *testing.T) *Bed
	// See reports whether the effect is there on a node, as a client of it sees it. It is asked again until it says what
	// it has to, so that one that is right in most tries will do. Nil: the proof has to do.
	See func(ctx context.Context, b *Bed, n target.Node) bool
	// Load is what goes on while the fault is in force, so that it has something to act on. It returns when ctx is
	// done. Nil: nothing.
	Load func(ctx context.Context, b *Bed)
	// Hold is how long it is in force; zero is not at all.
	Hold time.Duration
	// Limit bounds each call, and each wait for what is to be seen; zero is 30 s.
	Limit time.Duration

	// Once says that a node can have it only once at a time: there is no composing.
	Once bool
	// Down says that a node which has it is dead: it cannot die once more.
	Down bool
	// Idle says that there is nothing here for it to act on: that too little was delivered has to be said then.
	Idle bool
	// Quick leaves out all but the effect, its undoing, and cancelling.
	Quick bool
}

// Run tries a verb.
func Run(t *testing.T, c Case) {
	t.Helper()
	if c.Limit == 0 {
		c.Limit = 30 * time.Second
	}
	for _, one := range []struct {
		name string
		skip string
		test func(*trial)
	}{
		{"Effect", "", (*trial).effect},
		{"Cancelled", "", (*trial).cancelled},
		{"NodeDies", c.unless(c.Down, "a node that has it is dead"), (*trial).nodeDies},
		{"HelperKilled", c.unless(len(c.Kind.Places) == 0, "it has no helper"), (*trial).helperKilled},
		{"Two", c.unless(c.Once || c.Kind.NoFor, "a node has it once at a time"), (*trial).two},
	} {
		t.Run(one.name, func(t *testing.T) {
			if one.skip != "" {
				t.Skip(one.skip)
			}
			one.test(c.start(t))
		})
	}
}

func (c Case) unless(is bool, why string) string {
	if c.Quick {
		return "left out: this is the quick suite"
	}
	if is {
		return why
	}
	return ""
}

// A trial is one test of one case.
type trial struct {
	*testing.T
	Case
	bed   *Bed
	fault fault.Fault
}

func (c Case) start(t *testing.T) *trial {
	t.Helper()
	f, err := c.Kind.New(c.Params)
	if err != nil {
		t.Fatal(err)
	}
	r := &trial{T: t, Case: c, bed: c.New(t), fault: f}
	if len(r.bed.Nodes()) == 0 {
		t.Fatal("the case has no node to hit")
	}
	r.sees(false, "before")
	return r
}

func (r *trial) within() context.Context {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), r.Limit)
	r.Cleanup(cancel)
	return ctx
}

// arm prepares the fault as the injector does, and checks that nothing of it is in force.
func (r *trial) arm(s *fault.Site) {
	r.Helper()
	a, ok := r.fault.(fault.Armer)
	if !ok {
		return
	}
	if err := a.Arm(r.within(), s, r.bed.Nodes()); err != nil {
		r.Fatalf("arm: %v", err)
	}
	r.sees(false, "armed")
}

// inject puts it in force.
func (r *trial) inject(s *fault.Site) ([]target.Effect, fault.Revert) {
	r.Helper()
	effects, revert, err := r.fault.Inject(r.within(), s, r.bed.Nodes())
	if err != nil {
		if revert != nil {
			_, back := revert(r.within())
			err = errors.Join(err, back)
		}
		r.Fatalf("inject: %v", err)
	}
	return effects, revert
}

// sees waits until the effect is there on every node that is hit, or on none, and never on another one.
func (r *trial) sees(want bool, when string) {
	r.Helper()
	if r.See == nil {
		return
	}
	ctx := r.within()
	for _, n := range r.bed.Nodes() {
		for r.See(ctx, r.bed, n) != want {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				r.Fatalf("%s: of the effect on %s is seen %v, want %v", when, n.Name, !want, want)
			}
		}
	}
}

// others checks that the other nodes have nothing of it. One look may be off, three are not.
func (r *trial) others(when string) {
	r.Helper()
	if r.See == nil {
		return
	}
	for _, n := range r.bed.Others() {
		off := 0
		for off < 3 && r.See(r.within(), r.bed, n) {
			off++
		}
		if off == 3 {
			r.Errorf("%s: the effect is on %s too", when, n.Name)
		}
	}
}

// hold lets it be in force, with load.
func (r *trial) hold() {
	if r.Hold == 0 && r.Load == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.within(), r.Hold)
	defer cancel()
	if r.Load != nil {
		r.Load(ctx, r.bed)
	}
	<-ctx.Done()
}

// effect is the whole life of a fault.
func (r *trial) effect() {
	s := r.bed.Site("first")
	r.arm(s)
	hit := r.bed.Nodes()
	effects, revert := r.inject(s)
	r.happened(effects)
	if !r.Kind.NoFor {
		r.sees(true, "in force")
		r.others("in force")
		r.hold()
	}
	if revert == nil {
		r.Log("there is nothing to undo")
		r.proven(hit, effects)
		return
	}
	back, err := revert(r.within())
	if err != nil {
		r.Errorf("undo: %v", err)
	}
	r.happened(back)
	r.proven(hit, slices.Concat(effects, measured(back)))
	r.sees(false, "undone")
	if _, err := revert(r.within()); err != nil {
		r.Errorf("undo twice: %v", err)
	}
	r.sees(false, "undone twice")
}

func measured(effects []target.Effect) []target.Effect {
	return slices.DeleteFunc(slices.Clone(effects), func(e target.Effect) bool { return e.Asked == "" })
}

// happened checks that effects say when, of what and how we know.
func (r *trial) happened(effects []target.Effect) {
	r.Helper()
	for _, e := range effects {
		if e.Node.Name == "" || e.From.IsZero() || e.To.Before(e.From) || e.Source == "" || e.Proof == "" {
			r.Errorf("an effect does not say all: %+v", e)
		}
	}
}

// proven checks that there is a proof for each node, and none that says too little was delivered.
func (r *trial) proven(hit []target.Node, effects []target.Effect) {
	r.Helper()
	of := make(map[string]bool)
	short := false
	for _, e := range effects {
		short = short || e.Short
		of[e.Node.Name] = true
		what := strings.TrimSpace(fmt.Sprintf("%s: %s; %s → %s", e.Source, e.Proof, e.Asked, e.Delivered))
		r.Logf("%s: %s", e.Node.Name, what)
		if e.Short && !r.Idle {
			r.Errorf("%s: too little was delivered: %s", e.Node.Name, what)
		}
	}
	for _, n := range hit {
		if !r.Kind.WholeService && !of[n.Name] {
			r.Errorf("there is no proof for %s", n.Name)
		}
	}
	if len(of) == 0 {
		r.Error("there is no proof")
	}
	if r.Idle && !short {
		r.Error("there was nothing for it to act on, and nobody says so")
	}
}

// cancelled gives it up at several moments: before it begins, and midway.
func (r *trial) cancelled() {
	for _, after := range []time.Duration{0, 2 * time.Millisecond, 20 * time.Millisecond} {
		s := r.bed.Site("cancelled-" + after.String())
		r.arm(s)
		ctx, cancel := context.WithTimeoutCause(r.within(), after, errors.New("the user has had enough"))
		if after == 0 {
			cancel()
		}
		_, revert, err := r.fault.Inject(ctx, s, r.bed.Nodes())
		if revert != nil {
			// As the injector does: what is still on its way when it is undone wants undoing once more. What was never done
			// may not want to be undone, but that has to be true.
			if _, back := revert(r.within()); back != nil {
				r.Logf("after %v: undone with %v", after, back)
				time.Sleep(undoAgain)
				_, _ = revert(r.within())
			}
		}
		cancel()
		r.Logf("after %v: %v", after, err)
		r.sees(false, fmt.Sprintf("cancelled after %v", after))
	}
}

// nodeDies kills a node that has it. The Revert need not succeed, but has to return; then the node is as it was.
func (r *trial) nodeDies() {
	k, ok := r.bed.Cluster.(target.Killer)
	if !ok {
		r.Skip("the cluster cannot kill")
	}
	s := r.bed.Site("dying")
	r.arm(s)
	_, revert := r.inject(s)
	n := r.bed.Nodes()[0]
	if _, err := k.Kill(r.within(), n); err != nil {
		r.Errorf("kill %s: %v", n.Name, err)
	}
	r.bed.helpers.Died(n.Name) // as the injector does
	if revert != nil {
		r.returns(revert)
	}
	if _, err := k.Start(r.within(), n); err != nil {
		r.Logf("start %s: %v", n.Name, err) // the Revert has done so
	}
	if err := r.bed.helpers.Restarted(n.Name); err != nil {
		r.Logf("its helpers: %v", err)
	}
	r.sees(false, "undone, and the node back")
}

// returns undoes it within the limit, and no more is asked.
func (r *trial) returns(revert fault.Revert) {
	r.Helper()
	ctx := r.within()
	done := make(chan error, 1)
	go func() {
		_, err := revert(ctx)
		done <- err
	}()
	select {
	case err := <-done:
		r.Logf("undone with %v", err)
	case <-time.After(r.Limit + 5*time.Second):
		r.Fatal("the Revert does not return")
	}
}

// helperKilled kills what keeps it up. That is told, and ends it, or the Revert does.
func (r *trial) helperKilled() {
	s := r.bed.Site("lost")
	r.arm(s)
	_, revert := r.inject(s)
	if r.bed.entered.kill() == 0 {
		if revert != nil {
			r.returns(revert)
		}
		r.Skip("it is done without a helper here")
	}
	select {
	case l := <-r.bed.helpers.Lost():
		if !slices.Contains(l.Faults, "lost") {
			r.Errorf("of the loss of %v is told", l.Faults)
		}
	case <-time.After(r.Limit):
		r.Error("nobody is told that the helper is gone")
	}
	if revert != nil {
		r.returns(revert)
	}
	r.sees(false, "lost and undone")
}

// two puts it twice on one node: the first stays when the second ends.
func (r *trial) two() {
	a, b := r.bed.Site("first"), r.bed.Site("second")
	r.arm(a)
	r.arm(b)
	_, first := r.inject(a)
	_, second := r.inject(b)
	r.sees(true, "both in force")
	for _, step := range []struct {
		undo fault.Revert
		left bool
		when string
	}{{second, true, "the first is left"}, {first, false, "none is left"}} {
		if step.undo == nil {
			continue
		}
		if _, err := step.undo(r.within()); err != nil {
			r.Errorf("undo: %v", err)
		}
		r.sees(step.left, step.when)
	}
}
