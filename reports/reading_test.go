package reports

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// TestReading is about what a golden file would not show: the edges of the scales.
func TestReading(t *testing.T) {
	p := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		unit     analysis.Unit
		form     slo.Form
		state    analysis.State
		value    *float64
		low, hi  *float64
		want, iv string
	}{
		{analysis.Ratio, slo.Absolute, analysis.OK, p(0.9929), p(0.9921), p(0.9936), "99.29 %", "99.21 – 99.36"},
		{analysis.Ratio, slo.Absolute, analysis.OK, p(0.999996), nil, nil, "99.9996 %", ""},
		{analysis.Ratio, slo.Absolute, analysis.OK, p(1), nil, nil, "100.00 %", ""},
		{analysis.Ratio, slo.Absolute, analysis.OK, p(0.000004), nil, nil, "0.0004 %", ""},
		{analysis.Ratio, slo.Difference, analysis.OK, p(0.268), p(-0.01), p(0.271), "+26.8 points", "−1.0 – 27.1"},
		{analysis.Seconds, slo.Absolute, analysis.OK, p(0.00999996), nil, nil, "10.0 ms", ""},
		{analysis.Seconds, slo.Absolute, analysis.OK, p(0.99999), nil, nil, "1.00 s", ""},
		{analysis.Seconds, slo.Absolute, analysis.OK, p(0.999), p(0.7), p(1.166), "0.999 s", "0.700 – 1.166"},
		{analysis.Seconds, slo.Absolute, analysis.OK, p(0.0000123), nil, nil, "12.3 µs", ""},
		{analysis.Seconds, slo.Absolute, analysis.OK, p(0), nil, nil, "0 ms", ""},
		{analysis.Seconds, slo.Absolute, analysis.OK, p(1.3), p(1.2), nil, "1.30 s", "1.20 – never"},
		{analysis.Seconds, slo.Absolute, analysis.Never, nil, nil, nil, "never", ""},
		{analysis.Seconds, slo.Absolute, analysis.Censored, p(15), nil, nil, "> 15 s", ""},
		{analysis.Seconds, slo.Absolute, analysis.NoData, nil, nil, nil, "no data", ""},
		{analysis.Seconds, slo.Ratio, analysis.OK, p(1.21), p(1.19), p(1.23), "× 1.21", "1.19 – 1.23"},
		{analysis.Number, slo.Absolute, analysis.OK, p(4950), p(4906), p(4991), "4,950", "4,906 – 4,991"},
		{analysis.Number, slo.Absolute, analysis.OK, p(2.5), p(-10.5), p(18), "2.50", "−10.50 – 18.00"},
		{analysis.PerSecond, slo.Absolute, analysis.OK, p(1234567), nil, nil, "1,234,567 /s", ""},
	} {
		v := rundir.Value{Value: c.value, Low: c.low, High: c.hi, Unit: c.unit, State: c.state}
		r := read(v, c.form)
		plain := func(s string) string { return strings.ReplaceAll(s, nb, " ") }
		if got := plain(r.String()); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.unit, c.form, got, c.want)
		}
		if got := plain(r.iv); got != c.iv {
			t.Errorf("%s has the interval %q, want %q", c.want, got, c.iv)
		}
	}
}

// TestVisible: what would steer, or stand in no XML, is shown as its number; everything else stays.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"naïve 集群 \U0001f980": "naïve 集群 \U0001f980", "a\x1bb": `a\x1bb`, "a\u202eb": `a\u202eb`, "a\xffb": "a\ufffdb",
		"a\ufffeb\uffff": `a\ufffeb\uffff`, "\U0001ffff": `\U0001ffff`, "a\U000e0041b\U000e007f": `a\U000e0041b\U000e007f`,
	} {
		if got := visible(in); got != want {
			t.Errorf("%+q becomes %+q, want %+q", in, got, want)
		}
	}
}

// What is just below all is never told as all.
func TestNearlyAll(t *testing.T) {
	for part, want := range map[float64]string{1: "100", 0.9996: "99.96", 0.99996: "99.996", 0.392: "39.2", 0.0004: "0.04", 0: "0"} {
		if got := partText(part); got != want {
			t.Errorf("%v of all is %s %%, want %s", part, got, want)
		}
	}
	for v, want := range map[float64]string{1: "1", 0.99996: "0.99996", 0.9999996: "0.9999996", 0.99991: "0.9999", 1.00001: "1", 1234.5: "1234"} {
		if got := openMetricsNumber(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

// At least so much is no capacity without end; a time that did not come while we looked is.
func TestSampleOf(t *testing.T) {
	at := 500.0
	for metric, want := range map[string]float64{"capacity": 500, "affordable": 500, "recovery": math.Inf(1), "p99": math.Inf(1)} {
		spec, ok := analysis.SpecOf(metric)
		if got, is := sampleOf(spec, rundir.Value{State: analysis.Censored, Value: &at}); !ok || !is || got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
}

// Seconds in which a percentile never comes are counted before a long load's seconds are drawn together.
func TestNeversOfALongLoad(t *testing.T) {
	seconds := make([]analysis.BandPoint, 100)
	for i := range seconds {
		seconds[i].Start = time.Duration(i) * time.Second
		seconds[i].Mid.State = analysis.OK
	}
	seconds[3].Mid.State, seconds[42].Mid.State = analysis.Never, analysis.Never
	if n := nevers(seconds); n != 2 {
		t.Errorf("%d seconds", n)
	}
}
