package trial

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	armLimit    = time.Minute            // for all faults together
	renewLimit  = 10 * time.Second       // for one fault on one node
	undoAgain   = 100 * time.Millisecond // before what could not be undone is tried once more
	beatEvery   = time.Second            // the helpers are asked whether they are there
	lossGrace   = 500 * time.Millisecond // for the engine to say that a helper ended because its node did
	clockSlack  = time.Second            // by which an engine may date an event away from the call that caused it
	maxRenewals = 100                    // of one fault
	engineEvent = "engine event"
)

// A span is a stretch of time on the engine's clock.
type span struct{ From, To time.Time }

func (s span) has(t time.Time, slack time.Duration) bool {
	return !t.Before(s.From.Add(-slack)) && !t.After(s.To.Add(slack))
}

// A turn is what a fault in force has to know: that a node of its came back, or that a helper was lost.
type turn struct {
	node      string
	died, ran time.Time // on the engine's clock
	loss      *fault.Loss
}

// A keeper follows what happens to nodes and to their helpers, and tells the steps. Before it tells of a node's return,
// the helpers that were in it are forgotten, so that whoever puts something there gets new ones.
type keeper struct {
	*injector

	mu    sync.Mutex
	turns []turn
	more  chan struct{}        // closed when there is another turn
	dead  map[string]time.Time // nodes that died and are not back
	died  map[string]time.Time // when each died last
}

func newKeeper(in *injector) *keeper {
	return &keeper{injector: in, more: make(chan struct{}), dead: make(map[string]time.Time), died: make(map[string]time.Time)}
}

// keep works until ctx is done.
func (k *keeper) keep(ctx context.Context) {
	cursor := 0
	var losses []fault.Loss // of which it is not known yet whether their nodes died
	for {
		events, more := k.watch.since(&cursor)
		for _, e := range events {
			k.node(e)
		}
		var wait <-chan time.Time
		losses, wait = k.settle(losses)
		select {
		case <-more:
		case <-wait:
		case l := <-k.helpers.Lost():
			losses = append(losses, l)
		case <-ctx.Done():
			return
		}
	}
}

// beat asks the helpers whether they are there until ctx is done, so that it is known how long one that is lost was.
func (k *keeper) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.helpers.Ping(ctx, beatEvery)
		case <-ctx.Done():
			return
		}
	}
}

// node takes note of what the engine says of a node.
func (k *keeper) node(e target.NodeEvent) {
	switch e.Kind {
	case record.NodeDie:
		k.mu.Lock()
		k.dead[e.Node], k.died[e.Node] = e.At, e.At
		k.mu.Unlock()
	case record.NodeStart:
		k.mu.Lock()
		died, was := k.dead[e.Node]
		k.mu.Unlock()
		if !was {
			return
		}
		_ = k.helpers.Restarted(e.Node) // how a helper ends in a node that is no more does not matter
		k.mu.Lock()
		delete(k.dead, e.Node)
		k.mu.Unlock()
		k.tell(turn{node: e.Node, died: died, ran: e.At})
	}
}

// settle tells of the losses that no node's death explains, and returns those that have to wait, and until when.
func (k *keeper) settle(losses []fault.Loss) (wait []fault.Loss, until <-chan time.Time) {
	for _, l := range losses {
		k.mu.Lock()
		died, ever := k.died[l.Node]
		k.mu.Unlock()
		grace := l.Seen.Add(lossGrace)
		switch {
		case ever && span{k.engine(l.Alive), k.engine(grace)}.has(died, 0):
			k.helpers.Died(l.Node)
		case time.Now().Before(grace):
			wait = append(wait, l)
			until = time.After(time.Until(grace))
		default:
			k.tell(turn{node: l.Node, loss: &l})
		}
	}
	return wait, until
}

func (k *keeper) tell(t turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turns = append(k.turns, t) // bounded by the events that a watch keeps, and by the helpers that there are
	close(k.more)
	k.more = make(chan struct{})
}

// told is how much has been told so far.
func (k *keeper) told() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.turns)
}

// since returns what was told since cursor, moves that behind it, and says when there is more.
func (k *keeper) since(cursor *int) ([]turn, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	turns := k.turns[*cursor:]
	*cursor = len(k.turns)
	return turns, k.more
}

// down reports whether a node has died and is not back, and when it died, on the engine's clock.
func (k *keeper) down(node string) (time.Time, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.dead[node]
	return t, ok
}

// lately is when a node died last, on the engine's clock.
func (k *keeper) lately(node string) (time.Time, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.died[node]
	return t, ok
}

// takers are the verbs that take their nodes down: a node that comes back is the end of them there.
var takers = []string{"kill", "crash", "stop", "remove", "restart", "rolling-restart", "scale", "oom"}

// takesDown reports whether it was this fault that ended a node's process. A verb that the table does not have may
// have (a command, a plug-in's): then the node died while it was injected, and it cannot be renewed.
func (s *step) takesDown(died time.Time) bool {
	if !s.calls.has(died, clockSlack) {
		return false
	}
	_, renews := s.plan.Fault.Fault.(fault.Renewer)
	return slices.Contains(takers, s.plan.Verb) || !renews
}

// tookDown reports whether it was undoing this fault that ended a node's process, as it is for the nodes that a scale added.
func (s *step) tookDown(undo span, died time.Time) bool {
	return slices.Contains(takers, s.plan.Verb) && undo.has(died, clockSlack)
}

// follow deals with a turn while the fault is in force, and says why the fault ends with it, or "".
func (s *step) follow(ctx context.Context, t turn) string {
	switch {
	case t.loss != nil:
		if !slices.Contains(t.loss.Faults, s.plan.Name) {
			return ""
		}
		s.over[t.node] = record.Edge{From: s.since(s.engine(t.loss.Alive)), To: s.since(s.engine(t.loss.Seen)), Source: "helper"}
		why := ""
		if t.loss.Err != nil {
			why = ": " + t.loss.Err.Error()
		}
		s.problem(fmt.Errorf("what kept it up on %s was lost%s", t.node, why))
		return record.EndedLost
	case slices.Contains(s.hit, t.node):
		s.back(ctx, t)
	}
	for _, n := range s.hit {
		if _, over := s.over[n]; !over {
			return ""
		}
	}
	if s.came {
		return record.EndedBack
	}
	return record.EndedRestart
}

// back deals with the return of a node.
func (s *step) back(ctx context.Context, t turn) {
	if _, over := s.over[t.node]; over {
		return
	}
	ran := s.since(t.ran)
	r, renews := s.plan.Fault.Fault.(fault.Renewer)
	switch {
	case s.takesDown(t.died):
		s.over[t.node], s.came = record.Edge{From: ran, To: ran, Source: engineEvent}, true
		s.rec.Renewed = append(s.rec.Renewed, fmt.Sprintf("%s: came back at %s, before it was undone", t.node, instant(ran)))
	case renews:
		s.renew(ctx, r, t)
	case ran > s.rec.Onset.From: // else it hit the node as it is now
		s.over[t.node] = record.Edge{From: s.since(t.died), To: ran, Source: engineEvent}
		s.rec.Renewed = append(s.rec.Renewed, fmt.Sprintf("%s: over since the node's restart at %s", t.node, instant(ran)))
	}
}

// renew puts the fault in force again on a node that is back.
func (s *step) renew(ctx context.Context, r fault.Renewer, t turn) {
	ran := s.since(t.ran)
	end := func(err error) {
		s.over[t.node] = record.Edge{From: s.since(t.died), To: ran, Source: engineEvent}
		s.rec.Renewed = append(s.rec.Renewed, fmt.Sprintf("%s: over since the node's restart at %s", t.node, instant(ran)))
		s.problem(fmt.Errorf("put it in force again on %s: %w", t.node, err))
	}
	if len(s.rec.Renewed) >= maxRenewals {
		end(fmt.Errorf("its nodes have restarted %d times", maxRenewals))
		return
	}
	var node *target.Node
	for _, n := range s.cluster.Nodes() {
		if n.Name == t.node {
			node = &n
		}
	}
	if node == nil {
		end(fmt.Errorf("the node is gone"))
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, renewLimit, fmt.Errorf("it took over %v", renewLimit))
	defer cancel()
	effects, err := r.Renew(ctx, s.site, *node)
	if err == nil && len(effects) == 0 {
		err = fmt.Errorf("nothing was hit")
	}
	if err != nil {
		if _, down := s.keeper.down(t.node); down {
			return // it died once more: its next return decides
		}
		end(err)
		return
	}
	s.watch.know(nodesOf(effects))
	s.prove(effects, true)
	again := s.edge(effects).To - ran
	s.rec.Renewed = append(s.rec.Renewed, fmt.Sprintf("%s: in force again %s after its restart at %s", t.node, instant(max(again, 0)), instant(ran)))
}

// instant writes a time of the trial for a sentence: "12.40 s".
func instant(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s" }
