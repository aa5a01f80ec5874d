package trial

import (
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// How many requests are due in each full second is known beforehand, for every shape of load.
func TestSecondsOfASchedule(t *testing.T) {
	for _, s := range []schedule.Schedule{
		schedule.Constant(33.3, 2*time.Second, 5500*time.Millisecond),
		{Warmup: time.Second, Stages: []schedule.Stage{{Rate: 10, To: 200, For: 3 * time.Second}, {Rate: 50, Swing: 50, Period: 2 * time.Second, For: 3 * time.Second}}},
		{Stages: []schedule.Stage{{Rate: 80, For: 4 * time.Second}}, Arrivals: schedule.Poisson, Seed: 3},
	} {
		times := s.Timetable()
		want := make([]uint64, s.For()/time.Second)
		for n := times.Warm(); n < times.Count(); n++ {
			if i := int(times.Due(n) / time.Second); i < len(want) {
				want[i]++
			}
		}
		if got := newSeconds(s).due; !slices.Equal(got, want) {
			t.Errorf("%v: %v are due, want %v", s, got, want)
		}
	}
}

// Of a closed loop nobody knows: a second is full when a bin of a later one comes.
func TestSecondsOfUsers(t *testing.T) {
	q := newSeconds(schedule.Schedule{Stages: []schedule.Stage{{Users: 3, For: 3500 * time.Millisecond}}})
	cursor := 0
	for _, c := range []struct {
		bin  int
		full []time.Duration // seconds that are full then
	}{
		{-3, nil}, {0, nil}, {4, nil}, {9, nil}, {10, []time.Duration{0}}, {15, nil}, {31, []time.Duration{time.Second}}, {34, nil},
	} {
		q.bin(record.Bin{Index: c.bin, Due: 2, GoodFirst: record.None, GoodLast: record.None})
		got, _ := q.since(&cursor)
		var full []time.Duration
		for _, s := range got {
			full = append(full, s.from)
			if s.from == 0 && len(s.bins) != 3 {
				t.Errorf("the first second has %d bins, want 3", len(s.bins))
			}
		}
		if !slices.Equal(full, c.full) {
			t.Errorf("after bin %d the seconds from %v are full, want %v", c.bin, full, c.full)
		}
	}
}
