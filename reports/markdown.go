package reports

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	tutti "github.com/tutti-bench/tutti/lib"
)

// maxMarkdown bounds a summary, so that it also fits a comment on a pull request.
const maxMarkdown = 60_000

// Markdown writes a summary for a job's page: at most 60 kB, and no markup that comes from a target.
func Markdown(w io.Writer, r *tutti.Result) error {
	s := newSheet(r)
	var m markdown
	v := s.run.Verdict
	m.para(fmt.Sprintf("## %s %s: %s", verdictMark(v), upper(verdictWord(v)), inline(s.run.Name)))
	m.para(m.sentence(s))
	for _, note := range s.notes() {
		m.para("**" + inline(note) + "**")
	}
	m.list(firstOf(s.moreReasons(), mostLines))
	m.table("### Objectives", s.objectives, len(s.run.Objectives) > 0)
	if lines := lookLines(s.run); len(lines) > 0 {
		m.para("What was seen at each look:")
		m.list(lines)
	}
	if s.searches() {
		m.table("### Capacity", s.capacity, len(s.capacity.rows) > 0)
		if f := s.makeScaled(); f != nil {
			m.para(inline(f.finding() + " " + f.law()))
		}
	} else {
		m.table("### Arms", s.overview, len(s.overview.rows) > 0)
	}
	m.strips(s)
	m.table("### Faults and events", s.events, len(s.events.rows) > 0)
	m.list(firstOf(s.faultLines(), mostLines))
	m.table("### Errors", s.errors, len(s.errors.rows) > 0 && !s.searches())
	m.table("### Writes, read back", s.writes, len(s.writes.rows) > 0)
	m.table("### Can this be trusted?", s.trust, true)
	m.table("### Trials", s.trials, len(s.trials.rows) > 0)
	m.para("### Provenance")
	var lines []string
	for _, e := range s.provenance {
		lines = append(lines, e.term+": "+strings.Join(e.values, "; "))
	}
	m.list(lines)
	_, err := w.Write(m.b.Bytes())
	return err
}

// A markdown collects sections as long as there is room.
type markdown struct {
	b    bytes.Buffer
	full bool
}

const cutNote = "\n*Cut here for its size; the HTML report has all of it.*\n"

// put appends a section whole, or the note that there was no room.
func (m *markdown) put(s string) {
	switch {
	case m.full:
	case m.b.Len()+len(s)+len(cutNote) > maxMarkdown:
		m.full = true
		m.b.WriteString(cutNote)
	default:
		m.b.WriteString(s)
	}
}

func (m *markdown) para(s string) {
	if m.b.Len() > 0 {
		s = "\n" + s
	}
	m.put(s + "\n")
}

// mostLines bounds lists that grow with the blocks: one that is put whole or not at all would leave no room for what follows.
const mostLines = 20

// firstOf is a list's beginning, and how many more there are.
func firstOf(items []string, most int) []string {
	if len(items) <= most {
		return items
	}
	return append(slices.Clone(items[:most]), fmt.Sprintf("and %d more", len(items)-most))
}

func (m *markdown) list(items []string) {
	if len(items) == 0 {
		return
	}
	var b strings.Builder
	b.WriteByte('\n')
	for _, i := range items {
		b.WriteString("- " + inline(i) + "\n")
	}
	m.put(b.String())
}

func (m *markdown) sentence(s *sheet) string {
	var b strings.Builder
	for _, p := range s.sentence {
		t := inline(p.text)
		if core := strings.TrimSpace(t); (p.strong || p.arm != nil) && core != "" {
			t = "**" + core + "**"
		}
		if p.code {
			t = "<code>" + t + "</code>"
		}
		b.WriteString(t)
	}
	return strings.TrimSpace(b.String())
}

func (m *markdown) table(title string, t table, any bool) {
	if !any {
		return
	}
	const room = 20_000 // for one table, so that no long one takes all of the page
	var b strings.Builder
	b.WriteString("\n" + title + "\n\n" + m.heads(t.head))
	for i, r := range t.rows {
		line := m.row(t, r)
		if more := len(t.rows) - i; b.Len()+len(line) > room || m.b.Len()+b.Len()+len(line)+2*len(cutNote) > maxMarkdown {
			fmt.Fprintf(&b, "\n*And %d more, which the HTML report has.*\n", more)
			break
		}
		b.WriteString(line)
	}
	m.put(b.String())
}

func (m *markdown) row(t table, r row) string {
	line := func(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }
	cells := make([]string, len(t.head))
	if r.group != "" {
		cells[0] = "**" + inline(r.group) + "**"
		return line(cells)
	}
	for i, c := range r.cells {
		if i < len(cells) {
			cells[i] = m.cell(c)
		}
	}
	if r.note != "" {
		at := 0
		if t.class == "obj" {
			at = 1
		}
		cells[at] += "<br>" + inline(r.note)
	}
	return line(cells)
}

// strips draws each arm's time in block characters: pictures are shown on no job's page.
func (m *markdown) strips(s *sheet) {
	all := s.makeStrips()
	if len(all) == 0 {
		return
	}
	head := []column{left("arm"), left("answered OK"), left("p99, all requests")}
	draw := func(parts ...string) string {
		var lines []string
		for i, p := range parts {
			switch {
			case p == "":
			case i < len(parts)-1:
				lines = append(lines, "<code>"+p+"</code>")
			default:
				lines = append(lines, inline(p))
			}
		}
		return strings.Join(lines, "<br>")
	}
	var rows []string
	for _, x := range all {
		low, times := "no data", "never"
		if !math.IsInf(x.lowest, 1) {
			low = percent(x.lowest) + " at the lowest"
		}
		if x.slowest > 0 {
			times = seconds(round3(x.fastest)) + " to " + seconds(round3(x.slowest))
			if x.never {
				times = seconds(round3(x.fastest)) + " to never (×)"
			}
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", inline(x.arm.Name), draw(x.avail, x.force, low), draw(x.p99, x.force, times)))
	}
	every := "second"
	if n := all[0].seconds; n > 1 {
		every = fmt.Sprintf("worst of %d seconds", n)
	}
	note := "One column for each " + every + ", the median over the trials."
	if all[0].force != "" {
		note += " Brackets: a fault in force, in the first trial."
	}
	m.put("\n### In time\n\n" + m.heads(head) + strings.Join(rows, "") + "\n" + note + "\n")
}

// heads are a table's first two lines.
func (m *markdown) heads(of []column) string {
	names, align := make([]string, len(of)), make([]string, len(of))
	for i, c := range of {
		names[i], align[i] = inline(c.text), ":---"
		if c.num {
			align[i] = "---:"
		}
	}
	return "| " + strings.Join(names, " | ") + " |\n| " + strings.Join(align, " | ") + " |\n"
}

func (m *markdown) cell(c cell) string {
	t := c.plain()
	switch {
	case c.verdict != "" || t == "":
		return inline(t)
	case c.code:
		return "<code>" + inline(t) + "</code>"
	case c.strong:
		return "**" + inline(t) + "**"
	}
	return inline(t)
}

// inline makes one line of text that no Markdown reader takes for markup. HTML
// entities are safer than backslashes here: they hold inside tables and code too.
func inline(s string) string {
	var b strings.Builder
	s = visible(s)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if strings.ContainsRune("&<>|*_`[]\\~#!@{}\"'$", r) || strings.HasPrefix(s, "://") || strings.HasPrefix(s, "www.") {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
