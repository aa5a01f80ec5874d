package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A Verify says how the writes of one request are read back after the load.
type Verify struct {
	Of   string  `json:"of"`   // a request's name
	Read Request `json:"read"` // its path, headers and body are templates, filled in for the number of the write
	// Want is a template of what the answer's body must hold, or be if Whole.
	Want   string        `json:"want"`
	Whole  bool          `json:"whole"`
	Within time.Duration `json:"within"` // from the first read on; until then what is not there is read again
}

// Limits on reading back. It is load too, but closed-loop: a read begins when another one has ended.
const (
	ReadsOpen      = 32          // reads at the same time
	leastReadRate  = 500         // reads per second, at most; more if the load was faster
	MaxVerified    = 200_000_000 // requests in a schedule of which writes are verified: 3 bits are kept of each
	MaxReadTimeout = 5 * time.Second
)

// ReadRate is how many reads per second a verification sends at most: twice what the load was, and never
// less than 500.
func (p Plan) ReadRate() float64 { return max(2*p.Schedule.Mean(), leastReadRate) }

// ReadTimeout is the limit on one read: the load's own timeout, and never more than 5 s.
func (p Plan) ReadTimeout() time.Duration { return min(p.Timeout, MaxReadTimeout) }

// Verifying is how long reading back takes at most.
func (p Plan) Verifying() time.Duration {
	var d time.Duration
	for _, v := range p.Verify {
		d += v.Within + p.ReadTimeout()
	}
	return d
}

// Share is which part of all requests is the one with an index, about: that of a step is as often sent as its session begins.
func (p Plan) Share(request int) float64 {
	weights := make([]float64, len(p.Requests))
	for i, q := range p.Requests {
		weights[i], _ = weight(q.Weight) // Templates tells what is wrong
	}
	for _, s := range p.Sessions {
		w, _ := weight(s.Weight)
		for i := s.First; i < min(s.First+s.Steps, len(weights)); i++ {
			weights[i] = w
		}
	}
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if request < 0 || request >= len(weights) || sum == 0 {
		return 0
	}
	return weights[request] / sum
}

// Readbacks are the reads of a plan's verification, ready to be filled in. They are safe for concurrent use.
type Readbacks struct {
	reads *Templates
	wants []text
	plan  Plan
}

// Readbacks reads the templates of the plan's verification and fills each in once, so that one that cannot work is an error
// here and not after the load.
func (p Plan) Readbacks() (*Readbacks, error) {
	if len(p.Verify) == 0 {
		return nil, errors.New("nothing is to be verified")
	}
	r := &Readbacks{plan: p}
	reads := p
	reads.Requests, reads.Sessions, reads.Verify = nil, nil, nil
	for _, v := range p.Verify {
		q := v.Read
		q.Name = "verify " + v.Of
		reads.Requests = append(reads.Requests, q)
		want, err := newText("what the answer must hold", v.Want)
		if err != nil {
			return nil, fmt.Errorf("verify %q: %w", v.Of, err)
		}
		r.wants = append(r.wants, want)
	}
	var err error
	if r.reads, err = reads.Templates(); err != nil {
		return nil, err
	}
	for i, v := range p.Verify {
		want, err := r.Want(i, Turn{})
		if err == nil && want == "" {
			err = errors.New("what the answer must hold is empty: every answer would do")
		}
		if err == nil && p.Keys > 0 && values.FindString(want) != Value(p.Seed, 0) {
			err = errors.New("where writes share keys the answer must hold {{.Value}} as it is, so that it is known which write it is of")
		}
		if err != nil {
			return nil, fmt.Errorf("verify %q: %w", v.Of, err)
		}
	}
	return r, nil
}

// Message is the read of verification i for the write of a turn: what a step of a session wrote has the key and the value of
// its client.
func (r *Readbacks) Message(i int, write Turn) (Message, error) {
	write.Request = i
	return r.reads.Message(write, nil)
}

// Want is what the answer to it must hold.
func (r *Readbacks) Want(i int, write Turn) (string, error) {
	return r.wants[i].fill(&numbered{Seq: write.Seq, Env: r.plan.Env, client: write.Client, seed: r.plan.Seed, keys: r.plan.Keys})
}

// Copies is how often a body holds what was written. Where the whole body must be it, a body that is something
// else holds it only if it holds it more than once.
func (v *Verify) Copies(body, want string) int {
	n := strings.Count(body, want)
	if v.Whole && body != want && n == 1 {
		return 0
	}
	return n
}

// An Outcome is what is known of a scheduled request as a write.
type Outcome uint8

// The outcomes. The zero value is a request that was never sent, or that nobody verifies.
const (
	Unwritten    Outcome = iota
	Acknowledged         // answered as expected, in time or not
	Uncertain            // sent, and no answer says that it was done
	Settled              // read back
)

// OutcomeOf is what became of a request as a write. One that had no connection, or never went out, was never
// written. What is given up in the middle, or has an answer that is an error, may have been.
func OutcomeOf(s record.Sample) Outcome {
	if s.Sent == record.None {
		return Unwritten
	}
	switch s.Class {
	case record.OK, record.Slow:
		return Acknowledged
	case record.Wrong, record.Timeout, record.Reset, record.EOF, record.Truncated:
		return Uncertain
	case record.Unsent, record.Refused, record.NoRoute, record.DNS, record.Shed, record.Local:
	}
	return Unwritten
}

// A Ledger remembers the outcome of every request of measured load, in two bits each: what was written is a function of
// seed and number. It is safe for concurrent use.
type Ledger struct {
	from, to uint64
	words    []uint64
}

const perWord = 32 // outcomes in a word

// NewLedger makes an empty ledger for a schedule's measured load.
func NewLedger(s schedule.Schedule) *Ledger {
	l := &Ledger{from: s.Warm(), to: s.Count()}
	l.words = make([]uint64, (l.to-l.from+perWord-1)/perWord)
	return l
}

// Range is the numbers that the ledger is about: from, up to and without to.
func (l *Ledger) Range() (from, to uint64) { return l.from, l.to }

// Set notes a request's outcome, over the one that it had. The warm-up is not kept.
func (l *Ledger) Set(seq uint64, o Outcome) {
	if seq < l.from || seq >= l.to {
		return
	}
	w, shift := l.place(seq)
	for {
		old := atomic.LoadUint64(w)
		if atomic.CompareAndSwapUint64(w, old, old&^(3<<shift)|uint64(o)<<shift) {
			return
		}
	}
}

// At is a request's outcome.
func (l *Ledger) At(seq uint64) Outcome {
	if seq < l.from || seq >= l.to {
		return Unwritten
	}
	w, shift := l.place(seq)
	return Outcome(atomic.LoadUint64(w) >> shift & 3)
}

func (l *Ledger) place(seq uint64) (word *uint64, shift uint) {
	i := seq - l.from
	return &l.words[i/perWord], uint(i%perWord) * 2
}

// A Reader is a [Generator] that also sends single messages, beside any schedule.
type Reader interface {
	// Reading opens connections as the plan's load has them. Who calls it closes what it returns.
	Reading(ctx context.Context, p Plan) Exchanger
}

// An Exchanger sends messages, any number at a time.
type Exchanger interface {
	// Exchange sends a message and returns its whole answer, under ctx's deadline.
	Exchange(ctx context.Context, m Message) (Answer, error)
	// Close ends every connection. All exchanges must have ended.
	Close()
}

// An Answer is what came back, whatever its status.
type Answer struct {
	Status int
	Body   []byte // its first 1 MiB
}
