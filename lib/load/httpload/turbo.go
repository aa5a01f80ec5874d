package httpload

import (
	"context"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// turbo sends the plan by a loop of our own: a goroutine for each connection, and one that wakes them.
//
//	pacer:   ── due(n) ── due(n+1) ──►  wakes the worker that was idle for the shortest time, or makes one
//	worker:  sends its request, and then at once the next one that is due; if there is none, it waits to be woken
//
// So when the target is slow, or the rate at the limit of the machine, requests go from hand to hand without anybody being
// woken. A request that is due while all workers are busy is no more than a number: what waits costs nothing.
//
// It makes next to no garbage. A heap that is let grow, as the attacker's has to be, would be filled by its sums over minutes, and look like
// a leak.
func (r *run) turbo(ctx context.Context) {
	defer gc.hold()()
	g := &gate{run: r, ctx: ctx, count: r.times.Count(), most: r.plan.Connections, burst: burst(r.plan), ordered: len(r.plan.Sessions) > 0}
	var pacing sync.WaitGroup
	pacing.Go(func() { g.pace(newPacer(ctx, r)) })
	pacing.Wait()
	g.workers.Wait()
	g.senders.close()
}

// turboGC is how much the heap may grow, in percent of what is in use, before it is collected. The runtime's floor is 4 MiB at 100, in
// proportion: at 25 it is 1 MiB, which is reached within seconds and not within minutes.
const turboGC = 25

// A collector is how eagerly this process collects, of which there is one for all loads that are under way.
type collector struct {
	mu     sync.Mutex
	held   int
	before int // what it was before the first one
}

var gc collector //nolint:gochecknoglobals // so is what it sets

// hold sets it for a load. The last load that lets go sets back what was before.
func (c *collector) hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held++; c.held == 1 {
		c.before = debug.SetGCPercent(turboGC)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held--; c.held == 0 {
			debug.SetGCPercent(c.before)
		}
	}
}

// A gate gives out the numbers of requests, each once, in order. Once the load is cancelled it gives out none: with a backlog of half a
// million, it would take seconds to tell one after the other that it is not sent.
type gate struct {
	run     *run
	ctx     context.Context //nolint:containedctx // that of the one call that it lives in
	count   uint64
	most    int  // workers
	burst   int  // of workers that are made at once
	ordered bool // requests of sessions are among them, which wait for one another
	workers sync.WaitGroup
	senders lifo // of workers that have ended

	mu     sync.Mutex
	next   uint64 // the first number that nobody has
	made   int    // workers
	idle   []*worker
	closed bool
	late   record.Sample // of the request that is told to be too late
}

// A worker sends one request after the other.
type worker struct {
	wake chan claim // closed: there is nothing left
}

// pace hands out requests when they are due, and returns when none is left.
func (g *gate) pace(p *pacer) {
	for n := uint64(0); n < g.count; {
		now, ok := p.until(g.run.times.Due(n))
		if !ok {
			break
		}
		var more bool
		if n, more = g.release(n, now); more {
			nap(quantum)
		}
	}
	g.finish()
}

// leastBurst bounds how many workers are made before those that are there have a chance to do the work. After a pause of the machine a
// thousand requests are due: to open a connection for each takes longer than a few take to send them all.
const leastBurst = 4

// burst is how many workers are made at once, with a quantum between: at least twice as many as the plan's rate can ever need.
func burst(p load.Plan) int {
	return max(leastBurst, int(math.Ceil(2*p.Schedule.Peak()*p.Part.Share()*quantum.Seconds())))
}

// release gives all requests that are due to idle workers, and makes workers where there are none. It returns the number of the
// first one that is not due; or of one that is, and more, when it is to be called again after a quantum.
func (g *gate) release(from uint64, now time.Duration) (next uint64, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.idle) > 0 || g.made < g.most {
		g.run.overslept(g.run.times.Due(from), now)
	}
	for from = max(from, g.next); from < g.count && g.run.times.Due(from) <= now; from++ {
	}
	for made := 0; g.next < from && g.ctx.Err() == nil; {
		free := len(g.idle)
		switch {
		case free > 0:
			w := g.idle[free-1]
			g.idle = g.idle[:free-1]
			w.wake <- g.take() // has room for one, and is empty
		case g.made < g.most && made == g.burst:
			return g.next, true
		case g.made < g.most:
			g.made++
			made++
			w, c := &worker{wake: make(chan claim, 1)}, g.take()
			g.workers.Go(func() { g.work(w, c) })
		default:
			// Those whose time is up while they wait for a connection do not wait for one to tell it.
			timeout := g.run.plan.Timeout
			if g.ordered || g.run.times.Due(g.next)+timeout > now {
				return from, false
			}
			c := g.take()
			c.free = c.due + timeout
			g.run.begin(&g.late, c, g.run.templates.Turn(c.seq).Request, now)
			g.run.tooLate(&g.late, c)
			g.run.account(g.ctx, &g.late)
		}
	}
	return from, false
}

// take is the next number, of a request that no connection had to come free for. The lock is held.
func (g *gate) take() claim {
	c := g.run.claim(g.next)
	g.next++
	return c
}

// work sends a request and then whatever is due.
func (g *gate) work(w *worker, c claim) {
	by := new(sender)
	for ok := true; ok; c, ok = g.claim(w) {
		g.run.process(g.ctx, c, by)
	}
	g.senders.push(by)
}

// claim is the worker's next request. It waits for one.
func (g *gate) claim(w *worker) (claim, bool) {
	g.mu.Lock()
	// Read under the lock: with an earlier time, the pacer could have left to us what we take for not yet due.
	now := g.run.now()
	if g.ctx.Err() == nil && g.next < g.count && g.run.times.Due(g.next) <= now {
		c := g.take()
		if len(g.idle) == 0 && g.made == g.most { // else the pacer was about to wake one, and late
			c.free = now
		}
		g.mu.Unlock()
		return c, true
	}
	if g.closed {
		g.mu.Unlock()
		return claim{}, false
	}
	g.idle = append(g.idle, w)
	g.mu.Unlock()
	c, ok := <-w.wake
	return c, ok
}

// finish lets every worker end once nothing is left for it.
func (g *gate) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, w := range g.idle {
		close(w.wake)
	}
	g.idle = nil
}
