package analysis

import (
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Unlagged returns the same trial as if the generator had been punctual: response
// times less its own lag, and the bad requests of which its lag took more than a tenth of the timeout
// ([record.Bin.Excused]) counted as good, answered when they were given up. A verdict that differs between the two
// is owed to the generator.
//
// Which of a bin's bad requests are the excused ones is not recorded: timeouts are taken first.
func (t *Trial) Unlagged() *Trial {
	r := *t.Rec
	r.Bins = make([]record.Bin, len(t.Rec.Bins))
	for i := range t.Rec.Bins {
		r.Bins[i] = unlagged(t.Rec.Bins[i])
	}
	u := Of(&r)
	u.Health = t.Health
	return u
}

func unlagged(b record.Bin) record.Bin {
	cells := slices.Clone(b.Cells)
	for i := range cells {
		if cells[i].Unlagged != nil {
			cells[i].Response = cells[i].Unlagged
		}
	}
	var saved []record.Cell
	left := min(b.Excused, b.Due-b.Good)
	b.Excused = 0
	for _, class := range excusable() {
		for i := 0; i < len(cells) && left > 0; i++ {
			c := &cells[i]
			if c.Class != class || c.Count == 0 {
				continue
			}
			n := min(left, c.Count)
			left -= n
			b.Good += n
			saved = append(saved, excuse(c, n))
			stretchGood(&b, c)
		}
	}
	kept := make([]record.Cell, 0, len(cells)+len(saved))
	for _, c := range append(cells, saved...) {
		if c.Count > 0 {
			kept = append(kept, c)
		}
	}
	b.Cells = kept
	return b
}

// excusable lists the bad classes that are not the generator's own, timeouts first.
func excusable() []record.Class {
	classes := []record.Class{record.Timeout}
	for _, c := range record.Classes() {
		if !c.Good() && !c.Own() && c != record.Timeout {
			classes = append(classes, c)
		}
	}
	return classes
}

// excuse moves n requests out of a bad cell into a good one, with the mean response time of
// the cell. Where none of them went out nothing is known of what the target would have taken: then it is none.
func excuse(c *record.Cell, n uint64) record.Cell {
	good := *c
	good.Class, good.Count = record.OK, n
	good.Response, good.Unlagged, good.Service = new(record.Hist), nil, nil
	took := time.Duration(0)
	if sent := c.Response.Total(); sent > 0 {
		took = c.Response.Sum() / time.Duration(sent)
	}
	good.Response.AddN(took, n)
	c.Count -= n
	return good
}

// stretchGood widens the bin's good due times by those of a cell.
func stretchGood(b *record.Bin, c *record.Cell) {
	if b.GoodFirst == record.None {
		b.GoodFirst, b.GoodLast, b.GoodGap = c.First, c.Last, c.Last-c.First
		return
	}
	b.GoodFirst, b.GoodLast = min(b.GoodFirst, c.First), max(b.GoodLast, c.Last)
}
