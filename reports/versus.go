package reports

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A versus is figure 4: the subject against the baseline, within blocks, as factors and as differences.
type versus struct {
	subject, baseline *arm
	factors, points   []versusRow
	blocks            int
}

// A versusRow is one comparison. Its limit and verdict are an objective's, if one makes the same.
type versusRow struct {
	phase   analysis.Phase
	label   string
	v       rundir.Value
	form    slo.Form
	verdict rundir.Verdict
	limit   *float64
	op      string
}

var versusPhases = []struct {
	phase analysis.Phase
	name  string
}{{analysis.Before, "before"}, {analysis.During, "during"}, {analysis.After, "after"}, {analysis.Whole, "whole"}}

func (s *sheet) makeVersus() *versus {
	if s.subject == nil || s.baseline == nil || s.subject == s.baseline {
		return nil
	}
	f := &versus{subject: s.subject, baseline: s.baseline, blocks: len(s.countedBlocks())}
	for _, m := range phaseMetrics {
		if m == "ok_p99" || m == "goodput" {
			continue // conditional on success, which would reward who fails; and the availability once more
		}
		for _, p := range versusPhases {
			c := s.comparison(p.phase, m)
			if c.value.State != analysis.OK || c.value.Value == nil || c.words != "" || p.phase == analysis.Whole && len(s.faults) > 0 && m != "availability" {
				continue
			}
			row := versusRow{phase: p.phase, label: phaseLabels[m] + ", " + p.name, v: c.value, form: c.form}
			if o, ok := s.objectiveBetween(p.phase, m); ok {
				row.v, row.form, row.verdict, row.limit, row.op = o.Value, o.Form, o.Verdict, o.Limit, o.Op
			}
			if row.v.Value == nil {
				continue
			}
			switch {
			case row.form == slo.Ratio && *row.v.Value > 0:
				f.factors = append(f.factors, row)
			case row.form == slo.Difference && row.v.Unit == analysis.Ratio:
				f.points = append(f.points, row)
			}
		}
	}
	if len(f.factors)+len(f.points) == 0 {
		return nil
	}
	return f
}

// objectiveBetween finds the objective that holds one metric of the subject against the same of the baseline.
func (s *sheet) objectiveBetween(p analysis.Phase, metric string) (rundir.Objective, bool) {
	of := "." + metric
	if p != analysis.Whole {
		of = "." + string(p) + of
	}
	for _, o := range s.run.Objectives {
		lhs, rhs, ok := strings.Cut(squeeze(o.Text), o.Op)
		if ok && o.Form != slo.Absolute && o.State == analysis.OK && lhs == s.subject.Name+of && rhs == s.baseline.Name+of {
			return o, true
		}
	}
	return rundir.Objective{}, false
}

func (f *versus) find(rows []versusRow, label string) *versusRow {
	for i := range rows {
		if rows[i].label == label {
			return &rows[i]
		}
	}
	return nil
}

func (f *versus) finding() string {
	var parts []string
	if r := f.find(f.points, "availability, whole"); r != nil {
		v := read(r.v, r.form)
		parts = append(parts, fmt.Sprintf("availability %s%s", v, within(v.iv)))
	}
	for _, phase := range []string{"before", "whole"} {
		if r := f.find(f.factors, "p50, "+phase); r != nil {
			v := read(r.v, r.form)
			when := ""
			if phase == "before" {
				when = " with nothing broken"
			}
			parts = append(parts, fmt.Sprintf("median latency%s %s%s", when, v, within(v.iv)))
			break
		}
	}
	if len(parts) == 0 {
		return upper(f.subject.noun()) + " against " + f.baseline.noun() + "."
	}
	return upper(f.subject.noun()) + " against " + f.baseline.noun() + ": " + list(parts) + "."
}

func (f *versus) what() string {
	out := fmt.Sprintf("Estimates over %s with two-sided 95"+nb+"%% intervals, compared within the block. × is %s’s value divided by %s’s, points are the one less the other; at the upright line both are the same.",
		plural(f.blocks, "block", "blocks"), f.subject.noun(), f.baseline.noun())
	for _, r := range append(f.factors, f.points...) {
		if r.limit != nil {
			return out + " A dotted mark is an objective’s limit, the shade its margin."
		}
	}
	return out
}

func (f *versus) alt() string {
	var b strings.Builder
	b.WriteString("Effects with intervals. " + f.finding())
	for _, r := range append(f.points, f.factors...) {
		v := read(r.v, r.form)
		fmt.Fprintf(&b, " %s: %s%s.", upper(r.label), v, within(v.iv))
	}
	return b.String()
}

func (s *sheet) versusChart() *chart {
	f := s.makeVersus()
	if f == nil {
		return nil
	}
	return &chart{
		n: 4, name: "effects", title: "Effects", finding: f.finding(), what: f.what(), alt: f.alt(), table: f.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return f.draw(360, 12, 348, 38, true)
			}
			return f.draw(1040, 170, 720, 25, false)
		},
	}
}

// reach is the span of values that an axis must hold.
func reach(rows []versusRow, zero float64) (lo, hi float64) {
	lo, hi = zero, zero
	for _, r := range rows {
		for _, v := range []*float64{r.v.Value, r.v.Low, r.v.High, r.limit} {
			if v != nil {
				lo, hi = min(lo, *v), max(hi, *v)
			}
		}
	}
	return lo, hi
}

func (f *versus) draw(width, x0, x1, pitch float64, narrow bool) *canvas {
	height := 0.0
	for _, rows := range [][]versusRow{f.factors, f.points} {
		if len(rows) > 0 {
			height += 30 + pitch*float64(len(rows)) + 50
		}
	}
	c := newCanvas(width, height)
	y := 0.0
	if len(f.points) > 0 {
		lo, hi := reach(f.points, 0)
		step := niceStep(max(hi-lo, 0.001), 6)
		p := plot.New()
		p.X.Min, p.X.Max = math.Floor(lo/step)*step, math.Ceil(hi/step+1e-9)*step
		var ticks []plot.Tick
		for i := 0; p.X.Min+float64(i)*step <= p.X.Max+step/100; i++ {
			v := p.X.Min + float64(i)*step
			ticks = append(ticks, plot.Tick{Value: v, Label: scale{times: 100, signed: true}.short(round9(v))})
		}
		y = f.drawRows(c, p, ticks, f.points, "Difference, points", 0, y, x0, x1, pitch, narrow)
	}
	if len(f.factors) > 0 {
		lo, hi := reach(f.factors, 1)
		p := plot.New()
		p.X.Scale = plot.LogScale{}
		p.X.Min, p.X.Max = min(lo/1.05, 0.8), max(hi*1.05, 1.25)
		p.X.Min = max(p.X.Min, 1e-4)
		var ticks []plot.Tick
		steps := []float64{1, 2, 5}
		if p.X.Max/p.X.Min < 5 {
			steps = []float64{0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3}
		}
		for e := math.Floor(math.Log10(p.X.Min)); e <= math.Ceil(math.Log10(p.X.Max)); e++ {
			for _, m := range steps {
				if v := m * math.Pow(10, e); v >= p.X.Min && v <= p.X.Max && (len(steps) == 3 || e == 0) {
					ticks = append(ticks, plot.Tick{Value: v, Label: "×" + scale{times: 1}.short(round9(v))})
				}
			}
		}
		f.drawRows(c, p, ticks, f.factors, "Factor (log)", 1, y, x0, x1, pitch, narrow)
	}
	return c
}

func (f *versus) drawRows(c *canvas, p *plot.Plot, ticks []plot.Tick, rows []versusRow, title string, same, y, x0, x1, pitch float64, narrow bool) float64 {
	top := y + 26
	bottom := top + pitch*float64(len(rows))
	p.Y.Min, p.Y.Max = 0, 1
	q := c.panel(x0, top, x1, bottom, p)
	c.text("hd", 0, y+14, start, title)
	if !narrow {
		c.text("hm", textWidth("hd", title)+9, y+14, start, f.subject.Name+" against "+f.baseline.Name)
	}
	px := func(v float64) float64 { return q.px(min(max(v, p.X.Min), p.X.Max)) }
	lastTick := math.Inf(-1)
	for _, k := range ticks {
		c.line("grid", q.px(k.Value), top, q.px(k.Value), bottom)
		if w := textWidth("tk", k.Label); q.px(k.Value)-w/2 > lastTick+8 {
			c.text("tk", q.px(k.Value), bottom+18, middle, k.Label)
			lastTick = q.px(k.Value) + w/2
		}
	}
	c.line("ax", px(same), top, px(same), bottom+5)
	look := labelClass(f.subject)[2:]
	for i, r := range rows {
		at := top + pitch*(float64(i)+0.5)
		if narrow {
			at += 7
		}
		if r.limit != nil {
			a, b := px(same), px(*r.limit)
			c.rect("band", min(a, b), at-9, math.Abs(b-a), 18)
			c.line("slo", b, at-10, b, at+10)
		}
		if r.v.Low != nil || r.v.High != nil {
			a, b := x0, x1
			if r.v.Low != nil {
				a = px(*r.v.Low)
			}
			if r.v.High != nil {
				b = px(*r.v.High)
			}
			c.rect("f"+look, a, at-1, max(b-a, 1.2), 2)
		}
		c.mark(f.subject.Look, px(*r.v.Value), at)
		v := read(r.v, r.form)
		text := v.String()
		if narrow {
			c.text("mu", 0, at-12, start, r.label)
			c.text("lb"+look, c.w, at-12, end, text)
			continue
		}
		c.text("tx", x0-12, at+4.5, end, r.label)
		c.text("lb"+look, x1+14, at+4.5, start, text)
		note := v.iv
		if r.verdict != "" {
			note = strings.TrimPrefix(note+", objective: "+verdictWord(r.verdict), ", ")
		}
		c.text("tk", x1+22+textWidth("lb"+look, text), at+4.5, start, note)
	}
	return bottom + 50
}

func (f *versus) table() table {
	t := table{
		id: "t-f4", class: "sm tl", caption: "Estimates with two-sided 95" + nb + "% intervals; compared within blocks.",
		head: []column{left("metric, phase"), num(f.subject.Name + " against " + f.baseline.Name), left("objective"), num("blocks")},
	}
	for _, r := range append(f.points, f.factors...) {
		o := cell{}
		if r.verdict != "" {
			o = cell{verdict: r.verdict}
		}
		n := ""
		if r.v.N > 0 {
			n = fmt.Sprint(r.v.N)
		}
		t.add(text(r.label), read(r.v, r.form).cell(false), o, text(n))
	}
	return t
}
