package reports_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/reports"
)

func drawnOf(t *testing.T, r *tutti.Result) []reports.Drawn {
	t.Helper()
	all, err := reports.Figures(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFigures: every figure of the page is there as files that stand alone, the same twice.
func TestFigures(t *testing.T) {
	r := crash(3)
	first, again := drawnOf(t, r), drawnOf(t, r)
	var names []string
	for i, d := range first {
		names = append(names, d.Name)
		if !bytes.Equal(d.SVG, again[i].SVG) || !bytes.Equal(d.PNG, again[i].PNG) {
			t.Errorf("%s: two drawings of one result differ", d.Name)
		}
		checkStandsAlone(t, d)
	}
	want := []string{
		"f1-timeline", "f2-answered", "f3-worst-window", "f4-effects", "f5-event-times", "f6-latency-heat", "f7-traffic", "f8-percentiles", "f9-flow", "f10-trust",
	}
	if !slices.Equal(names, want) {
		t.Errorf("figures %v, want %v", names, want)
	}
	if of := drawnOf(t, scaling()); len(of) != 1 || of[0].Name != "f11-capacity" {
		t.Errorf("a sweep has %d figures", len(of))
	}
	if of := drawnOf(t, errored()); len(of) != 0 {
		t.Errorf("a run without trials has %d figures", len(of))
	}
}

var (
	paint = regexp.MustCompile(`(?:fill|stroke)="([^"]*)"`)
	size  = regexp.MustCompile(`<svg [^>]*width="([0-9.]+)" height="([0-9.]+)"`)
)

// checkStandsAlone: XML, no class, no variable, every mark with a colour of its own, and as many pixels as it should have.
func checkStandsAlone(t *testing.T, d reports.Drawn) {
	t.Helper()
	svg := string(d.SVG)
	dec := xml.NewDecoder(bytes.NewReader(d.SVG))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s is no XML: %v", d.Name, err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		painted := false
		for _, a := range e.Attr {
			painted = painted || a.Name.Local == "fill" || a.Name.Local == "stroke"
			if a.Name.Local == "class" || a.Name.Local == "href" || strings.Contains(a.Value, "var(") {
				t.Errorf("%s: <%s %s=%q>", d.Name, e.Name.Local, a.Name.Local, a.Value)
			}
		}
		if shape := e.Name.Local; !painted && (shape == "path" || shape == "rect" || shape == "text") {
			t.Errorf("%s: a <%s> without a colour", d.Name, shape)
		}
	}
	for _, m := range paint.FindAllStringSubmatch(svg, -1) {
		if !regexp.MustCompile(`^(none|#[0-9a-f]{3}|#[0-9a-f]{6})$`).MatchString(m[1]) {
			t.Errorf("%s: the colour %q", d.Name, m[1])
		}
	}
	img, err := png.Decode(bytes.NewReader(d.PNG))
	if err != nil {
		t.Fatalf("%s: %v", d.Name, err)
	}
	wide := size.FindStringSubmatch(svg)
	if wide == nil || img.Bounds().Dx() < 700 {
		t.Fatalf("%s is %v pixels, drawn at %v", d.Name, img.Bounds(), wide)
	}
	colours := make(map[[3]uint32]bool)
	for y := 0; y < img.Bounds().Dy(); y += 3 {
		for x := 0; x < img.Bounds().Dx(); x += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r >> 12, g >> 12, b >> 12}] = true
		}
	}
	if len(colours) < 5 {
		t.Errorf("%s has %d colours", d.Name, len(colours))
	}
}

// TestFiguresHostile: names stay text in files, too.
func TestFiguresHostile(t *testing.T) {
	for _, d := range drawnOf(t, attacked()) {
		if bytes.Contains(d.SVG, []byte("<script")) || bytes.ContainsAny(d.SVG, "\x1b\x00") {
			t.Errorf("%s has what a target said as it is", d.Name)
		}
		checkStandsAlone(t, d)
	}
}

var placed = regexp.MustCompile(`<text[^>]* x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*)</text>`)

// checkApart: no label stands on another one of its column.
func checkApart(t *testing.T, d reports.Drawn) {
	t.Helper()
	columns := make(map[string][]float64)
	for _, m := range placed.FindAllStringSubmatch(string(d.SVG), -1) {
		var y float64
		if _, err := fmt.Sscan(m[2], &y); err != nil {
			t.Fatal(err)
		}
		columns[m[1]] = append(columns[m[1]], y)
	}
	for x, ys := range columns {
		slices.Sort(ys)
		for i := 1; i < len(ys); i++ {
			if ys[i]-ys[i-1] < 11 {
				t.Errorf("%s: at %s two labels stand at %v and %v", d.Name, x, ys[i-1], ys[i])
			}
		}
	}
}

var label = regexp.MustCompile(`<text[^>]* y="([0-9.]+)"[^>]*>([0-9.]+)\x{a0}(s|ms|µs)</text>`)

// TestManyArms: the row "never" of twenty arms leaves the times of figure 8 their room, and no labels stand on one another.
func TestManyArms(t *testing.T) {
	var recs []*record.Recording
	for i := range 20 {
		recs = append(recs, analysistest.Trial{Arm: fmt.Sprintf("arm-%d", i+1), Order: i + 1, For: 10 * time.Second, Latency: time.Duration(i+1) * 3 * time.Millisecond}.Recording())
	}
	found := false
	for _, d := range drawnOf(t, runOf(recs)) {
		checkApart(t, d)
		if d.Name != "f8-percentiles" {
			continue
		}
		found = true
		last, lastY, n := 0.0, math.Inf(1), 0
		for _, m := range label.FindAllStringSubmatch(string(d.SVG), -1) {
			v, y := parseSeconds(t, m[2]+"\u00a0"+m[3]), 0.0
			if _, err := fmt.Sscan(m[1], &y); err != nil {
				t.Fatal(err)
			}
			if v <= last || y >= lastY-20 {
				t.Errorf("%v s stands at %v, below it %v s at %v", v, y, last, lastY)
			}
			last, lastY, n = v, y, n+1
		}
		if n < 3 || lastY < 0 {
			t.Errorf("%d labels of times, the uppermost at %v", n, lastY)
		}
	}
	if !found {
		t.Error("there is no figure 8")
	}
}
