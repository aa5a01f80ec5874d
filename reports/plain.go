package reports

import (
	"strings"

	"github.com/olekukonko/tablewriter/tw"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// plain draws a table whose columns need no more care than their alignment. The first one is cut where there is no room, a row's
// note stands below it, a group's name before its rows, and the caption before all.
func (t *terminal) plain(tab table) error {
	if len(tab.rows) == 0 {
		return nil
	}
	for _, l := range wrap(flat(tab.caption), t.width-1) {
		if l != "" {
			t.line(" " + l)
		}
	}
	rows, align := tab.lines()
	whole := t.fit(rows)
	lines, err := grid(rows, align)
	if err != nil {
		return err
	}
	t.head(lines[0])
	for i, r := range tab.rows {
		if r.group != "" {
			for _, l := range wrap(flat(r.group), t.width-1) {
				t.line(" " + t.paint(l, bold))
			}
			continue
		}
		t.line(t.marked(lines[i+1], r.cells))
		for _, note := range []string{whole[i+1], flat(r.note)} {
			if note == "" {
				continue
			}
			for _, l := range wrap(note, t.width-3) {
				t.line("   " + t.paint(l, dim))
			}
		}
	}
	t.line("")
	return nil
}

// lines are a table's head and rows as plain text, with the alignment of its columns. A group's line is empty.
func (tab *table) lines() (rows [][]string, align []tw.Align) {
	rows, align = [][]string{nil}, make([]tw.Align, len(tab.head))
	for i, c := range tab.head {
		rows[0] = append(rows[0], strings.ToUpper(flat(c.text)))
		if align[i] = tw.AlignLeft; c.num {
			align[i] = tw.AlignRight
		}
	}
	for _, r := range tab.rows {
		line := make([]string, len(tab.head))
		for i, c := range r.cells {
			line[i] = flat(c.plain())
		}
		rows = append(rows, line)
	}
	return rows, align
}

// fit cuts the first column to what room the others leave, and returns what it cut, by row.
func (t *terminal) fit(rows [][]string) (whole []string) {
	room := t.width - 1
	for i := 1; i < len(rows[0]); i++ {
		room -= widest(rows, i) + 2
	}
	room = max(room, 12)
	whole = make([]string, len(rows))
	for i := range rows {
		if i > 0 && display(rows[i][0]) > room {
			whole[i] = rows[i][0]
			rows[i][0] = cut(rows[i][0], room)
		}
	}
	return whole
}

// marked paints the verdicts of a line.
func (t *terminal) marked(line string, cells []cell) string {
	for _, c := range cells {
		if c.verdict == "" {
			continue
		}
		mark := flat(c.plain())
		if at := strings.Index(line, mark); at >= 0 {
			line = line[:at] + t.paint(mark, verdictColor(c.verdict)) + line[at+len(mark):]
		}
	}
	return line
}

// verdictCell is a verdict, with a word of its own if it has one.
func verdictCell(v rundir.Verdict, word string) cell { return cell{verdict: v, word: word} }
