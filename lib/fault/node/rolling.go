package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// rollingReady bounds how long the target may take to answer again after each node's start.
	rollingReady = 60 * time.Second
	// rollingStart bounds the start of a node whose stop went wrong.
	rollingStart = 10 * time.Second
)

// RollingRestart restarts nodes one after the other: the next one goes down when the target answers again. It is over
// when it has happened.
type RollingRestart struct {
	Pause time.Duration // between one node's return and the next one's stop
}

var (
	_ fault.Fault   = RollingRestart{}
	_ fault.Lasting = RollingRestart{}
)

// RollingRestartKind is the verb rolling-restart.
func RollingRestartKind() fault.Kind {
	return fault.Kind{
		Summary: "stop and start one at a time, the target ready through its ingress before the next",
		Needs:   target.CanStop,
		Means:   "the service's stop signal, then a start, by the driver, one node after the other",
		NoFor:   true,
		Silent:  true,
		Params:  []fault.Param{{Name: "pause", Type: fault.Duration, Summary: "between one node's return and the next one's stop; default 0s"}},
		New: func(p fault.Params) (fault.Fault, error) {
			return RollingRestart{Pause: p.Duration("pause", 0)}, nil
		},
	}
}

// Inject returns when the first node is gone. All else belongs to the Revert, which the injector calls at once: if a node
// does not come back, or s.Over is closed before all had their turn, it leaves those after it alone and says so, and a
// further call brings back what is down.
func (f RollingRestart) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	k, ok := s.Cluster.(target.Stopper)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "rolling-restart")
	}
	if s.Ready == nil {
		return nil, nil, errors.New("rolling-restart: the trial has no way to ask whether the target answers")
	}
	if len(nodes) == 0 {
		return nil, nil, errors.New("rolling-restart: no node to restart")
	}
	effects, _, err := Stop{Grace: -1}.Inject(ctx, s, nodes[:1])
	r := &rolling{RollingRestart: f, stopper: k, ready: s.Ready, over: s.Over, nodes: nodes, down: true, broken: err != nil}
	if err == nil {
		r.stopped = effects[0]
	}
	return effects, r.revert, err
}

// Lasts is the longest turn of every node: its stop, its start, the target's answer, and the pause.
func (f RollingRestart) Lasts(nodes int, grace time.Duration) time.Duration {
	return time.Duration(nodes) * (grace + rollingStart + rollingReady + f.Pause)
}

// rolling is how far a rolling restart has come.
type rolling struct {
	RollingRestart
	stopper target.Stopper
	ready   func(context.Context) error
	over    <-chan struct{} // closed: nothing more goes down; nil: never
	nodes   []target.Node

	next    int           // the node whose turn it is
	down    bool          // it is
	stopped target.Effect // how it went down
	broken  bool          // something went wrong: nothing more goes down
	back    []target.Effect
}

// revert brings back the node that is down and then goes through the others. The fault ends when the last node runs
// again: that is when all its effects are.
func (r *rolling) revert(ctx context.Context) ([]target.Effect, error) {
	var err, late error
	for err == nil && r.next < len(r.nodes) && (r.down || !r.broken) {
		if late = r.late(); late != nil {
			r.broken = true
			break
		}
		err = r.turn(ctx)
	}
	if err != nil {
		r.broken = true
		err = fmt.Errorf("%s: %w%s", r.nodes[min(r.next, len(r.nodes)-1)].Name, err, r.left())
	}
	effects := make([]target.Effect, len(r.back))
	for i, e := range r.back {
		last := r.back[len(r.back)-1]
		e.From, e.To = last.From, last.To
		effects[i] = e
	}
	return effects, errors.Join(err, late)
}

// late says that nothing more may go down, and what was to.
func (r *rolling) late() error {
	if r.down {
		return nil
	}
	select {
	case <-r.over:
		var names []string
		for _, n := range r.nodes[r.next:] {
			names = append(names, n.Name)
		}
		return fmt.Errorf("measured load was over before all had their turn; %d of %d nodes left alone: %s", len(names), len(r.nodes), strings.Join(names, ", "))
	default:
		return nil
	}
}

// turn restarts one node, as far as that is not done.
func (r *rolling) turn(ctx context.Context) error {
	n := r.nodes[r.next]
	if !r.down {
		stopped, err := r.stopper.Stop(ctx, n, -1)
		r.down = true // if it failed, it may have come about all the same
		if err != nil {
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollingStart)
			defer cancel()
			_, back := r.stopper.Start(own, n)
			r.down = back != nil
			return errors.Join(err, back)
		}
		r.stopped = stopped
	}
	started, err := r.stopper.Start(ctx, n)
	if err != nil {
		return fmt.Errorf("it did not come back: %w", err)
	}
	r.down = false
	if r.broken { // it was down when that happened, and is not now
		r.back = append(r.back, started)
		return nil
	}
	began := time.Now()
	wait, cancel := context.WithTimeoutCause(ctx, rollingReady, fmt.Errorf("not within %v", rollingReady))
	err = r.ready(wait)
	cancel()
	if err != nil {
		return fmt.Errorf("the target does not answer after its return: %w", err)
	}
	started.Asked = "stopped and started in its turn, the target ready before the next"
	started.Delivered = fmt.Sprintf("node %d of %d; down for %v, the target answered %v after", r.next+1, len(r.nodes),
		started.To.Sub(r.stopped.From).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	r.back = append(r.back, started)
	if r.next++; r.next < len(r.nodes) {
		return r.rest(ctx)
	}
	return nil
}

// rest is the pause before the next node. It ends early when there will be none.
func (r *rolling) rest(ctx context.Context) error {
	wait := time.NewTimer(r.Pause)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.over:
	case <-ctx.Done():
		return fmt.Errorf("the pause before it was cut short: %w", context.Cause(ctx))
	}
	return nil
}

// left says which nodes were not restarted.
func (r *rolling) left() string {
	var names []string
	for _, n := range r.nodes[min(r.next+1, len(r.nodes)):] {
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return ""
	}
	return "; left alone: " + strings.Join(names, ", ")
}
