package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// An order is figure 10: what could make a run's numbers untrue, trial by trial in the order in which they ran.
type order struct {
	trials []orderTrial
	marks  []orderTrial // those of them that are drawn
	arms   []*arm
	drawn  []*arm
	of     map[*arm]rundir.Value // the arms' medians before the fault
	label  string
	drift  map[*arm]float64 // the largest relative distance of a counted trial from its arm's estimate
}

type orderTrial struct {
	arm     *arm
	order   int
	block   int
	counted bool
	p50     float64 // s; 0: none
	lag     float64 // s, p99.9 of sent − due; NaN: none

	faults, proven int
}

func (s *sheet) makeOrder() *order {
	f := &order{of: make(map[*arm]rundir.Value), drift: make(map[*arm]float64), label: "p50 before the fault"}
	phase := s.pricePhase()
	if phase == analysis.Whole {
		f.label = "p50"
	}
	if s.searches() {
		return nil
	}
	ref := analysis.Ref{Metric: "p50", Phase: phase}
	f.drawn = s.inFigures()
	i, every := 0, s.every()
	s.each(func(r rundir.Trial, a *analysis.Trial) {
		i++
		t := orderTrial{arm: s.arm(r.Arm), order: max(r.Order, i), block: r.Block, counted: r.Counted, lag: math.NaN()}
		if a != nil {
			if v := a.Metric(ref); v.State == analysis.OK {
				t.p50 = v.V
			}
			if lag := a.Lag(); lag.Total() > 0 {
				if d, ok := lag.Rank((lag.Total()*999 + 999) / 1000); ok {
					t.lag = d.Seconds()
				}
			}
		}
		t.faults, t.proven = s.proofsOf(r)
		f.trials = append(f.trials, t)
		if t.block%every == 1%every && slices.Contains(f.drawn, t.arm) {
			f.marks = append(f.marks, t)
		}
	})
	if len(f.trials) < 2 {
		return nil
	}
	some := false
	for _, a := range s.arms {
		v := s.value(a, phase, analysis.Ref{Metric: "p50"})
		f.of[a] = v
		f.arms = append(f.arms, a)
		for _, t := range f.trials {
			some = some || t.p50 > 0
			if t.arm == a && t.counted && t.p50 > 0 && v.Value != nil && *v.Value > 0 {
				f.drift[a] = max(f.drift[a], math.Abs(t.p50 / *v.Value - 1))
			}
		}
	}
	if !some {
		return nil
	}
	return f
}

// worstLag is the highest of any trial; false where no trial knows its own.
func (f *order) worstLag() (worst float64, known bool) {
	for _, t := range f.trials {
		if !math.IsNaN(t.lag) {
			worst, known = max(worst, t.lag), true
		}
	}
	return worst, known
}

// most is the largest number of trials of an arm that count and have a median.
func (f *order) most() int {
	most := 0
	for _, a := range f.arms {
		n := 0
		for _, t := range f.trials {
			if t.arm == a && t.counted && t.p50 > 0 {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// proofsOf counts a trial's faults, and those with proof.
func (s *sheet) proofsOf(r rundir.Trial) (faults, proven int) {
	for _, f := range s.run.Faults {
		if f.Arm != r.Arm || f.Block != r.Block {
			continue
		}
		faults++
		if f.Proven {
			proven++
		}
	}
	return faults, proven
}

// proofs counts the faults of all trials, and those with proof.
func (f *order) proofs() (faults, proven int) {
	for _, t := range f.trials {
		faults, proven = faults+t.faults, proven+t.proven
	}
	return faults, proven
}

func (f *order) finding() string {
	out := f.noise()
	if noise := f.scatter(); noise != "" {
		out += " (" + noise + ")"
	}
	if worst, known := f.worstLag(); known {
		out += "; one request in a thousand left the generator more than " + seconds(round3(worst)) + " late, in the worst trial"
	}
	if faults, proven := f.proofs(); faults > 0 {
		out += fmt.Sprintf("; %d of %s proven", proven, plural(faults, "fault is", "faults are"))
	}
	return out + "."
}

// noise says how far trials lie from their arms' estimates, or why that is not known.
func (f *order) noise() string {
	worst := 0.0
	for _, d := range f.drift {
		worst = max(worst, d)
	}
	switch most := f.most(); {
	case most == 0:
		return "No trial counts, so that nothing shows the noise"
	case most == 1:
		return "No arm has more than one trial that counts, which shows no noise"
	case len(f.drift) == 0:
		return "No arm has an estimate of its " + f.label
	}
	return fmt.Sprintf("Every counted trial’s %s lies within %s"+nb+"%% of its arm’s estimate", f.label, scale{times: 100}.short(round3(math.Ceil(worst*1000)/1000)))
}

// scatter is the noise between trials: the standard deviation of their logarithms, in percent.
func (f *order) scatter() string {
	var parts []string
	for _, a := range f.arms {
		var logs []float64
		for _, t := range f.trials {
			if t.arm == a && t.counted && t.p50 > 0 {
				logs = append(logs, math.Log(t.p50))
			}
		}
		if len(logs) < fewest || len(parts) == 3 {
			continue
		}
		mean, squares := 0.0, 0.0
		for _, v := range logs {
			mean += v / float64(len(logs))
		}
		for _, v := range logs {
			squares += (v - mean) * (v - mean)
		}
		parts = append(parts, a.noun()+"’s scatter by "+scale{times: 100}.short(round3(math.Sqrt(squares/float64(len(logs)-1))))+nb+"%")
	}
	return list(parts)
}

func (f *order) what() string {
	return "Trials in the order in which they ran: a drift of the machine shows as a slope, a disturbed trial as a mark apart. Bars behind are the arms’ 95" + nb +
		"% intervals. Hollow marks do not count. Below, how late requests were sent (sent − due) at the 99.9th percentile, which is part of every latency here; and whether every fault of the trial is proven (hollow: one is not)."
}

func (f *order) alt() string {
	var b strings.Builder
	b.WriteString("Trials in run order. " + f.finding())
	for _, a := range f.drawn {
		v := read(f.of[a], slo.Absolute)
		fmt.Fprintf(&b, " %s: %s %s%s", upper(a.noun()), f.label, v, within(v.iv))
		if d, known := f.drift[a]; known {
			fmt.Fprintf(&b, ", trials within %s"+nb+"%% of it", scale{times: 100}.short(round3(d)))
		}
		b.WriteString(".")
	}
	return b.String()
}

func (s *sheet) orderChart() *chart {
	f := s.makeOrder()
	if f == nil {
		return nil
	}
	return &chart{
		n: 10, name: "trust", title: "Trials in run order", finding: f.finding(), what: f.what(), alt: f.alt(), table: f.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return f.draw(360, 52, 348, true)
			}
			return f.draw(1040, 64, 900, false)
		},
	}
}

// An orderPlace is where panels stand in one of the two drawings.
type orderPlace struct {
	c      *canvas
	x0, x1 float64
	narrow bool
}

func (f *order) draw(width, x0, x1 float64, narrow bool) *canvas {
	const h1, h2 = 130.0, 64.0
	top := 28.0
	lagTop := top + h1 + 34
	bottom := lagTop + h2
	faults, _ := f.proofs()
	if faults > 0 {
		bottom += 30
	}
	c := newCanvas(width, bottom+40)
	at := orderPlace{c, x0, x1, narrow}
	q := f.panel(at, top, top+h1, upper(f.label), func(t orderTrial) float64 { return t.p50 })
	f.drawEstimates(at, q, top, top+h1)
	l := f.panel(at, lagTop, lagTop+h2, "Send lag, p99.9", func(t orderTrial) float64 { return t.lag })
	n := float64(len(f.marks))
	every := max(1, int(math.Ceil(n/((x1-x0)/26))))
	for i, t := range f.marks {
		x := x0 + (x1-x0)*(float64(i)+0.5)/n
		t.mark(c, x, q, t.p50)
		t.mark(c, x, l, t.lag)
		switch {
		case t.arm == nil || t.faults == 0:
		case t.proven == t.faults:
			c.mark(t.arm.Look, x, bottom-13)
		default:
			c.ring(labelClass(t.arm)[2:], x, bottom-13)
		}
		if i%every == 0 {
			c.text("tk", x, bottom+18, middle, fmt.Sprint(t.order))
		}
	}
	if faults > 0 {
		c.text("tk", x0-8, bottom-8.5, end, "proven")
	}
	c.line("ax", x0, bottom, x1, bottom)
	c.text("tk", (x0+x1)/2, bottom+36, middle, "trial, in the order in which they ran")
	return c
}

// panel opens a plot of times, as wide as the trials' own.
func (f *order) panel(at orderPlace, y0, y1 float64, head string, of func(orderTrial) float64) *panel {
	lo, hi := math.Inf(1), 0.0
	for _, t := range f.marks {
		if v := of(t); v > 0 {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if hi == 0 {
		lo, hi = 1e-5, 1e-3
	}
	p := plot.New()
	p.Y.Scale = plot.LogScale{}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, float64(max(len(f.marks), 1)), step125(lo, false), step125(max(hi, lo*1.2), true)
	q := at.c.panel(at.x0, y0, at.x1, y1, p)
	last := math.Inf(1)
	for _, k := range timeTicks(p.Y.Min, p.Y.Max) {
		if k.Label != "" && q.py(k.Value) < last-13 {
			at.c.line("grid", at.x0, q.py(k.Value), at.x1, q.py(k.Value))
			at.c.text("tk", at.x0-8, q.py(k.Value)+4, end, k.Label)
			last = q.py(k.Value)
		}
	}
	hx := at.x0
	if at.narrow {
		hx = 0
	}
	at.c.text("hd", hx, y0-12, start, head)
	return q
}

// drawEstimates draws each arm's estimate with its interval behind the trials.
func (f *order) drawEstimates(at orderPlace, q *panel, y0, y1 float64) {
	var labels []lineLabel
	for _, a := range f.drawn {
		v := f.of[a]
		if v.State != analysis.OK || v.Value == nil {
			continue
		}
		inside := func(v float64) float64 { return q.py(min(max(v, q.Y.Min), q.Y.Max)) }
		if v.Low != nil && v.High != nil {
			at.c.rect("r"+labelClass(a)[2:], at.x0, inside(*v.High), at.x1-at.x0, max(inside(*v.Low)-inside(*v.High), 1))
		}
		at.c.line("ln thin "+stroke(a), at.x0, inside(*v.Value), at.x1, inside(*v.Value))
		labels = append(labels, lineLabel{a, cut(visible(a.Name), 14), inside(*v.Value)})
	}
	if at.narrow {
		armLegend(at.c, textWidth("hd", upper(f.label))+14, y0-12, f.drawn, at.c.w)
	} else {
		lineLabels(at.c, at.x1+9, labels, y0, y1)
	}
}

// mark is a trial's value; hollow where the trial does not count.
func (t *orderTrial) mark(c *canvas, x float64, q *panel, v float64) {
	switch {
	case t.arm == nil || !(v > 0):
	case t.counted:
		c.mark(t.arm.Look, x, q.py(v))
	default:
		c.ring(labelClass(t.arm)[2:], x, q.py(v))
	}
}

func (f *order) table() table {
	t := table{
		id: "t-f10", class: "sm tl", caption: "Each trial, in the order in which they ran.",
		head: []column{left("trial"), left("arm"), num("block"), num(f.label), num("send lag, p99.9"), num("faults proven"), left("counts")},
	}
	for _, k := range f.trials {
		if k.arm == nil {
			continue
		}
		value := func(v float64) cell {
			if !(v > 0) {
				return quiet("none")
			}
			return text(seconds(round3(v)))
		}
		counts := "yes"
		if !k.counted {
			counts = "no"
		}
		t.add(text(fmt.Sprint(k.order)), ofArm(k.arm), text(fmt.Sprint(k.block)), value(k.p50), value(k.lag), text(fmt.Sprintf("%d of %d", k.proven, k.faults)), text(counts))
	}
	return t
}
