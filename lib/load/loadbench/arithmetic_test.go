//go:build linux

package loadbench_test

import (
	"math"
	"slices"
	"testing"
	"time"
)

// steady is the rate, in requests a second, while all connections were in use: from 0.3 s after the first sample with a request to the
// last one but one in which the count still rose.
func steady(all []count) float64 {
	first, last := -1, -1
	for i, c := range all {
		if c.N == 0 {
			continue
		}
		if first < 0 && (i == 0 || all[i-1].N == 0) {
			first = i
		}
		if i > 0 && c.N > all[i-1].N {
			last = i
		}
	}
	if last -= 2; first < 0 || last <= first {
		return 0
	}
	from := first
	for from < last-1 && all[from].At-all[first].At < int64(300*time.Millisecond) {
		from++
	}
	return float64(all[last].N-all[from].N) / time.Duration(all[last].At-all[from].At).Seconds()
}

// A pace is how well arrivals keep to a schedule.
type pace struct {
	p50, p99 time.Duration // how late
	cv       float64       // of the gaps between them: 0 a metronome, 1 chance
}

// paceOf holds arrivals against a constant rate. When the schedule began is not known to who receives: it is laid so that the
// earliest 0.1 % of the arrivals are in time, and all others are late.
func paceOf(arrivals []int64, rate float64) pace {
	if len(arrivals) < 100 {
		return pace{}
	}
	a := slices.Sorted(slices.Values(arrivals))
	off := make([]float64, len(a))
	var sum, squares float64
	for k, at := range a {
		off[k] = float64(at-a[0]) - float64(k)*1e9/rate
		if k > 0 {
			gap := float64(at - a[k-1])
			sum, squares = sum+gap, squares+gap*gap
		}
	}
	slices.Sort(off)
	start := off[len(off)/1000]
	q := func(per int) time.Duration { return time.Duration(max(off[len(off)*per/100]-start, 0)) }
	n := float64(len(a) - 1)
	mean := sum / n
	return pace{q(50), q(99), math.Sqrt(max(squares/n-mean*mean, 0)) / mean}
}

// waits are the quantiles of n requests, due from 0 at a rate, of which those due in [from, from+length) wait until its end, and the others
// take no time.
func waits(n uint64, rate float64, from, length time.Duration) quantiles {
	all := make([]time.Duration, n)
	for k := range all {
		due := time.Duration(float64(k) * 1e9 / rate)
		if due >= from && due < from+length {
			all[k] = from + length - due
		}
	}
	slices.Sort(all)
	q := make(quantiles)
	for _, l := range levels {
		q[l.name] = all[rankOf(n, l.per)-1]
	}
	return q
}

// off is by how much a time is off the truth, in percent of it. A time that never came is off by never.
func off(found, truth time.Duration) float64 {
	if found < 0 || truth <= 0 {
		return never
	}
	return 100 * math.Abs(float64(found-truth)/float64(truth))
}

// never stands for what is beyond all bounds: JSON has no infinity.
const never = math.MaxFloat64

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return s[n/2-1]/2 + s[n/2]/2
	}
	return s[len(s)/2]
}

func TestSteady(t *testing.T) {
	var all []count
	n := uint64(0)
	for i := range 80 { // 50 ms each: nothing for 0.5 s, slow for 0.2 s, 1000/s up to 3.5 s, then nothing
		switch {
		case i > 10 && i <= 14:
			n += 5
		case i > 14 && i <= 70:
			n += 50
		}
		all = append(all, count{int64(i) * int64(50*time.Millisecond), n})
	}
	if got := steady(all); math.Abs(got-1000) > 1e-6 {
		t.Errorf("%v/s, want 1000", got)
	}
	if got := steady(nil) + steady(all[:10]) + steady(all[:13]); got != 0 {
		t.Errorf("%v/s of too little", got)
	}
}

func TestPaceOf(t *testing.T) {
	const rate = 1000
	exact := make([]int64, 10_000)
	for k := range exact {
		exact[k] = 1e18 + int64(k)*1e6
	}
	if got := paceOf(exact, rate); got.p50 != 0 || got.p99 != 0 || got.cv > 1e-6 {
		t.Errorf("a metronome: %+v", got)
	}
	late := slices.Clone(exact)
	for k := range late { // each second one by 0.4 ms, each 50th by 3 ms
		switch {
		case k%50 == 0:
			late[k] += 3e6
		case k%2 == 1:
			late[k] += 4e5
		}
	}
	slices.Reverse(late)
	if got := paceOf(late, rate); got.p50 != 400*time.Microsecond || got.p99 < time.Millisecond || got.cv < 0.3 {
		t.Errorf("%+v", got)
	}
	bursts := slices.Clone(exact)
	for k := range bursts {
		bursts[k] -= int64(k%10) * 1e6
	}
	if got := paceOf(bursts, rate); math.Abs(got.cv-3) > 0.05 {
		t.Errorf("ten at once: %+v", got)
	}
}

// The figures everybody can work out: a tenth of the requests wait, evenly between 0 and 1 s.
func TestWaits(t *testing.T) {
	got := waits(10_000, 1000, 4*time.Second, time.Second)
	for name, want := range map[string]float64{"p50": 0, "p95": 0.5, "p99": 0.9, "p999": 0.99, "max": 1} {
		if d := got[name].Seconds() - want; math.Abs(d) > 0.001 {
			t.Errorf("%s %v, want %v s", name, got[name], want)
		}
	}
	if off(918*time.Millisecond, 900*time.Millisecond) != 2 || off(-1, time.Second) != never {
		t.Error("off")
	}
}

func TestMedian(t *testing.T) {
	if median([]float64{3, 1, 2}) != 2 || median([]float64{4, 1, 2, 3}) != 2.5 || median([]float64{never, never}) != never {
		t.Error("median")
	}
}
