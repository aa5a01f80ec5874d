package reports

import (
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
)

// A band is what several trials' values come to: the median, and what 10 % and 90 % of them stay below, as the
// timeline has it. With few trials the two are the extremes.
type bandOf struct{ lo, mid, hi float64 }

// bandFrom needs at least one value.
func bandFrom(vs []float64) bandOf {
	vs = slices.Clone(vs)
	slices.Sort(vs)
	n := len(vs)
	mid := vs[n/2]
	if n%2 == 0 {
		mid = (vs[n/2-1] + vs[n/2]) / 2
	}
	return bandOf{vs[max(0, int(math.Ceil(0.1*float64(n)))-1)], mid, vs[int(math.Ceil(0.9*float64(n)))-1]}
}

// A curveOf is one arm's line in a figure that is not about time.
type curveOf struct {
	arm  *arm
	n    int // trials
	x    []float64
	band []bandOf
}

func (k *curveOf) points(of func(bandOf) float64) plotter.XYs {
	out := make(plotter.XYs, len(k.x))
	for i := range k.x {
		out[i] = plotter.XY{X: k.x[i], Y: of(k.band[i])}
	}
	return out
}

func low(b bandOf) float64   { return b.lo }
func mid(b bandOf) float64   { return b.mid }
func highs(b bandOf) float64 { return b.hi }

// nines is the axis of availabilities: each step of one is a tenth of the failures.
func nines(share float64) float64 { return -math.Log10(max(1-share, 1e-9)) }

// ninesTicks are the axis's labels up to a top at which everything was answered.
func ninesTicks(top float64) []struct {
	at    float64
	label string
} {
	type tick = struct {
		at    float64
		label string
	}
	var out []tick
	for _, k := range []struct {
		share float64
		label string
	}{{0, "0"}, {0.5, "50"}, {0.9, "90"}, {0.99, "99"}, {0.999, "99.9"}, {0.9999, "99.99"}, {0.99999, "99.999"}} {
		if at := nines(k.share); at < top-0.3 {
			out = append(out, tick{at, k.label + nb + "%"})
		}
	}
	return append(out, tick{top, "100" + nb + "%"})
}

// timeAxisBelow draws a log axis of times with its title.
func (p *panel) timeAxisBelow(c *canvas, x0, x1, y float64, title string) {
	last := math.Inf(-1)
	for _, k := range timeTicks(p.X.Min, p.X.Max) {
		long := 3.0
		if width := textWidth("tk", k.Label); k.Label != "" && p.px(k.Value)-width/2 > last+6 {
			c.text("tk", p.px(k.Value), y+19, middle, k.Label)
			last, long = p.px(k.Value)+width/2, 5
		}
		c.line("ax", p.px(k.Value), y, p.px(k.Value), y+long)
	}
	c.line("ax", x0, y, x1, y)
	c.text("tk", (x0+x1)/2, y+37, middle, title)
}

// secondsAxis draws a linear axis of seconds since load start.
func secondsAxis(c *canvas, x0, x1, y, length float64) {
	n := 12
	if x1-x0 < 500 {
		n = 6
	}
	x := func(sec float64) float64 { return x0 + (x1-x0)*sec/length }
	step := niceStep(length, n)
	for i := 0; float64(i)*step <= length*1.0001; i++ {
		v := float64(i) * step
		c.line("ax", x(v), y, x(v), y+5)
		c.text("tk", x(v), y+18, middle, scale{times: 1}.short(round9(v)))
	}
	c.line("ax", x0, y, x1, y)
	c.text("tk", (x0+x1)/2, y+34, middle, "seconds since load start")
}

// armLegend names arms in a row, with their marks, as far as there is room.
func armLegend(c *canvas, x, y float64, arms []*arm, limit float64) {
	for _, a := range arms {
		class, name := labelClass(a), cut(visible(a.Name), 18)
		if x+12+textWidth(class, name) > limit {
			break
		}
		c.mark(a.Look, x+4, y-4.5)
		c.text(class, x+12, y, start, name)
		x += 28 + textWidth(class, name)
	}
}

func labelClass(a *arm) string { return "lb" + string(rune('0'+a.Look)) }
func fillClass(a *arm) string  { return "f" + string(rune('0'+a.Look)) }

func sortedFloats(vs []float64) []float64 {
	vs = slices.Clone(vs)
	slices.Sort(vs)
	return vs
}
