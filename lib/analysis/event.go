package analysis

import (
	"math"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// point is how far below the level before a trial may be and count as recovered.
const point = 0.01

// faultOf finds the fault that a label names; without a label there must be one only.
func (t *Trial) faultOf(name string) (*record.Fault, Value) {
	var found *record.Fault
	for i := range t.Rec.Faults {
		f := &t.Rec.Faults[i]
		if name != "" && f.Name != name {
			continue
		}
		if found != nil {
			return nil, Missing("the trial has several faults: say which")
		}
		found = f
	}
	switch {
	case found == nil && name == "":
		return nil, Missing("the trial has no fault")
	case found == nil:
		return nil, Missing("the trial has no fault %q", name)
	case found.Onset == nil:
		return nil, Missing("fault %q never began", found.Name)
	case found.Onset.To >= t.Rec.For:
		return nil, Missing("fault %q began after load had ended", found.Name)
	}
	return found, Value{}
}

func (t *Trial) faultMetric(ref Ref) Value {
	f, none := t.faultOf(ref.Fault)
	if f == nil {
		return none
	}
	whole := t.phase(Whole, anyRequest)
	if whole.due == 0 {
		return Missing("no request was due")
	}
	switch ref.Metric {
	case "first_error":
		return t.firstError(f)
	case "recovery":
		return t.holdAfter(f, t.Rec.For)
	case "failover":
		return t.holdAfter(f, t.force(f).To)
	case "detection":
		return t.detection(f)
	case "lost_requests":
		return t.lostRequests(f)
	case "rebalanced":
		return t.rebalanced(f)
	case "floor":
		return t.floor(f)
	case "loss_over_floor":
		return t.lossOverFloor(f)
	}
	return Missing("%s is not measured by this version", ref.Metric)
}

// firstBad is the first due time of a bad request in [from, to). Only the first and
// last of each cell are known: within the bin that from cuts it is the smallest of these.
func (t *Trial) firstBad(from, to time.Duration) (time.Duration, bool) {
	for i := max(record.IndexOf(from), 0); i < len(t.bins) && time.Duration(i)*record.Grid < to; i++ {
		first, found := time.Duration(0), false
		if t.bins[i] == nil {
			continue
		}
		for _, c := range t.bins[i].Cells {
			if c.Class.Good() {
				continue
			}
			at := c.First
			if at < from {
				at = c.Last
			}
			if at >= from && at < to && (!found || at < first) {
				first, found = at, true
			}
		}
		if found {
			return first, true
		}
	}
	return 0, false
}

// until is when what goes bad is no longer a fault's alone: the next onset after its own, or the end of load.
func (t *Trial) until(f *record.Fault) time.Duration {
	own, next := t.force(f).From, t.Rec.For
	for _, o := range t.begun() {
		if at := t.force(o).From; at > own {
			next = min(next, at)
		}
	}
	return next
}

// firstError is the first bad due time from onset on, before the next fault's onset, − onset; never if there is
// none.
func (t *Trial) firstError(f *record.Fault) Value {
	onset := t.force(f).From
	at, ok := t.firstBad(onset, t.until(f))
	if !ok {
		return Value{State: Never}
	}
	return seconds(at - onset)
}

// Hold is how long a trial must be as good as before to count as recovered: max(5 s,
// 200 / rate), so that 200 requests speak for it, whenever it begins: rate is the lowest of measured load. Where a sine goes down to 0 it
// is all of the load, so that nothing can be shown. A closed loop has no rate that is known beforehand: 5 s.
func Hold(s schedule.Schedule) time.Duration {
	const least, requests = 5 * time.Second, 200
	if len(s.Stages) == 0 || s.Closed() {
		return least
	}
	h := s.For().Seconds()
	if rate := s.Lowest(); rate > 0 {
		h = requests / rate
	}
	return max(least, time.Duration(min(h, math.MaxInt32)*float64(time.Second)))
}

// holdAfter is the start of the first hold after onset − onset.
//
// A hold starts at onset or later on the grid of 100 ms, in a bin with requests and none
// bad; over its length the good ratio is at least the level before less one point; it ends by end:
// the end of load for recovery, the fault's heal for failover. So failover is shown by what happened
// while the fault was on and by nothing else, and a fault shorter than a hold has no failover.
//
// No bad request between onset and the next fault's onset, or end: 0. No such hold: censored at the last moment at which one could
// have begun.
func (t *Trial) holdAfter(f *record.Fault, end time.Duration) Value {
	onset := t.force(f).From
	if _, bad := t.firstBad(onset, min(end, t.until(f))); !bad {
		return Good(0)
	}
	before := t.phase(Before, anyRequest)
	if before.due == 0 {
		return Missing("no request was due before the faults, so that there is no level to return to")
	}
	hold := Hold(t.Rec.Schedule)
	if end-onset < hold {
		return Missing("the onset leaves %v, less than a hold of %v", (end - onset).Round(10*time.Millisecond), hold)
	}
	level := float64(before.good)/float64(before.due) - point
	due, good := t.series(anyRequest)
	n := ceilBin(hold)
	for i := ceilBin(onset); i+n <= len(due) && time.Duration(i)*record.Grid+hold <= end; i++ {
		if due[i] == 0 || good[i] < due[i] {
			continue
		}
		if d, g := total(due[i:i+n]), total(good[i:i+n]); float64(g) >= level*float64(d)-1e-9 {
			return seconds(time.Duration(i)*record.Grid - onset)
		}
	}
	return censored(end - hold - onset)
}

// detection is the start of the first 1 s after onset, on the grid of 100 ms, in which
// requests were due, the balancer told of every one where it went, and none was tried at a node that the
// fault hit, − onset.
func (t *Trial) detection(f *record.Fault) Value {
	if !t.Rec.Attempts {
		return Missing("the scenario names no attempts header, so that nobody tells which nodes were tried")
	}
	if why := t.undetectable(f); why != "" {
		return Missing("%s", why)
	}
	onset := t.force(f).From
	touched := func(i int) bool {
		b := t.bins[i]
		if b == nil {
			return false
		}
		for _, n := range f.Nodes {
			if b.Tried[n] > 0 {
				return true
			}
		}
		return b.Untraced > 0
	}
	free, due := 0, make([]uint64, secondBins)
	for i := ceilBin(onset); i < len(t.bins); i++ {
		due[i%secondBins] = 0
		if t.bins[i] != nil {
			due[i%secondBins] = t.bins[i].Due
		}
		if free++; touched(i) {
			free = 0
		}
		if free >= secondBins && total(due) > 0 {
			return seconds(time.Duration(i+1-secondBins)*record.Grid - onset)
		}
	}
	return censored(t.Rec.For - time.Second - onset)
}

// undetectable says why no balancer could turn away from the fault's nodes.
func (t *Trial) undetectable(f *record.Fault) string {
	replicas, service, balanced := make(map[string]int), make(map[string]string), make(map[string]bool)
	for _, n := range t.Rec.Nodes {
		replicas[n.Service]++
		service[n.Name], balanced[n.Name] = n.Service, n.Balanced
	}
	if len(f.Nodes) == 0 {
		return "the fault hit no node"
	}
	for _, n := range f.Nodes {
		switch {
		case !balanced[n]:
			return n + " is not one of the balanced nodes"
		case replicas[service[n]] < 2:
			return service[n] + " has one replica only: there is nowhere else to go"
		}
	}
	return ""
}

// lostRequests is the bad requests beyond the bad share before, from onset − timeout
// to the next fault's onset − timeout or to the end of load; not below 0. The bin that onset − timeout cuts
// counts.
func (t *Trial) lostRequests(f *record.Fault) Value {
	before := t.phase(Before, anyRequest)
	if before.due == 0 {
		return Missing("no request was due before the faults, so that there is no rate to compare with")
	}
	r := run{record.IndexOf(f.Onset.To - t.Rec.Timeout), len(t.bins)}
	for _, next := range t.begun() {
		if next.Onset.To > f.Onset.To {
			r.to = record.IndexOf(next.Onset.To - t.Rec.Timeout)
			break
		}
	}
	s := t.sum([]run{t.clamp(r)}, anyRequest)
	expected := float64(s.due) * float64(before.due-before.good) / float64(before.due)
	return Good(max(0, float64(s.due-s.good)-expected))
}
