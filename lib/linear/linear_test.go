package linear

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// w, r and u make a write, a read and a write of which nobody knows, over [start, end] in nanoseconds.
func w(value uint64, start, end time.Duration) record.Op {
	return record.Op{Write: true, Value: value, Start: start, End: end}
}

func r(value uint64, start, end time.Duration) record.Op {
	return record.Op{Value: value, Start: start, End: end}
}
func u(value uint64, start time.Duration) record.Op { return w(value, start, record.None) }

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		ops   []record.Op
		want  Result
		stale int
	}{
		{"nothing", nil, Linearizable, 0},
		{"nothing written", []record.Op{r(0, 0, 1), r(0, 2, 3)}, Linearizable, 0},
		{"in turn", []record.Op{w(1, 0, 1), r(1, 2, 3), w(2, 4, 5), r(2, 6, 7)}, Linearizable, 0},
		{"overwritten", []record.Op{w(1, 0, 1), w(2, 2, 3), r(1, 4, 5)}, Violated, 1},
		{"lost", []record.Op{w(1, 0, 1), r(0, 2, 3)}, Violated, 1},
		{"while it is written, either", []record.Op{w(1, 0, 1), w(2, 2, 10), r(1, 3, 4), r(2, 5, 6)}, Linearizable, 0},
		{"new, then old", []record.Op{w(1, 0, 1), w(2, 2, 10), r(2, 3, 4), r(1, 5, 6)}, Violated, 0},
		{"old and new at the same time", []record.Op{w(1, 0, 1), w(2, 2, 10), r(2, 3, 7), r(1, 4, 6)}, Linearizable, 0},
		{"touching is at the same time", []record.Op{w(1, 0, 5), r(0, 5, 6)}, Linearizable, 0},
		{"concurrent writes, either last", []record.Op{w(1, 0, 5), w(2, 1, 4), r(1, 6, 7)}, Linearizable, 0},
		{"concurrent writes, one and then the other", []record.Op{w(1, 0, 5), w(2, 1, 4), r(1, 6, 7), r(2, 8, 9)}, Violated, 0},
		{"never written", []record.Op{w(1, 0, 1), r(7, 2, 3)}, Violated, 0},
		{"something else", []record.Op{w(1, 0, 1), r(record.StrangeValue, 2, 3)}, Violated, 0},
		{"before it was written", []record.Op{r(1, 0, 1), w(1, 2, 3)}, Violated, 0},
		{"several values say nothing", []record.Op{w(1, 0, 1), r(record.ManyValues, 2, 3)}, Linearizable, 0},
		{"uncertain, and never seen", []record.Op{w(1, 0, 1), u(2, 2), r(1, 100, 101)}, Linearizable, 0},
		{"uncertain, and seen late", []record.Op{w(1, 0, 1), u(2, 2), r(1, 50, 51), r(2, 100, 101)}, Linearizable, 0},
		{"uncertain, seen and gone", []record.Op{w(1, 0, 1), u(2, 2), r(2, 50, 51), r(1, 100, 101)}, Violated, 0},
		{"uncertain, seen and overwritten", []record.Op{u(1, 0), r(1, 5, 6), w(2, 7, 8), r(1, 9, 10)}, Violated, 1},
		{"uncertain, after one that was acknowledged", []record.Op{u(1, 0), w(2, 7, 8), r(2, 9, 10), r(1, 11, 12), r(1, 13, 14)}, Linearizable, 0},
		{"two stale reads, one of nothing known", []record.Op{w(1, 0, 1), w(2, 2, 3), r(1, 4, 5), r(0, 6, 7), r(9, 6, 7)}, Violated, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := record.History{Ops: c.ops}
			if got, why := Check(h, time.Minute); got != c.want {
				t.Errorf("%v (%s), want %v", got, why, c.want)
			}
			ops, _ := judged(c.ops)
			if got := stales(ops); len(got) != c.stale {
				t.Errorf("%d reads are stale, want %d: %+v", len(got), c.stale, got)
			}
		})
	}
}

// orders reports whether there is an order of all operations, by trying all of them: the definition. A write of which nobody knows may
// also be left out.
func orders(ops []record.Op, state uint64) bool {
	if len(ops) == 0 {
		return true
	}
	first := slices.MinFunc(ops, func(a, b record.Op) int { return int(end(a) - end(b)) })
	for i, o := range ops {
		rest := slices.Delete(slices.Clone(ops), i, i+1)
		if o.End == record.None && orders(rest, state) {
			return true
		}
		if o.Start > end(first) || !o.Write && o.Value != state {
			continue // another one ended before it began, or it has something else
		}
		next := state
		if o.Write {
			next = o.Value
		}
		if orders(rest, next) {
			return true
		}
	}
	return false
}

func end(o record.Op) time.Duration {
	if o.End == record.None {
		return 1 << 60
	}
	return o.End
}

// Of histories drawn at random the search says what the definition does, and one with a stale read has no order.
func TestCheckAgainstTheDefinition(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := make(map[Result]int)
	withStale := 0
	for range 20_000 {
		var ops []record.Op
		for v := range uint64(1 + rnd.IntN(4)) {
			o := w(v+1, time.Duration(rnd.IntN(12)), 0)
			o.End = o.Start + time.Duration(rnd.IntN(6))
			if rnd.IntN(4) == 0 {
				o.End = record.None
			}
			ops = append(ops, o)
		}
		for range rnd.IntN(4) {
			o := r(uint64(rnd.IntN(5)), time.Duration(rnd.IntN(14)), 0)
			o.End = o.Start + time.Duration(rnd.IntN(6))
			ops = append(ops, o)
		}
		want := Violated
		if orders(ops, 0) {
			want = Linearizable
		}
		got, why := Check(record.History{Ops: ops}, time.Minute)
		if got != want {
			t.Fatalf("%v (%s), and the definition says %v: %+v", got, why, want, ops)
		}
		seen[got]++
		if len(stales(ops)) > 0 {
			withStale++
			if got != Violated {
				t.Fatalf("a stale read, and an order: %+v", ops)
			}
		}
	}
	if seen[Linearizable] < 2000 || seen[Violated] < 2000 || withStale < 500 {
		t.Errorf("%v, %d with a stale read: the histories say little", seen, withStale)
	}
}

// long is the longest history that is kept, of a true register.
func long() []record.Op {
	rnd := rand.New(rand.NewPCG(3, 4))
	var ops []record.Op
	at, state := time.Duration(0), uint64(0)
	for n := range uint64(2000) { // each takes effect at `at`, its interval lies around it, up to 20 at a time
		at += 100
		from, to := at-time.Duration(rnd.IntN(1000)), at+time.Duration(rnd.IntN(1000))
		switch rnd.IntN(20) {
		case 0:
			ops = append(ops, u(n+1, from)) // never took effect
		case 1:
			state = n + 1
			ops = append(ops, u(state, from))
		case 2, 3, 4, 5, 6, 7, 8, 9:
			state = n + 1
			ops = append(ops, w(state, from, to))
		default:
			ops = append(ops, r(state, from, to))
		}
	}
	return ops
}

// A true register over the longest history that is kept is found to be one; and one read out of place is found.
func TestLongHistory(t *testing.T) {
	ops := long()
	began := time.Now()
	all := record.History{Of: "w", Key: 3, Ops: ops}
	found := Judge([]record.History{all})
	if found.Linearizable != 1 || found.Stale != 0 || found.Reads < 500 || found.Keys != 1 {
		t.Errorf("%+v after %v", found, time.Since(began))
	}
	t.Logf("%d operations took %v", len(ops), time.Since(began))
	i := slices.IndexFunc(ops, func(o record.Op) bool { return !o.Write && o.Start > 100_000 })
	all.Ops = slices.Clone(ops)
	all.Ops[i].Value = all.Ops[slices.IndexFunc(ops, func(o record.Op) bool { return !o.Write })].Value
	if found := Judge([]record.History{all}); found.Violated != 1 || found.Stale != 1 || len(found.Bad) != 1 || !strings.HasPrefix(found.Bad[0], "key 3: a read from ") {
		t.Errorf("%+v", found)
	}
}

// What the search does not settle in its time is unknown, and so is what was cut.
func TestUnknown(t *testing.T) {
	ops := long()
	began := time.Now()
	found := judge([]record.History{{Key: 1, Ops: ops}, {Key: 2, Ops: ops[:1], Cut: true}, {Key: 3, Ops: nil}}, time.Millisecond, 10*time.Second)
	if found.Unknown != 2 || found.Linearizable != 1 || !strings.Contains(found.Why, "longer than 1ms") || time.Since(began) > 5*time.Second {
		t.Errorf("%+v after %v", found, time.Since(began))
	}
	if found := judge([]record.History{{Ops: ops[:2]}}, time.Second, -1); found.Unknown != 1 || !strings.Contains(found.Why, "no time left") {
		t.Errorf("%+v", found)
	}
}
