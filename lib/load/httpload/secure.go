package httpload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/wire"
	"github.com/tutti-bench/tutti/lib/record"
)

// secure carries over TLS, and over HTTP/2 with and without it, by net/http's connections.
//
// net/http's Transport sends a request again when the connection under it died, when a stream of it was refused, and
// when its connection is going away (Go 1.26: persistConn.shouldRetryRequest and http2shouldRetryRequest, the one under
// Transport.roundTrip, the other under http2Transport.RoundTripOpt). Nothing here goes through either. Of the Transport only
// NewClientConn is used, which makes one connection, of which a round trip is one try; the pool is our own.
type secure struct {
	*pool
	transport *http.Transport
	scheme    string
	address   string // to dial
	tls       *tls.Config
	two       bool // HTTP/2
	connect   time.Duration
}

func newSecure(ctx context.Context, p load.Plan) *secure {
	s := &secure{two: p.HTTP2, connect: p.Timeout, address: p.Dial, scheme: "http"}
	host := ""
	if u, err := url.Parse(p.Ingress); err == nil { // Templates has told, if not
		s.scheme, host = u.Scheme, u.Hostname()
		if s.address == "" {
			s.address = hostPort(u)
		}
	}
	s.tls = p.TLS.Config(host, s.two)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!s.two)
	protocols.SetHTTP2(s.two)
	protocols.SetUnencryptedHTTP2(s.two)
	s.transport = &http.Transport{
		DialContext: s.dial, DialTLSContext: s.dialTLS, Protocols: protocols, DisableCompression: true,
		MaxResponseHeaderBytes: maxHeader, ExpectContinueTimeout: continueWithin,
	}
	s.pool = newPool(ctx, p, s.open)
	return s
}

// continueWithin is how long a request with Expect: 100-continue waits with its body for an answer.
const continueWithin = time.Second

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// opened is the key in a dial's context of the link that the connection is made for.
type opened struct{}

// open makes a connection, within its own limit.
func (s *secure) open(ctx context.Context) (*link, error) {
	ctx, stop := context.WithTimeout(ctx, s.connect)
	defer stop()
	l := &link{two: s.two}
	cc, err := s.transport.NewClientConn(context.WithValue(ctx, opened{}, l), s.scheme, s.address)
	if err != nil {
		return nil, err
	}
	l.cc = cc
	if !s.two {
		return l, nil
	}
	select {
	case <-l.preface.known:
		return l, nil
	case <-ctx.Done():
		_ = l.nc.Close()
		_ = cc.Close()
		return nil, fmt.Errorf("wait for the SETTINGS of %s: %w", s.address, ctx.Err())
	}
}

// dial connects without TLS.
func (s *secure) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	c, err := s.tcp(ctx, network)
	if err != nil {
		return nil, err
	}
	return s.made(ctx, c), nil
}

// tcp connects. There is no local address: binding first would take a port for all destinations.
func (s *secure) tcp(ctx context.Context, network string) (*conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, s.address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc}
	if l, ok := ctx.Value(opened{}).(*link); ok {
		l.nc = c
	}
	return c, nil
}

// made is a connection as net/http takes it. For HTTP/2 it does not ask whether there is TLS: we have seen to that.
func (s *secure) made(ctx context.Context, c net.Conn) net.Conn {
	l, ok := ctx.Value(opened{}).(*link)
	if !ok || !s.two {
		return c
	}
	l.preface = &prefaced{Conn: c, known: make(chan struct{})}
	return l.preface
}

func (s *secure) dialTLS(ctx context.Context, network, _ string) (net.Conn, error) {
	nc, err := s.tcp(ctx, network)
	if err != nil {
		return nil, err
	}
	c := tls.Client(nc, s.tls)
	if err = c.HandshakeContext(ctx); err == nil && s.two && c.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("the ingress speaks TLS and no HTTP/2 (its ALPN has no h2)")
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", s.address, err)
	}
	return s.made(ctx, c), nil
}

// tries bounds the connections that are taken for one request of which nothing has been sent yet.
const tries = 10

// lane is for plain HTTP.
func (s *secure) lane(*wire.Message) *wire.Lane { panic("httpload: a lane over TLS") }

func (s *secure) carry(ctx context.Context, deadline time.Time, m load.Message) (*http.Response, trip, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	t := &watched{cancel: cancel, pool: s.pool}
	if err := sendable(m); err != nil {
		t.unsendable = true
		return nil, t, err
	}
	traced := httptrace.WithClientTrace(ctx, t.trace())
	for try := 1; ; try++ {
		l, fresh, err := s.get(ctx)
		if err != nil {
			return nil, t, err
		}
		t.on, t.began = l, time.Now()
		resp, err := l.cc.RoundTrip(request(traced, m, s.single))
		if err == nil {
			return resp, t, nil
		}
		if t.sent(err) || ctx.Err() != nil {
			return nil, t, err
		}
		if l.alive() && !l.goingAway(err) { // it has nothing to do with the connection
			t.unsendable = true
			return nil, t, err
		}
		if fresh && !l.goingAway(err) || try == tries {
			return nil, t, err
		}
		// Not a byte of it has been written: the connection was closed, or was going away, while the request was not on it.
		s.put(l, false)
		t.on = nil
		t.wrote.Store(false) // what was written went nowhere
		t.heads.Store(0)
	}
}

// closedIdle reports whether an error of HTTP/1.1 says that the connection ended while no request was on it. net/http has closed it then, so that nothing
// of the next request went out, even if it was written; it says so by these texts alone. Once a byte of an answer came, the texts can be the peer's.
func closedIdle(err error) bool {
	return endedIdle(err) || strings.Contains(err.Error(), "readLoopPeekFailLocked: ")
}

// endedIdle reports whether the peer closed it, and nothing else was wrong.
func endedIdle(err error) bool { return strings.Contains(err.Error(), "server closed idle connection") }

// goingAway reports whether an error says that a connection of HTTP/2 takes no more requests, which net/http says by these texts
// alone. In HTTP/1.1 they would be the peer's.
func (l *link) goingAway(err error) bool {
	return l.two && (strings.Contains(err.Error(), "GOAWAY") || strings.Contains(err.Error(), "client conn not usable"))
}

// sendable reports what makes a message one that is no request.
func sendable(m load.Message) error {
	host := m.Host
	if host == "" {
		host = m.URL.Host
	}
	switch {
	case m.Method == http.MethodConnect:
		return errors.New("method CONNECT makes a tunnel and not a request")
	case !httpguts.ValidHostHeader(host):
		return fmt.Errorf("host %q: not one for a Host header", host)
	}
	return nil
}

// request makes a request that nobody could send a second time: its body cannot be had again.
func request(ctx context.Context, m load.Message, single bool) *http.Request {
	r := (&http.Request{
		Method: m.Method, URL: m.URL, Host: m.Host, Header: m.Header, Close: single,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if m.Body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(m.Body)), int64(len(m.Body))
	}
	return r
}

// A watched trip is one round trip on a connection of net/http's.
type watched struct {
	cancel     context.CancelFunc
	pool       *pool
	on         *link // nil while it has none
	began      time.Time
	unsendable bool
	wrote      atomic.Bool   // a part of it may be on its way
	heads      atomic.Uint32 // how often its header was written
	answered   atomic.Bool   // a byte of an answer came
	dead       bool          // what it was on is not to be used again
}

func (t *watched) end() {
	t.cancel()
	if t.on != nil {
		t.pool.put(t.on, !t.dead)
	}
}

func (t *watched) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { t.wrote.Store(true) },
		// A request is written once, since nothing here tries again. Should a later net/http do so, the request ends as a
		// failure and not as two.
		WroteHeaders: func() {
			if t.heads.Add(1) > 1 {
				t.cancel()
			}
		},
		GotFirstResponseByte: func() { t.answered.Store(true) },
	}
}

// sent reports whether a part of the request may have gone out before this error.
func (t *watched) sent(err error) bool {
	return t.wrote.Load() && (t.on.two || t.answered.Load() || !closedIdle(err))
}

// A streamError is net/http's own of HTTP/2, which has no name there: it makes itself into a type of this shape.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string {
	return fmt.Sprintf("stream %d: code %d: %v", e.StreamID, e.Code, e.Cause)
}

// byPeer reports whether the other side has reset the stream, which net/http says by this text alone.
func (e streamError) byPeer() bool { return e.Cause != nil && e.Cause.Error() == "received from peer" }

// class says how an exchange failed. The connection's own last error goes before the
// transport's, which at times names only what it did about it.
func (t *watched) class(err error) record.Class {
	switch {
	case t.unsendable, errors.Is(err, errClosed):
		return record.Unsent
	case t.heads.Load() > 1:
		return record.EOF // stopped by trace: the transport keeps the reason to itself
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		t.silent()
		return record.Timeout
	}
	if stream, ok := errors.AsType[streamError](err); ok {
		if !stream.byPeer() {
			return record.Wrong // what came on it is not HTTP/2
		}
		return t.unless(record.Reset)
	}
	if t.on != nil && t.on.goingAway(err) { // the server has not taken this one
		return t.unless(record.EOF)
	}
	if t.on != nil {
		if e := t.on.nc.failure(); e != nil {
			err = e
		}
	}
	return t.ofConnection(err)
}

// unless is the class of a failure before any byte of an answer, and else of a broken one.
func (t *watched) unless(answered record.Class) record.Class {
	if t.answered.Load() {
		return record.Truncated
	}
	return answered
}

// silent gives up a connection on which nothing came while a request waited for an answer until its end. In HTTP/1.1 it ends with
// its request anyway; in HTTP/2 it would take all load to come to a peer that is no more.
func (t *watched) silent() {
	t.dead = t.on != nil && t.on.nc.heard().Before(t.began)
}

func (t *watched) ofConnection(err error) record.Class {
	kind := wire.KindOf(err, false)
	switch {
	case kind == wire.Local:
		return record.Local
	case t.answered.Load():
		return t.brokenAnswer(err)
	case endedIdle(err):
		return record.EOF
	case kind == wire.Canceled: // net/http closed the connection itself, because of what came on it
		return record.Wrong
	}
	return classOf(kind) // it is wrong, too, if the certificate is not one that we trust
}

// brokenAnswer tells an answer that ended early from one that is no HTTP.
func (t *watched) brokenAnswer(err error) record.Class {
	if errors.Is(err, io.ErrUnexpectedEOF) || t.on != nil && t.on.nc.failure() != nil {
		return record.Truncated
	}
	return record.Wrong
}
