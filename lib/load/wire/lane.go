package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Lane sends requests one after the other, for one goroutine at a time that sends many, and makes little of it: what goes out was
// written beforehand, and of an answer only what is asked for is kept. It keeps its connection for the next request as the
// transport would, and holds to the same rules: the same requests over the transport and over lanes end the same.
type Lane struct {
	t *Transport
	p *pool
	c *conn // nil: none yet, or the last one is gone

	requests uint64 // that ended well and are still to be counted

	// Of the exchange under way.
	message *Message
	most    int
	before  uint64 // bytes that its connection had brought

	shot   shot
	keep   bool // the connection is good for another exchange
	answer Answer
}

// An Answer is what came back to a [Lane]. It holds until the lane's next exchange, or [Lane.Forget].
type Answer struct {
	Status int
	Body   []byte    // its first bytes, as many as were asked for
	Length uint64    // of the whole body, in bytes
	Ended  time.Time // when all of it was there

	head   []byte
	header http.Header // instead of head, where it was read with care
}

// Get is the first value of a field, nil if there is none. The name is in lower case.
func (a *Answer) Get(lower string) []byte {
	if a.header == nil {
		v, _ := find(a.head, lower)
		return v
	}
	for name, values := range a.header {
		if len(values) > 0 && strings.EqualFold(name, lower) {
			return []byte(values[0])
		}
	}
	return nil
}

// Count is in how many fields of that name the answer has. The name is in lower case.
func (a *Answer) Count(lower string) int {
	if a.header != nil {
		n := 0
		for name, values := range a.header {
			if strings.EqualFold(name, lower) {
				n += len(values)
			}
		}
		return n
	}
	n := 0
	for rest := a.head; ; n++ {
		var ok bool
		if rest, _, ok = after(rest, lower); !ok {
			return n
		}
	}
}

// Header makes a header of all the fields.
func (a *Answer) Header() http.Header {
	if a.header == nil {
		var read answer
		if err := read.parse(string(a.head), strings.Count(string(a.head), "\n")-1); err != nil {
			return http.Header{} // it was read before
		}
		a.header = read.resp.Header
	}
	return a.header
}

// A Message is a request as its bytes go out.
type Message struct {
	bytes []byte
	body  int
	req   *http.Request
}

// Body is how long its body is, in bytes.
func (m *Message) Body() int { return m.body }

// NewMessage writes a request down. It may be sent any number of times, by several lanes at once. An error is of kind
// [Invalid].
func NewMessage(req *http.Request) (*Message, error) {
	refuse := func(err error) (*Message, error) {
		address := ""
		if req.URL != nil {
			address = req.URL.Host
		}
		return nil, &Error{Kind: Invalid, Doing: doingCheck, Address: address, At: time.Now(), Err: err}
	}
	if err := check(req); err != nil {
		return refuse(err)
	}
	if closes(req) {
		return refuse(errors.New("a lane is for connections that are kept"))
	}
	var s scratch
	s.head(req)
	var body []byte
	if req.Body != nil {
		defer req.Body.Close()
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return refuse(&bodyError{err})
		}
		if req.ContentLength > 0 && int64(len(body)) != req.ContentLength {
			return refuse(&bodyError{errors.New("not as long as announced")})
		}
	}
	m := &Message{req: req, body: len(body)}
	if len(body) > 0 {
		s.length(int64(len(body)))
	} else {
		s.nothing(req.Method)
	}
	m.bytes = append(s.out, body...)
	return m, nil
}

// Lane returns a lane to the address that the message's URL names, or [Options.Dial]. Who asked for it closes it. As many lanes
// as there may be connections never wait for one another.
func (t *Transport) Lane(m *Message) *Lane {
	l := &Lane{t: t, p: t.to(m.req)}
	l.shot.init()
	return l
}

// Close gives the lane's connection back. It has no exchange that is parked.
func (l *Lane) Close() {
	l.shot.close()
	if l.c != nil {
		l.settle(nil)
		l.p.hand(l.c)
		l.c = nil
	}
}

// ErrParked is not the end of an exchange, but says that its answer is long in coming, and waited for elsewhere. See [Lane.Park].
var ErrParked = errors.New("the answer is long in coming")

// Park makes the lane one that keeps no goroutine waiting. Where an answer does not begin soon, [Lane.Do] returns [ErrParked], with which
// the lane belongs to ready, which is called in a goroutine of its own, perhaps already: what is left of the exchange,
// [Lane.Resume] does. Where the system has no such thing, Do waits. The end of the transport calls ready too, and does not wait for it.
func (l *Lane) Park(ready func()) {
	l.shot.close()
	if to := l.t.parking(); to != nil {
		l.shot.park(to, ready)
	}
}

// Do sends a message, once, and reads its whole answer; of the body the first most bytes are kept. All its errors but [ErrParked]
// are of type [*Error]. ctx is the transport's own, or one that ends before it: when it ends nothing is broken off but what
// the transport's end breaks off.
func (l *Lane) Do(ctx context.Context, deadline time.Time, m *Message, most int) (*Answer, error) {
	now := l.t.now()
	limit := min(now+l.t.o.Total, deadline.Sub(l.t.epoch))
	for {
		var e *Error
		if now, e = l.open(ctx, now, limit); e != nil {
			return nil, e
		}
		c := l.c
		c.limit = limit
		c.arm(now)
		l.message, l.most, l.before = m, most, c.in
		// If the answer before ended just now, the connection is used whatever has come on it, and what becomes of the request is told.
		err := l.shot.fire(c, m.bytes, !c.reused || now-c.idleSince < justNow, now)
		if err == ErrParked { //nolint:errorlint // it is never wrapped, and the lane is not ours any more
			return nil, err
		}
		if !l.shot.stale {
			return l.end(ctx, err)
		}
		// Nothing was sent: that request has no failure. A connection that is new is never stale, so that this ends.
		l.settle(nil)
		l.p.discard(c)
		l.c = nil
	}
}

// Resume is what is left of a Do that was parked: it reads the answer, or says as Do does what became of it, and is not parked again. Only ready
// calls it. ctx is Do's.
func (l *Lane) Resume(ctx context.Context) (*Answer, error) {
	return l.end(ctx, l.shot.resume())
}

// end ends an exchange that was sent, or failed.
func (l *Lane) end(ctx context.Context, err error) (*Answer, error) {
	c := l.c
	if e := l.read(ctx, err); e != nil {
		l.drop(e)
		return nil, e
	}
	l.requests++
	c.reused = true
	ended := c.now()
	l.answer.Ended = c.epoch.Add(ended)
	if !l.keep || c.r != c.w {
		l.drop(nil)
		return &l.answer, nil
	}
	c.shelve(ended)
	return &l.answer, nil
}

// justNow is how long after an answer's end its connection is used again without a look: a close of which word has come since then would as
// likely still be on its way, and a look costs a tenth of the exchange.
const justNow = 50 * time.Microsecond

// Forget lets go of the answer to the last exchange, if it is one that is too large to be kept: a lane that waits needs none.
func (l *Lane) Forget() {
	a := &l.answer
	if cap(a.head) > keepBuf {
		a.head, a.header = nil, nil
	}
	if cap(a.Body) > keepBuf {
		a.Body = nil
	}
}

// open makes sure that there is a connection to use, and says how late it is then.
func (l *Lane) open(ctx context.Context, now, limit time.Duration) (time.Duration, *Error) {
	if c := l.c; c != nil {
		if c.expires > now && now-c.idleSince < l.t.o.MaxIdle {
			return now, nil // whether it is still open is seen by who uses it
		}
		l.settle(nil)
		l.p.discard(c)
		l.c = nil
	}
	c, e := l.p.get(ctx, now, limit)
	if e != nil {
		return now, e
	}
	l.c = c
	l.shot.take(c)
	return l.t.now(), nil // it may have waited
}

// settle counts what the lane did on its connection, in one go.
func (l *Lane) settle(e *Error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	c := l.c
	n := c.node
	n.In, n.Out = n.In+c.in-c.seen.in, n.Out+c.out-c.seen.out
	c.seen.in, c.seen.out = c.in, c.out
	did := l.requests
	l.requests = 0
	if e != nil {
		did++
		n.Failed[e.Kind]++
		l.p.tally.Failed[e.Kind]++
	}
	c.seen.requests += did
	n.Requests += did
	l.p.tally.Requests += did
}

// drop ends the connection: e is what became of its last exchange.
func (l *Lane) drop(e *Error) {
	l.settle(e)
	l.p.discard(l.c)
	l.c = nil
	l.shot.take(nil)
}

// read reads the answer, or says what became of the exchange: err is what became of the shot.
func (l *Lane) read(ctx context.Context, err error) *Error {
	c := l.c
	switch {
	case err == nil:
	case l.shot.unsent && is(err, syscall.EPIPE, syscall.ECONNRESET):
		// The peer wants no more of it, but may have said why.
		if l.receive(l.message, l.most) == nil {
			l.keep = false
			return nil
		}
		return c.failure(ctx, doingSend, err, false)
	case l.shot.unsent:
		return c.failure(ctx, doingSend, err, false)
	default:
		return c.failure(ctx, doingAwait, err, false)
	}
	if err = l.receive(l.message, l.most); err == nil {
		return nil
	}
	if c.in > l.before {
		return c.failure(ctx, doingRead, err, true)
	}
	return c.failure(ctx, doingAwait, err, false)
}

// receive reads a whole answer, some of which may be in the buffer.
func (l *Lane) receive(m *Message, most int) error {
	c, a := l.c, &l.answer
	a.Body, a.Length, a.header = a.Body[:0], 0, nil
	for interim := 0; ; interim++ {
		head, lines, err := c.head(l.t.o.MaxHeader)
		if err != nil {
			return err
		}
		a.head = append(a.head[:0], head...)
		if g, ok := glance(a.head, m.req.Method == http.MethodHead); ok {
			a.Status, l.keep = g.status, true
			if g.chunked {
				return l.through(inChunks, 0, most)
			}
			return l.through(counted, g.length, most)
		}
		var careful answer
		careful.resp.Request = m.req
		if err := careful.parse(string(a.head), lines); err != nil {
			return err
		}
		if err := careful.frame(m.req.Method); err != nil {
			return err
		}
		if code := careful.resp.StatusCode; code >= 200 || code == http.StatusSwitchingProtocols {
			a.Status, a.header, l.keep = code, careful.resp.Header, careful.body.keep
			return l.through(careful.body.form, careful.body.left, most)
		}
		if interim == maxInterim {
			return protocolError("too many interim answers (1xx) before the final one")
		}
	}
}

// through reads a body to its end.
func (l *Lane) through(f form, left int64, most int) error {
	c, a := l.c, &l.answer
	if f == none {
		return nil
	}
	if f == counted && int64(c.w-c.r) >= left { // the usual case: it is all there
		a.Length = uint64(left)
		a.Body = append(a.Body, c.buf[c.r:c.r+min(int(left), most)]...)
		c.r += int(left)
		return nil
	}
	b := body{form: f, left: left, c: c, resp: new(http.Response)} // that one for a trailer, which nobody asks for
	buf, _ := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := b.read(*buf)
		a.Length += uint64(n)
		if room := most - len(a.Body); room > 0 {
			a.Body = append(a.Body, (*buf)[:min(n, room)]...)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// chunks are where bodies are read to.
var chunks = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }} //nolint:gochecknoglobals // a cache
