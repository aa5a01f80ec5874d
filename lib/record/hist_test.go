package record_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Every value, at every size, comes back within 0.8 %.
func TestHistError(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		d := time.Duration(r.Uint64() >> (1 + r.UintN(63)))
		var h record.Hist
		h.Add(d)
		h.Add(math.MaxInt64) // else the value is known exactly, as the largest
		h.Add(0)             // or the smallest
		got, ok := h.Rank(2)
		if !ok || math.Abs(float64(got)-float64(d)) > 0.008*float64(d) {
			t.Fatalf("%d comes back as %d", d, got)
		}
	}
}

// Two humps are what a failover leaves, and where estimators fail.
func TestHistQuantilesOfTwoHumps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h record.Hist
	all := make([]time.Duration, 0, 50_000)
	sum := time.Duration(0)
	for i := range cap(all) {
		d := time.Duration((1 + r.ExpFloat64()) * float64(time.Millisecond))
		if i%90 == 0 {
			d = 2*time.Second + time.Duration(r.IntN(1e6))
		}
		all, sum = append(all, d), sum+d
		h.Add(d)
	}
	slices.Sort(all)
	for k := 1; k <= len(all); k += 7 {
		got, ok := h.Rank(uint64(k))
		if want := all[k-1]; !ok || math.Abs(float64(got-want)) > 0.008*float64(want) {
			t.Fatalf("rank %d is %v, want %v", k, got, want)
		}
	}
	if h.Total() != uint64(len(all)) || h.Sum() != sum || h.Min() != all[0] || h.Max() != all[len(all)-1] {
		t.Errorf("total %d, sum %v, from %v to %v", h.Total(), h.Sum(), h.Min(), h.Max())
	}
	if last, _ := h.Rank(h.Total()); last != h.Max() {
		t.Errorf("last rank %v, largest %v", last, h.Max())
	}
	n, before := uint64(0), time.Duration(-1)
	h.Each(func(v time.Duration, k uint64) {
		if v < before {
			t.Errorf("%v comes after %v", v, before)
		}
		n, before = n+k, v
	})
	if n != h.Total() {
		t.Errorf("Each tells of %d, of %d", n, h.Total())
	}
	if got := h.Within(time.Second); got != h.Total()-556 {
		t.Errorf("%d are within 1s, want all but 556 of %d", got, h.Total())
	}
}

func TestHistEdges(t *testing.T) {
	var none *record.Hist
	var zero record.Hist
	for _, h := range []*record.Hist{none, &zero} {
		if _, ok := h.Rank(1); ok || h.Total() != 0 || h.Sum() != 0 || h.Min() != 0 || h.Max() != 0 || h.Within(1) != 0 {
			t.Error("an empty histogram holds something")
		}
		h.Each(func(time.Duration, uint64) { t.Error("an empty histogram has a bucket") })
	}
	var h record.Hist
	h.Add(-time.Second)
	h.AddN(5, 0)
	h.AddN(7, 3)
	if _, ok := h.Rank(0); ok {
		t.Error("there is no rank 0")
	}
	if _, ok := h.Rank(5); ok {
		t.Error("there is no rank above the total")
	}
	if first, _ := h.Rank(1); first != 0 || h.Min() != 0 || h.Max() != 7 || h.Total() != 4 || h.Sum() != 21 {
		t.Errorf("first %v, from %v to %v, total %d, sum %v", first, h.Min(), h.Max(), h.Total(), h.Sum())
	}
}

// Merging parts is the same as counting the whole.
func TestHistMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var whole, merged record.Hist
	for range 20 {
		part := new(record.Hist)
		for range r.IntN(50) {
			d := time.Duration(r.Uint64() >> (10 + r.UintN(50)))
			whole.Add(d)
			part.Add(d)
		}
		merged.Merge(part)
		merged.Merge(nil)
	}
	if a, b := toJSON(t, &whole), toJSON(t, &merged); !bytes.Equal(a, b) {
		t.Errorf("whole  %s\nmerged %s", a, b)
	}
}

func TestHistJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for n := range 100 {
		h, back := new(record.Hist), new(record.Hist)
		for range n {
			h.AddN(time.Duration(r.Uint64()>>(12+r.UintN(52))), 1+r.Uint64N(3))
		}
		b := toJSON(t, h)
		if err := json.Unmarshal(b, back); err != nil {
			t.Fatal(err)
		}
		if again := toJSON(t, back); !bytes.Equal(b, again) {
			t.Fatalf("%s comes back as %s", b, again)
		}
		for k := uint64(1); k <= h.Total(); k++ {
			x, _ := h.Rank(k)
			if y, _ := back.Rank(k); x != y {
				t.Fatalf("rank %d: %v, %v after a round trip", k, x, y)
			}
		}
	}
}

func TestHistJSONRefuses(t *testing.T) {
	for _, bad := range []string{
		`{"b":[1]}`,
		`{"b":[99999999,1]}`,
		`{"b":[1000,1,1000,1,1000,1,1000,1]}`,
		`{"b":[18446744073709551615,1]}`,
		`{"b":[5,1,18446744073709551615,1]}`,
		`{"b":[1,18446744073709551615,1,1]}`,
		`{"b":[5,0]}`,
		`{"b":[5,1,0,1]}`,
		`{"sum":-1,"min":5,"max":5,"b":[5,1]}`,
		`{"sum":5,"min":6,"max":5,"b":[5,1]}`,
		`{"sum":5,"min":-5,"max":5,"b":[5,1]}`,
		`{"sum":5,"min":5,"max":500,"b":[5,1]}`,
		`{"sum":5,"b":[]}`,
		`[]`,
	} {
		h := new(record.Hist)
		if err := json.Unmarshal([]byte(bad), h); err == nil {
			t.Errorf("%s is taken for a histogram of %d", bad, h.Total())
		}
	}
}

func FuzzHistJSON(f *testing.F) {
	f.Add([]byte(`{"sum":5,"min":5,"max":5,"b":[5,1]}`))
	f.Add([]byte(`{"sum":3000000,"min":1000000,"max":2000000,"b":[950,1,64,1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, back := new(record.Hist), new(record.Hist)
		if json.Unmarshal(b, h) != nil {
			return
		}
		first := toJSON(t, h)
		if err := json.Unmarshal(first, back); err != nil {
			t.Fatalf("%s was read and written as %s: %v", b, first, err)
		}
		if second := toJSON(t, back); !bytes.Equal(first, second) {
			t.Fatalf("%s is written as %s", first, second)
		}
		if x, ok := h.Rank(h.Total()); ok && x != h.Max() {
			t.Fatalf("%s: last rank %v, largest %v", b, x, h.Max())
		}
	})
}

func toJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
