package schedule_test

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/schedule"
)

func TestWhenAUserIsReady(t *testing.T) {
	s := schedule.Schedule{Warmup: 2 * sec, Stages: []schedule.Stage{
		{Users: 4, Think: 400 * time.Millisecond, For: 10 * sec},
		{Users: 2, Think: sec, For: 5 * sec},
		{Users: 6, Think: sec, For: 5 * sec},
	}}
	const ms = time.Millisecond
	for _, c := range []struct {
		user       int
		from, want time.Duration
		ok         bool
	}{
		{0, -2 * sec, -2 * sec, true},
		{0, -9 * sec, -2 * sec, true},
		{1, -2 * sec, -1900 * ms, true}, // spread over one time to think
		{3, -2 * sec, -1700 * ms, true},
		{3, 4321 * ms, 4321 * ms, true},
		{1, 12 * sec, 12 * sec, true}, // it stays
		{2, 10 * sec, 15 * sec, true}, // it comes back with the third stage
		{3, 12 * sec, 15250 * ms, true},
		{5, -2 * sec, 15750 * ms, true},
		{6, -2 * sec, 0, false},
		{0, 20*sec - 1, 20*sec - 1, true},
		{0, 20 * sec, 0, false},
	} {
		if got, ok := s.Ready(c.user, c.from); ok != c.ok || ok && got != c.want {
			t.Errorf("user %d from %v is ready at %v %v, want %v %v", c.user, c.from, got, ok, c.want, c.ok)
		}
	}
	for _, c := range []struct {
		user       int
		done, want time.Duration
		ok         bool
	}{
		{0, -sec, -600 * ms, true},
		{0, 11 * sec, 12 * sec, true},
		{2, 9700 * ms, 15 * sec, true}, // it has thought until it is no longer wanted
		{0, 19 * sec, 0, false},
	} {
		if got, ok := s.Next(c.user, c.done); ok != c.ok || ok && got != c.want {
			t.Errorf("user %d, done at %v, is due at %v %v, want %v %v", c.user, c.done, got, ok, c.want, c.ok)
		}
	}
}

func TestUsersWithoutThinkingComeAtOnce(t *testing.T) {
	s := schedule.Schedule{Stages: []schedule.Stage{{Users: 3, For: sec}}}
	for u := range 3 {
		if at, ok := s.Ready(u, 0); !ok || at != 0 {
			t.Errorf("user %d is ready at %v %v", u, at, ok)
		}
	}
}
