package reports

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgimg"

	tutti "github.com/tutti-bench/tutti/lib"
)

// A Drawn is one figure as files that stand alone: light, with the fonts' metrics of Liberation Sans.
type Drawn struct {
	Name     string // such as f3-worst-window
	SVG, PNG []byte
}

// Figures draws every figure that a run has, as the page shows it where there is room. One that cannot be drawn is left out, and the
// error says so.
func Figures(r *tutti.Result) ([]Drawn, error) {
	s := newSheet(r)
	style := readStyle(pageCSS)
	var out []Drawn
	var errs []error
	for _, from := range s.charts() {
		d, err := drawn(from, style)
		if err != nil {
			errs = append(errs, err)
		} else if d != nil {
			out = append(out, *d)
		}
	}
	return out, errors.Join(errs...)
}

func drawn(from func() *chart, style *styleSheet) (d *Drawn, err error) {
	name := "a figure"
	defer func() {
		if p := recover(); p != nil {
			d, err = nil, fmt.Errorf("drawing %s: %v", name, p)
		}
	}()
	k := from()
	if k == nil {
		return nil, nil //nolint:nilnil // the run has no such figure
	}
	name = fmt.Sprintf("f%d-%s", k.n, k.name)
	c := k.draw(false)
	picture, err := c.png(style)
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", name, err)
	}
	return &Drawn{Name: name, SVG: c.file(style, k), PNG: picture}, nil
}

const paper = "#ffffff"

// file is the drawing as a file of its own: attributes instead of classes, since not every program reads style sheets.
func (c *canvas) file(style *styleSheet, k *chart) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img" font-family="Liberation Sans, Arial, Helvetica, sans-serif">`,
		coord(c.w), coord(c.h), coord(c.w), coord(c.h))
	fmt.Fprintf(&b, `<title>%s</title><desc>%s</desc><rect width="100%%" height="100%%" fill="%s"/>`, esc(k.finding), esc(k.alt), paper)
	c.write(&b, func(m mark) string { return style.attributes(m.class, m.text != "") })
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// strokeLength bounds the points of a line that is stroked at once: the rasteriser's time grows with their square.
const strokeLength = 200

// png is the drawing in pixels, two for each of its own.
func (c *canvas) png(style *styleSheet) ([]byte, error) {
	white, _ := hex(paper, 1)
	img := vgimg.NewWith(vgimg.UseWH(vg.Length(c.w), vg.Length(c.h)), vgimg.UseDPI(144), vgimg.UseBackgroundColor(white))
	for _, m := range c.marks {
		look := style.of(m.class, m.text != "")
		opacity := 1.0
		if v, err := strconv.ParseFloat(look["opacity"], 64); err == nil {
			opacity = v
		}
		fill, filled := hex(look["fill"], opacity)
		if look["fill"] == "" {
			fill, filled = color.NRGBA{A: uint8(opacity * 255)}, true // as SVG has it
		}
		switch {
		case m.text != "":
			img.SetColor(fill)
			img.FillString(m.face, vg.Point{X: vg.Length(m.x), Y: vg.Length(c.h - m.y)}, m.text)
			continue
		case m.path == nil:
			m.path = c.corners(m.rect)
		}
		if filled {
			img.SetColor(fill)
			img.Fill(m.path)
		}
		if line, ok := hex(look["stroke"], opacity); ok {
			img.SetColor(line)
			img.SetLineWidth(vg.Length(number(look["stroke-width"], 1)))
			img.SetLineDash(dashes(look["stroke-dasharray"]), 0)
			for _, part := range pieces(m.path) {
				img.Stroke(part)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img.Image()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (c *canvas) corners(r [4]float64) vg.Path {
	var p rects
	p.add(c, r[0], r[1], r[2], r[3])
	return p.p
}

func number(s string, otherwise float64) float64 {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return v
	}
	return otherwise
}

func dashes(s string) []vg.Length {
	var out []vg.Length
	for _, f := range strings.Fields(s) {
		if v, err := strconv.ParseFloat(f, 64); err == nil {
			out = append(out, vg.Length(v))
		}
	}
	return out
}

// pieces cuts a long open line.
func pieces(p vg.Path) []vg.Path {
	for _, s := range p[1:] {
		if s.Type != vg.LineComp {
			return []vg.Path{p}
		}
	}
	var out []vg.Path
	for len(p) > strokeLength {
		out = append(out, p[:strokeLength])
		rest := append(vg.Path{{Type: vg.MoveComp, Pos: p[strokeLength-1].Pos}}, p[strokeLength:]...)
		p = rest
	}
	return append(out, p)
}
