package slo_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/slo"
)

func checkRun(t *testing.T, v slo.Verdict, want slo.Outcome, reason string) {
	t.Helper()
	if v.Outcome != want || !strings.Contains(strings.Join(v.Reasons, "\n"), reason) {
		t.Errorf("the run is %s because %q, want %s with %q", v.Outcome, v.Reasons, want, reason)
	}
}

func TestRun(t *testing.T) {
	good, bad, open := "a.max <= 1s", "a.max <= 1ms", "a.max <= 99ms"
	warn := func(o slo.Objective) slo.Objective { o.Severity = slo.SeverityWarn; return o }
	os := func(texts ...string) (os []slo.Objective) {
		for _, s := range texts {
			os = append(os, objective(t, s, 0))
		}
		return os
	}
	six := each(around(6)...)
	for _, c := range []struct {
		name       string
		objectives []slo.Objective
		want       slo.Outcome
		reason     string
	}{
		{"all pass", os(good, good), slo.Pass, "all 2 objectives"},
		{"one fails", os(good, bad, open), slo.Fail, bad},
		{"one is open", os(good, open), slo.Inconclusive, open},
		{"a warning", []slo.Objective{os(good)[0], warn(os(bad)[0])}, slo.Pass, ""},
		{"only warnings", []slo.Objective{warn(os(bad)[0])}, slo.Inconclusive, "severity warn"},
		{"none", nil, slo.Inconclusive, "no objectives"},
		{"unevaluated", []slo.Objective{{Text: "?"}}, slo.Inconclusive, "?"},
		{"unknown operator", []slo.Objective{{Check: slo.Comparison{L: slo.Num{V: 1}, Op: "", R: slo.Num{V: 2}}}}, slo.Inconclusive, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkRun(t, slo.Judge(slo.Input{Objectives: c.objectives, Blocks: six, Repeats: 6}), c.want, c.reason)
		})
	}
}

func TestBlocks(t *testing.T) {
	o := []slo.Objective{objective(t, "a.max <= 1s", 0)}
	unproven := func() *analysis.Trial {
		tr := down(time.Second)
		tr.Rec.Faults[0].Proof = nil
		return tr
	}
	full := func() blocks { return pairs(around(14)...) }

	v := slo.Judge(slo.Input{Objectives: o, Blocks: full(), Repeats: 7})
	checkRun(t, v, slo.Pass, "")

	one := full()
	one[3]["b"] = unproven()
	v = slo.Judge(slo.Input{Objectives: o, Blocks: one, Repeats: 6})
	checkRun(t, v, slo.Pass, "") // a spare block stood in
	if len(v.Blocks) != 6 || !strings.Contains(v.Dropped[3], "b: fault \"crash\" has no proof") {
		t.Errorf("counted %v, dropped %v", v.Blocks, v.Dropped)
	}
	v = slo.Judge(slo.Input{Objectives: o, Blocks: one, Repeats: 7})
	checkRun(t, v, slo.Invalid, "6 of the 7 blocks")
	checkRun(t, v, slo.Invalid, "block 3: b:")

	nothing := full()
	nothing[2]["a"] = nil
	delete(nothing[4], "b")
	v = slo.Judge(slo.Input{Objectives: o, Blocks: nothing, Repeats: 7, Lost: map[int]string{7: "the engine went away", 9: "it was never run"}})
	checkRun(t, v, slo.Invalid, "4 of the 7 blocks")
	for n, want := range map[int]string{2: "a: no valid trial", 4: "b: no valid trial", 7: "went away", 9: "never run"} {
		if !strings.Contains(v.Dropped[n], want) {
			t.Errorf("block %d was dropped for %q, want %q", n, v.Dropped[n], want)
		}
	}
	checkRun(t, slo.Judge(slo.Input{Objectives: o}), slo.Invalid, "0 of the 1 blocks")
	checkRun(t, slo.Judge(slo.Input{}), slo.Invalid, "")
}

// lagging is a trial whose generator sends its last 20 % of requests 300 ms late.
func lagging() *analysis.Trial {
	return analysis.Of(analysistest.Trial{For: time.Second, Rate: 100, Each: func(s *record.Sample, _ *rand.Rand) {
		if s.Seq >= 80 {
			s.Sent, s.Done = s.Sent+300*ms, s.Done+300*ms
		}
	}}.Recording())
}

func TestLag(t *testing.T) {
	six := each(times(6, lagging())...)
	decided := objective(t, "a.p99 <= 100ms", 0)
	v := slo.Judge(slo.Input{Objectives: []slo.Objective{decided}, Blocks: six, Repeats: 6})
	checkRun(t, v, slo.Invalid, "lag decides this: fail with it, pass without it")
	if v.Findings[0].Outcome != slo.Invalid {
		t.Errorf("the finding is %s", v.Findings[0].Outcome)
	}
	// Lag that changes nothing is not punished.
	v = slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, "a.p99 <= 400ms", 0), objective(t, "a.p50 <= 100ms", 0)}, Blocks: six, Repeats: 6})
	checkRun(t, v, slo.Pass, "")
	// A warning cannot make the run invalid either.
	decided.Severity = slo.SeverityWarn
	v = slo.Judge(slo.Input{Objectives: []slo.Objective{decided, objective(t, "a.p50 <= 100ms", 0)}, Blocks: six, Repeats: 6})
	checkRun(t, v, slo.Pass, "")
	// Slowness of the target is no lag.
	v = slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, "a.max <= 1ms", 0)}, Blocks: each(around(6)...), Repeats: 6})
	checkRun(t, v, slo.Fail, "")
}

// Whatever an objective is about, where the generator's freeze decides it, it is not judged; be the request late because the generator came
// late to it or because it took long to send it.
func TestLagDecides(t *testing.T) {
	punctual := analysistest.Trial{For: 2 * time.Second, Rate: 100}
	frozen := punctual
	frozen.Each = func(s *record.Sample, _ *rand.Rand) {
		thaw := 1200 * ms
		if s.Due < 400*ms || s.Due >= thaw {
			return
		}
		s.Late = thaw - s.Due
		s.Free, s.Sent = thaw+ms, thaw+ms
		s.Done = s.Sent + 5*ms
		switch {
		case s.Late > 700*ms: // no connection came in time
			s.Class, s.Node, s.Sent, s.Free, s.Done = record.Shed, "", record.None, record.None, s.Due+time.Second
		case s.Late > 600*ms:
			s.Class = record.Slow
		}
	}
	b := make(blocks)
	for i := range 6 {
		b[i+1] = map[string]*analysis.Trial{"a": analysis.Of(frozen.Recording()), "b": analysis.Of(punctual.Recording())}
	}
	for _, check := range []string{
		"a.availability >= 95%", "a.p99 <= 100ms", "a.p90 <= 100ms", "a.ok_p99 <= 100ms", "a.error_rate <= 2%", "a.mean <= 20ms", "a.worst(1s) >= 95%",
		"a.available_windows(1s, 99%) >= 99%", "a.downtime <= 50ms", "a.goodput >= 95/s", "a.longest_silence <= 150ms",
		"a.p90 <= b.p90 * 2", "a.p90 / b.p90 <= 1.5", "a.availability >= b.availability", "a.goodput >= b.goodput", "a.mean / b.mean <= 1.5",
	} {
		v := slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, check, 0)}, Blocks: b, Repeats: 6})
		if v.Outcome != slo.Invalid || !strings.Contains(v.Findings[0].Reason, "lag decides this: ") {
			t.Errorf("%s: %s, %s", check, v.Outcome, v.Findings[0].Reason)
		}
	}
	// The freeze of one arm does not excuse the other.
	v := slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, "b.p90 <= 1ms", 0)}, Blocks: b, Repeats: 6})
	checkRun(t, v, slo.Fail, "")
}

func TestHolm(t *testing.T) {
	// Six blocks: the smallest p of one comparison is 1/64, enough for three and not for four.
	var trials []*analysis.Trial
	for i := range 6 {
		base := 100*ms + time.Duration(i)*ms
		trials = append(trials, took(base), took(base*12/10))
	}
	var os []slo.Objective
	for range 3 {
		os = append(os, objective(t, "b.max <= a.max", 0))
	}
	v := slo.Judge(slo.Input{Objectives: os, Blocks: pairs(trials...), Repeats: 6})
	checkRun(t, v, slo.Fail, "")
	warned := objective(t, "b.max <= a.max", 0)
	warned.Severity = slo.SeverityWarn
	v = slo.Judge(slo.Input{Objectives: append(os, warned, objective(t, "a.max <= 1s", 0)), Blocks: pairs(trials...), Repeats: 6})
	checkRun(t, v, slo.Fail, "") // warnings and absolute objectives are not in the family
	v = slo.Judge(slo.Input{Objectives: append(os, objective(t, "b.p50 <= a.p50", 0)), Blocks: pairs(trials...), Repeats: 6})
	checkRun(t, v, slo.Inconclusive, "Holm")
}

// lookers are nine blocks at the second look of 6..12: x is slower than a in all but one, whose difference is the fourth of size, y is slower in
// all, and n is as fast.
func lookers() blocks {
	b := make(blocks)
	for i := range 9 {
		by := 1 + 0.02*float64(i+1)
		x := by
		if i == 3 {
			x = 1 / by
		}
		slower := func(by float64) *analysis.Trial { return took(time.Duration(by * float64(100*ms))) }
		b[i+1] = map[string]*analysis.Trial{"a": slower(1), "x": slower(x), "y": slower(by), "n": slower([]float64{0.99, 1.01}[i%2])}
	}
	return b
}

// At looks what fails depends neither on the order of objectives nor on how many there are more.
func TestHolmAtLooks(t *testing.T) {
	b := lookers()
	judged := func(texts ...string) map[string]slo.Outcome {
		in := slo.Input{Blocks: b, Repeats: 6, Most: 12}
		for _, s := range texts {
			in.Objectives = append(in.Objectives, objective(t, s, 0))
		}
		by := make(map[string]slo.Outcome)
		for _, f := range slo.Judge(in).Findings {
			if was, there := by[f.Objective.Text]; there && was != f.Outcome {
				t.Errorf("%q: one %s is %s, another one %s", texts, f.Objective.Text, was, f.Outcome)
			}
			by[f.Objective.Text] = f.Outcome
		}
		return by
	}
	x, y, n := "x.max <= a.max", "y.max <= a.max", "n.max <= a.max"
	if got := judged(x); got[x] != slo.Fail {
		t.Errorf("alone x is %s", got[x])
	}
	for _, order := range [][]string{{x, y, n}, {x, n, y}, {y, x, n}, {y, n, x}, {n, x, y}, {n, y, x}} {
		if got := judged(order...); got[x] != slo.Inconclusive || got[y] != slo.Fail || got[n] != slo.Inconclusive {
			t.Errorf("in the order %q: %v", order, got)
		}
	}
	failed := true
	for k := 1; k <= 8; k++ {
		got := judged(strings.Split(strings.Repeat(x+";", k-1)+x, ";")...)[x] == slo.Fail
		if got && !failed {
			t.Errorf("among %d x fails, and among fewer it does not", k)
		}
		failed = got
	}
}

func TestReachable(t *testing.T) {
	absolute, comparison := objective(t, "a.max <= 1s", 0), objective(t, "b.max <= a.max", 0)
	for _, c := range []struct {
		o      slo.Objective
		blocks int
		ok     bool
		why    string
	}{
		{absolute, 1, true, ""},
		{absolute, 0, false, "no block"},
		{comparison, 2, false, "repeats: 3"},
		{comparison, 3, true, "normal noise"},
		{comparison, 6, true, ""},
	} {
		ok, why := slo.Reachable(c.o, c.blocks)
		if ok != c.ok || !strings.Contains(why, c.why) || (c.why == "") != (why == "") {
			t.Errorf("%s over %d blocks: %v %q", c.o.Text, c.blocks, ok, why)
		}
	}
	four := []slo.Objective{comparison, comparison, comparison, comparison}
	if w := slo.Unreachable(four, 6); len(w) != 1 || !strings.Contains(w[0], "repeats: 7") {
		t.Errorf("four comparisons over six blocks: %q", w)
	}
	if w := slo.Unreachable(four[:3], 6); len(w) != 0 {
		t.Errorf("three comparisons over six blocks: %q", w)
	}
	if w := slo.Unreachable(four, 2); len(w) != 4 {
		t.Errorf("four comparisons over two blocks: %q", w)
	}
}

func TestEstimateOf(t *testing.T) {
	spec := func(name string) analysis.Spec { s, _ := analysis.SpecOf(name); return s }
	ok := func(vs ...float64) (out []analysis.Value) {
		for _, v := range vs {
			out = append(out, analysis.Good(v))
		}
		return out
	}
	never, none := analysis.Value{State: analysis.Never}, analysis.Value{}
	inf := math.Inf(1)
	for _, c := range []struct {
		name           string
		metric         string
		values         []analysis.Value
		state          analysis.State
		mid, low, high float64
		interval       bool
		note           string
	}{
		{"six", "p99", ok(1, 2, 3, 4, 5, 6), analysis.OK, 3.5, 1, 6, true, ""},
		{"three", "p99", ok(3, 3, 3), analysis.OK, 3, 3, 3, true, "normal noise"},
		{"two", "p99", ok(1, 2), analysis.OK, 1.5, 0, 0, false, "no interval"},
		{"a ratio's interval stays a ratio", "availability", ok(0.9, 1, 1), analysis.OK, 29. / 30, 29./30 - 0.143422, 1, true, "normal"},
		{"a time's does not go below zero", "recovery", ok(0, 0, 3), analysis.OK, 1, 0, 1 + 4.302653, true, "normal"},
		{"never among three", "p99", append(ok(1, 2), never), analysis.OK, 2, 0, 0, false, "no interval"},
		{"mostly never", "p99", append(ok(1), never, never), analysis.Never, inf, 0, 0, false, "no interval"},
		{"censored", "recovery", []analysis.Value{{V: 5, State: analysis.Censored}}, analysis.Censored, 5, 0, 0, false, "no interval"},
		{"no data in one", "p99", append(ok(1, 2, 3, 4, 5, 6), none), analysis.NoData, 0, 0, 0, false, "1 of 7"},
		{"NaN", "p99", append(ok(1), analysis.Value{V: math.NaN(), State: analysis.OK}), analysis.NoData, 0, 0, 0, false, "1 of 2"},
		{"nothing", "p99", nil, analysis.NoData, 0, 0, 0, false, "no trial"},
	} {
		e := slo.EstimateOf(c.values, spec(c.metric))
		near := func(got, want float64) bool { return got == want || math.Abs(got-want) < 1e-5 }
		if e.State != c.state || e.HasInterval != c.interval || !near(e.Value, c.mid) || !near(e.Low, c.low) || !near(e.High, c.high) || !strings.Contains(e.Note, c.note) || e.N != len(c.values) {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

// TestNothingUnknownPasses: whatever is missing or broken in a run, an objective about
// it does not pass.
func TestNothingUnknownPasses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	breaks := []func(*record.Recording){
		func(r *record.Recording) { r.Bins = nil },
		func(r *record.Recording) { r.Generator.Counted-- },
		func(r *record.Recording) { r.Generator.Complete = false },
		func(r *record.Recording) { r.Problems = []string{"not ready"} },
		func(r *record.Recording) { // unsent, beyond 0.1 %
			for i := range r.Bins {
				r.Bins[i].Cells[0].Class, r.Bins[i].Good = record.Unsent, 0
			}
		},
		func(r *record.Recording) { r.Bins = r.Bins[:len(r.Bins)-1] },
		func(r *record.Recording) { r.Nodes = nil }, // only metrics of nodes suffer
	}
	sound := slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, "a.balance >= 0", 0)}, Blocks: each(took(10*ms), took(20*ms)), Repeats: 2})
	checkRun(t, sound, slo.Pass, "") // so that what follows is owed to what is broken
	for range 60 {
		n := 1 + r.IntN(12)
		at := r.IntN(n)
		b := make(blocks)
		for i := range n {
			rec := analysistest.Trial{For: time.Second, Rate: 50, Latency: time.Duration(1+r.IntN(50)) * ms}.Recording()
			k := r.IntN(len(breaks))
			if i == at {
				breaks[k](rec)
				if k == len(breaks)-1 {
					rec.Faults = nil
				}
			}
			b[i+1] = map[string]*analysis.Trial{"a": analysis.Of(rec), "b": took(10 * ms)}
			if i == at && r.IntN(5) == 0 {
				b[i+1]["a"] = nil
			}
		}
		for _, check := range []string{
			"a.balance >= 0", "a.recovery <= 1000s", "a.recovery >= 0s", "a.detection != 1s", "a.lost_requests <= 0",
			"a.recovery <= b.recovery", "a.worst(30s) >= 0%", "a.during.availability >= 0%",
		} {
			for _, in := range []slo.Input{{Repeats: n}, {Repeats: max(n, 6), Most: n + 6}} { // with an extension, too
				in.Objectives, in.Blocks = []slo.Objective{objective(t, check, 0)}, b
				if v := slo.Judge(in); v.Outcome == slo.Pass {
					t.Fatalf("%s passed with a broken trial: %+v", check, v)
				}
			}
		}
	}
}

// An objective that is no number, or that nobody evaluated, passes neither at a look nor at the end.
func TestNotANumberNeverPasses(t *testing.T) {
	nan := objective(t, "b.max <= 1s", 0)
	nan.Check.R = slo.Num{V: math.NaN(), Unit: analysis.Seconds}
	divided := objective(t, "b.max / (a.max - a.max) <= 1", 0)
	margin := objective(t, "b.max <= a.max", math.NaN())
	b := pairs(times(9, took(10*ms), took(10*ms))...)
	for _, o := range []slo.Objective{nan, divided, margin, {Text: "never read"}, {Text: "half read", Check: slo.Comparison{L: slo.Metric{Arm: "a", Ref: analysis.Ref{Metric: "max"}}, Op: "<="}}} {
		for _, in := range []slo.Input{{Repeats: 9}, {Repeats: 6, Most: 12}} {
			in.Objectives, in.Blocks = []slo.Objective{o}, b
			if v := slo.Judge(in); v.Outcome != slo.Inconclusive || v.Decided() {
				t.Errorf("%s: %s, decided %v", o.Text, v.Outcome, v.Decided())
			}
		}
	}
}

// simulate judges b.p90 <= a.p90 with a margin of 10 % over eight blocks of trials whose
// latencies scatter within and between trials; slow is the share of b's requests that take 30 ms longer.
func simulate(t *testing.T, seed int64, slow float64) slo.Verdict {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(seed), 99))
	trial := func(drift, slow float64) *analysis.Trial {
		typical := 10 * math.Exp(drift+0.03*r.NormFloat64())
		return analysis.Of(analysistest.Trial{For: 2 * time.Second, Rate: 200, Seed: r.Int64(), Each: func(s *record.Sample, r *rand.Rand) {
			d := typical * math.Exp(0.3*r.NormFloat64())
			if r.Float64() < slow {
				d += 30
			}
			s.Done = s.Due + time.Duration(d*float64(ms))
		}}.Recording())
	}
	b := make(blocks)
	for i := range 8 {
		drift := 0.15 * r.NormFloat64() // the host's, the same for both arms
		b[i+1] = map[string]*analysis.Trial{"a": trial(drift, 0), "b": trial(drift, slow)}
	}
	return slo.Judge(slo.Input{Objectives: []slo.Objective{objective(t, "b.p90 <= a.p90", 0.1)}, Blocks: b, Repeats: 8})
}

func TestSimulatedComparisons(t *testing.T) {
	const runs = 25
	same, slower := make(map[slo.Outcome]int), make(map[slo.Outcome]int)
	for seed := range int64(runs) {
		same[simulate(t, seed, 0).Outcome]++
		slower[simulate(t, seed, 0.4).Outcome]++
	}
	if same[slo.Fail] > 0 || same[slo.Pass] < runs*3/4 {
		t.Errorf("A against A: %v", same)
	}
	if slower[slo.Fail] != runs {
		t.Errorf("40 %% of requests slower by 30 ms: %v", slower)
	}
	t.Logf("A against A: %v; slower: %v", same, slower)
}
