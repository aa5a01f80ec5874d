package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// Serve does what the harness asks on in and answers on out. It returns nil when
// in ends or the harness asks it to stop; a load is then broken off. When ctx is done, or
// when the harness stops reading, it ends with an error.
//
// It can leave one goroutine behind in a Read of in and one in a Write to out, which nothing can
// interrupt: the program is expected to exit after it.
func Serve(ctx context.Context, in io.Reader, out io.Writer, g load.Generator) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{generator: g, out: newOutbox(cancel), slots: make(chan struct{}, maxProbes)}
	written := make(chan error, 1)
	go func() { written <- s.out.write(out) }()
	commands, readErr := make(chan received), make(chan error, 1)
	go func() { readErr <- read(ctx, in, commands) }()

	s.out.put(reply{Hello: protocol, Clock: time.Now().UnixNano()})
	err := s.loop(ctx, commands, readErr)
	cancel(nil)
	s.work.Wait()
	s.out.close()
	select {
	case werr := <-written:
		return errors.Join(err, werr)
	case <-time.After(patience):
		return errors.Join(err, errSlow)
	}
}

// A server is the agent's end of the wire.
type server struct {
	generator load.Generator
	out       *outbox
	slots     chan struct{}
	work      sync.WaitGroup

	loading atomic.Uint64      // ID of the load that runs, or of what reads back, 0: none
	cancel  context.CancelFunc // of that load; only loop's goroutine uses it
	wrote   *written           // by the latest load, if that was complete; whoever holds loading uses it
}

// received is a command with the time of its arrival, before it waited for anybody.
type received struct {
	command
	at time.Time
}

func read(ctx context.Context, in io.Reader, commands chan<- received) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		r := received{at: time.Now()}
		if err := json.Unmarshal(lines.Bytes(), &r.command); err != nil {
			return fmt.Errorf("agent: command from the harness: %w", err)
		}
		select {
		case commands <- r:
		case <-ctx.Done():
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("agent: commands from the harness: %w", err)
	}
	return nil
}

func (s *server) loop(ctx context.Context, commands <-chan received, readErr <-chan error) error {
	for {
		select {
		case c := <-commands:
			if c.Stop {
				return nil
			}
			s.do(ctx, c)
		case err := <-readErr:
			return err
		case <-ctx.Done():
			return fmt.Errorf("agent: %w", context.Cause(ctx))
		}
	}
}

// do answers a command, or starts to. It never blocks.
func (s *server) do(ctx context.Context, c received) {
	switch {
	case c.Clock:
		s.out.put(reply{ID: c.ID, Clock: c.at.UnixNano(), End: true})
	case c.Probe != nil:
		s.quick(c.ID, func() (reply, error) { return reply{}, c.Probe.run(ctx) })
	case c.Resolve != "":
		s.quick(c.ID, func() (reply, error) {
			found, err := resolve(ctx, c.Resolve)
			return reply{Addresses: found}, err
		})
	case c.Fetch != nil:
		s.quick(c.ID, func() (reply, error) {
			f, err := c.Fetch.run(ctx)
			return reply{Fetched: f}, err
		})
	case c.Cancel != 0:
		if s.loading.Load() == c.Cancel {
			s.cancel()
		}
	case c.Load != nil:
		s.alone(ctx, c.ID, func(ctx context.Context) { s.load(ctx, c.ID, *c.Load) })
	case c.Verify != nil:
		s.alone(ctx, c.ID, func(ctx context.Context) { s.verify(ctx, c.ID, *c.Verify) })
	default:
		s.out.put(reply{ID: c.ID, Error: "the agent does not know this command", End: true})
	}
}

// alone does something that there can be only one of. f gives its place away before it says that it has ended.
func (s *server) alone(ctx context.Context, id uint64, f func(context.Context)) {
	if !s.loading.CompareAndSwap(0, id) {
		s.out.put(reply{ID: id, Error: "another load is running", End: true})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	s.work.Go(func() {
		defer cancel()
		f(ctx)
	})
}

// quick does something short beside what else is going on.
func (s *server) quick(id uint64, f func() (reply, error)) {
	select {
	case s.slots <- struct{}{}:
	default:
		s.out.put(reply{ID: id, Error: fmt.Sprintf("over %d probes at the same time", maxProbes), End: true})
		return
	}
	s.work.Go(func() {
		defer func() { <-s.slots }()
		r, err := f()
		r.ID, r.Error, r.End = id, text(err), true
		s.out.put(r)
	})
}

// load sends a plan's load and sums it up. A load that is broken off leaves the bins that were
// complete: what is known of the others is not what the schedule asked for.
func (s *server) load(ctx context.Context, id uint64, p load.Plan) {
	generate := s.generate
	if p.Schedule.Closed() {
		generate = s.closedLoop
	}
	done, err := generate(ctx, id, p)
	s.loading.Store(0)
	s.out.put(reply{ID: id, Done: &done.Generator, Slowest: done.Slowest, Error: text(err), End: true})
}

func (s *server) generate(ctx context.Context, id uint64, p load.Plan) (Sent, error) {
	if err := p.Check(); err != nil {
		return Sent{}, err
	}
	times := p.Part.Pacer(p.Schedule.Timetable())
	done := Sent{Generator: record.Generator{Scheduled: times.Count()}}
	var account record.Account
	binner := record.NewBinner(times.Due, done.Scheduled, p.Timeout, func(b record.Bin) {
		account.Add(&b)
		s.out.put(reply{ID: id, Bin: &b})
	})
	if p.Part.Of > 1 {
		binner.Part(p.Part.Index, p.Part.Of)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	scribe, err := newScribe(s, id, p, cancel)
	if err != nil {
		return Sent{}, err
	}
	var ledger *load.Ledger
	var h *histories
	s.wrote = nil
	if len(p.Verify) > 0 {
		turns, err := p.Templates()
		if err != nil {
			return Sent{}, err
		}
		ledger, h = load.NewLedger(p.Schedule), newHistories(p, turns)
	}
	binner.Watch(func(x *record.Sample) {
		if ledger != nil {
			ledger.Set(x.Seq, load.OutcomeOf(*x))
			h.note(*x)
		}
		if scribe != nil {
			scribe.note(x)
		}
	})
	self := look()
	tended := tend(binner, self)
	err = s.generator.Generate(ctx, p, s.begun(id, p, scribe, cancel), binner.Put)
	tended()
	binner.Flush()
	err = scribe.ended(err)
	told, refused := binner.Counts()
	if err == nil {
		binner.Close()
	}
	done.Counted, done.Agents = told, 1
	done.Slowest = binner.Slowest()
	s.tellOf(&done, self)
	if refused > 0 && err == nil {
		err = fmt.Errorf("%d requests were reported twice or were not in the schedule", refused)
	}
	if err == nil {
		err = account.Check(done.Generator)
	}
	done.Complete = err == nil
	if ledger != nil && done.Complete {
		s.wrote = &written{plan: p, ledger: ledger, histories: h}
	}
	return done, err
}

// begun is what a generator is to call when it knows its zero.
func (s *server) begun(id uint64, p load.Plan, by *scribe, fail func(error)) func(time.Time) {
	return func(zero time.Time) {
		if by != nil {
			if err := by.begin(s.generator, p, zero); err != nil {
				fail(err)
			}
		}
		s.out.put(reply{ID: id, Started: zero.UnixNano()})
	}
}

// tellOf says what is known of the generator and of its process.
func (s *server) tellOf(done *Sent, about *self) {
	about.tell(&done.Generator)
	if g, ok := s.generator.(load.Gauge); ok {
		done.Inflight = g.Peak()
	}
	if c, ok := s.generator.(load.Chooser); ok {
		done.Engine = string(c.Chosen())
	}
}

const (
	flushEvery = 50 * time.Millisecond
	lookEvery  = 10 // flushes
)

// tend flushes the bins and looks at ourselves until it is told to end, which it does before the function it returns does.
func tend(b interface{ Flush() }, s *self) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			b.Flush()
			if n%lookEvery == 0 {
				s.again()
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return record.CutError(err.Error()) // a target's answer may be quoted in it
}

var errSlow = fmt.Errorf("the harness does not read the agent's output: %d lines are waiting", maxQueue)

// An outbox holds replies for a writer of its own, so that who puts one in never waits.
type outbox struct {
	fail func(error) // told once of what makes the wire useless

	chunks atomic.Int64 // bytes of results that wait

	mu     sync.Mutex
	queue  []reply
	closed bool
	wake   chan struct{}
}

// room reserves room for a chunk of results. It reports false where too many of them wait already.
func (o *outbox) room(n int) bool { return o.chunks.Add(int64(n)) <= maxChunks }

func newOutbox(fail func(error)) *outbox {
	return &outbox{fail: fail, wake: make(chan struct{}, 1)}
}

// put adds a reply. Too many of them mean that nobody reads: then everything ends.
func (o *outbox) put(r reply) {
	o.mu.Lock()
	full := len(o.queue) >= maxQueue
	if !full && !o.closed {
		o.queue = append(o.queue, r)
	}
	o.mu.Unlock()
	if full {
		o.fail(errSlow)
		return
	}
	o.signal()
}

// close makes write return after it has written what is left.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) take() (queue []reply, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, o.queue = o.queue, nil
	return queue, o.closed
}

// write writes replies until close, or until writing fails.
func (o *outbox) write(w io.Writer) error {
	e := json.NewEncoder(w)
	for range o.wake {
		queue, closed := o.take()
		for i := range queue {
			if err := e.Encode(&queue[i]); err != nil {
				err = fmt.Errorf("agent: write to the harness: %w", err)
				o.fail(err)
				return err
			}
			o.chunks.Add(-int64(len(queue[i].Chunk)))
			queue[i].Chunk = nil
		}
		if closed {
			return nil
		}
	}
	return nil
}
