package httpload_test

import (
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// Availability is arithmetic: each tenth request fails.
func TestAvailabilityAgainstTheServersLog(t *testing.T) {
	engines(t, testAvailabilityAgainstTheServersLog)
}

func testAvailabilityAgainstTheServersLog(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: 20 * time.Millisecond, FailEvery: 10})
	b := sum(t, generator(t), plan(t, s, 500, time.Second))
	failed := 0
	for _, e := range s.Log() {
		if e.Status != 200 {
			failed++
		}
	}
	if b.due != 500 || b.good != 450 || failed != 50 || len(s.Log()) != 500 {
		t.Errorf("%d of %d are good; the server saw %d and failed %d", b.good, b.due, len(s.Log()), failed)
	}
	if b.response.Min() < 20*time.Millisecond || b.service.Min() < 20*time.Millisecond {
		t.Errorf("fastest response %v, fastest service %v: the server takes 20ms for each", b.response.Min(), b.service.Min())
	}
}

// A server that stops for a tenth of the time makes a tenth of the requests wait, evenly
// between 0 and the length of the stop. Whoever measures from when a request was sent, with its
// senders all waiting, reports a percentile near 0 instead.
func TestFreezeOfTheServerByDueTime(t *testing.T) { engines(t, testFreezeOfTheServerByDueTime) }

func testFreezeOfTheServerByDueTime(t *testing.T) {
	const rate, measured, frozen = 500, 2 * time.Second, 200 * time.Millisecond
	// With connections for all, and for a few: then most wait in the schedule.
	for _, connections := range []int{10_000, 20} {
		s := serve(t, &loadtest.Server{FreezeFrom: measured / 3, FreezeFor: frozen})
		p := plan(t, s, rate, measured)
		p.Requests[0].Path, p.Connections = "/{{.Seq}}", connections
		b := sum(t, generator(t), p)
		if b.good != b.due || b.due != p.Schedule.Count() {
			t.Errorf("%d connections: %d of %d are good", connections, b.good, b.due)
		}
		from, to := s.Freeze()
		arithmetic := waits(p.Schedule, from.Sub(b.zero), to.Sub(b.zero))
		log := logged(t, p.Schedule, b.zero, s.Log())
		for _, q := range []float64{0.95, 0.99, 0.999, 1} {
			checkQuantile(t, q, arithmetic, log, &b.response, b.noise)
			// Who takes the generator's own lag away must not take this away.
			least, _ := arithmetic.Rank(uint64(math.Ceil(q * float64(arithmetic.Total()))))
			if is, _ := b.unlagged.Rank(uint64(math.Ceil(q * float64(b.unlagged.Total())))); is < least*9/10-5*time.Millisecond-2*b.noise {
				t.Errorf("%d connections: quantile %v without the generator's own lag is %v, on an idle machine %v", connections, q, is, least)
			}
		}
	}
}

// A generator whose pacer oversleeps says so of every request that became due meanwhile, also of those that then have to
// wait for a connection behind the others.
func TestOversleptIsOwnLag(t *testing.T) { engines(t, testOversleptIsOwnLag) }

func testOversleptIsOwnLag(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: 5 * time.Millisecond})
	p := plan(t, s, 1000, 600*time.Millisecond)
	p.Connections = 4 // that carry 800/s: the burst takes longer than the sleep
	var mu sync.Mutex
	own, all := time.Duration(0), time.Duration(0)
	// Sending begins 300 ms late, with all connections free.
	late := func(zero time.Time) { time.Sleep(time.Until(zero.Add(300 * time.Millisecond))) }
	err := generator(t).Generate(t.Context(), p, late, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		if x.Due < 250*time.Millisecond {
			own, all = own+x.OwnLag(), all+300*time.Millisecond-x.Due
			if x.OwnLag() > x.Sent-x.Due {
				t.Errorf("due %v, sent %v, and an own lag of %v", x.Due, x.Sent, x.OwnLag())
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if own < all*9/10 {
		t.Errorf("the requests due in the sleep have %v of own lag in all, of at least %v", own, all)
	}
}

// A generator that gets no time for a while blames itself: what it can no longer send in time is
// unsent and no timeout, and what it sends late has its lag told.
func TestFreezeOfTheGenerator(t *testing.T) { engines(t, testFreezeOfTheGenerator) }

func testFreezeOfTheGenerator(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	p := plan(t, s, 100, 600*time.Millisecond)
	p.Timeout = 200 * time.Millisecond
	var mu sync.Mutex
	count, lag := make(map[record.Class]int), time.Duration(0)
	frozen := func(zero time.Time) { time.Sleep(time.Until(zero.Add(350 * time.Millisecond))) }
	err := generator(t).Generate(t.Context(), p, frozen, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		count[x.Class]++
		lag = max(lag, x.OwnLag())
		if x.Class == record.Unsent && x.Sent != record.None {
			t.Errorf("request due at %v was sent at %v and is unsent", x.Due, x.Sent)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// Due before 150 ms, and so beyond their deadline when sending began: 15 of 60.
	if n := count[record.Unsent]; n < 15 || n+len(s.Log()) > 60 {
		t.Errorf("%v; the server saw %d", count, len(s.Log()))
	}
	if lag < 100*time.Millisecond {
		t.Errorf("own lag is at most %v, though nothing was sent for 350ms", lag)
	}
}

// summary is a whole trial's bins in one.
type summary struct {
	zero              time.Time
	due, good         uint64
	response, service record.Hist
	unlagged          record.Hist   // response without the generator's own lag
	noise             time.Duration // the longest response time of the first half second
}

func sum(t *testing.T, g *httpload.Generator, p load.Plan) *summary {
	t.Helper()
	all := new(summary)
	b := record.NewBinner(p.Schedule.Timetable().Due, p.Schedule.Count(), p.Timeout, func(b record.Bin) {
		all.due, all.good = all.due+b.Due, all.good+b.Good
		for _, c := range b.Cells {
			if b.Start() < time.Second/2 {
				all.noise = max(all.noise, c.Response.Max())
			}
			all.response.Merge(c.Response)
			all.service.Merge(c.Service)
			all.unlagged.Merge(c.Unlagged)
		}
	})
	err := g.Generate(t.Context(), p, func(z time.Time) { all.zero = z }, func(x record.Sample) {
		if !b.Add(x) {
			t.Errorf("sample refused: %+v", x)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	return all
}

// waits is what the requests wait for a server that is frozen in [from, to), and else takes no time.
func waits(c schedule.Schedule, from, to time.Duration) *record.Hist {
	h, times := new(record.Hist), c.Timetable()
	for n := range times.Count() {
		if due := times.Due(n); due >= from && due < to {
			h.Add(to - due)
		} else {
			h.Add(0)
		}
	}
	return h
}

// logged is each request's time from when it was due to when the server had answered it: the truth
// on a machine that others use too, where server and generator can be late.
func logged(t *testing.T, c schedule.Schedule, zero time.Time, log []loadtest.Entry) *record.Hist {
	t.Helper()
	h, times := new(record.Hist), c.Timetable()
	for _, e := range log {
		n, err := strconv.ParseUint(e.Path[1:], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		h.Add(e.Answered.Sub(zero.Add(times.Due(n))))
	}
	return h
}

// checkQuantile checks that a quantile is not below what arithmetic says, nor far from what the
// server's log says: 2 % and 5 ms, and above it what the way back may take on a busy machine, of
// which noise gives an idea.
func checkQuantile(t *testing.T, q float64, arithmetic, log, got *record.Hist, noise time.Duration) {
	t.Helper()
	least, _ := arithmetic.Rank(uint64(math.Ceil(q * float64(arithmetic.Total()))))
	want, _ := log.Rank(uint64(math.Ceil(q * float64(log.Total()))))
	is, _ := got.Rank(uint64(math.Ceil(q * float64(got.Total()))))
	t.Logf("quantile %v: %v, by the server's log %v, on an idle machine %v, noise %v", q, is, want, least, noise)
	if is < least-least/50-5*time.Millisecond {
		t.Errorf("quantile %v is %v, below the %v of arithmetic", q, is, least)
	}
	if is < want-want/50-5*time.Millisecond || is > want+want/50+50*time.Millisecond+2*noise {
		t.Errorf("quantile %v is %v, by the server's log it is %v", q, is, want)
	}
}
