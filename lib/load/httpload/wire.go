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
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A wire does HTTP exchanges over net/http's transport: any number of connections,
// no proxy, no redirects, no compression, no HTTP/2, and no request sent twice.
type wire struct {
	cancel    context.CancelFunc
	transport *http.Transport
}

const (
	// idle is how long an unused connection is kept: shorter than the 5 s after which
	// common servers close one, since a request that meets such an end counts as failed.
	idle = 4 * time.Second
	// maxHeader bounds an answer's header, and maxKeep the part of a body that is kept to be
	// searched. What comes after is read, until the deadline, and forgotten.
	maxHeader = 1 << 20
	maxKeep   = 1 << 20
)

func newWire(ctx context.Context, p load.Plan) *wire {
	ctx, cancel := context.WithCancel(ctx)
	return &wire{cancel: cancel, transport: &http.Transport{
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
func (w *wire) close() {
	w.cancel()
	w.transport.CloseIdleConnections()
}

// outcome is what became of one exchange.
type outcome struct {
	class  record.Class
	err    error       // nil if a whole answer came
	failed time.Time   // when the exchange failed, if that was before do returned
	header http.Header // of the answer, nil if none came

	captured map[string]string // of a good answer
}

// do does one exchange, and reads the whole answer, under ctx's deadline. c is nil if m is no session's.
func (w *wire) do(ctx context.Context, m load.Message, expect *load.Expect, wanted *load.Wanted, c *client) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c != nil {
		m.Header = c.jar.add(cookieURL(m), m.Header)
	}
	t := &trip{cancel: cancel}
	r, err := request(httptrace.WithClientTrace(ctx, t.trace()), m)
	if err != nil {
		return outcome{class: record.Unsent, err: err}
	}
	resp, err := w.transport.RoundTrip(r)
	if err != nil {
		return outcome{class: t.class(err), err: err, failed: t.failed}
	}
	defer resp.Body.Close()
	out := outcome{header: resp.Header, class: record.Wrong}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return out // its body is the connection itself and has no end
	}
	if c != nil {
		c.jar.set(cookieURL(m), resp.Header)
	}
	body, err := read(resp.Body, expect, wanted.Body())
	switch {
	case err != nil:
		out.err, out.class = err, t.class(err)
	case good(resp, body, expect):
		// An answer without what the next step needs is not the one that was expected.
		if out.captured, err = wanted.From(resp.Header, body); err == nil {
			out.class = record.OK
		}
	}
	return out
}

// request makes a request that net/http does not send a second time.
//
// On a reused connection that died, the transport sends a request again if it has no body, or
// one that GetBody can bring back (Go 1.26, net/http: persistConn.shouldRetryRequest,
// Request.isReplayable, rewindBody). So GetBody stays nil, and a request without
// a body has an empty one of unknown length. For that the transfer coding "identity" makes
// the transport write neither a length nor chunks, just as for a nil body. The methods that
// announce an empty body by Content-Length: 0 need a nil one; those are not sent again once
// written, and trip stops them in the case that nothing was written.
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

// trip watches one round trip of the transport's.
type trip struct {
	cancel   context.CancelFunc
	tries    int   // connections asked for; only the round trip's goroutine counts
	conn     *conn // the first one got
	failed   time.Time
	answered atomic.Bool // a byte of an answer came
}

func (t *trip) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// A second connection for one request means that the transport sends it again.
		// We have no way to refuse that, but to give it a closed one.
		GetConn: func(string) {
			if t.tries++; t.tries == 2 {
				t.failed = time.Now()
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

// read reads a body to its end and returns the part of it that is looked at, by expect or for a capture.
func read(body io.Reader, expect *load.Expect, captured bool) ([]byte, error) {
	keep := 0
	if expect.Contains != "" || captured {
		keep = maxKeep
	}
	if expect.Body != nil {
		keep = max(keep, len(*expect.Body)+1)
	}
	var kept []byte
	if keep > 0 {
		var err error
		if kept, err = io.ReadAll(io.LimitReader(body, int64(keep))); err != nil {
			return nil, err
		}
	}
	_, err := io.Copy(io.Discard, body)
	return kept, err
}

// good reports whether an answer is as expected. Body is its beginning.
func good(resp *http.Response, body []byte, expect *load.Expect) bool {
	if len(expect.Status) > 0 {
		if !slices.Contains(expect.Status, resp.StatusCode) {
			return false
		}
	} else if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return false
	}
	for name, want := range expect.Header {
		if resp.Header.Get(name) != want {
			return false
		}
	}
	if expect.Body != nil && string(body) != *expect.Body {
		return false
	}
	return strings.Contains(string(body), expect.Contains)
}
