package reports

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A worst is figure 3: the lowest availability over any window, by the window's length.
type worst struct {
	curves  []curveOf
	top     float64 // nines, at which 100 % is drawn
	slo     float64 // an availability that is to hold over the whole load; 0: none
	corners []corner
	silence map[*arm]float64 // s, the longest of any trial
	second  map[*arm]float64 // the worst second of any trial
	loose   bool
}

func (s *sheet) makeWorst() *worst {
	w := &worst{top: 1.3, silence: make(map[*arm]float64), second: make(map[*arm]float64)}
	for _, a := range s.inFigures() {
		trials, loose := s.shown(a)
		if len(trials) == 0 {
			continue
		}
		w.loose = w.loose || loose
		if k := w.curve(a, trials); len(k.x) > 1 {
			w.curves = append(w.curves, k)
		}
	}
	if len(w.curves) == 0 {
		return nil
	}
	w.objectives(s)
	return w
}

// curve is one arm's, over lengths of which every trial has a window.
func (w *worst) curve(a *arm, trials []*analysis.Trial) curveOf {
	lengths := windowLengths(trials)
	values := make([][]float64, len(lengths))
	w.second[a] = 1
	for _, t := range trials {
		for i, v := range t.Worst(lengths) {
			if v.State == analysis.OK {
				values[i] = append(values[i], v.V)
			}
		}
		if v := t.Metric(analysis.Ref{Metric: "longest_silence"}); v.State == analysis.OK {
			w.silence[a] = max(w.silence[a], v.V)
		}
		if v := t.Worst([]float64{1})[0]; v.State == analysis.OK {
			w.second[a] = min(w.second[a], v.V)
		}
	}
	k := curveOf{arm: a, n: len(trials)}
	for i, vs := range values {
		if len(vs) < len(trials) {
			continue
		}
		k.x, k.band = append(k.x, lengths[i]), append(k.band, bandFrom(vs))
		for _, v := range vs {
			if v < 1 {
				w.top = max(w.top, nines(v)+0.5)
			}
		}
	}
	return k
}

// windowLengths spreads lengths evenly over a log axis, on the grid of 100 ms: from what holds ten requests to the whole load.
func windowLengths(trials []*analysis.Trial) []float64 {
	lo, hi := 0.1, math.Inf(1)
	for _, t := range trials {
		hi = min(hi, t.Rec.For.Seconds())
		due := uint64(0)
		for _, b := range measuredOf(t.Rec.Bins, t.Rec.For) {
			due += b.Due
		}
		if due > 0 {
			lo = max(lo, 10*t.Rec.For.Seconds()/float64(due))
		}
	}
	if hi < 2*lo {
		return nil
	}
	const n = 30
	var out []float64
	for i := range n + 1 {
		w := math.Round(10*lo*math.Pow(hi/lo, float64(i)/n)) / 10
		if k := len(out); w <= hi && (k == 0 || w > out[k-1]) {
			out = append(out, w)
		}
	}
	return out
}

var worstText = regexp.MustCompile(`\.worst\(([0-9.]+m?s)\)$`)

// objectives are the lines that the curves are held against.
func (w *worst) objectives(s *sheet) {
	for _, o := range s.run.Objectives {
		if o.Form != slo.Absolute || o.Limit == nil || !strings.HasPrefix(o.Op, ">") {
			continue
		}
		lhs, _, _ := strings.Cut(squeeze(o.Text), ">")
		if strings.HasSuffix(lhs, ".availability") && strings.Count(lhs, ".") == 1 {
			w.slo = max(w.slo, *o.Limit)
		}
		if m := worstText.FindStringSubmatch(lhs); m != nil && len(w.corners) < 2 {
			if d, err := time.ParseDuration(m[1]); err == nil {
				w.corners = append(w.corners, corner{d.Seconds(), *o.Limit, percent(*o.Limit) + " over " + seconds(d.Seconds())})
			}
		}
	}
	for _, v := range append([]corner{{share: w.slo}}, w.corners...) {
		if v.share > 0 && v.share < 1 {
			w.top = max(w.top, nines(v.share)+0.5)
		}
	}
	w.top = min(w.top, 6)
}

// y is where a share stands: everything answered at the top, and nothing else there.
func (w *worst) y(share float64) float64 {
	if share >= 1 {
		return w.top
	}
	return min(nines(share), w.top-0.15)
}

func (w *worst) finding() string {
	var parts []string
	for _, k := range w.curves {
		switch v := w.second[k.arm]; {
		case v == 0:
			parts = append(parts, fmt.Sprintf("%s answered nothing in its worst second and was silent for up to %s", k.arm.noun(), seconds(round3(w.silence[k.arm]))))
		case v == 1:
			parts = append(parts, k.arm.noun()+" answered everything in every second")
		default:
			parts = append(parts, k.arm.noun()+" still answered "+percent(v)+" in its worst second")
		}
	}
	return upper(strings.Join(parts, "; ")) + "."
}

func (w *worst) what() string {
	out := "Lowest availability over any window of length w; each step up is a tenth of the failures. "
	n := 0
	for _, k := range w.curves {
		n = max(n, k.n)
	}
	if n > 1 {
		out += "Lines are medians over the trials, the shade holds the middle 80" + nb + "%. "
	}
	if w.slo > 0 {
		out += "The objective is for the whole load: where a line lies below it, windows of that length miss it. "
	}
	if w.loose {
		out += "Drawn from trials that do not count. "
	}
	return strings.TrimSpace(out)
}

func (w *worst) alt() string {
	var b strings.Builder
	b.WriteString("Lowest availability by length of window. " + w.finding())
	for _, k := range w.curves {
		last := len(k.x) - 1
		fmt.Fprintf(&b, " %s: %s over %s, %s over %s.", upper(k.arm.noun()), percent(k.band[0].mid), seconds(k.x[0]), percent(k.band[last].mid), seconds(k.x[last]))
	}
	return b.String()
}

func (s *sheet) worstChart() *chart {
	w := s.makeWorst()
	if w == nil {
		return nil
	}
	return &chart{
		n: 3, name: "worst-window", title: "Worst window", half: true, finding: w.finding(), what: w.what(), alt: w.alt(), table: w.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return w.draw(360, 52, 344, 254, true)
			}
			return w.draw(500, 58, 396, 270, false)
		},
	}
}

func (w *worst) draw(width, x0, x1, y1 float64, narrow bool) *canvas {
	c := newCanvas(width, y1+46)
	p := plot.New()
	p.X.Scale = plot.LogScale{}
	lo, hi := math.Inf(1), 0.0
	for _, k := range w.curves {
		lo, hi = min(lo, k.x[0]), max(hi, k.x[len(k.x)-1])
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = lo, hi, 0, w.top
	q := c.panel(x0, 14, x1, y1, p)
	for _, k := range ninesTicks(w.top) {
		c.line("grid", x0, q.py(k.at), x1, q.py(k.at))
		c.text("tk", x0-8, q.py(k.at)+4, end, k.label)
	}
	q.timeAxisBelow(c, x0, x1, y1, "length of the window w (log)")
	if w.slo > 0 {
		c.line("slo", x0, q.py(w.y(w.slo)), x1, q.py(w.y(w.slo)))
		c.text("tk", x0+4, q.py(w.y(w.slo))-5, start, "objective "+percent(w.slo))
	}
	for _, k := range w.corners {
		if k.x >= lo && k.x <= hi {
			x, y := q.px(k.x), q.py(w.y(k.share))
			c.line("slo", x, y1, x, y)
			c.line("slo", x, y, x1, y)
			c.text("tk", x+6, y-5, start, k.text)
		}
	}
	var labels []lineLabel
	for i := len(w.curves) - 1; i >= 0; i-- {
		k := w.curves[i]
		y := func(of func(bandOf) float64) plotter.XYs {
			return k.points(func(b bandOf) float64 { return w.y(of(b)) })
		}
		if k.n > 1 {
			q.fill("r"+strconv.Itoa(k.arm.Look), y(low), y(highs))
		}
		q.polyline("ln p99 "+stroke(k.arm), y(mid))
		labels = append(labels, lineLabel{k.arm, cut(visible(k.arm.Name), 12), q.py(w.y(k.band[len(k.band)-1].mid))})
	}
	if !narrow {
		lineLabels(c, x1+9, labels, 14, y1)
		return c
	}
	ys := make([]float64, len(labels))
	for i := range labels {
		ys[i] = labels[i].y + 17
	}
	for i, y := range apart(ys, 16, 30, y1-6) {
		c.text("lb"+strconv.Itoa(labels[i].arm.Look), x1, y, end, labels[i].text)
	}
	return c
}

func (w *worst) table() table {
	t := table{id: "t-f3", class: "sm tl", caption: "Lowest availability over any window of a length; medians over the trials.", head: []column{left("w")}}
	at := make(map[float64][]cell)
	var lengths []float64
	sc := scale{times: 100, ratio: true}
	for i, k := range w.curves {
		t.head = append(t.head, num(k.arm.Name+", %"))
		for j, x := range k.x {
			if at[x] == nil {
				at[x] = make([]cell, len(w.curves))
				lengths = append(lengths, x)
			}
			v := k.band[j]
			c := text(sc.format(v.mid, sc.decimals(v.mid)))
			if k.n > 1 {
				c.iv = sc.format(v.lo, sc.decimals(v.lo)) + nb + "–" + nb + sc.format(v.hi, sc.decimals(v.hi))
			}
			at[x][i] = c
		}
	}
	for _, x := range sortedFloats(lengths) {
		t.add(append([]cell{text(seconds(x))}, at[x]...)...)
	}
	return t
}
