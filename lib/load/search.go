package load

import (
	"math"
	"strconv"
)

// Resolution is how far apart, at most, the highest rate that a [Search] has seen met and the lowest one that it has
// seen not to be are in the end, as a share of the former.
const Resolution = 0.05

// A Search looks for the highest rate at which something holds: it doubles the rate from From on until it does not hold, or
// To is reached, then halves the gap, in logs, down to [Resolution]. What it is told decides what it asks next, and
// nothing else does.
//
//	     unmet       ●
//	                   ●
//	     met     ●       ●  ●
//	           ●
//	         ●
//	rate  1  2  4  8 …
type Search struct {
	From, To float64 // requests per second, 0 < From ≤ To

	met   float64 // the highest rate that was met; 0: none
	unmet float64 // the lowest that was not; 0: none
	over  bool
}

// Next is the rate to try. It reports false when the search is over: nothing more can be found, or
// needs to be.
func (s *Search) Next() (rate float64, ok bool) {
	switch {
	case s.over, s.unmet > 0 && s.met == 0, s.met >= s.To:
		return 0, false
	case s.met == 0:
		return s.From, true
	case s.unmet == 0:
		return min(2*s.met, s.To), true
	case s.unmet <= s.met*(1+Resolution):
		return 0, false
	}
	middle := math.Sqrt(s.met * s.unmet)
	// Three digits are what a person reads, and finer than the resolution.
	if r := round3(middle); r > s.met && r < s.unmet {
		middle = r
	}
	return middle, true
}

// Tell says what came of the rate that Next gave.
func (s *Search) Tell(rate float64, met bool) {
	if met {
		s.met = max(s.met, rate)
	} else if s.unmet == 0 || rate < s.unmet {
		s.unmet = rate
	}
}

// Stop ends the search: what the rate does cannot be told.
func (s *Search) Stop() { s.over = true }

// Most is how many rates a search can try at the most.
func (s Search) Most() int {
	doublings := 1 + math.Ceil(math.Log2(s.To/s.From)-1e-9)
	halvings := math.Ceil(math.Log2(math.Ln2 / math.Log1p(Resolution)))
	// Rounding to three digits can cost one more.
	return int(doublings+halvings) + 1
}

// round3 keeps three digits.
func round3(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64) // it reads what it wrote
	return r
}
