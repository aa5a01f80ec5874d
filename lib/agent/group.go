package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A Group is several agents on one machine that send one load side by side. Who dialled them closes them.
type Group []*Client

// together is how long agents have from the command to the first request: each must have it, and have made itself ready.
const together = 500 * time.Millisecond

// Load has the agents send a plan's load, each the requests of its part, from one zero on: see [Client.Load], of which this is the same to
// the caller. The plan's connections are shared out. Where one of them fails the others are broken off.
func (g Group) Load(ctx context.Context, p load.Plan, started func(zero time.Time), bin func(record.Bin)) (Sent, error) {
	if len(g) == 1 {
		return g[0].Load(ctx, p, started, bin)
	}
	if p.Connections < len(g) {
		return Sent{}, fmt.Errorf("agent: %d connections cannot be shared out among %d agents", p.Connections, len(g))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	offset, _ := g[0].Offset() // one machine, one clock
	times := p.Schedule.Timetable()
	p.At = time.Now().Add(together + offset - times.Due(0)).UnixNano()
	u := &union{account: new(record.Account), begun: make(map[int]bool), of: len(g), started: started}
	u.merger = record.NewMerger(times.Due, times.Count(), len(g), func(b record.Bin) {
		u.account.Add(&b)
		bin(b)
	})
	sent, errs := make([]Sent, len(g)), make([]error, len(g))
	var all sync.WaitGroup
	for i := range g {
		own := p
		own.Part = load.Part{Index: i, Of: len(g)}
		own.Connections = p.Connections / len(g)
		if i < p.Connections%len(g) {
			own.Connections++
		}
		all.Go(func() {
			sent[i], errs[i] = g[i].Load(ctx, own, func(zero time.Time) { cancelOn(cancel, u.start(i, zero)) }, func(b record.Bin) { cancelOn(cancel, u.add(i, b)) })
			if errs[i] != nil {
				cancel(fmt.Errorf("agent %d of %d: %w", i+1, len(g), errs[i]))
			}
		})
	}
	all.Wait()
	whole := sent[0]
	for _, s := range sent[1:] {
		whole.Beside(s.Generator)
		whole.Slowest = append(whole.Slowest, s.Slowest...)
	}
	whole.Slowest = record.SortSlowest(whole.Slowest)
	if ctx.Err() != nil { // the first thing that went wrong; the others were broken off
		whole.Complete = false
		return whole, context.Cause(ctx)
	}
	if err := u.account.Check(whole.Generator); err != nil {
		whole.Complete = false
		return whole, fmt.Errorf("agents: %w", err)
	}
	return whole, nil
}

func cancelOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// A union puts together what several agents tell.
type union struct {
	mu      sync.Mutex
	merger  *record.Merger
	account *record.Account
	zero    time.Time
	begun   map[int]bool
	of      int
	started func(time.Time)
}

// apart is how far the zeros of two agents on one machine may differ: each reads the clock on the wall once.
const apart = 5 * time.Millisecond

// start is told when an agent has begun. The caller is told once, when the last one has.
func (u *union) start(agent int, zero time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.begun) == 0 {
		u.zero = zero
	}
	if d := zero.Sub(u.zero).Abs(); d > apart {
		return fmt.Errorf("agent %d began %v off the others", agent+1, d)
	}
	u.begun[agent] = true
	if len(u.begun) == u.of {
		u.started(u.zero)
	}
	return nil
}

func (u *union) add(agent int, b record.Bin) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.merger.Add(agent, b); err != nil {
		return fmt.Errorf("agent %d: %w", agent+1, err)
	}
	return nil
}

// Close closes all of them.
func (g Group) Close() error {
	errs := make([]error, len(g))
	for i, c := range g {
		errs[i] = c.Close()
	}
	return errors.Join(errs...)
}
