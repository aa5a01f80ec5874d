package httpload

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A Generator sends plans over HTTP. Its zero value is ready. It serves one
// Generate at a time.
type Generator struct {
	peak     atomic.Int64
	chosen   load.Engine
	patience time.Duration // of turbo's lanes; 0: as usual
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

// Chosen is the engine of the latest Generate; none for a closed loop, whose users send themselves.
func (g *Generator) Chosen() load.Engine { return g.chosen }

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
	timetable := p.Schedule.Timetable()
	times, first := p.Part.Pacer(timetable), timetable.Due(0)
	if p.Schedule.Closed() {
		first = -p.Schedule.Warmup
	}
	zero := p.Zero(first, lead)
	by := newCarrier(ctx, p, g.patience)
	defer by.close()
	r := newRun(p, times, templates, zero, by, emit, &g.peak)
	started(zero)
	var whole bool
	switch g.chosen = EngineOf(p); {
	case p.Schedule.Closed():
		r.users(ctx)
		whole = ctx.Err() == nil
	case g.chosen == load.Turbo:
		r.turbo(ctx)
		whole = r.sent.Load() >= times.Count()
	default:
		r.attack(ctx)
		whole = r.sent.Load() >= times.Count()
	}
	err = r.problem()
	if err == nil && ctx.Err() != nil && !whole {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("generate load: %w", err)
	}
	return nil
}

// turboFrom is the rate per second from which on the faster engine is taken: well below what the other holds.
const turboFrom = 10_000

// EngineOf is the engine that a plan is sent by: the one that it names, or else one that holds its rate. A closed loop has none.
func EngineOf(p load.Plan) load.Engine {
	switch {
	case p.Schedule.Closed():
		return ""
	case p.Engine != "":
		return p.Engine
	case p.Schedule.Peak()*p.Part.Share() >= turboFrom:
		return load.Turbo
	}
	return load.Attack
}

// A run is one Generate.
type run struct {
	plan      load.Plan
	times     load.Pacer // of the part that is ours, by its own count
	templates *load.Templates
	zero      time.Time
	carrier   carrier
	emit      func(record.Sample)
	peak      *atomic.Int64
	clients   clients
	kinds     []kind // by request

	nodeHeader, attemptsHeader string // in lower case

	open   atomic.Int64  // requests under way
	sent   atomic.Uint64 // samples of requests that were not broken off
	sleeps atomic.Pointer[sleeps]

	mu      sync.Mutex
	trouble error // the first thing that kept a request from being sent
}

func newRun(p load.Plan, times load.Pacer, templates *load.Templates, zero time.Time, by carrier, emit func(record.Sample), peak *atomic.Int64) *run {
	r := &run{
		plan: p, times: times, templates: templates, zero: zero, carrier: by, emit: emit, peak: peak, kinds: make([]kind, len(p.Requests)),
		nodeHeader: strings.ToLower(p.NodeHeader), attemptsHeader: strings.ToLower(p.AttemptsHeader),
	}
	for i := range r.kinds {
		r.kinds[i] = newKind(p, templates, i)
	}
	for _, v := range p.Verify {
		if i := p.Judged(v); i >= 0 {
			r.kinds[i].judged, r.kinds[i].lean, r.kinds[i].fixed = true, false, nil
		}
	}
	for _, s := range p.Sessions {
		for i := range s.Steps {
			r.kinds[s.First+i].lean, r.kinds[s.First+i].fixed = false, nil // it has cookies
		}
	}
	return r
}

func (r *run) now() time.Duration { return time.Since(r.zero) }

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == nil {
		r.trouble = err
	}
}

func (r *run) problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}
