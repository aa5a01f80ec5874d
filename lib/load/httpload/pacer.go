package httpload

import (
	"context"
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

// leastOversleep is what is taken note of: below it a lag is seen from when a request was sent.
const leastOversleep = time.Millisecond

// overslept takes note of one. One goroutine calls it.
func (r *run) overslept(from, to time.Duration) {
	if to-from < leastOversleep {
		return
	}
	var all []oversleep
	if old := r.sleeps.Load(); old != nil {
		for _, o := range *old {
			if o.to+2*r.plan.Timeout > to { // what became due before is gone
				all = append(all, o)
			}
		}
	}
	if n := len(all); n > 0 && from < all[n-1].to { // one that goes on
		all[n-1].to = to
	} else {
		all = append(all, oversleep{from, to})
	}
	r.sleeps.Store(&all)
}

// lateness is how long after its due time the generator came to a request at all, being late itself.
func (r *run) lateness(due time.Duration) time.Duration {
	all := r.sleeps.Load()
	if all == nil {
		return 0
	}
	for i := len(*all) - 1; i >= 0; i-- {
		if o := (*all)[i]; due >= o.from && due < o.to {
			return o.to - due
		}
	}
	return 0
}
