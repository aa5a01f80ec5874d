// Package schedule says when requests are due: a pure function of their number, in closed form, for every shape that load has.
//
// Requests are counted, not clocked. How many there are follows from the rates alone and is the same in every arm, and so is when each
// is due, however slow the answers are. A closed loop is the exception: there users say when, and the target says it to them.
package schedule

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A Schedule is load over time: a warm-up, and measured load in stages, one after the other from zero on.
//
//	        zero
//	 warmup  |   stage   |      stage      |
//	|· · · · |· · · · · ·|· ·  ·   ·    ·  |
//	0 1 2    Warm()                         Count()
//
// The warm-up is at the rate that the first stage begins with, or of its users.
type Schedule struct {
	Warmup   time.Duration `json:"warmup"`
	Stages   []Stage       `json:"stages"`
	Arrivals Arrivals      `json:"arrivals,omitempty"` // "": uniform
	Seed     int64         `json:"seed,omitempty"`     // of Poisson arrivals
}

// A Stage is a part of measured load of one shape. Rates are requests per second.
//
//	Rate                 constant
//	Rate, To             a ramp: linear from Rate to To
//	Rate, Swing, Period  a sine: Rate + Swing × sin(2πt/Period), t from the stage's beginning on
//	Users, Think         a closed loop
type Stage struct {
	Rate   float64       `json:"rate,omitempty"`
	To     float64       `json:"to,omitempty"`
	Swing  float64       `json:"swing,omitempty"` // at most Rate
	Period time.Duration `json:"period,omitempty"`

	Users int           `json:"users,omitempty"` // each sends, waits for the answer, thinks, and begins again
	Think time.Duration `json:"think,omitempty"` // between an answer and the user's next request, always the same

	For time.Duration `json:"for"`
}

// Arrivals say how requests lie around the rate.
type Arrivals string

// The ways to arrive. Both have the same number of requests.
const (
	Uniform Arrivals = "uniform" // as evenly as the rate allows
	Poisson Arrivals = "poisson" // as independent clients come: at random, alike for the same seed
)

// Limits of a schedule.
const (
	MaxStages  = 100
	MaxUsers   = 10_000
	MaxPoisson = 20_000_000 // requests with Poisson arrivals: half a byte is kept for each
)

// Constant is a constant rate.
func Constant(rate float64, warmup, length time.Duration) Schedule {
	return Schedule{Warmup: warmup, Stages: []Stage{{Rate: rate, For: length}}}
}

// Check reports what makes a schedule one that cannot be kept.
func (s Schedule) Check() error {
	switch {
	case len(s.Stages) == 0:
		return fmt.Errorf("the schedule has no stages")
	case len(s.Stages) > MaxStages:
		return fmt.Errorf("%d stages: at most %d", len(s.Stages), MaxStages)
	case s.Warmup < 0:
		return fmt.Errorf("warm-up of %v: must not be below 0", s.Warmup)
	case s.Arrivals != "" && s.Arrivals != Uniform && s.Arrivals != Poisson:
		return fmt.Errorf("arrivals %q: must be %s or %s", s.Arrivals, Uniform, Poisson)
	case s.Closed() && s.Arrivals == Poisson:
		return fmt.Errorf("poisson arrivals of users: in a closed loop the target says when a user's next request comes")
	}
	for i, one := range s.Stages {
		if err := one.check(); err != nil {
			if len(s.Stages) > 1 {
				err = fmt.Errorf("stage %d: %w", i+1, err)
			}
			return err
		}
		if one.closed() != s.Stages[0].closed() {
			return fmt.Errorf("stage %d: users and rates in one load: its stages are all open or all closed", i+1)
		}
	}
	if n := s.Count(); s.Arrivals == Poisson && n > MaxPoisson {
		return fmt.Errorf("%d requests with poisson arrivals: at most %d", n, MaxPoisson)
	}
	return nil
}

func (g Stage) check() error {
	above := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	switch {
	case g.For <= 0:
		return fmt.Errorf("measured load lasts %v: must be above 0", g.For)
	case g.Users > MaxUsers:
		return fmt.Errorf("%d users: at most %d", g.Users, MaxUsers)
	case g.Users < 0:
		return fmt.Errorf("%d users: must be above 0", g.Users)
	case g.closed() && (g.Rate != 0 || g.To != 0 || g.Swing != 0 || g.Period != 0):
		return fmt.Errorf("users and a rate: it is one or the other")
	case g.Think < 0 || !g.closed() && g.Think > 0:
		return fmt.Errorf("think %v: it is of users, and not below 0", g.Think)
	case g.closed():
		return nil
	case !above(g.Rate):
		return fmt.Errorf("rate %v/s: must be above 0", g.Rate)
	case g.To != 0 && !above(g.To):
		return fmt.Errorf("rate %v/s at the end of a ramp: must be above 0", g.To)
	case g.To != 0 && (g.Swing != 0 || g.Period != 0):
		return fmt.Errorf("a ramp and a sine: it is one or the other")
	case (g.Swing != 0) != (g.Period != 0):
		return fmt.Errorf("a sine needs a swing and a period")
	case g.Swing != 0 && !(g.Swing > 0 && g.Swing <= g.Rate):
		return fmt.Errorf("swing %v/s: must be above 0, and at most the rate, %v/s", g.Swing, g.Rate)
	case g.Period < 0:
		return fmt.Errorf("period %v: must be above 0", g.Period)
	}
	return nil
}

// For is how long measured load lasts.
func (s Schedule) For() time.Duration {
	var d time.Duration
	for _, g := range s.Stages {
		d += g.For
	}
	return d
}

// Closed reports whether users say when requests are sent, and not a rate.
func (s Schedule) Closed() bool { return len(s.Stages) > 0 && s.Stages[0].closed() }

// Steady reports whether the rate is one and the same from the beginning to the end.
func (s Schedule) Steady() bool {
	return len(s.Stages) == 1 && s.Stages[0].Rate > 0 && s.Stages[0].To == 0 && s.Stages[0].Swing == 0
}

// at is the stage at a moment, and when it began. Before zero it is the first, after the end the last.
func (s Schedule) at(t time.Duration) (g Stage, from time.Duration) {
	for i, g := range s.Stages {
		if t < from+g.For || i == len(s.Stages)-1 {
			return g, from
		}
		from += g.For
	}
	return Stage{}, 0
}

// RateAt is the rate at a moment, as an offset from zero; 0 outside of load, and in a closed loop.
func (s Schedule) RateAt(t time.Duration) float64 {
	if t < -s.Warmup || t >= s.For() {
		return 0
	}
	g, from := s.at(t)
	return g.rate(max(t-from, 0).Seconds())
}

// UsersAt is how many users there are at a moment; 0 outside of load, and in an open one.
func (s Schedule) UsersAt(t time.Duration) int {
	if t < -s.Warmup || t >= s.For() {
		return 0
	}
	g, _ := s.at(t)
	return g.Users
}

// Peak is the highest rate of all; 0 in a closed loop.
func (s Schedule) Peak() float64 {
	peak := 0.0
	for _, g := range s.Stages {
		_, high := g.extremes()
		peak = max(peak, high)
	}
	return peak
}

// Lowest is the lowest rate of measured load; 0 in a closed loop.
func (s Schedule) Lowest() float64 {
	if len(s.Stages) == 0 {
		return 0
	}
	lowest := math.Inf(1)
	for _, g := range s.Stages {
		low, _ := g.extremes()
		lowest = min(lowest, low)
	}
	return lowest
}

// Mean is the mean rate of measured load; 0 in a closed loop.
func (s Schedule) Mean() float64 {
	if s.For() <= 0 {
		return 0
	}
	return s.total() / s.For().Seconds()
}

// Users is the most users that there are at once; 0 in an open load.
func (s Schedule) Users() int {
	most := 0
	for _, g := range s.Stages {
		most = max(most, g.Users)
	}
	return most
}

// total is the integral of the rate over measured load.
func (s Schedule) total() float64 {
	sum := 0.0
	for _, g := range s.Stages {
		sum += g.integral(g.For.Seconds())
	}
	return sum
}

// Warm is how many requests belong to the warm-up: the first ones. A closed loop has none that are known beforehand.
func (s Schedule) Warm() uint64 {
	if len(s.Stages) == 0 || s.Closed() {
		return 0
	}
	n := s.Stages[0].Rate * s.Warmup.Seconds()
	return uint64(math.Floor(n + slack(n)))
}

// Count is how many requests the schedule has, warm-up included: in measured load those k of 0, 1, 2, … before which less than the whole
// integral of the rate lies. 0 in a closed loop.
func (s Schedule) Count() uint64 { return s.Warm() + s.measured() }

func (s Schedule) measured() uint64 {
	n := s.total()
	return uint64(max(math.Ceil(n-slack(n)), 0))
}

// slack is by how much a count may be off by rounding: a rate times a time that should be a whole number may not be.
func slack(n float64) float64 { return max(1e-9, 2e-15*n) }

// String writes a schedule as `tutti plan` does, without its warm-up.
func (s Schedule) String() string {
	parts := make([]string, len(s.Stages))
	for i, g := range s.Stages {
		parts[i] = g.String()
	}
	text := strings.Join(parts, ", then ")
	if s.Closed() {
		text = "a closed loop of " + text
	}
	if s.Arrivals == Poisson {
		text += ", Poisson arrivals"
	}
	return text
}

// String writes a stage in words.
func (g Stage) String() string {
	switch {
	case g.closed() && g.Users == 1:
		return fmt.Sprintf("1 user for %v, think %v", g.For, g.Think)
	case g.closed():
		return fmt.Sprintf("%d users for %v, think %v", g.Users, g.For, g.Think)
	case g.To != 0:
		return fmt.Sprintf("%v/s to %v/s over %v", g.Rate, g.To, g.For)
	case g.Swing != 0:
		return fmt.Sprintf("%v/s ± %v/s every %v for %v", g.Rate, g.Swing, g.Period, g.For)
	}
	return fmt.Sprintf("%v/s for %v", g.Rate, g.For)
}
