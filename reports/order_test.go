package reports_test

import (
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
)

// TestOrder: figure 10 speaks of noise where there are trials to tell it, and of lag where there is some.
func TestOrder(t *testing.T) {
	counting := func(blocks int) func() *tutti.Result {
		return func() *tutti.Result {
			r := crash(3)
			for i := range r.Run.Trials {
				r.Run.Trials[i].Counted = r.Run.Trials[i].Block <= blocks
			}
			return r
		}
	}
	for _, c := range []struct {
		name       string
		of         func() *tutti.Result
		want, lack string
	}{
		{"three alike", steady, "Every counted trial’s p50 lies within 0 % of its arm’s estimate", "noise"},
		{"three", counting(3), "Every counted trial’s p50 before the fault lies within ", "noise"},
		{"one of each arm", counting(1), "No arm has more than one trial that counts, which shows no noise; one request in a thousand left", "Every"},
		{"none", counting(0), "No trial counts, so that nothing shows the noise; one request in a thousand left", "Every"},
		{"no estimate", func() *tutti.Result {
			r := crash(3)
			for _, a := range r.Run.Arms {
				v := a.Phases[analysis.Before]["p50"]
				v.State, v.Value, v.Low, v.High = analysis.Never, nil, nil, nil
				a.Phases[analysis.Before]["p50"] = v
			}
			return r
		}, "No arm has an estimate of its p50 before the fault", "Every"},
		{"no lag", func() *tutti.Result {
			r := crash(3)
			for _, tr := range r.Trials {
				for i := range tr.Rec.Bins {
					tr.Rec.Bins[i].Lag = nil
				}
			}
			return r
		}, "Every counted trial’s", "left the generator"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.of()
			if got := finding(t, r, "f10"); !strings.HasPrefix(got, c.want) || strings.Contains(got, c.lack) {
				t.Errorf("figure 10 finds: %s", got)
			}
			if got := reading(t, r, "f10"); !strings.Contains(got, "how late requests were sent (sent − due)") {
				t.Errorf("figure 10 is read so: %s", got)
			}
		})
	}
}
