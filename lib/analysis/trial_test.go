package analysis_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

const sec = time.Second

// never, none and censored are what a metric may be instead of a number.
var (
	never = analysis.Value{State: analysis.Never}
	none  = analysis.Value{State: analysis.NoData}
)

func num(v float64) analysis.Value { return analysis.Value{V: v, State: analysis.OK} }
func censored(v float64) analysis.Value {
	return analysis.Value{V: v, State: analysis.Censored}
}

func check(t *testing.T, tr *analysis.Trial, ref analysis.Ref, want analysis.Value) {
	t.Helper()
	got := tr.Metric(ref)
	if got.State != want.State || math.Abs(got.V-want.V) > 1e-9 {
		t.Errorf("%s %s = %v %v (%s), want %v %v", ref.Phase, ref, got.V, got.State, got.Why, want.V, want.State)
	}
	if got.State == analysis.NoData && got.Why == "" {
		t.Errorf("%s: no data without a reason", ref)
	}
}

func of(metric string, args ...float64) analysis.Ref {
	return analysis.Ref{Metric: metric, Args: args}
}

func in(p analysis.Phase, metric string, args ...float64) analysis.Ref {
	return analysis.Ref{Metric: metric, Phase: p, Args: args}
}

// kill is three nodes at 100/s for 20 s; app-1, which gets every third request, is
// killed over [10 s, heal) and its requests are refused until `ejected`.
func kill(heal, ejected time.Duration) analysistest.Trial {
	t := analysistest.Trial{
		Attempts: true,
		Faults:   []record.Fault{analysistest.Fault("crash", "kill", "app-1", 10*sec, heal)},
		Events:   analysistest.Down("app-1", "crash", 10*sec, heal),
	}
	t.Each = func(s *record.Sample, _ *rand.Rand) {
		if s.Node != "app-1" || s.Due < 10*sec || (heal != record.None && s.Due >= heal) {
			return
		}
		if s.Due >= ejected {
			s.Node, s.Tried = "app-2", []string{"app-2"}
			return
		}
		s.Class, s.Node, s.Done = record.Wrong, "", s.Due+time.Millisecond
	}
	return t
}

func TestKill(t *testing.T) {
	// Requests n = 1002, 1005 … 1197 are lost: 66 of 2,000.
	tr := analysis.Of(kill(18*sec, 12*sec).Recording())
	for _, c := range []struct {
		ref  analysis.Ref
		want analysis.Value
	}{
		{of("availability"), num(1934. / 2000)},
		{in(analysis.Before, "availability"), num(1)},
		{in(analysis.During, "availability"), num(734. / 800)},
		{in(analysis.After, "availability"), num(1)},
		{of("throughput"), num(100)},
		{of("goodput"), num(96.7)},
		{in(analysis.During, "goodput"), num(734. / 8)},
		{of("error_rate"), num(66. / 2000)},
		{analysis.Ref{Metric: "error_rate", Class: "wrong", Phase: analysis.During}, num(66. / 800)},
		{analysis.Ref{Metric: "error_rate", Class: "timeout"}, num(0)},
		{of("mean"), num(0.005)},
		{of("max"), never},
		{of("p99"), never},
		{of("ok_max"), num(0.005)},
		{in(analysis.After, "max"), num(0.005)},
		{of("worst", 1), num(0.66)},
		{of("worst", 20), num(1934. / 2000)},
		{of("worst", 21), none},
		{of("available_windows", 1, 0.99), num(18. / 20)},
		{in(analysis.During, "available_windows", 1, 0.99), num(6. / 8)},
		{of("available_windows", 1, 0.66), num(1)},
		{of("downtime"), num(0.66)},
		{in(analysis.After, "downtime"), num(0)},
		{of("longest_silence"), num(0.02)},
		{of("first_error"), num(0.02)},
		{of("recovery"), num(2)},
		{of("failover"), num(2)},
		{of("detection"), num(2)},
		{of("lost_requests"), num(66)},
		{analysis.Ref{Metric: "recovery", Fault: "crash"}, num(2)},
		{analysis.Ref{Metric: "recovery", Fault: "crush"}, none},
		{analysis.Ref{Metric: "p95", Request: "GET /"}, num(0.005)},
		{analysis.Ref{Metric: "p95", Request: "GET /x"}, none},
		{analysis.Ref{Metric: "p95", Class: "ok"}, none},
		{analysis.Ref{Metric: "longest_silence", Phase: analysis.During}, none},
		{of("worst"), none},
		{of("capacity"), none},
	} {
		check(t, tr, c.ref, c.want)
	}
	if p := tr.Problems(); len(p) > 0 {
		t.Errorf("a sound trial has problems: %q", p)
	}
}

func TestTimesOfAFault(t *testing.T) {
	quiet, silent := kill(18*sec, 10*sec), kill(18*sec, 12*sec)
	silent.Attempts = false
	// Of the requests that time out nobody tells where they went.
	untold := kill(18*sec, 12*sec)
	each := untold.Each
	untold.Each = func(s *record.Sample, r *rand.Rand) {
		if each(s, r); !s.Class.Good() {
			untold.Fail(s, record.Timeout, 0)
			s.Tried = nil
		}
	}
	for _, c := range []struct {
		name  string
		trial analysistest.Trial
		want  map[string]analysis.Value
	}{
		{"censored: down to the end", kill(record.None, 20*sec), map[string]analysis.Value{
			"recovery": censored(5), "failover": censored(5), "detection": censored(9), "lost_requests": num(333), "first_error": num(0.02),
		}},
		{"fault shorter than a hold", kill(13*sec, 12*sec), map[string]analysis.Value{
			"recovery": num(2), "failover": none, "detection": num(2),
		}},
		{"no bad request", quiet, map[string]analysis.Value{
			"recovery": num(0), "failover": num(0), "first_error": never, "detection": num(0), "lost_requests": num(0),
		}},
		{"no fault", analysistest.Trial{}, map[string]analysis.Value{"recovery": none, "first_error": none}},
		{"untold attempts", untold, map[string]analysis.Value{"detection": num(2), "recovery": num(2)}},
		{"no attempts header", silent, map[string]analysis.Value{"detection": none, "recovery": num(2)}},
		{"one replica", analysistest.Trial{
			Replicas: 1, Attempts: true, Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 10*sec, 12*sec)},
		}, map[string]analysis.Value{"detection": none, "recovery": num(0)}},
		{"at the very start", analysistest.Trial{
			Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 0, 12*sec)},
			Each: func(s *record.Sample, _ *rand.Rand) {
				if s.Due < sec {
					s.Class = record.Refused
				}
			},
		}, map[string]analysis.Value{"recovery": none, "lost_requests": none, "first_error": num(0)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := analysis.Of(c.trial.Recording())
			for m, want := range c.want {
				check(t, tr, of(m), want)
			}
		})
	}
}

func TestRecoveryAllowsOnePoint(t *testing.T) {
	// From 12 s on, every 200th request still fails: half a point below the level before.
	noisy := func(every uint64) *analysis.Trial {
		k := kill(18*sec, 12*sec)
		each := k.Each
		k.Each = func(s *record.Sample, r *rand.Rand) {
			each(s, r)
			if s.Due >= 12*sec && s.Seq%every == 5 {
				s.Class = record.Wrong
			}
		}
		return analysis.Of(k.Recording())
	}
	check(t, noisy(200), of("recovery"), num(2.1)) // n = 1205 spoils the bin at 12 s
	check(t, noisy(50), of("recovery"), censored(5))
}

func TestHoldIsTwoHundredRequests(t *testing.T) {
	// At 20/s a hold lasts 10 s: after an outage over [5 s, 7 s) it fits until 17 s, not a bin less.
	outage := func(load time.Duration) *analysis.Trial {
		return analysis.Of(analysistest.Trial{
			Rate: 20, For: load, Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 5*sec, record.None)},
			Each: func(s *record.Sample, _ *rand.Rand) {
				if s.Due >= 5*sec && s.Due < 7*sec {
					s.Class = record.Timeout
				}
			},
		}.Recording())
	}
	check(t, outage(17*sec), of("recovery"), num(2))
	check(t, outage(16_900*time.Millisecond), of("recovery"), censored(1.9))
	check(t, outage(14*sec), of("recovery"), none)
	for rate, want := range map[float64]time.Duration{40: 5 * sec, 20: 10 * sec, 1000: 5 * sec} {
		if got := analysis.Hold(schedule.Constant(rate, 0, 20*sec)); got != want {
			t.Errorf("a hold at %v/s lasts %v, want %v", rate, got, want)
		}
	}
}

func TestOnsetWithinABin(t *testing.T) {
	// One bad request just before the onset in the same bin, one after it.
	k := analysistest.Trial{
		Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 10_035*time.Millisecond, 12_001*time.Millisecond)},
		Each: func(s *record.Sample, _ *rand.Rand) {
			if s.Seq == 1001 || s.Seq == 1007 {
				s.Class, s.Node = record.Reset, ""
			}
		},
	}
	tr := analysis.Of(k.Recording())
	check(t, tr, of("first_error"), num(0.035)) // due at 10.07 s
	check(t, tr, in(analysis.During, "error_rate"), num(2./210))
	check(t, tr, of("recovery"), num(0.065)) // the grid's next point
	want := map[analysis.Phase]analysis.Span{
		analysis.Before: {From: 0, To: 9 * sec}, analysis.During: {From: 10 * sec, To: 12_100 * time.Millisecond}, analysis.After: {From: 12_100 * time.Millisecond, To: 20 * sec},
	}
	for p, s := range want {
		if got := tr.Phases()[p]; len(got) != 1 || got[0] != s {
			t.Errorf("%s is %v, want %v", p, got, s)
		}
	}
}

func TestFreezePutsTheTailWhereArithmeticDoes(t *testing.T) {
	// A freeze over [4 s, 5 s): a request due at d is answered at 5 s + 5 ms, so the k-th
	// slowest of 10,000 took 1005 − (k−1) ms; p99 is the 101st slowest, p999 the 11th.
	tr := analysis.Of(analysistest.Trial{
		Rate: 1000, For: 10 * sec, Timeout: 3 * sec,
		Each: func(s *record.Sample, _ *rand.Rand) {
			if s.Due >= 4*sec && s.Due < 5*sec {
				s.Done = 5*sec + 5*time.Millisecond
			}
		},
	}.Recording())
	for metric, want := range map[string]float64{"p50": 0.005, "p90": 0.005, "p95": 0.505, "p99": 0.905, "p999": 0.995, "p9999": 1.004, "max": 1.005} {
		got := tr.Metric(of(metric))
		if got.State != analysis.OK || math.Abs(got.V/want-1) > 0.01 {
			t.Errorf("%s = %v %s, want %v within 1 %%", metric, got.V, got.State, want)
		}
	}
	check(t, tr, of("max"), num(1.005))
	check(t, tr, of("availability"), num(1))
}

func TestPhases(t *testing.T) {
	type spans = map[analysis.Phase][]analysis.Span
	fault := analysistest.Fault
	for _, c := range []struct {
		name   string
		faults []record.Fault
		want   spans
	}{
		{"none", nil, spans{analysis.Before: {{From: 0, To: 20 * sec}}}},
		{
			"overlapping",
			[]record.Fault{fault("a", "kill", "app-1", 5*sec, 9*sec), fault("b", "kill", "app-2", 7*sec, 11*sec)},
			spans{analysis.Before: {{From: 0, To: 4 * sec}}, analysis.During: {{From: 5 * sec, To: 11 * sec}}, analysis.After: {{From: 11 * sec, To: 20 * sec}}},
		},
		{
			"apart",
			[]record.Fault{fault("a", "kill", "app-1", 5*sec, 6*sec), fault("b", "kill", "app-2", 7*sec, 8*sec)},
			spans{analysis.Before: {{From: 0, To: 4 * sec}}, analysis.During: {{From: 5 * sec, To: 6 * sec}, {From: 7 * sec, To: 8 * sec}}, analysis.After: {{From: 8 * sec, To: 20 * sec}}},
		},
		{
			"to the end",
			[]record.Fault{fault("a", "kill", "app-1", 5*sec, record.None)},
			spans{analysis.Before: {{From: 0, To: 4 * sec}}, analysis.During: {{From: 5 * sec, To: 20 * sec}}},
		},
		{
			"undone after load",
			[]record.Fault{fault("a", "kill", "app-1", 5*sec, 21*sec)},
			spans{analysis.Before: {{From: 0, To: 4 * sec}}, analysis.During: {{From: 5 * sec, To: 20 * sec}}},
		},
		{
			"from the start",
			[]record.Fault{fault("a", "kill", "app-1", 0, sec)},
			spans{analysis.During: {{From: 0, To: sec}}, analysis.After: {{From: sec, To: 20 * sec}}},
		},
		{
			"an instant",
			[]record.Fault{fault("a", "restart", "app-1", 5*sec, 5*sec)},
			spans{analysis.Before: {{From: 0, To: 4 * sec}}, analysis.During: {{From: 5 * sec, To: 5100 * time.Millisecond}}, analysis.After: {{From: 5100 * time.Millisecond, To: 20 * sec}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := analysis.Of(analysistest.Trial{Faults: c.faults}.Recording()).Phases()
			for _, p := range analysis.Phases() {
				if len(got[p]) != len(c.want[p]) {
					t.Fatalf("%s is %v, want %v", p, got[p], c.want[p])
				}
				for i := range got[p] {
					if got[p][i] != c.want[p][i] {
						t.Errorf("%s is %v, want %v", p, got[p], c.want[p])
					}
				}
			}
		})
	}
}

func TestOverlappingFaultsEachFromItsOwnOnset(t *testing.T) {
	k := analysistest.Trial{
		Faults: []record.Fault{
			analysistest.Fault("a", "kill", "app-1", 5*sec, 12*sec),
			analysistest.Fault("b", "kill", "app-2", 8*sec, 11*sec),
		},
		Each: func(s *record.Sample, _ *rand.Rand) {
			if s.Due >= 5*sec && s.Due < 6*sec || s.Due >= 8*sec && s.Due < 10*sec {
				s.Class, s.Node = record.EOF, ""
			}
		},
	}
	tr := analysis.Of(k.Recording())
	check(t, tr, of("recovery"), none)
	check(t, tr, analysis.Ref{Metric: "recovery", Fault: "a"}, num(5))
	check(t, tr, analysis.Ref{Metric: "recovery", Fault: "b"}, num(2))
	check(t, tr, analysis.Ref{Metric: "first_error", Fault: "b"}, num(0))
	check(t, tr, analysis.Ref{Metric: "lost_requests", Fault: "a"}, num(100))
	check(t, tr, analysis.Ref{Metric: "lost_requests", Fault: "b"}, num(200))
	if got := tr.Signature("b")[record.EOF]; got != 200 {
		t.Errorf("signature of b has %d EOF, want 200", got)
	}
}

func TestWarmupDoesNotCount(t *testing.T) {
	tr := analysis.Of(analysistest.Trial{
		Warmup: 3 * sec,
		Each: func(s *record.Sample, _ *rand.Rand) {
			if s.Due < 0 {
				s.Class, s.Done = record.Wrong, s.Due+900*time.Millisecond
			}
		},
	}.Recording())
	check(t, tr, of("availability"), num(1))
	check(t, tr, of("max"), num(0.005))
	check(t, tr, of("throughput"), num(100))
	check(t, tr, of("longest_silence"), num(0.01))
}

func TestRequests(t *testing.T) {
	tr := analysis.Of(analysistest.Trial{
		Requests: []string{"a", "b"},
		Each: func(s *record.Sample, _ *rand.Rand) {
			if s.Request == 1 {
				s.Done = s.Due + 50*time.Millisecond
				if s.Seq%4 == 1 {
					s.Class = record.Wrong
				}
			}
		},
	}.Recording())
	check(t, tr, of("availability"), num(0.75))
	check(t, tr, analysis.Ref{Metric: "availability", Request: "a"}, num(1))
	check(t, tr, analysis.Ref{Metric: "availability", Request: "b"}, num(0.5))
	check(t, tr, analysis.Ref{Metric: "max", Request: "a"}, num(0.005))
	check(t, tr, analysis.Ref{Metric: "ok_max", Request: "b"}, num(0.05))
	check(t, tr, analysis.Ref{Metric: "throughput", Request: "b"}, num(50))
	check(t, tr, analysis.Ref{Metric: "worst", Args: []float64{1}, Request: "b"}, num(0.5))
}

func TestBalance(t *testing.T) {
	check(t, analysis.Of(analysistest.Trial{Rate: 300}.Recording()), of("balance"), num(1))
	lopsided := analysistest.Trial{Replicas: 2, Each: func(s *record.Sample, _ *rand.Rand) { s.Node = "app-1" }}
	check(t, analysis.Of(lopsided.Recording()), of("balance"), num(0.5))
	// app-1 is down over [10 s, 20 s) and the other two share all: fair in both stretches,
	// though not over the whole.
	k := kill(record.None, 10*sec)
	k.Rate = 300
	each, turn := k.Each, 0
	k.Each = func(s *record.Sample, r *rand.Rand) {
		if each(s, r); s.Due >= 10*sec {
			turn++
			s.Node = analysistest.Node(2 + turn%2)
		}
	}
	check(t, analysis.Of(k.Recording()), of("balance"), num(1))
	check(t, analysis.Of(analysistest.Trial{Nodes: []record.Node{{Name: "db-1", Service: "db"}}}.Recording()), of("balance"), none)
}

func TestServingNodes(t *testing.T) {
	node := func(name func(uint64) string, class record.Class) analysistest.Trial {
		return analysistest.Trial{Replicas: 3, Rate: 300, Each: func(s *record.Sample, _ *rand.Rand) { s.Node, s.Class = name(s.Seq), class }}
	}
	inTurn := func(n uint64) string { return analysistest.Node(1 + int(n%3)) }
	for name, c := range map[string]struct {
		trial analysistest.Trial
		want  analysis.Value
	}{
		"all":                  {node(inTurn, record.OK), num(3)},
		"one never joined":     {node(func(n uint64) string { return analysistest.Node(1 + int(n%2)) }, record.OK), num(2)},
		"who fails serves not": {node(inTurn, record.Wrong), num(0)},
		"nobody answers":       {node(func(uint64) string { return "" }, record.Timeout), num(0)},
		"nobody has a name":    {node(func(uint64) string { return "" }, record.OK), none},
		"no such node":         {node(func(uint64) string { return "other" }, record.OK), none},
		"no balanced node":     {analysistest.Trial{Nodes: []record.Node{{Name: "db-1", Service: "db"}}}, none},
	} {
		t.Run(name, func(t *testing.T) { check(t, analysis.Of(c.trial.Recording()), of("serving_nodes"), c.want) })
	}
	// By phase: app-1 is down over [10 s, 20 s).
	k := kill(record.None, 10*sec)
	each := k.Each
	k.Each = func(s *record.Sample, r *rand.Rand) {
		if each(s, r); s.Due >= 10*sec && s.Due < 20*sec {
			s.Node = analysistest.Node(2 + int(s.Seq%2))
		}
	}
	tr := analysis.Of(k.Recording())
	check(t, tr, of("serving_nodes"), num(3))
	check(t, tr, analysis.Ref{Metric: "serving_nodes", Phase: analysis.Before}, num(3))
	check(t, tr, analysis.Ref{Metric: "serving_nodes", Phase: analysis.During}, num(2))
}

func TestZeroRequests(t *testing.T) {
	rec := analysistest.Trial{Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 10*sec, 12*sec)}}.Recording()
	rec.Bins = nil
	rec.Generator.Scheduled, rec.Generator.Counted = 0, 0
	tr := analysis.Of(rec)
	for _, s := range analysis.Specs() {
		check(t, tr, analysis.Ref{Metric: s.Name, Args: argsOf(s)}, none)
	}
	if p := tr.Problems(); len(p) != 1 || !strings.Contains(p[0], "no request") {
		t.Errorf("problems %q, want that there were no requests", p)
	}
	for _, s := range tr.Seconds() {
		if s.P99.State != analysis.NoData || s.Availability().State != analysis.NoData {
			t.Errorf("a second without requests has data: %+v", s)
		}
	}
}

func argsOf(s analysis.Spec) []float64 { return []float64{1, 0.99}[:len(s.Args)] }

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *record.Recording)
		want   string // "" for a valid trial
	}{
		{"sound", func(*record.Recording) {}, ""},
		{"recorded", func(r *record.Recording) { r.Problems = []string{"the target did not get ready"} }, "did not get ready"},
		{"uncounted", func(r *record.Recording) { r.Generator.Scheduled++ }, "2000 of 2001"},
		{"bins lost", func(r *record.Recording) { r.Bins = r.Bins[1:] }, "holds 1990"},
		{"incomplete", func(r *record.Recording) { r.Generator.Complete = false }, "whole schedule"},
		{"two of 2,000 local", own(2), ""},
		{"three of 2,000 local", own(3), "3 of 2000"},
		{"no onset", func(r *record.Recording) { r.Faults[0].Onset = nil }, "never began"},
		{"unproven", func(r *record.Recording) { r.Faults[0].Proof[0].OK = false }, "no proof of effect on app-1"},
		{"short", func(r *record.Recording) {
			r.Faults[0].Proof = append(r.Faults[0].Proof, record.Proof{Node: "app-1", What: "helper: ended", Asked: "delay 100ms", Delivered: "12 ms at the median"})
		}, "did too little on app-1: asked delay 100ms, delivered 12 ms at the median"},
		{"no node", func(r *record.Recording) { r.Faults[0].Nodes = nil }, "hit no node"},
		{"went wrong", func(r *record.Recording) { r.Faults[0].Problem = "exec: no such file" }, "no such file"},
		{"too late", func(r *record.Recording) { r.Faults[0].Onset = &record.Edge{From: 20 * sec, To: 20 * sec} }, "after measured load"},
		{"replica dead", func(r *record.Recording) {
			r.Events = append(analysistest.Down("app-3", "", 5*sec, record.None), r.Events...)
		}, "app-3 was not running at the first onset"},
		{"engine's clock behind ours", func(r *record.Recording) { r.Events[0].At -= 300 * time.Millisecond }, ""},
		{"victim dead long before", func(r *record.Recording) { r.Events[0].At -= 2 * sec }, "app-1 was not running"},
		{"replica back in time", func(r *record.Recording) {
			r.Events = append(analysistest.Down("app-3", "", 5*sec, 9*sec), r.Events...)
		}, ""},
		{"replica started too late", func(r *record.Recording) {
			r.Events = append(r.Events, record.Event{At: 11 * sec, Kind: record.NodeStart, Node: "app-2"})
		}, "app-2 was not running"},
		{"replica dies with the fault", func(r *record.Recording) {
			r.Events = append(r.Events, record.Event{At: 10 * sec, Kind: record.NodeDie, Node: "app-2"})
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := kill(18*sec, 12*sec).Recording()
			c.change(rec)
			got := analysis.Of(rec).Problems()
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("problems %q, want none", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("problems %q, want one with %q", got, c.want)
			}
		})
	}
	t.Run("every answer bad", func(t *testing.T) {
		bad := analysistest.Trial{Each: func(s *record.Sample, _ *rand.Rand) { s.Class = record.Refused }}
		if p := analysis.Of(bad.Recording()).Problems(); len(p) > 0 {
			t.Errorf("bad answers alone made the trial invalid: %q", p)
		}
	})
}

// own makes n requests the generator's own failures.
func own(n uint64) func(*record.Recording) {
	return func(r *record.Recording) {
		b := &r.Bins[3]
		b.Cells = append(b.Cells, record.Cell{Class: record.Local, Count: n})
		b.Cells[0].Count -= n
		b.Good -= n
	}
}

func TestUnlagged(t *testing.T) {
	// Over one second the generator itself sends 400 ms late, and every tenth request
	// of it is then given up at its deadline.
	late := analysistest.Trial{Each: func(s *record.Sample, _ *rand.Rand) {
		if s.Due < 5*sec || s.Due >= 6*sec {
			return
		}
		s.Sent += 400 * time.Millisecond
		s.Done += 400 * time.Millisecond
		if s.Seq%10 == 0 {
			s.Class, s.Node, s.Done = record.Timeout, "", s.Due+sec
		}
	}}
	tr := analysis.Of(late.Recording())
	check(t, tr, of("availability"), num(0.995))
	check(t, tr, of("ok_max"), num(0.405))
	if l := tr.Lag(); l.Total() != 2000 || l.Max() != 400*time.Millisecond {
		t.Errorf("lag of %d requests, at most %v", l.Total(), l.Max())
	}
	punctual := tr.Unlagged()
	check(t, punctual, of("availability"), num(1))
	check(t, punctual, of("max"), num(0.6)) // given up 600 ms after it would have been sent
	if got := punctual.Metric(of("p99")); math.Abs(got.V/0.005-1) > 0.01 {
		t.Errorf("p99 without the lag is %v, want 5 ms", got.V)
	}
	check(t, tr, of("availability"), num(0.995)) // the trial itself is unchanged
	check(t, tr, of("ok_max"), num(0.405))

	// The target's own slowness is not excused.
	slow := kill(18*sec, 12*sec)
	check(t, analysis.Of(slow.Recording()).Unlagged(), of("availability"), num(1934./2000))
}

// The generator froze for 600 ms and then came to everything at once: what it was late with is its own, whether those requests went out,
// had to wait for a connection behind one another, or never got one.
func TestUnlaggedOfAFreeze(t *testing.T) {
	frozen := func(shed bool) *analysis.Trial {
		return analysis.Of(analysistest.Trial{Each: func(s *record.Sample, _ *rand.Rand) {
			thaw := 5600 * time.Millisecond
			if s.Due < 5*sec || s.Due >= thaw {
				return
			}
			s.Late = thaw - s.Due
			s.Free, s.Sent = thaw+2*time.Millisecond, thaw+2*time.Millisecond
			s.Done = s.Sent + 5*time.Millisecond
			if shed && s.Seq%2 == 0 && s.Late > 100*time.Millisecond {
				s.Class, s.Node, s.Sent, s.Free, s.Done = record.Shed, "", record.None, record.None, s.Due+sec
			}
			if s.Seq%20 == 1 {
				s.Class = record.Slow
			}
		}}.Recording())
	}
	tr := frozen(false)
	check(t, tr, of("availability"), num(1997./2000))
	if got := tr.Metric(of("p99")); got.V < 0.3 {
		t.Errorf("p99 is %v: the freeze does not count", got)
	}
	if got := tr.Unlagged().Metric(of("p99")); got.V > 0.0072 {
		t.Errorf("p99 without the freeze is %v", got)
	}
	check(t, tr.Unlagged(), of("availability"), num(1))
	if own := tr.OwnLag(); own.Total() != 2000 || own.Max() != 600*time.Millisecond {
		t.Errorf("own lag of %d requests, at most %v", own.Total(), own.Max())
	}
	check(t, frozen(true), of("availability"), num(1972./2000))
	check(t, frozen(true).Unlagged(), of("availability"), num(1))
}

func TestNumbersAreFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 30 {
		tr := analysis.Of(anyTrial(r, int64(i)).Recording())
		checkNumbers(t, tr)
		checkNumbers(t, tr.Unlagged())
		for _, l := range tr.Lanes() {
			checkLane(t, l, tr.Rec.For)
		}
	}
}

func checkNumbers(t *testing.T, tr *analysis.Trial) {
	t.Helper()
	for _, s := range analysis.Specs() {
		for _, p := range append(analysis.Phases(), analysis.Whole) {
			v := tr.Metric(analysis.Ref{Metric: s.Name, Phase: p, Args: argsOf(s), Fault: map[bool]string{true: "f0"}[s.OfFault]})
			if v.State == "" || math.IsNaN(v.V) || math.IsInf(v.V, 0) || v.V < 0 || s.Unit == analysis.Ratio && v.V > 1 {
				t.Fatalf("trial %d: %s %s is %v %q", tr.Rec.Seed, p, s.Name, v.V, v.State)
			}
		}
	}
}

// checkLane holds that a lane covers load without holes or overlaps.
func checkLane(t *testing.T, l analysis.Lane, end time.Duration) {
	t.Helper()
	at := time.Duration(0)
	for _, s := range l.Spans {
		if s.From != at || s.To <= s.From {
			t.Fatalf("lane %s has a hole or an overlap at %v: %v", l.Node, at, l.Spans)
		}
		at = s.To
	}
	if at != end {
		t.Fatalf("lane %s ends at %v, load at %v", l.Node, at, end)
	}
}

// anyTrial is a trial with faults, rates and failures at random.
func anyTrial(r *rand.Rand, seed int64) analysistest.Trial {
	t := analysistest.Trial{
		Rate: []float64{0.5, 3, 40, 333}[r.IntN(4)], For: time.Duration(1+r.IntN(200)) * 77 * time.Millisecond,
		Replicas: 1 + r.IntN(4), Attempts: r.IntN(2) == 0, Seed: seed, Timeout: 300 * time.Millisecond,
	}
	for i := range r.IntN(3) {
		from := time.Duration(r.Int64N(int64(t.For) + int64(sec)))
		to := from + time.Duration(r.Int64N(int64(8*sec)))
		if r.IntN(4) == 0 {
			to = record.None
		}
		t.Faults = append(t.Faults, analysistest.Fault("f"+string(rune('0'+i)), "kill", "app-1", from, to))
		t.Events = append(t.Events, analysistest.Down("app-1", "f", from, to)...)
	}
	share := r.Float64()
	classes := record.Classes()
	t.Each = func(s *record.Sample, r *rand.Rand) {
		if r.Float64() < share {
			s.Class, s.Sent = classes[r.IntN(len(classes))], s.Sent+time.Duration(r.IntN(int(80*time.Millisecond)))
			s.Done = s.Sent + time.Duration(r.IntN(int(250*time.Millisecond)))
		}
	}
	return t
}
