package httpload_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// closed sends what users send, and returns the samples of each, in order. It checks that each request is due when the one before it says.
func closed(t *testing.T, p load.Plan) (by [][]record.Sample, zero time.Time) {
	t.Helper()
	p.Connections = p.Schedule.Users()
	by = make([][]record.Sample, p.Schedule.Users())
	seen := make(map[uint64]bool)
	var mu sync.Mutex
	var g httpload.Generator
	err := g.Generate(t.Context(), p, func(at time.Time) { zero = at }, func(s record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		if seen[s.Seq] {
			t.Errorf("number %d came twice", s.Seq)
		}
		seen[s.Seq] = true
		by[s.User] = append(by[s.User], s)
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := g.Chosen(); e != "" {
		t.Errorf("the users send by engine %q", e)
	}
	for user, mine := range by {
		due, ok := p.Schedule.Ready(user, -p.Schedule.Warmup)
		for _, s := range mine {
			if !ok || s.Due != due || s.Sent < s.Due || s.Done < s.Sent {
				t.Errorf("user %d was due at %v: %+v", user, due, s)
			}
			if due, ok = p.Schedule.Next(user, s.Done); ok && s.Next != due || !ok && s.Next != record.None {
				t.Errorf("user %d is due at %v next, want %v %v", user, s.Next, due, ok)
			}
		}
		if ok {
			t.Errorf("user %d is due at %v, and nothing came", user, due)
		}
	}
	for n := range uint64(len(seen)) {
		if !seen[n] {
			t.Errorf("number %d is not there", n)
		}
	}
	return by, zero
}

func usersOf(t *testing.T, s *loadtest.Server, warmup time.Duration, stages ...schedule.Stage) load.Plan {
	t.Helper()
	p := plan(t, s, 1, time.Second)
	p.Schedule = schedule.Schedule{Warmup: warmup, Stages: stages}
	return p
}

// Each user has one request at a time, and thinks between them: so long that in its time it can send so many and no more.
func TestUsers(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: 20 * time.Millisecond})
	const think = 80 * time.Millisecond
	by, _ := closed(t, usersOf(t, s, 200*time.Millisecond, schedule.Stage{Users: 5, Think: think, For: time.Second}))
	total := 0
	for user, mine := range by {
		total += len(mine)
		if n := len(mine); n < 2 || n > 12 { // 1.2 s of 100 ms each; a busy machine takes longer
			t.Errorf("user %d sent %d requests", user, n)
		}
		for i, x := range mine {
			if x.Class != record.OK || i > 0 && x.Due-mine[i-1].Done < think {
				t.Errorf("user %d: %+v", user, x)
			}
		}
	}
	if total != len(s.Log()) {
		t.Errorf("%d samples, the server saw %d requests", total, len(s.Log()))
	}
}

// The next stage has more users, and the one after it fewer.
func TestUsersComeAndGo(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: 5 * time.Millisecond})
	const each = 300 * time.Millisecond
	by, _ := closed(t, usersOf(t, s, 0, schedule.Stage{Users: 2, For: each}, schedule.Stage{Users: 6, Think: 20 * time.Millisecond, For: each}, schedule.Stage{Users: 1, For: each}))
	for user, mine := range by {
		if len(mine) == 0 {
			t.Fatalf("user %d never came", user)
		}
		first, last := mine[0].Due, mine[len(mine)-1].Due
		switch {
		case user >= 2 && first < each:
			t.Errorf("user %d came at %v", user, first)
		case user >= 1 && last >= 2*each:
			t.Errorf("user %d sent at %v still", user, last)
		case user == 0 && last < 2*each:
			t.Errorf("user 0 left at %v", last)
		}
	}
}

// What a closed loop hides: a server that stands still is asked by each user once, and the others of their requests are never due.
func TestUsersAreSlowedByTheTarget(t *testing.T) {
	s := serve(t, &loadtest.Server{FreezeFrom: 300 * time.Millisecond, FreezeFor: 500 * time.Millisecond})
	by, zero := closed(t, usersOf(t, s, 0, schedule.Stage{Users: 3, Think: 10 * time.Millisecond, For: time.Second}))
	from, to := s.Freeze()
	if to.Sub(from) != 500*time.Millisecond {
		t.Fatalf("frozen for %v", to.Sub(from))
	}
	for user, mine := range by {
		met := 0
		for _, x := range mine {
			if due, done := zero.Add(x.Due), zero.Add(x.Done); due.Before(to) && done.After(to) {
				met++
			} else if due.After(from.Add(200*time.Millisecond)) && due.Before(to) {
				t.Errorf("user %d was answered within the freeze: %+v", user, x)
			}
		}
		if met != 1 {
			t.Errorf("user %d met the freeze %d times in %d requests", user, met, len(mine))
		}
	}
}

// A user whose request times out goes on from its deadline.
func TestUsersAfterATimeout(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: 5 * time.Second})
	p := usersOf(t, s, 0, schedule.Stage{Users: 2, For: 1800 * time.Millisecond})
	p.Timeout = 500 * time.Millisecond
	by, _ := closed(t, p)
	for user, mine := range by {
		if len(mine) != 4 { // at 0, 500, 1000 and 1500 ms
			t.Errorf("user %d sent %d requests", user, len(mine))
		}
		for i, x := range mine {
			if x.Class != record.Timeout || x.Due != time.Duration(i)*p.Timeout {
				t.Errorf("user %d: %+v", user, x)
			}
		}
	}
}

func TestUsersEndWithTheContext(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: 30 * time.Millisecond})
	p := usersOf(t, s, 0, schedule.Stage{Users: 4, Think: 20 * time.Millisecond, For: time.Hour}, schedule.Stage{Users: 9, For: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	var mu sync.Mutex
	var got []record.Sample
	began := time.Now()
	err := new(httpload.Generator).Generate(ctx, p, func(time.Time) {}, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, x)
	})
	if took := time.Since(began); err == nil || took > 2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	if !slices.ContainsFunc(got, func(x record.Sample) bool { return x.Class == record.OK }) {
		t.Errorf("%d samples, none ok", len(got))
	}
}

// A request that cannot be made ends every user, and is told of.
func TestUsersWithoutAMessage(t *testing.T) {
	p := usersOf(t, serve(t, new(loadtest.Server)), 0, schedule.Stage{Users: 3, For: time.Hour})
	p.Requests[0].Path = `/{{if eq .Seq 5}}{{index "x" 9}}{{end}}`
	err := new(httpload.Generator).Generate(t.Context(), p, func(time.Time) {}, func(record.Sample) {})
	if err == nil {
		t.Error("no error")
	}
}
