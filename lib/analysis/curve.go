package analysis

import (
	"math"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Worst is the lowest good ratio over any window, for each of several lengths in seconds; see the metric worst. It sums
// the trial once, so that a curve costs little more than a point.
func (t *Trial) Worst(lengths []float64) []Value {
	due, good := t.series(anyRequest)
	out := make([]Value, len(lengths))
	for i, w := range lengths {
		out[i] = worst(due, good, keep(run{0, len(t.bins)}), w)
	}
	return out
}

// Percentiles is the response time that each of several shares of all requests met, in the trials together: histograms are
// merged, percentiles never averaged. It also returns how many requests there were.
func Percentiles(trials []*Trial, p Phase, shares []float64) ([]Value, uint64) {
	all := new(record.Hist)
	var due uint64
	for _, t := range trials {
		s := t.phase(p, anyRequest)
		due += s.due
		all.Merge(s.ok)
	}
	out := make([]Value, len(shares))
	for i, q := range shares {
		k := uint64(math.Ceil(q*float64(due) - 1e-9))
		switch d, ok := all.Rank(max(k, 1)); {
		case due == 0:
			out[i] = Missing("no request was due%s", inPhase(p))
		case ok:
			out[i] = seconds(d)
		default:
			out[i] = Value{State: Never}
		}
	}
	return out, due
}

// A Flow is what went on in one step of 100 ms of measured load.
type Flow struct {
	Due, Good uint64  // requests by their due time
	Done      float64 // requests whose outcome came in this step, bad ones included
	InFlight  float64 // requests due and not done, on the average over the step
}

// Flow returns the steps of measured load. When a request was done is known from its bin and its
// response time: to 100 ms, taken as spread over the bin. Warm-up requests that were open at the start are not in it.
func (t *Trial) Flow() []Flow {
	out := make([]Flow, len(t.bins))
	grid := record.Grid.Seconds()
	for i, b := range t.bins {
		if b == nil {
			continue
		}
		out[i].Due, out[i].Good = b.Due, b.Good
		for k := range b.Cells {
			c := &b.Cells[k]
			if n := c.Response.Total(); n < c.Count {
				spreadOver(out, float64(i), float64(c.Count-n)) // never sent: never in flight
			}
			c.Response.Each(func(d time.Duration, n uint64) {
				// The bin's requests come evenly over it; so do their ends, later by d.
				spreadOver(out, float64(i)+d.Seconds()/grid, float64(n))
			})
		}
	}
	open := 0.0
	for i := range out {
		before := open
		open += float64(out[i].Due) - out[i].Done
		out[i].InFlight = max((before+open)/2, 0)
	}
	return out
}

// spreadOver adds n requests that end evenly over [at, at + 1), in bins.
func spreadOver(out []Flow, at, n float64) {
	first := int(math.Floor(at))
	part := at - float64(first)
	if first >= 0 && first < len(out) {
		out[first].Done += n * (1 - part)
	}
	if first+1 < len(out) {
		out[first+1].Done += n * part
	}
}
