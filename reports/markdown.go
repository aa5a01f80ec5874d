package reports

import (
	"bytes"
	"fmt"
	"io"
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
	if s.closed() {
		m.para("**" + inline(ClosedNote) + "**")
	}
	m.list(s.moreReasons())
	m.table("### Objectives", s.objectives, len(s.run.Objectives) > 0)
	if s.searches() {
		m.table("### Capacity", s.capacity, len(s.capacity.rows) > 0)
		if f := s.makeScaled(); f != nil {
			m.para(inline(f.finding() + " " + f.law()))
		}
	} else {
		m.table("### Arms", s.overview, len(s.overview.rows) > 0)
	}
	m.table("### Faults and events", s.events, len(s.events.rows) > 0)
	m.list(s.faultLines())
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
	var b strings.Builder
	b.WriteString("\n" + title + "\n\n")
	align := make([]string, len(t.head))
	names := make([]string, len(t.head))
	for i, c := range t.head {
		names[i] = inline(c.text)
		align[i] = ":---"
		if c.num {
			align[i] = "---:"
		}
	}
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(names)
	line(align)
	for _, r := range t.rows {
		cells := make([]string, len(t.head))
		if r.group != "" {
			cells[0] = "**" + inline(r.group) + "**"
			line(cells)
			continue
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
		line(cells)
	}
	m.put(b.String())
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
