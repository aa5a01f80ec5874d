package httpload

import (
	"cmp"
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// users sends as the users of a closed loop do, a goroutine for each: a request, its answer, a time to think, and the next one. A request is due when
// its user is ready, which the answer before it says; so their number is not known beforehand, and a slow target gets fewer.
func (r *run) users(ctx context.Context) {
	when := r.plan.Schedule
	c := &clock{run: r, slice: slice, rung: make(chan struct{})}
	for _, g := range when.Stages {
		if g.Think > 0 {
			c.slice = min(c.slice, g.Think)
		}
	}
	var all, waking sync.WaitGroup
	var number atomic.Uint64
	for user := range when.Users() {
		if due, ok := when.Ready(user, -when.Warmup); ok {
			all.Go(func() { r.user(ctx, c, user, due, &number) })
		}
	}
	waking.Go(c.keep)
	all.Wait()
	close(c.rung)
	waking.Wait()
}

// refrain is how long a user waits who could not send for the generator's own fault: without it a shortage would be asked for again and again,
// as fast as the machine can.
const refrain = 10 * time.Millisecond

// user is one of them, from its first request on.
func (r *run) user(ctx context.Context, c *clock, user int, due time.Duration, number *atomic.Uint64) {
	by := new(sender)
	defer by.close()
	for ok := true; ok && c.wait(ctx, due); {
		seq := number.Add(1) - 1
		s := r.send(ctx, claim{seq: seq, due: due, free: record.None}, r.templates.Turn(seq), nil, by)
		done := max(s.Done, due)
		if s.Class.Own() {
			done += refrain
		}
		due, ok = r.plan.Schedule.Next(user, done)
		if r.problem() != nil || ctx.Err() != nil {
			ok = false // it would go on for ever
		}
		s.User, s.Next = user, due
		if !ok {
			s.Next = record.None
		}
		r.emit(*s)
	}
}

// A clock wakes users when they are ready. It sleeps in the kernel, because the runtime's own sleep is no finer than 1 ms in an idle process, and
// a user who is that late would think longer than asked.
type clock struct {
	run   *run
	slice time.Duration // of sleep, at most: none that begins to think meanwhile has thought by its end
	rung  chan struct{} // closed when nobody waits any more

	mu      sync.Mutex
	waiting alarms
}

// wait waits until a moment; it reports false if ctx is done before.
func (c *clock) wait(ctx context.Context, due time.Duration) bool {
	if c.run.now() < due {
		ready := make(chan struct{})
		c.mu.Lock()
		heap.Push(&c.waiting, alarm{due, ready})
		c.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// keep wakes them.
func (c *clock) keep() {
	for {
		select {
		case <-c.rung:
			return
		default:
		}
		nap(c.ring())
	}
}

// ring wakes everybody whose moment has come, and returns for how long there is nothing to do.
func (c *clock) ring() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.run.now()
	for len(c.waiting) > 0 {
		if left := c.waiting[0].due - now; left > 0 {
			return min(left, c.slice)
		}
		close(heap.Pop(&c.waiting).(alarm).ready)
	}
	return c.slice
}

// An alarm is for one user.
type alarm struct {
	due   time.Duration
	ready chan struct{}
}

// alarms are a heap, the earliest first.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return cmp.Less(a[i].due, a[j].due) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }

// Push adds an alarm.
func (a *alarms) Push(x any) { *a = append(*a, x.(alarm)) }

// Pop takes the last one.
func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
