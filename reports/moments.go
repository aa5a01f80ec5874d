package reports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A moments is figure 5: when what happened after each fault, trial by trial.
type moments struct {
	faults []momentsFault
	more   int     // faults left out
	lo, hi float64 // s; what is below lo is "at once"
}

type momentsFault struct {
	name string
	rows []momentRow
}

// A momentRow is one event of one arm.
type momentRow struct {
	arm    *arm
	label  string
	values []rundir.Value // of the trials that count
	marks  []rundir.Value // those of them that are drawn
	of     rundir.Value   // the estimate over them
	limit  float64        // of its objective; 0: none
}

// maxMoments bounds the faults that the figure draws; the table below it has them all.
const maxMoments = 3

// kinds are the events, in the order in which they usually come.
var kinds = []struct{ metric, label string }{
	{"first_error", "first error"},
	{"detection", "last try at the lost node"},
	{"failover", "served again, fault on"},
	{"recovery", "recovered"},
	{"rebalanced", "share back, after the heal"},
}

func (s *sheet) makeMoments() *moments {
	m := &moments{lo: 0.01, hi: 1}
	for _, f := range s.faults {
		one := momentsFault{name: f}
		seen := false
		for _, a := range s.inFigures() {
			for _, k := range kinds {
				row := s.momentRow(a, k.metric, k.label, f)
				if row == nil {
					continue
				}
				for _, v := range row.values {
					if v.Value != nil {
						m.hi, seen = max(m.hi, *v.Value), true
					}
				}
				m.hi = max(m.hi, row.limit)
				one.rows = append(one.rows, *row)
			}
		}
		if !seen {
			continue
		}
		if len(m.faults) == maxMoments {
			m.more++
			continue
		}
		m.faults = append(m.faults, one)
	}
	if len(m.faults) == 0 {
		return nil
	}
	m.hi = step125(m.hi, true)
	return m
}

// momentRow is nil where no trial has a value.
func (s *sheet) momentRow(a *arm, metric, label, fault string) *momentRow {
	ref := analysis.Ref{Metric: metric, Fault: fault}
	row := &momentRow{arm: a, label: label, of: s.value(a, analysis.Whole, ref)}
	key, every := ref.String(), s.every()
	for _, t := range s.run.Trials {
		if v, ok := t.Metrics[key]; ok && t.Arm == a.Name && t.Counted && v.State != analysis.NoData {
			row.values = append(row.values, v)
			if t.Block%every == 1%every {
				row.marks = append(row.marks, v)
			}
		}
	}
	if len(row.values) == 0 {
		return nil
	}
	if o, ok := s.objectiveOn(a, measure{ref: ref}); ok && strings.HasPrefix(o.Op, "<") {
		row.limit = *o.Limit
	}
	return row
}

func (m *moments) finding() string {
	var parts []string
	for _, f := range m.faults {
		of := ""
		if len(m.faults) > 1 {
			of = " from " + f.name
		}
		for _, r := range f.rows {
			if r.label != "recovered" || len(parts) == 4 {
				continue
			}
			last, back := 0.0, 0
			for _, v := range r.values {
				if v.State == analysis.OK && v.Value != nil {
					last, back = max(last, *v.Value), back+1
				}
			}
			n := len(r.values)
			switch {
			case back == 0:
				parts = append(parts, r.arm.noun()+" did not come back"+of+" while we looked")
			case back < n:
				parts = append(parts, fmt.Sprintf("%s came back%s in %d of %s", r.arm.noun(), of, back, plural(n, "trial", "trials")))
			case last == 0:
				parts = append(parts, r.arm.noun()+" lost nothing"+of)
			case n == 1:
				parts = append(parts, r.arm.noun()+" was back"+of+" after "+seconds(round3(last)))
			default:
				parts = append(parts, fmt.Sprintf("%s was back%s in every one of %s within %s", r.arm.noun(), of, plural(n, "trial", "trials"), seconds(round3(last))))
			}
		}
	}
	if len(parts) == 0 {
		return "No arm’s recovery is known."
	}
	return upper(strings.Join(parts, "; ")) + "."
}

func (m *moments) what() string {
	out := "One mark for each trial, from the fault’s measured onset (the last row: from its end); the upright line is the estimate, the bar its 95" + nb +
		"% interval. At the left stands what came within 10" + nb + "ms. An open mark at the right is a trial in which it did not come while we looked: at least so long."
	if m.more > 0 {
		out += " " + plural(m.more, "fault more is", "faults more are") + " in the table below only."
	}
	return out
}

func (m *moments) alt() string {
	var b strings.Builder
	b.WriteString("Times of events after a fault, trial by trial. " + m.finding())
	for _, f := range m.faults {
		for _, r := range f.rows {
			v := read(r.of, slo.Absolute)
			fmt.Fprintf(&b, " %s, %s, %s: %s%s.", f.name, r.arm.noun(), r.label, v, within(v.iv))
		}
	}
	return b.String()
}

func (s *sheet) momentsChart() *chart {
	m := s.makeMoments()
	if m == nil {
		return nil
	}
	return &chart{
		n: 5, name: "event-times", title: "Event times", finding: m.finding(), what: m.what(), alt: m.alt(), table: m.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return m.draw(360, 12, 262, 40, true)
			}
			return m.draw(1040, 290, 880, 28, false)
		},
	}
}

func (m *moments) draw(width, x0, x1, pitch float64, narrow bool) *canvas {
	height := 26.0
	for _, f := range m.faults {
		height += 30 + pitch*float64(len(f.rows)) + 10*float64(armsIn(f.rows))
	}
	c := newCanvas(width, height+30)
	const stub = 56 // of what came at once
	p := plot.New()
	p.X.Scale = plot.LogScale{}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = m.lo, m.hi, 0, 1
	q := c.panel(x0+stub, 0, x1-12, height-20, p)
	x := func(v float64) float64 {
		if v < m.lo {
			return x0 + stub/2 - 10
		}
		return q.px(min(v, m.hi))
	}
	y := 18.0
	for _, f := range m.faults {
		c.text("hd", 0, y, start, "Fault "+cut(visible(f.name), 40))
		y += 12
		last := (*arm)(nil)
		for _, r := range f.rows {
			if r.arm != last {
				y += 10
				last = r.arm
				if !narrow {
					c.mark(r.arm.Look, 6, y+pitch/2)
					c.text(labelClass(r.arm), 16, y+pitch/2+4.5, start, fit(labelClass(r.arm), r.arm.Name, 90))
				}
			}
			at := y + pitch/2
			if narrow {
				at = y + pitch - 12
				c.mark(r.arm.Look, 6, y+8)
				c.text("mu", 16, y+12.5, start, fit("mu", r.arm.Name+": "+r.label, width-18))
			} else {
				c.text("tx", x0-10, at+4.5, end, r.label)
			}
			m.drawRow(c, r, x, at, x1, width, narrow)
			y += pitch
		}
		y += 18
	}
	axis := height - 14
	lastTick := x0 + stub/2 - 10 + textWidth("tk", "at once")/2
	for _, k := range timeTicks(m.lo, m.hi) {
		if w := textWidth("tk", k.Label); k.Label != "" && q.px(k.Value)-w/2 > lastTick+6 {
			c.line("ax", q.px(k.Value), axis, q.px(k.Value), axis+5)
			c.text("tk", q.px(k.Value), axis+19, middle, k.Label)
			lastTick = q.px(k.Value) + w/2
		}
	}
	c.line("ax", x0+stub, axis, x1-12, axis)
	c.line("ax", x0, axis, x0+stub-22, axis)
	c.text("tk", x0+stub/2-10, axis+19, middle, "at once")
	c.text("tk", (x0+stub+x1)/2, axis+36, middle, "after the onset (log)")
	return c
}

// armsIn counts the stretches of one arm's rows.
func armsIn(rows []momentRow) (n int) {
	for i, r := range rows {
		if i == 0 || rows[i-1].arm != r.arm {
			n++
		}
	}
	return n
}

func (m *moments) drawRow(c *canvas, r momentRow, x func(float64) float64, y, x1, width float64, narrow bool) {
	c.line("grid", x(0)-17, y, x1, y)
	look := labelClass(r.arm)[2:]
	if r.limit > 0 {
		c.line("slo", x(r.limit), y-11, x(r.limit), y+11)
	}
	if lo, hi := r.of.Low, r.of.High; r.of.State == analysis.OK && (lo != nil || hi != nil) {
		from, to := x(0), x1-12
		if lo != nil {
			from = x(max(*lo, 0))
		}
		if hi != nil {
			to = x(max(*hi, 0))
		}
		c.rect("r"+look, min(from, to), y-4.5, max(to-from, 1), 9)
	}
	for i, v := range r.marks {
		dy := 0.0
		if len(r.marks) > 2 {
			dy = float64(i%3-1) * 3.2
		}
		switch {
		case v.State == analysis.OK && v.Value != nil:
			c.mark(r.arm.Look, x(*v.Value), y+dy)
		case v.State == analysis.Censored && v.Value != nil:
			c.ring(look, x(*v.Value), y+dy)
		default: // never
			c.ring(look, x1-4, y+dy)
		}
	}
	if r.of.State == analysis.OK && r.of.Value != nil {
		c.rect("f"+look, x(*r.of.Value)-1, y-9, 2, 18)
	}
	v := read(r.of, slo.Absolute)
	if narrow {
		c.text("lb"+look, width, y+4.5, end, v.String())
		return
	}
	c.text("lb"+look, x1+12, y+4.5, start, v.String())
	c.text("tk", x1+18+textWidth("lb"+look, v.String()), y+4.5, start, v.iv)
}

func (m *moments) table() table {
	t := table{
		id: "t-f5", class: "sm", caption: "Each trial that counts, in the order in which they ran, in s from the fault’s onset (the last kind: from its end).",
		head: []column{left("event"), left("arm"), num("estimate"), left("trials")},
	}
	for _, f := range m.faults {
		t.group("Fault " + f.name)
		for _, r := range f.rows {
			var each []string
			for _, v := range r.values {
				each = append(each, read(v, slo.Absolute).String())
			}
			if len(each) > 40 {
				each = append(slices.Clone(each[:40]), "and "+strconv.Itoa(len(each)-40)+" more")
			}
			t.add(text(r.label), ofArm(r.arm), read(r.of, slo.Absolute).cell(false), text(strings.Join(each, ", ")))
		}
	}
	return t
}
