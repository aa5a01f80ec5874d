package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// Limits of the live view.
const (
	redraw    = 100 * time.Millisecond // at most ten drawings a second
	tick      = time.Second            // at least one: the time left goes on while nothing happens
	tellEvery = 10 * time.Second       // of load, a plain line
	maxQueue  = 1000                   // lines that wait for a slow reader; what is beyond is counted
	maxRecent = 6                      // lines of events in the picture
	keepBins  = 64 * 10                // bins of the last minute or so
	flushTime = 2 * time.Second        // how long Close waits for a terminal that is stopped
)

// LiveOptions say what a live view writes to.
type LiveOptions struct {
	TTY   bool       // redraw in place; else one plain line for each event
	Width func() int // columns, asked before each drawing; nil or 0: 80

	// Height is the number of rows, asked before each drawing; nil or 0: 24. The picture is less high,
	// since what has scrolled off cannot be drawn over.
	Height func() int

	Color bool // the caller honours NO_COLOR
}

// LiveTrial is a trial that begins.
type LiveTrial struct {
	Scenario      string
	Arm           string
	Block, Blocks int
	N, Of         int // which trial of how many
	Warmup, For   time.Duration
	Schedule      schedule.Schedule // what is due, and when
	Faults        []LiveFault
	Nodes         []string      // known beforehand; more are learnt from bins and events
	Left          time.Duration // until the run is over; 0: unknown
}

// A LiveFault is a fault as planned.
type LiveFault struct {
	Name    string
	At, For time.Duration // For 0: to the end of load
}

// A Live shows a run while it goes on: what is happening, the rate, the latencies, the
// errors, the fault in force and the next one. Its methods may be called from any goroutine, return at once however slow the
// terminal is, and take hostile text. Close it to leave the terminal in order.
type Live struct {
	w io.Writer
	o LiveOptions

	mu      sync.Mutex
	queue   []string // plain lines to write
	dropped int
	dirty   bool
	closed  bool
	s       liveState

	closing chan struct{} // no more will come

	wake chan struct{} // there is something to write
	done chan struct{} // the writer has ended
}

// liveState is what the picture is drawn from.
type liveState struct {
	trial   LiveTrial
	since   time.Time // when the trial began
	begun   bool
	stage   string
	zero    time.Time
	bins    []record.Bin
	due     uint64
	bad     uint64
	classes map[record.Class]uint64
	nodes   []string
	down    map[string]string        // a node's state, if it is no good one
	force   map[string]bool          // faults in force
	began   map[string]time.Duration // when they took effect
	told    int                      // how many times the load's progress was told in a line
	recent  []string
	outcome []string // of the trials that are over
}

// NewLive starts a live view on w. Nobody else may write to w until Close.
func NewLive(w io.Writer, o LiveOptions) *Live {
	if o.Width == nil {
		o.Width = func() int { return 80 }
	}
	if o.Height == nil {
		o.Height = func() int { return 24 }
	}
	l := &Live{w: w, o: o, closing: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.write()
	return l
}

// change applies f to the state and asks for a drawing.
func (l *Live) change(f func(s *liveState)) {
	l.mu.Lock()
	if !l.closed {
		f(&l.s)
		l.dirty = true
	}
	l.mu.Unlock()
	l.poke()
}

func (l *Live) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // the writer knows already
	}
}

// say queues a plain line, where there is no picture.
func (l *Live) say(at string, parts ...string) {
	if l.o.TTY {
		return
	}
	var b strings.Builder
	b.WriteString(at)
	for _, p := range parts {
		if p != "" {
			b.WriteString(" " + flat(p))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
	case len(l.queue) >= maxQueue:
		l.dropped++
	default:
		l.queue = append(l.queue, strings.TrimRightFunc(b.String(), unicode.IsSpace))
	}
}

func stamp() string { return time.Now().Format("15:04:05") }

// Trial begins a trial.
func (l *Live) Trial(t LiveTrial) {
	left := ""
	if t.Left > 0 {
		left = "left=" + strings.ReplaceAll(rest(t.Left), nb, "")
	}
	l.say(stamp(), fmt.Sprintf("trial=%d/%d block=%d arm=%s", t.N, t.Of, t.Block, t.Arm), left)
	l.change(func(s *liveState) {
		old := *s
		*s = liveState{
			trial: t, since: time.Now(), begun: true, stage: "preparing", classes: make(map[record.Class]uint64), down: make(map[string]string), force: make(map[string]bool),
			began: make(map[string]time.Duration), outcome: old.outcome,
		}
		for _, n := range t.Nodes {
			s.see(n)
		}
	})
}

// rest is the time left: nobody needs its seconds when it is minutes.
func rest(d time.Duration) string {
	if d >= 2*time.Minute {
		return strings.TrimSuffix(elapsed(d.Round(time.Minute)), " 0"+nb+"s")
	}
	return elapsed(d)
}

// Stage says what the trial is doing now: starting the target, the warm-up.
func (l *Live) Stage(what string) {
	l.say(stamp(), l.where(), what)
	l.change(func(s *liveState) { s.stage = what })
}

// Started tells when measured load begins, or will: the warm-up runs.
func (l *Live) Started(zero time.Time) {
	l.change(func(s *liveState) { s.zero = zero })
}

// Hold shows a hold of a search: when it begins, without an answer, and when it is judged.
func (l *Live) Hold(h record.Hold) {
	rate := scale{times: 1}.short(round3(h.Rate)) + "/s"
	if h.Answer == "" {
		l.change(func(s *liveState) { // a load of its own, on a clock of its own
			s.trial.Schedule, s.trial.Warmup, s.trial.For = schedule.Constant(h.Rate, h.Warmup, h.For), h.Warmup, h.For
			s.bins, s.zero, s.told = nil, time.Time{}, 0
		})
		return
	}
	what := "held " + rate + ": " + answerText(h.Answer)
	if h.Why != "" {
		what += ", " + h.Why
	}
	l.say(stamp(), l.where(), what)
	l.change(func(s *liveState) { s.remember(flat(what)) })
}

func (l *Live) where() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.s.begun {
		return ""
	}
	return fmt.Sprintf("block=%d arm=%s", l.s.trial.Block, flat(l.s.trial.Arm))
}

// Bin counts a tenth of a second's requests. The bin is not kept beyond a minute and not changed.
func (l *Live) Bin(b record.Bin) {
	line := ""
	l.change(func(s *liveState) {
		s.bin(b)
		if n := int(b.Start() / tellEvery); !l.o.TTY && s.begun && n > s.told {
			s.told = n
			line = fmt.Sprintf("block=%d arm=%s t=%.1fs %s", s.trial.Block, flat(s.trial.Arm), b.Start().Seconds(), s.progressLine())
		}
	})
	if line != "" {
		l.say(stamp(), line)
		l.poke()
	}
}

// Resized draws anew at once: the terminal has other columns or rows.
func (l *Live) Resized() { l.change(func(*liveState) {}) }

// Event shows something that happened and is no request.
func (l *Live) Event(e record.Event) {
	where := l.where()
	name := strings.TrimPrefix(e.Kind, "fault.")
	at := fmt.Sprintf("t=%.1fs", e.At.Seconds())
	fault := ""
	if e.Fault != "" {
		fault = "fault=" + e.Fault
	}
	l.say(stamp(), where, at, fault, name, e.Node, e.Detail)
	l.change(func(s *liveState) { s.event(e, name) })
}

// Done ends a trial. Problems are why it does not count; without one it is valid.
func (l *Live) Done(problems []string, err error) {
	word := "valid"
	switch {
	case err != nil:
		word = "failed: " + err.Error()
	case len(problems) > 0:
		word = "invalid: " + problems[0]
	}
	l.say(stamp(), l.where(), word)
	l.change(func(s *liveState) {
		mark := fmt.Sprintf("✔ %d", s.trial.N)
		if word != "valid" {
			mark = fmt.Sprintf("△ %d %s", s.trial.N, cut(flat(word), 40))
		}
		s.outcome = append(s.outcome, mark)
		s.stage = "done: " + word
	})
}

// Note prints a line of its own: what engine, what plan.
func (l *Live) Note(what string) {
	l.say(stamp(), what)
	l.change(func(s *liveState) { s.remember(flat(what)) })
}

// Close draws what is left, takes the picture away and ends the view. It waits for a
// terminal that does not read for two seconds at most. The error is the first that writing met.
func (l *Live) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.closing)
	}
	l.mu.Unlock()
	l.poke()
	t := time.NewTimer(flushTime)
	defer t.Stop()
	select {
	case <-l.done:
		return nil
	case <-t.C:
		return fmt.Errorf("the live view was given up: nothing reads what it writes")
	}
}

// write is the only goroutine that touches the writer.
func (l *Live) write() {
	defer close(l.done)
	var p picture
	again := time.NewTicker(tick)
	defer again.Stop()
	if !l.o.TTY {
		again.Stop() // a line says when it was
	}
	for {
		old := false
		select {
		case <-l.wake:
		case <-again.C:
			old = true
		}
		l.mu.Lock()
		lines, closed, dirty, dropped := l.queue, l.closed, l.dirty || old && l.s.begun, l.dropped
		l.queue, l.dirty, l.dropped = nil, false, 0
		var draw []string
		if l.o.TTY && dirty && !closed {
			draw = l.draw()
		}
		l.mu.Unlock()
		var b bytes.Buffer
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
		if dropped > 0 {
			fmt.Fprintf(&b, "%s %d lines left out: nobody read them in time\n", stamp(), dropped)
		}
		switch {
		case l.o.TTY && closed:
			p.clear(&b, l.o.Width())
		case draw != nil:
			p.replace(&b, draw, l.o.Width())
		}
		if b.Len() > 0 {
			if _, err := l.w.Write(b.Bytes()); err != nil {
				return // nobody to tell it to; the run goes on
			}
		}
		if closed {
			return
		}
		if l.o.TTY {
			select {
			case <-time.After(redraw):
			case <-l.closing:
			}
		}
	}
}
