package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/target/hosts"
)

// A Policy chooses among the upstreams that are in.
type Policy string

// The policies.
const (
	RoundRobin Policy = "round-robin" // each in turn
	LeastConn  Policy = "least-conn"  // the one with the fewest open requests; in turn among equals
)

// A Source knows the addresses of the nodes, such as a discovery service does.
type Source interface {
	// Watch tells all addresses, each as host:port: those that there are, and again whenever they change. It returns when
	// ctx ends, or with the reason why it can tell no more; then it is called again after a while. It does not call
	// tell once it has returned.
	Watch(ctx context.Context, tell func(addresses []string)) error
}

// A Balancer spreads requests over the addresses of one host name, or those of a Source. Paths below /balancer/ are its
// own: /balancer/healthz answers 200 while an upstream is in, /balancer/status tells all it knows.
//
// An address that the name gains is tried at once and takes requests when a health
// check has passed. One that the name loses stays until it has been out for
// Forget: DNS often forgets a dead node at once, and losing it that way would be the resolver's
// work, not the balancer's. One that a Source withdraws gets no further request: a node that leaves says so
// there. A Source that names nobody is not believed, since one that lost its data looks the same.
type Balancer struct {
	To     *url.URL // http://name:port; not read where there is a Source
	Listen string   // address to listen on
	Policy Policy

	Check        string        // path of the health check; "" is none: all that the name gives are in
	CheckMode    string        // "" is [CheckHTTP]
	Interval     time.Duration // from one check's start to the next's
	CheckTimeout time.Duration // of one check
	Fails        int           // checks failed in a row that take an upstream out
	Passes       int           // checks passed in a row that bring it back
	PassiveFails int           // requests in a row that could not connect, which take it out too; 0 is none

	Retries         int           // further upstreams tried for a request that failed
	ConnectTimeout  time.Duration // to connect to an upstream; 0 is no limit but the system's
	ResponseTimeout time.Duration // from request sent to response headers

	Resolve  time.Duration // how often the name is looked up
	CacheDNS bool          // only until it is found
	Forget   time.Duration // how long an upstream that the name lost must be out before it is dropped
	Drain    time.Duration // limit on finishing open requests at the end

	// Lookup finds the addresses of a name; nil is [hosts.Lookup].
	Lookup func(ctx context.Context, name, port string) ([]string, error)
	// Source says where the nodes are, instead of To and Lookup; nil is none.
	Source Source
	Log    *slog.Logger // told of upstreams that come and go; nil is silent

	found []string // what the name was, for CacheDNS
}

// Run listens and serves until ctx ends, then lets open requests finish. Settings that make no sense are an error.
func (b *Balancer) Run(ctx context.Context) error {
	if err := b.valid(); err != nil {
		return fmt.Errorf("balancer: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", b.Listen)
	if err != nil {
		return fmt.Errorf("balancer: %w", err)
	}
	return b.Serve(ctx, l)
}

// Serve is Run on a listener, which it closes.
func (b *Balancer) Serve(ctx context.Context, l net.Listener) error {
	log := orSilent(b.Log)
	p := newPool(b, log)
	// The pool outlives ctx: open requests finish while it still checks.
	poolCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(poolCtx)
	}()
	srv := &http.Server{
		Handler:           b.handler(p, log),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	to := "a source of addresses"
	if b.Source == nil {
		to = b.To.String()
	}
	log.Info("balancer serves", "address", l.Addr().String(), "to", to, "policy", b.Policy)
	err := serve(ctx, srv, l, b.Drain, func(context.Context) {})
	stop()
	<-done
	if err != nil {
		return fmt.Errorf("balancer: %w", err)
	}
	return nil
}

func (b *Balancer) handler(p *pool, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/balancer/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if p.in() == 0 {
			http.Error(w, "no upstream is in", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/balancer/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p.status()) // the client has gone: nobody to tell
	})
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport:    p,
		ErrorHandler: p.explain,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
	return mux
}

// An attemptsError is a request that got no answer, and whom it was tried at.
type attemptsError struct {
	tried []string
	err   error
}

func (e *attemptsError) Error() string {
	if len(e.tried) == 0 {
		return e.err.Error()
	}
	return fmt.Sprintf("%s: %v", strings.Join(e.tried, ", "), e.err)
}

func (e *attemptsError) Unwrap() error { return e.err }

// errNoUpstream says that there is nobody to ask.
var errNoUpstream = errors.New("no upstream is in")

// RoundTrip sends a request to an upstream, and to others while it fails and
// Retries allow. The answer's [HeaderUpstream] is set; an error is an attemptsError.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	var tried []*upstream
	err := errNoUpstream
	for range p.b.Retries + 1 {
		u := p.pick(tried)
		if u == nil {
			break
		}
		tried = append(tried, u)
		var resp *http.Response
		resp, err = u.transport.RoundTrip(once(req, u.address))
		p.answered(req.Context(), u, err)
		if err == nil {
			resp.Header.Set(HeaderUpstream, strings.Join(p.names(tried), ", "))
			if resp.StatusCode == http.StatusSwitchingProtocols {
				p.release(u) // its body must stay what it is: from here on it does not count as open
				return resp, nil
			}
			resp.Body = &releasing{ReadCloser: resp.Body, release: func() { p.release(u) }}
			return resp, nil
		}
		p.release(u)
		if req.Context().Err() != nil || !again(req, err) {
			break
		}
	}
	return nil, &attemptsError{tried: p.names(tried), err: err}
}

// once is the request for one attempt.
//
// http.Transport quietly sends a request again when a reused connection turns
// out dead, as long as it has no body or a GetBody. That would be an attempt nobody told of, so
// the request gets an empty body, of which the transport must suppose that it is used up.
func once(req *http.Request, address string) *http.Request {
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host = "http", address
	if out.Body == nil {
		out.Body = io.NopCloser(strings.NewReader(""))
	} else {
		// The transport closes the body when it cannot connect; the next attempt
		// still needs it. ReverseProxy closes the real one.
		out.Body = io.NopCloser(req.Body)
	}
	out.GetBody = nil
	return out
}

// again reports whether a request that failed so may be tried elsewhere: always if it was never
// sent, else if doing it twice does no harm and no part of its body is gone.
func again(req *http.Request, err error) bool {
	if isDial(err) {
		return true
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return req.Body == nil
	}
	return false
}

// isDial reports whether no connection came about.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// explain answers for a request that no upstream answered.
func (p *pool) explain(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client has gone
	}
	status := http.StatusBadGateway
	var late net.Error
	switch {
	case errors.Is(err, errNoUpstream):
		status = http.StatusServiceUnavailable
	case errors.As(err, &late) && late.Timeout():
		status = http.StatusGatewayTimeout
	}
	var a *attemptsError
	if errors.As(err, &a) {
		w.Header().Set(HeaderUpstream, strings.Join(a.tried, ", "))
	}
	http.Error(w, "balancer: "+err.Error(), status)
}

// A releasing body tells when it is closed, once.
type releasing struct {
	io.ReadCloser
	release func()
}

func (r *releasing) Close() error {
	if r.release != nil {
		r.release()
		r.release = nil
	}
	return r.ReadCloser.Close()
}

// lookup looks the name up. It is called by one goroutine at a time.
func (b *Balancer) lookup(ctx context.Context) (found []string, err error) {
	if b.CacheDNS && len(b.found) > 0 {
		return b.found, nil
	}
	defer func() { b.found = found }()
	find := b.Lookup
	if find == nil {
		find = hosts.Lookup
	}
	ctx, cancel := context.WithTimeout(ctx, max(b.Resolve, time.Second))
	defer cancel()
	port := b.To.Port()
	if port == "" {
		port = "80"
	}
	return find(ctx, b.To.Hostname(), port)
}
