package analysis

import (
	"math"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// series returns due and good requests by bin.
func (t *Trial) series(request int) (due, good []uint64) {
	due, good = make([]uint64, len(t.bins)), make([]uint64, len(t.bins))
	for i, b := range t.bins {
		if b == nil {
			continue
		}
		for _, c := range b.Cells {
			if request != anyRequest && c.Request != request {
				continue
			}
			due[i] += c.Count
			if c.Class.Good() {
				good[i] += c.Count
			}
		}
	}
	return due, good
}

// windowBins is a window's length in bins, at least one.
func windowBins(seconds float64) int {
	return max(1, int(math.Round(seconds/record.Grid.Seconds())))
}

func total(xs []uint64) (n uint64) {
	for _, x := range xs {
		n += x
	}
	return n
}

// worst is the lowest good ratio over any window of w seconds that lies wholly in
// the phase. Windows slide on the grid of 100 ms; one without requests is no data.
func (t *Trial) worst(rs []run, request int, w float64) Value {
	due, good := t.series(request)
	return worst(due, good, rs, w)
}

func worst(due, good []uint64, rs []run, w float64) Value {
	n, lowest, found := windowBins(w), 1.0, false
	for _, r := range rs {
		var d, g uint64
		for i := r.from; i < r.to; i++ {
			d, g = d+due[i], g+good[i]
			if i-n >= r.from {
				d, g = d-due[i-n], g-good[i-n]
			}
			if i-r.from+1 >= n && d > 0 {
				lowest, found = min(lowest, float64(g)/float64(d)), true
			}
		}
	}
	if !found {
		return Missing("no window of %gs with requests fits in", w)
	}
	return Good(lowest)
}

// availableWindows is the share of windows whose good ratio reaches theta. Windows
// are aligned to the start of load; one that an edge of the phase cuts, or without requests,
// does not count.
func (t *Trial) availableWindows(rs []run, request int, w, theta float64) Value {
	due, good := t.series(request)
	n, all, reached := windowBins(w), 0, 0
	for _, r := range rs {
		for from := (r.from + n - 1) / n * n; from+n <= r.to; from += n {
			d, g := total(due[from:from+n]), total(good[from:from+n])
			if d == 0 {
				continue
			}
			all++
			if float64(g) >= theta*float64(d)-1e-9 {
				reached++
			}
		}
	}
	if all == 0 {
		return Missing("no window of %gs with requests fits in", w)
	}
	return Good(float64(reached) / float64(all))
}

// secondBins is 1 s in bins.
const secondBins = int(time.Second / record.Grid)

// downtime is Σ over windows of 1 s of (1 − good ratio), in seconds. Windows are
// aligned to the start of load; one that an edge cuts weighs as long as it is. One without
// requests is no data.
func (t *Trial) downtime(rs []run) Value {
	due, good := t.series(anyRequest)
	down := 0.0
	for _, r := range rs {
		for from := r.from; from < r.to; {
			to := min((from/secondBins+1)*secondBins, r.to)
			if d := total(due[from:to]); d > 0 {
				s := t.span(run{from, to})
				down += (s.To - s.From).Seconds() * float64(d-total(good[from:to])) / float64(d)
			}
			from = to
		}
	}
	return Good(down)
}

// longestSilence is the largest gap between good due times, exact, load's edges
// included.
func (t *Trial) longestSilence() Value {
	last, longest, due := time.Duration(0), time.Duration(0), uint64(0)
	for _, b := range t.bins {
		if b == nil {
			continue
		}
		due += b.Due
		if b.GoodFirst == record.None {
			continue
		}
		longest = max(longest, b.GoodFirst-last, b.GoodGap)
		last = b.GoodLast
	}
	if due == 0 {
		return Missing("no request was due")
	}
	return seconds(max(longest, t.Rec.For-last))
}

// balance is Jain's index (Σx)² / (n·Σx²) of the requests that each live balanced
// node answered, for each stretch in which the same nodes were live, and the mean of these weighted by
// answers. Source: Jain, Chiu, Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
//
// Stretches are cut on the grid of 100 ms. A node is live while the engine says that it runs
// and is not frozen.
func (t *Trial) balance(rs []run) Value {
	var nodes []string
	for _, n := range t.Rec.Nodes {
		if n.Balanced {
			nodes = append(nodes, n.Name)
		}
	}
	if len(nodes) == 0 {
		return Missing("the target has no balanced nodes")
	}
	downs := make([][]Span, len(nodes))
	for i, n := range nodes {
		downs[i] = t.downs(n)
	}
	weighted, weight := 0.0, 0.0
	for _, r := range rs {
		for from := r.from; from < r.to; {
			live := t.live(downs, from)
			to := from + 1
			for to < r.to && slices.Equal(live, t.live(downs, to)) {
				to++
			}
			if j, answers := jain(t.answersOf(nodes, live, run{from, to})); answers > 0 {
				weighted, weight = weighted+j*answers, weight+answers
			}
			from = to
		}
	}
	if weight == 0 {
		return Missing("no answer names a live balanced node")
	}
	return Good(weighted / weight)
}

// servingNodes counts the balanced nodes that gave at least one good answer. Where nobody answered it is 0; where good
// answers name no balanced node, nothing is known.
func (t *Trial) servingNodes(rs []run) Value {
	serving := make(map[string]bool) // by balanced node
	for _, n := range t.Rec.Nodes {
		if n.Balanced {
			serving[n.Name] = false
		}
	}
	if len(serving) == 0 {
		return Missing("the target has no balanced nodes")
	}
	due, good, nodes := uint64(0), uint64(0), 0
	for _, r := range rs {
		for _, b := range t.bins[r.from:r.to] {
			if b == nil {
				continue
			}
			for _, c := range b.Cells {
				due += c.Count
				if c.Class != record.OK || c.Count == 0 {
					continue
				}
				good += c.Count
				if counted, balanced := serving[c.Node]; balanced && !counted {
					serving[c.Node] = true
					nodes++
				}
			}
		}
	}
	switch {
	case due == 0:
		return Missing("no request was due")
	case good > 0 && nodes == 0:
		return Missing("no good answer names a balanced node")
	}
	return Good(float64(nodes))
}

// live says which nodes ran during all of a bin, given when each was down.
func (t *Trial) live(downs [][]Span, bin int) []bool {
	live := make([]bool, len(downs))
	s := t.span(run{bin, bin + 1})
	for i := range downs {
		live[i] = !slices.ContainsFunc(downs[i], func(d Span) bool { return d.From < s.To && s.From < d.To })
	}
	return live
}

// answersOf counts the answers of each live node.
func (t *Trial) answersOf(nodes []string, live []bool, r run) []float64 {
	by := make(map[string]uint64)
	for _, b := range t.bins[r.from:r.to] {
		if b == nil {
			continue
		}
		for _, c := range b.Cells {
			if c.Node != "" && answered(c.Class) {
				by[c.Node] += c.Count
			}
		}
	}
	var xs []float64
	for i, n := range nodes {
		if live[i] {
			xs = append(xs, float64(by[n]))
		}
	}
	return xs
}

func jain(xs []float64) (index, total float64) {
	squares := 0.0
	for _, x := range xs {
		total, squares = total+x, squares+x*x
	}
	if squares == 0 {
		return 0, 0
	}
	return total * total / (float64(len(xs)) * squares), total
}
