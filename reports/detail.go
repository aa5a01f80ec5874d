package reports

import (
	"fmt"
	"math"
)

// maxPage bounds a page: one that is larger opens slowly, and is refused as an attachment.
const maxPage = 2_000_000

// A detail is how much a page shows and carries of what grows with the run.
type detail struct {
	arms   int // that figures draw
	rows   int // of tables with a row for each trial
	times  int // rows of tables with a row for each second, or for some
	blocks int // whose trials have marks in figures 5 and 10
	data   int // bytes of what the data holds of trials
}

// detailLevels are tried one after the other until the page is small enough. The last one is so whatever the number of requests and
// blocks, with ten kilobytes for an arm's rows in tables, unless names are long.
var detailLevels = []detail{
	{arms: math.MaxInt, rows: 200, times: maxPoints, blocks: 100, data: 800_000},
	{arms: 9, rows: 100, times: 100, blocks: 50, data: 500_000},
	{arms: looks, rows: 50, times: 50, blocks: 25, data: 300_000},
	{arms: 2, rows: 20, times: 20, blocks: 10},
}

// inFigures are the arms that figures draw: where there is no room for all, the one that the report is about, the baseline, and the first others.
func (s *sheet) inFigures() []*arm {
	room := s.detail.arms
	if len(s.arms) <= room {
		return s.arms
	}
	for _, a := range []*arm{s.subject, s.baseline} {
		if a != nil {
			room--
		}
	}
	if s.subject == s.baseline && s.subject != nil {
		room++
	}
	var out []*arm
	for _, a := range s.arms {
		switch {
		case a == s.subject, a == s.baseline:
			out = append(out, a)
		case room > 0:
			room--
			out = append(out, a)
		}
	}
	return out
}

// undrawn says that figures leave arms out, if they do.
func (s *sheet) undrawn() string {
	if n := len(s.inFigures()); n < len(s.arms) {
		return fmt.Sprintf(" Of %d arms %d are drawn; tables that are no figure’s have them all.", len(s.arms), n)
	}
	return ""
}

// every is how many blocks there are for one whose trials have marks in figures 5 and 10.
func (s *sheet) every() int {
	last := 0
	for _, t := range s.run.Trials {
		last = max(last, t.Block)
	}
	return max(1, (last+s.detail.blocks-1)/s.detail.blocks)
}

// bounded is a table's beginning, and where the rest of its rows is.
func bounded(t table, most int, rest string) table {
	if more := len(t.rows) - most; more > 0 {
		t.rows = t.rows[:most:most]
		t.group(fmt.Sprintf("and %s more; %s has all of them", count(uint64(more)), rest))
	}
	return t
}

// byTrial is the beginning of a table with a row for each trial.
func (s *sheet) byTrial(t table) table { return bounded(t, s.detail.rows, "run.json") }

// ofFigure is the beginning of the table behind a figure.
func (s *sheet) ofFigure(n int, t table) table {
	switch n {
	case 1, 7, 9:
		return bounded(t, s.detail.times, "the data in this page")
	case 10:
		return s.byTrial(t)
	}
	return t
}

// left says what a figure leaves out.
func (s *sheet) left(n int) string {
	out := ""
	if k := s.every(); k > 1 && (n == 5 || n == 10) {
		out = fmt.Sprintf(" Of the blocks one in %d is drawn.", k)
	}
	if n != 4 && n != 11 { // of two arms, and of all sizes
		out += s.undrawn()
	}
	return out
}
