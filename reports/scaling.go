package reports

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Limits on the tables of a search.
const (
	maxHolds = 400 // rows; run.json has all of them
	maxEach  = 12  // blocks of a size, in one cell
)

func capacityRef() analysis.Ref { return analysis.Ref{Metric: "capacity"} }

// searches reports whether the load was a search for capacity.
func (s *sheet) searches() bool { return s.run.Load.Capacity != nil }

// sized are the arms of a search in the order of their sizes, or as they are where these are not known.
func (s *sheet) sized() []*arm {
	if s.run.Scaling == nil {
		return s.arms
	}
	var arms []*arm
	for _, z := range s.run.Scaling.Sizes {
		if a := s.arm(z.Arm); a != nil {
			arms = append(arms, a)
		}
	}
	return arms
}

// size is what a scaling says of an arm, nil if nothing.
func (s *sheet) size(a *arm) *rundir.Size {
	if s.run.Scaling == nil {
		return nil
	}
	for i := range s.run.Scaling.Sizes {
		if z := &s.run.Scaling.Sizes[i]; z.Arm == a.Name {
			return z
		}
	}
	return nil
}

// capacityTable has a row for each arm: its nodes, what they carry, and how much of it each of them.
func (s *sheet) capacityTable() table {
	t := table{id: "t-capacity", class: "sm tl", caption: "Capacity: the highest rate whose hold met the condition, found to 5" + nb + "%. Efficiency: capacity per node over that of the smallest size, within each block."}
	if !s.searches() {
		return t
	}
	t.head = []column{left("Arm"), num("Nodes"), num("Capacity, /s"), num("Efficiency"), left("Capacity in each block, /s")}
	for _, a := range s.sized() {
		v := s.value(a, analysis.Whole, capacityRef())
		nodes, efficiency := quiet("–"), quiet("–") // where the arms do not differ in their sizes alone
		if z := s.size(a); z != nil {
			nodes, efficiency = text(fmt.Sprint(z.Nodes)), efficiencyCell(z.Efficiency)
		}
		r := row{cells: []cell{ofArm(a), nodes, read(v, slo.Absolute).cell(true), efficiency, text(s.eachBlock(a))}}
		switch v.State {
		case analysis.Censored:
			r.note = s.whyAtLeast(a)
		case analysis.NoData:
			r.note = v.Note
		case analysis.OK, analysis.Never:
		}
		t.rows = append(t.rows, r)
	}
	return t
}

// whyAtLeast says why more is not known of an arm: its searches reached their end, or the generator its own.
func (s *sheet) whyAtLeast(a *arm) string {
	for _, t := range s.run.Trials {
		if n := len(t.Holds); t.Arm == a.Name && t.Counted && n > 0 && t.Holds[n-1].Answer == record.Unknown {
			return fmt.Sprintf("at least, since the hold at %s/s cannot be told: %s", scale{times: 1}.short(round3(t.Holds[n-1].Rate)), t.Holds[n-1].Why)
		}
	}
	return "at least, since the search goes no higher than " + scale{times: 1}.short(s.run.Load.Capacity.To) + "/s"
}

func efficiencyCell(v rundir.Value) cell {
	sc := scale{times: 100, unit: "%"}
	return sc.read(v).cell(false)
}

// eachBlock lists an arm's capacities in the blocks that count.
func (s *sheet) eachBlock(a *arm) string {
	var parts []string
	more := 0
	for _, t := range s.run.Trials {
		v, there := t.Metrics[capacityRef().String()]
		if t.Arm != a.Name || !t.Counted || !there {
			continue
		}
		if len(parts) == maxEach {
			more++
			continue
		}
		parts = append(parts, read(v, slo.Absolute).num)
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// holdTable has every hold of every search.
func (s *sheet) holdTable() table {
	t := table{
		id: "t-holds", class: "sm", caption: "Every rate that was tried, in its order. What the load generator is to blame for cannot be told, and never counts as met.",
		head: []column{num("Rate, /s"), num("Offered"), num("Answered"), num("Good"), num("p99"), num("Availability"), left("Condition")},
	}
	more, rows := 0, 0
	for _, r := range s.run.Trials {
		if len(r.Holds) == 0 {
			continue
		}
		if rows+len(r.Holds) > maxHolds {
			more += len(r.Holds)
			continue
		}
		rows += len(r.Holds)
		t.group(fmt.Sprintf("%s, block %d", r.Arm, r.Block))
		for _, h := range r.Holds {
			t.rows = append(t.rows, holdRow(h))
		}
	}
	if more > 0 {
		t.caption += fmt.Sprintf(" %s more are in run.json.", count(uint64(more)))
	}
	return t
}

func holdRow(h rundir.Hold) row {
	rate := func(v float64) cell { return text(scale{times: 1}.short(round3(v))) }
	p99 := quiet("never")
	if h.P99 != nil {
		p99 = text(seconds(round3(*h.P99)))
	}
	good := scale{times: 100, ratio: true, unit: "%"}
	cells := []cell{
		rate(h.Rate), rate(h.Offered), rate(h.Achieved), rate(h.Goodput), p99,
		text(join(good.format(h.Availability, good.decimals(h.Availability)), "%")), text(answerText(h.Answer)),
	}
	if h.Answer == record.Unknown && h.Why != "" { // of the others the numbers say why
		cells[len(cells)-1].text += ": " + h.Why
	}
	return row{cells: cells}
}

func answerText(a record.Answer) string {
	switch a {
	case record.Met:
		return "met"
	case record.Unmet:
		return "not met"
	case record.Unknown:
	}
	return "cannot be told"
}

// A scaled is figure 11: capacity by nodes.
type scaled struct {
	service string
	while   string
	sizes   []rundir.Size
	fit     *rundir.Fit
	refused string
	perNode float64 // of the line that is ideal; 0: there is none
}

func (s *sheet) makeScaled() *scaled {
	of := s.run.Scaling
	if of == nil || len(of.Sizes) < 2 || !s.searches() {
		return nil
	}
	f := &scaled{service: of.Service, while: s.run.Load.Capacity.While, sizes: of.Sizes, fit: of.Fit, refused: of.Refused}
	known := false
	for _, z := range of.Sizes {
		for _, b := range z.PerBlock {
			known = known || b.Value != nil
		}
	}
	if !known {
		return nil
	}
	first := of.Sizes[0]
	switch {
	case f.fit != nil && f.fit.Lambda.Value != nil:
		f.perNode = *f.fit.Lambda.Value
	case first.Capacity.State == analysis.OK && first.Capacity.Value != nil && first.Nodes > 0:
		f.perNode = *first.Capacity.Value / float64(first.Nodes)
	}
	return f
}

func (f *scaled) first() rundir.Size { return f.sizes[0] }
func (f *scaled) last() rundir.Size  { return f.sizes[len(f.sizes)-1] }

func nodesText(n int, service string) string { return plural(n, service+" node", service+" nodes") }

// finding says what the figure shows, in numbers.
func (f *scaled) finding() string {
	a, z := f.first(), f.last()
	va, vz := read(a.Capacity, slo.Absolute), read(z.Capacity, slo.Absolute)
	if va.state == analysis.NoData || vz.state == analysis.NoData {
		return upper(fmt.Sprintf("%s: %s; %s: %s.", nodesText(a.Nodes, f.service), va, nodesText(z.Nodes, f.service), vz))
	}
	carry := "carry"
	if z.Nodes == 1 {
		carry = "carries"
	}
	out := fmt.Sprintf("%s %s %s%s, %s %s%s", nodesText(z.Nodes, f.service), carry, vz, within(vz.iv), nodesText(a.Nodes, f.service), va, within(va.iv))
	if z.Capacity.State == analysis.OK && z.Efficiency.Value != nil && z.Efficiency.State == analysis.OK {
		gain := *z.Efficiency.Value * float64(z.Nodes) / float64(a.Nodes)
		out += fmt.Sprintf(": %s times as much for %s times the nodes", scale{times: 1}.short(round3(gain)), scale{times: 1}.short(round3(float64(z.Nodes)/float64(a.Nodes))))
	}
	return out + "."
}

// law says what the fit found, or why there is none.
func (f *scaled) law() string {
	if f.fit == nil {
		if f.refused == "" {
			return ""
		}
		return "No law is fitted: " + f.refused + "."
	}
	share := scale{times: 100, unit: "%"}
	sigma, kappa := share.read(f.fit.Sigma), share.read(f.fit.Kappa)
	out := "By the Universal Scalability Law contention σ is " + sigma.String() + within(sigma.iv) + " and coherency κ " + kappa.String() + within(kappa.iv) + "; "
	switch p := f.fit.Peak; {
	case p.State == analysis.OK && p.Value != nil:
		r := scale{times: 1}.read(p)
		out += "the most is reached with about " + r.num + " nodes" + within(r.iv)
		if *p.Value > float64(f.last().Nodes) {
			out += ", which is more than were measured"
		}
	case p.Note != "":
		out += p.Note
	default:
		out += "a peak is not shown"
	}
	if f.refused != "" {
		out += "; " + f.refused
	}
	return out + "."
}

func (f *scaled) alt() string {
	var parts []string
	for _, z := range f.sizes {
		r := read(z.Capacity, slo.Absolute)
		parts = append(parts, fmt.Sprintf("%d: %s%s", z.Nodes, r, within(r.iv)))
	}
	return fmt.Sprintf("Capacity by number of %s nodes. %s %s. %s", f.service, f.finding(), strings.Join(parts, "; "), f.law())
}

// scalingHTML is figure 11 with the tables behind it; without sizes the tables alone.
func (s *sheet) scalingHTML() string {
	if !s.searches() {
		return ""
	}
	if out := s.chartHTML(11, s.scalingChart); out != "" {
		return out
	}
	return tableHTML(s.capacity) + s.holdsHTML()
}

// scalingChart is figure 11.
func (s *sheet) scalingChart() *chart {
	f := s.makeScaled()
	if f == nil {
		return nil
	}
	return &chart{
		n: 11, name: "capacity", title: "Capacity by nodes", half: true, finding: f.finding(), what: f.reading() + " " + f.law(), alt: f.alt(),
		table: func() table { return s.capacity }, more: s.holdsHTML,
		draw: func(narrow bool) *canvas {
			if narrow {
				return f.draw(360, 46, 344, 270, true)
			}
			return f.draw(820, 64, 680, 330, false)
		},
	}
}

func (s *sheet) holdsHTML() string {
	holds := s.holdTable()
	if len(holds.rows) == 0 {
		return ""
	}
	return details("Every hold of every search", tableHTML(s.byTrial(holds)))
}

// reading says how to read the figure.
func (f *scaled) reading() string {
	out := "Each mark is one trial’s capacity: the highest rate at which " + f.while + "."
	for _, z := range f.sizes {
		for _, b := range z.PerBlock {
			if b.State == analysis.Censored {
				return out + " A triangle is one of which only that much is known: it may be higher."
			}
		}
	}
	return out
}

func (f *scaled) draw(w, x0, x1, y1 float64, narrow bool) *canvas {
	c := newCanvas(w, y1+46)
	least, most := float64(f.first().Nodes), float64(f.last().Nodes)
	top := f.top()
	p := plot.New()
	pad := max((most-least)*0.06, 0.1)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = least-pad, most+pad, 0, top
	q := c.panel(x0, 26, x1, y1, p)
	c.text("tk", 0, 12, start, "requests/s")
	step := niceStep(top, 6)
	for i := 0; float64(i)*step <= top*1.0001; i++ {
		v := float64(i) * step
		c.line("grid", x0, q.py(v), x1, q.py(v))
		c.text("tk", x0-8, q.py(v)+4, end, scale{times: 1}.short(round9(v)))
	}
	lastTick := math.Inf(-1)
	for _, z := range f.sizes {
		x, label := q.px(float64(z.Nodes)), count(uint64(z.Nodes))
		c.line("ax", x, y1, x, y1+5)
		if half := textWidth("tk", label) / 2; x-half > lastTick+6 {
			c.text("tk", x, y1+19, middle, label)
			lastTick = x + half
		}
	}
	c.line("ax", x0, y1, x1, y1)
	c.text("tk", (x0+x1)/2, y1+37, middle, cut(visible(f.service), 24)+" nodes")
	labels := f.lines(q, least, most)
	f.points(c, q)
	f.label(c, labels, x1, y1, narrow)
	return c
}

// top is the upper end of the axis: above all marks, the band and, if it does not dwarf them, the ideal line.
func (f *scaled) top() float64 {
	top := 0.0
	for _, z := range f.sizes {
		for _, b := range z.PerBlock {
			if b.Value != nil {
				top = max(top, *b.Value)
			}
		}
	}
	if f.fit != nil {
		for _, p := range f.fit.Curve {
			top = max(top, p.Value)
			if p.High != nil {
				top = max(top, min(*p.High, 1.5*top))
			}
		}
	}
	ideal := f.perNode * float64(f.last().Nodes)
	return max(top, min(ideal, 2*top)) * 1.06
}

// A scaledLabel stands at the end of a line.
type scaledLabel struct {
	class, text string
	y           float64
	above       bool // the line rises to the label's place: inside the panel it stands above
}

// lines draws the ideal line, the band and the law, and returns their labels.
func (f *scaled) lines(q *panel, least, most float64) []scaledLabel {
	var labels []scaledLabel
	if f.perNode > 0 {
		to := min(most, q.Y.Max/f.perNode)
		if to > least {
			q.polyline("slo", plotter.XYs{{X: least, Y: least * f.perNode}, {X: to, Y: to * f.perNode}})
		}
		labels = append(labels, scaledLabel{"tk", "linear " + scale{times: 1}.short(round3(most*f.perNode)) + nb + "/s", q.py(to * f.perNode), true})
	}
	if f.fit == nil {
		return labels
	}
	var line, lo, hi plotter.XYs
	for _, p := range f.fit.Curve {
		line = append(line, plotter.XY{X: p.Nodes, Y: p.Value})
		if p.Low != nil && p.High != nil {
			lo = append(lo, plotter.XY{X: p.Nodes, Y: max(*p.Low, 0)})
			hi = append(hi, plotter.XY{X: p.Nodes, Y: min(*p.High, q.Y.Max)})
		}
	}
	if len(lo) > 1 && len(lo) == len(line) {
		q.fill("r1", lo, hi)
	}
	q.polyline("ln p99 s1", line)
	if n := len(line); n > 0 {
		labels = append(labels, scaledLabel{"lb1", "fit " + scale{times: 1}.short(round3(line[n-1].Y)) + nb + "/s", q.py(line[n-1].Y), false})
	}
	return labels
}

// points draws a mark for each trial, those of one size a little apart.
func (f *scaled) points(c *canvas, q *panel) {
	for _, z := range f.sizes {
		n := len(z.PerBlock)
		for i, b := range z.PerBlock {
			if b.Value == nil {
				continue
			}
			look := 1
			if b.State == analysis.Censored {
				look = 2
			}
			apart := min(6, 28/float64(n))
			c.mark(look, q.px(float64(z.Nodes))+(float64(i)-float64(n-1)/2)*apart, q.py(*b.Value))
		}
	}
}

// label sets the lines' labels beside the panel, or inside it where there is no room.
func (f *scaled) label(c *canvas, labels []scaledLabel, x1, y1 float64, narrow bool) {
	ys := make([]float64, len(labels))
	for i, l := range labels {
		ys[i] = l.y
		if narrow && l.above {
			ys[i] -= 6
		} else if narrow {
			ys[i] += 24
		}
	}
	for i, y := range apart(ys, 16, 18, y1-4) {
		if narrow {
			c.text(labels[i].class, x1, y, end, labels[i].text)
			continue
		}
		c.text(labels[i].class, x1+9, y+4.5, start, labels[i].text)
	}
}
