package httpload

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/wire"
	"github.com/tutti-bench/tutti/lib/record"
)

// plain carries over plain TCP, by our own transport.
type plain struct {
	transport *wire.Transport
	single    bool // a connection for each request
}

func newPlain(ctx context.Context, p load.Plan, patience time.Duration) plain {
	return plain{single: p.NoKeepAlive, transport: wire.New(ctx, wire.Options{
		Dial: p.Dial, Connect: p.Timeout, Total: p.Timeout, MaxIdle: idle, MaxHeader: maxHeader, MaxAge: p.MaxAge, Patience: patience,
		// No more requests than that many are under way, each of which uses one, and may have had one made that came too late for it.
		MaxConns: 2 * p.Connections,
	})}
}

// lean reports whether a plan's requests can go over lanes.
func lean(p load.Plan) bool {
	return strings.HasPrefix(p.Ingress, "http:") && !p.HTTP2 && !p.NoKeepAlive && p.Redirects == 0
}

func (p plain) close() { p.transport.Close() }

func (p plain) lane(m *wire.Message) *wire.Lane { return p.transport.Lane(m) }

func (p plain) carry(ctx context.Context, deadline time.Time, m load.Message) (*http.Response, trip, error) {
	r := plainRequest(m).WithContext(untimed{ctx, deadline}) //nolint:contextcheck // it is ctx with a deadline
	r.Close = p.single
	resp, err := p.transport.RoundTrip(r)
	return resp, classified{}, err
}

// plainRequest is a message as our transport takes it.
func plainRequest(m load.Message) *http.Request {
	r := &http.Request{
		Method: m.Method, URL: m.URL, Host: m.Host, Header: m.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if m.Body != "" {
		r.Body, r.ContentLength = body{strings.NewReader(m.Body)}, int64(len(m.Body))
	}
	return r
}

// body is a request's body.
type body struct{ *strings.Reader }

// Close does nothing.
func (body) Close() error { return nil }

// untimed is a context whose deadline no timer watches: the transport asks for it.
type untimed struct {
	context.Context //nolint:containedctx // it is one

	deadline time.Time
}

// Deadline is the one of this request.
func (u untimed) Deadline() (time.Time, bool) { return u.deadline, true }

// classified is a trip whose errors say their kind.
type classified struct{}

func (classified) end() {}

func (classified) class(err error) record.Class {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return record.Wrong
	}
	return classOf(e.Kind)
}

func classOf(kind wire.Kind) record.Class {
	switch kind {
	case wire.Invalid, wire.Canceled:
		return record.Unsent
	case wire.Timeout:
		return record.Timeout
	case wire.Refused:
		return record.Refused
	case wire.Reset:
		return record.Reset
	case wire.EOF:
		return record.EOF
	case wire.Truncated:
		return record.Truncated
	case wire.NoRoute:
		return record.NoRoute
	case wire.DNS:
		return record.DNS
	case wire.Local:
		return record.Local
	default: // it answered, but not in HTTP
		return record.Wrong
	}
}
