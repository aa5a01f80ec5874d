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

	"github.com/tutti-bench/tutti/lib/record"
)

// attack sends the plan by vegeta's attacker.
//
// The attacker turns our schedule into concurrent calls, and judges nothing here. It has as many workers as there may be
// connections. When all are taken it blocks, and so does the pacer under it: the requests that become due
// meanwhile are sent late, and because their times count from when they were due, and not from when a worker took them,
// nothing of the wait is lost.
func (r *run) attack(ctx context.Context) {
	a := &attacker{run: r, pacer: newPacer(ctx, r), stuck: record.None}
	send := transport(func(q *http.Request) (*http.Response, error) { return a.roundTrip(ctx, q) })
	workers := uint64(r.plan.Connections)
	by := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: send}), vegeta.MaxWorkers(workers), vegeta.Workers(min(vegeta.DefaultWorkers, workers)),
	)
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: r.plan.Ingress})
	for range by.Attack(target, a, 0, "") {
		continue // our samples say more, but vegeta's workers wait until their results are taken
	}
	a.senders.close()
}

// An attacker is one attack of vegeta's: its pacer and its transport.
type attacker struct {
	run     *run
	pacer   *pacer
	senders lifo

	given, ended atomic.Int64           // requests that vegeta has been let have, and those that have ended
	blocked      [1 << 10]atomic.Uint64 // one more than the number of a request that a connection had to come free for, by that number

	// The pacer's.
	full  bool          // all connections were taken when the last request was given
	stuck time.Duration // when the last one was taken that had to wait for that: until then nothing could be sent
}

// Pace makes vegeta's attacker keep our schedule: it waits inside and returns 0. Requests are counted and not clocked, so
// that every run of a plan has the same ones. The attacker calls it from one goroutine, when somebody has taken the request before.
func (a *attacker) Pace(_ time.Duration, hits uint64) (wait time.Duration, stop bool) {
	if hits >= a.run.times.Count() {
		return 0, true
	}
	if a.full {
		a.stuck = a.run.now()
	}
	due := a.run.times.Due(hits)
	now, ok := a.pacer.until(due)
	if !ok {
		return 0, true
	}
	a.full = a.given.Load()-a.ended.Load() >= int64(a.run.plan.Connections)
	if a.full || due < a.stuck {
		// Nobody can take it now. A place can be lost to one that comes a thousand later, if a worker is that slow; then
		// a wait for the target counts as a lag of our own.
		a.blocked[hits%uint64(len(a.blocked))].Store(hits + 1)
	} else {
		a.run.overslept(due, now) // or was slow itself, which is the same to the request
	}
	a.given.Add(1)
	return 0, false
}

// Rate is for vegeta's own use.
func (a *attacker) Rate(time.Duration) float64 {
	return a.run.plan.Schedule.Mean() * a.run.plan.Part.Share()
}

// transport is an http.RoundTripper.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// seqHeader carries the number that the attacker gave to a request.
const seqHeader = "X-Vegeta-Seq"

// roundTrip takes the number from the attacker's request, which is never sent, sends
// the plan's request of this number, and gives the attacker an empty answer.
func (a *attacker) roundTrip(ctx context.Context, q *http.Request) (*http.Response, error) {
	defer a.ended.Add(1)
	n, err := strconv.ParseUint(q.Header.Get(seqHeader), 10, 64)
	if err != nil {
		a.run.fail(fmt.Errorf("number of a request: %w", err))
		return nil, err
	}
	c := a.run.claim(n)
	if a.blocked[n%uint64(len(a.blocked))].Load() == n+1 {
		c.free = max(c.due, a.run.now())
	}
	by := a.senders.pop()
	if by == nil {
		by = new(sender)
	}
	a.run.process(ctx, c, by)
	a.senders.push(by)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: q}, nil
}

// A lifo has the senders that nobody uses. The last one put is the first one taken, so that the connections of those not needed
// grow old.
type lifo struct {
	mu  sync.Mutex
	all []*sender
}

func (l *lifo) pop() *sender {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.all)
	if n == 0 {
		return nil
	}
	s := l.all[n-1]
	l.all = l.all[:n-1]
	return s
}

func (l *lifo) push(s *sender) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

// close ends all of them.
func (l *lifo) close() {
	for s := l.pop(); s != nil; s = l.pop() {
		s.close()
	}
}
