package schedule

import (
	"math"
	"sort"
	"time"
)

// A Timetable is an open schedule, compiled: when each of its requests is due. It never changes and is safe for concurrent use. A due time
// takes a few nanoseconds at a constant rate, and a few hundred elsewhere, whatever its number.
type Timetable struct {
	rate   float64 // of a steady one with uniform arrivals, else 0
	warm   float64 // requests of the warm-up
	warmup time.Duration
	first  float64 // rate of the warm-up

	count  uint64
	end    time.Duration
	pieces []piece

	before, within *order // of the warm-up's and measured load's arrivals at random, else nil
	total          float64
}

// A piece is a stage and what comes before it.
type piece struct {
	Stage
	from   time.Duration
	before float64 // requests due before it, warm-up not counted
}

// Timetable compiles the schedule, which must be one that [Schedule.Check] takes. That of a closed loop is empty.
func (s Schedule) Timetable() *Timetable {
	t := &Timetable{warmup: s.Warmup, end: s.For()}
	if len(s.Stages) == 0 || s.Closed() {
		return t
	}
	warm, measured := s.Warm(), s.measured()
	t.warm, t.count, t.first = float64(warm), warm+measured, s.Stages[0].Rate
	at := time.Duration(0)
	for _, g := range s.Stages {
		t.pieces = append(t.pieces, piece{g, at, t.total})
		at += g.For
		t.total += g.integral(g.For.Seconds())
	}
	switch {
	case s.Arrivals == Poisson:
		t.before, t.within = newOrder(s.Seed, 0, warm), newOrder(s.Seed, 1, measured)
	case s.Steady():
		t.rate = s.Stages[0].Rate
	}
	return t
}

// Count is how many requests there are, warm-up included.
func (t *Timetable) Count() uint64 { return t.count }

// Warm is how many requests belong to the warm-up: the first ones.
func (t *Timetable) Warm() uint64 { return uint64(t.warm) }

// Due is when request n, counted from 0 and below Count, is to be sent, as an offset from zero: below it in the warm-up, from it on in measured
// load. It never falls as n rises.
func (t *Timetable) Due(n uint64) time.Duration {
	k := float64(n) - t.warm
	if t.rate > 0 { // by far the most frequent, and asked several times for each request
		return time.Duration(math.Floor(k * float64(time.Second) / t.rate))
	}
	return t.due(k)
}

// due is when request k is to be sent, counted from the first of measured load.
func (t *Timetable) due(k float64) time.Duration {
	switch {
	case k < 0 && t.before != nil:
		at := t.before.share(uint64(k+t.warm))*float64(t.warmup) - float64(t.warmup)
		return min(time.Duration(math.Floor(at)), -1)
	case k < 0:
		return time.Duration(math.Floor(k * float64(time.Second) / t.first))
	case t.within != nil:
		return t.moment(t.within.share(uint64(k)) * t.total)
	}
	return t.moment(k)
}

// moment is when n requests of measured load were due, a real number: the inverse of the integral of the rate.
func (t *Timetable) moment(n float64) time.Duration {
	reached := n + slack(n) // a stage that begins with a whole number begins with that request
	i := sort.Search(len(t.pieces), func(i int) bool { return t.pieces[i].before > reached }) - 1
	if i < 0 {
		return 0
	}
	p := &t.pieces[i]
	at := p.from + time.Duration(math.Floor(p.inverse(n-p.before)*float64(time.Second)))
	return max(min(at, p.from+p.For-1), 0)
}
