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
	ctx, cancel := context.WithCancel(t.Context())
	s := &loadtest.Server{Answer: func(net.Conn, *http.Request) error { <-ctx.Done(); return ctx.Err() }}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer cancel()
	p := atRate(1000)
	p.Dial, p.Connections = s.Address(), 2*leastBurst+1
	templates, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	by := newCarrier(ctx, p)
	defer by.close()
	times := p.Part.Pacer(p.Schedule.Timetable())
	now := 500 * time.Millisecond
	r := newRun(p, times, templates, time.Now().Add(-now), by, func(record.Sample) {}, new(atomic.Int64))
	g := &gate{run: r, ctx: ctx, count: times.Count(), most: p.Connections, burst: burst(p)}
	for i, want := range []struct {
		made int
		more bool
	}{{leastBurst, true}, {2 * leastBurst, true}, {p.Connections, false}} {
		_, more := g.release(0, now)
		if g.made != want.made || more != want.more || g.next != uint64(want.made) {
			t.Errorf("call %d: %d workers, %d requests given, more %t; want %d of both, %t", i+1, g.made, g.next, more, want.made, want.more)
		}
	}
	cancel()
	g.finish()
	g.workers.Wait()
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
