package record_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

const ms = time.Millisecond

// loop is what users do: random answers, in any order, up to an end.
func loop(users int, end time.Duration, r *rand.Rand) (first []time.Duration, samples []record.Sample) {
	for u := range users {
		due := time.Duration(r.IntN(300))*ms - 200*ms
		first = append(first, due)
		for due != record.None {
			s := record.Sample{User: u, Due: due, Sent: due + ms, Free: record.None, Done: due + time.Duration(2+r.IntN(150))*ms, Class: record.OK, Node: "app-1", Traced: true}
			if r.IntN(5) == 0 {
				s.Class = record.Timeout
			}
			if s.Next = s.Done + time.Duration(r.IntN(50))*ms; s.Next >= end {
				s.Next = record.None
			}
			samples = append(samples, s)
			due = s.Next
		}
	}
	slices.SortStableFunc(samples, func(a, b record.Sample) int { return int(a.Done - b.Done) }) // as they are told of
	for i := range samples {
		samples[i].Seq = uint64(i)
	}
	return first, samples
}

// The bins are those of a schedule that had been known beforehand.
func TestOpenBinnerIsABinner(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		first, samples := loop(1+r.IntN(20), 3*time.Second, r)
		var got []record.Bin
		b := record.NewOpenBinner(first, 150*ms, func(bin record.Bin) { got = append(got, bin) })
		for _, s := range samples {
			if !b.Add(s) {
				t.Fatalf("%+v is refused", s)
			}
			b.Flush()
			if n := len(got); n > 0 && s.Next != record.None && record.IndexOf(s.Next) <= got[n-1].Index {
				t.Fatalf("bin %d is out, and user %d is due at %v", got[n-1].Index, s.User, s.Next)
			}
		}
		if users := len(first); len(got) == 0 && users > 1 {
			t.Errorf("no bin is out though all of %d users have ended", users)
		}
		b.Close()
		if begun, told, refused := b.Counts(); begun != uint64(len(samples)) || told != begun || refused != 0 {
			t.Errorf("%d begun, %d told of, %d refused of %d", begun, told, refused, len(samples))
		}
		if !slices.IsSortedFunc(got, func(a, b record.Bin) int { return a.Index - b.Index }) {
			t.Error("the bins are not in their order")
		}
		slices.SortStableFunc(samples, func(a, b record.Sample) int { return int(a.Due - b.Due) })
		var want []record.Bin
		known := record.NewBinner(func(n uint64) time.Duration { return samples[n].Due }, uint64(len(samples)), 150*ms, func(bin record.Bin) { want = append(want, bin) })
		for i, s := range samples {
			s.Seq = uint64(i)
			known.Add(s)
		}
		slices.SortFunc(want, func(a, b record.Bin) int { return a.Index - b.Index })
		for i := range want { // examples have the numbers that their requests were sent with
			for k := range want[i].Cells {
				if e := want[i].Cells[k].Example; e != nil {
					e.Seq = samples[e.Seq].Seq
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}

// A bin stays open for as long as one user may come back into it, and no longer.
func TestOpenBinnerWaitsForTheSlowest(t *testing.T) {
	var out []int
	b := record.NewOpenBinner([]time.Duration{0, 0, record.None}, time.Second, func(bin record.Bin) { out = append(out, bin.Index) })
	add := func(user int, due, next time.Duration) {
		t.Helper()
		if !b.Add(record.Sample{User: user, Due: due, Sent: due, Free: record.None, Done: next, Next: next, Class: record.OK}) {
			t.Errorf("user %d's request of %v is refused", user, due)
		}
		b.Flush()
	}
	for k := range 20 {
		add(0, time.Duration(k)*100*ms, time.Duration(k+1)*100*ms)
	}
	if len(out) > 0 {
		t.Errorf("bins %v are out, and a user waits for an answer since 0", out)
	}
	add(1, 0, 950*ms)
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(out, want) {
		t.Errorf("bins %v are out, want %v", out, want)
	}
	for what, s := range map[string]record.Sample{
		"again": {User: 1, Due: 0, Next: 960 * ms}, "of nobody": {User: 3, Due: 0}, "of one who never came": {User: 2, Due: record.None, Next: record.None},
		"below": {User: -1}, "another time": {User: 1, Due: 951 * ms, Next: record.None}, "backwards": {User: 1, Due: 950 * ms, Next: 949 * ms},
	} {
		if b.Add(s) {
			t.Errorf("a request %s counts", what)
		}
	}
	b.Close()
	begun, told, refused := b.Counts()
	if begun != 23 || told != 21 || refused != 6 {
		t.Errorf("%d begun, %d told of, %d refused; want 23 with the two that nobody told of, 21 and 6", begun, told, refused)
	}
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}; !slices.Equal(out, want) {
		t.Errorf("bins %v are out in the end", out)
	}
}

func TestOpenBinnerFromManyGoroutines(t *testing.T) {
	first, samples := loop(30, 2*time.Second, rand.New(rand.NewPCG(3, 4)))
	by := make([][]record.Sample, len(first))
	for _, s := range samples {
		by[s.User] = append(by[s.User], s)
	}
	due := uint64(0)
	b := record.NewOpenBinner(first, time.Second, func(bin record.Bin) { due += bin.Due })
	var all sync.WaitGroup
	for _, mine := range by {
		all.Go(func() {
			for i, s := range mine {
				b.Add(s)
				if i%7 == 0 {
					b.Flush()
				}
			}
		})
	}
	all.Wait()
	b.Close()
	if due != uint64(len(samples)) {
		t.Errorf("%d requests in the bins, want %d", due, len(samples))
	}
}
