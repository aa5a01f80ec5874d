package record_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Bins of parts, merged, are those of one Binner that was told of all samples: to the byte, examples and gaps between good answers included.
func TestMergedBinsAreThoseOfOne(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 21))
		count := 1 + r.Uint64N(2000)
		due := rate(5+r.Float64()*5000, r.Uint64N(100))
		of := 1 + r.IntN(16)
		samples := make([]record.Sample, count)
		for n := range count {
			samples[n] = arbitrary(r, n, due(n))
		}
		want := sum(t, func(emit func(record.Bin)) {
			b := record.NewBinner(due, count, time.Second, emit)
			for _, s := range samples {
				b.Put(s)
			}
			b.Close()
		})
		got := sum(t, func(emit func(record.Bin)) {
			m := record.NewMerger(due, count, of, func(b record.Bin) {
				if b.Mask != nil {
					t.Error("a whole bin has a mask")
				}
				emit(b)
			})
			var parts [][]record.Bin
			for i := range of {
				seq := func(k uint64) uint64 { return k*uint64(of) + uint64(i) }
				mine := uint64(0)
				for seq(mine) < count {
					mine++
				}
				var bins []record.Bin
				b := record.NewBinner(func(k uint64) time.Duration { return due(seq(k)) }, mine, time.Second, func(b record.Bin) { bins = append(bins, b) })
				b.Part(i, of)
				for k := range mine {
					b.Put(samples[seq(k)])
				}
				if of > 1 {
					b.Put(samples[(seq(0)+1)%count]) // another's, or its own again: it counts nowhere
				}
				b.Close()
				parts = append(parts, bins)
			}
			// They come in any order, each agent's about in its own.
			for left := of; left > 0; {
				i := r.IntN(of)
				if len(parts[i]) == 0 {
					left = 0
					for _, p := range parts {
						left += len(p)
					}
					continue
				}
				b := parts[i][0]
				parts[i] = parts[i][1:]
				if of == 1 {
					emit(b)
					continue
				}
				if err := m.Add(i, b); err != nil {
					t.Fatal(err)
				}
				if err := m.Add(i, b); err == nil {
					t.Fatal("a part is taken twice")
				}
			}
		})
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, %d parts: bins\n%s\nwant\n%s", seed, of, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestMergerRefuses(t *testing.T) {
	due := rate(100, 0)
	var whole []record.Bin
	m := record.NewMerger(due, 30, 2, func(b record.Bin) { whole = append(whole, b) })
	part := record.Bin{Index: 1, Due: 5, Mask: []byte{0}, GoodFirst: record.None}
	for what, bad := range map[string]record.Bin{
		"a bin before the schedule": {Index: -1, Due: 5, Mask: []byte{0}},
		"a bin after it":            {Index: 3, Due: 5, Mask: []byte{0}},
		"too many":                  {Index: 1, Due: 6, Mask: []byte{0}},
		"no mask":                   {Index: 1, Due: 5},
		"too long a mask":           {Index: 1, Due: 5, Mask: []byte{0, 0}},
	} {
		if err := m.Add(0, bad); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if err := m.Add(2, part); err == nil {
		t.Error("a third part of two is taken")
	}
	if err := m.Add(1, part); err != nil || len(whole) != 0 {
		t.Errorf("%v, %d bins", err, len(whole))
	}
	if err := m.Add(0, part); err != nil || len(whole) != 1 || whole[0].Due != 10 {
		t.Errorf("%v, %+v", err, whole)
	}
	if err := m.Add(0, part); err == nil {
		t.Error("a part of what was whole is taken")
	}
}
