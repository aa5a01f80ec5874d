package schedule

import "math"

func (g Stage) closed() bool { return g.Users != 0 }

// rate is the rate t seconds after the stage began.
func (g Stage) rate(t float64) float64 {
	switch {
	case g.To != 0:
		return g.Rate + (g.To-g.Rate)*t/g.For.Seconds()
	case g.Swing != 0:
		return g.Rate + g.Swing*math.Sin(2*math.Pi*t/g.Period.Seconds())
	}
	return g.Rate
}

// extremes are the lowest and the highest rate of the stage. A sine rises for a quarter of its period, and then falls for half of it.
func (g Stage) extremes() (low, high float64) {
	end := g.rate(g.For.Seconds())
	low, high = min(g.Rate, end), max(g.Rate, end)
	if g.Swing != 0 && 4*g.For >= g.Period {
		high = g.Rate + g.Swing
	}
	if g.Swing != 0 && 4*g.For >= 3*g.Period {
		low = g.Rate - g.Swing
	}
	return low, high
}

// integral is how many requests are due in the stage's first t seconds.
func (g Stage) integral(t float64) float64 {
	switch {
	case g.To != 0:
		return g.Rate*t + (g.To-g.Rate)/g.For.Seconds()*t*t/2
	case g.Swing != 0:
		p := g.Period.Seconds()
		whole := math.Floor(t / p) // what swings is nothing over whole periods
		half := math.Sin(math.Pi * (t - whole*p) / p)
		return g.Rate*t + g.Swing*p/math.Pi*half*half // (1 − cos 2x)/2 = sin² x, which loses no digits near 0
	}
	return g.Rate * t
}

// inverse is after how many seconds of the stage n requests were due; n is within the stage.
func (g Stage) inverse(n float64) float64 {
	switch {
	case n <= 0:
		return 0
	case g.To != 0:
		return g.unramp(n)
	case g.Swing != 0:
		return g.unswing(n)
	}
	return n / g.Rate
}

// unramp solves a t²/2 + r t = n. The usual formula, (√(r² + 2an) − r)/a, subtracts near equals where the ramp is flat; this one is the same
// and does not.
func (g Stage) unramp(n float64) float64 {
	a := (g.To - g.Rate) / g.For.Seconds()
	return 2 * n / (g.Rate + math.Sqrt(max(g.Rate*g.Rate+2*a*n, 0)))
}

// unswing solves r t + s p/2π (1 − cos 2πt/p) = n. With E = 2πt/p + π/2 and e = s/r this is Kepler's equation, E − e sin E = M, which has no
// solution in closed form. So it is solved by Newton's method, kept inside a bracket that is halved where a step would leave it: where the swing is the
// whole rate the derivative can be 0. It ends when a step is less than a quarter of a nanosecond.
func (g Stage) unswing(n float64) float64 {
	const enough = 0.25e-9
	p := g.Period.Seconds()
	each := g.Rate * p // requests in a period
	whole := math.Floor(n / each)
	n -= whole * each
	low, high := 0.0, p
	t := n / g.Rate // as if nothing swung
	for range 100 {
		sin, cos := math.Sincos(math.Pi * t / p)
		off := g.Rate*t + g.Swing*p/math.Pi*sin*sin - n
		if off > 0 {
			high = t
		} else {
			low = t
		}
		next := t - off/(g.Rate+2*g.Swing*sin*cos) // by the rate there: sin 2x = 2 sin x cos x
		if !(next > low && next < high) {          // no number, too
			next = low + (high-low)/2
		}
		step := math.Abs(next - t)
		if t = next; step < enough || high-low < enough {
			break
		}
	}
	return whole*p + t
}
