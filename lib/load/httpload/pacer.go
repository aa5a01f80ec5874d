package httpload

import (
	"runtime"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

// A pacer makes vegeta's attacker keep our schedule. It waits inside Pace and returns 0,
// because the runtime's own sleep is no finer than 1 ms in an idle process. Requests are
// counted and not clocked, so that every run of a plan has the same ones.
type pacer struct {
	done   <-chan struct{} // closed when the attack is to end
	zero   time.Time
	due    load.Pacer
	rate   float64 // about, per second
	pinned bool
}

const (
	// slice bounds one sleep, so that a pacer notices within it that the attack is to end.
	slice = 50 * time.Millisecond
	// Above fastRate a wake-up for each request costs more than it gives: then at least
	// quantum is slept, and the requests due meanwhile go out together, that much late.
	fastRate = 5000
	quantum  = 200 * time.Microsecond
)

// Pace blocks until request number hits is due. The attacker calls it from one goroutine.
func (p *pacer) Pace(_ time.Duration, hits uint64) (wait time.Duration, stop bool) {
	if hits >= p.due.Count() {
		return 0, true
	}
	if !p.pinned {
		// Never unlocked: the goroutine ends with the attack, and the thread, with its
		// own timer slack, ends with it.
		p.pinned = true
		runtime.LockOSThread()
		precise()
	}
	due := p.zero.Add(p.due.Due(hits))
	for {
		select {
		case <-p.done:
			return 0, true
		default:
		}
		left := time.Until(due)
		if left <= 0 {
			return 0, false
		}
		if p.rate > fastRate {
			left = max(left, quantum)
		}
		nap(min(left, slice))
	}
}

// Rate is for vegeta's own use.
func (p *pacer) Rate(time.Duration) float64 { return p.rate }
