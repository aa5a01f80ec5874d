package reports_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// plain is a page's text, spaces made one, or a summary's.
func plain(t *testing.T, r *tutti.Result) string {
	t.Helper()
	var b strings.Builder
	for _, e := range elements(t, render(t, r, reports.HTML)) {
		if e.Data == "body" {
			b.WriteString(text(e))
		}
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(b.String(), "\u00a0", " ")), " ")
}

func TestSentences(t *testing.T) {
	price := func(v, low, high float64) func(r *tutti.Result) {
		return func(r *tutti.Result) {
			r.Run.Objectives[4].Value = rundir.Value{Value: &v, Low: &low, High: &high, State: analysis.OK}
		}
	}
	verdict := func(v rundir.Verdict, reasons ...string) func(r *tutti.Result) {
		return func(r *tutti.Result) { r.Run.Verdict, r.Run.Reasons = v, reasons }
	}
	lag := ": the load generator's own lag decides this: pass with it, fail without it"
	for _, c := range []struct {
		name   string
		blocks int
		change func(r *tutti.Result)
		want   []string
		never  []string
	}{
		{
			"an objective is code", 1, verdict(rundir.Invalid, "cluster.p95 <= 250ms"+lag),
			[]string{"not to be trusted. In the objective cluster.p95 <= 250ms, the load generator's own lag decides this", "No. In the objective cluster.p95"},
			[]string{"Cluster.p95", "valid: too few"},
		},
		{
			"an objective has a name", 1, verdict(rundir.Invalid, "price"+lag),
			[]string{"In the objective “price”, the load generator's own lag"},
			nil,
		},
		{
			"a block is to blame", 3, verdict(rundir.Invalid, "block 2: the load generator did not run its whole schedule"),
			[]string{"In block 2, the load generator did not run its whole schedule. Measured all the same: with 1 of 3 app nodes killed"},
			[]string{"all valid", "block 2: the"},
		},
		{
			"interrupted by hand", 3, verdict(rundir.Interrupted, "the run was interrupted"),
			[]string{"The run was interrupted, so nothing is judged. With 1 of 3"},
			[]string{"judged: the run was interrupted"},
		},
		{"one block", 1, func(*tutti.Result) {}, []string{"1 paired block, valid: too few for an interval, which takes 3."}, []string{"all valid"}},
		{"two blocks", 2, func(*tutti.Result) {}, []string{"2 paired blocks, all valid: too few for an interval, which takes 3."}, nil},
		{"three blocks", 3, func(*tutti.Result) {}, []string{"3 paired blocks, all valid."}, []string{"too few"}},
		{
			"several failed", 6, func(r *tutti.Result) {
				r.Run.Verdict, r.Run.Objectives[0].Verdict, r.Run.Objectives[1].Verdict = rundir.Fail, rundir.Fail, rundir.Fail
			},
			[]string{"Failed: cluster.availability >= 98%, found", "1 more objective failed."},
			nil,
		},
		{
			"both ends of a cut", 1, func(r *tutti.Result) {
				for i := range r.Run.Faults {
					r.Run.Faults[i].Verb, r.Run.Faults[i].Nodes = "partition", []string{"app-1", "lb-1"}
				}
			},
			[]string{"With app-1 and lb-1 partitioned"},
			[]string{"2 of 3"},
		},
		{
			"a price below threefold", 6, price(2.6, 2.1, 3.2),
			[]string{"Price: median latency +160 % (110 – 220) before the fault.", "nothing broken: +160 % (110 – 220) against"},
			nil,
		},
		{
			"a price of threefold and more", 6, price(3.4, 2.9, 4.1),
			[]string{"Price: median latency × 3.40 (2.90 – 4.10) before the fault.", "nothing broken: × 3.40 (2.90 – 4.10) against"},
			nil,
		},
		{
			"threefold, and no difference shown", 6, price(3.4, 0.5, 21),
			[]string{"Price: no difference shown in median latency (× 0.500 – 21.0) before the fault."},
			[]string{"21.0 %"},
		},
		{"a development build", 1, func(r *tutti.Result) { r.Run.Provenance.Tutti = "(devel)" }, []string{"tutti development build"}, []string{"(devel)"}},
		{
			"a version made up for a commit", 1, func(r *tutti.Result) { r.Run.Provenance.Tutti = "v0.0.0-20260923140211-4f1c9a2b6d7e+dirty" },
			[]string{"tutti development build 4f1c9a2b6d7e"},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := crash(c.blocks)
			c.change(r)
			got := plain(t, r)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("the page has no %q; it begins %.900s", want, got)
				}
			}
			for _, never := range c.never {
				if strings.Contains(got, never) {
					t.Errorf("the page has %q", never)
				}
			}
		})
	}
}

// TestWorstTrial: an outage that one trial of three had is not hidden by the median.
func TestWorstTrial(t *testing.T) {
	var recs []*record.Recording
	for block := 1; block <= 3; block++ {
		tr := analysistest.Trial{Block: block, Order: block, Seed: int64(block), For: 10 * time.Second}
		if block == 2 {
			tr.Each = func(s *record.Sample, _ *rand.Rand) {
				if s.Due >= 4*time.Second && s.Due < 5*time.Second {
					s.Class = record.Wrong
				}
			}
		}
		recs = append(recs, tr.Recording())
	}
	got := plain(t, runOf(recs))
	for _, want := range []string{"fell to 0 % in its worst second (1 of 3 trials had one below 99 %)", "lowest 0 %"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}
