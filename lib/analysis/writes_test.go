package analysis_test

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
)

// What was found is a number; what nobody could look for is none.
func TestWrites(t *testing.T) {
	for _, c := range []struct {
		name                                   string
		writes                                 []record.Writes
		lost, acknowledged, uncertain, doubled analysis.Value
	}{
		{"nothing verified", nil, none, none, none, none},
		{"all there", []record.Writes{{Acknowledged: 9, Kept: 9, Uncertain: 2}}, num(0), num(9), num(2), num(0)},
		{"lost", []record.Writes{{Acknowledged: 9, Kept: 6, Lost: 3, Duplicated: 1}}, num(3), num(9), num(0), num(1)},
		{"unread", []record.Writes{{Acknowledged: 9, Kept: 8, Unread: 1, Within: time.Second}}, none, num(9), num(0), none},
		{"lost and unread", []record.Writes{{Acknowledged: 9, Kept: 6, Lost: 2, Unread: 1, Duplicated: 4}}, censored(2), num(9), num(0), censored(4)},
		{"none acknowledged", []record.Writes{{Uncertain: 5}}, none, num(0), num(5), none},
		{"nobody there", []record.Writes{{Acknowledged: 9, Unread: 9, Problem: "it is down"}}, none, num(9), num(0), none},
		{"two requests", []record.Writes{{Of: "a", Acknowledged: 9, Kept: 8, Lost: 1}, {Of: "b", Acknowledged: 5, Kept: 3, Lost: 2}}, num(3), num(14), num(0), num(0)},
		{"of one nothing is known", []record.Writes{{Of: "a", Acknowledged: 9, Kept: 9}, {Of: "b", Acknowledged: 5, Unread: 5, Problem: "x"}}, none, num(14), num(0), none},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := analysistest.Trial{}.Recording()
			rec.Writes = c.writes
			tr := analysis.Of(rec)
			for metric, want := range map[string]analysis.Value{
				"lost_writes": c.lost, "acknowledged_writes": c.acknowledged, "uncertain_writes": c.uncertain, "duplicated_writes": c.doubled,
			} {
				check(t, tr, of(metric), want)
				check(t, tr.Unlagged(), of(metric), want)
			}
		})
	}
	for _, c := range []struct {
		name                string
		keys                []*record.Registers
		stale, linearizable analysis.Value
	}{
		{"none judged", []*record.Registers{nil}, none, none},
		{"in order", []*record.Registers{{Keys: 4, Reads: 9, Linearizable: 4}}, num(0), num(1)},
		{"two are not", []*record.Registers{{Keys: 4, Reads: 9, Linearizable: 2, Violated: 2, Stale: 3}}, num(3), num(0.5)},
		{"one is unknown", []*record.Registers{{Keys: 4, Reads: 9, Linearizable: 2, Violated: 1, Unknown: 1, Stale: 3}}, num(3), none},
		{"never read", []*record.Registers{{Keys: 4, Linearizable: 4}}, none, none},
		{"two requests", []*record.Registers{{Keys: 4, Reads: 9, Linearizable: 4}, nil, {Keys: 4, Reads: 1, Linearizable: 3, Violated: 1, Stale: 1}}, num(1), num(0.875)},
	} {
		rec := analysistest.Trial{}.Recording()
		for _, k := range c.keys {
			rec.Writes = append(rec.Writes, record.Writes{Of: "w", Acknowledged: 1, Kept: 1, Registers: k})
		}
		check(t, analysis.Of(rec), of("stale_reads"), c.stale)
		check(t, analysis.Of(rec), of("linearizable"), c.linearizable)
	}
	rec := analysistest.Trial{}.Recording()
	rec.Writes = []record.Writes{
		{Of: "a", Acknowledged: 9, Kept: 8, Lost: 1, First: 7 * sec, Last: 9 * sec}, {Of: "b", Acknowledged: 5, Kept: 3, Lost: 2, First: 3 * sec, Last: 4 * sec},
	}
	tr := analysis.Of(rec)
	check(t, tr, analysis.Ref{Metric: "lost_writes", Request: "b"}, num(2))
	check(t, tr, analysis.Ref{Metric: "lost_writes", Request: "c"}, none)
	check(t, tr, in(analysis.During, "lost_writes"), none)
	if w, ok := tr.Writes(""); !ok || w.First != 3*sec || w.Last != 9*sec || w.Lost != 3 {
		t.Errorf("%+v", w)
	}
}
