package record_test

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Whoever has a copy of a bin keeps it as it was when its nodes are renamed.
func TestRenameLeavesCopies(t *testing.T) {
	cell := func(node string, took time.Duration) record.Cell {
		h := new(record.Hist)
		h.Add(took)
		return record.Cell{
			Node: node, Class: record.OK, Count: 1, Response: h, Statuses: []record.StatusCount{{Status: 200, Count: 1}}, Example: &record.Example{Seq: 1, Node: node},
		}
	}
	b := record.Bin{Cells: []record.Cell{cell("a", time.Second), cell("b", 2*time.Second), cell("c", 3*time.Second)}}
	before := b
	b.Rename(func(n string) string { return map[string]string{"a": "x", "b": "x", "c": "d"}[n] })
	if len(b.Cells) != 2 || b.Cells[1].Response.Total() != 2 || b.Cells[1].Statuses[0].Count != 2 {
		t.Errorf("renamed: %+v", b.Cells)
	}
	for i, name := range []string{"a", "b", "c"} {
		c := before.Cells[i]
		if c.Node != name || c.Example.Node != name || c.Response.Total() != 1 || c.Statuses[0].Count != 1 {
			t.Errorf("the copy's cell %d is now %+v of %d", i, c, c.Response.Total())
		}
	}
}
