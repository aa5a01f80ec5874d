package httpload

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/wire"
)

var (
	// errBound is in the errors of requests that waited in vain, because others held all that there may be.
	errBound = errors.New("all connections are in use")
	// errClosed is in the errors of requests that came after the end.
	errClosed = errors.New("the load has ended")
)

// A pool has the connections to the ingress, and the requests that wait for one, or in HTTP/2 for a stream of one. The bound is on
// what requests hold, and on connections too. The first that waits gets what is free first, whoever had it made.
//
// While anyone waits and the bound is not reached, nothing known to be free is kept back. A waiter without a dial waits because
// of the bound.
type pool struct {
	open   func(context.Context) (*link, error)
	ctx    context.Context //nolint:containedctx // its own life, of which every dial is a part
	cancel context.CancelFunc
	bound  int
	age    time.Duration // of a connection
	single bool          // a connection for each request
	room   int           // requests that one dial is made for: those that a connection may take at once
	tasks  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	links   map[*link]bool
	ready   []*link // those that may have room, the last one used last, so that those not needed grow old
	held    int     // by requests: connections, or streams
	dialing int
	coming  int   // requests that the dials under way will have room for
	recent  *dial // the one begun last
	made    uint64
	waiting list.List // of *waiter
}

// A link is a connection of the pool's.
type link struct {
	cc      *http.ClientConn
	nc      *conn
	preface *prefaced // of HTTP/2
	two     bool      // HTTP/2: several requests at once
	expires time.Time

	// Guarded by the pool's lock.
	fresh   bool // no request has ended on it
	held    int  // requests on it
	ready   bool
	retired bool // it gets no more
	idle    time.Time
}

// alive reports whether the connection can take more requests, now or later.
func (l *link) alive() bool { return l.cc.Err() == nil && l.nc.failure() == nil }

// A dial is a connection on its way.
type dial struct {
	began time.Time
	room  int // for more of those that wait
	over  bool
}

// A waiter is a request that waits.
type waiter struct {
	place *list.Element // nil once it waits no more
	dial  *dial         // made on its account, and on that of others; nil: it waits for what others hold
	grant chan grant    // has room for one
}

// A grant is what a waiter waits for, or why there is none.
type grant struct {
	l     *link
	fresh bool // no request has ended on it
	err   error
}

// streamsADial is how many requests of HTTP/2 one new connection is made for. It is what a server should let be open at
// least (RFC 9113, 6.5.2).
const streamsADial = 100

// shared is how long after its begin a dial is one that others wait for too, and not one that may hang.
const shared = 200 * time.Millisecond

func newPool(ctx context.Context, p load.Plan, open func(context.Context) (*link, error)) *pool {
	own, cancel := context.WithCancel(ctx)
	const forever = 1000 * time.Hour
	age := p.MaxAge
	if age <= 0 {
		age = forever
	}
	room := 1
	if p.HTTP2 && !p.NoKeepAlive {
		room = streamsADial
	}
	return &pool{
		open: open, ctx: own, cancel: cancel, bound: p.Connections, age: age, single: p.NoKeepAlive,
		room: room, links: make(map[*link]bool),
	}
}

// close ends every connection and every dial, and waits for that.
func (p *pool) close() {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		p.remove(l)
	}
	for p.waiting.Len() > 0 {
		p.answer(p.first(), grant{err: errClosed})
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

// get returns a connection with room for one request, which is to be put back, and whether it is the first on it. It waits
// until ctx is done.
func (p *pool) get(ctx context.Context) (l *link, fresh bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	w := &waiter{grant: make(chan grant, 1)}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, errClosed
	}
	w.place = p.waiting.PushBack(w)
	p.serve()
	if w.place != nil && p.held+p.waiting.Len() <= p.bound {
		p.cover(w)
	}
	p.mu.Unlock()
	select {
	case g := <-w.grant:
		return g.l, g.fresh, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.place == nil { // it was granted as we gave up
		if g := <-w.grant; g.l != nil {
			g.l.cc.Release()
			p.back(g.l, true)
		}
		return nil, false, ctx.Err()
	}
	p.waiting.Remove(w.place)
	w.place = nil
	if w.dial == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, false, fmt.Errorf("%w until the deadline: %w", errBound, ctx.Err())
	}
	return nil, false, ctx.Err()
}

// put gives back what get returned, after its round trip. Again is whether others may have it.
func (p *pool) put(l *link, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.back(l, again)
}

func (p *pool) back(l *link, again bool) {
	p.held--
	l.held--
	l.fresh = false
	l.retired = l.retired || !again || p.single
	if l.held == 0 {
		l.idle = time.Now()
	}
	switch {
	case !p.usable(l):
		p.drop(l)
	case !l.ready:
		l.ready = true
		p.ready = append(p.ready, l)
	}
	p.serve()
	p.coverAll()
}

// usable reports whether a connection may get another request.
func (p *pool) usable(l *link) bool {
	now := time.Now()
	return !p.closed && !l.retired && l.alive() && now.Before(l.expires) && (l.held > 0 || now.Sub(l.idle) < idle)
}

// drop lets a connection get no more requests, and ends it when it has none.
func (p *pool) drop(l *link) {
	l.retired = true
	if l.held == 0 {
		p.remove(l)
	}
}

// serve gives to those who wait what is free.
func (p *pool) serve() {
	for p.waiting.Len() > 0 && p.held < p.bound && !p.closed {
		l := p.take()
		if l == nil {
			return
		}
		p.answer(p.first(), grant{l: l, fresh: l.fresh})
	}
}

// coverAll sees to it that all who wait, and for whom there is room within the bound, wait for a dial.
func (p *pool) coverAll() {
	left := p.bound - p.held
	for e, n := p.waiting.Front(), 0; e != nil && n < left; e, n = e.Next(), n+1 {
		w, _ := e.Value.(*waiter)
		// What was made on its account may have been given to one before it, whose own then comes to it; but only if those under way
		// are enough for all who wait, also for those behind it.
		if w.dial == nil || w.dial.over && min(p.waiting.Len(), left) > p.coming {
			p.cover(w)
		}
	}
}

// cover lets a waiter wait for a dial, if there may be one more.
func (p *pool) cover(w *waiter) {
	if d := p.recent; d == nil || d.over || d.room == 0 || time.Since(d.began) > shared {
		if p.closed || len(p.links)+p.dialing >= p.bound {
			return
		}
		p.dial()
	}
	p.recent.room--
	w.dial = p.recent
}

func (p *pool) first() *waiter {
	w, _ := p.waiting.Front().Value.(*waiter)
	return w
}

func (p *pool) answer(w *waiter, g grant) {
	p.waiting.Remove(w.place)
	w.place = nil
	w.grant <- g
}

// take takes room on a connection that is there; nil if there is none.
func (p *pool) take() *link {
	for n := len(p.ready); n > 0; n = len(p.ready) {
		l := p.ready[n-1]
		if p.usable(l) && !(l.held == 0 && ended(l.nc.Conn)) {
			if p.reserve(l) {
				return l
			}
			if l.held > 0 { // it is full, and comes back
				p.unready()
				continue
			}
		}
		p.unready()
		p.drop(l)
	}
	return nil
}

func (p *pool) unready() {
	last := len(p.ready) - 1
	p.ready[last].ready = false
	p.ready[last], p.ready = nil, p.ready[:last]
}

// reserve takes room for one request on the connection, which is the last of those that are ready.
func (p *pool) reserve(l *link) bool {
	if l.cc.Reserve() != nil {
		return false
	}
	l.held++
	p.held++
	if !l.two || p.single {
		p.unready()
	}
	return true
}

// dial begins to make a connection.
func (p *pool) dial() {
	d := &dial{began: time.Now(), room: p.room}
	p.recent = d
	p.dialing++
	p.coming += p.room
	p.tasks.Go(func() {
		l, err := p.open(p.ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		d.over = true
		p.dialing--
		p.coming -= p.room
		if err == nil {
			err = p.add(l)
		}
		if err != nil {
			p.failed(d, err)
		}
		p.serve()
		p.coverAll()
	})
}

// add takes in a connection. An error is that of one that was over as soon as it was open.
func (p *pool) add(l *link) error {
	l.fresh, l.ready, l.idle = true, true, time.Now()
	l.expires = l.idle.Add(wire.Lifetime(p.age, p.made))
	p.made++
	p.links[l] = true
	err := l.nc.failure()
	if err == nil {
		err = l.cc.Err() // what came is not what it should be
	}
	if err != nil || p.closed {
		p.remove(l)
		return err
	}
	p.ready = append(p.ready, l)
	return nil
}

// failed tells those who wait for a dial that it failed. One that took all its time tells them nothing: each has a deadline
// of its own, and those that came later get another.
func (p *pool) failed(d *dial, err error) {
	late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	for e := p.waiting.Front(); e != nil && !late; {
		w, _ := e.Value.(*waiter)
		e = e.Next()
		if w.dial == d {
			p.answer(w, grant{err: err})
		}
	}
}

// farewell bounds how long a connection may take to say its end.
const farewell = 100 * time.Millisecond

// remove ends a connection.
func (p *pool) remove(l *link) {
	if !p.links[l] {
		return
	}
	delete(p.links, l)
	p.tasks.Go(func() {
		cut := time.AfterFunc(farewell, func() { _ = l.nc.Conn.Close() })
		defer cut.Stop()
		_ = l.cc.Close()
	})
}
