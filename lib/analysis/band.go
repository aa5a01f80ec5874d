package analysis

import (
	"math"
	"slices"
	"time"
)

// A BandPoint is one second over several trials: the median, and the values that 10 % and 90 % of
// the trials stay below. State [Never] stands for a percentile that failures hold
// above all times.
type BandPoint struct {
	Start          time.Duration
	Low, Mid, High Value
	N              int // trials with data in this second
}

// Availability is the good share of a second's requests.
func (s Second) Availability() Value {
	if s.Due == 0 {
		return Missing("no request was due")
	}
	return Good(float64(s.Good) / float64(s.Due))
}

// Band draws trials together: for every second of the longest trial the median and the
// 10–90 % envelope of what of says of it. A second without data in any trial has N 0 and
// no-data values: a gap.
//
// The median of an even number of trials is the mean of the two in the middle; the envelope are trials' own
// values (nearest rank), so that few trials show their extremes.
func Band(trials []*Trial, of func(Second) Value) []BandPoint {
	var columns [][]float64
	for _, t := range trials {
		for i, s := range t.Seconds() {
			if i == len(columns) {
				columns = append(columns, nil)
			}
			switch v := of(s); v.State {
			case OK:
				columns[i] = append(columns[i], v.V)
			case Never, Censored:
				columns[i] = append(columns[i], math.Inf(1))
			case NoData: // a gap
			}
		}
	}
	points := make([]BandPoint, len(columns))
	for i, xs := range columns {
		p := BandPoint{Start: time.Duration(i) * time.Second, N: len(xs)}
		p.Low, p.Mid, p.High = Missing("no data"), Missing("no data"), Missing("no data")
		if n := len(xs); n > 0 {
			slices.Sort(xs)
			p.Low = orNever(xs[max(0, int(math.Ceil(0.1*float64(n)))-1)])
			p.High = orNever(xs[int(math.Ceil(0.9*float64(n)))-1])
			p.Mid = orNever((xs[(n-1)/2] + xs[n/2]) / 2)
		}
		points[i] = p
	}
	return points
}

func orNever(v float64) Value {
	if math.IsInf(v, 1) {
		return Value{State: Never}
	}
	return Good(v)
}
