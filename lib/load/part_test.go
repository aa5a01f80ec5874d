package load_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

// The parts of a schedule have each of its numbers once, in order.
func TestParts(t *testing.T) {
	for count := range uint64(40) {
		for of := 1; of <= 16; of++ {
			seen := make([]int, count)
			for i := range of {
				p := load.Part{Index: i, Of: of}
				for k := range p.Count(count) {
					seen[p.Seq(k)]++
				}
				if next := p.Seq(p.Count(count)); next < count {
					t.Fatalf("part %d of %d leaves %d of %d out", i, of, next, count)
				}
			}
			if want := slices.Repeat([]int{1}, int(count)); count > 0 && !slices.Equal(seen, want) {
				t.Fatalf("%d parts of %d: %v", of, count, seen)
			}
		}
	}
}

// Agents that are given one zero take it, to the clock's own error; without one the first request is due after the lead.
func TestZero(t *testing.T) {
	p := load.Plan{}
	from := time.Now()
	if first := p.Zero(-time.Second, time.Minute).Add(-time.Second); first.Before(from.Add(time.Minute)) || first.After(time.Now().Add(time.Minute)) {
		t.Errorf("the first request is due at %v", first)
	}
	at := from.Add(3 * time.Second).Round(0)
	p.At = at.UnixNano()
	if d := p.Zero(-time.Second, time.Minute).Sub(at).Abs(); d > 10*time.Millisecond {
		t.Errorf("zero is %v off", d)
	}
}
