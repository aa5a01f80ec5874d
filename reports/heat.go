package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
)

// A heat is figure 6: how many requests had which latency when, one panel for each arm.
type heat struct {
	length  float64 // s
	lo, hi  float64 // s, the axis of times
	panels  []heatPanel
	most    uint64 // requests in the fullest cell of any panel
	loose   bool
	bands   [][2]float64
	bandOf  *arm
	columns int
	rows    int
}

type heatPanel struct {
	arm  *arm
	n    int // trials
	ok   map[heatCell]uint64
	bad  map[int]uint64 // by column
	good *record.Hist   // response times of all good ones
	all  uint64
	lost uint64
}

type heatCell struct{ column, row int }

// The grid: columns are some bins of 100 ms each, rows even steps of a log axis.
const (
	heatColumns = 90
	heatRows    = 30
	heatLevels  = 6
)

func (s *sheet) makeHeat(columns, rows int) *heat {
	f := &heat{lo: math.Inf(1), rows: rows}
	of := make(map[*arm][]*analysis.Trial)
	bins := 0
	for _, a := range s.inFigures() {
		trials, loose := s.shown(a)
		of[a] = trials
		f.loose = f.loose || loose && len(trials) > 0
		for _, t := range trials {
			f.length = max(f.length, t.Rec.For.Seconds())
			bins = max(bins, int((t.Rec.For+record.Grid-1)/record.Grid))
			for _, b := range measuredOf(t.Rec.Bins, t.Rec.For) {
				for i := range b.Cells {
					if c := &b.Cells[i]; c.Class.Good() && c.Response.Total() > 0 {
						f.lo, f.hi = min(f.lo, max(c.Response.Min().Seconds(), 1e-6)), max(f.hi, c.Response.Max().Seconds())
					}
				}
			}
		}
	}
	if f.hi == 0 || bins == 0 {
		return nil
	}
	f.lo, f.hi = step125(f.lo, false), step125(max(f.hi, 2*f.lo), true)
	step := (bins + columns - 1) / columns
	f.columns = (bins + step - 1) / step
	f.length = math.Max(f.length, float64(f.columns*step)*record.Grid.Seconds())
	for _, a := range s.inFigures() {
		if len(of[a]) > 0 {
			f.panels = append(f.panels, f.panel(a, of[a], step))
		}
	}
	if t := s.timeline(); t != nil {
		f.bands, f.bandOf = t.bands(), t.banded
	}
	return f
}

func (f *heat) panel(a *arm, trials []*analysis.Trial, step int) heatPanel {
	p := heatPanel{arm: a, n: len(trials), ok: make(map[heatCell]uint64), bad: make(map[int]uint64), good: new(record.Hist)}
	for _, t := range trials {
		for _, b := range measuredOf(t.Rec.Bins, t.Rec.For) {
			column := b.Index / step
			p.all += b.Due
			for i := range b.Cells {
				c := &b.Cells[i]
				if !c.Class.Good() {
					p.bad[column] += c.Count
					p.lost += c.Count
					continue
				}
				p.good.Merge(c.Response)
				c.Response.Each(func(d time.Duration, n uint64) { p.ok[heatCell{column, f.row(d.Seconds())}] += n })
			}
		}
	}
	for _, n := range p.ok {
		f.most = max(f.most, n)
	}
	for _, n := range p.bad {
		f.most = max(f.most, n)
	}
	return p
}

func (f *heat) row(v float64) int {
	r := int(math.Log(v/f.lo) / math.Log(f.hi/f.lo) * float64(f.rows))
	return min(max(r, 0), f.rows-1)
}

// level is a cell's shade, 1 to heatLevels, by the logarithm of its count; 0 for nothing.
func (f *heat) level(n uint64) int {
	if n == 0 {
		return 0
	}
	return min(1+int(math.Log1p(float64(n))/math.Log1p(float64(f.most))*heatLevels*0.9999), heatLevels)
}

// from is the smallest count that has a level.
func (f *heat) from(level int) uint64 {
	for n := uint64(1); n <= f.most; n++ {
		if f.level(n) >= level {
			return n
		}
		if n > 1<<16 {
			return uint64(math.Expm1(float64(level-1) / heatLevels * math.Log1p(float64(f.most))))
		}
	}
	return f.most
}

// slow is how many requests took more than ten times the median, to the histogram's buckets: a row of the picture is wider.
func (p *heatPanel) slow() uint64 {
	median, _ := p.good.Quantile(0.5)
	return p.good.Total() - p.good.Within(10*median)
}

func (f *heat) finding() string {
	var parts []string
	for i := range f.panels {
		p := &f.panels[i]
		parts = append(parts, fmt.Sprintf("%s: %s of %s took more than ten times the median of the good ones, and %s were bad",
			p.arm.noun(), count(p.slow()), count(p.all), count(p.lost)))
	}
	return upper(strings.Join(parts, "; ")) + "."
}

func (f *heat) what() string {
	out := fmt.Sprintf("Each cell counts the requests due in its column (%s) that took as long as its row; the darker, the more, in logs, the same scale in every panel. Bad requests stand in the top row, since they have no latency. All trials of an arm are added up.",
		seconds(round9(f.length/float64(f.columns))))
	if f.loose {
		out += " Drawn from trials that do not count."
	}
	return out
}

func (f *heat) alt() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Latency heat map over %s, from %s to %s. %s", seconds(f.length), seconds(f.lo), seconds(f.hi), f.finding())
	return b.String()
}

func (s *sheet) heatChart() *chart {
	f := s.makeHeat(heatColumns, heatRows)
	if f == nil {
		return nil
	}
	return &chart{
		n: 6, name: "latency-heat", title: "Latency heat map", finding: f.finding(), what: f.what(), alt: f.alt(), table: f.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return s.makeHeat(46, 24).draw(360, 46, 348, 130, true)
			}
			return f.draw(1040, 64, 900, 150, false)
		},
	}
}

func (f *heat) draw(width, x0, x1, h float64, narrow bool) *canvas {
	const head, badRow = 28.0, 16.0
	pitch := head + badRow + 4 + h + 12
	c := newCanvas(width, pitch*float64(len(f.panels))+42)
	x := func(column int) float64 { return x0 + (x1-x0)*float64(column)/float64(f.columns) }
	at := func(sec float64) float64 { return x0 + (x1-x0)*sec/f.length }
	for i := range f.panels {
		p := &f.panels[i]
		y := float64(i) * pitch
		hx := x0
		if narrow {
			hx = 0
		}
		c.mark(p.arm.Look, hx+4, y+12)
		c.text(labelClass(p.arm), hx+14, y+16.5, start, fit(labelClass(p.arm), p.arm.Name, 200))
		bad := y + head
		top := bad + badRow + 4
		q := plot.New()
		q.Y.Scale = plot.LogScale{}
		q.X.Min, q.X.Max, q.Y.Min, q.Y.Max = 0, f.length, f.lo, f.hi
		pl := c.panel(x0, top, x1, top+h, q)
		for _, b := range f.bands {
			c.rect("band2", at(b[0]), bad, at(b[1])-at(b[0]), top+h-bad)
		}
		for _, k := range timeTicks(f.lo, f.hi) {
			if k.Label != "" {
				c.line("grid", x0, pl.py(k.Value), x1, pl.py(k.Value))
				c.text("tk", x0-8, pl.py(k.Value)+4, end, k.Label)
			}
		}
		c.text("tk", x0-8, bad+12, end, "bad")
		f.cells(c, p, x, func(row int) float64 { return top + h - h*float64(row+1)/float64(f.rows) }, h/float64(f.rows), bad, badRow)
		for _, b := range f.bands {
			c.line("edge", at(b[0]), bad, at(b[0]), top+h)
			if b[1] < f.length {
				c.line("edge", at(b[1]), bad, at(b[1]), top+h)
			}
		}
		if !narrow {
			f.scale(c, p.arm, x1+16, top)
		}
	}
	secondsAxis(c, x0, x1, pitch*float64(len(f.panels))-4, f.length)
	c.axis = &timeAxis{x0, x1, f.length}
	return c
}

// cells draws each level as one path, neighbours in a row joined.
func (f *heat) cells(c *canvas, p *heatPanel, x func(int) float64, y func(int) float64, h, badY, badH float64) {
	ok, bad := make([]rects, heatLevels+1), make([]rects, heatLevels+1)
	add := func(to []rects, level func(column int) int, y, h float64) {
		for i := 0; i < f.columns; {
			l, k := level(i), i+1
			for k < f.columns && level(k) == l {
				k++
			}
			if l > 0 {
				to[l].add(c, x(i), y, x(k)-x(i), h)
			}
			i = k
		}
	}
	for row := range f.rows {
		add(ok, func(column int) int { return f.level(p.ok[heatCell{column, row}]) }, y(row), h)
	}
	add(bad, func(column int) int { return f.level(p.bad[column]) }, badY, badH)
	for l := 1; l <= heatLevels; l++ {
		ok[l].fill(c, "q"+strconv.Itoa(l)+" "+fillClass(p.arm))
		bad[l].fill(c, "q"+strconv.Itoa(max(l, 3))+" failing") // a single one is seen
	}
}

// scale is the key of the shades.
func (f *heat) scale(c *canvas, a *arm, x, y float64) {
	c.text("tk", x, y+8, start, "requests")
	for l := heatLevels; l >= 1; l-- {
		if l > 1 && f.from(l) == f.from(l-1) {
			continue
		}
		y += 17
		c.rect("q"+strconv.Itoa(l)+" "+fillClass(a), x, y, 16, 11)
		c.text("tk", x+22, y+9.5, start, "≥"+nb+count(f.from(l)))
	}
}

func (f *heat) table() table {
	t := table{id: "t-f6", class: "sm tl", caption: "Requests by latency, all of measured load; trials added up.", head: []column{left("latency from")}}
	const joined = 3 // rows of the figure in one of the table
	for i := range f.panels {
		t.head = append(t.head, num(f.panels[i].arm.Name))
	}
	rows := make([][]uint64, f.rows/joined)
	for i := range rows {
		rows[i] = make([]uint64, len(f.panels))
	}
	for i := range f.panels {
		for k, n := range f.panels[i].ok {
			rows[k.row/joined][i] += n
		}
	}
	for r, ns := range rows {
		from := f.lo * math.Pow(f.hi/f.lo, float64(r*joined)/float64(f.rows))
		cells := []cell{text(seconds(round3(from)))}
		for _, n := range ns {
			cells = append(cells, countCell(n))
		}
		t.add(cells...)
	}
	cells := []cell{text("bad: no latency")}
	for i := range f.panels {
		cells = append(cells, countCell(f.panels[i].lost))
	}
	t.add(cells...)
	return t
}
