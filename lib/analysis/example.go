package analysis

import (
	"cmp"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// PhaseAt is the phase in which a request of measured load is counted that was due then; Whole ("") is none.
func (t *Trial) PhaseAt(due time.Duration) Phase {
	if i := record.IndexOf(due); i >= 0 && i < len(t.bins) {
		return t.phaseOf()[i]
	}
	return Whole
}

// Examples chooses at most [record.MaxFailures] of the examples, spread over class, node and phase.
func (t *Trial) Examples(of []record.Example) []record.Example {
	phases := t.phaseOf()
	return record.Spread(of, record.MaxFailures, func(e *record.Example) string {
		phase := Whole
		if i := record.IndexOf(e.Due); i >= 0 && i < len(phases) {
			phase = phases[i]
		}
		return e.Class.String() + "\x00" + string(phase) + "\x00" + e.Node
	})
}

// A StatusCount is how many bad requests were answered with a status, by class and phase. Status 0 stands for those that are no status of HTTP or too many.
type StatusCount struct {
	Class  record.Class
	Status int
	Phase  Phase
	Count  uint64
}

// Statuses counts the bad requests of measured load that were answered, by class, status and phase, in this order. There are none in
// recordings before version 3.
func (t *Trial) Statuses() []StatusCount {
	counts := make(map[StatusCount]uint64)
	phases := t.phaseOf()
	for i, b := range t.bins {
		if b == nil {
			continue
		}
		for _, c := range b.Cells {
			for _, s := range c.Statuses {
				counts[StatusCount{Class: c.Class, Status: s.Status, Phase: phases[i]}] += s.Count
			}
		}
	}
	out := make([]StatusCount, 0, len(counts))
	for k, n := range counts {
		k.Count = n
		out = append(out, k)
	}
	order := Phases()
	slices.SortFunc(out, func(a, b StatusCount) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Status, b.Status),
			cmp.Compare(slices.Index(order, a.Phase), slices.Index(order, b.Phase)))
	})
	return out
}
