package wire

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A pool has the connections to one address, and the requests that wait for one. A request waits
// in starters if a connection is being made on its account, else in queue, because
// there are as many as there may be. The first of all gets what is free first, whoever made it.
//
// Invariants: while anyone waits, none is idle; while anyone is in queue,
// len(all) + dialing is MaxConns; starters came before those in queue.
type pool struct {
	t       *Transport
	address string

	mu       sync.Mutex
	closed   bool
	all      []*conn
	idle     []*conn // the last one put is the first one taken, so that those not needed grow old
	dialing  int
	starters list.List // of *waiter
	queue    list.List // of *waiter
	nodes    map[string]*node
	tally    Address
}

// A waiter is a request that waits.
type waiter struct {
	in    *list.List // nil once it has been granted something, or has given up
	place *list.Element
	grant chan grant    // has room for one
	limit time.Duration // how long it waits
}

// A grant is a connection, or what kept the waiter's own one from being made.
type grant struct {
	c   *conn
	err error
}

func newPool(t *Transport, address string) *pool {
	return &pool{t: t, address: address, nodes: make(map[string]*node)}
}

// get returns a connection for one exchange. It waits for one until limit.
func (p *pool) get(ctx context.Context, now, limit time.Duration) (*conn, *Error) {
	if ctx.Err() != nil {
		e := p.refusal(doingWait, ctx.Err(), Canceled)
		e.cut(ctx)
		return nil, p.failed(e)
	}
	if now >= limit {
		return nil, p.failed(p.refusal(doingWait, os.ErrDeadlineExceeded, Timeout))
	}
	for {
		c, w, e := p.claim(now, limit)
		switch {
		case e != nil:
			return nil, e
		case w != nil:
			return p.wait(ctx, w, now)
		case c.quiet == nil || c.quiet():
			return c, nil
		}
		p.discard(c)
	}
}

// discard closes a connection that served for nothing since it was idle.
func (p *pool) discard(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(c)
}

// claim takes an idle connection, or makes a waiter.
func (p *pool) claim(now, limit time.Duration) (*conn, *waiter, *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, p.failedLocked(p.refusal(doingWait, ErrClosed, Canceled))
	}
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle[n-1], p.idle = nil, p.idle[:n-1]
		if c.expires > now && now-c.idleSince < p.t.o.MaxIdle {
			c.busy = true
			return c, nil, nil
		}
		p.remove(c)
	}
	w := &waiter{grant: make(chan grant, 1), limit: limit}
	switch {
	case len(p.all)+p.dialing < p.t.o.MaxConns:
		p.dial(w)
	case p.queue.Len() >= p.t.o.MaxWaiting:
		err := fmt.Errorf("%w, and %d requests wait already", ErrLimit, p.queue.Len())
		return nil, nil, p.failedLocked(p.refusal(doingWait, err, Local))
	default:
		w.enter(&p.queue)
	}
	p.tally.Waited++
	return nil, w, nil
}

// wait waits for the waiter's grant.
func (p *pool) wait(ctx context.Context, w *waiter, begun time.Duration) (*conn, *Error) {
	timer := time.NewTimer(w.limit - begun)
	defer timer.Stop()
	var g grant
	select {
	case g = <-w.grant:
	case <-timer.C:
		g.err = os.ErrDeadlineExceeded
	case <-ctx.Done():
		if g.err = context.Canceled; errors.Is(ctx.Err(), context.DeadlineExceeded) {
			g.err = os.ErrDeadlineExceeded
		}
	case <-p.t.done:
		g.err = context.Canceled
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	waited := p.t.now() - begun
	p.tally.Wait += waited
	p.tally.LongestWait = max(p.tally.LongestWait, waited)
	if g.c != nil {
		return g.c, nil
	}
	doing := doingConnect
	if w.in == &p.queue {
		doing = doingWait
		if errors.Is(g.err, os.ErrDeadlineExceeded) {
			g.err = fmt.Errorf("%w until the deadline: %w", ErrLimit, g.err)
		}
	}
	if !w.leave() {
		select {
		case late := <-w.grant: // it came as we gave up
			if late.c != nil {
				p.give(late.c)
			}
		default: // it is what we have
		}
	}
	e := p.refusal(doing, g.err, KindOf(g.err, false))
	if e.Kind == Canceled {
		e.cut(ctx)
	}
	return nil, p.failedLocked(e)
}

func (w *waiter) enter(l *list.List) { w.in, w.place = l, l.PushBack(w) }

// leave reports whether w was waiting, and makes it wait no more.
func (w *waiter) leave() bool {
	if w.in == nil {
		return false
	}
	w.in.Remove(w.place)
	w.in, w.place = nil, nil
	return true
}

// restart has a connection made for a starter whose own one was given to a starter before it, when that one's is not to come. The lock
// is held.
func (p *pool) restart() {
	for !p.closed && p.starters.Len() > p.dialing && len(p.all)+p.dialing < p.t.o.MaxConns {
		if w, ok := p.starters.Back().Value.(*waiter); ok && w.leave() {
			p.dial(w)
		}
	}
}

// dial makes a connection on the waiter's account. It has no longer for it than the waiter: else what hangs would take the place of
// those that come later. The lock is held.
func (p *pool) dial(w *waiter) {
	w.enter(&p.starters)
	p.dialing++
	within := max(1, min(p.t.o.Connect, w.limit-p.t.now())) // 0 would be no bound
	p.t.dials.Go(func() {
		nc, err := p.t.connect(p.address, within)
		p.dialed(w, nc, err)
	})
}

// dialed takes note of a connection made, or not. It may serve another than the one on whose account it was made; its
// failure concerns nobody else.
func (p *pool) dialed(w *waiter, nc net.Conn, err error) {
	var c *conn
	if err == nil {
		c = &conn{nc: nc, pool: p, epoch: p.t.epoch, quiet: quietFunc(nc)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if err != nil {
		p.tally.NotOpened++
		if w.leave() {
			w.grant <- grant{err: err}
		}
		p.restart()
		p.replace()
		return
	}
	p.tally.Opened++
	c.opened = p.t.now()
	c.expires = c.opened + Lifetime(p.t.o.MaxAge, p.tally.Opened)
	c.node = p.nodeOf(nc.RemoteAddr().String())
	c.node.Opened++
	c.place, c.busy = len(p.all), true
	p.all = append(p.all, c)
	p.tally.Peak = max(p.tally.Peak, len(p.all))
	p.give(c)
}

// Lifetime is that of the n-th connection, of at most that age. It spreads the ends of connections that began together: over the last
// quarter of their age.
func Lifetime(most time.Duration, n uint64) time.Duration {
	const golden = 0x9e3779b97f4a7c15 // its multiples are spread evenly
	return most - time.Duration(float64(most)/4*float64(n*golden>>11)/(1<<53))
}

// give hands a connection to the first who waits, or lays it aside. The lock is held.
func (p *pool) give(c *conn) {
	if p.closed {
		p.remove(c)
		return
	}
	for _, l := range []*list.List{&p.starters, &p.queue} {
		if front := l.Front(); front != nil {
			if w, ok := front.Value.(*waiter); ok && w.leave() {
				c.busy = true
				w.grant <- grant{c: c}
				return
			}
		}
	}
	c.busy = false
	c.idleSince = p.t.now()
	p.idle = append(p.idle, c)
}

// remove closes a connection that is in no list but all. The lock is held.
func (p *pool) remove(c *conn) {
	_ = c.nc.Close()
	last := p.all[len(p.all)-1]
	p.all[c.place], last.place = last, c.place
	p.all[len(p.all)-1], p.all = nil, p.all[:len(p.all)-1]
	p.tally.Closed++
	c.node.Closed++
	p.replace()
}

// replace makes connections for those in queue, if there may be more. The lock is held.
func (p *pool) replace() {
	for !p.closed && p.queue.Len() > 0 && len(p.all)+p.dialing < p.t.o.MaxConns {
		if w, ok := p.queue.Front().Value.(*waiter); ok && w.leave() {
			p.dial(w)
		}
	}
}

// finish takes a connection back after an exchange. Keep is whether it is good for another, and e how the exchange
// failed, if it did.
func (p *pool) finish(c *conn, keep bool, e *Error) {
	keep = c.yield() && keep && c.r == c.w
	p.mu.Lock()
	defer p.mu.Unlock()
	c.account(e)
	if keep && c.expires > p.t.now() {
		p.give(c)
		return
	}
	p.remove(c)
}

// hand takes back a connection that is good for another exchange, of which all has been counted.
func (p *pool) hand(c *conn) {
	peaceful := c.yield()
	p.mu.Lock()
	defer p.mu.Unlock()
	if peaceful && c.expires > p.t.now() {
		p.give(c)
		return
	}
	p.remove(c)
}

// refusal is an error without a connection.
func (p *pool) refusal(doing string, err error, kind Kind) *Error {
	return &Error{Kind: kind, Doing: doing, Address: p.address, At: time.Now(), Err: err}
}

func (p *pool) failed(e *Error) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failedLocked(e)
}

func (p *pool) failedLocked(e *Error) *Error {
	p.tally.Requests++
	p.tally.Failed[e.Kind]++
	return e
}

// end closes all connections and keeps new ones from being made.
func (p *pool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.closeIdleLocked()
	for _, c := range p.all {
		_ = c.nc.Close() // whoever has it hands it back
	}
}

func (p *pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeIdleLocked()
}

func (p *pool) closeIdleLocked() {
	for _, c := range p.idle {
		p.remove(c)
	}
	clear(p.idle)
	p.idle = p.idle[:0]
}
