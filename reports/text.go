package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/clipperhouse/displaywidth"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// TextOptions say how wide a terminal is and what it can show.
type TextOptions struct {
	Width int    // columns; 0: 80
	Color bool   // the caller honours NO_COLOR and what is no terminal
	Path  string // of the HTML report, printed as the last line; "" prints none
}

// Text writes the verdict, the objectives and the arms for a terminal, at most Width columns wide.
func Text(w io.Writer, r *tutti.Result, o TextOptions) error {
	s := newSheet(r)
	t := newTerminal(o)
	t.headline(s)
	for _, l := range wrap(flat(s.sentenceText()), t.width) {
		t.line(l)
	}
	t.line("")
	for _, note := range s.notes() {
		for _, l := range wrap(flat(note), t.width) {
			t.line(l)
		}
		t.line("")
	}
	t.reasons(s)
	if len(s.run.Objectives) > 0 {
		if err := t.objectives(s); err != nil {
			return fmt.Errorf("drawing the objectives' table: %w", err)
		}
	}
	draw := t.arms
	if s.searches() {
		draw = t.capacities
	}
	if err := draw(s); err != nil {
		return fmt.Errorf("drawing the arms' table: %w", err)
	}
	t.faults(s)
	t.writes(s)
	t.generator(s)
	if line := s.exampleLine(); line != "" {
		for _, l := range wrap(flat(line), t.width-3) {
			t.line(" " + l)
		}
	}
	t.looks(s.run)
	t.foot(s, o.Path)
	_, err := w.Write(t.b.Bytes())
	return err
}

// Columns: below the least, lines are wrapped by the terminal; below those of a table, what is one elsewhere becomes a list.
const (
	leastWidth = 32
	tableWidth = 60
)

// A terminal collects lines. What it is given is text: it steers nothing.
type terminal struct {
	b     bytes.Buffer
	width int
	color bool
}

func newTerminal(o TextOptions) *terminal {
	t := &terminal{width: o.Width, color: o.Color}
	if t.width == 0 {
		t.width = 80
	}
	t.width = min(max(t.width, leastWidth), 120)
	return t
}

func (t *terminal) line(s string) {
	t.b.WriteString(strings.TrimRightFunc(s, unicode.IsSpace))
	t.b.WriteByte('\n')
}

// item writes a text that may take several lines: one thing before the first, another before the rest.
func (t *terminal) item(first, rest, s string) {
	for i, l := range wrap(flat(s), t.width-max(display(first), display(rest))) {
		if i == 0 {
			t.line(first + l)
			continue
		}
		t.line(rest + l)
	}
}

// head is a table's head.
func (t *terminal) head(s string) { t.line(t.paint(strings.TrimRight(s, " "), dim)) }

// SGR codes: bold, dim, and the colours of verdicts.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (t *terminal) paint(s, sgr string) string { return paint(s, sgr, t.color) }

func paint(s, sgr string, color bool) string {
	if !color || sgr == "" || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func verdictColor(v rundir.Verdict) string {
	switch v {
	case rundir.Pass:
		return green
	case rundir.Fail, rundir.Errored:
		return red
	case rundir.Inconclusive:
		return yellow
	case rundir.Invalid, rundir.Interrupted:
	}
	return bold
}

func (t *terminal) headline(s *sheet) {
	v := s.run.Verdict
	t.line(t.paint(verdictMark(v)+" "+strings.ToUpper(verdictWord(v)), bold+";"+verdictColor(v)) + "  " + t.paint(cut(flat(s.run.Name), t.width-20), bold))
	t.line("")
}

// reasons lists what a run without a judgement stumbled over, beyond the one in the sentence.
func (t *terminal) reasons(s *sheet) {
	const most = 5
	all := s.moreReasons()
	if len(all) == 0 {
		return // the sentence has it
	}
	for i, reason := range all {
		if i == most {
			t.line(fmt.Sprintf(" … and %d more", len(all)-most))
			break
		}
		t.item(" · ", "   ", reason)
	}
	t.line("")
}

// objectives draws the table; an objective's note stands below its row.
func (t *terminal) objectives(s *sheet) error {
	if t.width < tableWidth {
		t.objectiveList(s)
		return nil
	}
	rows := [][]string{{"VERDICT", "OBJECTIVE", "FOUND", "95 % INTERVAL"}}
	for _, r := range s.objectives.rows {
		c := r.cells
		rows = append(rows, []string{flat(c[0].plain()), flat(c[1].text), flat(c[2].text), flat(c[3].text)})
	}
	room := t.width - 1 - 3*2
	for _, i := range []int{0, 2, 3} {
		room -= widest(rows, i)
	}
	below := make([][]string, len(rows)) // what of an objective has no room in its line
	for i, r := range rows {
		parts := splitCheck(r[1], max(room, 10))
		r[1], below[i] = parts[0], parts[1:]
	}
	lines, err := grid(rows, []tw.Align{tw.AlignLeft, tw.AlignLeft, tw.AlignRight, tw.AlignRight})
	if err != nil {
		return err
	}
	t.head(lines[0])
	indent := strings.Repeat(" ", 3+widest(rows, 0))
	for i, r := range s.objectives.rows {
		mark := flat(r.cells[0].plain())
		line := lines[i+1]
		if at := strings.Index(line, mark); at >= 0 {
			line = line[:at] + t.paint(mark, verdictColor(r.cells[0].verdict)) + line[at+len(mark):]
		}
		t.line(line)
		for _, l := range below[i+1] {
			t.line(indent + "  " + flat(l))
		}
		for _, l := range wrap(flat(r.note), t.width-len(indent)) {
			if l != "" {
				t.line(indent + t.paint(l, dim))
			}
		}
	}
	t.line("")
	return nil
}

// objectiveList is the table on a narrow terminal.
func (t *terminal) objectiveList(s *sheet) {
	for _, r := range s.objectives.rows {
		c := r.cells
		mark := flat(c[0].plain())
		for i, l := range wrap(flat(c[1].text), t.width-2-display(mark)) {
			if i == 0 {
				t.line(" " + t.paint(mark, verdictColor(c[0].verdict)) + " " + l)
				continue
			}
			t.line(strings.Repeat(" ", 2+display(mark)) + l)
		}
		found := "found " + flat(c[2].text)
		if iv := flat(c[3].text); iv != "" {
			found += " (" + iv + ")"
		}
		t.indented(found, "")
		t.indented(flat(r.note), dim)
	}
	t.line("")
}

// indented writes a text below what it is about.
func (t *terminal) indented(s, sgr string) {
	if s == "" {
		return
	}
	for _, l := range wrap(s, t.width-3) {
		t.line("   " + t.paint(l, sgr))
	}
}

// rowList writes rows of a table on a narrow terminal: the row's name, then a line for each column, or what there is of it.
func (t *terminal) rowList(of table, from int) {
	for _, r := range of.rows {
		t.line(" " + cut(flat(r.cells[0].plain()), t.width-1))
		for i, c := range r.cells[from:] {
			if text := flat(c.plain()); text != "" {
				t.indented(flat(of.head[from+i].text)+"  "+text, "")
			}
		}
		t.indented(flat(r.note), dim)
	}
	t.line("")
}

// splitCheck breaks an objective that is too long before its operator, else at spaces.
func splitCheck(s string, width int) []string {
	if display(s) <= width {
		return []string{s}
	}
	for _, op := range []string{" <= ", " >= ", " == ", " != ", " < ", " > "} {
		if l, r, ok := strings.Cut(s, op); ok {
			return append(wrap(l, width), wrap(strings.TrimSpace(op)+nb+r, width)...)
		}
	}
	return wrap(s, width)
}

// arms draws the overview, two arms beside each other where there is room.
func (t *terminal) arms(s *sheet) error {
	if len(s.overview.rows) == 0 {
		return nil
	}
	if t.width < tableWidth {
		t.rowList(s.overview, 1)
		return nil
	}
	beside := 2
	if t.width < 74 {
		beside = 1
	}
	for from := 0; from < len(s.arms); from += beside {
		to := min(from+beside, len(s.arms))
		head := []string{""}
		align := []tw.Align{tw.AlignLeft}
		for _, a := range s.arms[from:to] {
			head = append(head, cut(strings.ToUpper(flat(a.Name)), 14), "")
			align = append(align, tw.AlignRight, tw.AlignRight)
		}
		rows := [][]string{head}
		for _, r := range s.overview.rows {
			line := []string{cut(flat(r.cells[0].text), 28)}
			for _, c := range r.cells[1+from : 1+to] {
				line = append(line, flat(c.text), flat(c.iv))
			}
			rows = append(rows, line)
		}
		lines, err := grid(rows, align)
		if err != nil {
			return err
		}
		t.head(lines[0])
		for _, l := range lines[1:] {
			t.line(l)
		}
		t.line("")
	}
	return nil
}

// capacities are the arms of a search below each other.
func (t *terminal) capacities(s *sheet) error {
	if len(s.capacity.rows) == 0 {
		return nil
	}
	if t.width < tableWidth {
		t.rowList(s.capacity, 1)
		return nil
	}
	rows := [][]string{{"ARM", "NODES", "CAPACITY, /S", "95 % INTERVAL", "EFFICIENCY"}}
	for _, r := range s.capacity.rows {
		c := r.cells
		rows = append(rows, []string{cut(flat(c[0].text), 28), flat(c[1].text), flat(c[2].text), flat(c[2].iv), flat(c[3].text)})
	}
	lines, err := grid(rows, []tw.Align{tw.AlignLeft, tw.AlignRight, tw.AlignRight, tw.AlignRight, tw.AlignRight})
	if err != nil {
		return err
	}
	t.head(lines[0])
	for i, l := range lines[1:] {
		t.line(l)
		for _, n := range wrap(flat(s.capacity.rows[i].note), t.width-3) {
			if n != "" {
				t.line("   " + t.paint(n, dim))
			}
		}
	}
	t.line("")
	return nil
}

// faults lists what of the faults is worth a line: what they delivered, and what did not go as planned.
func (t *terminal) faults(s *sheet) {
	t.listed(" FAULTS", s.faultLines(), 8)
}

// listed writes the first most of some lines under a head, and nothing where there are none.
func (t *terminal) listed(head string, lines []string, most int) {
	if len(lines) == 0 {
		return
	}
	t.head(head)
	for i, line := range lines {
		if i == most {
			t.line(fmt.Sprintf(" … and %d more", len(lines)-most))
			break
		}
		t.item(" ", "   ", line)
	}
	t.line("")
}

func (t *terminal) foot(s *sheet, path string) {
	exit := fmt.Sprintf("exit %d", s.run.ExitCode)
	if path == "" {
		t.line(strings.Repeat(" ", max(t.width-len(exit), 0)) + exit)
		return
	}
	p := " " + flat(path)
	if gap := t.width - display(p) - len(exit); gap > 0 {
		t.line(p + strings.Repeat(" ", gap) + exit)
		return
	}
	t.line(p) // a path that is cut is no path
	t.line(strings.Repeat(" ", max(t.width-len(exit), 0)) + exit)
}

// grid sets rows into columns: no borders, two spaces apart, one line a row.
func grid(rows [][]string, align []tw.Align) ([]string, error) {
	var b bytes.Buffer
	pad := tw.CellPadding{Global: tw.Padding{Left: " ", Right: " ", Overwrite: true}}
	t := tablewriter.NewTable(
		&b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{
				Separators: tw.SeparatorsNone, Lines: tw.LinesNone,
			},
		})),
		tablewriter.WithConfig(tablewriter.Config{Row: tw.CellConfig{
			Padding: pad, Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
			Alignment: tw.CellAlignment{PerColumn: align},
		}}),
		tablewriter.WithEastAsian(tw.Off),
		tablewriter.WithTrimSpace(tw.Off),
	)
	for _, r := range rows {
		if err := t.Append(r); err != nil {
			return nil, err
		}
	}
	if err := t.Render(); err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) != len(rows) {
		return nil, fmt.Errorf("%d rows became %d lines", len(rows), len(lines))
	}
	return lines, nil
}

// flat makes one line of plain text: what would steer is shown, no-break spaces are spaces.
func flat(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(visible(s), nb, " ")), " ")
}

// display is a text's width in columns, ambiguous characters one wide.
func display(s string) int { return displaywidth.Options{}.String(s) }

func widest(rows [][]string, column int) int {
	w := 0
	for _, r := range rows {
		w = max(w, display(r[column]))
	}
	return w
}

// cut shortens a text to so many columns.
func cut(s string, width int) string {
	if display(s) <= width {
		return s
	}
	rs := []rune(s)
	for len(rs) > 0 && display(string(rs)) > width-1 {
		rs = rs[:len(rs)-1]
	}
	return strings.TrimRight(string(rs), " ") + "…"
}

// wrap breaks a text at spaces, never within a number and its unit.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words(s) {
		switch {
		case line == "":
			line = word
		case display(line)+1+display(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		for display(line) > width {
			head := []rune(line)
			n := len(head)
			for display(string(head[:n])) > width {
				n--
			}
			lines = append(lines, string(head[:n]))
			line = string(head[n:])
		}
	}
	return append(lines, line)
}

// words splits at spaces, but keeps units with their numbers and ends of intervals together.
func words(s string) []string {
	var out []string
	for _, f := range strings.Fields(s) {
		n := len(out)
		glue := n > 0 && (slices.Contains([]string{"%", "s", "ms", "µs", "/s", "points"}, strings.TrimRight(f, ".,;):")) ||
			strings.HasSuffix(out[n-1], "×") || strings.HasSuffix(out[n-1], "≥") || strings.HasSuffix(out[n-1], "≤"))
		if glue {
			out[n-1] += " " + f
			continue
		}
		out = append(out, f)
	}
	return out
}
