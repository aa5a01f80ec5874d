package httpload

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

// What was overslept is found again, for as long as requests that were due in it can be there, while the pacer goes on.
func TestOversleeps(t *testing.T) {
	const ms = time.Millisecond
	r := &run{plan: load.Plan{Timeout: 500 * ms}}
	late := make(map[time.Duration]time.Duration) // by when a request was due
	random := rand.New(rand.NewPCG(1, 2))
	var others sync.WaitGroup
	defer others.Wait()
	end := make(chan bool)
	defer close(end)
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					r.lateness(100 * ms)
				}
			}
		})
	}
	for from, to := time.Duration(0), time.Duration(0); from < 3*time.Second; {
		to = max(to, from+time.Duration(random.IntN(20))*ms) // the clock does not go back
		r.overslept(from, to)
		if to > from {
			for due := from; due < to; due += ms {
				late[due] = to - due
			}
			if last := r.sleeps.Load().last; last.from < from { // it went on
				for due := last.from; due < to; due += ms {
					late[due] = to - due
				}
			}
		}
		for due := max(0, to-2*r.plan.Timeout+20*ms); due <= to+5*ms; due += ms {
			if got := r.lateness(due); got != late[due] {
				t.Fatalf("at %v: a request due at %v is %v late, want %v", to, due, got, late[due])
			}
		}
		from += time.Duration(1+random.IntN(30)) * ms
	}
	if n := len(r.sleeps.Load().ended); n > 1000 {
		t.Errorf("%d are kept of one second", n)
	}
}

// However many there are, one more costs little: the pacer has requests to give out.
func TestOversleepIsCheap(t *testing.T) {
	r := &run{plan: load.Plan{Timeout: time.Hour}}
	from := time.Duration(0)
	one := func() {
		r.overslept(from, from+time.Millisecond)
		from += 2 * time.Millisecond
	}
	for range 10_000 {
		one()
	}
	if n := testing.AllocsPerRun(1000, one); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
