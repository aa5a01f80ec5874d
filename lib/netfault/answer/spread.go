package answer

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// kept is how many durations a spread is made of; of more, a random sample is kept.
const kept = 1 << 14

// A tally is what a rule has delivered so far. It is safe for concurrent use.
type tally struct {
	packets, hit, passed, resets atomic.Uint64

	mu       sync.Mutex
	count    uint64
	sum, sq  float64 // of all, in nanoseconds
	min, max time.Duration
	sample   []time.Duration
}

// held notes for how long something was held back.
func (t *tally) held(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 || d < t.min {
		t.min = d
	}
	t.max = max(t.max, d)
	t.count++
	t.sum += float64(d)
	t.sq += float64(d) * float64(d)
	if len(t.sample) < kept {
		t.sample = append(t.sample, d)
	} else if i := rand.Uint64N(t.count); i < kept { // algorithm R: each has the same chance to be in the sample
		t.sample[i] = d
	}
}

func (t *tally) delivered() rule.Delivered {
	d := rule.Delivered{Packets: t.packets.Load(), Hit: t.hit.Load(), Passed: t.passed.Load(), Resets: t.resets.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 {
		return d
	}
	sorted := slices.Clone(t.sample)
	slices.Sort(sorted)
	at := func(p float64) time.Duration { return sorted[int(p*float64(len(sorted)-1)+0.5)] } // nearest rank
	mean := t.sum / float64(t.count)
	d.Delay = &rule.Spread{
		Count: t.count, Min: t.min, P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: t.max,
		Mean: time.Duration(mean), SD: time.Duration(math.Sqrt(max(0, t.sq/float64(t.count)-mean*mean))),
	}
	return d
}
