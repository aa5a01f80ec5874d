package reports

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

// An answered is figure 2: the share of all requests that were answered OK within x.
type answered struct {
	xs      []float64 // s, rising
	lines   []answeredArm
	corners []corner
	loose   bool
}

type answeredArm struct {
	curveOf                  // shares at xs
	each         [][]float64 // those of the trials
	availability float64
}

// A corner is an objective on a percentile: so many within so long.
type corner struct {
	x, share float64
	text     string
}

func (s *sheet) makeAnswered() *answered {
	type curve struct {
		xs    []time.Duration
		share []float64
	}
	curves := make(map[*arm][]curve)
	a := &answered{}
	lo, hi := math.Inf(1), 0.0
	for _, r := range s.inFigures() {
		trials, loose := s.shown(r)
		if len(trials) == 0 {
			continue
		}
		a.loose = a.loose || loose
		for _, t := range trials {
			xs, share := t.Answered()
			curves[r] = append(curves[r], curve{xs, share})
			if n := len(xs); n > 0 {
				lo, hi = min(lo, xs[0].Seconds()), max(hi, xs[n-1].Seconds())
			}
		}
	}
	if len(curves) == 0 {
		return nil
	}
	a.corners = s.corners()
	for _, c := range a.corners {
		lo, hi = min(lo, c.x), max(hi, c.x*1.5)
	}
	if hi == 0 {
		lo, hi = 1e-3, 1
	}
	a.grid(max(lo, 1e-6), max(hi, lo*2))
	for _, r := range s.inFigures() {
		cs := curves[r]
		if len(cs) == 0 {
			continue
		}
		l := answeredArm{curveOf: curveOf{arm: r, n: len(cs), x: a.xs}}
		for _, c := range cs {
			one := make([]float64, len(a.xs))
			for i, x := range a.xs {
				at := sort.Search(len(c.xs), func(k int) bool { return c.xs[k].Seconds() > x*1.000001 })
				if at > 0 {
					one[i] = c.share[at-1]
				}
			}
			l.each = append(l.each, one)
		}
		l.summarize()
		// What the figure says is what the tiles say: an estimate over trials is not just their median.
		if v := s.value(r, analysis.Whole, analysis.Ref{Metric: "availability"}); v.State == analysis.OK && v.Value != nil {
			l.availability = *v.Value
		}
		a.lines = append(a.lines, l)
	}
	return a
}

// grid spreads points evenly over a log axis from below all answers to their end.
func (a *answered) grid(lo, hi float64) {
	const n = 110
	lo, hi = step125(lo, false), hi*1.05
	for i := range n + 1 {
		a.xs = append(a.xs, lo*math.Pow(hi/lo, float64(i)/n))
	}
}

func (l *answeredArm) summarize() {
	for i := range l.x {
		var vs []float64
		for _, one := range l.each {
			vs = append(vs, one[i])
		}
		l.band = append(l.band, bandFrom(vs))
	}
	l.availability = l.last()
}

// last is the share that the line ends at.
func (l *answeredArm) last() float64 { return l.band[len(l.band)-1].mid }

// corners are the objectives that set a percentile of all requests against a time.
func (s *sheet) corners() []corner {
	shares := map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "p9999": 0.9999}
	var out []corner
	for _, o := range s.run.Objectives {
		if o.Form != slo.Absolute || o.Limit == nil || !strings.HasPrefix(o.Op, "<") || *o.Limit <= 0 || len(out) == 2 {
			continue
		}
		lhs, _, _ := strings.Cut(squeeze(o.Text), "<")
		parts := strings.Split(lhs, ".")
		if len(parts) != 2 || shares[parts[1]] == 0 {
			continue
		}
		sh := shares[parts[1]]
		out = append(out, corner{*o.Limit, sh, percent(sh) + " in " + seconds(*o.Limit)})
	}
	return out
}

// plateau is the availability with the decimals that it has everywhere else.
func (l *answeredArm) plateau() string {
	sc := scale{times: 100, ratio: true}
	return sc.format(l.availability, sc.decimals(l.availability)) + nb + "%"
}

func (a *answered) finding() string {
	var parts []string
	for i, l := range a.lines {
		part := l.arm.noun() + " " + l.plateau()
		if i == 0 {
			part = l.arm.noun() + " answered " + l.plateau() + " of all requests"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return ""
	}
	return "In the end " + list(parts) + "."
}

func (a *answered) alt() string {
	var b strings.Builder
	b.WriteString("Share of all requests answered OK within a time limit x. ")
	for _, l := range a.lines {
		fmt.Fprintf(&b, "%s levels off at %s", upper(l.arm.noun()), l.plateau())
		for i, of := range l.band {
			if l.availability > 0 && of.mid >= l.availability/2 {
				fmt.Fprintf(&b, ", half of it within %s", seconds(round3(a.xs[i])))
				break
			}
		}
		b.WriteString(". ")
	}
	return b.String()
}

// answeredChart is figure 2.
func (s *sheet) answeredChart() *chart {
	a := s.makeAnswered()
	if a == nil {
		return nil
	}
	what := "Share of all requests answered OK within x. Failures never arrive, so the plateau is the availability."
	if len(a.corners) > 0 {
		what += " The dotted corner is an objective: the line must pass above it."
	}
	if a.loose {
		what += " Drawn from trials that do not count."
	}
	return &chart{
		n: 2, name: "answered", title: "Answered within x", half: true, finding: a.finding(), what: what, alt: a.alt(), table: a.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return a.draw(360, 40, 344, 254, true)
			}
			return a.draw(500, 44, 374, 270, false)
		},
	}
}

func (a *answered) draw(w, x0, x1, y1 float64, narrow bool) *canvas {
	c := newCanvas(w, y1+46)
	p := plot.New()
	p.X.Scale = plot.LogScale{}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = a.xs[0], a.xs[len(a.xs)-1], 0, 1
	q := c.panel(x0, 14, x1, y1, p)
	for _, v := range []float64{0, 0.25, 0.5, 0.75, 1} {
		c.line("grid", x0, q.py(v), x1, q.py(v))
		label := strconv.Itoa(int(v * 100))
		if v == 1 && !narrow {
			label += nb + "%"
		}
		c.text("tk", x0-8, q.py(v)+4, end, label)
	}
	q.timeAxisBelow(c, x0, x1, y1, "time limit x, from the due time (log)")
	for i, k := range a.corners {
		x, y := q.px(k.x), q.py(k.share)
		c.line("slo", x, y1, x, y)
		c.line("slo", x, y, x1, y)
		c.text("tk", x-6, y1-88+float64(i)*34, end, "objective")
		c.text("tk", x-6, y1-73+float64(i)*34, end, k.text)
	}
	var labels []lineLabel
	for i := len(a.lines) - 1; i >= 0; i-- {
		l := a.lines[i]
		switch {
		case l.n >= fewTrials:
			q.fill("r"+strconv.Itoa(l.arm.Look), l.points(low), l.points(highs))
		case l.n > 1:
			for _, one := range l.each {
				q.polyline("ln thin "+stroke(l.arm), a.points(one))
			}
		}
		q.polyline("ln p99 "+stroke(l.arm), l.points(mid))
		labels = append(labels, lineLabel{l.arm, l.arm.Name + " " + l.plateau(), q.py(l.last())})
	}
	if !narrow {
		lineLabels(c, x1+9, labels, 14, y1)
		return c
	}
	ys := make([]float64, len(labels))
	for i := range labels {
		ys[i] = labels[i].y + 16
	}
	for i, y := range apart(ys, 16, 30, y1-4) {
		c.text("lb"+strconv.Itoa(labels[i].arm.Look), x1, y, end, cut(visible(labels[i].text), 26))
	}
	return c
}

func (a *answered) points(share []float64) plotter.XYs {
	out := make(plotter.XYs, len(a.xs))
	for i := range a.xs {
		out[i] = plotter.XY{X: a.xs[i], Y: share[i]}
	}
	return out
}

func (a *answered) table() table {
	t := table{id: "t-f2", class: "sm tl", caption: "Share of all requests answered OK within x; medians over the trials, the middle 80" + nb + "% beside.", head: []column{left("x")}}
	for _, l := range a.lines {
		t.head = append(t.head, num(l.arm.Name+", %"))
	}
	sc := scale{times: 100, ratio: true}
	for i, x := range a.xs {
		if i%5 != 0 {
			continue
		}
		cells := []cell{text(seconds(round3(x)))}
		for _, l := range a.lines {
			b := l.band[i]
			c := text(sc.format(b.mid, sc.decimals(b.mid)))
			if l.n >= fewTrials {
				c.iv = sc.format(b.lo, sc.decimals(b.lo)) + nb + "–" + nb + sc.format(b.hi, sc.decimals(b.hi))
			}
			cells = append(cells, c)
		}
		t.add(cells...)
	}
	return t
}

// phasesTitle names what the phase table sets side by side.
func (s *sheet) phasesTitle() string {
	if s.baseline != nil && s.subject != nil && s.subject != s.baseline && len(s.arms) == 2 {
		return upper(s.subject.noun()) + " and " + s.baseline.noun() + ", by phase"
	}
	return "By phase"
}

func (s *sheet) phasesLead() string {
	v, iv, ok := s.priceOf()
	if !ok {
		return ""
	}
	lead := "Median latency with nothing broken: " + percentChange(v)
	if iv != "" {
		lead += " (" + iv + ")"
	}
	return lead + " against " + s.baseline.noun() + "."
}

// within is an interval in brackets, if there is one.
func within(iv string) string {
	if iv == "" {
		return ""
	}
	return " (" + iv + ")"
}

func (s *sheet) eventsLead() string {
	var parts []string
	for _, f := range s.faults {
		for _, a := range s.arms {
			v := s.value(a, analysis.Whole, analysis.Ref{Metric: "recovery", Fault: f})
			if v.State != analysis.NoData {
				r := read(v, slo.Absolute)
				t := a.noun() + " recovered from " + f + " in " + r.String() + within(r.iv)
				switch o := s.outcomes(a, "recovery", f); {
				case v.State == analysis.OK:
				case o.mixed():
					t = fmt.Sprintf("%s recovered from %s in %d of %s (over all trials: %s)", a.noun(), f, o.came, plural(o.of, "trial", "trials"), r)
				default:
					t = a.noun() + " did not recover from " + f + " while we looked (" + r.String() + ")"
				}
				parts = append(parts, t)
			}
		}
	}
	if len(parts) == 0 || len(parts) > 4 {
		return ""
	}
	return upper(strings.Join(parts, "; ")) + "."
}
