package analysis

import (
	"sort"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A run is a stretch of bins by index, to excluded.
type run struct{ from, to int }

// Planted begins the names of faults that are no part of the experiment: what the gate's self-test breaks in the target for all of the
// load. They make no phases, and no name in a scenario file begins so.
const Planted = "_"

// begun returns the faults that began, by onset.
func (t *Trial) begun() []*record.Fault {
	var fs []*record.Fault
	for i := range t.Rec.Faults {
		if t.Rec.Faults[i].Onset != nil && !strings.HasPrefix(t.Rec.Faults[i].Name, Planted) {
			fs = append(fs, &t.Rec.Faults[i])
		}
	}
	sort.SliceStable(fs, func(i, j int) bool { return fs[i].Onset.To < fs[j].Onset.To })
	return fs
}

// force is when a fault was on: from the moment its effect was known to be there to
// the moment it was known to be gone (each an edge's To), or to the end of load.
func (t *Trial) force(f *record.Fault) Span {
	s := Span{max(f.Onset.To, 0), t.Rec.For}
	if f.Heal != nil {
		s.To = max(min(f.Heal.To, t.Rec.For), s.From)
	}
	return s
}

// ceilBin is the first bin that starts at d or later.
func ceilBin(d time.Duration) int { return -record.IndexOf(-d) }

// forceRun is the bins that a fault touches.
func (t *Trial) forceRun(f *record.Fault) run {
	s := t.force(f)
	from := record.IndexOf(s.From)
	return t.clamp(run{from, max(ceilBin(s.To), from+1)})
}

func (t *Trial) clamp(r run) run {
	n := len(t.bins)
	r.from = min(max(r.from, 0), n)
	r.to = min(max(r.to, r.from), n)
	return r
}

// runs returns the bins of a phase as maximal stretches.
//
// Phases are cut on the grid of the bins. A bin that an onset or a heal cuts belongs
// to during; before ends with the last bin wholly before the first onset − timeout,
// since a request due later can still be caught by the fault.
func (t *Trial) runs(p Phase) []run {
	all := run{0, len(t.bins)}
	faults := t.begun()
	switch p {
	case Whole:
		return keep(all)
	case Before:
		if len(faults) > 0 {
			all.to = record.IndexOf(faults[0].Onset.To - t.Rec.Timeout)
		}
		return keep(t.clamp(all))
	case During:
		return t.during(faults)
	case After:
		last := 0
		for _, f := range faults {
			if f.Heal == nil {
				return nil
			}
			last = max(last, ceilBin(f.Heal.To), t.forceRun(f).to)
		}
		if len(faults) == 0 {
			return nil
		}
		return keep(t.clamp(run{last, len(t.bins)}))
	}
	return nil
}

func (t *Trial) during(faults []*record.Fault) []run {
	var rs []run
	for _, f := range faults {
		r := t.forceRun(f)
		if r.from == r.to {
			continue
		}
		if n := len(rs); n > 0 && r.from <= rs[n-1].to {
			rs[n-1].to = max(rs[n-1].to, r.to)
			continue
		}
		rs = append(rs, r)
	}
	return rs
}

func keep(r run) []run {
	if r.from >= r.to {
		return nil
	}
	return []run{r}
}

// span is a run in time; load may end within its last bin.
func (t *Trial) span(r run) Span {
	return Span{time.Duration(r.from) * record.Grid, min(time.Duration(r.to)*record.Grid, t.Rec.For)}
}

func (t *Trial) length(rs []run) (d time.Duration) {
	for _, r := range rs {
		s := t.span(r)
		d += s.To - s.From
	}
	return d
}

// Phases returns the stretches of each phase as they are counted: on the grid of
// 100 ms. What lies between the phases is in none of them; a phase that the trial does not have
// is not in the map.
func (t *Trial) Phases() map[Phase][]Span {
	phases := make(map[Phase][]Span)
	for _, p := range Phases() {
		for _, r := range t.runs(p) {
			phases[p] = append(phases[p], t.span(r))
		}
	}
	return phases
}

// phaseOf returns the phase of each bin, Whole for bins in between.
func (t *Trial) phaseOf() []Phase {
	of := make([]Phase, len(t.bins))
	for _, p := range Phases() {
		for _, r := range t.runs(p) {
			for i := r.from; i < r.to; i++ {
				of[i] = p
			}
		}
	}
	return of
}
