package reports

import (
	"fmt"
	"regexp"
	"strings"
)

// A chart is one figure: what it finds, how it is read, its drawings and the table behind it.
type chart struct {
	n       int    // its number, the same in every report
	name    string // of its files
	title   string // of its drawings
	half    bool   // it takes less than the page's width
	finding string // in numbers
	what    string // how to read it
	alt     string // what it shows, for who cannot see it
	draw    func(narrow bool) *canvas
	table   func() table
	more    func() string // what follows the table
}

// charts are all figures that a report can have, by number; one that a run does not have is nil when made.
func (s *sheet) charts() []func() *chart {
	return []func() *chart{
		s.timelineChart, s.answeredChart, s.worstChart, s.versusChart, s.momentsChart, s.heatChart, s.trafficChart, s.spectrumChart, s.flowChart,
		s.orderChart, s.scalingChart,
	}
}

// figure draws, and says so when it could not: a picture never decides anything.
func figure(draw func() string) (out string) {
	defer func() {
		if err := recover(); err != nil {
			out = `<p class="broke">This figure could not be drawn (` + esc(fmt.Sprint(err)) + `). The numbers and the verdict do not depend on it.</p>`
		}
	}()
	return draw()
}

var intervals = regexp.MustCompile(`\([^()]*–[^()]*\)`)

// together is text in which an interval is not broken, neither at its dash nor beside it.
func together(s string) string {
	return intervals.ReplaceAllString(esc(s), `<span class="nw">$0</span>`)
}

// chartHTML is a figure with its caption, two drawings and the table; nothing if the run has no such figure.
func (s *sheet) chartHTML(n int, from func() *chart) string {
	var k *chart
	body := figure(func() string {
		if k = from(); k == nil {
			return ""
		}
		return k.draw(false).svg("wid", fmt.Sprintf("f%dw", n), k.title, k.alt) + k.draw(true).svg("nar", fmt.Sprintf("f%dn", n), k.title, k.alt)
	})
	if body == "" {
		return ""
	}
	var b strings.Builder
	class := ""
	if k != nil && k.half {
		class = ` class="half"`
	}
	fmt.Fprintf(&b, `<figure id="f%d"%s><figcaption><span class="fn">Figure %d</span>`, n, class, n)
	if k != nil {
		b.WriteString("<strong>" + together(k.finding) + `</strong><span class="what">` + esc(k.what+s.left(n)) + "</span>")
	}
	b.WriteString("</figcaption>" + body + "\n")
	if k != nil {
		b.WriteString(figure(func() string {
			return details(fmt.Sprintf("Table behind figure %d", n), tableHTML(s.ofFigure(n, k.table())))
		}))
		if k.more != nil {
			b.WriteString(figure(k.more))
		}
	}
	b.WriteString("</figure>\n")
	return b.String()
}

// pairHTML sets two figures side by side where there is room.
func pairHTML(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return `<div class="pair">` + strings.ReplaceAll(a+b, ` class="half"`, "") + "</div>\n"
}
