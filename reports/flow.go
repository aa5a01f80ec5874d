package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// A flow is figure 9: what was offered, done and good, and what was in flight, in one trial of each arm.
type flow struct {
	block  int
	length float64
	step   int
	top    float64 // requests per second
	most   float64 // in flight
	panels []flowPanel
}

type flowPanel struct {
	arm                     *arm
	offered, done, good, in []float64 // by step; the most in flight at any moment of it
	long                    []float64 // s that a point stands for
	bands                   [][2]float64
}

func (s *sheet) makeFlow() *flow {
	line := s.timeline()
	if line == nil {
		return nil
	}
	f := &flow{block: line.block, length: line.length, step: line.step}
	for _, a := range s.inFigures() {
		t := s.oneTrial(a, line.block)
		if t == nil {
			continue
		}
		p := flowPanel{arm: a}
		for _, fault := range faultsOf(a, t) {
			p.bands = append(p.bands, [2]float64{fault.from, fault.to})
		}
		bins := t.Flow()
		per := 10 * f.step
		for i := 0; i < len(bins); i += per {
			var due, done, good, in float64
			for _, b := range bins[i:min(i+per, len(bins))] {
				due, done, good, in = due+float64(b.Due), done+b.Done, good+float64(b.Good), max(in, b.InFlight)
			}
			length := stepLength(t.Rec.For.Seconds(), f.step, i/per)
			p.long = append(p.long, length)
			p.offered, p.done, p.good = append(p.offered, due/length), append(p.done, done/length), append(p.good, good/length)
			p.in = append(p.in, in)
			f.top, f.most = max(f.top, due/length, done/length), max(f.most, in)
		}
		f.panels = append(f.panels, p)
	}
	if len(f.panels) == 0 || f.top == 0 {
		return nil
	}
	return f
}

func (p *flowPanel) mostInFlight() float64 {
	most := 0.0
	for _, v := range p.in {
		most = max(most, v)
	}
	return most
}

// shortfall is where the most of what was offered did not become good; -1 where all did.
func (p *flowPanel) shortfall() int {
	at, most := -1, 0.0
	for i, offered := range p.offered {
		if d := offered - p.good[i]; d > most {
			at, most = i, d
		}
	}
	return at
}

func (f *flow) finding() string {
	rate := func(v float64) string { return scale{times: 1}.short(round3(v)) }
	var parts []string
	for i := range f.panels {
		p := &f.panels[i]
		part := fmt.Sprintf("%s had up to %s in flight, and ", p.arm.noun(), plural(int(math.Round(p.mostInFlight())), "request", "requests"))
		if at := p.shortfall(); at < 0 {
			part += "gave a good answer to all that was offered"
		} else {
			part += fmt.Sprintf("gave no good answer to %s of %s offered/s in its worst %s", rate(p.offered[at]-p.good[at]), rate(p.offered[at]), stretch(p.long[at]))
		}
		parts = append(parts, part)
	}
	return upper(strings.Join(parts, "; ")) + "."
}

// stretch is a length of time after "each" or "worst".
func stretch(sec float64) string {
	if sec == 1 {
		return "second"
	}
	return seconds(round3(sec))
}

func (f *flow) what() string {
	each := stretch(float64(f.step))
	return fmt.Sprintf("Rates are means over each %s. Dotted: requests due, whatever the target does. Light: those whose outcome came then, good or bad. Heavy: good ones, by when they were due. "+
		"In flight: due and without an outcome, in the fullest 100"+nb+"ms of each %s. One trial of each arm, of block %d.", each, each, f.block)
}

func (f *flow) alt() string {
	return fmt.Sprintf("Requests offered, completed, good and in flight over %s. %s", seconds(f.length), f.finding())
}

func (s *sheet) flowChart() *chart {
	f := s.makeFlow()
	if f == nil {
		return nil
	}
	return &chart{
		n: 9, name: "flow", title: "Offered, completed, good and in flight", finding: f.finding(), what: f.what(), alt: f.alt(), table: f.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return f.draw(360, 46, 348, 84, true)
			}
			return f.draw(1040, 64, 900, 92, false)
		},
	}
}

func (f *flow) draw(width, x0, x1, h float64, narrow bool) *canvas {
	pitch := h + 40
	c := newCanvas(width, pitch*float64(len(f.panels)+1)+42)
	at := flowPlace{c, x0, x1, h, narrow}
	for i := range f.panels {
		f.drawRates(at, &f.panels[i], float64(i)*pitch)
	}
	f.drawInFlight(at, float64(len(f.panels))*pitch)
	secondsAxis(c, x0, x1, pitch*float64(len(f.panels)+1)-8, f.length)
	c.axis = &timeAxis{x0, x1, f.length}
	return c
}

// A flowPlace is where panels stand in one of the two drawings.
type flowPlace struct {
	c         *canvas
	x0, x1, h float64
	narrow    bool
}

func (at flowPlace) headX() float64 {
	if at.narrow {
		return 0
	}
	return at.x0
}

// panel opens a plot below a heading, with the faults' bands and a scale from 0.
func (f *flow) panel(at flowPlace, y, top float64, bands [][2]float64) *panel {
	q := plot.New()
	q.X.Min, q.X.Max, q.Y.Min, q.Y.Max = 0, f.length, 0, top*1.06
	pl := at.c.panel(at.x0, y, at.x1, y+at.h, q)
	for _, b := range bands {
		at.c.rect("band", pl.px(b[0]), y, pl.px(b[1])-pl.px(b[0]), at.h)
		at.c.line("edge", pl.px(b[0]), y, pl.px(b[0]), y+at.h)
		if b[1] < f.length {
			at.c.line("edge", pl.px(b[1]), y, pl.px(b[1]), y+at.h)
		}
	}
	step := niceStep(top, 3)
	for k := 0; float64(k)*step <= top*1.06; k++ {
		v := float64(k) * step
		at.c.line("grid", at.x0, pl.py(v), at.x1, pl.py(v))
		at.c.text("tk", at.x0-8, pl.py(v)+4, end, scale{times: 1}.short(round9(v)))
	}
	return pl
}

func (f *flow) points(vs []float64) plotter.XYs {
	out := make(plotter.XYs, len(vs))
	for i, v := range vs {
		out[i] = plotter.XY{X: min((float64(i)+0.5)*float64(f.step), f.length), Y: v}
	}
	return out
}

func (f *flow) drawRates(at flowPlace, p *flowPanel, y float64) {
	c, hx, class := at.c, at.headX(), labelClass(p.arm)
	c.mark(p.arm.Look, hx+4, y+12)
	name := fit(class, p.arm.Name, 200)
	c.text(class, hx+14, y+16.5, start, name)
	if !at.narrow {
		c.text("hm", hx+24+textWidth(class, name), y+16.5, start, "requests/s")
	}
	pl := f.panel(at, y+28, f.top, p.bands)
	pl.polyline("slo", f.points(p.offered))
	pl.polyline("ln p50 "+stroke(p.arm), f.points(p.done))
	pl.polyline("ln p99 "+stroke(p.arm), f.points(p.good))
	if at.narrow {
		return
	}
	last := len(p.good) - 1
	ys := apart([]float64{pl.py(p.offered[last]), pl.py(p.done[last]), pl.py(p.good[last])}, 15, y+28, y+28+at.h)
	for k, text := range []string{"offered", "completed", "good"} {
		of := class
		if k == 0 {
			of = "tk"
		}
		c.text(of, at.x1+9, ys[k]+4.5, start, text)
	}
}

func (f *flow) drawInFlight(at flowPlace, y float64) {
	c := at.c
	c.text("hd", at.headX(), y+16.5, start, "In flight")
	pl := f.panel(at, y+28, max(f.most, 1), f.panels[0].bands)
	var labels []lineLabel
	arms := make([]*arm, len(f.panels))
	for i := len(f.panels) - 1; i >= 0; i-- {
		p := &f.panels[i]
		arms[i] = p.arm
		pl.polyline("ln p99 "+stroke(p.arm), f.points(p.in))
		labels = append(labels, lineLabel{p.arm, cut(visible(p.arm.Name), 14), pl.py(p.in[len(p.in)-1])})
	}
	if at.narrow {
		armLegend(c, textWidth("hd", "In flight")+14, y+16.5, arms, c.w)
	} else {
		lineLabels(c, at.x1+9, labels, y+28, y+28+at.h)
	}
}

func (f *flow) table() table {
	t := table{id: "t-f9", class: "sm tl", caption: fmt.Sprintf("Requests per second, and the most in flight; block %d.", f.block), head: []column{left("s")}}
	rows := 0
	for _, p := range f.panels {
		t.head = append(t.head, num(p.arm.Name+", offered"), num("completed"), num("good"), num("in flight"))
		rows = max(rows, len(p.in))
	}
	for i := range rows {
		cells := []cell{text(strconv.Itoa(i * f.step))}
		for _, p := range f.panels {
			for _, vs := range [][]float64{p.offered, p.done, p.good, p.in} {
				c := cell{}
				if i < len(vs) {
					c = text(scale{times: 1}.short(math.Round(vs[i]*10) / 10))
				}
				cells = append(cells, c)
			}
		}
		t.add(cells...)
	}
	return t
}
