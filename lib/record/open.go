package record

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// An OpenBinner sums the samples of a closed loop into bins. How many there will be nobody knows, but each user has one request at a time, and says
// when its next one is due as soon as one has ended. So a bin is complete once every user's next request is due later than it. It is
// safe for concurrent use.
//
// It keeps every sample until its bin is complete: those that others get while one user waits for an answer, up to its timeout.
type OpenBinner struct {
	timeout time.Duration
	emit    func(Bin)

	emitting sync.Mutex // held over each Flush

	mu      sync.Mutex
	next    []time.Duration  // by user: when its request is due that has not ended; None if it has none
	users   map[int]int      // by bin: how many of those are due in it
	samples map[int][]Sample // by bin
	told    uint64
	refused uint64
	slow    slowest
}

// NewOpenBinner makes an OpenBinner for users, of which first says when the first request of each is due, [None] for one that never comes. It
// calls emit with each bin that is complete and has requests, in their order, one call at a time; emit must not call the OpenBinner.
func NewOpenBinner(first []time.Duration, timeout time.Duration, emit func(Bin)) *OpenBinner {
	b := &OpenBinner{timeout: timeout, emit: emit, next: slices.Clone(first), users: make(map[int]int), samples: make(map[int][]Sample)}
	for _, due := range first {
		if due != None {
			b.users[IndexOf(due)]++
		}
	}
	return b
}

// Add accounts for one request. A request counts once: Add reports false for one that is not the next of its user, and
// changes nothing.
func (b *OpenBinner) Add(s Sample) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.User < 0 || s.User >= len(b.next) || s.Due == None || b.next[s.User] != s.Due || s.Next != None && s.Next < s.Due {
		b.refused++
		return false
	}
	b.told++
	i := IndexOf(s.Due)
	b.samples[i] = append(b.samples[i], s)
	if b.users[i]--; b.users[i] == 0 {
		delete(b.users, i)
	}
	if b.next[s.User] = s.Next; s.Next != None {
		b.users[IndexOf(s.Next)]++
	}
	return true
}

// Counts is how many requests were begun, how many of them were accounted for, and how often one was refused.
func (b *OpenBinner) Counts() (begun, told, refused uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	begun = b.told
	for _, n := range b.users {
		begun += uint64(n)
	}
	return begun, b.told, b.refused
}

// Flush emits the bins that are complete.
func (b *OpenBinner) Flush() {
	b.emitting.Lock()
	defer b.emitting.Unlock()
	for _, samples := range b.complete() {
		b.sum(samples)
	}
}

// complete takes the bins out in which no user can have another request.
func (b *OpenBinner) complete() [][]Sample {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := slices.Collect(maps.Keys(b.users))
	var out [][]Sample
	for _, i := range slices.Sorted(maps.Keys(b.samples)) {
		if len(open) > 0 && i >= slices.Min(open) {
			break
		}
		out = append(out, b.samples[i])
		delete(b.samples, i)
	}
	return out
}

// sum makes a bin of its samples: with them it is known when each request of it was due, as with any schedule.
func (b *OpenBinner) sum(samples []Sample) {
	slices.SortFunc(samples, func(a, b Sample) int { return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Seq, b.Seq)) })
	due := func(n uint64) time.Duration { return samples[n].Due }
	one := NewBinner(due, uint64(len(samples)), b.timeout, func(bin Bin) {
		for i := range bin.Cells {
			if e := bin.Cells[i].Example; e != nil {
				e.Seq = samples[e.Seq].Seq
			}
		}
		b.emit(bin)
	})
	b.mu.Lock()
	for n := range samples {
		b.slow.note(&samples[n])
	}
	b.mu.Unlock()
	for n, s := range samples {
		s.Seq = uint64(n)
		one.Add(s)
	}
}

// Slowest returns the slowest requests of the bins that were emitted: see [Binner.Slowest].
func (b *OpenBinner) Slowest() []Example {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow.examples()
}

// Close accounts for the request that a user has begun and nobody told of as [Unsent], and emits what is left. It does not count as told.
func (b *OpenBinner) Close() {
	b.mu.Lock()
	for user, due := range b.next {
		if due == None {
			continue
		}
		i := IndexOf(due)
		b.samples[i] = append(b.samples[i], Sample{User: user, Due: due, Next: None, Sent: None, Free: None, Done: due, Class: Unsent, Traced: true})
	}
	open := b.users
	b.users = make(map[int]int)
	b.mu.Unlock()
	b.Flush()
	b.mu.Lock()
	b.users = open // they are begun still
	b.mu.Unlock()
}
