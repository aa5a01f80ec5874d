package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	stutterRun    = 200 * time.Millisecond
	stutterFreeze = 800 * time.Millisecond
	// stutterCall bounds one freeze or thaw within the cycle.
	stutterCall = 10 * time.Second
	// stutterTolerance is how far the share of time frozen may be from what was asked, as a ratio of all the time.
	stutterTolerance = 0.1
)

// Stutter freezes nodes and lets them run, in turn. Undone, they run.
type Stutter struct {
	Run, Freeze time.Duration // in each cycle; the freeze comes first
}

var _ fault.Fault = Stutter{}

// StutterKind is the verb stutter.
func StutterKind() fault.Kind {
	return fault.Kind{
		Summary: "frozen and running in turn",
		Needs:   target.CanPause,
		Means:   "frozen by the driver (cgroup freezer or SIGSTOP) in a duty cycle",
		Params: []fault.Param{
			{Name: "run", Type: fault.Duration, Summary: "how long it runs in each cycle; default 200ms"},
			{Name: "freeze", Type: fault.Duration, Summary: "how long it is frozen in each cycle; default 800ms"},
		},
		New: func(p fault.Params) (fault.Fault, error) {
			f := Stutter{Run: p.Duration("run", stutterRun), Freeze: p.Duration("freeze", stutterFreeze)}
			if f.Run <= 0 || f.Freeze <= 0 {
				return nil, errors.New("stutter: `run` and `freeze` must be above 0; a node that is frozen all the time is `pause`")
			}
			return f, nil
		},
	}
}

// Inject returns when every node is known to be frozen for the first time. The cycles go on until the Revert; a call
// that fails ends that node's, and the Revert tells of it, unless the node has died: then the fault was over there.
func (f Stutter) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	p, ok := s.Cluster.(target.Pauser)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "stutter")
	}
	effects, err := fault.Each(ctx, nodes, p.Pause)
	// The cycles are the fault's: they last until the Revert, whoever bounds the Inject.
	cycling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	of := make(map[string]*stutter, len(nodes))
	for _, e := range effects {
		c := &stutter{Stutter: f, pauser: p, node: e.Node, frozen: true, began: e.To, died: s.Died}
		of[e.Node.Name] = c
		if err == nil { // else it is undone at once
			running.Go(func() { c.cycle(cycling) })
		}
	}
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		stop()
		running.Wait() // no longer than one call
		return fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
			c, ok := of[n.Name]
			if !ok { // its first freeze failed, and may have come about all the same
				return p.Unpause(ctx, n)
			}
			return c.end(ctx)
		})
	}, err
}

// stutter is the cycle of one node. Its goroutine owns it, and the Revert afterwards.
type stutter struct {
	Stutter
	pauser target.Pauser
	node   target.Node
	began  time.Time                           // of the first freeze
	died   func(node string) (time.Time, bool) // may be nil
	frozen bool                                // now

	cycles int           // freezes that have ended
	held   time.Duration // frozen in them
	since  time.Time     // the latest freeze, if it is not the first
	took   time.Duration // from the call to it
	thaw   target.Effect // the latest thaw
	err    error         // what ended the cycle
	unsure bool          // a freeze failed, and may have come about all the same
	last   *target.Effect
}

// cycle keeps to the grid of the first freeze, so that slow calls do not add up. A freeze that comes late ends late, so
// that it has its length, but for a call so slow that less than half of the run would be left.
func (c *stutter) cycle(ctx context.Context) {
	c.since = c.began
	from := time.Now()
	for start := from; ; start = start.Add(c.Run + c.Freeze) {
		if !until(ctx, start) {
			return
		}
		var late time.Duration // the first freeze is what the grid is laid by
		if !c.frozen {
			called := time.Now()
			if !c.freeze(ctx) {
				return
			}
			// Effects are on the engine's clock and the grid is on ours: only spans are the same on both.
			late = called.Sub(start) + c.took
		}
		if !until(ctx, start.Add(c.Freeze+min(max(late, 0), c.Run/2))) {
			return
		}
		if !c.run(ctx) {
			return
		}
		// A cycle that a slow call has eaten is left out.
		start = start.Add(time.Since(start).Truncate(c.Run + c.Freeze))
	}
}

// freeze and run are not cut short by the Revert: then it would not know what the node is.
func (c *stutter) freeze(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stutterCall)
	defer cancel()
	e, err := c.pauser.Pause(ctx, c.node)
	if err != nil {
		c.err, c.unsure = fmt.Errorf("freeze %d: %w", c.cycles+1, err), true
		return false
	}
	c.frozen, c.since, c.took = true, e.To, e.To.Sub(e.From)
	return true
}

func (c *stutter) run(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stutterCall)
	defer cancel()
	if err := c.thawed(ctx); err != nil {
		c.err = fmt.Errorf("end of freeze %d: %w", c.cycles+1, err)
		return false
	}
	return true
}

func (c *stutter) thawed(ctx context.Context) error {
	e, err := c.pauser.Unpause(ctx, c.node)
	if err != nil {
		return err
	}
	c.frozen, c.thaw = false, e
	c.cycles++
	c.held += e.From.Sub(c.since)
	return nil
}

// end lets the node run, and tells what the cycles came to. The fault ends with the last freeze.
func (c *stutter) end(ctx context.Context) (target.Effect, error) {
	if c.last != nil {
		return *c.last, nil
	}
	switch {
	case c.frozen:
		if c.since.IsZero() {
			c.since = c.began
		}
		if err := c.thawed(ctx); err != nil {
			return target.Effect{}, errors.Join(c.err, err)
		}
	case c.unsure:
		if _, err := c.pauser.Unpause(ctx, c.node); err != nil {
			return target.Effect{}, errors.Join(c.err, err)
		}
	}
	if c.err != nil && c.hasDied() {
		c.err = nil // that ended its cycles, and the fault on it
	}
	e := c.thaw
	e.Asked, e.Delivered, e.Short = c.proof(e.From)
	c.last = &e
	return e, c.err
}

// hasDied reports whether the node has died since it was first frozen.
func (c *stutter) hasDied() bool {
	if c.died == nil {
		return false
	}
	at, ok := c.died(c.node.Name)
	return ok && at.After(c.began)
}

// proof compares how long the node was frozen until the end with what the cycles should have come to by then.
func (c *stutter) proof(end time.Time) (asked, delivered string, short bool) {
	period := c.Run + c.Freeze
	all := max(end.Sub(c.began), 1)
	rest := all % period
	whole := float64(all-rest) / float64(period) // cycles
	want := whole*float64(c.Freeze) + float64(min(rest, c.Freeze))
	wanted, got := want/float64(all), float64(c.held)/float64(all)
	return fmt.Sprintf("frozen for %v of every %v", c.Freeze, period),
		fmt.Sprintf("frozen for %.1f%% of %v in %d cycles, of %.1f%% by then", 100*got, all.Round(time.Millisecond), c.cycles, 100*wanted),
		math.Abs(got-wanted) > stutterTolerance
}

// until reports whether the time came; false means that ctx was done first.
func until(ctx context.Context, at time.Time) bool {
	wait := time.NewTimer(time.Until(at))
	defer wait.Stop()
	select {
	case <-wait.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
