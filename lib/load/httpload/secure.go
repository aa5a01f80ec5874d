package httpload

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/wire"
	"github.com/tutti-bench/tutti/lib/record"
)

// secure carries over TLS, by net/http's transport: no HTTP/2, and no request sent twice.
type secure struct {
	cancel    context.CancelFunc
	transport *http.Transport
}

func newSecure(ctx context.Context, p load.Plan) *secure {
	ctx, cancel := context.WithCancel(ctx)
	return &secure{cancel: cancel, transport: &http.Transport{
		// The transport detaches a dial from its request, so the bounds are our own: the timeout,
		// and the end of the attack.
		DialContext: func(dial context.Context, network, address string) (net.Conn, error) {
			dial, stop := context.WithTimeout(dial, p.Timeout)
			defer stop()
			defer context.AfterFunc(ctx, stop)()
			if p.Dial != "" {
				address = p.Dial
			}
			// No local address: binding first would take a port for all destinations.
			c, err := new(net.Dialer).DialContext(dial, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		TLSHandshakeTimeout:    p.Timeout,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    math.MaxInt32,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeader,
		TLSNextProto:           make(map[string]func(string, *tls.Conn) http.RoundTripper), // no HTTP/2
	}}
}

// close ends every connection. All requests must have ended. Dials that outlived their
// request end too: cancelled, and the transport keeps no connection after this.
func (s *secure) close() {
	s.cancel()
	s.transport.CloseIdleConnections()
}

// lane is for plain HTTP.
func (s *secure) lane(*wire.Message) *wire.Lane { panic("httpload: a lane over TLS") }

func (s *secure) carry(ctx context.Context, deadline time.Time, m load.Message) (*http.Response, trip, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	t := &watched{cancel: cancel}
	r, err := request(httptrace.WithClientTrace(ctx, t.trace()), m)
	if err != nil {
		return nil, t, err
	}
	resp, err := s.transport.RoundTrip(r)
	return resp, t, err
}

// request makes a request that net/http does not send a second time.
//
// On a reused connection that died, the transport sends a request again if it has no body, or
// one that GetBody can bring back (Go 1.26, net/http: persistConn.shouldRetryRequest,
// Request.isReplayable, rewindBody). So GetBody stays nil, and a request without
// a body has an empty one of unknown length. For that the transfer coding "identity" makes
// the transport write neither a length nor chunks, just as for a nil body. The methods that
// announce an empty body by Content-Length: 0 need a nil one; those are not sent again once
// written, and watched stops them in the case that nothing was written.
func request(ctx context.Context, m load.Message) (*http.Request, error) {
	r := (&http.Request{
		Method: m.Method, URL: m.URL, Host: m.Host, Header: m.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	switch {
	case m.Body != "":
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(m.Body)), int64(len(m.Body))
	case m.Method == http.MethodPost, m.Method == http.MethodPut, m.Method == http.MethodPatch:
	case m.Method == http.MethodConnect:
		return nil, errors.New("method CONNECT makes a tunnel and not a request")
	default:
		r.Body, r.TransferEncoding = io.NopCloser(bytes.NewReader(nil)), []string{"identity"}
	}
	return r, nil
}

// A watched trip is one round trip of the transport's.
type watched struct {
	cancel   context.CancelFunc
	tries    int   // connections asked for; only the round trip's goroutine counts
	conn     *conn // the first one got
	cut      time.Time
	answered atomic.Bool // a byte of an answer came
}

func (t *watched) end()              { t.cancel() }
func (t *watched) failed() time.Time { return t.cut }

func (t *watched) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// A second connection for one request means that the transport sends it again.
		// We have no way to refuse that, but to give it a closed one.
		GetConn: func(string) {
			if t.tries++; t.tries == 2 {
				t.cut = time.Now()
				t.cancel()
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			if t.tries > 1 {
				_ = info.Conn.Close()
				return
			}
			t.conn = connOf(info.Conn)
		},
		GotFirstResponseByte: func() { t.answered.Store(true) },
	}
}

// class says how an exchange failed. The connection's own last error goes before the
// transport's, which at times names only what it did about it.
func (t *watched) class(err error) record.Class {
	if t.tries == 0 { // refused by the transport itself: our request is broken, or time was up
		if errors.Is(err, context.DeadlineExceeded) {
			return record.Timeout
		}
		return record.Unsent
	}
	if t.tries > 1 {
		err = io.EOF // stopped by watched: the transport keeps the reason to itself
	}
	if t.conn != nil {
		if e := t.conn.failure(); e != nil {
			err = e
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return record.Timeout
	case is(err, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM):
		return record.Local
	case t.answered.Load():
		return t.brokenAnswer(err)
	case is(err, syscall.ECONNREFUSED):
		return record.Refused
	case is(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		return record.Reset
	case is(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ETIMEDOUT):
		return record.NoRoute // ETIMEDOUT: the kernel gave up on a silent peer, before our deadline
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return record.EOF
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return record.DNS
	}
	return record.Wrong // it answered, but not in HTTP or not with a certificate that we trust
}

// brokenAnswer tells an answer that ended early from one that is no HTTP.
func (t *watched) brokenAnswer(err error) record.Class {
	if errors.Is(err, io.ErrUnexpectedEOF) || (t.conn != nil && t.conn.failure() != nil) {
		return record.Truncated
	}
	return record.Wrong
}

func is(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}

// A conn remembers how it failed.
type conn struct {
	net.Conn
	failed atomic.Pointer[error]
}

// connOf finds our connection below what the transport uses.
func connOf(c net.Conn) *conn {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = wrapped.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(err)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.note(err)
	return n, err
}

// note keeps the first failure, except that we closed it ourselves.
func (c *conn) note(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.failed.CompareAndSwap(nil, &err)
	}
}

func (c *conn) failure() error {
	if e := c.failed.Load(); e != nil {
		return *e
	}
	return nil
}
