package tutti_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// gated has an objective that notices a node less, one that notices slowness, one that compares, and two that notice nothing.
const gated = `version: 1
name: gated
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app}
arms:
  one: {scale: {app: 1}}
  two: {scale: {app: 2}}
baseline: one
load: {rate: 10/s, for: 10s, warmup: 1s, timeout: 500ms, requests: [GET /]}
faults:
  - {name: crash, at: 3050ms, kill: app, for: 2s}
objectives:
  - two.availability >= 85%
  - two.before.ok_p99 <= 50ms
  - {check: two.ok_p50 <= one.ok_p50, margin: 20%}
  - two.availability >= 1%
  - one.availability >= 1%
  - {check: two.p50 <= 1ns, severity: warn}
mutations:
  slow: {env: {SLOW: "1"}}
  same: {env: {SLOW: "0"}}
repeats: 6
`

// tester tries a scenario on a fake in which SLOW makes answers slow.
func tester(t *testing.T, text string) (*tutti.Tester, *bench) {
	t.Helper()
	b := newBench(t, text)
	slow := false
	b.Takes = func(s target.Spec) time.Duration {
		if slow && strings.HasPrefix(s.Trial, "two-") {
			return 100 * time.Millisecond
		}
		return 20 * time.Millisecond
	}
	return &tutti.Tester{
		Read: func() (*scenario.Scenario, error) { return scenario.Parse(b.file, []byte(text), b.opts.Kit.Faults) },
		Run: func(ctx context.Context, s *scenario.Scenario, o tutti.Options) (*tutti.Result, error) {
			p, err := tutti.Prepare(ctx, s, o)
			if err != nil {
				return nil, err
			}
			slow = s.Arms[len(s.Arms)-1].Env["SLOW"] == "1"
			res, err := tutti.Run(ctx, p, o)
			return res, errors.Join(err, p.Close(ctx))
		},
		Options: b.opts,
	}, b
}

func tried(t *testing.T, s *tutti.SelfTest, name string) tutti.Tried {
	t.Helper()
	for _, r := range s.Runs {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("%s was not tried", name)
	return tutti.Tried{}
}

func biting(r tutti.Tried) (all []string) {
	for _, b := range r.Bites {
		all = append(all, fmt.Sprint(b.Number, map[bool]string{true: "?"}[b.Beyond]))
	}
	return all
}

// A self-test says what of what is broken is noticed, and by which objectives; and which never fail.
func TestSelfTest(t *testing.T) {
	te, b := tester(t, gated)
	synctest.Test(t, func(t *testing.T) {
		s, err := te.SelfTest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]struct {
			outcome tutti.Outcome
			bites   []string
		}{
			"as-is":           {tutti.Quiet, []string{"6"}},
			"equal-arms":      {tutti.Quiet, nil},
			"slow":            {tutti.Caught, []string{"2", "3?", "6"}},
			"same":            {tutti.Missed, []string{"6"}},
			tutti.OneNodeLess: {tutti.Caught, []string{"1", "6"}},
			tutti.Delay:       {tutti.Skipped, nil},
			tutti.Errors:      {tutti.Skipped, nil},
		} {
			r := tried(t, s, name)
			if got := biting(r); r.Outcome != want.outcome || !slices.Equal(got, want.bites) {
				t.Errorf("%s: %s (%s), failed %v; want %s and %v", name, r.Outcome, r.Why, got, want.outcome, want.bites)
			}
		}
		var never []int
		for _, n := range s.Never {
			never = append(never, n.Number)
		}
		if !slices.Equal(never, []int{4, 5}) || !strings.Contains(s.Never[1].Why, "baseline alone") || s.Never[0].Line != 15 {
			t.Errorf("never failed: %+v", s.Never)
		}
		if s.Verdict != rundir.Fail || s.ExitCode != 10 || s.Blocks != 1 || len(s.Runs) != 7 {
			t.Errorf("%s (%d) of %d blocks, %d runs, because %q", s.Verdict, s.ExitCode, s.Blocks, len(s.Runs), s.Reasons)
		}
		says(t, "reasons", s.Reasons, "nothing failed with same")
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		// Each run can be judged again as what it was.
		for _, name := range []string{"equal-arms", "slow", tutti.OneNodeLess} {
			again, err := tutti.Judge(filepath.Join(b.opts.Dir, name), b.opts.Kit)
			if err != nil || again.Run.Variation == nil || again.Run.Verdict != tried(t, s, name).Verdict {
				t.Errorf("%s, judged again: %v", name, err)
			}
		}
	})
}

// Without the mutation that breaks nothing the gate bites; in one block a comparison alone is only likely to.
func TestSelfTestVerdicts(t *testing.T) {
	without := strings.Replace(gated, "  same: {env: {SLOW: \"0\"}}\n", "", 1)
	lines := func(drop ...string) string {
		text := without
		for _, d := range drop {
			text = strings.Replace(text, d+"\n", "", 1)
		}
		return text
	}
	for name, c := range map[string]struct {
		text    string
		repeats int
		verdict rundir.Verdict
		code    int
		slow    tutti.Outcome
	}{
		"it bites":            {without, 0, rundir.Pass, 0, tutti.Caught},
		"too few blocks":      {lines("  - two.before.ok_p99 <= 50ms"), 0, rundir.Inconclusive, 12, tutti.Likely},
		"enough blocks":       {lines("  - two.before.ok_p99 <= 50ms"), 3, rundir.Pass, 0, tutti.Caught},
		"a warning is no say": {strings.Replace(without, "  - two.before.ok_p99 <= 50ms", "  - {check: two.before.ok_p99 <= 50ms, severity: warn}", 1), 0, rundir.Inconclusive, 12, tutti.Likely},
		"fails anyway":        {strings.Replace(lines("  - {check: two.ok_p50 <= one.ok_p50, margin: 20%}"), "ok_p99 <= 50ms", "ok_p99 <= 10ms", 1), 0, rundir.Fail, 10, tutti.Missed},
	} {
		t.Run(name, func(t *testing.T) {
			te, _ := tester(t, c.text)
			te.Options.Repeats = c.repeats
			synctest.Test(t, func(t *testing.T) {
				s, err := te.SelfTest(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if r := tried(t, s, "slow"); s.Verdict != c.verdict || s.ExitCode != c.code || r.Outcome != c.slow {
					t.Errorf("%s (%d) because %q; slow is %s", s.Verdict, s.ExitCode, s.Reasons, r.Outcome)
				}
			})
		})
	}
}

// gatedBy is gated with other objectives and mutations, and with other words.
func gatedBy(objectives, mutations string, oldnew ...string) string {
	head := strings.NewReplacer(oldnew...).Replace(gated[:strings.Index(gated, "objectives:")])
	return head + "objectives:\n" + objectives + "mutations:\n" + mutations + "repeats: 6\n"
}

// In one block what never came on one side of a comparison is beyond its limit, and so is what had not come when nobody looked any more.
func TestSelfTestNever(t *testing.T) {
	for objective, want := range map[string][]string{
		"two.p50 <= one.p50":                 {"1?"},
		"two.p50 <= one.p50 + 10ms":          nil, // a difference: which side never came?
		"two.recovery <= 1.2 * one.recovery": {"1?"},
		"two.recovery >= one.recovery":       nil,
	} {
		te, _ := tester(t, gatedBy("  - "+objective+"\n", "  all: {faults: [{name: crash, at: 3050ms, kill: {service: app, pick: all}, for: 20s}]}\n", "for: 10s", "for: 30s"))
		synctest.Test(t, func(t *testing.T) {
			s, err := te.SelfTest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			outcome := tutti.Likely
			if want == nil {
				outcome = tutti.Missed
			}
			if r := tried(t, s, "all"); r.Outcome != outcome || !slices.Equal(biting(r), want) {
				t.Errorf("%s: %s, %v; want %s and %v", objective, r.Outcome, biting(r), outcome, want)
			}
		})
	}
}

// A run that is not to be trusted is no verdict on the gate.
func TestSelfTestUntrusted(t *testing.T) {
	te, b := tester(t, gated)
	b.KillErr = func(s target.Spec, _ target.Node) error {
		if s.Scale["app"] == 1 && strings.HasPrefix(s.Trial, "two-") {
			return errors.New("no such process")
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := te.SelfTest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r := tried(t, s, tutti.OneNodeLess); r.Outcome != tutti.Unknown || r.Why == "" || s.Verdict != rundir.Invalid || s.ExitCode != 13 {
			t.Errorf("%+v; %s because %q", r, s.Verdict, s.Reasons)
		}
	})
}

// A target that does not get ready with something broken is noticed: no run lets that pass. Without anything broken it is an error.
func TestSelfTestNeverReady(t *testing.T) {
	for trial, want := range map[string]tutti.Outcome{"two-1": tutti.Caught, "one-1": tutti.Unknown} {
		te, b := tester(t, strings.Replace(gated, `{env: {SLOW: "0"}}`, `{env: {BROKEN: "1"}}`, 1))
		broken := false
		run := te.Run
		te.Run = func(ctx context.Context, s *scenario.Scenario, o tutti.Options) (*tutti.Result, error) {
			broken = o.Vary != nil && o.Vary.Name == "same" || o.Vary == nil && trial == "one-1"
			return run(ctx, s, o)
		}
		b.UpErr = func(s target.Spec) error {
			if broken && s.Trial == trial {
				return errors.New("a quorum of three is wanted")
			}
			return nil
		}
		synctest.Test(t, func(t *testing.T) {
			s, err := te.SelfTest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			name := map[string]string{"two-1": "same", "one-1": "as-is"}[trial]
			if r := tried(t, s, name); r.Outcome != want || !strings.Contains(r.Why, "a quorum of three is wanted") {
				t.Errorf("%s: %+v", trial, r)
			}
		})
	}
}

// An engine that goes away ends the self-test as an error: what was not run has not been noticed.
func TestSelfTestEngineGone(t *testing.T) {
	te, b := tester(t, gated)
	opens := 0
	te.Options.Kit.Drivers[tutti.Docker] = func(ctx context.Context, id string) (target.Driver, func(context.Context) error, error) {
		if opens++; opens > 3 { // after as-is, equal-arms and slow
			return nil, nil, &target.UnavailableError{What: "ask the engine", Err: errors.New("connection refused")}
		}
		return b.open(ctx, id)
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := te.SelfTest(t.Context())
		var unavailable *target.UnavailableError
		if !errors.As(err, &unavailable) || s.Verdict != rundir.Errored || s.ExitCode != 30 || len(s.Runs) != 3 {
			t.Errorf("%s (%d), %d runs, error %v", s.Verdict, s.ExitCode, len(s.Runs), err)
		}
		says(t, "reasons", s.Reasons, "not all of it was carried out", "connection refused")
	})
}

// What nothing on the machine can do is left out, and said.
func TestSelfTestUnable(t *testing.T) {
	te, b := tester(t, gated)
	te.Options.Kit.Faults = fault.Kinds{"kill": node.KillKind(), "http": unable()}
	b.opts.Kit = te.Options.Kit
	synctest.Test(t, func(t *testing.T) {
		s, err := te.SelfTest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{tutti.Delay, tutti.Errors} {
			if r := tried(t, s, name); r.Outcome != tutti.Skipped || !strings.Contains(r.Why, "plan the faults") {
				t.Errorf("%+v", r)
			}
		}
	})
}

// unable is a verb that no driver can do.
func unable() fault.Kind {
	k := planted{}.kind()
	k.Params = append(k.Params, fault.Param{Name: "status", Type: fault.Count}, fault.Param{Name: "share", Type: fault.Share})
	k.Ways = []fault.Way{{Name: "by magic", Abilities: target.CanProxy}}
	return k
}

// Interrupted, it says what it came to.
func TestSelfTestInterrupted(t *testing.T) {
	te, _ := tester(t, gated)
	synctest.Test(t, func(t *testing.T) {
		s, err := te.SelfTest(after(t, 40*time.Second))
		if !errors.Is(err, errEnough) || len(s.Runs) != 1 || s.Runs[0].Name != "as-is" || s.Verdict != rundir.Interrupted || s.ExitCode != 130 {
			t.Errorf("%s (%d), runs %+v, error %v", s.Verdict, s.ExitCode, s.Runs, err)
		}
	})
}

// Nothing that could fail is a wrong command.
func TestSelfTestNothing(t *testing.T) {
	te, _ := tester(t, gated[:strings.Index(gated, "objectives:")]+"repeats: 6\n")
	_, err := te.SelfTest(t.Context())
	var usage *tutti.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "no objectives") {
		t.Errorf("error %v", err)
	}
}

// What cannot be read on its way cannot be answered in its place, and is late by packets.
func TestSelfTestSealed(t *testing.T) {
	te, b := tester(t, strings.Replace(gated, "requests: [GET /]", "http2: true, requests: [GET /]", 1))
	te.Options.Kit.Faults = fault.Kinds{"kill": node.KillKind(), "latency": planted{&b.planted}.kind(), "http": planted{&b.planted}.kind()}
	b.opts.Kit = te.Options.Kit
	synctest.Test(t, func(t *testing.T) {
		s, err := te.SelfTest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r := tried(t, s, tutti.Errors); r.Outcome != tutti.Skipped || !strings.Contains(r.Why, "HTTP/2") {
			t.Errorf("%+v", r)
		}
		if r := tried(t, s, tutti.Delay); r.Outcome == tutti.Skipped || len(b.planted) == 0 {
			t.Errorf("%+v, planted in %v", r, b.planted)
		}
	})
}

// A mutation that cannot be is refused before anything runs.
func TestSelfTestImpossible(t *testing.T) {
	for text, want := range map[string]string{
		`{scale: {web: 1}}`: `has no service "web"`, `{compose: missing.yaml}`: "missing.yaml", `{faults: [{name: crash, at: 1s, kill: db, for: 1s}]}`: `has no service "db"`,
	} {
		te, b := tester(t, strings.Replace(gated, `{env: {SLOW: "0"}}`, text, 1))
		if _, err := te.SelfTest(t.Context()); err == nil || !strings.Contains(err.Error(), want) || len(b.Ups()) > 0 {
			t.Errorf("%s: %v, started %v", text, err, b.Ups())
		}
	}
}

// The built-in mutations of the ingress are faults in force for all of the load, which make no phases.
func TestSelfTestPlanted(t *testing.T) {
	b := newBench(t, gated)
	b.opts.Kit.Faults = fault.Kinds{"kill": node.KillKind(), "latency": planted{&b.planted}.kind()}
	b.opts.Vary = &rundir.Variation{Kind: rundir.Mutation, Name: tutti.Delay, Verb: "latency", Services: map[string]string{"two": "app"}}
	b.opts.Repeats = 1
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.planted, []string{"app-1", "app-2"}) {
			t.Errorf("planted in %v", b.planted)
		}
		for _, f := range res.Run.Faults {
			if f.Name != "crash" && (f.Onset == nil || f.Onset.To >= 0 || f.Heal == nil || f.Heal.To < 10500*time.Millisecond) {
				t.Errorf("%s is in force from %v to %v, want from the warm-up to the last answer", f.Name, f.Onset, f.Heal)
			}
		}
		two := res.Run.Arms["two"]
		if v := two.Phases["before"]["availability"]; v.Value == nil || *v.Value != 1 {
			t.Errorf("availability before the crash is %+v: the planted fault makes a phase", v)
		}
		if v := two.Metrics[`lost_requests{fault="crash"}`]; v.Value == nil || *v.Value == 0 {
			t.Errorf("lost by the crash: %+v", v)
		}
		if _, err := tutti.Judge(res.Dir, b.opts.Kit); err != nil {
			t.Error(err)
		}
	})
}

// planted is a fault that keeps where it was.
type planted struct{ in *[]string }

func (p planted) kind() fault.Kind {
	return fault.Kind{New: func(fault.Params) (fault.Fault, error) { return p, nil }, Params: []fault.Param{{Name: "delay", Type: fault.Duration}}}
}

func (p planted) Inject(_ context.Context, _ *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	now := time.Now()
	var effects []target.Effect
	for _, n := range nodes {
		*p.in = append(*p.in, n.Name)
		effects = append(effects, target.Effect{Node: n, From: now, To: now, Source: "test", Proof: "planted"})
	}
	return effects, func(context.Context) ([]target.Effect, error) {
		for i := range effects {
			effects[i].From, effects[i].To = time.Now(), time.Now()
		}
		return effects, nil
	}, nil
}
