package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxUpstreams bounds what a name server can make us watch.
const maxUpstreams = 256

// A pool is what a balancer knows of its upstreams. It is the transport of its
// reverse proxy.
type pool struct {
	b      *Balancer
	log    *slog.Logger
	checks sync.WaitGroup

	mu      sync.Mutex
	ups     []*upstream // by address
	turn    int
	problem string // the last look-up's error, "" if it had none
}

// An upstream is one address. All but the first four fields belong to the pool's lock.
type upstream struct {
	address   string
	transport *http.Transport
	checker   *http.Client
	stop      context.CancelFunc // ends its checking

	name     string // what it calls itself; its address until it has said
	in       bool
	since    time.Time // of being in, or out
	why      string
	resolved bool // the name still has it
	fails    int  // checks failed in a row
	passes   int  // checks passed in a row
	refusals int  // requests in a row that could not connect
	open     int  // requests
	attempts uint64
	failures uint64
}

func newPool(b *Balancer, log *slog.Logger) *pool { return &pool{b: b, log: log} }

// run keeps the list of upstreams and their health until ctx ends.
func (p *pool) run(ctx context.Context) {
	every := time.NewTicker(p.b.Resolve)
	defer every.Stop()
	for {
		if p.b.Source != nil {
			p.problemIs(ctx, p.b.Source.Watch(ctx, func(found []string) { p.update(ctx, found) }))
		} else if found, err := p.b.lookup(ctx); err != nil {
			p.problemIs(ctx, err)
		} else {
			p.update(ctx, found)
		}
		select {
		case <-ctx.Done():
			p.mu.Lock()
			for _, u := range p.ups {
				u.close()
			}
			p.mu.Unlock()
			p.checks.Wait()
			return
		case <-every.C:
		}
	}
}

// problemIs keeps why the upstreams are not known. It changes nothing else: nodes do not die of a name
// server.
func (p *pool) problemIs(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if msg := err.Error(); msg != p.problem {
		p.log.Warn("upstreams cannot be looked up", "error", msg)
		p.problem = msg
	}
}

// update takes what was found: the whole list.
func (p *pool) update(ctx context.Context, found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problem = ""
	if len(found) > maxUpstreams {
		p.log.Warn("upstreams beyond the limit are left out", "found", len(found), "limit", maxUpstreams)
		found = found[:maxUpstreams]
	}
	if p.b.Source != nil && len(found) == 0 && len(p.ups) > 0 {
		p.problem = "nobody is registered; those known before stay"
		p.log.Warn(p.problem)
		return
	}
	for _, u := range p.ups {
		u.resolved = slices.Contains(found, u.address)
	}
	for _, address := range found {
		if !slices.ContainsFunc(p.ups, func(u *upstream) bool { return u.address == address }) {
			p.add(ctx, address)
		}
	}
	p.ups = slices.DeleteFunc(p.ups, func(u *upstream) bool {
		atOnce := p.b.Check == "" || p.b.Source != nil
		gone := !u.resolved && (atOnce || !u.in && time.Since(u.since) >= p.b.Forget)
		if gone {
			p.log.Info("upstream dropped", "upstream", u.name, "address", u.address)
			u.close()
		}
		return gone
	})
}

func (p *pool) add(ctx context.Context, address string) {
	dialer := &net.Dialer{Timeout: p.b.ConnectTimeout}
	ctx, stop := context.WithCancel(ctx)
	u := &upstream{
		address: address, name: address, stop: stop, since: time.Now(), resolved: true,
		why: "not checked yet",
		transport: &http.Transport{
			DialContext:           dialer.DialContext,
			ResponseHeaderTimeout: p.b.ResponseTimeout,
			MaxIdleConnsPerHost:   1024,
			IdleConnTimeout:       time.Minute,
			DisableCompression:    true,
		},
		checker: &http.Client{
			// Each check connects anew: a connection from before says little about a node.
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       p.b.CheckTimeout,
		},
	}
	p.ups = append(p.ups, u)
	slices.SortFunc(p.ups, func(a, b *upstream) int { return strings.Compare(a.address, b.address) })
	p.log.Info("upstream added", "address", address)
	if p.b.Check == "" {
		p.turnTo(u, true, "not checked at all")
		return
	}
	p.checks.Go(func() { p.watch(ctx, u) })
}

func (u *upstream) close() {
	u.stop()
	u.transport.CloseIdleConnections()
}

// watch checks an upstream's health until ctx ends.
func (p *pool) watch(ctx context.Context, u *upstream) {
	every := time.NewTicker(p.b.Interval)
	defer every.Stop()
	for {
		name, err := p.check(ctx, u)
		if ctx.Err() != nil {
			return
		}
		p.checked(u, name, err)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// What a health check wants of an upstream.
const (
	CheckHTTP    = "http"    // a status from 200 to 399
	CheckConnect = "connect" // that it accepts a connection; its name stays unknown
)

// check does one health check, as CheckMode says.
func (p *pool) check(ctx context.Context, u *upstream) (name string, err error) {
	if p.b.CheckMode != CheckConnect {
		return u.check(ctx, p.b.Check)
	}
	dialer := &net.Dialer{Timeout: p.b.CheckTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", u.address)
	if err != nil {
		return "", err
	}
	return "", conn.Close()
}

// check asks an upstream once for its health, and for its name.
func (u *upstream) check(ctx context.Context, path string) (name string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := u.checker.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		err = fmt.Errorf("health check answered %d", resp.StatusCode)
	}
	return resp.Header.Get(HeaderNode), err
}

func (p *pool) checked(u *upstream, name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isName(name) {
		u.name = name
	}
	if err != nil {
		u.fails, u.passes = u.fails+1, 0
		if u.in && u.fails >= p.b.Fails {
			p.turnTo(u, false, err.Error())
		} else if !u.in {
			u.why = err.Error()
		}
		return
	}
	u.fails, u.passes = 0, u.passes+1
	if !u.in && u.passes >= p.b.Passes {
		p.turnTo(u, true, "health check passed")
	}
}

// turnTo takes an upstream in or out. The caller holds the lock.
func (p *pool) turnTo(u *upstream, in bool, why string) {
	u.in, u.since, u.why = in, time.Now(), why
	u.fails, u.passes, u.refusals = 0, 0, 0
	state := "out"
	if in {
		state = "in"
	} else {
		u.transport.CloseIdleConnections() // they lead to a process that may be dead
	}
	p.log.Info("upstream is "+state, "upstream", u.name, "address", u.address, "why", why)
}

// isName reports whether a node's name for itself can stand in a list in a header.
func isName(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || r == ','
	})
}

// pick chooses an upstream that is in and not in tried, and counts the request
// as open there. It returns nil if there is none.
func (p *pool) pick(tried []*upstream) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	var may []*upstream
	for _, u := range p.ups {
		if u.in && !slices.Contains(tried, u) {
			may = append(may, u)
		}
	}
	if len(may) == 0 {
		return nil
	}
	first := p.turn % len(may)
	if len(tried) == 0 {
		p.turn++ // a retry takes nobody's turn: with two upstreams the next request would begin at the same one
	}
	u := may[first]
	if p.b.Policy == LeastConn {
		for i := range may {
			if c := may[(first+i)%len(may)]; c.open < u.open {
				u = c
			}
		}
	}
	u.open++
	u.attempts++
	return u
}

// answered learns from how an attempt ended.
func (p *pool) answered(ctx context.Context, u *upstream, err error) {
	if ctx.Err() != nil {
		return // the client left: says nothing about the upstream
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		u.refusals = 0
		return
	}
	u.failures++
	if !isDial(err) {
		return
	}
	u.refusals++
	if p.b.PassiveFails > 0 && u.in && u.refusals >= p.b.PassiveFails {
		p.turnTo(u, false, "requests cannot connect: "+err.Error())
	}
}

func (p *pool) release(u *upstream) {
	p.mu.Lock()
	u.open--
	p.mu.Unlock()
}

func (p *pool) names(us []*upstream) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make([]string, len(us))
	for i, u := range us {
		names[i] = u.name
	}
	return names
}

func (p *pool) in() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, u := range p.ups {
		if u.in {
			n++
		}
	}
	return n
}

// A Status is what /balancer/status answers.
type Status struct {
	Policy    Policy           `json:"policy"`
	Problem   string           `json:"problem,omitempty"` // why the last look-up failed
	Upstreams []UpstreamStatus `json:"upstreams"`         // by address
}

// An UpstreamStatus is what a balancer knows of one upstream.
type UpstreamStatus struct {
	Name     string    `json:"name"` // its address until it has told its name
	Address  string    `json:"address"`
	In       bool      `json:"in"`
	Since    time.Time `json:"since"`    // it is in, or out
	Why      string    `json:"why"`      // it is in, or out
	Resolved bool      `json:"resolved"` // the name still has the address
	Open     int       `json:"open"`     // requests
	Attempts uint64    `json:"attempts"` // requests sent there, ever
	Failures uint64    `json:"failures"` // those without an answer
}

func (p *pool) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Policy: p.b.Policy, Problem: p.problem, Upstreams: make([]UpstreamStatus, 0, len(p.ups))}
	for _, u := range p.ups {
		s.Upstreams = append(s.Upstreams, UpstreamStatus{
			Name: u.name, Address: u.address, In: u.in, Since: u.since, Why: u.why,
			Resolved: u.resolved, Open: u.open, Attempts: u.attempts, Failures: u.failures,
		})
	}
	return s
}

// valid says what about the settings makes no sense.
func (b *Balancer) valid() error {
	switch {
	case b.Source == nil && (b.To == nil || b.To.Scheme != "http" || b.To.Hostname() == ""):
		return errors.New("-to wants http://name:port")
	case b.Policy != RoundRobin && b.Policy != LeastConn:
		return fmt.Errorf("unknown policy %q, want %s or %s", b.Policy, RoundRobin, LeastConn)
	case b.CheckMode != "" && b.CheckMode != CheckHTTP && b.CheckMode != CheckConnect:
		return fmt.Errorf("unknown -check-mode %q, want %s or %s", b.CheckMode, CheckHTTP, CheckConnect)
	case b.Check != "" && !strings.HasPrefix(b.Check, "/"):
		return fmt.Errorf("-check %q is no path", b.Check)
	case b.Check == "" && b.PassiveFails > 0:
		return errors.New("-passive-fails wants a -check: nothing else would bring an upstream back")
	case b.Interval <= 0 || b.CheckTimeout <= 0 || b.Resolve <= 0:
		return errors.New("-interval, -check-timeout and -resolve must be above 0")
	case b.Fails < 1 || b.Passes < 1 || b.PassiveFails < 0 || b.Retries < 0:
		return errors.New("-fails and -passes must be at least 1, -passive-fails and -retries at least 0")
	}
	return nil
}
