package trial

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// noteEarly is how long before a fault's time it is written down that it comes.
const noteEarly = 100 * time.Millisecond

// A moment is told once, to all who wait for it: that it came, and when, or that it never will.
type moment struct {
	once  sync.Once
	known chan struct{} // closed when it is told; then at and came are what they are
	at    time.Duration // from zero, on the engine's clock
	came  bool
}

func newMoment() *moment { return &moment{known: make(chan struct{})} }

func (m *moment) tell(at time.Duration, came bool) {
	m.once.Do(func() {
		m.at, m.came = at, came
		close(m.known)
	})
}

// await waits until the step is due, or a little before, so that it can be written down. If it never will be, the
// record says why.
func (s *step) await(ctx context.Context) bool {
	came := true
	switch {
	case s.plan.After != nil:
		came = s.awaitOther(ctx, *s.plan.After)
	case s.plan.When != nil:
		came = s.awaitCondition(ctx)
	}
	if came && sleepUntil(ctx, s.zero.Add(s.rec.At-noteEarly)) {
		return true
	}
	if s.rec.Ended == "" {
		s.rec.Ended = record.EndedAborted
	}
	return false
}

// never says that the step's trigger did not come.
func (s *step) never(ctx context.Context, format string, args ...any) bool {
	if ctx.Err() == nil {
		s.rec.Ended = record.EndedNever
		s.problem(fmt.Errorf(format, args...))
	}
	return false
}

// awaitOther waits for the measured onset or heal of another step.
func (s *step) awaitOther(ctx context.Context, a scenario.After) bool {
	i := slices.IndexFunc(s.steps, func(o *step) bool { return o.plan.Name == a.Fault })
	if i < 0 {
		return s.never(ctx, "it waits for fault %q, which this trial does not have", a.Fault)
	}
	m, what := s.steps[i].healed, "healed"
	if a.Event == scenario.Onset {
		m, what = s.steps[i].began, "began"
	}
	select {
	case <-m.known:
	case <-ctx.Done():
		return false
	}
	if !m.came {
		return s.never(ctx, "it waits for fault %q, which never %s", a.Fault, what)
	}
	if s.rec.At = m.at + a.Delay; s.rec.At >= s.Plan.Load.Schedule.For() {
		return s.never(ctx, "it was due at %s, %v after fault %q %s, when measured load had ended", instant(s.rec.At), a.Delay, a.Fault, what)
	}
	return true
}

// awaitCondition waits for a second of measured load in which the step's condition holds. A second is judged once, as
// soon as all that was due in it has its outcome: at its end, or up to the requests' timeout later. So one in which
// requests are outstanding is judged after later ones that are complete, and none is passed over.
func (s *step) awaitCondition(ctx context.Context) bool {
	timer := time.NewTimer(time.Until(s.end()))
	defer timer.Stop()
	for cursor := 0; ; {
		full, more := s.seconds.since(&cursor)
		for _, f := range full {
			at := time.Since(s.zero)
			if at >= s.Plan.Load.Schedule.For() || !s.plan.When.Holds(analysis.Of(s.recording(f))) {
				continue
			}
			s.rec.At = at
			return true
		}
		select {
		case <-more:
		case <-timer.C:
			return s.never(ctx, "its condition %q never held", s.plan.When.Text)
		case <-ctx.Done():
			return false
		}
	}
}

// recording makes a trial of its own of one second of load.
func (s *step) recording(f second) *record.Recording {
	r := &record.Recording{Header: s.run.rec.Header, Bins: f.bins, Generator: record.Generator{Complete: true}}
	r.Zero, r.Warmup, r.For = r.Zero.Add(f.from), 0, time.Second
	for _, b := range f.bins {
		r.Generator.Scheduled += b.Due
	}
	r.Generator.Counted = r.Generator.Scheduled
	cursor := 0
	events, _ := s.watch.since(&cursor)
	for _, e := range events {
		r.Events = append(r.Events, event(e, r.Zero))
	}
	r.Sort()
	return r
}

// A second is one full second of measured load, its bins counted from its beginning.
type second struct {
	from time.Duration
	bins []record.Bin
}

// seconds collect the bins of measured load. They are safe for concurrent use.
type seconds struct {
	due    []uint64 // requests that are due in each full second; of a closed loop nobody knows
	closed bool     // a second is full when a later one has begun: its bins come in their order

	mu   sync.Mutex
	got  []uint64
	bins map[int][]record.Bin // of seconds that are not complete
	full []second             // in the order in which they became so
	more chan struct{}        // closed when there is another one
}

func newSeconds(s schedule.Schedule) *seconds {
	q := &seconds{due: make([]uint64, s.For()/time.Second), closed: s.Closed(), bins: make(map[int][]record.Bin), more: make(chan struct{})}
	q.got = make([]uint64, len(q.due))
	times := s.Timetable()
	first := times.Warm()
	for i := range q.due {
		end := time.Duration(i+1) * time.Second
		n := sort.Search(int(times.Count()-first), func(k int) bool { return times.Due(first+uint64(k)) >= end })
		q.due[i] = uint64(n)
		first += uint64(n)
	}
	return q
}

// bin takes a bin that is complete.
func (q *seconds) bin(b record.Bin) {
	const each = int(time.Second / record.Grid)
	i := b.Index / each
	if b.Index < 0 {
		return // the warm-up
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		for k := range q.bins {
			if k < i {
				q.close(k)
			}
		}
	}
	if i >= len(q.due) {
		return // a last second that is not full
	}
	from := time.Duration(i) * time.Second
	q.bins[i] = append(q.bins[i], earlier(b, from))
	if q.got[i] += b.Due; !q.closed && q.got[i] >= q.due[i] {
		q.close(i)
	}
}

// close tells of a second that is full.
func (q *seconds) close(i int) {
	q.full = append(q.full, second{time.Duration(i) * time.Second, q.bins[i]})
	delete(q.bins, i)
	close(q.more)
	q.more = make(chan struct{})
}

func (q *seconds) since(cursor *int) ([]second, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	full := q.full[*cursor:]
	*cursor = len(q.full)
	return full, q.more
}

// earlier is a bin as it is counted from another zero. The original's histograms are shared, nothing else.
func earlier(b record.Bin, by time.Duration) record.Bin {
	b.Index -= int(by / record.Grid)
	for _, t := range []*time.Duration{&b.GoodFirst, &b.GoodLast} {
		if *t != record.None {
			*t -= by
		}
	}
	b.Cells = slices.Clone(b.Cells)
	for i := range b.Cells {
		b.Cells[i].First -= by
		b.Cells[i].Last -= by
	}
	b.Tried = maps.Clone(b.Tried)
	return b
}
