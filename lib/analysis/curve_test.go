package analysis_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
)

// TestCurves: a curve's points are the metrics that have its name.
func TestCurves(t *testing.T) {
	tr := analysis.Of(analysistest.Crash("cluster", 3, 2).Recording())
	lengths := []float64{0.1, 0.5, 1, 5, 30, 31}
	for i, v := range tr.Worst(lengths) {
		if want := tr.Metric(analysis.Ref{Metric: "worst", Args: lengths[i : i+1]}); v.State != want.State || v.V != want.V {
			t.Errorf("worst(%v) is %+v, the metric %+v", lengths[i], v, want)
		}
	}
	for p, phase := range append(analysis.Phases(), analysis.Whole) {
		vs, n := analysis.Percentiles([]*analysis.Trial{tr}, phase, []float64{0.5, 0.9, 0.99, 0.9999, 1})
		for i, name := range []string{"p50", "p90", "p99", "p9999", "max"} {
			if want := tr.Metric(analysis.Ref{Metric: name, Phase: phase}); vs[i].State != want.State || vs[i].V != want.V {
				t.Errorf("%s of %q (%d) is %+v of %d, the metric %+v", name, phase, p, vs[i], n, want)
			}
		}
	}
	two, n := analysis.Percentiles([]*analysis.Trial{tr, tr}, analysis.Whole, []float64{0.5})
	if one := tr.Metric(analysis.Ref{Metric: "p50"}); two[0] != one || n != 12000 {
		t.Errorf("twice the same trial has the median %+v of %d, once %+v", two[0], n, one)
	}
}

// TestFlow: with a rate of 100/s answered after 250 ms, 25 are in flight; while nothing is answered within the timeout of 1 s, 100 are.
func TestFlow(t *testing.T) {
	tr := analysistest.Trial{Latency: 250 * time.Millisecond}
	tr.Each = func(s *record.Sample, _ *rand.Rand) {
		if s.Due >= 5*time.Second && s.Due < 10*time.Second {
			tr.Fail(s, record.Timeout, 0)
		}
	}
	flow := analysis.Of(tr.Recording()).Flow()
	for _, c := range []struct {
		at   int
		done float64
		in   float64
	}{{30, 10, 25}, {80, 10, 100}, {150, 10, 25}} {
		if f := flow[c.at]; math.Abs(f.Done-c.done) > 0.2 || math.Abs(f.InFlight-c.in) > 1 || f.Due != 10 {
			t.Errorf("at %.1f s: %+v, want %v done and %v in flight", float64(c.at)/10, f, c.done, c.in)
		}
	}
	sum := 0.0
	for _, f := range flow {
		sum += f.Done
	}
	if math.Abs(sum-1975) > 6 { // those due in the last 250 ms end after load
		t.Errorf("%v done of 2,000, 25 of them after the end", sum)
	}
}
