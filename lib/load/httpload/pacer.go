package httpload

import (
	"context"
	"sort"
	"time"
)

// A pacer waits for due times. It sleeps in the kernel, because the runtime's own sleep is no finer than 1 ms in an idle process.
type pacer struct {
	run  *run
	done <-chan struct{} // closed when the load is to end
	fast bool
}

const (
	// slice bounds one sleep, so that a pacer notices within it that the load is to end.
	slice = 50 * time.Millisecond
	// Above fastRate a wake-up for each request costs more than it gives: then at least
	// quantum is slept, and the requests due meanwhile go out together, that much late.
	fastRate = 5000
	quantum  = 200 * time.Microsecond
)

func newPacer(ctx context.Context, r *run) *pacer {
	return &pacer{run: r, done: ctx.Done(), fast: r.plan.Schedule.Peak()*r.plan.Part.Share() > fastRate}
}

// until returns when it is that late, and when that was; or reports false when the load is to end. One goroutine calls it. It has
// no thread of its own: to wake a worker would then cost a change of threads, which on a busy machine takes milliseconds.
func (p *pacer) until(due time.Duration) (now time.Duration, ok bool) {
	for {
		select {
		case <-p.done:
			return now, false
		default:
		}
		now = p.run.now()
		left := due - now
		if left <= 0 {
			return now, true
		}
		if p.fast {
			left = max(left, quantum)
		}
		nap(min(left, slice))
	}
}

// A span of time in which the pacer slept on, although a request was due and a connection was free for it. What
// became due in it is late on the generator's account, also what then has to wait until the burst that this makes is
// through.
type oversleep struct{ from, to time.Duration }

// sleeps are the pacer's, in order and apart from one another. Many read them while they grow: whoever has them has them as they were, since
// nothing that is there is written again. The next ones share their array, and have more behind it.
type sleeps struct {
	ended []oversleep
	last  oversleep // that may go on
}

// leastOversleep is what is taken note of: below it a lag is seen from when a request was sent.
const leastOversleep = time.Millisecond

// overslept takes note of one. One goroutine calls it.
func (r *run) overslept(from, to time.Duration) {
	if to-from < leastOversleep {
		return
	}
	all := &sleeps{last: oversleep{from, to}}
	if old := r.sleeps.Load(); old != nil {
		all.ended = old.ended
		if from < old.last.to { // it goes on
			all.last.from = old.last.from
		} else {
			all.ended = append(all.ended, old.last)
		}
		for len(all.ended) > 0 && all.ended[0].to+2*r.plan.Timeout <= to { // what became due in it is gone
			all.ended = all.ended[1:]
		}
	}
	r.sleeps.Store(all)
}

// lateness is how long after its due time the generator came to a request at all, being late itself.
func (r *run) lateness(due time.Duration) time.Duration {
	all := r.sleeps.Load()
	if all == nil {
		return 0
	}
	o := all.last
	if due < o.from {
		i := sort.Search(len(all.ended), func(i int) bool { return due < all.ended[i].to })
		if i == len(all.ended) {
			return 0
		}
		o = all.ended[i]
	}
	if due < o.from || due >= o.to {
		return 0
	}
	return o.to - due
}
