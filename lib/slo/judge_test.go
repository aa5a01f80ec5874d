package slo_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/slo"
)

var update = flag.Bool("update", false, "rewrite golden files")

const ms = time.Millisecond

// took is a trial in which every request takes d, so that max is exactly d.
func took(d time.Duration) *analysis.Trial {
	return analysis.Of(analysistest.Trial{For: time.Second, Rate: 100, Latency: d}.Recording())
}

// lost is a trial that loses n of 1,000 requests: its availability is 1 − n/1000, its max is never.
func lost(n uint64) *analysis.Trial {
	return analysis.Of(analysistest.Trial{For: time.Second, Rate: 1000, Each: func(s *record.Sample, _ *rand.Rand) {
		if s.Seq < n {
			s.Class = record.Wrong
		}
	}}.Recording())
}

// down is a trial of 20 s whose node dies at 5 s and whose requests fail from then for d;
// its recovery is d, or censored at 10 s.
func down(d time.Duration) *analysis.Trial {
	const onset = 5 * time.Second
	return analysis.Of(analysistest.Trial{
		Rate: 40, For: 20 * time.Second,
		Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", onset, record.None)},
		Each: func(s *record.Sample, _ *rand.Rand) {
			if s.Due >= onset && s.Due < onset+d {
				s.Class = record.Refused
			}
		},
	}.Recording())
}

type blocks = map[int]map[string]*analysis.Trial

// each makes blocks of one arm, a.
func each(trials ...*analysis.Trial) blocks {
	b := make(blocks)
	for i, t := range trials {
		b[i+1] = map[string]*analysis.Trial{"a": t}
	}
	return b
}

// pairs makes blocks of the arms a and b from alternating trials.
func pairs(trials ...*analysis.Trial) blocks {
	b := make(blocks)
	for i := 0; i < len(trials); i += 2 {
		b[i/2+1] = map[string]*analysis.Trial{"a": trials[i], "b": trials[i+1]}
	}
	return b
}

func times(n int, trials ...*analysis.Trial) (all []*analysis.Trial) {
	for range n {
		all = append(all, trials...)
	}
	return all
}

// around are n trials 2 ms apart around 100 ms.
func around(n int) (all []*analysis.Trial) {
	for i := range n {
		all = append(all, took(100*ms+time.Duration(i-n/2)*2*ms))
	}
	return all
}

func objective(t *testing.T, text string, margin float64) slo.Objective {
	t.Helper()
	c, err := slo.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return slo.Objective{Text: text, Check: c, Margin: margin}
}

type decision struct {
	name   string
	check  string
	margin float64
	blocks blocks
}

// decisions is the table of how an objective is judged.
func decisions() []decision {
	slower := func(n int, ratio float64) (all []*analysis.Trial) {
		for i := range n {
			base := 100*ms + time.Duration(i)*3*ms
			wobble := 1 + 0.01*float64(i%3-1)
			all = append(all, took(base), took(time.Duration(float64(base)*ratio*wobble)))
		}
		return all
	}
	dead := took(5 * ms)
	dead.Rec.Bins = nil
	return []decision{
		{"under the limit", "a.max <= 200ms", 0, each(around(6)...)},
		{"over the limit", "a.max <= 50ms", 0, each(around(6)...)},
		{"limit inside the interval", "a.max <= 102ms", 0, each(around(6)...)},
		{"limit on the left", "200ms >= a.max", 0, each(around(6)...)},
		{"lower limit met", "a.availability >= 98%", 0, each(lost(9), lost(10), lost(11), lost(10), lost(9), lost(12))},
		{"lower limit missed", "a.availability >= 99.9%", 0, each(lost(9), lost(10), lost(11), lost(10), lost(9), lost(12))},
		{"lower limit open", "a.availability >= 99%", 0, each(lost(9), lost(10), lost(11), lost(10), lost(9), lost(12))},
		{"four trials by t", "a.max <= 200ms", 0, each(around(4)...)},
		{"four trials by t, beyond", "a.max <= 50ms", 0, each(around(4)...)},
		{"two trials, worst good", "a.max <= 200ms", 0, each(took(100*ms), took(150*ms))},
		{"two trials, worst bad", "a.max <= 120ms", 0, each(took(100*ms), took(150*ms))},
		{"one trial", "a.max <= 120ms", 0, each(took(100 * ms))},
		{"equal trials at the limit", "a.max <= 100ms", 0, each(times(6, took(100*ms))...)},
		{"equal trials at a strict limit", "a.max < 100ms", 0, each(times(6, took(100*ms))...)},

		{"never violates an upper limit", "a.p99 <= 1s", 0, each(times(6, lost(100))...)},
		{"never in one of six", "a.p99 <= 1s", 0, each(append(around(5), lost(100))...)},
		{"never in one of four: worst trial", "a.p99 <= 1s", 0, each(append(around(3), lost(100))...)},
		{"never meets a lower limit", "a.first_error >= 1s", 0, each(times(6, down(0))...)},
		{"recovered in time", "a.recovery <= 5s", 0, each(times(6, down(2*time.Second))...)},
		{"censored above the limit", "a.recovery <= 5s", 0, each(times(6, down(14*time.Second))...)},
		{"censored below the limit", "a.recovery <= 12s", 0, each(times(6, down(14*time.Second))...)},
		{"censored below the limit, two trials", "a.recovery <= 12s", 0, each(times(2, down(14*time.Second))...)},

		{"must be 100 %, is", "a.availability >= 100%", 0, each(times(6, lost(0))...)},
		{"must be 100 %, one violation", "a.availability >= 100%", 0, each(append(times(6, lost(0)), lost(1))...)},
		{"a quotient of at least 100 %, one violation", "a.goodput / b.goodput >= 1", 0, pairs(append(times(24, lost(0), lost(40)), lost(40), lost(30))...)},
		{"must be 0, one violation", "a.error_rate <= 0%", 0, each(append(times(6, lost(0)), lost(1))...)},
		{"a difference of at most 0, one violation", "a.error_rate - b.error_rate <= 0%", 0, pairs(append(times(8, lost(10), lost(40)), lost(12), lost(10))...)},
		{"a difference of at least 0, one violation", "b.availability - a.availability >= 0%", 0, pairs(append(times(8, lost(40), lost(10)), lost(10), lost(12))...)},
		{"what a share lacks must be 0, one violation", "100% - a.availability <= 0%", 0, each(append(times(6, lost(0)), lost(1))...)},
		{"must be 0 lost, is", "a.lost_requests <= 0", 0, each(times(6, down(0))...)},
		{"equal in every trial", "a.availability == 99%", 0, each(times(3, lost(10))...)},
		{"equal but in one", "a.availability == 99%", 0, each(lost(10), lost(10), lost(9))},
		{"unequal in every trial", "a.availability != 99%", 0, each(lost(9), lost(11))},
		{"equal to what is censored", "a.recovery == 12s", 0, each(down(14 * time.Second))},

		{"faster", "b.max < a.max", 0, pairs(slower(6, 0.8)...)},
		{"slower", "b.max <= a.max", 0, pairs(slower(6, 1.2)...)},
		{"slower within the margin", "b.max <= a.max", 0.3, pairs(slower(6, 1.2)...)},
		{"slower beyond the margin", "b.max <= a.max", 0.1, pairs(slower(6, 1.2)...)},
		{"slower, lower limit with margin", "b.max >= a.max", 0.3, pairs(slower(6, 0.8)...)},
		{"margin cannot be told", "b.max <= a.max", 0.005, pairs(slower(6, 1.003)...)},
		{"a factor is a quotient too", "b.max <= 1.5 * a.max", 0, pairs(slower(6, 1.2)...)},
		{"a sum is a difference", "b.max <= a.max + 50ms", 0, pairs(slower(6, 1.2)...)},
		{"a sum is a quotient with a margin", "b.max <= a.max + 50ms", 0.1, pairs(slower(6, 1.2)...)},
		{"four blocks by paired t", "b.max <= a.max", 0.1, pairs(slower(4, 1.2)...)},
		{"two blocks", "b.max <= a.max", 0.1, pairs(slower(2, 1.2)...)},
		{"points", "b.availability > a.availability", 0, pairs(times(6, lost(200), lost(10))...)},
		{"points the wrong way", "b.availability > a.availability", 0, pairs(times(6, lost(10), lost(200))...)},
		{"points within the margin", "b.availability >= a.availability", 0.05, pairs(times(6, lost(10), lost(40))...)},
		{"no difference", "b.availability >= a.availability", 0, pairs(times(12, lost(10))...)},
		{"no difference, strict", "b.availability > a.availability", 0, pairs(times(12, lost(10))...)},
		{"never on one side", "b.p99 < a.p99", 0, pairs(times(6, lost(100), took(5*ms))...)},
		{"never on the other side", "b.p99 < a.p99", 0, pairs(times(6, took(5*ms), lost(100))...)},
		{"never on both sides", "b.p99 <= a.p99", 0, pairs(times(12, lost(100))...)},
		{"never in three blocks", "b.p99 < a.p99", 0, pairs(times(3, lost(100), took(5*ms))...)},
		{"censored on one side", "b.recovery < a.recovery", 0, pairs(times(6, down(14*time.Second), down(2*time.Second))...)},
		{"censored on both sides", "b.recovery <= a.recovery", 0, pairs(times(12, down(14*time.Second))...)},
		{"below the resolution", "b.recovery <= a.recovery", 0, pairs(times(12, down(0))...)},
		{"zero counts as the resolution", "b.recovery <= a.recovery", 0, pairs(times(6, down(0), down(2*time.Second))...)},
		{"zero rate ranks below all", "b.goodput < a.goodput", 0, pairs(times(6, took(5*ms), lost(1000))...)},

		{"no data in one trial", "a.recovery <= 5s", 0, each(append(times(6, down(2*time.Second)), took(5*ms))...)},
		{"no such arm", "c.max <= 5s", 0, each(times(6, took(5*ms))...)},
		{"margin without a comparison", "a.max <= 1ms", 0.1, each(times(6, took(5*ms))...)},
		{"division by zero", "a.availability / a.error_rate >= 2", 0, each(times(6, lost(0))...)},
		{"no valid block", "a.max <= 5s", 0, each(dead)},
	}
}

func TestDecisions(t *testing.T) {
	var b strings.Builder
	for _, d := range decisions() {
		o := objective(t, d.check, d.margin)
		v := slo.Judge(slo.Input{Objectives: []slo.Objective{o}, Blocks: d.blocks, Repeats: 1, PerBlock: 90 * time.Second})
		f := v.Findings[0]
		e := f.Estimate
		fmt.Fprintf(&b, "%s\n  %s", d.name, d.check)
		if d.margin > 0 {
			fmt.Fprintf(&b, " (margin %v)", d.margin)
		}
		fmt.Fprintf(&b, "\n  %s: %s %s %.4g", f.Outcome, f.Form, e.State, e.Value)
		if e.HasInterval {
			fmt.Fprintf(&b, " [%.4g, %.4g]", e.Low, e.High)
		}
		fmt.Fprintf(&b, " limit %.4g n %d more %d", f.Limit, e.N, f.MoreBlocks)
		if e.Note != "" {
			fmt.Fprintf(&b, " note: %s", e.Note)
		}
		fmt.Fprintf(&b, "\n  %s\n", f.Reason)
		if want := v.Outcome; want != f.Outcome && want != slo.Invalid {
			t.Errorf("%s: the run is %s, its one objective %s", d.name, want, f.Outcome)
		}
	}
	golden := filepath.Join("testdata", "decisions.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("decisions differ from %s (rewrite with -update):\n%s", golden, got)
	}
}

// TestSigned: what can be below 0 is not cut off there, and a limit of 0 is one like any other for it.
func TestSigned(t *testing.T) {
	var vs []analysis.Value
	b := make(blocks)
	for i := range 8 {
		tr := analysistest.Trial{
			Rate: 100, Replicas: 4, Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 5*time.Second, 10*time.Second)},
			Each: func(s *record.Sample, _ *rand.Rand) {
				if s.Due >= 5*time.Second && s.Due < 5*time.Second+time.Duration(60+20*i)*ms {
					s.Class = record.Refused
				}
			},
		}
		one := analysis.Of(tr.Recording())
		one.Health = &analysis.HealthCheck{Interval: 500 * ms, Fails: 2} // 18.75 must be lost, and 6 to 20 are
		vs = append(vs, one.Metric(analysis.Ref{Metric: "loss_over_floor"}))
		b[i+1] = map[string]*analysis.Trial{"a": one}
	}
	spec, _ := analysis.SpecOf("loss_over_floor")
	if e := slo.EstimateOf(vs, spec); e.Low >= e.Value || e.Value >= e.High || e.High >= 0 || e.Low < -12.75 {
		t.Errorf("the estimate is %+v", e)
	}
	o, err := slo.Parse("a.loss_over_floor <= 0")
	if err != nil {
		t.Fatal(err)
	}
	v := slo.Judge(slo.Input{Objectives: []slo.Objective{{Text: "a.loss_over_floor <= 0", Check: o}}, Blocks: b, Repeats: 8})
	if f := v.Findings[0]; f.Outcome != slo.Pass || vs[7].V <= 0 {
		t.Errorf("with one trial of eight at %+v: %v, %s", vs[7], f.Outcome, f.Reason)
	}
}

// However wide a range is, its first look says nothing false: no bounds that are none, no verdict by the worst trial.
func TestFirstLook(t *testing.T) {
	one := each(took(98*ms), took(99*ms), took(100*ms), took(101*ms), took(102*ms), took(110*ms))
	two := pairs(times(6, took(120*ms), took(100*ms))...)
	for _, c := range []struct {
		most         int
		compared     slo.Outcome // of the comparison; the absolute objective is open
		interval     bool
		reason, note string
	}{
		{12, slo.Fail, true, "is excluded", "over all looks of 6..12"},
		{15, slo.Fail, true, "is excluded", "over all looks of 6..15"},
		{16, slo.Fail, false, "is excluded", "no two-sided interval yet"},
		{61, slo.Fail, false, "is excluded", "no two-sided interval yet"},
		{62, slo.Inconclusive, false, "6..62 is so wide that nothing can be told at this look", "no interval"},
	} {
		for text, b := range map[string]blocks{"a.max <= 105ms": one, "a.max <= b.max": two} {
			want := slo.Inconclusive
			if strings.Contains(text, "b.max") {
				want = c.compared
			}
			f := slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, text, 0)}, Blocks: b, Repeats: 6, Most: c.most}).Findings[0]
			infinite := math.IsInf(f.Estimate.Low, 0) || math.IsInf(f.Estimate.High, 0)
			if f.Outcome != want || f.Estimate.HasInterval != c.interval || infinite || !strings.Contains(f.Estimate.Note, c.note) {
				t.Errorf("6..%d, %s: %s, interval %v [%v, %v], note %q", c.most, text, f.Outcome, f.Estimate.HasInterval, f.Estimate.Low, f.Estimate.High, f.Estimate.Note)
			}
			if !strings.Contains(f.Reason, c.reason) && f.Outcome != slo.Fail {
				t.Errorf("6..%d, %s: %s", c.most, text, f.Reason)
			}
		}
	}
}
