package httpload

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A Generator sends plans over HTTP/1.1. Its zero value is ready. It serves one
// Generate at a time.
type Generator struct {
	peak atomic.Int64
}

var (
	_ load.Generator = (*Generator)(nil)
	_ load.Gauge     = (*Generator)(nil)
	_ load.Chooser   = (*Generator)(nil)
)

// lead is the time between started and the first request: for the receiver to
// take note, and for the first workers to start.
const lead = 50 * time.Millisecond

// Peak is the most requests that were open at once in the latest Generate.
func (g *Generator) Peak() int { return int(g.peak.Load()) }

// Chosen is [load.Attack]: there is no other.
func (*Generator) Chosen() load.Engine { return load.Attack }

// Generate sends every request of the plan when it is due. Once ctx is done it sends
// nothing more, breaks off what is open, and returns within about 0.1 s: requests that
// were open then are class unsent, because how they would have ended is unknown and not
// the target's doing; requests that were not yet due have no sample.
//
// An error other than ctx's says what kept requests from being sent; they are class unsent too.
func (g *Generator) Generate(ctx context.Context, p load.Plan, started func(zero time.Time), emit func(record.Sample)) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("generate load: %w", err)
	}
	templates, err := p.Templates()
	if err != nil {
		return fmt.Errorf("generate load: %w", err)
	}
	g.peak.Store(0)
	zero, rate := p.Zero(lead), p.Part.Pacer(p.Rate)
	by := newCarrier(ctx, p)
	defer by.close()
	a := &attack{plan: p, templates: templates, zero: zero, carrier: by, emit: emit, peak: &g.peak, judged: make([]bool, len(p.Requests))}
	for _, v := range p.Verify {
		if i := p.Judged(v); i >= 0 {
			a.judged[i] = true
		}
	}
	started(zero)
	// The attacker stamps the worker's start and judges nothing here: it turns our schedule into
	// concurrent calls. A bound on its workers would hide waiting requests from the
	// measurement, so there is none: requests beyond Connections end at once.
	send := transport(func(r *http.Request) (*http.Response, error) { return a.roundTrip(ctx, r) })
	attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: send}))
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: p.Ingress})
	pace := &pacer{done: ctx.Done(), zero: zero, due: rate, rate: p.Rate.PerSecond / float64(max(p.Part.Of, 1))}
	results := attacker.Attack(target, pace, 0, "")
	for range results {
		continue // our samples say more, but vegeta's workers wait until their results are taken
	}
	if err := a.problem(); err != nil {
		return fmt.Errorf("generate load: %w", err)
	}
	if ctx.Err() != nil && a.sent.Load() < rate.Count() {
		return fmt.Errorf("generate load: %w", context.Cause(ctx))
	}
	return nil
}

// transport is an http.RoundTripper.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// attack is one Generate.
type attack struct {
	plan      load.Plan
	templates *load.Templates
	zero      time.Time
	carrier   carrier
	emit      func(record.Sample)
	peak      *atomic.Int64
	clients   clients
	judged    []bool // by request: what the answer holds is told
	open      atomic.Int64
	sent      atomic.Uint64 // samples of requests that were not broken off

	mu      sync.Mutex
	trouble error // the first thing that kept a request from being sent
}

// seqHeader carries the number that the attacker gave to a request.
const seqHeader = "X-Vegeta-Seq"

// roundTrip takes the number from the attacker's request, which is never sent, sends
// the plan's request of this number, and gives the attacker an empty answer.
func (a *attack) roundTrip(ctx context.Context, r *http.Request) (*http.Response, error) {
	k, err := strconv.ParseUint(r.Header.Get(seqHeader), 10, 64)
	if err != nil {
		a.fail(fmt.Errorf("number of a request: %w", err))
		return nil, err
	}
	seq := a.plan.Part.Seq(k)
	open := a.open.Add(1)
	s := a.send(ctx, seq, open)
	a.open.Add(-1)
	if ctx.Err() == nil || s.Class != record.Unsent {
		a.sent.Add(1)
	}
	a.emit(s)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (a *attack) now() time.Duration { return time.Since(a.zero) }

// send sends one request if it still can be sent, and says what became of it.
func (a *attack) send(ctx context.Context, seq uint64, open int64) record.Sample {
	turn := a.templates.Turn(seq)
	now := a.now()
	s := record.Sample{
		Seq: seq, Request: turn.Request, Due: a.plan.Rate.Due(seq),
		Sent: record.None, Free: record.None, Done: now, Class: record.Unsent,
	}
	var found map[string]string
	c := a.clients.join(turn)
	if c != nil {
		defer func() {
			c.keep(a.templates.Wanted(turn.Request).Names(), found, s.Class)
			a.clients.leave(c, turn)
		}()
	}
	switch {
	case ctx.Err() != nil:
		return s
	case now >= s.Due+a.plan.Timeout: // we come too late: our own fault, and not a timeout of the target's
		return s
	case open > int64(a.plan.Connections):
		s.Class = record.Shed
		return s
	}
	for peak := a.peak.Load(); open > peak && !a.peak.CompareAndSwap(peak, open); peak = a.peak.Load() {
	}
	captured, ready := a.ready(ctx, &s, turn, c)
	if !ready {
		return s
	}
	m, err := a.templates.Message(turn, captured)
	if err != nil {
		a.unsendable(&s, err)
		return s
	}
	found = a.exchange(ctx, &s, m, c)
	return s
}

// ready waits until a client may take its next step. If it never may, it fills in the sample: nobody was asked.
func (a *attack) ready(ctx context.Context, s *record.Sample, turn load.Turn, c *client) (captured map[string]string, ok bool) {
	if c == nil {
		return nil, true
	}
	within, cancel := context.WithDeadline(ctx, a.zero.Add(s.Due+a.plan.Timeout))
	defer cancel()
	waited, err := c.await(within, turn.Step)
	if waited {
		s.Free = a.now() // the wait is the target's doing, and no lag of our own
	}
	lost := record.Timeout // the steps before it took all the time that it had
	switch {
	case ctx.Err() != nil:
		return nil, false
	case err == nil:
		if captured, lost, ok = c.has(a.templates.Needs(turn.Request)); ok {
			return captured, true
		}
	}
	s.Class, s.Done, s.Traced = lost, min(a.now(), s.Due+a.plan.Timeout), true
	return nil, false
}

// unsendable takes note of a request that cannot be made. What a target gave to be captured can be at fault: that
// is a wrong answer of its own. All else is ours.
func (a *attack) unsendable(s *record.Sample, err error) {
	if len(a.templates.Needs(s.Request)) > 0 {
		s.Class, s.Done = record.Wrong, a.now()
		return
	}
	s.Class = record.Unsent
	a.fail(fmt.Errorf("request %q, number %d: %w", a.plan.Requests[s.Request].Name, s.Seq, err))
}

// exchange sends m and fills in the sample. It returns what was captured.
func (a *attack) exchange(ctx context.Context, s *record.Sample, m load.Message, c *client) map[string]string {
	deadline := s.Due + a.plan.Timeout
	s.Sent = a.now()
	got := do(ctx, a.carrier, a.zero.Add(deadline), m, &a.plan.Requests[s.Request].Expect, a.templates.Wanted(s.Request), c, a.judged[s.Request])
	s.Done, s.Class, s.Node = a.now(), got.class, clean(got.header.Get(a.plan.NodeHeader))
	s.Status = got.status
	if got.err != nil {
		s.Error = got.err.Error()
		if !got.failed.IsZero() {
			s.Done = got.failed.Sub(a.zero)
		}
	}
	if got.header != nil && a.plan.AttemptsHeader != "" {
		s.Tried = attempts(got.header.Values(a.plan.AttemptsHeader))
		if s.Traced = s.Tried != nil; !s.Traced && s.Node != "" {
			s.Tried = []string{s.Node}
		}
	}
	limit := a.plan.Requests[s.Request].Expect.Within
	switch {
	case ctx.Err() != nil && got.err != nil:
		s.Class, s.Sent = record.Unsent, record.None
	case s.Done >= deadline:
		s.Class, s.Done = record.Timeout, deadline
	case s.Class == record.Timeout:
		s.Done = deadline
	case s.Class == record.Local:
		s.Sent = record.None
	case s.Class == record.Unsent:
		s.Sent = record.None
		a.unsendable(s, got.err)
	case s.Class == record.OK && limit > 0 && s.Done-s.Due > limit:
		s.Class = record.Slow
	}
	if a.judged[s.Request] && got.err == nil && got.header != nil && (s.Class == record.OK || s.Class == record.Slow || s.Class == record.Wrong) {
		s.Saw = a.plan.See(got.status, string(got.body))
	}
	if s.Class != record.OK && s.Class != record.Slow {
		return nil // the client had gone
	}
	return got.captured
}

func (a *attack) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.trouble == nil {
		a.trouble = err
	}
}

func (a *attack) problem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.trouble
}
