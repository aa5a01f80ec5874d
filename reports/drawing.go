package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// A frame1 is where the parts of figure 1 stand in one of its two drawings.
type frame1 struct {
	w, x0, x1 float64
	latency   float64 // height of the latency panel without the row of "never"
	avail     float64
	narrow    bool
}

var frames1 = []frame1{
	{w: 1040, x0: 64, x1: 900, latency: 216, avail: 98},
	{w: 360, x0: 46, x1: 348, latency: 186, avail: 86, narrow: true},
}

// draw is one drawing of the figure.
func (t *timeline) draw(f frame1) *canvas {
	lanes, marks := 0.0, t.layMarks(f)
	for i := range t.lanes {
		lanes += 21
		if i > 0 && t.lanes[i].arm != t.lanes[i-1].arm {
			lanes += 6
		}
	}
	y := 26.0
	latency := [2]float64{y, y + t.never() + f.latency}
	avail := [2]float64{latency[1] + 38, latency[1] + 38 + f.avail}
	rug := 52 + rugPitch*float64(max(len(t.lines)-3, 0))
	nodes := [2]float64{avail[1] + rug, avail[1] + rug + lanes}
	if f.narrow { // the legend has a line of its own
		nodes[0], nodes[1] = nodes[0]+17, nodes[1]+17
	}
	if len(t.lanes) == 0 {
		nodes = [2]float64{avail[1] + rug - 42, avail[1] + rug - 42}
	}
	rows := 0
	for _, m := range marks {
		rows = max(rows, m.row+1)
	}
	faults := [2]float64{nodes[1] + 12, nodes[1] + 12 + 24*float64(len(t.faults)) + 19*float64(rows) + 12}
	if f.narrow {
		faults[1] += 18 * float64(len(t.faults))
	}
	if len(t.faults)+rows == 0 {
		faults = [2]float64{nodes[1] + 6, nodes[1] + 6}
	}
	c := newCanvas(f.w, faults[1]+38)
	x := func(sec float64) float64 { return f.x0 + (f.x1-f.x0)*sec/t.length }
	t.drawBands(c, x, latency, [2]float64{avail[0], avail[1]}, nodes, faults)
	t.drawLatency(c, f, latency)
	t.drawAvailability(c, f, avail)
	t.drawLanes(c, f, x, nodes)
	t.drawFaults(c, f, x, faults[0], marks)
	t.drawAxis(c, f, x, faults[1])
	c.axis = &timeAxis{f.x0, f.x1, t.length}
	return c
}

// drawBands shades the faults in every panel; the band stops between panels so that headings stay clean.
func (t *timeline) drawBands(c *canvas, x func(float64) float64, panels ...[2]float64) {
	back := 0.0
	for _, m := range t.marks {
		if strings.Contains(m.text, "recovered") && m.arm == t.banded {
			back = max(back, m.at)
		}
	}
	for i, p := range panels {
		last := 0.0
		for _, b := range t.bands() {
			c.rect("band", x(b[0]), p[0], x(b[1])-x(b[0]), p[1]-p[0])
			last = max(last, b[1])
		}
		if last > 0 && back > last {
			c.rect("band2", x(last), p[0], x(back)-x(last), p[1]-p[0])
		}
		if p[1] <= p[0] || i == len(panels)-1 && t.banding() > 1 {
			continue // the bars of several faults show their edges, and lines would cross what stands beside them
		}
		for _, f := range t.faults {
			if !f.band {
				continue
			}
			c.line("edge", x(f.from), p[0], x(f.from), p[1])
			if !f.open {
				c.line("edge", x(f.to), p[0], x(f.to), p[1])
			}
		}
	}
}

// banding is how many faults are shaded.
func (t *timeline) banding() (n int) {
	for _, f := range t.faults {
		if f.band {
			n++
		}
	}
	return n
}

// bands are the stretches in which some shaded fault was in force: where several were, the shade is no deeper.
func (t *timeline) bands() [][2]float64 {
	var all [][2]float64
	for _, f := range t.faults {
		if f.band {
			all = append(all, [2]float64{f.from, f.to})
		}
	}
	slices.SortFunc(all, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
	var out [][2]float64
	for _, b := range all {
		if n := len(out); n > 0 && b[0] <= out[n-1][1] {
			out[n-1][1] = max(out[n-1][1], b[1])
			continue
		}
		out = append(out, b)
	}
	return out
}

// neverPitch is the distance of the arms' bars in the row of "never".
const neverPitch = 16

// never is the height of that row.
func (t *timeline) never() float64 { return max(40, neverPitch*float64(len(t.lines))+6) }

// latencyRange is the axis of times: whole 1-2-5 steps around all that is drawn.
func (t *timeline) latencyRange() (lo, hi float64) {
	lo, hi = math.Inf(1), 0
	see := func(v analysis.Value) {
		if v.State == analysis.OK && v.V > 0 && !math.IsInf(v.V, 0) {
			lo, hi = min(lo, v.V), max(hi, v.V)
		}
	}
	for _, l := range t.lines {
		for _, p := range l.p50 {
			see(p.Mid)
		}
		for _, p := range l.p99 {
			see(p.Mid)
			if l.n >= fewTrials {
				see(p.High)
			}
		}
		for _, ps := range l.trial9 {
			for _, p := range ps {
				see(p.Mid)
			}
		}
	}
	if hi == 0 {
		return 1e-3, 1
	}
	return step125(lo, false), step125(max(hi, lo*1.2), true)
}

// step125 is the next 1-2-5 step below or above.
func step125(v float64, up bool) float64 {
	e := math.Pow(10, math.Floor(math.Log10(v)))
	steps := []float64{1, 2, 5, 10}
	if !up {
		slices.Reverse(steps)
	}
	for _, m := range steps {
		if s := m * e; up && s >= v*1.0001 || !up && s <= v*0.9999 {
			return s
		}
	}
	if up {
		return 20 * e
	}
	return e / 2
}

func (t *timeline) drawLatency(c *canvas, f frame1, at [2]float64) {
	head := "Latency"
	c.text("hd", f.headX(), 16, start, head)
	if !f.narrow {
		c.text("hm", f.headX()+textWidth("hd", head)+9, 16, start, "p99 heavy, p50 light, over all requests of each second, log scale")
	}
	p := plot.New()
	p.Y.Scale = plot.LogScale{}
	p.X.Min, p.X.Max = 0, t.length
	p.Y.Min, p.Y.Max = t.latencyRange()
	q := c.panel(f.x0, at[0]+t.never(), f.x1, at[1], p)
	for _, k := range timeTicks(p.Y.Min, p.Y.Max) {
		if k.Label != "" {
			c.line("grid", f.x0, q.py(k.Value), f.x1, q.py(k.Value))
			c.text("tk", f.x0-8, q.py(k.Value)+4, end, k.Label)
		}
	}
	c.text("tk", f.x0-8, at[0]+25, end, "never")
	var labels []lineLabel
	for i := len(t.lines) - 1; i >= 0; i-- {
		l := t.lines[i]
		for _, ps := range l.trial9 {
			q.curve("ln thin "+stroke(l.arm), ps, t.step)
		}
		if l.n >= fewTrials {
			q.ribbon("r"+strconv.Itoa(l.arm.Look), l.p99, t.step)
		}
		q.curve("ln p99 "+stroke(l.arm), l.p99, t.step)
		q.curve("ln p50 "+stroke(l.arm), l.p50, t.step)
		y := at[0] + 11 + float64(i)*neverPitch
		t.drawNever(c, q, l, y)
		for _, k := range []struct {
			name string
			ps   []analysis.BandPoint
		}{{" p99", l.p99}, {" p50", l.p50}} {
			if v, ok := lastOK(k.ps); ok {
				labels = append(labels, lineLabel{l.arm, cut(visible(l.arm.Name), 14) + k.name, q.py(v)})
			}
		}
	}
	if !f.narrow {
		lineLabels(c, f.x1+9, labels, at[0]+20, at[1])
	} else {
		x := textWidth("hd", head) + 18
		for _, l := range t.lines {
			name, class := cut(visible(l.arm.Name), 12), "lb"+strconv.Itoa(l.arm.Look)
			if x+12+textWidth(class, name) > f.w {
				break // the marks at the lanes tell the others
			}
			c.mark(l.arm.Look, x, 11)
			c.text(class, x+8, 15.5, start, name)
			x += 24 + textWidth(class, name)
		}
	}
}

func (f frame1) headX() float64 {
	if f.narrow {
		return 0
	}
	return f.x0
}

// drawNever sets bars into the row above all times, where failures leave a percentile no value.
func (t *timeline) drawNever(c *canvas, q *panel, l timelineArm, y float64) {
	bars := func(ps []analysis.BandPoint, h float64) {
		for i := 0; i < len(ps); i++ {
			if ps[i].Mid.State != analysis.Never {
				continue
			}
			k := i
			for k+1 < len(ps) && ps[k+1].Mid.State == analysis.Never {
				k++
			}
			from, to := ps[i].Start.Seconds(), min(ps[k].Start.Seconds()+float64(t.step), t.length)
			c.rect("f"+strconv.Itoa(l.arm.Look), q.px(from), y-h/2, q.px(to)-q.px(from), h)
			i = k
		}
	}
	n99, n50 := l.never99, l.never50
	if n99 == 0 {
		return
	}
	bars(l.p99, 3.2)
	bars(l.p50, 5.4)
	name := cut(visible(l.arm.Name), 18)
	what := fmt.Sprintf("%s: p99 for %d"+nb+"s", name, n99)
	if n50 > 0 {
		what = fmt.Sprintf("%s: p99 for %d"+nb+"s, p50 for %d"+nb+"s", name, n99, n50)
	}
	short := strings.TrimPrefix(what, name+": ")
	class := "lb" + strconv.Itoa(l.arm.Look)
	first, last := t.length, 0.0
	for _, p := range l.p99 {
		if p.Mid.State == analysis.Never {
			first, last = min(first, p.Start.Seconds()), min(p.Start.Seconds()+float64(t.step), t.length)
		}
	}
	for _, say := range []string{what, short, fmt.Sprintf("p99 for %d"+nb+"s", n99)} { // the bar's colour tells the arm too
		width := textWidth(class, say)
		if x := q.px(last) + 8; x+width <= c.w {
			c.text(class, x, y+4.5, start, say)
			return
		}
		if x := q.px(first) - 8; x-width > float64(q.c.Min.X) {
			c.text(class, x, y+4.5, end, say)
			return
		}
	}
}

func stroke(a *arm) string { return "s" + strconv.Itoa(a.Look) }

// curve draws a line through the middles of the seconds, with a gap wherever one has no value.
func (p *panel) curve(class string, ps []analysis.BandPoint, step int) {
	var run plotter.XYs
	flush := func() {
		if len(run) == 1 { // one point alone is a short dash
			run = plotter.XYs{{X: run[0].X - 0.4*float64(step), Y: run[0].Y}, {X: run[0].X + 0.4*float64(step), Y: run[0].Y}}
		}
		p.polyline(class, run)
		run = nil
	}
	for _, b := range ps {
		if b.Mid.State != analysis.OK || b.Mid.V <= 0 {
			flush()
			continue
		}
		run = append(run, plotter.XY{X: min(b.Start.Seconds()+float64(step)/2, p.X.Max), Y: min(max(b.Mid.V, p.Y.Min), p.Y.Max)})
	}
	flush()
}

func (p *panel) polyline(class string, xys plotter.XYs) {
	if len(xys) < 2 {
		return
	}
	l, err := plotter.NewLine(p.thinned(xys))
	if err != nil {
		panic(err)
	}
	l.Color, l.Width = ink(class), vg.Points(1)
	l.Plot(p.c, p.Plot)
}

// unseen is how far, in pixels, a line may pass by a point of its own.
const unseen = 0.2

// thinned leaves out points that the line through the others passes by unseen: Ramer's algorithm, on the drawing itself.
func (p *panel) thinned(xys plotter.XYs) plotter.XYs {
	if len(xys) < 3 {
		return xys
	}
	at := make([]vg.Point, len(xys))
	for i, q := range xys {
		at[i] = vg.Point{X: p.x(q.X), Y: p.y(q.Y)}
	}
	keep := make([]bool, len(xys))
	keep[0], keep[len(xys)-1] = true, true
	open := [][2]int{{0, len(xys) - 1}}
	for len(open) > 0 {
		from, to := open[len(open)-1][0], open[len(open)-1][1]
		open = open[:len(open)-1]
		far, most := 0, unseen
		for i := from + 1; i < to; i++ {
			if d := distance(at[i], at[from], at[to]); d > most {
				far, most = i, d
			}
		}
		if far > 0 {
			keep[far] = true
			open = append(open, [2]int{from, far}, [2]int{far, to})
		}
	}
	var out plotter.XYs
	for i, q := range xys {
		if keep[i] {
			out = append(out, q)
		}
	}
	return out
}

// distance is a point's from the stretch between two others.
func distance(p, a, b vg.Point) float64 {
	dx, dy := float64(b.X-a.X), float64(b.Y-a.Y)
	along := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		along = min(max((float64(p.X-a.X)*dx+float64(p.Y-a.Y)*dy)/l, 0), 1)
	}
	return math.Hypot(float64(p.X-a.X)-along*dx, float64(p.Y-a.Y)-along*dy)
}

// ribbon shades between the trials' 10 % and 90 %.
func (p *panel) ribbon(class string, ps []analysis.BandPoint, step int) {
	var lo, hi plotter.XYs
	flush := func() {
		if len(lo) > 1 {
			p.fill(class, lo, hi)
		}
		lo, hi = nil, nil
	}
	for _, b := range ps {
		if b.Low.State != analysis.OK || b.High.State != analysis.OK || b.Low.V <= 0 {
			flush()
			continue
		}
		x := min(b.Start.Seconds()+float64(step)/2, p.X.Max)
		lo = append(lo, plotter.XY{X: x, Y: min(max(b.Low.V, p.Y.Min), p.Y.Max)})
		hi = append(hi, plotter.XY{X: x, Y: min(max(b.High.V, p.Y.Min), p.Y.Max)})
	}
	flush()
}

func (p *panel) fill(class string, lo, hi plotter.XYs) {
	lo, all := p.thinned(lo), slices.Clone(p.thinned(hi))
	for i := len(lo) - 1; i >= 0; i-- {
		all = append(all, lo[i])
	}
	g, err := plotter.NewPolygon(all)
	if err != nil {
		panic(err)
	}
	g.Color, g.LineStyle.Width = ink(class), 0
	g.Plot(p.c, p.Plot)
}

func lastOK(ps []analysis.BandPoint) (float64, bool) {
	for i := len(ps) - 1; i >= 0; i-- {
		if ps[i].Mid.State == analysis.OK && ps[i].Mid.V > 0 {
			return ps[i].Mid.V, true
		}
	}
	return 0, false
}

type lineLabel struct {
	arm  *arm
	text string
	y    float64
}

// fit cuts a text to so many pixels.
func fit(class, s string, width float64) string {
	s = visible(s)
	for n := display(s); n > 1 && textWidth(class, s) > width; n-- {
		s = cut(s, n-1)
	}
	return s
}

// lineLabels stand at the ends of lines, moved apart. Lines come last arm first; the first arms' labels stay where there is no room for all.
func lineLabels(c *canvas, x float64, ls []lineLabel, lo, hi float64) {
	const pitch = 15.5
	ls = ls[max(0, len(ls)-1-int((hi-lo)/pitch)):]
	ys := make([]float64, len(ls))
	for i, l := range ls {
		ys[i] = l.y
	}
	for i, y := range apart(ys, pitch, lo, hi) {
		c.mark(ls[i].arm.Look, x, y)
		c.text("lb"+strconv.Itoa(ls[i].arm.Look), x+9, y+4.5, start, cut(visible(ls[i].text), 18))
	}
}

func (t *timeline) drawAvailability(c *canvas, f frame1, at [2]float64) {
	head := "Availability"
	c.text("hd", f.headX(), at[0]-11, start, head)
	if !f.narrow {
		c.text("hm", f.headX()+textWidth("hd", head)+9, at[0]-11, start, "answered OK in each second, %; ticks below: seconds with a bad request")
	}
	p := plot.New()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, t.length, 0, 1
	ticks := []float64{0, 0.5, 1}
	if t.mild() {
		p.Y.Scale, p.Y.Min, ticks = mildScale{}, mildest, []float64{0.9, 0.99, 0.999, 1}
	}
	q := c.panel(f.x0, at[0]+6, f.x1, at[1], p)
	for _, v := range ticks {
		c.line("grid", f.x0, q.py(v), f.x1, q.py(v))
		c.text("tk", f.x0-8, q.py(v)+4, end, scale{times: 100}.short(v)+nb+"%")
	}
	if t.slo >= p.Y.Min && t.slo > 0 && t.slo < 1 {
		c.line("slo", f.x0, q.py(t.slo), f.x1, q.py(t.slo))
	}
	var labels []lineLabel
	for i := len(t.lines) - 1; i >= 0; i-- {
		l := t.lines[i]
		for _, ps := range l.trials {
			q.steps("ln thin "+stroke(l.arm), ps, t.step)
		}
		if l.n >= fewTrials {
			q.ribbonSteps("r"+strconv.Itoa(l.arm.Look), l.avail, t.step)
		}
		q.steps("ln p99 "+stroke(l.arm), l.avail, t.step)
		t.drawRug(c, q, l, at[1]+3+float64(i)*rugPitch)
		if v, last := lastOK(l.avail); l.any && last {
			labels = append(labels, lineLabel{l.arm, "lowest " + percent(l.worst), q.py(min(v, l.worst+(v-l.worst)/2))})
		}
	}
	if !f.narrow {
		lineLabels(c, f.x1+9, labels, at[0], at[1])
	} else if len(labels) > 0 {
		var parts []string
		for _, l := range t.lines {
			if l.any {
				parts = append(parts, l.arm.Name+" "+percent(l.worst))
			}
		}
		c.text("mu", textWidth("hd", head)+9, at[0]-11, start, cut(visible("lowest: "+strings.Join(parts, ", ")), 40))
	}
}

// mildest is the availability above which all seconds must lie for the axis to be one of nines.
const mildest = 0.9

// mild tells a run whose outages would not be seen on an axis from 0.
func (t *timeline) mild() bool {
	some := false
	for _, l := range t.lines {
		if !l.any || l.worst <= mildest {
			return false
		}
		some = some || l.worst < 1
	}
	return some
}

// A mildScale is an axis of nines from 90 % to all; what is not all stays below the top.
type mildScale struct{}

// Normalize implements [plot.Normalizer].
func (mildScale) Normalize(_, _, x float64) float64 {
	const top = 3.5
	if x >= 1 {
		return 1
	}
	return (min(max(nines(x), 1), top-0.15) - 1) / (top - 1)
}

// rugPitch is the distance of the arms' rows of ticks.
const rugPitch = 5

// drawRug marks every second in which some trial had a bad request: rare ones stay visible.
func (t *timeline) drawRug(c *canvas, q *panel, l timelineArm, y float64) {
	lines := l.trials
	if lines == nil {
		lines = [][]analysis.BandPoint{l.avail}
	}
	for i := range l.avail {
		bad := false
		for _, ps := range lines {
			if i < len(ps) && ps[i].Low.State == analysis.OK && ps[i].Low.V < 1 {
				bad = true
			}
		}
		if bad {
			from := l.avail[i].Start.Seconds()
			to := min(from+float64(t.step), t.length)
			c.rect("f"+strconv.Itoa(l.arm.Look), q.px(from), y, max(q.px(to)-q.px(from)-0.6, 0.8), 3.4)
		}
	}
}

// stepRun turns seconds into a staircase, in stretches without a gap.
func stepRun(ps []analysis.BandPoint, step int, end float64, of func(analysis.BandPoint) analysis.Value) []plotter.XYs {
	var out []plotter.XYs
	var run plotter.XYs
	for i, b := range ps {
		v := of(b)
		if v.State != analysis.OK {
			if run != nil {
				out, run = append(out, run), nil
			}
			continue
		}
		y := min(max(v.V, 0), 1)
		from, to := b.Start.Seconds(), min(b.Start.Seconds()+float64(step), end)
		if n := len(run); n > 0 && run[n-1].Y == y && i > 0 {
			run[n-1].X = to // a level stretch needs two points only
			continue
		}
		run = append(run, plotter.XY{X: from, Y: y}, plotter.XY{X: to, Y: y})
	}
	if run != nil {
		out = append(out, run)
	}
	return out
}

func (p *panel) steps(class string, ps []analysis.BandPoint, step int) {
	for _, run := range stepRun(ps, step, p.X.Max, func(b analysis.BandPoint) analysis.Value { return b.Mid }) {
		p.polyline(class, run)
	}
}

func (p *panel) ribbonSteps(class string, ps []analysis.BandPoint, step int) {
	lo := stepRun(ps, step, p.X.Max, func(b analysis.BandPoint) analysis.Value { return b.Low })
	hi := stepRun(ps, step, p.X.Max, func(b analysis.BandPoint) analysis.Value { return b.High })
	for i := range min(len(lo), len(hi)) {
		p.fill(class, lo[i], hi[i])
	}
}

// laneClasses are the looks of a node's states.
var laneClasses = map[analysis.LaneState]string{
	analysis.InRotation: "in", analysis.Failing: "failing", analysis.Ejected: "out", analysis.Down: "down",
	analysis.DownTried: "tried",
}

// laneName is a state in words. Whether a node that nobody tries was ejected or only not chosen cannot be seen.
func laneName(state analysis.LaneState) string {
	if state == analysis.Ejected {
		return "not tried"
	}
	return string(state)
}

// drawLegend names the states that the lanes have, from the right.
func (t *timeline) drawLegend(c *canvas, f frame1, y float64) {
	head := "Nodes"
	c.text("hd", f.headX(), y, start, head)
	what := fmt.Sprintf("block %d", t.block)
	if t.more > 0 {
		what += fmt.Sprintf(", %d more not drawn", t.more)
	}
	c.text("hm", f.headX()+textWidth("hd", head)+9, y, start, what)
	seen := make(map[analysis.LaneState]bool)
	for _, l := range t.lanes {
		for _, s := range l.Spans {
			seen[s.State] = true
		}
	}
	x, swatch, gap := f.x1, 19.0, 14.0
	if f.narrow {
		x, y, swatch, gap = f.w, y+17, 17, 9
	}
	for _, state := range []analysis.LaneState{analysis.Down, analysis.DownTried, analysis.Ejected, analysis.Failing, analysis.InRotation} {
		if !seen[state] {
			continue
		}
		name := laneName(state)
		if f.narrow && state == analysis.DownTried {
			name = "still tried"
		}
		x -= textWidth("leg", name)
		c.text("leg", x, y, start, name)
		x -= swatch
		c.rect(laneClasses[state], x, y-9, 13, 9)
		x -= gap
	}
}

func (t *timeline) drawLanes(c *canvas, f frame1, x func(float64) float64, at [2]float64) {
	if len(t.lanes) == 0 {
		return
	}
	if f.narrow {
		t.drawLegend(c, f, at[0]-29)
	} else {
		t.drawLegend(c, f, at[0]-12)
	}
	y := at[0]
	for i, l := range t.lanes {
		if i > 0 && t.lanes[i-1].arm != l.arm {
			y += 6
		}
		c.text("tx", f.x0-8, y+11.5, end, cut(visible(l.Node), int((f.x0-4)/7.5)))
		if !f.narrow {
			c.mark(l.arm.Look, f.x1+9, y+7)
			c.text("lb"+strconv.Itoa(l.arm.Look), f.x1+18, y+11.5, start, cut(visible(l.arm.Name), 18))
		} else {
			c.mark(l.arm.Look, f.x1+7, y+7)
		}
		for _, s := range l.Spans {
			from, to := x(max(s.From.Seconds(), 0)), x(min(s.To.Seconds(), t.length))
			inset := 0.0
			if s.State == analysis.Ejected || s.State == analysis.Down {
				inset = 0.5
			}
			c.rect(laneClasses[s.State], from, y+inset, max(to-from, 0.7), 14-2*inset)
			t.nameSpan(c, s.State, from, to, y+11)
		}
		y += 21
	}
}

// nameSpan writes what a node was doing into its lane, where there is room. In rotation is the rule.
func (t *timeline) nameSpan(c *canvas, state analysis.LaneState, from, to, y float64) {
	class, names := "tiny", []string{laneName(state)}
	switch state {
	case analysis.InRotation:
		return
	case analysis.Failing:
		class = "tinyb"
	case analysis.DownTried:
		class, names = "tinyb", []string{string(state), "still tried"}
	case analysis.Down, analysis.Ejected:
	}
	for _, name := range names {
		if to-from > textWidth(class, name)+10 {
			c.text(class, (from+to)/2, y, middle, name)
			return
		}
	}
}

// A laidMark is a milestone with its place.
type laidMark struct {
	timelineMark
	row   int
	left  bool // the label stands on the left
	label string
}

// layMarks puts each milestone's label into the first row where it has room.
func (t *timeline) layMarks(f frame1) []laidMark {
	const maxRows = 10
	x := func(sec float64) float64 { return f.x0 + (f.x1-f.x0)*sec/t.length }
	marks := slices.Clone(t.marks)
	slices.SortStableFunc(marks, func(a, b timelineMark) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	type span struct{ from, to float64 }
	var rows [][]span
	var out []laidMark
	for _, m := range marks {
		l := laidMark{timelineMark: m, label: cut(visible(m.text), 48)}
		w := textWidth("lb0", l.label) + 18
		s := span{x(m.at) - 6, x(m.at) + w}
		if s.to > f.w {
			s, l.left = span{x(m.at) - w, x(m.at) + 6}, true
		}
		for l.row = 0; l.row < len(rows); l.row++ {
			free := true
			for _, o := range rows[l.row] {
				free = free && (s.from > o.to || s.to < o.from)
			}
			if free {
				break
			}
		}
		if l.row >= maxRows {
			continue
		}
		if l.row == len(rows) {
			rows = append(rows, nil)
		}
		rows[l.row] = append(rows[l.row], s)
		out = append(out, l)
	}
	return out
}

func (t *timeline) drawFaults(c *canvas, f frame1, x func(float64) float64, y float64, marks []laidMark) {
	for _, k := range t.faults {
		c.text("tx", f.x0-8, y+12, end, nameOf(k, f.x0-8))
		c.rect("fault2", x(max(k.early, 0)), y, x(k.from)-x(max(k.early, 0)), 15)
		c.rect("fault", x(k.from), y, max(x(max(k.ending, k.from))-x(k.from), 1), 15)
		c.rect("fault2", x(max(k.ending, k.from)), y, x(k.to)-x(max(k.ending, k.from)), 15)
		edge := f.w
		if f.narrow {
			c.mark(k.arm.Look, f.x1+7, y+7.5)
		} else {
			edge = f.x1
			c.mark(k.arm.Look, f.x1+9, y+7.5)
			c.text("lb"+strconv.Itoa(k.arm.Look), f.x1+18, y+12, start, cut(visible(k.arm.Name), 18))
		}
		switch right, left := edge-x(k.to)-7, x(max(k.early, 0))-7-f.x0; {
		case f.narrow:
			y += 18
			what := fit("fl", k.what, f.w)
			c.text("fl", min(x(k.from), f.w-textWidth("fl", what)), y+11, start, what)
		case right >= left || right >= textWidth("fl", visible(k.what)):
			c.text("fl", x(k.to)+7, y+12, start, fit("fl", k.what, right))
		default:
			c.text("fl", x(max(k.early, 0))-7, y+12, end, fit("fl", k.what, left))
		}
		y += 24
	}
	if len(marks) > 0 && len(t.faults) > 0 {
		c.text("tx", f.x0-8, y+13, end, "events")
	}
	for _, m := range marks {
		my := y + 9 + 19*float64(m.row)
		class := strconv.Itoa(m.arm.Look)
		c.diamond("f"+class, x(m.at), my)
		if m.left {
			c.text("lb"+class, x(m.at)-9, my+4.5, end, m.label)
		} else {
			c.text("lb"+class, x(m.at)+9, my+4.5, start, m.label)
		}
	}
}

// nameOf is a fault's name in so much room.
func nameOf(k timelineFault, room float64) string {
	name := visible(k.name)
	n := int((room + 4) / 7.5)
	for n > 4 && textWidth("tx", shorten(name, n)) > room {
		n--
	}
	return shorten(name, n)
}

// shorten cuts a fault's name in its middle where it ends in a number: that is what tells draws apart.
func shorten(name string, width int) string {
	i := strings.LastIndexByte(name, '-')
	if i < 0 || display(name) <= width || display(name[i:]) > width/2 || strings.Trim(name[i+1:], "0123456789") != "" {
		return cut(name, width)
	}
	return cut(name[:i], width-display(name[i:])) + name[i:]
}

func (t *timeline) drawAxis(c *canvas, f frame1, x func(float64) float64, y float64) {
	n := 12
	if f.narrow {
		n = 6
	}
	step := niceStep(t.length, n)
	for v := 0.0; v <= t.length*1.0001; v += step {
		c.line("ax", x(v), y, x(v), y+5)
		c.text("tk", x(v), y+18, middle, scale{times: 1}.short(round9(v)))
	}
	c.line("ax", f.x0, y, f.x1, y)
	c.text("tk", (f.x0+f.x1)/2, y+34, middle, "seconds since load start")
}

func round9(v float64) float64 { return math.Round(v*1e9) / 1e9 }
