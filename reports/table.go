package reports

import "github.com/tutti-bench/tutti/lib/rundir"

// A table is what every format draws its numbers from.
type table struct {
	id      string // of the caption, unique in a report
	class   string // of the page's style
	caption string
	head    []column
	rows    []row
}

// A column is a head's cell. The first column names its rows.
type column struct {
	text string
	arm  *arm // the column is about this arm
	num  bool // set to the right
}

// A row is a row of cells, or a group's head if it has a group.
type row struct {
	group string
	cells []cell
	note  string // stands below the row's name
	total bool   // sums the rows above
}

// A cell is one cell. Empty fields are not drawn.
type cell struct {
	text    string
	iv      string // the interval beside it
	code    bool
	strong  bool
	quiet   bool // it says nothing much: a zero, "no data"
	verdict rundir.Verdict
	word    string // instead of the verdict's own word
	arm     *arm
	line    int // of the scenario
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, row{cells: cells}) }

func (t *table) group(name string) { t.rows = append(t.rows, row{group: name}) }

func text(s string) cell   { return cell{text: s} }
func quiet(s string) cell  { return cell{text: s, quiet: true} }
func code(s string) cell   { return cell{text: s, code: true} }
func ofArm(a *arm) cell    { return cell{arm: a, text: a.Name} }
func left(s string) column { return column{text: s} }
func num(s string) column  { return column{text: s, num: true} }

// cell puts a reading into a column whose head has the unit already, if bare.
func (r reading) cell(bare bool) cell {
	c := cell{text: r.String(), iv: r.iv}
	if bare {
		c.text = r.num
	}
	c.quiet = r.state != "ok"
	return c
}

// plain is the cell's text in formats that know no more than text.
func (c cell) plain() string {
	t := c.text
	if c.verdict != "" {
		t = verdictMark(c.verdict) + nb + c.verdictWord()
	}
	if c.iv != "" {
		t += " (" + c.iv + ")"
	}
	return t
}

func (c cell) verdictWord() string {
	if c.word != "" {
		return c.word
	}
	return verdictWord(c.verdict)
}

// The second cues of a verdict, beside its colour.
func verdictMark(v rundir.Verdict) string {
	switch v {
	case rundir.Pass:
		return "✔"
	case rundir.Fail, rundir.Errored:
		return "✖"
	case rundir.Inconclusive:
		return "◇"
	case rundir.Invalid, rundir.Interrupted:
	}
	return "△"
}

func verdictWord(v rundir.Verdict) string {
	if v == "" {
		return "no verdict"
	}
	return string(v)
}
