package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// A traffic is figure 7: which node answered how much, in one trial of each arm.
type traffic struct {
	block  int
	length float64
	top    float64 // requests per second
	step   int     // seconds a point stands for
	panels []trafficPanel
}

type trafficPanel struct {
	arm    *arm
	layers []trafficLayer // from below
	bands  [][2]float64
	secs   int
}

// A trafficLayer is one node's answers, or the bad requests.
type trafficLayer struct {
	name string
	bad  bool
	rate []float64 // per second, by step
	all  uint64
}

// maxLayers bounds the nodes that have a layer of their own.
const maxLayers = 6

// oneTrial is an arm's trial in the block that figure 1 shows moments of.
func (s *sheet) oneTrial(a *arm, block int) *analysis.Trial {
	var found *analysis.Trial
	s.each(func(r rundir.Trial, of *analysis.Trial) {
		if of != nil && r.Block == block && r.Arm == a.Name && of.Rec.For > 0 && len(of.Rec.Bins) > 0 {
			found = of
		}
	})
	return found
}

func (s *sheet) makeTraffic() *traffic {
	line := s.timeline()
	if line == nil {
		return nil
	}
	f := &traffic{block: line.block, length: line.length, step: line.step}
	for _, a := range s.inFigures() {
		if t := s.oneTrial(a, line.block); t != nil {
			p := trafficOf(a, t, f.step)
			for _, fault := range faultsOf(a, t) {
				p.bands = append(p.bands, [2]float64{fault.from, fault.to})
			}
			f.panels = append(f.panels, p)
			for i := range p.secs {
				sum := 0.0
				for _, l := range p.layers {
					sum += l.rate[i]
				}
				f.top = max(f.top, sum)
			}
		}
	}
	if len(f.panels) == 0 || f.top == 0 {
		return nil
	}
	return f
}

func trafficOf(a *arm, t *analysis.Trial, step int) trafficPanel {
	secs := t.Seconds()
	n := (len(secs) + step - 1) / step
	p := trafficPanel{arm: a, secs: n}
	layer := make(map[string]*trafficLayer)
	get := func(name string, bad bool) *trafficLayer {
		key := fmt.Sprint(bad, name)
		if layer[key] == nil {
			layer[key] = &trafficLayer{name: name, bad: bad, rate: make([]float64, n)}
		}
		return layer[key]
	}
	add := func(l *trafficLayer, i int, k uint64) {
		l.rate[i/step] += float64(k) / stepLength(t.Rec.For.Seconds(), step, i/step)
		l.all += k
	}
	names, byNode := answeredBy(t), goodBy(t, len(secs))
	for i, sec := range secs {
		good := uint64(0)
		for node, k := range byNode[i] {
			switch at := slices.Index(names, node); {
			case node == "":
				add(get("answered, no name", false), i, k)
			case at >= maxLayers:
				add(get("other nodes", false), i, k)
			default:
				add(get(node, false), i, k)
			}
			good += k
		}
		if sec.Due > good {
			add(get("bad", true), i, sec.Due-good)
		}
	}
	for _, name := range append(slices.Clone(names[:min(len(names), maxLayers)]), "other nodes", "answered, no name") {
		if l := layer[fmt.Sprint(false, name)]; l != nil && l.all > 0 {
			p.layers = append(p.layers, *l)
		}
	}
	if l := layer[fmt.Sprint(true, "bad")]; l != nil && l.all > 0 {
		p.layers = append(p.layers, *l)
	}
	return p
}

// stepLength is how many seconds of a load the i-th step takes: the last one can be shorter.
func stepLength(load float64, step, i int) float64 {
	return max(min(float64(step), load-float64(i*step)), 0.1)
}

// answeredBy lists the nodes that gave good answers: those of the recording in its order, then names that it does not know.
func answeredBy(t *analysis.Trial) []string {
	seen := make(map[string]bool)
	var strange []string
	for _, b := range measuredOf(t.Rec.Bins, t.Rec.For) {
		for i := range b.Cells {
			if c := &b.Cells[i]; c.Node != "" && c.Class.Good() && !seen[c.Node] {
				seen[c.Node] = true
				strange = append(strange, c.Node)
			}
		}
	}
	var names []string
	for _, n := range t.Rec.Nodes {
		if seen[n.Name] {
			names = append(names, n.Name)
			strange = slices.DeleteFunc(strange, func(s string) bool { return s == n.Name })
		}
	}
	slices.Sort(strange)
	return append(names, strange...)
}

// goodBy counts the good answers of each second by node.
func goodBy(t *analysis.Trial, seconds int) []map[string]uint64 {
	by := make([]map[string]uint64, seconds)
	for _, b := range measuredOf(t.Rec.Bins, t.Rec.For) {
		at := int(b.Start() / time.Second)
		if at >= seconds {
			continue
		}
		if by[at] == nil {
			by[at] = make(map[string]uint64)
		}
		for i := range b.Cells {
			if c := &b.Cells[i]; c.Class.Good() {
				by[at][c.Node] += c.Count
			}
		}
	}
	return by
}

// partText is a part of all in percent, with three digits; more where these would make it all.
func partText(part float64) string {
	if short := round3(part); short < 1 || part == 1 {
		return scale{times: 100}.short(short)
	}
	return scale{times: 100, ratio: true}.short(part)
}

func (f *traffic) finding() string {
	var parts []string
	for _, p := range f.panels {
		var good, bad uint64
		for _, l := range p.layers {
			if l.bad {
				bad += l.all
			} else {
				good += l.all
			}
		}
		var shares []string
		for _, l := range p.layers {
			if !l.bad && good > 0 {
				shares = append(shares, l.name+" "+partText(float64(l.all)/float64(good))+nb+"%")
			}
		}
		who := list(shares)
		if len(shares) > 4 {
			who = list(append(shares[:3:3], fmt.Sprintf("%d more", len(shares)-3)))
		}
		if who == "" {
			who = "nobody"
		}
		parts = append(parts, upper(fmt.Sprintf("%s’s %s good answers came from %s; %s.", p.arm.noun(), count(good), who, plural(int(bad), "request was bad", "requests were bad"))))
	}
	return strings.Join(parts, " ")
}

func (f *traffic) what() string {
	out := fmt.Sprintf("Requests per second by the node that answered them as expected, stacked; bad ones on top. One trial of each arm, of block %d: who answers is a matter of moments.", f.block)
	most := 0
	for _, p := range f.panels {
		most = max(most, len(p.bands))
	}
	switch {
	case most == 1:
		out += " The fault was in force between the dashed lines."
	case most > 1:
		out += " A fault was in force between the dashed lines."
	}
	return out
}

func (f *traffic) alt() string {
	return fmt.Sprintf("Traffic by answering node over %s. %s", seconds(f.length), f.finding())
}

func (s *sheet) trafficChart() *chart {
	f := s.makeTraffic()
	if f == nil {
		return nil
	}
	return &chart{
		n: 7, name: "traffic", title: "Traffic by node", finding: f.finding(), what: f.what(), alt: f.alt(), table: f.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return f.draw(360, 46, 278, 92, true)
			}
			return f.draw(1040, 64, 900, 110, false)
		},
	}
}

func (f *traffic) draw(width, x0, x1, h float64, narrow bool) *canvas {
	pitch := h + 40
	c := newCanvas(width, pitch*float64(len(f.panels))+42)
	for i, p := range f.panels {
		y := float64(i) * pitch
		hx := x0
		if narrow {
			hx = 0
		}
		c.mark(p.arm.Look, hx+4, y+12)
		c.text(labelClass(p.arm), hx+14, y+16.5, start, fit(labelClass(p.arm), p.arm.Name, 200))
		if !narrow {
			c.text("hm", hx+24+textWidth(labelClass(p.arm), fit(labelClass(p.arm), p.arm.Name, 200)), y+16.5, start, "requests/s")
		}
		q := plot.New()
		q.X.Min, q.X.Max, q.Y.Min, q.Y.Max = 0, f.length, 0, f.top*1.05
		pl := c.panel(x0, y+28, x1, y+28+h, q)
		step := niceStep(f.top, 3)
		for k := 0; float64(k)*step <= f.top*1.05; k++ {
			v := float64(k) * step
			c.line("grid", x0, pl.py(v), x1, pl.py(v))
			c.text("tk", x0-8, pl.py(v)+4, end, scale{times: 1}.short(round9(v)))
		}
		f.layers(c, pl, p, x1, y+28, y+28+h, narrow)
		for _, b := range p.bands {
			c.line("edge", pl.px(b[0]), y+28, pl.px(b[0]), y+28+h)
			if b[1] < f.length {
				c.line("edge", pl.px(b[1]), y+28, pl.px(b[1]), y+28+h)
			}
		}
	}
	secondsAxis(c, x0, x1, pitch*float64(len(f.panels))-8, f.length)
	c.axis = &timeAxis{x0, x1, f.length}
	return c
}

// nodeShades tell nodes apart that lie on one another.
var nodeShades = []string{"q5", "q3", "q4", "q2", "q6", "q3"}

func (f *traffic) layers(c *canvas, pl *panel, p trafficPanel, x1, y0, y1 float64, narrow bool) {
	base := make([]float64, p.secs)
	type label struct {
		class, text string
		y           float64
	}
	var labels []label
	node := 0
	for _, l := range p.layers {
		class, text := "failing q6", "lb"+labelClass(p.arm)[2:]
		if !l.bad {
			class = nodeShades[node%len(nodeShades)] + " " + fillClass(p.arm)
			node++
		}
		var lo, hi plotter.XYs
		for i, v := range l.rate {
			from, to := float64(i*f.step), min(float64((i+1)*f.step), pl.X.Max)
			lo = append(lo, plotter.XY{X: from, Y: base[i]}, plotter.XY{X: to, Y: base[i]})
			hi = append(hi, plotter.XY{X: from, Y: base[i] + v}, plotter.XY{X: to, Y: base[i] + v})
		}
		pl.fill(class, lo, hi)
		// The label stands beside the layer's end, or where it was there last.
		at, thick := 0, slices.Max(l.rate)
		for i, v := range l.rate {
			if v > thick/10 {
				at = i
			}
		}
		y := pl.py(base[at] + l.rate[at]/2)
		if l.bad {
			y = pl.py(f.top)
			text = "fail"
		}
		labels = append(labels, label{text, l.name, y})
		for i, v := range l.rate {
			base[i] += v
		}
	}
	ys := make([]float64, len(labels))
	for i, l := range labels {
		ys[i] = l.y
	}
	room := 124.0
	if narrow {
		room = c.w - x1 - 8
	}
	for i, y := range apart(ys, 15, y0+4, y1) {
		class := labels[i].class
		if class == "fail" {
			class = "bad"
		}
		c.text(class, x1+8, y+4.5, start, fit(class, labels[i].text, room))
	}
}

func (f *traffic) table() table {
	t := table{id: "t-f7", class: "sm tl", caption: fmt.Sprintf("Requests per second by answering node; block %d.", f.block), head: []column{left("s")}}
	rows := 0
	for _, p := range f.panels {
		for _, l := range p.layers {
			t.head = append(t.head, num(p.arm.Name+", "+l.name))
		}
		rows = max(rows, p.secs)
	}
	for i := range rows {
		cells := []cell{text(strconv.Itoa(i * f.step))}
		for _, p := range f.panels {
			for _, l := range p.layers {
				c := cell{}
				if i < len(l.rate) {
					c = text(scale{times: 1}.short(math.Round(l.rate[i]*10) / 10))
					c.quiet = l.rate[i] == 0
				}
				cells = append(cells, c)
			}
		}
		t.add(cells...)
	}
	return t
}
