package load

import (
	"math"
	"slices"
	"strconv"
)

// Resolution is how far apart, at most, the highest rate that a [Search] has seen met and the lowest one that it has
// seen not to be are in the end, as a share of the former.
const Resolution = 0.05

// A Search looks for the highest rate at which something holds: it doubles the rate from From on until it does not hold, or
// To is reached, then halves the gap, in logs, down to [Resolution]. In the end the lowest rate that did not hold is tried once
// more: a moment in which the machine was busy must not set the limit. What it is told decides what it asks next, and nothing
// else does.
//
//	     unmet       ●            ●
//	                   ●
//	     met     ●       ●  ●  ●
//	           ●
//	         ●
//	rate  1  2  4  8 …
type Search struct {
	From, To float64 // requests per second, 0 < From ≤ To

	met   float64   // the highest rate that was met; 0: none
	unmet []float64 // those above it that were not, rising
	twice bool      // the lowest of them was tried twice
	tries int
	over  bool
}

// Next is the rate to try. It reports false when the search is over: nothing more can be found, or
// needs to be.
func (s *Search) Next() (rate float64, ok bool) {
	if s.over || s.met >= s.To || s.tries >= s.Most() {
		return 0, false
	}
	if len(s.unmet) == 0 {
		return min(max(2*s.met, s.From), s.To), true
	}
	lowest := s.unmet[0]
	if lowest <= s.met*(1+Resolution) || s.met == 0 {
		return lowest, !s.twice
	}
	middle := math.Sqrt(s.met * lowest)
	// Three digits are what a person reads, and finer than the resolution.
	if r := round3(middle); r > s.met && r < lowest {
		middle = r
	}
	return middle, true
}

// Tell says what came of the rate that Next gave.
func (s *Search) Tell(rate float64, met bool) {
	s.tries++
	if met {
		s.met, s.twice = max(s.met, rate), false
		s.unmet = slices.DeleteFunc(s.unmet, func(r float64) bool { return r <= s.met })
		return
	}
	if s.twice = len(s.unmet) > 0 && s.unmet[0] == rate; !s.twice {
		s.unmet = append(s.unmet, rate)
		slices.Sort(s.unmet)
	}
}

// Stop ends the search: what the rate does cannot be told.
func (s *Search) Stop() { s.over = true }

// Usual is how many rates a search tries if it comes to the end of its range, and nothing is met that was not before.
func (s Search) Usual() int {
	doublings := 1 + math.Ceil(math.Log2(s.To/s.From)-1e-9)
	halvings := math.Ceil(math.Log2(math.Ln2 / math.Log1p(Resolution)))
	return int(doublings+halvings) + 2 // rounding to three digits can cost one more, and the lowest is tried again
}

// spare is for what was tried again, and met.
const spare = 8

// Most is how many rates a search tries at the most.
func (s Search) Most() int { return s.Usual() + spare }

// round3 keeps three digits.
func round3(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64) // it reads what it wrote
	return r
}
