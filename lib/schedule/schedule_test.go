package schedule_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/tutti-bench/tutti/lib/schedule"
)

const (
	sec  = time.Second
	hour = time.Hour
)

// shapes are schedules of every shape, from one request an hour to a million a second.
var shapes = map[string]schedule.Schedule{
	"constant":      schedule.Constant(300, 5*sec, 60*sec),
	"odd":           schedule.Constant(33.3, 1500*time.Millisecond, 7777*time.Millisecond),
	"hourly":        schedule.Constant(1.0/3600, 5*sec, 24*hour),
	"million":       schedule.Constant(1e6, 10*time.Millisecond, 100*time.Millisecond),
	"up":            of(schedule.Stage{Rate: 10, To: 1000, For: 20 * sec}),
	"down":          of(schedule.Stage{Rate: 1000, To: 0.5, For: 20 * sec}),
	"flat ramp":     of(schedule.Stage{Rate: 100, To: 100.0000001, For: 60 * sec}),
	"fast ramp":     of(schedule.Stage{Rate: 1, To: 1e6, For: 200 * time.Millisecond}),
	"slow ramp":     of(schedule.Stage{Rate: 1.0 / 3600, To: 10.0 / 3600, For: 24 * hour}),
	"sine":          of(schedule.Stage{Rate: 200, Swing: 150, Period: 10 * sec, For: 35 * sec}),
	"whole swing":   of(schedule.Stage{Rate: 500, Swing: 500, Period: 7 * sec, For: 30 * sec}),
	"slow sine":     of(schedule.Stage{Rate: 2.0 / 3600, Swing: 2.0 / 3600, Period: 24 * hour, For: 48 * hour}),
	"fast sine":     of(schedule.Stage{Rate: 5e5, Swing: 5e5, Period: 20 * time.Millisecond, For: 200 * time.Millisecond}),
	"part of sine":  of(schedule.Stage{Rate: 100, Swing: 60, Period: 100 * sec, For: 15 * sec}),
	"day":           of(schedule.Stage{Rate: 50, For: 10 * sec}, schedule.Stage{Rate: 50, To: 400, For: 7 * sec}, schedule.Stage{Rate: 400, Swing: 30, Period: 3 * sec, For: 10 * sec}, schedule.Stage{Rate: 400, To: 20, For: 5 * sec}),
	"odd borders":   of(schedule.Stage{Rate: 0.7, For: 1300 * time.Millisecond}, schedule.Stage{Rate: 0.3, For: 2100 * time.Millisecond}, schedule.Stage{Rate: 33.3, For: 1001 * time.Millisecond}),
	"empty between": of(schedule.Stage{Rate: 100, For: sec}, schedule.Stage{Rate: 0.01, For: sec}, schedule.Stage{Rate: 100, For: sec}),
	"poisson":       at(schedule.Constant(200, 5*sec, 60*sec)),
	"poisson ramp":  at(of(schedule.Stage{Rate: 20, To: 600, For: 30 * sec})),
	"poisson day":   at(of(schedule.Stage{Rate: 50, For: 10 * sec}, schedule.Stage{Rate: 300, Swing: 300, Period: 8 * sec, For: 20 * sec})),
	"poisson few":   at(schedule.Constant(0.1, 5*sec, 60*sec)),
}

func of(stages ...schedule.Stage) schedule.Schedule {
	return schedule.Schedule{Warmup: 2 * sec, Stages: stages}
}

func at(s schedule.Schedule) schedule.Schedule {
	s.Arrivals, s.Seed = schedule.Poisson, 7
	return s
}

// before is how many requests are due before t in measured load, summed by Simpson's rule over slices so thin that each is nearly straight:
// the rates alone say so, by none of the formulas that are tested.
func before(s schedule.Schedule, t time.Duration) float64 {
	sum, from := 0.0, time.Duration(0)
	for _, g := range s.Stages {
		to := min(from+g.For, t)
		if to <= from {
			break
		}
		slices := 500.0
		if g.Period > 0 {
			slices *= math.Ceil(float64(to-from) / float64(g.Period))
		}
		width := float64(to-from) / slices
		rate := func(k float64) float64 {
			at := float64(from) + k*width
			return s.RateAt(min(time.Duration(at), from+g.For-1))
		}
		for k := range int(slices) {
			sum += (rate(float64(k)) + 4*rate(float64(k)+0.5) + rate(float64(k)+1)) / 6 * width / float64(sec)
		}
		from += g.For
	}
	return sum
}

// some are numbers to look at: all of a few, else the ends and a walk between them.
func some(from, to uint64) []uint64 {
	var list []uint64
	for n := from; n < to; n++ {
		list = append(list, n)
		if n > from+2000 && n < to-2000 {
			n += 96
		}
	}
	return list
}

func TestEveryShapeIsSound(t *testing.T) {
	for name, s := range shapes {
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheCountIsTheIntegral(t *testing.T) {
	for name, s := range shapes {
		whole := before(s, s.For())
		measured := float64(s.Count() - s.Warm())
		if want := math.Ceil(whole - 1e-6); measured != want {
			t.Errorf("%s: %v requests of measured load, the integral is %v", name, measured, whole)
		}
		if want := math.Floor(s.Stages[0].Rate*s.Warmup.Seconds() + 1e-6); float64(s.Warm()) != want {
			t.Errorf("%s: %d requests of the warm-up, want %v", name, s.Warm(), want)
		}
		times := s.Timetable()
		if times.Count() != s.Count() || times.Warm() != s.Warm() {
			t.Errorf("%s: the timetable has %d and %d requests, the schedule %d and %d", name, times.Warm(), times.Count(), s.Warm(), s.Count())
		}
	}
}

func TestDueNeverFallsAndStaysInItsPart(t *testing.T) {
	for name, s := range shapes {
		times, last := s.Timetable(), time.Duration(math.MinInt64)
		for n := range times.Count() {
			due := times.Due(n)
			switch {
			case due < last:
				t.Fatalf("%s: request %d is due at %v, the one before it at %v", name, n, due, last)
			case n < times.Warm() && !(due < 0 && due >= -s.Warmup-1):
				t.Fatalf("%s: request %d of the warm-up is due at %v", name, n, due)
			case n >= times.Warm() && !(due >= 0 && due < s.For()):
				t.Fatalf("%s: request %d of measured load is due at %v", name, n, due)
			}
			last = due
		}
	}
}

func TestDueIsTheInverseOfTheIntegral(t *testing.T) {
	for name, s := range shapes {
		if s.Arrivals == schedule.Poisson {
			continue
		}
		times := s.Timetable()
		for _, n := range some(times.Warm(), times.Count()) {
			if n > times.Warm()+100 && n%97 != 0 { // the sum takes long
				continue
			}
			due := times.Due(n)
			got, want := before(s, due), float64(n-times.Warm())
			// It is due within this nanosecond: its number lies between the integrals there and one later.
			if one := s.Peak() * 1e-9; math.Abs(got-want) > 2*one+1e-6*max(1, want*1e-3) {
				t.Fatalf("%s: request %v is due at %v, before which %v requests are due", name, want, due, got)
			}
		}
	}
}

// drawn is any schedule that passes Check, of a few thousand requests at most.
func drawn(r *rand.Rand) schedule.Schedule {
	s := schedule.Schedule{Warmup: time.Duration(r.IntN(3000)) * time.Millisecond}
	rate := func() float64 { return math.Exp(r.Float64()*14 - 6) } // 1/400 to 3000 per second
	for range 1 + r.IntN(6) {
		g := schedule.Stage{Rate: rate(), For: time.Duration(1+r.IntN(2000)) * time.Millisecond}
		switch r.IntN(3) {
		case 0:
			g.To = rate()
		case 1:
			g.Swing = g.Rate * []float64{1, 0.999999, r.Float64() + 1e-9}[r.IntN(3)]
			g.Period = time.Duration(20+r.IntN(5000)) * time.Millisecond
		}
		s.Stages = append(s.Stages, g)
	}
	if r.IntN(3) == 0 {
		s.Arrivals, s.Seed = schedule.Poisson, r.Int64()
	}
	return s
}

func TestAnyScheduleIsKept(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		s := drawn(r)
		if err := s.Check(); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
		times, whole := s.Timetable(), before(s, s.For())
		if n := float64(times.Count() - times.Warm()); math.Abs(n-math.Ceil(whole)) > 1 || n == 0 {
			t.Fatalf("%v: %v requests, the integral is %v", s, n, whole)
		}
		last := -s.Warmup - 1
		for n := range times.Count() {
			due := times.Due(n)
			if due < last || (n < times.Warm()) != (due < 0) || due >= s.For() {
				t.Fatalf("%v: request %d of %d, %d of the warm-up, is due at %v, the one before it at %v", s, n, times.Count(), times.Warm(), due, last)
			}
			last = due
		}
		for _, n := range []uint64{times.Warm(), (times.Warm() + times.Count()) / 2, times.Count() - 1} {
			if got, want := before(s, times.Due(n)), float64(n-times.Warm()); s.Arrivals == "" && math.Abs(got-want) > 1e-4*max(1, want) {
				t.Fatalf("%v: request %v is due at %v, before which %v are due", s, want, times.Due(n), got)
			}
		}
	}
}

func TestTheFirstOfMeasuredLoadIsDueAtZero(t *testing.T) {
	for name, s := range shapes {
		if times := s.Timetable(); s.Arrivals != schedule.Poisson && times.Due(times.Warm()) != 0 {
			t.Errorf("%s: it is due at %v", name, times.Due(times.Warm()))
		}
	}
}

func TestAStageBeginsWhereTheOneBeforeItEnds(t *testing.T) {
	s := of(schedule.Stage{Rate: 100, For: 3 * sec}, schedule.Stage{Rate: 10, To: 90, For: 2 * sec}, schedule.Stage{Rate: 50, For: sec})
	times := s.Timetable()
	for n, want := range map[uint64]time.Duration{
		200: 0, 499: 2990 * time.Millisecond, 500: 3 * sec, // 300 of the first stage
		600: 5 * sec, 601: 5020 * time.Millisecond, 649: 5980 * time.Millisecond, // 100 of the ramp
	} {
		if got := times.Due(n); got != want {
			t.Errorf("request %d is due at %v, want %v", n, got, want)
		}
	}
	if n := times.Count(); n != 650 {
		t.Errorf("%d requests, want 200 of the warm-up, 300, 100 and 50", n)
	}
}

// A constant rate is due at k/rate to the nanosecond, whatever path the code takes for it.
func TestStagesOfOneRateAreThatRate(t *testing.T) {
	one := schedule.Constant(250, 2*sec, 6*sec).Timetable()
	three := of(schedule.Stage{Rate: 250, For: sec}, schedule.Stage{Rate: 250, To: 250, For: 2 * sec}, schedule.Stage{Rate: 250, For: 3 * sec}).Timetable()
	if one.Count() != three.Count() {
		t.Fatalf("%d and %d requests", one.Count(), three.Count())
	}
	for n := range one.Count() {
		if a, b := one.Due(n), three.Due(n); a != b {
			t.Fatalf("request %d is due at %v, in stages at %v", n, a, b)
		}
	}
}

func TestCountsOfAConstantRate(t *testing.T) {
	for _, c := range []struct {
		rate        schedule.Schedule
		warm, count uint64
	}{
		{schedule.Constant(100, 0, time.Second), 0, 100},
		{schedule.Constant(100, 5*time.Second, time.Second), 500, 600},
		{schedule.Constant(0.5, 0, 3*time.Second), 0, 2},                // due at 0 and 2 s
		{schedule.Constant(3, 500*time.Millisecond, time.Second), 1, 4}, // due at −1/3 s
		{schedule.Constant(1000.0/3, 0, 3*time.Second), 0, 1000},
		{schedule.Constant(5000.0/60, 0, time.Minute), 0, 5000},
		{schedule.Constant(0.1, 0, 100*time.Millisecond), 0, 1},
		{schedule.Constant(1e6, 0, time.Minute), 0, 60_000_000},
	} {
		if c.rate.Warm() != c.warm || c.rate.Count() != c.count {
			t.Errorf("%+v: %d warm of %d, want %d of %d", c.rate, c.rate.Warm(), c.rate.Count(), c.warm, c.count)
		}
	}
}

// For any rate the schedule rises, its measured part is exactly what is due in [0, For), and no
// request is off by more than a nanosecond or so from its place.
func TestAConstantRate(t *testing.T) {
	property := func(rate uint16, milli uint16, warmup, measured uint16) bool {
		perSecond := float64(rate) + float64(milli%1000)/1000 + 0.1
		before, length := time.Duration(warmup)*time.Millisecond, time.Duration(measured)*time.Millisecond+time.Millisecond
		c := schedule.Constant(perSecond, before, length).Timetable()
		warm, count := c.Warm(), c.Count()
		if c.Due(warm) != 0 || c.Due(count-1) >= length || warm > 0 && c.Due(warm-1) >= 0 {
			return false
		}
		if warm > 0 && c.Due(0) < -before-1 {
			return false
		}
		step := max(count/1000, 1)
		last := c.Due(0)
		for n := step; n < count; n += step {
			due := c.Due(n)
			exact := (float64(n) - float64(warm)) / perSecond * 1e9
			if due < last || math.Abs(float64(due)-exact) > 2 {
				return false
			}
			last = due
		}
		return c.Due(count) >= length-2 // rounding down takes at most a nanosecond
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

func TestPoissonArrivalsAreExponentialAndIndependent(t *testing.T) {
	s := at(schedule.Constant(1000, 0, 200*sec))
	times := s.Timetable()
	n := times.Count()
	if n != 200_000 {
		t.Fatalf("%d requests: their number is no chance", n)
	}
	var sum, squares, products float64
	var last float64
	var longer [4]float64
	prev := times.Due(0)
	for k := uint64(1); k < n; k++ {
		due := times.Due(k)
		gap := (due - prev).Seconds() * 1000 // in mean gaps
		prev = due
		sum, squares, products = sum+gap, squares+gap*gap, products+(gap-1)*(last-1)
		last = gap
		for i := range longer {
			if gap > float64(i+1) {
				longer[i]++
			}
		}
	}
	m := float64(n - 1)
	mean, variance, correlation := sum/m, squares/m-sum*sum/m/m, products/m
	for what, v := range map[string][3]float64{
		"mean": {mean, 1, 0.01}, "variance": {variance, 1, 0.02}, "correlation": {correlation, 0, 0.01},
		"P(gap > 1)": {longer[0] / m, math.Exp(-1), 0.005}, "P(gap > 2)": {longer[1] / m, math.Exp(-2), 0.004},
		"P(gap > 3)": {longer[2] / m, math.Exp(-3), 0.002}, "P(gap > 4)": {longer[3] / m, math.Exp(-4), 0.002},
	} {
		if math.Abs(v[0]-v[1]) > v[2] {
			t.Errorf("%s of the gaps is %v, want %v ± %v", what, v[0], v[1], v[2])
		}
	}
}

// With a rate that changes the numbers of seconds are those of the rate, and vary as a Poisson process's do.
func TestPoissonArrivalsFollowTheRate(t *testing.T) {
	s := at(of(schedule.Stage{Rate: 100, Swing: 100, Period: 20 * sec, For: 400 * sec}))
	times := s.Timetable()
	seconds := make([]float64, 400)
	for n := times.Warm(); n < times.Count(); n++ {
		seconds[times.Due(n)/sec]++
	}
	chi := 0.0
	for i, got := range seconds {
		want := before(s, time.Duration(i+1)*sec) - before(s, time.Duration(i)*sec)
		chi += (got - want) * (got - want) / want
	}
	// χ² with 399 degrees of freedom: 399 ± 28. Evenly spread requests would be near 0.
	if chi < 315 || chi > 485 {
		t.Errorf("χ² of the numbers by second is %v, want about 399", chi)
	}
}

func TestPoissonArrivalsComeFromTheSeed(t *testing.T) {
	a, b := at(schedule.Constant(100, sec, 10*sec)), at(schedule.Constant(100, sec, 10*sec))
	b.Seed++
	ta, again, tb := a.Timetable(), a.Timetable(), b.Timetable()
	same := 0
	for n := range ta.Count() {
		if ta.Due(n) != again.Due(n) {
			t.Fatalf("request %d is due at another time", n)
		}
		if ta.Due(n) == tb.Due(n) {
			same++
		}
	}
	if same > 5 {
		t.Errorf("another seed has %d of %d requests at the same times", same, ta.Count())
	}
	if warm, first := ta.Due(3)-ta.Due(2), ta.Due(103)-ta.Due(102); warm == first {
		t.Error("the warm-up has the arrivals of measured load")
	}
}

func TestRates(t *testing.T) {
	for name, c := range map[string]struct {
		s                  schedule.Schedule
		low, peak, mean    float64
		at                 time.Duration
		rate               float64
		steady             bool
		peakUsers, usersAt int
	}{
		"constant":     {s: shapes["constant"], low: 300, peak: 300, mean: 300, at: 30 * sec, rate: 300, steady: true},
		"warm-up":      {s: shapes["up"], low: 10, peak: 1000, mean: 505, at: -sec, rate: 10},
		"up":           {s: shapes["up"], low: 10, peak: 1000, mean: 505, at: 10 * sec, rate: 505},
		"after":        {s: shapes["up"], low: 10, peak: 1000, mean: 505, at: 20 * sec, rate: 0},
		"sine":         {s: of(schedule.Stage{Rate: 200, Swing: 150, Period: 10 * sec, For: 30 * sec}), low: 50, peak: 350, mean: 200, at: 7500 * time.Millisecond, rate: 50},
		"rising half":  {s: of(schedule.Stage{Rate: 200, Swing: 150, Period: 10 * sec, For: 5 * sec}), low: 200, peak: 350, mean: 200 + 150*2/math.Pi, at: 2500 * time.Millisecond, rate: 350},
		"first eighth": {s: of(schedule.Stage{Rate: 100, Swing: 100, Period: 8 * sec, For: sec}), low: 100, peak: 100 + 100*math.Sqrt2/2, mean: 100 + 100*4/math.Pi*(1-math.Sqrt2/2), at: 0, rate: 100},
		"stages":       {s: shapes["day"], low: 20, peak: 430, mean: (500 + 225*7 + 400*10 + 30*3/math.Pi*0.75 + 210*5) / 32, at: 31 * sec, rate: 96},
		"users":        {s: of(schedule.Stage{Users: 5, For: sec}, schedule.Stage{Users: 9, For: sec}, schedule.Stage{Users: 2, For: sec}), at: 1500 * time.Millisecond, peakUsers: 9, usersAt: 9},
	} {
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-6*max(1, want) {
				t.Errorf("%s: %s is %v, want %v", name, what, got, want)
			}
		}
		near("lowest", c.s.Lowest(), c.low)
		near("peak", c.s.Peak(), c.peak)
		near("mean", c.s.Mean(), c.mean)
		near("rate", c.s.RateAt(c.at), c.rate)
		near("users", float64(c.s.Users()), float64(c.peakUsers))
		near("users then", float64(c.s.UsersAt(c.at)), float64(c.usersAt))
		if c.s.Steady() != c.steady || c.s.Closed() != (c.peakUsers > 0) {
			t.Errorf("%s: steady %v, closed %v", name, c.s.Steady(), c.s.Closed())
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	one := func(g schedule.Stage) schedule.Schedule { g.For = sec; return of(g) }
	for want, s := range map[string]schedule.Schedule{
		"no stages":             {},
		"must be above 0":       one(schedule.Stage{}),
		"rate -1/s":             one(schedule.Stage{Rate: -1}),
		"rate +Inf/s":           one(schedule.Stage{Rate: math.Inf(1)}),
		"rate NaN/s":            one(schedule.Stage{Rate: math.NaN()}),
		"lasts 0s":              of(schedule.Stage{Rate: 1}),
		"at the end of a ramp":  one(schedule.Stage{Rate: 1, To: -1}),
		"a ramp and a sine":     one(schedule.Stage{Rate: 1, To: 2, Swing: 1, Period: sec}),
		"a swing and a period":  one(schedule.Stage{Rate: 1, Swing: 1}),
		"at most the rate, 1/s": one(schedule.Stage{Rate: 1, Swing: 1.5, Period: sec}),
		"users and a rate:":     one(schedule.Stage{Rate: 1, Users: 1}),
		"users and rates in":    {Stages: []schedule.Stage{{Rate: 1, For: sec}, {Users: 1, For: sec}}},
		"stage 2: rate 0/s":     {Stages: []schedule.Stage{{Rate: 1, For: sec}, {For: sec}}},
		"10001 users":           one(schedule.Stage{Users: 10_001}),
		"think":                 one(schedule.Stage{Rate: 1, Think: sec}),
		"warm-up of -1s":        {Warmup: -sec, Stages: []schedule.Stage{{Rate: 1, For: sec}}},
		`arrivals "bursts"`:     {Arrivals: "bursts", Stages: []schedule.Stage{{Rate: 1, For: sec}}},
		"the target says when":  {Arrivals: schedule.Poisson, Stages: []schedule.Stage{{Users: 1, For: sec}}},
		"at most 20000000":      at(schedule.Constant(1e6, 0, 21*sec)),
		"101 stages":            {Stages: make([]schedule.Stage, 101)},
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

func TestAScheduleSurvivesJSON(t *testing.T) {
	for name, s := range shapes {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again schedule.Schedule
		if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%s: %s became %+v, %v", name, b, again, err)
		}
	}
}

func TestSentences(t *testing.T) {
	for want, s := range map[string]schedule.Schedule{
		"300/s for 1m0s": shapes["constant"],
		"50/s for 10s, then 50/s to 400/s over 7s, then 400/s ± 30/s every 3s for 10s, then 400/s to 20/s over 5s": shapes["day"],
		"200/s for 1m0s, Poisson arrivals":                                           shapes["poisson"],
		"a closed loop of 1 user for 1s, think 0s, then 3 users for 1s, think 200ms": of(schedule.Stage{Users: 1, For: sec}, schedule.Stage{Users: 3, Think: 200 * time.Millisecond, For: sec}),
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAnEmptyTimetable(t *testing.T) {
	for _, s := range []schedule.Schedule{{}, of(schedule.Stage{Users: 3, For: sec})} {
		if n := s.Timetable().Count(); n != 0 || s.Count() != 0 || s.Mean() != 0 || s.Lowest() != 0 {
			t.Errorf("%v has %d requests", s, n)
		}
	}
}

func BenchmarkDue(b *testing.B) {
	for _, name := range []string{"constant", "up", "sine", "day", "poisson", "poisson ramp"} {
		times := shapes[name].Timetable()
		b.Run(name, func(b *testing.B) {
			count := times.Count()
			var sum time.Duration
			n := uint64(0)
			for b.Loop() {
				sum += times.Due(n)
				if n++; n == count {
					n = 0
				}
			}
			_ = sum
		})
	}
}
