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

// turbo sends the plan by a loop of our own: a sender for each connection, workers that each have one, and one goroutine that wakes them.
//
//	pacer:   ── due(n) ── due(n+1) ──►  gives the sender that was idle for the shortest time, or a new one, to a worker
//	worker:  sends its request, and then at once the next one that is due; if there is none, it lays the sender aside and waits to be woken
//
// When the target is slow, or the rate at the limit of the machine, requests go from hand to hand without anybody being
// woken. A request that is due while all senders are busy is no more than a number: what waits costs nothing. One whose answer is long in
// coming is parked, and needs no worker until it comes: so ten thousand that are open at a target that stalls take little more than their
// connections.
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
	for _, by := range g.spare {
		by.close()
	}
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
	most    int            // senders
	burst   int            // of senders that are made at once
	ordered bool           // requests of sessions are among them, which wait for one another
	workers sync.WaitGroup // and requests that are parked

	mu     sync.Mutex
	next   uint64 // the first number that nobody has
	made   int    // senders
	spare  []*sender
	idle   []chan work // of workers
	closed bool
	late   record.Sample // of the request that is told to be too late
}

// Work is a request, and what to send it by.
type work struct {
	claim claim
	by    *sender
}

// mostIdle bounds how many workers wait for work, each with its stack.
const mostIdle = 256

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

// leastBurst bounds how many senders are made before those that are there have a chance to do the work. After a pause of the machine a
// thousand requests are due: to open a connection for each takes longer than a few take to send them all.
const leastBurst = 4

// burst is how many senders are made at once, with a quantum between: at least twice as many as the plan's rate can ever need.
func burst(p load.Plan) int {
	return max(leastBurst, int(math.Ceil(2*p.Schedule.Peak()*p.Part.Share()*quantum.Seconds())))
}

// release has all requests that are due sent by what senders are spare, and makes senders where none are. It returns the number of the
// first one that is not due; or of one that is, and more, when it is to be called again after a quantum.
func (g *gate) release(from uint64, now time.Duration) (next uint64, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.spare) > 0 || g.made < g.most {
		g.run.overslept(g.run.times.Due(from), now)
	}
	for from = max(from, g.next); from < g.count && g.run.times.Due(from) <= now; from++ {
	}
	for made := 0; g.next < from && g.ctx.Err() == nil; {
		free := len(g.spare)
		switch {
		case free > 0:
			by := g.spare[free-1]
			g.spare = g.spare[:free-1]
			g.start(work{g.take(), by})
		case g.made < g.most && made == g.burst:
			return g.next, true
		case g.made < g.most:
			g.made++
			made++
			by := new(sender)
			by.ready = func() { g.resume(by) }
			g.start(work{g.take(), by})
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

// start gives work to a worker. The lock is held.
func (g *gate) start(w work) {
	if n := len(g.idle); n > 0 {
		g.idle[n-1] <- w // has room for one, and is empty
		g.idle = g.idle[:n-1]
		return
	}
	g.workers.Add(1)
	go g.work(w, nil)
}

// work is a worker's life: it does what it is given, and then whatever is due, or comes at wake, if it has waited before.
func (g *gate) work(w work, wake chan work) {
	for ok := true; ok; w, ok = g.more(w.by, &wake) {
		if g.run.process(g.ctx, w.claim, w.by) {
			return // its place among the workers is that of the parked request
		}
	}
	g.workers.Done()
}

// resume is the life of a worker that begins with a parked request. The place among the workers is that request's.
func (g *gate) resume(by *sender) {
	g.run.resume(g.ctx, by)
	var wake chan work
	if w, ok := g.more(by, &wake); ok {
		g.work(w, wake)
		return
	}
	g.workers.Done()
}

// more is the worker's next work. It waits for some, at wake, unless enough others do.
func (g *gate) more(by *sender, wake *chan work) (work, bool) {
	g.mu.Lock()
	// Read under the lock: with an earlier time, the pacer could have left to us what we take for not yet due.
	now := g.run.now()
	if g.ctx.Err() == nil && g.next < g.count && g.run.times.Due(g.next) <= now {
		c := g.take()
		if len(g.spare) == 0 && g.made == g.most { // else the pacer was about to wake one, and late
			c.free = now
		}
		g.mu.Unlock()
		return work{c, by}, true
	}
	g.spare = append(g.spare, by)
	if g.closed || len(g.idle) >= mostIdle {
		g.mu.Unlock()
		return work{}, false
	}
	if *wake == nil {
		*wake = make(chan work, 1)
	}
	g.idle = append(g.idle, *wake)
	g.mu.Unlock()
	w, ok := <-*wake
	return w, ok
}

// finish lets every worker end once nothing is left for it.
func (g *gate) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, wake := range g.idle {
		close(wake)
	}
	g.idle = nil
}
