package reports

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A canvas is a [vg.Canvas] that writes SVG for a page with a style sheet: what is drawn
// carries classes instead of colours, so that one drawing serves light, dark and paper, and there is no
// style attribute, which the page's policy forbids. One unit is one CSS pixel at the drawing's own width.
//
// What is drawn is kept as a list of marks, since a page's drawing, a file of its own and a picture of pixels
// are written from the same ones.
type canvas struct {
	w, h  float64
	marks []mark
	class string
	width vg.Length
	at    vg.Point // the translation in force
	stack []frame
	axis  *timeAxis // nil: the drawing has no axis of time
}

// A mark is a path, a rectangle or a text with its class. Coordinates are those of the drawing, from the upper left.
type mark struct {
	class string
	path  vg.Path    // translated; y from below, as vg has it
	rect  [4]float64 // x, y, width, height; of a rectangle
	text  string
	x, y  float64 // of a text's start
	face  font.Face
}

// A timeAxis is where an axis of time lies, so that a script can show one moment in all drawings that have one.
type timeAxis struct {
	x0, x1  float64
	seconds float64 // at x1
}

type frame struct {
	class string
	width vg.Length
	at    vg.Point
}

// An ink is a colour that the page decides.
type ink string

// RGBA makes an ink a [color.Color]; its value is never used.
func (ink) RGBA() (r, g, b, a uint32) { return 0, 0, 0, math.MaxUint16 }

func newCanvas(w, h float64) *canvas {
	c := &canvas{w: w, h: h}
	vg.Initialize(c)
	return c
}

func (c *canvas) SetLineWidth(w vg.Length)           { c.width = w }
func (c *canvas) SetLineDash([]vg.Length, vg.Length) {} // the style's

func (c *canvas) SetColor(col color.Color) {
	c.class = ""
	if i, ok := col.(ink); ok {
		c.class = string(i)
	}
}

func (c *canvas) Rotate(float64)         { panic("reports: a figure does not rotate") }
func (c *canvas) Scale(float64, float64) { panic("reports: a figure does not scale") }
func (c *canvas) Translate(pt vg.Point)  { c.at = c.at.Add(pt) }
func (c *canvas) Push()                  { c.stack = append(c.stack, frame{c.class, c.width, c.at}) }

func (c *canvas) Pop() {
	f := c.stack[len(c.stack)-1]
	c.stack = c.stack[:len(c.stack)-1]
	c.class, c.width, c.at = f.class, f.width, f.at
}

// Size is the drawing's.
func (c *canvas) Size() (vg.Length, vg.Length) { return vg.Length(c.w), vg.Length(c.h) }

func (c *canvas) Stroke(p vg.Path) {
	if c.width > 0 {
		c.path(p)
	}
}

func (c *canvas) Fill(p vg.Path) { c.path(p) }

func (c *canvas) path(p vg.Path) {
	if len(p) == 0 {
		return
	}
	moved := make(vg.Path, len(p))
	for i, s := range p {
		s.Pos = s.Pos.Add(c.at)
		control := make([]vg.Point, len(s.Control))
		for k, q := range s.Control {
			control[k] = q.Add(c.at)
		}
		s.Control = control
		moved[i] = s
	}
	c.marks = append(c.marks, mark{class: c.class, path: moved})
}

func (c *canvas) xy(p vg.Point) string {
	return coord(float64(p.X)) + " " + coord(c.h-float64(p.Y))
}

// coord writes a tenth of a pixel, and nothing that is not a number.
func coord(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		panic("reports: a figure's coordinate is not finite")
	}
	t := strconv.FormatFloat(v, 'f', 1, 64)
	t = strings.TrimSuffix(t, ".0")
	if t == "-0" {
		return "0"
	}
	return t
}

// data writes a path; a line along an axis says one coordinate only.
func (c *canvas) data(p vg.Path) string {
	var b strings.Builder
	var last string
	for _, s := range p {
		at := c.xy(s.Pos)
		x, y, _ := strings.Cut(at, " ")
		switch s.Type {
		case vg.MoveComp:
			b.WriteString("M" + at)
		case vg.LineComp:
			switch lastX, lastY, _ := strings.Cut(last, " "); {
			case at == last:
			case y == lastY:
				b.WriteString("H" + x)
			case x == lastX:
				b.WriteString("V" + y)
			default:
				b.WriteString("L" + at)
			}
		case vg.CurveComp:
			b.WriteString([]string{"", "Q", "C"}[len(s.Control)])
			for _, q := range s.Control {
				b.WriteString(c.xy(q) + " ")
			}
			b.WriteString(at)
		case vg.ArcComp:
			// Only whole circles are drawn, as two halves: one arc cannot end where it began.
			r := coord(float64(s.Radius))
			left, right := s.Pos, s.Pos
			left.X, right.X = left.X-s.Radius, right.X+s.Radius
			b.WriteString("M" + c.xy(left) + "A" + r + " " + r + " 0 1 0 " + c.xy(right) + "A" + r + " " + r + " 0 1 0 " + c.xy(left))
		case vg.CloseComp:
			b.WriteString("Z")
			at = ""
		}
		last = at
	}
	return b.String()
}

// FillString writes text.
func (c *canvas) FillString(f font.Face, pt vg.Point, s string) {
	pt = pt.Add(c.at)
	c.marks = append(c.marks, mark{class: c.class, text: s, x: float64(pt.X), y: c.h - float64(pt.Y), face: f})
}

// known tells text of which Liberation Sans has every letter.
func known(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x24f && !strings.ContainsRune("–−≥≤×·…’“”µ", r) })
}

// DrawImage is not for a page whose policy allows no images.
func (c *canvas) DrawImage(vg.Rectangle, image.Image) { panic("reports: a figure holds no image") }

// svg is the drawing as a part of the page: classes, and no colour.
func (c *canvas) svg(class, id, title, desc string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="%s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d"`, class, coord(c.w), coord(c.h), id, id)
	if a := c.axis; a != nil {
		fmt.Fprintf(&b, ` data-x0="%s" data-x1="%s" data-s="%s"`, coord(a.x0), coord(a.x1), strconv.FormatFloat(a.seconds, 'g', -1, 64))
	}
	fmt.Fprintf(&b, `><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, esc(title), id, esc(desc))
	c.write(&b, func(m mark) string { return ` class="` + m.class + `"` })
	b.WriteString("</svg>")
	return b.String()
}

// write draws every mark, with the attributes that its class stands for.
func (c *canvas) write(b *strings.Builder, attributes func(mark) string) {
	for _, m := range c.marks {
		at := attributes(m)
		switch {
		case m.text != "":
			fmt.Fprintf(b, `<text%s x="%s" y="%s"%s>%s</text>`, at, coord(m.x), coord(m.y), m.length(), esc(m.text))
		case m.path != nil:
			if d := c.data(m.path); d != "" {
				fmt.Fprintf(b, `<path%s d="%s"/>`, at, d)
			}
		default:
			fmt.Fprintf(b, `<rect%s x="%s" y="%s" width="%s" height="%s"/>`, at, coord(m.rect[0]), coord(m.rect[1]), coord(m.rect[2]), coord(m.rect[3]))
		}
	}
}

// length gives a text the length that it has in Liberation Sans, so that another font neither clips nor collides. The label of
// a tick is too short for that.
func (m mark) length() string {
	if m.class == "tk" && len(m.text) <= 8 {
		return ""
	}
	if w := float64(m.face.Width(m.text)); w > 0 && known(m.text) {
		return fmt.Sprintf(` textLength="%s" lengthAdjust="spacingAndGlyphs"`, coord(w))
	}
	return ""
}

// textSizes are the sizes that the style sheet gives the classes of text; what is not here is 13.
var textSizes = map[string]float64{"tk": 12.5, "mu": 12.5, "hd": 14, "tiny": 11, "tinyb": 11, "leg": 12, "fl": 12.5}

func textStyle(class string) draw.TextStyle {
	size, ok := textSizes[class]
	if !ok {
		size = 13
	}
	f := font.Font{Typeface: "Liberation", Variant: "Sans"}
	if class == "hd" || strings.HasPrefix(class, "lb") {
		f.Weight = 3 // bold
	}
	return draw.TextStyle{Color: ink(class), Font: font.From(f, vg.Points(size)), Handler: plot.DefaultTextHandler}
}

// textWidth is how long a text of a class is.
func textWidth(class, s string) float64 {
	st := textStyle(class)
	w, _, _ := st.Handler.Box(s, st.Font)
	return float64(w)
}

// The following draw with the origin at the upper left, as the page does.

// Anchors of text.
const (
	start  = 0.0
	middle = -0.5
	end    = -1.0
)

func (c *canvas) text(class string, x, y, anchor float64, s string) {
	if s == "" {
		return
	}
	st := textStyle(class)
	c.SetColor(st.Color)
	x += anchor * textWidth(class, s)
	c.FillString(font.DefaultCache.Lookup(st.Font, st.Font.Size), vg.Point{X: vg.Length(x), Y: vg.Length(c.h - y)}, s)
}

func (c *canvas) pt(x, y float64) vg.Point { return vg.Point{X: vg.Length(x), Y: vg.Length(c.h - y)} }

func (c *canvas) line(class string, x0, y0, x1, y1 float64) {
	var p vg.Path
	p.Move(c.pt(x0, y0))
	p.Line(c.pt(x1, y1))
	c.SetColor(ink(class))
	c.SetLineWidth(1)
	c.Stroke(p)
}

// rect draws nothing that has no area, so that an empty span is not seen.
func (c *canvas) rect(class string, x, y, w, h float64) {
	if w <= 0 || h <= 0 {
		return
	}
	c.marks = append(c.marks, mark{class: class, rect: [4]float64{x, y, w, h}})
}

// mark draws an arm's second cue, about 7 px wide.
func (c *canvas) mark(look int, x, y float64) {
	c.SetColor(ink("f" + strconv.Itoa(look)))
	var p vg.Path
	poly := func(ps ...[2]float64) {
		for i, q := range ps {
			if i == 0 {
				p.Move(c.pt(x+q[0], y+q[1]))
			} else {
				p.Line(c.pt(x+q[0], y+q[1]))
			}
		}
		p.Close()
	}
	switch look {
	case 0:
		poly([2]float64{-3, -3}, [2]float64{3, -3}, [2]float64{3, 3}, [2]float64{-3, 3})
	case 1:
		p.Arc(c.pt(x, y), 3.4, 0, 2*math.Pi)
	case 2:
		poly([2]float64{0, -4}, [2]float64{4, 3}, [2]float64{-4, 3})
	case 3:
		poly([2]float64{0, -4.2}, [2]float64{4.2, 0}, [2]float64{0, 4.2}, [2]float64{-4.2, 0})
	case 4:
		poly([2]float64{-1.3, -4}, [2]float64{1.3, -4}, [2]float64{1.3, -1.3}, [2]float64{4, -1.3}, [2]float64{4, 1.3}, [2]float64{1.3, 1.3},
			[2]float64{1.3, 4}, [2]float64{-1.3, 4}, [2]float64{-1.3, 1.3}, [2]float64{-4, 1.3}, [2]float64{-4, -1.3}, [2]float64{-1.3, -1.3})
	default:
		poly([2]float64{0, 4}, [2]float64{4, -3}, [2]float64{-4, -3})
	}
	c.Fill(p)
}

// A rects is a path of many rectangles, so that what has one look is one element.
type rects struct{ p vg.Path }

func (r *rects) add(c *canvas, x, y, w, h float64) {
	r.p.Move(c.pt(x, y))
	r.p.Line(c.pt(x+w, y))
	r.p.Line(c.pt(x+w, y+h))
	r.p.Line(c.pt(x, y+h))
	r.p.Close()
}

func (r *rects) fill(c *canvas, class string) {
	if len(r.p) > 0 {
		c.SetColor(ink(class))
		c.Fill(r.p)
	}
}

// ring is an open mark: of what did not come.
func (c *canvas) ring(look string, x, y float64) {
	var p vg.Path
	p.Arc(c.pt(x, y), 3.2, 0, 2*math.Pi)
	c.SetColor(ink("open s" + look))
	c.SetLineWidth(1)
	c.Stroke(p)
}

// diamond marks a moment.
func (c *canvas) diamond(class string, x, y float64) {
	var p vg.Path
	for i, q := range [][2]float64{{0, -5}, {5, 0}, {0, 5}, {-5, 0}} {
		if i == 0 {
			p.Move(c.pt(x+q[0], y+q[1]))
		} else {
			p.Line(c.pt(x+q[0], y+q[1]))
		}
	}
	p.Close()
	c.SetColor(ink(class))
	c.Fill(p)
}

// A panel is a plot on a part of a canvas.
type panel struct {
	*plot.Plot
	c    draw.Canvas
	x, y func(float64) vg.Length
}

// panel opens a plot between two corners. Its ranges must be finite, and positive for a log scale.
func (c *canvas) panel(x0, y0, x1, y1 float64, p *plot.Plot) *panel {
	q := &panel{Plot: p, c: draw.Canvas{Canvas: c, Rectangle: vg.Rectangle{Min: c.pt(x0, y1), Max: c.pt(x1, y0)}}}
	q.x, q.y = p.Transforms(&q.c)
	return q
}

// px and py are where a value lies, from the upper left.
func (p *panel) px(v float64) float64 { return float64(p.x(v)) }

func (p *panel) py(v float64) float64 {
	_, h := p.c.Canvas.(*canvas).Size()
	return float64(h - p.y(v))
}

// spread moves labels apart, in their order, so that none is nearer to the next than gap.
func apart(ys []float64, gap, lo, hi float64) []float64 {
	out := append([]float64(nil), ys...)
	order := make([]int, len(ys))
	for i := range order {
		order[i] = i
	}
	for i := 1; i < len(order); i++ {
		for k := i; k > 0 && out[order[k]] < out[order[k-1]]; k-- {
			order[k], order[k-1] = order[k-1], order[k]
		}
	}
	for range 3 {
		for i := 1; i < len(order); i++ {
			a, b := order[i-1], order[i]
			if d := gap - (out[b] - out[a]); d > 0 {
				out[a] -= d / 2
				out[b] += d / 2
			}
		}
	}
	for i, k := range order {
		floor := lo
		if i > 0 {
			floor = out[order[i-1]] + gap
		}
		out[k] = max(out[k], floor)
	}
	for i := len(order) - 1; i >= 0; i-- {
		ceil := hi
		if i < len(order)-1 {
			ceil = out[order[i+1]] - gap
		}
		out[order[i]] = min(out[order[i]], ceil)
	}
	return out
}

// timeTicks are 1-2-5 steps over a log axis, for seconds. A tick without a label is minor.
func timeTicks(lo, hi float64) []plot.Tick {
	wide := math.Log10(hi/lo) > 2.5
	var out []plot.Tick
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < lo*0.999 || v > hi*1.001 {
				continue
			}
			label := ""
			if m == 1 || !wide && (m == 2 || m == 5) {
				label = seconds(round3(v))
			}
			out = append(out, plot.Tick{Value: v, Label: label})
		}
	}
	return out
}

// niceStep is a step of 1, 2 or 5 that gives at most n steps.
func niceStep(length float64, n int) float64 {
	if !(length > 0) {
		return 1
	}
	raw := length / float64(n)
	base := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*base >= raw*0.999 {
			return m * base
		}
	}
	return 10 * base
}
