package trial

import (
	"fmt"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// What happened to nodes that no fault had chosen is told up to maxCollateral times for a fault, until aftermath after
// its end.
const (
	maxCollateral = 20
	aftermath     = time.Second
)

// collateral finds what happened, while a fault was in force and shortly after it, to nodes that none in force had
// chosen: their deaths and freezes, and of the balanced service what its healthchecks say.
func (in *injector) collateral(faults []record.Fault) {
	cursor := 0
	events, _ := in.watch.since(&cursor)
	for i := range faults {
		f := &faults[i]
		if f.Onset == nil {
			continue
		}
		more := 0
		for _, raw := range events {
			e := event(raw, in.rec.Zero)
			what := in.harm(e)
			if what == "" || !touched(f, e.At) || slices.ContainsFunc(faults, func(o record.Fault) bool { return chose(&o, e) }) {
				continue
			}
			if len(f.Collateral) == maxCollateral {
				more++
				continue
			}
			f.Collateral = append(f.Collateral, fmt.Sprintf("%s: %s at %s", e.Node, what, instant(e.At)))
		}
		if more > 0 {
			f.Collateral = append(f.Collateral, fmt.Sprintf("and %d more", more))
		}
	}
}

// harm says what an event is for a node that was not to be touched, or "".
func (in *injector) harm(e record.Event) string {
	switch e.Kind {
	case record.NodeDie:
		if e.Detail != "" {
			return "died (" + e.Detail + ")"
		}
		return "died"
	case record.NodeOOM:
		return "out of memory"
	case record.NodePause:
		return "frozen"
	case record.NodeHealth:
		balanced := slices.ContainsFunc(in.rec.Nodes, func(n record.Node) bool { return n.Name == e.Node && n.Balanced })
		if balanced && e.Detail == "unhealthy" {
			return "unhealthy"
		}
	}
	return ""
}

// touched reports whether a fault was in force at a time, or shortly before.
func touched(f *record.Fault, at time.Duration) bool {
	return f.Onset != nil && at >= f.Onset.From && (f.Heal == nil || at <= f.Heal.To+aftermath)
}

// chose reports whether an event happened to a node of a fault in force, or did shortly before: the engine may date
// what a fault did a little too early.
func chose(f *record.Fault, e record.Event) bool {
	return slices.Contains(f.Nodes, e.Node) && (touched(f, e.At) || touched(f, e.At+clockSlack))
}
