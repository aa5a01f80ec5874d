package record_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Holds come back with the bins that are theirs, and the same recording gives the same bytes.
func TestHoldsOnDisk(t *testing.T) {
	bin := func(i int) record.Bin {
		return record.Bin{Index: i, Due: 1, Good: 1, GoodFirst: time.Duration(i) * record.Grid, GoodLast: time.Duration(i) * record.Grid}
	}
	r := &record.Recording{
		Header: record.Header{Arm: "app-1", Capacity: &record.Capacity{While: "p99 <= 1s", From: 1, To: 9, Hold: time.Second}},
		Holds: []record.Hold{
			{Rate: 1, For: time.Second, Answer: record.Met, P99: time.Millisecond, Bins: []record.Bin{bin(2), bin(-1), bin(0)}},
			{Rate: 2, For: time.Second, Answer: record.Unknown, P99: record.None, Why: "lag"},
			{Rate: 2, For: time.Second, Answer: record.Unmet, P99: record.None, Bins: []record.Bin{bin(1)}},
		},
		Events:    []record.Event{{Kind: record.NodeOOM, Node: "app-1"}},
		Generator: record.Generator{Complete: true},
	}
	r.Sort()
	var first, second bytes.Buffer
	if err := r.Write(&first); err != nil {
		t.Fatal(err)
	}
	got, err := record.Read(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Write(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("written again it has other bytes (%v)", err)
	}
	if len(got.Holds) != 3 || len(got.Bins) != 0 || len(got.Events) != 1 || got.Capacity == nil || *got.Capacity != *r.Capacity {
		t.Fatalf("%+v", got)
	}
	for i, want := range [][]int{{-1, 0, 2}, {}, {1}} {
		h := got.Holds[i]
		if h.Rate != r.Holds[i].Rate || h.Answer != r.Holds[i].Answer || h.P99 != r.Holds[i].P99 || h.Why != r.Holds[i].Why || len(h.Bins) != len(want) {
			t.Fatalf("hold %d: %+v", i, h)
		}
		for k, index := range want {
			if h.Bins[k].Index != index {
				t.Errorf("hold %d, bin %d has index %d, want %d", i, k, h.Bins[k].Index, index)
			}
		}
	}
}
