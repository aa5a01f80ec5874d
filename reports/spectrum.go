package reports

import (
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// A spectrum is figure 8: every percentile over all requests, by phase.
type spectrum struct {
	panels []spectrumPanel
	lo, hi float64 // s, the axis of times
	end    float64 // of the axis of shares: log10 of 1/(1−q)
	loose  bool
}

type spectrumPanel struct {
	phase analysis.Phase
	title string
	lines []spectrumLine
}

type spectrumLine struct {
	arm   *arm
	n     int // trials
	due   uint64
	at    []float64 // nines
	mid   []float64 // s
	band  []bandOf  // of the trials, where each of them has a value
	never float64   // nines from which on there is no value; 0: none
}

// beyond is how many requests must lie beyond a percentile for it to be drawn.
const beyond = 10

func (s *sheet) makeSpectrum() *spectrum {
	f := &spectrum{lo: math.Inf(1)}
	phases := []spectrumPanel{{analysis.Before, "Before the fault", nil}, {analysis.During, "During", nil}, {analysis.After, "After the heal", nil}}
	if len(s.faults) == 0 {
		phases = []spectrumPanel{{analysis.Whole, "Whole trial", nil}}
	}
	for _, p := range phases {
		for _, a := range s.inFigures() {
			trials, loose := s.shown(a)
			f.loose = f.loose || loose && len(trials) > 0
			if l := spectrumOf(a, trials, p.phase); len(l.at) > 0 || l.never > 0 {
				p.lines = append(p.lines, l)
			}
		}
		if len(p.lines) > 0 {
			f.panels = append(f.panels, p)
		}
	}
	for _, p := range f.panels {
		for _, l := range p.lines {
			f.end = max(f.end, l.never)
			for i, v := range l.mid {
				f.lo, f.hi, f.end = min(f.lo, v), max(f.hi, v), max(f.end, l.at[i])
			}
		}
	}
	if f.hi == 0 {
		return nil
	}
	f.lo, f.hi = step125(f.lo, false), step125(max(f.hi, f.lo*1.2), true)
	f.end = max(f.end, 1)
	return f
}

func spectrumOf(a *arm, trials []*analysis.Trial, p analysis.Phase) spectrumLine {
	l := spectrumLine{arm: a, n: len(trials)}
	_, due := analysis.Percentiles(trials, p, nil)
	l.due = due
	if due <= 2*beyond {
		return l
	}
	at, shares := spectrumGrid(math.Log10(float64(due) / beyond))
	together, _ := analysis.Percentiles(trials, p, shares)
	each := make([][]analysis.Value, 0, len(trials))
	if len(trials) > 1 {
		for _, t := range trials {
			vs, _ := analysis.Percentiles([]*analysis.Trial{t}, p, shares)
			each = append(each, vs)
		}
	}
	for i, v := range together {
		if v.State != analysis.OK {
			l.never = at[i]
			break
		}
		l.at, l.mid = append(l.at, at[i]), append(l.mid, v.V)
		var vs []float64
		for _, one := range each {
			if one[i].State == analysis.OK && one[i].V > 0 {
				vs = append(vs, one[i].V)
			}
		}
		if len(vs) == len(trials) && len(vs) > 1 && len(l.band) == len(l.at)-1 {
			l.band = append(l.band, bandFrom(vs))
		}
	}
	return l
}

// spectrumGrid spreads shares evenly over the axis up to its last place, in nines, and has the named ones among them: the line
// goes through what is said of it.
func spectrumGrid(last float64) (at, shares []float64) {
	const n = 64
	next := 0
	for i := range n + 1 {
		u := math.Log10(2) + (last-math.Log10(2))*float64(i)/n
		for ; next < len(named) && nines(named[next].share) <= u+1e-9; next++ {
			at, shares = append(at, nines(named[next].share)), append(shares, named[next].share)
		}
		if k := len(at); k == 0 || u > at[k-1]+1e-9 {
			at, shares = append(at, u), append(shares, 1-math.Pow(10, -u))
		}
	}
	return at, shares
}

// named are the percentiles that people speak of.
var named = []struct {
	name  string
	share float64
}{{"50 %", 0.5}, {"90 %", 0.9}, {"99 %", 0.99}, {"99.9 %", 0.999}, {"99.99 %", 0.9999}}

// read says what one of the named shares of the requests met, "never" if too many failed, "" if there are too few requests.
func (l *spectrumLine) read(share float64) string {
	u := nines(share)
	if float64(l.due)*(1-share) < beyond-1e-9 {
		return ""
	}
	if l.never > 0 && u >= l.never-1e-9 {
		return "never"
	}
	for i, at := range l.at {
		if math.Abs(at-u) < 1e-9 {
			return seconds(round3(l.mid[i]))
		}
	}
	return ""
}

func (f *spectrum) finding() string {
	var parts []string
	for _, p := range f.panels {
		var each []string
		for i := range p.lines {
			switch v := p.lines[i].read(0.99); v {
			case "":
			case "never":
				each = append(each, "never by "+p.lines[i].arm.noun())
			default:
				each = append(each, "within "+v+" by "+p.lines[i].arm.noun())
			}
		}
		if len(each) > 2 {
			each = each[:2]
		}
		if len(each) > 0 && len(parts) < 2 {
			parts = append(parts, lower(p.title)+" "+list(each))
		}
	}
	if len(parts) == 0 {
		return "There are too few requests for the 99th percentile."
	}
	return "99" + nb + "% were answered, " + strings.Join(parts, ", ") + "."
}

func (f *spectrum) what() string {
	out := "Response time that a share of all requests met, both axes in logs; trials’ requests are merged. In the row “never” more requests had failed than the percentile allows. " +
		"A line ends where fewer than ten requests lie beyond it."
	for _, p := range f.panels {
		for _, l := range p.lines {
			if len(l.band) > 0 {
				return out + " The shade holds the middle 80" + nb + "% of the trials."
			}
		}
	}
	return out
}

func (f *spectrum) alt() string {
	var b strings.Builder
	b.WriteString("Percentiles over all requests. " + f.finding())
	for _, p := range f.panels {
		for _, l := range p.lines {
			var vs []string
			for _, k := range named {
				if v := l.read(k.share); v != "" {
					vs = append(vs, k.name+" "+v)
				}
			}
			if len(vs) > 0 {
				b.WriteString(" " + p.title + ", " + l.arm.noun() + ": " + strings.Join(vs, ", ") + ".")
			}
		}
	}
	return b.String()
}

func (s *sheet) spectrumChart() *chart {
	f := s.makeSpectrum()
	if f == nil {
		return nil
	}
	return &chart{
		n: 8, name: "percentiles", title: "Percentile spectrum", finding: f.finding(), what: f.what(), alt: f.alt(), table: f.table,
		draw: func(narrow bool) *canvas {
			more := f.more()
			if narrow {
				pitch := 262 + more
				c := newCanvas(360, pitch*float64(len(f.panels))+24)
				for i := range f.panels {
					f.drawPanel(c, i, 46, 348, pitch*float64(i)+24, pitch*float64(i)+222+more, true)
				}
				c.text("tk", 197, pitch*float64(len(f.panels))+10, middle, "share of all requests")
				return c
			}
			c := newCanvas(1040, 330+more)
			n := float64(len(f.panels))
			width := (1040 - 64 - 28*(n-1)) / n
			for i := range f.panels {
				x0 := 64 + float64(i)*(width+28)
				f.drawPanel(c, i, x0, x0+width, 40, 280+more, false)
			}
			c.text("tk", 552, 322+more, middle, "share of all requests")
			return c
		},
	}
}

// never is the height of the row of that name above so many lines.
func (p *spectrumPanel) never() float64 { return neverPitch*float64(len(p.lines)) + 10 }

// more is how much higher the drawings are where the row "never" of many arms would leave no room for times.
func (f *spectrum) more() float64 {
	more := 0.0
	for i := range f.panels {
		more = max(more, f.panels[i].never()-60)
	}
	return more
}

func (f *spectrum) drawPanel(c *canvas, i int, x0, x1, y0, y1 float64, narrow bool) {
	p := f.panels[i]
	first := i == 0 || narrow
	c.text("hd", x0, y0-14, start, p.title)
	if i == 0 || narrow {
		var arms []*arm
		for _, l := range p.lines {
			arms = append(arms, l.arm)
		}
		armLegend(c, x0+textWidth("hd", p.title)+16, y0-14, arms, x1)
	}
	q := plot.New()
	q.Y.Scale = plot.LogScale{}
	row := p.never()
	q.X.Min, q.X.Max, q.Y.Min, q.Y.Max = math.Log10(2), max(f.end, math.Log10(2)+0.1), f.lo, f.hi
	pl := c.panel(x0, y0+row, x1, y1, q)
	for _, k := range timeTicks(q.Y.Min, q.Y.Max) {
		if k.Label != "" {
			c.line("grid", x0, pl.py(k.Value), x1, pl.py(k.Value))
			if first {
				c.text("tk", x0-8, pl.py(k.Value)+4, end, k.Label)
			}
		}
	}
	if first {
		c.text("tk", x0-8, y0+row/2+3, end, "never")
	}
	for _, k := range named {
		if u := nines(k.share); u <= q.X.Max+1e-9 {
			c.line("ax", pl.px(u), y1, pl.px(u), y1+5)
			name := strings.ReplaceAll(k.name, " ", nb)
			half := textWidth("tk", name) / 2
			c.text("tk", min(max(pl.px(u), x0+half-8), x1-half+2), y1+19, middle, name)
		}
	}
	c.line("ax", x0, y1, x1, y1)
	for k := len(p.lines) - 1; k >= 0; k-- {
		l := p.lines[k]
		if len(l.band) > 1 {
			var lo, hi plotter.XYs
			for i, b := range l.band {
				lo = append(lo, plotter.XY{X: l.at[i], Y: max(b.lo, f.lo)})
				hi = append(hi, plotter.XY{X: l.at[i], Y: min(b.hi, f.hi)})
			}
			pl.fill("r"+labelClass(l.arm)[2:], lo, hi)
		}
		var xys plotter.XYs
		for i, v := range l.mid {
			xys = append(xys, plotter.XY{X: l.at[i], Y: min(max(v, f.lo), f.hi)})
		}
		pl.polyline("ln p99 "+stroke(l.arm), xys)
		if l.never > 0 {
			from, to := pl.px(l.never), pl.px(min(math.Log10(float64(l.due)/beyond), q.X.Max))
			c.rect(fillClass(l.arm), from, y0+4+float64(k)*neverPitch, max(to-from, 2), 4)
		}
	}
}

func (f *spectrum) table() table {
	t := table{id: "t-f8", class: "sm tl", caption: "Response time that a share of all requests met; trials’ requests merged.", head: []column{left("arm")}}
	for _, k := range named {
		t.head = append(t.head, num(strings.ReplaceAll(k.name, " ", nb)))
	}
	t.head = append(t.head, num("requests"))
	for _, p := range f.panels {
		t.group(p.title)
		for i := range p.lines {
			l := &p.lines[i]
			cells := []cell{ofArm(l.arm)}
			for _, k := range named {
				v := l.read(k.share)
				cells = append(cells, cell{text: v, quiet: v == "never"})
			}
			t.add(append(cells, text(count(l.due)))...)
		}
	}
	return t
}
