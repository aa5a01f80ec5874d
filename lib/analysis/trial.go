package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A Trial is one recording, read. Make one with [Of]. It is safe for concurrent use
// while nobody changes the recording.
type Trial struct {
	Rec *record.Recording

	// Health is the balancer's health check, nil if nobody says. It is not recorded: whoever reads the scenario sets it.
	Health *HealthCheck

	// bins holds measured load by bin index; nil where no request was due. The warm-up
	// is not in it, so that no metric can count it by mistake.
	bins []*record.Bin

	// Every metric of a phase starts from the same sum, and a report asks for hundreds.
	mu      sync.Mutex
	sums    map[sumKey]sum
	seconds []Second
}

type sumKey struct {
	phase   Phase
	request int
}

// A Span is a stretch of time since zero. To is excluded.
type Span struct{ From, To time.Duration }

// A Second is one window of 1 s of a trial, for drawing.
type Second struct {
	Start     time.Duration
	Due, Good uint64
	P50, P99  Value // over all requests due in it
	ByClass   map[record.Class]uint64
	ByNode    map[string]uint64 // answered requests by node
}

// A LaneState says what a node was doing.
type LaneState string

// The states of a node in a lane.
const (
	InRotation LaneState = "in rotation"       // it answers, or is tried
	Failing    LaneState = "failing"           // it is tried, and does not answer
	Ejected    LaneState = "ejected"           // nobody tries it
	Down       LaneState = "down"              // the engine says it does not run, or is frozen
	DownTried  LaneState = "down, still tried" // down, and requests are sent to it, or to nobody knows where
)

// A Lane is one node's states over time.
type Lane struct {
	Node  string
	Spans []LaneSpan
}

// A LaneSpan is one state of a node.
type LaneSpan struct {
	Span
	State LaneState
}

// A Milestone is a moment in a fault's life, as an offset from zero.
type Milestone struct {
	At    time.Duration
	Fault string
	Kind  string // onset, first error, ejected, recovered, healed
}

// An ErrorCount is how many requests had a class, by node and phase.
type ErrorCount struct {
	Class record.Class
	Node  string // "" if nobody answered
	Phase Phase
	Count uint64
}

// ownShare is the share of requests that the generator may spoil by its own shortage.
const ownShare = 0.001

// Of reads a recording. It keeps the recording and does not change it.
func Of(r *record.Recording) *Trial {
	t := &Trial{Rec: r, bins: make([]*record.Bin, max(0, int((r.For+record.Grid-1)/record.Grid)))}
	for i := range r.Bins {
		if b := &r.Bins[i]; b.Index >= 0 && b.Index < len(t.bins) {
			t.bins[b.Index] = b
		}
	}
	return t
}

// Lag is how late the generator sent the requests of measured load: sent − due. It is
// empty if none was sent.
func (t *Trial) Lag() *record.Hist {
	h := new(record.Hist)
	for _, b := range t.bins {
		if b != nil {
			h.Merge(b.Lag)
		}
	}
	return h
}

// OwnLag is what of the lag is the generator's own: see [record.Sample.OwnLag]. It is empty if no request was sent, and in recordings
// before version 3.
func (t *Trial) OwnLag() *record.Hist {
	h := new(record.Hist)
	for _, b := range t.bins {
		if b != nil {
			h.Merge(b.Own)
		}
	}
	return h
}

// Problems lists every reason why the trial cannot be trusted; a trial without
// one is valid. Bad answers are no reason: they are what is measured.
func (t *Trial) Problems() []string {
	problems := append([]string(nil), t.Rec.Problems...)
	if t.Rec.Capacity != nil {
		problems = append(problems, t.searchProblems()...)
	} else {
		problems = append(problems, t.loadProblems()...)
	}
	for i := range t.Rec.Faults {
		if p := t.faultProblem(&t.Rec.Faults[i]); p != "" {
			problems = append(problems, p)
		}
	}
	return append(problems, t.replicaProblems()...)
}

// loadProblems says what keeps the load from being the planned one.
func (t *Trial) loadProblems() []string {
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var due, own uint64
	outside := 0
	for i := range t.Rec.Bins {
		b := &t.Rec.Bins[i]
		if b.Index >= len(t.bins) {
			outside++
		}
		if b.Index < 0 {
			continue
		}
		due += b.Due
		for _, c := range b.Cells {
			if c.Class.Own() {
				own += c.Count
			}
		}
	}
	g := t.Rec.Generator
	if due == 0 {
		say("no request was due in measured load")
	}
	if err := g.Check(t.Rec.Bins); err != nil {
		say("%v", err)
	}
	if outside > 0 {
		say("%d bins of the recording lie after the end of load", outside)
	}
	if !g.Complete {
		say("the load generator did not run its whole schedule")
	}
	if float64(own) > ownShare*float64(due) {
		say("the load generator itself spoiled %d of %d requests (unsent or local), more than 0.1 %%", own, due)
	}
	return problems
}

// faultProblem says why a fault cannot be relied on, or "".
func (t *Trial) faultProblem(f *record.Fault) string {
	switch {
	case f.Problem != "":
		return fmt.Sprintf("fault %q: %s", f.Name, f.Problem)
	case f.Onset == nil:
		return fmt.Sprintf("fault %q never began", f.Name)
	case len(f.Nodes) == 0:
		return fmt.Sprintf("fault %q hit no node", f.Name)
	case f.Onset.To >= t.Rec.For:
		return fmt.Sprintf("fault %q began after measured load had ended", f.Name)
	}
	if f.Proven() {
		return ""
	}
	for _, p := range f.Proof {
		if !p.OK && p.Asked != "" {
			return fmt.Sprintf("fault %q did too little on %s: asked %s, delivered %s", f.Name, p.Node, p.Asked, cmp.Or(p.Delivered, "nothing"))
		}
	}
	proven := make(map[string]bool)
	for _, p := range f.Proof {
		proven[p.Node] = proven[p.Node] || p.OK
	}
	for _, n := range f.Nodes {
		if !proven[n] {
			return fmt.Sprintf("fault %q has no proof of effect on %s", f.Name, n)
		}
	}
	return fmt.Sprintf("fault %q has no proof of effect", f.Name)
}

// clockTolerance is how far the engine's clock and ours may differ.
const clockTolerance = time.Second

// replicaProblems names the nodes that did not run just before the first onset,
// or at the start of load where there is no fault.
func (t *Trial) replicaProblems() []string {
	at, when := time.Duration(0), "at the start of load"
	for i, f := range t.begun() {
		if i == 0 || f.Onset.From < at {
			at, when = f.Onset.From, "at the first onset"
		}
	}
	// The engine may date what a fault did to its own nodes a little before the fault.
	hit := make(map[string]bool)
	for _, f := range t.begun() {
		for _, n := range f.Nodes {
			hit[n] = hit[n] || f.Onset.From <= at+clockTolerance
		}
	}
	var problems []string
	for _, n := range t.Rec.Nodes {
		if n.Late {
			continue // it was not to be there yet
		}
		moment := at
		if hit[n.Name] {
			moment -= clockTolerance
		}
		if slices.ContainsFunc(t.downs(n.Name), func(s Span) bool { return s.From < moment && moment <= s.To }) {
			problems = append(problems, fmt.Sprintf("replica %s was not running %s", n.Name, when))
		}
	}
	return problems
}

// downs returns when a node did not run or was frozen, by the engine's events,
// from the beginning of time to its end. A node whose first event is its start did not run
// before.
func (t *Trial) downs(node string) []Span {
	const beginning, never = time.Duration(-1 << 62), time.Duration(1 << 62)
	dead, frozen, first := false, false, true
	var from time.Duration
	var spans []Span
	for _, e := range t.Rec.Events {
		if e.Node != node {
			continue
		}
		was := dead || frozen
		switch e.Kind {
		case record.NodeStart:
			if first {
				was, from = true, beginning
			}
			dead, frozen = false, false
		case record.NodeDie, record.NodeRemove:
			dead, frozen = true, false
		case record.NodePause:
			frozen = true
		case record.NodeUnpause:
			if first {
				was, from = true, beginning
			}
			frozen = false
		default:
			continue
		}
		first = false
		switch is := dead || frozen; {
		case is && !was:
			from = e.At
		case was && !is:
			spans = append(spans, Span{from, e.At})
		}
	}
	if dead || frozen {
		spans = append(spans, Span{from, never})
	}
	return spans
}
