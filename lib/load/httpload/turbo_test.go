package httpload

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// After a pause of the machine many requests are due. Not each of them has a connection opened: those that there are may send them all.
func TestWorkersAreMadeInBursts(t *testing.T) {
	const now = 500 * time.Millisecond
	g, cancel := held(t, 2*leastBurst+1, now)
	defer cancel()
	for i, want := range []struct {
		made int
		more bool
	}{{leastBurst, true}, {2 * leastBurst, true}, {g.most, false}} {
		_, more := g.release(0, now)
		if g.made != want.made || more != want.more || g.next != uint64(want.made) {
			t.Errorf("call %d: %d workers, %d requests given, more %t; want %d of both, %t", i+1, g.made, g.next, more, want.made, want.more)
		}
	}
	cancel()
	g.finish()
	g.workers.Wait()
}

// Those that there are have a quantum for it, each time.
func TestBurstsAreApart(t *testing.T) {
	const workers = 200 * leastBurst
	g, cancel := held(t, workers, time.Second) // all 1,000 requests are due
	defer cancel()
	began := time.Now()
	g.pace(newPacer(g.ctx, g.run))
	// A nap that a signal cuts short is no matter.
	if took, least := time.Since(began), 199*quantum/2; g.made != workers || took < least {
		t.Errorf("%d workers were made within %v, want %d in no less than %v", g.made, took, workers, least)
	}
	cancel()
	g.workers.Wait()
}

// When a load is broken off after its last request was due, those that wait for a connection are not worked off.
func TestCancelWithABacklog(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &loadtest.Server{Answer: func(net.Conn, *http.Request) error { <-ctx.Done(); return ctx.Err() }}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer cancel()
	p := atRate(1e6)
	p.Schedule, p.Timeout = schedule.Constant(1e6, 0, 100*time.Millisecond), time.Minute
	p.Dial, p.Connections, p.Engine = s.Address(), 2, load.Turbo
	p.Requests[0].Name = "one"
	var told atomic.Int64
	begun := make(chan time.Time, 1)
	ended := make(chan error)
	go func() {
		ended <- new(Generator).Generate(ctx, p, func(zero time.Time) { begun <- zero }, func(record.Sample) { told.Add(1) })
	}()
	time.Sleep(time.Until((<-begun).Add(300 * time.Millisecond))) // all 100,000 are due
	cancel()
	if err := <-ended; err == nil || told.Load() > 10 {
		t.Errorf("%d requests have an end: %v", told.Load(), err)
	}
}

// held is the gate of a load at 1,000/s that late, with a target that holds every request until the end.
func held(t *testing.T, connections int, late time.Duration) (g *gate, end context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &loadtest.Server{Answer: func(net.Conn, *http.Request) error { <-ctx.Done(); return ctx.Err() }}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p := atRate(1000)
	p.Dial, p.Connections = s.Address(), connections
	templates, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	by := newCarrier(ctx, p, 0)
	t.Cleanup(by.close)
	times := p.Part.Pacer(p.Schedule.Timetable())
	r := newRun(p, times, templates, time.Now().Add(-late), by, func(record.Sample) {}, new(atomic.Int64))
	return &gate{run: r, ctx: ctx, count: times.Count(), most: connections, burst: burst(p)}, cancel
}

func atRate(rate float64) load.Plan {
	return load.Plan{
		Schedule: schedule.Constant(rate, 0, time.Second), Timeout: 10 * time.Second, Ingress: "http://ingress:80",
		Requests: []load.Request{{Name: "one", Method: http.MethodGet, Path: "/"}},
	}
}

// A rate that needs many new connections, when a target holds all of them, gets twice as many.
func TestBurst(t *testing.T) {
	for rate, want := range map[float64]int{1: leastBurst, 1000: leastBurst, 60_000: 24, 1e6: 400} {
		if n := burst(atRate(rate)); n != want {
			t.Errorf("%v/s: %d, want %d", rate, n, want)
		}
	}
}

// Loads that are under way at once share one collector: the last one to end sets back what was before the first.
func TestCollectorIsShared(t *testing.T) {
	const own = 321
	defer debug.SetGCPercent(debug.SetGCPercent(own))
	is := func() int {
		now := debug.SetGCPercent(own)
		debug.SetGCPercent(now)
		return now
	}
	first := gc.hold()
	second := gc.hold()
	first()
	if n := is(); n != turboGC {
		t.Errorf("%d percent while one goes on, want %d", n, turboGC)
	}
	second()
	if n := is(); n != own {
		t.Errorf("%d percent afterwards, want %d as before", n, own)
	}
}
