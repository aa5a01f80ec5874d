package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options are a transport's bounds. A zero value stands for the default named there.
type Options struct {
	// Dial is the host:port to connect to instead of the URL's.
	Dial string

	Connect   time.Duration // for a name's look-up and a handshake; default 10 s, at most Total
	FirstByte time.Duration // from when the request has been written; default: Total alone
	Total     time.Duration // from RoundTrip to the body's end; default 30 s

	MaxConns   int           // connections to one address; default 10,000
	MaxWaiting int           // requests that wait for one of those; default 100,000
	MaxAge     time.Duration // of a connection, when it is not taken again; default: none
	MaxIdle    time.Duration // after which an idle connection is not taken again; default 90 s
	MaxHeader  int           // bytes of an answer's header; default 1 MiB

	Patience time.Duration // of a lane that parks, until it does; default 100 ms, and less than 0 for at once
}

// The defaults of [Options].
const (
	defaultConnect    = 10 * time.Second
	defaultTotal      = 30 * time.Second
	defaultMaxConns   = 10_000
	defaultMaxWaiting = 100_000
	defaultMaxIdle    = 90 * time.Second
	defaultMaxHeader  = 1 << 20
	defaultPatience   = 100 * time.Millisecond
)

func (o Options) filled() Options {
	o.Total = or(o.Total, defaultTotal)
	o.Connect = min(or(o.Connect, defaultConnect), o.Total)
	o.FirstByte = min(or(o.FirstByte, o.Total), o.Total)
	o.MaxConns = or(o.MaxConns, defaultMaxConns)
	o.MaxWaiting = or(o.MaxWaiting, defaultMaxWaiting)
	o.MaxAge = or(o.MaxAge, math.MaxInt64/2)
	o.MaxIdle = or(o.MaxIdle, defaultMaxIdle)
	o.MaxHeader = or(o.MaxHeader, defaultMaxHeader)
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	return o
}

func or[T int | time.Duration](is, otherwise T) T {
	if is <= 0 {
		return otherwise
	}
	return is
}

// A Transport is an http.RoundTripper for http:// URLs. It is safe for concurrent use.
// It follows no redirect, keeps no cookie, asks no proxy, decompresses nothing and
// adds no header but Host, Content-Length, Transfer-Encoding and Connection.
//
// A request's deadline is that of its context or [Options.Total], whichever is earlier. For a context's deadline no
// timer is needed: one that has a Deadline and whose Done channel is that of the transport's own context costs least.
type Transport struct {
	o       Options
	connect func(address string, within time.Duration) (net.Conn, error)
	epoch   time.Time
	outer   <-chan struct{} // of the context given to New
	done    <-chan struct{} // closed when all is to end
	cancel  context.CancelFunc
	unhook  func() bool
	dials   sync.WaitGroup
	last    atomic.Pointer[pool]

	mu     sync.Mutex
	pools  map[string]*pool
	lot    *lot // nil: nobody asked for it yet, or there is none
	closed bool
}

var _ http.RoundTripper = (*Transport)(nil)

// New makes a transport that ends with ctx: when ctx is done, all exchanges are broken off and
// all connections closed. The caller closes it in any case.
func New(ctx context.Context, o Options) *Transport {
	inner, cancel := context.WithCancel(ctx)
	o = o.filled()
	// No local address: binding first takes a port for all destinations. No keep-alive probes:
	// the deadlines are shorter.
	connect := func(address string, within time.Duration) (net.Conn, error) {
		return (&net.Dialer{KeepAlive: -1, Timeout: within}).DialContext(inner, "tcp", address)
	}
	t := &Transport{
		o: o, connect: connect, epoch: time.Now(), outer: ctx.Done(), done: inner.Done(), cancel: cancel,
		pools: make(map[string]*pool),
	}
	t.unhook = context.AfterFunc(ctx, t.end)
	return t
}

// Close breaks off what is under way, and returns when no connection and no goroutine is left. Requests
// after it fail.
func (t *Transport) Close() {
	t.unhook()
	t.end()
	t.dials.Wait()
}

func (t *Transport) end() {
	t.cancel()
	if l := t.shut(); l != nil {
		l.end()
	}
}

// shut closes all connections and keeps new ones from being made. It returns the lot, which is still to be ended.
func (t *Transport) shut() *lot {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, p := range t.pools {
		p.end()
	}
	return t.lot
}

// parking returns where lanes park, nil if they cannot.
func (t *Transport) parking() *lot {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lot == nil && !t.closed {
		t.lot = newLot(t)
	}
	return t.lot
}

// CloseIdleConnections closes the connections that nobody uses now.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		p.closeIdle()
	}
}

func (t *Transport) now() time.Duration { return time.Since(t.epoch) }

// to returns the pool for the request.
func (t *Transport) to(req *http.Request) *pool {
	address := t.o.Dial
	if address == "" {
		address = ascii(req.URL.Host)
		if req.URL.Port() == "" {
			address = net.JoinHostPort(ascii(req.URL.Hostname()), "80")
		}
	}
	if p := t.last.Load(); p != nil && p.address == address {
		return p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pools[address]
	if p == nil {
		p = newPool(t, address)
		p.closed = t.closed
		t.pools[address] = p
	}
	t.last.Store(p)
	return p
}

// RoundTrip sends the request, once, and returns when the answer's header has been read. All its errors
// are of type [*Error]. The caller closes the body.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(req)
	if req.Body != nil {
		_ = req.Body.Close()
	}
	if err != nil { // not returned as it is: a nil *Error is no nil error
		return nil, err
	}
	return resp, nil
}

func (t *Transport) roundTrip(req *http.Request) (*http.Response, *Error) {
	begun := t.now()
	if err := check(req); err != nil {
		address := ""
		if req.URL != nil {
			address = req.URL.Host
		}
		return nil, &Error{Kind: Invalid, Doing: doingCheck, Address: address, At: time.Now(), Err: err}
	}
	limit := begun + t.o.Total
	ctx := req.Context()
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, d.Sub(t.epoch))
	}
	p := t.to(req)
	c, e := p.get(ctx, begun, limit)
	if e != nil {
		return nil, e
	}
	c.limit = limit
	c.arm(t.now())
	turn := c.take()
	var stop func() bool
	if done := ctx.Done(); done != nil && done != t.outer {
		stop = context.AfterFunc(ctx, func() { c.breakOff(turn) })
	}
	a, e := t.exchange(ctx, c, req)
	if e != nil {
		if stop != nil {
			stop()
		}
		p.finish(c, false, e)
		return nil, e
	}
	b := &a.body
	b.turn, b.stop, b.resp, b.of, b.c = turn, stop, &a.resp, c, c
	a.resp.Body = b
	if b.form == none {
		b.end(io.EOF) //nolint:contextcheck // it looks at this request's own
		a.resp.Body = http.NoBody
	}
	return &a.resp, nil
}

// exchange sends the request and reads the answer's head.
func (t *Transport) exchange(ctx context.Context, c *conn, req *http.Request) (*answer, *Error) {
	fail := func(doing string, err error, answered bool) (*answer, *Error) {
		return nil, c.failure(ctx, doing, err, answered)
	}
	in := c.in
	if err := c.send(req); err != nil {
		if !is(err, syscall.EPIPE, syscall.ECONNRESET) {
			return fail(doingSend, err, false)
		}
		// The peer wants no more of it, but may have said why.
		a, e := c.receive(req, t.o.MaxHeader)
		if e != nil {
			return fail(doingSend, err, false)
		}
		a.body.keep = false
		return a, nil
	}
	var err error
	if t.o.FirstByte < t.o.Total {
		err = c.firstByte(t.o.FirstByte)
	}
	var a *answer
	if err == nil {
		a, err = c.receive(req, t.o.MaxHeader)
	}
	if err != nil {
		if c.in > in {
			return fail(doingRead, err, true)
		}
		return fail(doingAwait, err, false)
	}
	a.body.keep = a.body.keep && !closes(req)
	return a, nil
}

// firstByte waits for the answer to begin, for at most d.
func (c *conn) firstByte(d time.Duration) error {
	total := c.limit
	now := c.now()
	c.limit = min(total, now+d)
	c.arm(now)
	err := c.fill(firstBuf)
	c.limit = total
	return err
}

// failure makes an error of what went wrong on the connection, and asks the context why, if it was cut.
func (c *conn) failure(ctx context.Context, doing string, err error, answered bool) *Error {
	e := &Error{Doing: doing, Address: c.pool.address, Reused: c.reused, At: time.Now(), Kind: KindOf(err, answered), Err: err}
	if own, ok := errors.AsType[*bodyError](err); ok {
		e.Kind, e.Err = Invalid, own
		return e
	}
	if e.Kind == Canceled {
		e.cut(ctx)
	}
	return e
}

// cut says why an exchange was broken off: because of its context, or of the transport's end.
func (e *Error) cut(ctx context.Context) {
	switch err, cause := ctx.Err(), context.Cause(ctx); {
	case err == nil:
		e.Kind, e.Err = Canceled, ErrClosed
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Err = Timeout, err
	case errors.Is(cause, err):
		e.Kind, e.Err = Canceled, cause
	default:
		e.Kind, e.Err = Canceled, fmt.Errorf("%w: %w", err, cause)
	}
}
