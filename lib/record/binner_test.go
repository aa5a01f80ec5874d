package record_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// rate is a schedule of so many requests a second, the first warm of them before zero.
func rate(perSecond float64, warm uint64) func(uint64) time.Duration {
	return func(n uint64) time.Duration {
		return time.Duration((float64(n) - float64(warm)) * float64(time.Second) / perSecond)
	}
}

// Whatever the rate, the order and the outcomes: every request counts once, in the bin of its due
// time, and bins say exactly when good answers were due.
func TestBinnerAccounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		count, warm := 1+r.Uint64N(400), r.Uint64N(50)
		due := rate(0.5+r.Float64()*500, warm)
		var bins []record.Bin
		b := record.NewBinner(due, count, time.Second, func(b record.Bin) { bins = append(bins, b) })
		class := make([]record.Class, count)
		for _, n := range r.Perm(int(count)) {
			class[n] = record.Classes()[r.IntN(len(record.Classes()))]
			if r.IntN(3) > 0 {
				class[n] = record.OK
			}
			s := record.Sample{Seq: uint64(n), Class: class[n], Sent: due(uint64(n)), Free: record.None, Done: due(uint64(n)) + 1}
			if r.IntN(20) == 0 {
				class[n] = record.Unsent // nobody tells of it
				continue
			}
			if !b.Add(s) || b.Add(s) {
				t.Fatalf("request %d of %d does not count exactly once", n, count)
			}
		}
		b.Close()
		b.Close()
		if b.Add(record.Sample{Seq: 0}) || b.Add(record.Sample{Seq: count}) {
			t.Fatal("a request was taken after the end, or beyond it")
		}
		slices.SortFunc(bins, func(x, y record.Bin) int { return x.Index - y.Index })
		checkBins(t, bins, class, due)
	}
}

// Whatever is told, in whatever order, by whichever of the ways and from however many goroutines, the bins are those of
// the plain way of counting.
func TestBinnerAgainstTheOracle(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		count := 1 + r.Uint64N(3000)
		due := rate(50+r.Float64()*20_000, r.Uint64N(200))
		samples := make([]record.Sample, 0, count)
		for n := range count {
			if r.IntN(50) > 0 {
				samples = append(samples, arbitrary(r, n, due(n)))
			}
		}
		// What comes near the end of the schedule can come first, as it can where answers take long.
		for i := range samples {
			k := min(i+r.IntN(1+r.IntN(400)), len(samples)-1)
			samples[i], samples[k] = samples[k], samples[i]
		}
		want := sum(t, func(emit func(record.Bin)) {
			o := newOracle(due, count, time.Second, emit)
			for _, s := range samples {
				o.Add(s)
			}
			o.Close()
		})
		for what, tell := range map[string]func(b *record.Binner){
			"one by one": func(b *record.Binner) {
				for _, s := range samples {
					if !b.Add(s) {
						t.Fatalf("sample %d refused", s.Seq)
					}
				}
			},
			"batches": func(b *record.Binner) {
				for i, s := range samples {
					s.Due = 0 // it is the schedule's to say
					b.Put(s)
					if i%500 == 0 {
						b.Flush()
					}
				}
			},
			"goroutines": func(b *record.Binner) {
				var all sync.WaitGroup
				for w := range 8 {
					all.Go(func() {
						for i := w; i < len(samples); i += 8 {
							b.Put(samples[i])
							if i%97 == 0 {
								b.Put(samples[i])
								b.Flush()
							}
						}
					})
				}
				all.Wait()
			},
		} {
			got := sum(t, func(emit func(record.Bin)) {
				b := record.NewBinner(due, count, time.Second, func(b record.Bin) { b.TakeExamples(); emit(b) })
				tell(b)
				b.Flush()
				if told, _ := b.Counts(); told != uint64(len(samples)) {
					t.Errorf("%s: %d of %d samples counted", what, told, len(samples))
				}
				b.Close()
			})
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s: bins\n%s\nwant\n%s", seed, what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// arbitrary is any outcome of request n.
func arbitrary(r *rand.Rand, n uint64, due time.Duration) record.Sample {
	s := record.Sample{Seq: n, Due: due, Request: r.IntN(3), Sent: record.None, Free: record.None, Done: due + time.Duration(r.Uint64()>>(20+r.UintN(44)))}
	s.Class = []record.Class{record.OK, record.OK, record.OK, record.Wrong, record.Timeout, record.Refused, record.Local}[r.IntN(7)]
	if s.Class != record.Local {
		s.Sent = due + time.Duration(r.IntN(300))*time.Millisecond
		if r.IntN(4) == 0 {
			s.Free = due + time.Duration(r.IntN(300))*time.Millisecond
		}
		if r.IntN(4) == 0 {
			s.Late = time.Duration(r.IntN(300)-10) * time.Millisecond
		}
	}
	if s.Class == record.Wrong {
		s.Status = []int{500, 502, 404}[r.IntN(3)]
	}
	name := func() string { return []string{"", "a", "b", strings.Repeat("x", 200), "\xff"}[r.IntN(5)] }
	s.Node, s.Traced = name(), r.IntN(3) > 0
	for range r.IntN(4) {
		s.Tried = append(s.Tried, name())
	}
	return s
}

// sum runs what emits bins, and returns those as they are written, in order.
func sum(t *testing.T, f func(emit func(record.Bin))) []string {
	t.Helper()
	var bins []record.Bin
	f(func(b record.Bin) { bins = append(bins, b) })
	slices.SortFunc(bins, func(a, b record.Bin) int { return a.Index - b.Index })
	all := make([]string, len(bins))
	for i := range bins {
		all[i] = string(toJSON(t, &bins[i]))
	}
	return all
}

// checkBins compares bins with a count by hand.
func checkBins(t *testing.T, bins []record.Bin, class []record.Class, due func(uint64) time.Duration) {
	t.Helper()
	type tally struct {
		due, good        uint64
		first, last, gap time.Duration
		classes          map[record.Class]uint64
	}
	want := make(map[int]*tally)
	for n, c := range class {
		at := due(uint64(n))
		w := want[record.IndexOf(at)]
		if w == nil {
			w = &tally{first: record.None, last: record.None, gap: record.None, classes: make(map[record.Class]uint64)}
			want[record.IndexOf(at)] = w
		}
		w.due++
		w.classes[c]++
		if c != record.OK {
			continue
		}
		w.good++
		if w.first == record.None {
			w.first = at
		} else {
			w.gap = max(w.gap, at-w.last)
		}
		w.last = at
	}
	if len(bins) != len(want) {
		t.Fatalf("%d bins, want %d", len(bins), len(want))
	}
	for _, b := range bins {
		w := want[b.Index]
		if w == nil || b.Due != w.due || b.Good != w.good || b.GoodFirst != w.first || b.GoodLast != w.last || b.GoodGap != w.gap {
			t.Fatalf("bin %+v, want %+v", b, w)
		}
		got := make(map[record.Class]uint64)
		for _, c := range b.Cells {
			got[c.Class] += c.Count
			if c.First < b.Start() || c.Last >= b.Start()+record.Grid || c.First > c.Last {
				t.Fatalf("bin %d has a cell with due times %v to %v", b.Index, c.First, c.Last)
			}
		}
		if !maps.Equal(got, w.classes) {
			t.Fatalf("bin %d: classes %v, want %v", b.Index, got, w.classes)
		}
	}
}

func TestIndexOf(t *testing.T) {
	for due, want := range map[time.Duration]int{
		0: 0, 1: 0, record.Grid - 1: 0, record.Grid: 1, -1: -1, -record.Grid: -1, -record.Grid - 1: -2,
	} {
		if got := record.IndexOf(due); got != want {
			t.Errorf("%v is in bin %d, want %d", due, got, want)
		}
	}
}

func TestBinnerCells(t *testing.T) {
	const ms = time.Millisecond
	b, bins := one(t, 10, 6, 100*ms,
		record.Sample{Request: 1, Node: "b", Class: record.OK, Sent: 0, Free: record.None, Done: 5 * ms, Tried: []string{"a", "b", "a"}, Traced: true},
		record.Sample{Request: 0, Node: "b", Class: record.OK, Sent: 12 * ms, Free: record.None, Done: 20 * ms, Traced: true},
		record.Sample{Request: 0, Node: "a", Class: record.Wrong, Sent: 40 * ms, Free: 35 * ms, Done: 41 * ms, Tried: []string{"a"}, Traced: true},
		record.Sample{Request: 0, Class: record.Timeout, Sent: 45 * ms, Free: record.None, Done: 130 * ms},
		record.Sample{Request: 0, Class: record.Shed, Sent: record.None, Free: record.None, Done: 40 * ms},
		record.Sample{Request: 0, Node: "b", Class: record.OK, Sent: 50 * ms, Free: record.None, Done: 51 * ms, Traced: true},
	)
	if len(bins) != 1 {
		t.Fatalf("%d bins", len(bins))
	}
	var is []string
	for _, c := range b.Cells {
		is = append(is, fmt.Sprintf("%d %q %v %d", c.Request, c.Node, c.Class, c.Count))
	}
	want := []string{`0 "" timeout 1`, `0 "" shed 1`, `0 "a" wrong 1`, `0 "b" ok 2`, `1 "b" ok 1`}
	if !slices.Equal(is, want) {
		t.Errorf("cells %q, want %q", is, want)
	}
	if !maps.Equal(b.Tried, map[string]uint64{"a": 2, "b": 1}) || b.Untraced != 2 {
		t.Errorf("tried %v, untraced %d", b.Tried, b.Untraced)
	}
	// Only the timeout is excused: it was sent 15 ms late, over a tenth of the timeout; the wrong
	// one was 20 ms late, but had its connection for the last 5 only.
	if b.Excused != 1 || b.Lag.Total() != 5 || b.Lag.Max() != 20*ms {
		t.Errorf("excused %d, lag %d up to %v", b.Excused, b.Lag.Total(), b.Lag.Max())
	}
	ok := b.Cells[3] // due at 10 and 50 ms, done at 20 and 51, sent at 12 and 50
	if ok.Response.Sum() != 11*ms || ok.Unlagged.Sum() != 9*ms || ok.Service.Sum() != 9*ms {
		t.Errorf("response %v, unlagged %v, service %v", ok.Response.Sum(), ok.Unlagged.Sum(), ok.Service.Sum())
	}
	if shed := b.Cells[1]; shed.Response != nil || shed.First != 40*ms {
		t.Errorf("shed: %+v", shed)
	}
}

// one puts these samples into one bin, each due so many ms after the one before.
func one(t *testing.T, step int, count uint64, timeout time.Duration, samples ...record.Sample) (record.Bin, []record.Bin) {
	t.Helper()
	var bins []record.Bin
	due := func(n uint64) time.Duration { return time.Duration(n) * time.Duration(step) * time.Millisecond }
	b := record.NewBinner(due, count, timeout, func(b record.Bin) { bins = append(bins, b) })
	for i, s := range samples {
		s.Seq = uint64(i)
		if !b.Add(s) {
			t.Fatalf("sample %d refused", i)
		}
	}
	b.Close()
	if len(bins) == 0 {
		t.Fatal("no bin")
	}
	return bins[0], bins
}

// Names are a target's input: neither their number nor their length is its choice.
func TestBinnerBoundsNames(t *testing.T) {
	var samples []record.Sample
	for i := range 1000 {
		name := fmt.Sprintf("node-%d", i)
		tried := make([]string, 100)
		for k := range tried {
			tried[k] = fmt.Sprintf("%s-%d", name, k)
		}
		samples = append(samples, record.Sample{Node: name, Tried: tried, Class: record.OK})
	}
	b, _ := one(t, 0, 1000, time.Second, samples...)
	if len(b.Cells) > 65 || len(b.Tried) > 65 || b.Due != 1000 {
		t.Errorf("%d cells, %d names tried", len(b.Cells), len(b.Tried))
	}
	other := uint64(0)
	for _, c := range b.Cells {
		if c.Node == record.OtherNode {
			other += c.Count
		}
	}
	if other == 0 {
		t.Errorf("no request is of %s", record.OtherNode)
	}
	b, _ = one(t, 0, 2, time.Second,
		record.Sample{Node: strings.Repeat("x", 1<<20), Class: record.OK},
		record.Sample{Node: "bad\xff\xfename", Class: record.OK})
	for _, c := range b.Cells {
		if len(c.Node) > 128 || strings.ToValidUTF8(c.Node, "") != c.Node {
			t.Errorf("name %.200q of %d bytes", c.Node, len(c.Node))
		}
	}
}

// A bin goes out with its last request, so that what is kept does not grow with the load.
func TestBinnerMemory(t *testing.T) {
	const n = 400_000
	due := rate(20_000, 0)
	emitted := 0
	b := record.NewBinner(due, n, time.Second, func(record.Bin) { emitted++ })
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := uint64(0)
	for seq := range uint64(n) {
		s := record.Sample{Seq: seq, Class: record.OK, Node: "app-1", Sent: due(seq), Free: record.None, Done: due(seq) + time.Duration(seq%100)*time.Millisecond}
		if !b.Add(s) {
			t.Fatalf("sample %d refused", seq)
		}
		if seq == n/10 {
			before = heap()
		}
	}
	if after := heap(); after > before+before/5+(256<<10) {
		t.Errorf("heap %d bytes after a tenth, %d at the end", before, after)
	}
	if emitted != 200 {
		t.Errorf("%d bins emitted before Close, want 200", emitted)
	}
	b.Close()
}

func TestBinnerIsSafeForConcurrentUse(t *testing.T) {
	const n = 8000
	due := rate(10_000, 0)
	total := uint64(0)
	b := record.NewBinner(due, n, time.Second, func(b record.Bin) { total += b.Due })
	var wg sync.WaitGroup
	for w := range uint64(8) {
		wg.Go(func() {
			for seq := w; seq < n; seq += 8 {
				b.Add(record.Sample{Seq: seq, Class: record.OK})
				b.Add(record.Sample{Seq: (seq + 1) % n, Class: record.OK})
			}
		})
	}
	wg.Wait()
	b.Close()
	if total != n {
		t.Errorf("%d requests in the bins, want %d", total, n)
	}
}

// What was put is in no bin until it is flushed, and in all of them then; who watches sees each request once.
func TestPutAndFlush(t *testing.T) {
	due := rate(1000, 0)
	var bins []record.Bin
	b := record.NewBinner(due, 200, time.Second, func(b record.Bin) { bins = append(bins, b) })
	seen := make(map[uint64]time.Duration)
	b.Watch(func(s *record.Sample) {
		if _, twice := seen[s.Seq]; twice {
			t.Errorf("request %d is seen twice", s.Seq)
		}
		seen[s.Seq] = s.Due
	})
	for n := range uint64(150) {
		b.Put(record.Sample{Seq: n, Class: record.OK})
	}
	if len(bins) != 0 {
		t.Errorf("%d bins before Flush", len(bins))
	}
	b.Put(record.Sample{Seq: 200})
	b.Put(record.Sample{Seq: 7})
	b.Flush()
	if len(bins) != 1 || bins[0].Good != 100 {
		t.Errorf("bins %+v", bins)
	}
	if told, refused := b.Counts(); told != 150 || refused != 2 {
		t.Errorf("%d told, %d refused", told, refused)
	}
	b.Close()
	if len(bins) != 2 || bins[1].Good != 50 || bins[1].Due != 100 {
		t.Errorf("bins %+v", bins)
	}
	if told, _ := b.Counts(); told != 150 || len(seen) != 150 || seen[149] != due(149) {
		t.Errorf("after Close: %d told, %d seen", told, len(seen))
	}
}

// Nothing is allocated for a sample, only for a bin.
func TestPutAllocates(t *testing.T) {
	const n = 100_000
	due := rate(100_000, 0)
	b := record.NewBinner(due, n, time.Second, func(record.Bin) {})
	seq := uint64(0)
	put := func() {
		for range 1000 {
			b.Put(record.Sample{Seq: seq, Class: record.OK, Node: "a", Sent: due(seq), Free: record.None, Done: due(seq) + time.Duration(seq), Tried: nil, Traced: true})
			seq++
		}
	}
	for range 30 {
		put()
	}
	if per := testing.AllocsPerRun(60, put) / 1000; per > 0.01 && !raced {
		t.Errorf("%v allocations for a sample", per)
	}
}

func TestRename(t *testing.T) {
	b, _ := one(t, 1, 3, time.Second,
		record.Sample{Node: "10.0.0.1", Class: record.OK, Done: 5, Tried: []string{"10.0.0.1:80"}, Traced: true},
		record.Sample{Node: "app-1", Class: record.OK, Done: time.Millisecond + 7, Sent: time.Millisecond, Tried: []string{"app-1"}, Traced: true},
		record.Sample{Class: record.Refused, Sent: record.None})
	b.Rename(func(string) string { return "app-1" })
	if len(b.Cells) != 2 || b.Cells[0].Node != "" || b.Cells[1].Count != 2 || b.Cells[1].Response.Sum() != 12 ||
		b.Cells[1].First != 0 || b.Cells[1].Last != time.Millisecond || b.Tried["app-1"] != 2 || len(b.Tried) != 1 {
		t.Errorf("%+v, tried %v", b.Cells, b.Tried)
	}
}
