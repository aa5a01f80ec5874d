package analysis

import (
	"fmt"
	"math"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// bracketed is by how much the lowest rate that was not met may lie above the highest that was, for that to be the
// capacity: the resolution of the search, and a little for rounding.
const bracketed = 1.051

// capacity is the highest rate of the trial's search whose hold met its condition. It is censored there ("at least") where no
// rate close above it is known to be too much: the search came to its end, or the generator to its own.
func (t *Trial) capacity() Value {
	if t.Rec.Capacity == nil {
		return Missing("the load does not search for a capacity")
	}
	met, unmet := 0.0, math.Inf(1)
	why := "no hold was carried out"
	for i := range t.Rec.Holds {
		switch h := &t.Rec.Holds[i]; h.Answer {
		case record.Met:
			met = max(met, h.Rate)
		case record.Unmet:
			why = fmt.Sprintf("not even the lowest rate of the search, %g/s, was met: %s", h.Rate, h.Why)
		case record.Unknown:
			why = fmt.Sprintf("it cannot be told whether the lowest rate of the search, %g/s, was met: %s", h.Rate, h.Why)
		}
	}
	for i := range t.Rec.Holds { // what was met when it was tried again is none that was not
		if h := &t.Rec.Holds[i]; h.Answer == record.Unmet && h.Rate > met {
			unmet = min(unmet, h.Rate)
		}
	}
	switch {
	case met == 0:
		return Missing("%s", why)
	case unmet > bracketed*met, t.Rec.Holds[len(t.Rec.Holds)-1].Answer == record.Unknown: // what was too much was not tried once more
		return Value{V: met, State: Censored}
	}
	return Good(met)
}

// HoldTrial is one hold of a search as a trial of its own, to be asked for metrics. The recording's nodes and
// events are its too.
func HoldTrial(r *record.Recording, h *record.Hold) *Trial {
	one := &record.Recording{Header: r.Header, Bins: h.Bins, Generator: h.Generator}
	one.Capacity, one.Warmup, one.For = nil, h.Warmup, h.For
	one.Schedule.Warmup, one.Schedule.Stages = h.Warmup, []schedule.Stage{{Rate: h.Rate, For: h.For}}
	one.Zero = r.Zero.Add(h.At)
	for _, e := range r.Events {
		e.At -= h.At
		one.Events = append(one.Events, e)
	}
	return Of(one)
}

// OwnShare is the share of the requests of measured load that the generator itself spoiled: local and unsent ones. 0 of none.
func (t *Trial) OwnShare() float64 {
	s := t.phase(Whole, anyRequest)
	if s.due == 0 {
		return 0
	}
	own := uint64(0)
	for c, n := range s.byClass {
		if c.Own() {
			own += n
		}
	}
	return float64(own) / float64(s.due)
}

// Offered is how many requests a second really were offered in measured load. What the generator could not send is not; a
// generator that falls behind its schedule takes longer for it, by its own lag at the end: the mean over the last bin in
// which it sent any.
func (t *Trial) Offered() float64 {
	var offered uint64
	lag := 0.0
	for _, b := range t.bins {
		if b == nil {
			continue
		}
		var sent uint64
		var own time.Duration
		for i := range b.Cells {
			c := &b.Cells[i]
			if !c.Class.Own() { // what was shed the target's slowness kept from being sent
				offered += c.Count
			}
			sent += c.Response.Total()
			own += c.Response.Sum() - c.Unlagged.Sum()
		}
		if sent > 0 {
			lag = own.Seconds() / float64(sent)
		}
	}
	return float64(offered) / (t.Rec.For.Seconds() + lag)
}

// searchProblems says what keeps a search from being one.
func (t *Trial) searchProblems() []string {
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if len(t.Rec.Holds) == 0 {
		say("no hold of the search was carried out")
	}
	if len(t.Rec.Bins) > 0 {
		say("the recording holds requests that belong to no hold of the search")
	}
	for i := range t.Rec.Holds {
		h := &t.Rec.Holds[i]
		due := uint64(0)
		for k := range h.Bins {
			if h.Bins[k].Index >= 0 {
				due += h.Bins[k].Due
			}
		}
		g := h.Generator
		account := g.Check(h.Bins)
		switch {
		case h.Answer == record.Unknown && g.Scheduled == 0: // it was not carried out, and says why
		case h.Answer != record.Met && h.Answer != record.Unmet && h.Answer != record.Unknown:
			say("hold %d of the search, at %g/s, was not judged", i+1, h.Rate)
		case !g.Complete:
			say("the load generator did not run the whole schedule of hold %d, at %g/s", i+1, h.Rate)
		case account != nil:
			say("hold %d of the search, at %g/s: %v", i+1, h.Rate, account)
		case due == 0:
			say("no request was due in hold %d", i+1)
		}
	}
	if g := t.Rec.Generator; !g.Complete {
		say("the search was not carried to its end")
	}
	return problems
}
