package analysis

import (
	"cmp"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Seconds returns measured load in windows of 1 s, the last one shorter if load ends
// within it. A window without requests has Due 0 and no-data percentiles.
// The caller must not change what it gets.
func (t *Trial) Seconds() []Second {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seconds == nil {
		t.seconds = t.makeSeconds()
	}
	return t.seconds
}

func (t *Trial) makeSeconds() []Second {
	var out []Second
	for from := 0; from < len(t.bins); from += secondBins {
		r := t.clamp(run{from, from + secondBins})
		s := t.sum([]run{r}, anyRequest)
		sec := Second{
			Start: time.Duration(from) * record.Grid, Due: s.due, Good: s.good,
			P50: Missing("no request was due"), P99: Missing("no request was due"),
			ByClass: s.byClass, ByNode: make(map[string]uint64),
		}
		if s.due > 0 {
			sec.P50, _ = s.percentile("p50")
			sec.P99, _ = s.percentile("p99")
		}
		for _, b := range t.bins[r.from:r.to] {
			if b == nil {
				continue
			}
			for _, c := range b.Cells {
				if c.Node != "" && answered(c.Class) {
					sec.ByNode[c.Node] += c.Count
				}
			}
		}
		out = append(out, sec)
	}
	return out
}

// Lanes returns what each node was doing, in the order of the recording's nodes.
//
// Down is the engine's word, to the instant; down and still tried are the steps of it in which a balanced
// node was tried, or requests went bad of which nobody knows where they had gone. Between that a node is in rotation in a
// step in which it answered; failing in one in which it was tried, and did not; ejected in one in
// which nobody tried it. Without an attempts header a running node that does not answer counts as failing while
// requests go bad, and as ejected while none does. A node that is not balanced is in rotation while it runs.
// Steps are long enough for five requests to each balanced node at the lowest rate, 100 ms to 2 s.
func (t *Trial) Lanes() []Lane {
	balanced := 0
	for _, n := range t.Rec.Nodes {
		if n.Balanced {
			balanced++
		}
	}
	step := 1
	if rate := t.lowest(); rate > 0 {
		step = min(max(1, windowBins(5*float64(balanced)/rate)), 2*secondBins)
	}
	var lanes []Lane
	for _, n := range t.Rec.Nodes {
		lane := Lane{Node: n.Name}
		for from := 0; from < len(t.bins); from += step {
			r := t.clamp(run{from, from + step})
			state := InRotation
			if n.Balanced {
				state = t.rotation(n.Name, r, lane.last())
			}
			lane.add(t.span(r), state)
		}
		for _, d := range t.downs(n.Name) {
			d = Span{max(d.From, 0), min(d.To, t.Rec.For)}
			lane.cover(d, Down)
			if n.Balanced && t.Rec.Attempts {
				for _, s := range t.stillTried(n.Name, d, step) {
					lane.cover(s, DownTried)
				}
			}
		}
		lanes = append(lanes, lane)
	}
	return lanes
}

// lowest is the lowest rate of measured load; of a closed loop, which has none, the mean of what was sent.
func (t *Trial) lowest() float64 {
	if !t.Rec.Schedule.Closed() || t.Rec.For <= 0 {
		return t.Rec.Schedule.Lowest()
	}
	return float64(t.phase(Whole, anyRequest).due) / t.Rec.For.Seconds()
}

// rotation is a balanced node's state in some bins; without requests it stays as it was.
func (t *Trial) rotation(node string, r run, was LaneState) LaneState {
	var due, bad, answers, tried uint64
	for _, b := range t.bins[r.from:r.to] {
		if b == nil {
			continue
		}
		due, bad, tried = due+b.Due, bad+b.Due-b.Good, tried+b.Tried[node]
		for _, c := range b.Cells {
			if c.Node == node && answered(c.Class) {
				answers += c.Count
			}
		}
	}
	switch {
	case due == 0 && was != "":
		return was
	case due == 0, answers > 0:
		return InRotation
	case tried > 0, !t.Rec.Attempts && bad > 0:
		return Failing
	}
	return Ejected
}

// stillTried is when a node that is down was sent requests nevertheless. A step that an edge
// cuts goes with its neighbour inside: its own requests may have come before the edge, or after it.
func (t *Trial) stillTried(node string, down Span, step int) []Span {
	var steps []Span
	var tried []bool
	for from := int(down.From/record.Grid) / step * step; from < len(t.bins); from += step {
		r := t.clamp(run{from, from + step})
		s := t.span(r)
		if s.From >= down.To {
			break
		}
		steps = append(steps, Span{max(s.From, down.From), min(s.To, down.To)})
		tried = append(tried, t.sentTo(node, r))
	}
	n := len(steps)
	if n > 1 && steps[0].To-steps[0].From < time.Duration(step)*record.Grid {
		tried[0] = tried[1]
	}
	if n > 1 && steps[n-1].To-steps[n-1].From < time.Duration(step)*record.Grid {
		tried[n-1] = tried[n-2]
	}
	var out []Span
	for i, s := range steps {
		if tried[i] {
			out = append(out, s)
		}
	}
	return out
}

// sentTo tells whether a node was tried in some bins, as far as anybody knows: a bad
// request without a trace may have been lost in it.
func (t *Trial) sentTo(node string, r run) bool {
	for _, b := range t.bins[r.from:r.to] {
		if b != nil && (b.Tried[node] > 0 || b.Untraced > 0 && b.Good < b.Due) {
			return true
		}
	}
	return false
}

func (l *Lane) last() LaneState {
	if len(l.Spans) == 0 {
		return ""
	}
	return l.Spans[len(l.Spans)-1].State
}

// add appends a span, joined to the last one if that has the same state.
func (l *Lane) add(s Span, state LaneState) {
	if s.From >= s.To {
		return
	}
	if n := len(l.Spans); n > 0 && l.Spans[n-1].State == state && l.Spans[n-1].To == s.From {
		l.Spans[n-1].To = s.To
		return
	}
	l.Spans = append(l.Spans, LaneSpan{s, state})
}

// cover overwrites a part of the lane with a state.
func (l *Lane) cover(s Span, state LaneState) {
	if s.From >= s.To {
		return
	}
	old := l.Spans
	*l = Lane{Node: l.Node}
	covered := false
	for _, o := range old {
		l.add(Span{o.From, min(o.To, s.From)}, o.State)
		if !covered && o.To > s.From {
			l.add(s, state)
			covered = true
		}
		l.add(Span{max(o.From, s.To), o.To}, o.State)
	}
}

// Milestones returns what happened in the life of each fault, in the order of time.
// Ejected is the moment that detection measures, recovered that of recovery; what did not happen, or cannot be
// known, is left out.
func (t *Trial) Milestones() []Milestone {
	var ms []Milestone
	for _, f := range t.begun() {
		onset := t.force(f).From
		add := func(at time.Duration, kind string) {
			ms = append(ms, Milestone{At: at, Fault: f.Name, Kind: kind})
		}
		add(onset, "onset")
		if f.Heal != nil {
			add(f.Heal.To, "healed")
		}
		at := func(metric string) (time.Duration, bool) {
			v := t.Metric(Ref{Metric: metric, Fault: f.Name})
			return onset + time.Duration(v.V*float64(time.Second)+0.5), v.State == OK
		}
		if d, ok := at("detection"); ok {
			add(d, "ejected")
		}
		if d, ok := at("first_error"); ok {
			add(d, "first error")
			if d, ok := at("recovery"); ok {
				add(d, "recovered")
			}
		}
	}
	slices.SortStableFunc(ms, func(a, b Milestone) int { return cmp.Compare(a.At, b.At) })
	return ms
}

// Errors counts the bad requests of measured load by class, node and phase, in this
// order. The phase is Whole ("") between the phases.
func (t *Trial) Errors() []ErrorCount {
	type key struct {
		class record.Class
		node  string
		phase Phase
	}
	counts := make(map[key]uint64)
	phases := t.phaseOf()
	for i, b := range t.bins {
		if b == nil {
			continue
		}
		for _, c := range b.Cells {
			if !c.Class.Good() {
				counts[key{c.Class, c.Node, phases[i]}] += c.Count
			}
		}
	}
	out := make([]ErrorCount, 0, len(counts))
	for k, n := range counts {
		out = append(out, ErrorCount{k.class, k.node, k.phase, n})
	}
	order := Phases()
	slices.SortFunc(out, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Node, b.Node),
			cmp.Compare(slices.Index(order, a.Phase), slices.Index(order, b.Phase)))
	})
	return out
}

// Signature counts the bad requests due while a fault was in force, by class: how its
// death looks from outside. It is nil for a fault that the trial does not have or that never began.
func (t *Trial) Signature(fault string) map[record.Class]uint64 {
	f, _ := t.faultOf(fault)
	if f == nil {
		return nil
	}
	by := t.sum([]run{t.forceRun(f)}, anyRequest).byClass
	delete(by, record.OK)
	return by
}

// answeredStep is the least ratio between neighbouring points of [Trial.Answered].
const answeredStep = 1.04

// Answered is the share of all requests of measured load that were answered as expected within
// x: a rising step curve, whose plateau is the availability, since failures never arrive. Both are
// empty without a good request. Neighbouring points are at least 4 % apart, so that there are at most a few
// hundred; a step in between is drawn at the next point, never too early.
func (t *Trial) Answered() (xs []time.Duration, share []float64) {
	s := t.phase(Whole, anyRequest)
	var n uint64
	s.ok.Each(func(value time.Duration, count uint64) {
		n += count
		last := len(xs) - 1
		// A point stays open until the next one is far enough: it moves to the right.
		if last >= 1 && float64(value) < answeredStep*float64(xs[last-1]) {
			xs[last], share[last] = value, float64(n)/float64(s.due)
			return
		}
		xs, share = append(xs, value), append(share, float64(n)/float64(s.due))
	})
	return xs, share
}
