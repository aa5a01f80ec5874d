package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A verifyOrder has the agent read back what the load before it wrote.
type verifyOrder struct {
	// Problem says why nothing can be read: then the writes are only counted.
	Problem string `json:"problem,omitempty"`
}

// Progress is how far a verification is.
type Progress struct {
	Done uint64 `json:"done"` // writes that are settled
	Of   uint64 `json:"of"`
}

// written is a load that has ended: what reading back starts from.
type written struct {
	plan      load.Plan
	ledger    *load.Ledger
	histories *histories
}

const (
	maxOpsPerReply = 10_000 // operations of histories, give or take one key's

	tellEvery  = time.Second            // progress
	firstPause = 100 * time.Millisecond // between two rounds of reads; doubled each time
	lastPause  = 2 * time.Second
	lastSpare  = 200 * time.Millisecond // for the last round, beyond what it takes
	maxGot     = 120                    // bytes of an answer that are kept as an example
)

// verify reads back what the load before it wrote.
func (s *server) verify(ctx context.Context, id uint64, o verifyOrder) {
	writes, err := s.verified(ctx, id, o)
	s.loading.Store(0)
	s.out.put(reply{ID: id, Writes: writes, Error: text(err), End: true})
}

func (s *server) verified(ctx context.Context, id uint64, o verifyOrder) ([]record.Writes, error) {
	if s.wrote == nil {
		return nil, errors.New("there is no load whose writes could be read back")
	}
	reader, ok := s.generator.(load.Reader)
	if !ok {
		return nil, errors.New("the load generator cannot read anything back")
	}
	p := s.wrote.plan
	reads, err := p.Readbacks()
	if err != nil {
		return nil, err
	}
	turns, err := p.Templates()
	if err != nil {
		return nil, err
	}
	wire := reader.Reading(ctx, p)
	defer wire.Close()
	all := make([]record.Writes, len(p.Verify))
	for i := range p.Verify {
		v := &verification{
			written: s.wrote, item: i, verify: &p.Verify[i], reads: reads, turns: turns, wire: wire,
			tell: func(done Progress) { s.out.put(reply{ID: id, Progress: &done}) },
		}
		if err := v.run(ctx, o.Problem); err != nil {
			return nil, err
		}
		all[i] = v.writes
	}
	s.wrote.histories.each(maxOpsPerReply, func(some []record.History) { s.out.put(reply{ID: id, Histories: some}) })
	return all, nil
}

// A verification reads back the writes of one request.
type verification struct {
	*written
	item   int // of the plan's verification
	verify *load.Verify
	reads  *load.Readbacks
	turns  *load.Templates
	wire   load.Exchanger
	tell   func(Progress)

	request int // of the plan
	begun   time.Time
	sent    atomic.Uint64
	settled atomic.Uint64
	open    uint64

	mu      sync.Mutex
	missing []uint64 // a bit for each number: the last answer did not hold it
	got     map[uint64]string
	writes  record.Writes
	trouble error
}

// run reads until everything is settled, or the time is over.
func (v *verification) run(ctx context.Context, problem string) error {
	v.request = -1
	for i, r := range v.plan.Requests {
		if r.Name == v.verify.Of {
			v.request = i
		}
	}
	if v.request < 0 {
		return fmt.Errorf("verify %q: the load has no such request", v.verify.Of)
	}
	v.writes = record.Writes{Of: v.verify.Of, Read: v.verify.Read.Method + " " + v.verify.Read.Path, Within: v.verify.Within, Problem: problem}
	v.got = make(map[uint64]string)
	from, to := v.ledger.Range()
	v.missing = make([]uint64, (to-from+63)/64)
	v.each(func(_ uint64, o load.Outcome) bool {
		if o == load.Acknowledged {
			v.writes.Acknowledged++
		} else {
			v.writes.Uncertain++
		}
		return true
	})
	v.open = v.writes.Acknowledged + v.writes.Uncertain
	if v.plan.Keys > 0 {
		v.last()
	}
	if problem == "" {
		if err := v.rounds(ctx); err != nil {
			return err
		}
	}
	v.sum()
	return nil
}

// each calls f for every write that is not settled, in the order of the schedule, until f returns false.
func (v *verification) each(f func(seq uint64, o load.Outcome) bool) {
	from, to := v.ledger.Range()
	for seq := from; seq < to; seq++ {
		o := v.ledger.At(seq)
		if (o == load.Acknowledged || o == load.Uncertain) && v.turns.Turn(seq).Request == v.request && !f(seq, o) {
			return
		}
	}
}

// rounds reads everything that is open, again and again, with a pause between two rounds.
func (v *verification) rounds(ctx context.Context) error {
	v.begun = time.Now()
	deadline := v.begun.Add(v.verify.Within)
	told, tellDone := make(chan struct{}), make(chan struct{})
	go func() { defer close(told); v.telling(tellDone) }()
	defer func() { close(tellDone); <-told }()
	pause := firstPause
	for v.settled.Load() < v.open {
		v.round(ctx, deadline)
		v.mu.Lock()
		err := v.trouble
		v.mu.Unlock()
		if err != nil {
			return fmt.Errorf("verify %q: %w", v.verify.Of, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("verify %q: %w", v.verify.Of, context.Cause(ctx))
		}
		// The last round begins so late that it just fits: what is lost is lost at the end, not a while before.
		left := float64(v.open-v.settled.Load()) / v.plan.ReadRate()
		last := deadline.Add(-time.Duration(left*float64(time.Second)) - lastSpare)
		wait := min(pause, time.Until(last))
		if wait <= 0 {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
	v.writes.Took, v.writes.Reads = time.Since(v.begun), v.sent.Load()
	return nil
}

// telling tells how far it is until done is closed.
func (v *verification) telling(done <-chan struct{}) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			v.tell(Progress{Done: v.settled.Load(), Of: v.open})
		case <-done:
			return
		}
	}
}

// round reads every open write once. No read begins after the deadline.
func (v *verification) round(ctx context.Context, deadline time.Time) {
	work := make(chan uint64)
	var readers sync.WaitGroup
	for range load.ReadsOpen {
		readers.Go(func() {
			for seq := range work {
				v.read(ctx, seq)
			}
		})
	}
	began, n := time.Now(), 0
	v.each(func(seq uint64, _ load.Outcome) bool {
		due := began.Add(time.Duration(float64(n) / v.plan.ReadRate() * float64(time.Second)))
		n++
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil || !time.Now().Before(deadline) {
			return false
		}
		work <- seq
		return true
	})
	close(work)
	readers.Wait()
}

// read reads one write and notes what that says of it.
func (v *verification) read(ctx context.Context, seq uint64) {
	turn := v.turns.Turn(seq)
	m, err := v.reads.Message(v.item, turn)
	var want string
	if err == nil {
		want, err = v.reads.Want(v.item, turn)
	}
	if err != nil {
		v.fail(fmt.Errorf("number %d: %w", seq, err))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, v.plan.ReadTimeout())
	defer cancel()
	v.sent.Add(1)
	a, err := v.wire.Exchange(ctx, m)
	uncertain := v.ledger.At(seq) == load.Uncertain
	copies := 0
	says := err == nil && tells(a.Status)
	switch {
	case !says || a.Status >= 400:
	case v.plan.Keys == 0:
		copies = v.verify.Copies(string(a.Body), want)
	default:
		copies, says = v.sharedCopies(turn, a)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case copies > 0 || says && uncertain:
		v.ledger.Set(seq, load.Settled)
		v.settled.Add(1)
		if copies > 1 {
			v.writes.Duplicated++
		}
		if uncertain && copies > 0 {
			v.writes.Found++
		}
		if !uncertain {
			v.writes.Kept++
		}
		delete(v.got, seq)
	case !uncertain:
		v.lacks(seq, says, got(a, err))
	}
}

// tells reports whether an answer with this status says what is stored, and not merely that nobody could look.
func tells(status int) bool {
	return status >= 200 && status < 400 || status == 404 || status == 410
}

// lacks notes that an acknowledged write was not found. Of the first few it keeps what came instead. The caller holds the lock.
func (v *verification) lacks(seq uint64, says bool, what string) {
	from, _ := v.ledger.Range()
	i := seq - from
	v.missing[i/64] &^= 1 << (i % 64)
	if says {
		v.missing[i/64] |= 1 << (i % 64)
	}
	v.got[seq] = what
	if len(v.got) > record.MaxLacks {
		last := seq
		for s := range v.got {
			last = max(last, s)
		}
		delete(v.got, last)
	}
}

// got says in a few words what came.
func got(a load.Answer, err error) string {
	if err != nil {
		return cutTo(err.Error(), maxGot)
	}
	body := strings.ToValidUTF8(string(a.Body[:min(len(a.Body), maxGot)]), "�")
	return cutTo(strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, strings.Join(strings.Fields(body), " "))), maxGot)
}

func cutTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func (v *verification) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.trouble == nil {
		v.trouble = err
	}
}

// sum counts what is left open at the end.
func (v *verification) sum() {
	w := &v.writes
	from, _ := v.ledger.Range()
	times := v.plan.Schedule.Timetable()
	v.each(func(seq uint64, o load.Outcome) bool {
		if o != load.Acknowledged {
			return true
		}
		i, due := seq-from, times.Due(seq)
		lost := v.missing[i/64]>>(i%64)&1 == 1
		if !lost {
			w.Unread++
		} else {
			if w.Lost == 0 {
				w.First = due
			}
			w.Lost++
			w.Last = due
		}
		if len(w.Lacks) < record.MaxLacks && w.Problem == "" {
			l := record.Lack{Seq: seq, Due: due, Got: v.got[seq], Lost: lost}
			if m, err := v.reads.Message(v.item, v.turns.Turn(seq)); err == nil {
				l.Read = m.URL.RequestURI()
			}
			w.Lacks = append(w.Lacks, l)
		}
		return true
	})
}
