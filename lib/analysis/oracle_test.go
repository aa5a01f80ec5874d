package analysis_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
)

// TestAgainstEveryRequest holds what is read from bins against the same computed from
// every single request: counts and due times exactly, response times within 1 %.
func TestAgainstEveryRequest(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	for i := range 40 {
		trial := anyTrial(r, int64(i))
		var all []record.Sample
		each := trial.Each
		trial.Each = func(s *record.Sample, r *rand.Rand) {
			each(s, r)
			all = append(all, *s)
		}
		tr := analysis.Of(trial.Recording())
		var took []time.Duration
		bad := 0
		for _, s := range all {
			if s.Class.Good() {
				took = append(took, s.Done-s.Due)
			} else {
				bad++
			}
		}
		check(t, tr, of("availability"), num(float64(len(took))/float64(len(all))))
		check(t, tr, of("error_rate"), num(float64(bad)/float64(len(all))))
		check(t, tr, of("goodput"), num(float64(len(took))/trial.For.Seconds()))
		check(t, tr, of("longest_silence"), num(silence(all, trial.For).Seconds()))
		if len(trial.Faults) > 0 && trial.Faults[0].Onset.To < trial.For {
			check(t, tr, analysis.Ref{Metric: "first_error", Fault: "f0"}, firstBad(all, trial.Faults[0].Onset.To, nextOnset(trial)))
		}
		slices.Sort(took)
		for metric, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1} {
			checkRank(t, tr.Metric(of(metric)), metric, took, int(math.Ceil(q*float64(len(all))-1e-9)))
			if len(took) > 0 {
				checkRank(t, tr.Metric(of("ok_"+metric)), "ok_"+metric, took, int(math.Ceil(q*float64(len(took))-1e-9)))
			}
		}
	}
}

// checkRank holds a percentile against the k-th smallest time, never if there is none.
func checkRank(t *testing.T, got analysis.Value, metric string, took []time.Duration, k int) {
	t.Helper()
	if k > len(took) {
		if got.State != analysis.Never {
			t.Errorf("%s is %v %s, want never", metric, got.V, got.State)
		}
		return
	}
	if want := took[k-1].Seconds(); got.State != analysis.OK || math.Abs(got.V-want) > 0.01*want {
		t.Errorf("%s is %v %s, want %v within 1 %%", metric, got.V, got.State, want)
	}
}

func silence(all []record.Sample, end time.Duration) time.Duration {
	last, longest := time.Duration(0), time.Duration(0)
	for _, s := range all {
		if s.Class.Good() {
			longest, last = max(longest, s.Due-last), s.Due
		}
	}
	return max(longest, end-last)
}

// nextOnset is when the second fault begins, or load ends.
func nextOnset(trial analysistest.Trial) time.Duration {
	next := trial.For
	for _, f := range trial.Faults[1:] {
		if f.Onset.To > trial.Faults[0].Onset.To {
			next = min(next, f.Onset.To)
		}
	}
	return next
}

// firstBad is the first bad due time from onset on and before the next one; where the onset lies inside a bin with
// several bad requests of one kind, only the first and the last of them are known.
func firstBad(all []record.Sample, onset, next time.Duration) analysis.Value {
	first := make(map[int]time.Duration)
	last := make(map[int]time.Duration)
	kind := func(s record.Sample) int { return int(s.Class)*1000 + int(s.Node[len(s.Node)-1]) }
	cut := record.IndexOf(onset)
	found := time.Duration(math.MaxInt64)
	for _, s := range all {
		switch {
		case s.Class.Good():
		case record.IndexOf(s.Due) > cut:
			found = min(found, s.Due)
		case record.IndexOf(s.Due) == cut:
			k := kind(s)
			if _, seen := first[k]; !seen {
				first[k] = s.Due
			}
			last[k] = s.Due
		}
	}
	for k := range first {
		for _, at := range []time.Duration{first[k], last[k]} {
			if at >= onset {
				found = min(found, at)
			}
		}
	}
	if found >= next {
		return never
	}
	return num((found - onset).Seconds())
}
