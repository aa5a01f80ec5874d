package tutti

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
)

// The built-in mutations.
const (
	OneNodeLess = "one-node-less"
	Delay       = "delay-200ms"
	Errors      = "errors-20-percent"
)

const (
	mutationDelay  = 200 * time.Millisecond
	mutationStatus = 503
	mutationShare  = 0.2
)

// A SelfTest is what a gate was tried with, and whether it can fail. It is selftest.json.
type SelfTest struct {
	Schema   string         `json:"schema"`
	Name     string         `json:"name"` // of the scenario
	SHA256   string         `json:"sha256"`
	Blocks   int            `json:"blocks"` // of each run
	Verdict  rundir.Verdict `json:"verdict"`
	ExitCode int            `json:"exit_code"`
	Reasons  []string       `json:"reasons"`
	Runs     []Tried        `json:"runs"`
	// Never are the objectives that gate and failed in no run with something broken.
	Never []NeverFailed `json:"never_failed"`
}

// SelfTestSchema is the value of [SelfTest.Schema].
const SelfTestSchema = "tutti.selftest/v1"

// A Tried is one run of a self-test.
type Tried struct {
	Name    string         `json:"name"`
	Kind    string         `json:"kind"` // as-is, again, mutation
	What    string         `json:"what"` // is broken
	Dir     string         `json:"dir,omitempty"`
	Verdict rundir.Verdict `json:"verdict,omitempty"` // the run's; "" if it was not carried out
	Outcome Outcome        `json:"outcome"`
	Why     string         `json:"why,omitempty"`
	Bites   []Bite         `json:"bites"` // objectives that failed, or would have
}

// An Outcome says what a run of a self-test shows of the gate.
type Outcome string

// The outcomes.
const (
	Caught  Outcome = "caught"  // broken, and an objective failed, or the target did not get ready
	Likely  Outcome = "likely"  // broken, and an objective's estimate is beyond its limit, in too few blocks for a verdict
	Missed  Outcome = "missed"  // broken, and nothing failed
	Quiet   Outcome = "quiet"   // not broken, and nothing failed
	Alarm   Outcome = "alarm"   // not broken, and an objective failed
	Skipped Outcome = "skipped" // it cannot be broken so; Why says why
	Unknown Outcome = "unknown" // the run is not to be trusted
)

// AsIs is the name and kind of the run in which nothing is broken.
const AsIs = "as-is"

// A Bite is an objective that failed.
type Bite struct {
	Objective string `json:"objective"`
	Number    int    `json:"number"` // in the scenario, from 1; 0: of equal arms
	Beyond    bool   `json:"beyond"` // by its estimate alone: there are too few blocks for a verdict
}

// A NeverFailed is an objective that failed whatever was broken.
type NeverFailed struct {
	Objective string `json:"objective"`
	Number    int    `json:"number"`
	Line      int    `json:"line"`
	Why       string `json:"why,omitempty"`
}

// A Tester carries out the runs of a self-test.
type Tester struct {
	Read    func() (*scenario.Scenario, error)                                  // the scenario, anew each time: a run changes it
	Run     func(context.Context, *scenario.Scenario, Options) (*Result, error) // prepares, runs and draws
	Options Options                                                             // Dir is where the runs' folders go; Repeats 0 is one block
	Begin   func(name, what string, n, of int)                                  // before each run; may be nil
	broken  []breaking
	number  int
}

// A breaking is a mutation that will be tried, or why it cannot be.
type breaking struct {
	name, what, skip string
	vary             []*rundir.Variation // in the order of preference: what an engine cannot do is done in another way
}

// SelfTest tries whether a scenario's objectives can fail: it runs the scenario as it is and its baseline against itself, of which neither
// may fail, and the scenario with something broken in every arm but the baseline, which must: what the scenario's mutations
// say, and of its own one node less, 200 ms of delay and a fifth of the answers errors. What fails in the scenario as it is bites nothing.
//
// The error says why not all of it was carried out; what there is of it is returned beside it.
func (t *Tester) SelfTest(ctx context.Context) (*SelfTest, error) {
	s, err := t.Read()
	if err != nil {
		return nil, err
	}
	if len(s.Objectives) == 0 {
		return nil, &UsageError{fmt.Errorf("%s has no objectives: there is nothing that could fail", s.File)}
	}
	if t.Options.Repeats == 0 {
		t.Options.Repeats, t.Options.Most = 1, 0
	}
	if t.broken, err = breakings(ctx, s, t.Options); err != nil {
		return nil, err
	}
	out := &SelfTest{Schema: SelfTestSchema, Name: s.Name, SHA256: digest(s.Source), Blocks: t.Options.Repeats, Runs: []Tried{}, Never: []NeverFailed{}, Reasons: []string{}}
	err = t.all(ctx, s, out)
	if out.conclude(s); err != nil {
		out.Verdict = rundir.Errored
		if ctx.Err() != nil {
			out.Verdict = rundir.Interrupted
		}
		out.ExitCode, out.Reasons = exitCode(out.Verdict), append([]string{"not all of it was carried out: " + oneLine(err.Error())}, out.Reasons...)
	}
	return out, err
}

func (t *Tester) all(ctx context.Context, s *scenario.Scenario, out *SelfTest) error {
	asIs, err := t.try(ctx, breaking{name: AsIs, what: "nothing"}, AsIs, nil)
	if err != nil {
		return err
	}
	out.Runs = append(out.Runs, asIs)
	twin := *s
	twin.Arms = slices.Clone(s.Arms)
	if err := again(&twin); err != nil {
		return err
	}
	if slices.ContainsFunc(twin.Objectives, func(o slo.Objective) bool { return o.Severity != slo.SeverityWarn }) {
		equal, err := t.try(ctx, breaking{name: "equal-arms", what: "nothing: the baseline twice", vary: []*rundir.Variation{Twice()}}, rundir.Again, nil)
		if err != nil {
			return err
		}
		out.Runs = append(out.Runs, equal)
	} else {
		out.Runs = append(out.Runs, Tried{Name: "equal-arms", Kind: rundir.Again, What: "nothing: the baseline twice", Outcome: Skipped, Why: "no objective compares the same of two arms", Bites: []Bite{}})
	}
	for _, b := range t.broken {
		one, err := t.try(ctx, b, rundir.Mutation, asIs.Bites)
		if err != nil {
			return err
		}
		out.Runs = append(out.Runs, one)
	}
	return nil
}

// try makes one run. already are the objectives that fail without anything broken.
func (t *Tester) try(ctx context.Context, b breaking, kind string, already []Bite) (Tried, error) {
	one := Tried{Name: b.name, Kind: kind, What: b.what, Bites: []Bite{}}
	t.number++
	if b.skip != "" {
		one.Outcome, one.Why = Skipped, b.skip
		return one, nil
	}
	s, err := t.Read()
	if err != nil {
		return one, err
	}
	if t.Begin != nil {
		t.Begin(b.name, b.what, t.number, 2+len(t.broken))
	}
	o := t.Options
	o.Dir, one.Dir = filepath.Join(t.Options.Dir, b.name), b.name
	if len(b.vary) > 0 {
		o.Vary = b.vary[0]
	}
	res, err := t.Run(ctx, s, o)
	var unable *plan.UnableError // an engine that is gone is none: then nobody knows what would be noticed
	switch {
	case ctx.Err() != nil:
		return one, errors.Join(context.Cause(ctx), err)
	case err != nil && res == nil && len(b.vary) > 1 && errors.As(err, &unable):
		t.number--
		b.vary = b.vary[1:]
		return t.try(ctx, b, kind, already)
	case err != nil && res == nil && kind == rundir.Mutation && errors.As(err, &unable):
		one.Outcome, one.Why, one.Dir = Skipped, oneLine(err.Error()), ""
		return one, nil
	case err != nil && res == nil:
		return one, err
	case err != nil:
		one.Why = oneLine(err.Error())
	}
	if _, known := o.Kit.Drivers[res.Run.Provenance.Engine]; known {
		t.Options.Engine = res.Run.Provenance.Engine // what another engine cannot do says nothing of the gate
	}
	one.read(res.Run, kind, already)
	if kind == rundir.Mutation && neverReady(err) {
		one.Outcome, one.Why = Caught, "the target does not get ready, which no run lets pass: "+one.Why
	}
	return one, nil
}

// neverReady reports whether a run ended because of its target alone, and not because of the engine.
func neverReady(err error) bool {
	var unavailable *target.UnavailableError // the run's own: an engine's has no target that was not ready inside
	return errors.As(err, &unavailable) && errors.Is(unavailable.Err, trial.ErrNotReady) && !errors.Is(err, trial.ErrLeft)
}

// read takes from run.json what a run shows of the gate.
func (t *Tried) read(run *rundir.Run, kind string, already []Bite) {
	t.Verdict = run.Verdict
	if v := run.Verdict; v == rundir.Invalid || v == rundir.Errored || v == rundir.Interrupted {
		t.Outcome = Unknown
		if t.Why == "" && len(run.Reasons) > 0 {
			t.Why = run.Reasons[0]
		}
		return
	}
	failed, likely := false, false
	for i := range run.Objectives {
		o := &run.Objectives[i]
		bite := Bite{Objective: o.Name, Number: i + 1, Beyond: o.Verdict == rundir.Inconclusive && isBeyond(o)}
		if kind == rundir.Again {
			bite.Number = 0
		}
		if o.Verdict != rundir.Fail && !bite.Beyond || kind == rundir.Again && o.Severity == slo.SeverityWarn {
			continue
		}
		t.Bites = append(t.Bites, bite)
		if o.Severity == slo.SeverityWarn || slices.ContainsFunc(already, func(b Bite) bool { return b.Number == bite.Number && b.Number > 0 }) {
			continue
		}
		failed, likely = failed || !bite.Beyond, likely || bite.Beyond
	}
	switch {
	case kind != rundir.Mutation && failed:
		t.Outcome = Alarm
	case kind != rundir.Mutation:
		t.Outcome = Quiet
	case failed:
		t.Outcome = Caught
	case likely:
		t.Outcome = Likely
	default:
		t.Outcome = Missed
	}
}

// isBeyond reports whether an undecided objective's estimate is beyond its limit.
func isBeyond(o *rundir.Objective) bool {
	if o.Limit == nil {
		return false
	}
	lower := less(o)
	switch {
	case o.State == analysis.Never && o.Form != slo.Difference: // of a difference nobody knows which side never came
		return !lower
	case o.Value.Value == nil:
		return false
	case o.State == analysis.Censored: // it is more than that
		return !lower && *o.Value.Value > *o.Limit
	case o.State != analysis.OK:
		return false
	case lower:
		return *o.Value.Value < *o.Limit
	}
	return *o.Value.Value > *o.Limit
}

// conclude says whether the gate can be relied on.
func (t *SelfTest) conclude(s *scenario.Scenario) {
	by := make(map[Outcome][]string)
	tried := 0
	for _, r := range t.Runs {
		if r.Kind == rundir.Mutation && r.Outcome != Skipped {
			tried++
		}
		say := r.Name
		if r.Kind == rundir.Mutation {
			say += " (" + r.What + ")"
		}
		if r.Why != "" {
			say += ": " + r.Why
		}
		by[r.Outcome] = append(by[r.Outcome], say)
	}
	told := func(what string, of Outcome) {
		for _, name := range by[of] {
			t.Reasons = append(t.Reasons, what+name)
		}
	}
	told("no verdict on ", Unknown)
	told("nothing failed with ", Missed)
	told("an objective failed with nothing broken: ", Alarm)
	told("in too few blocks for a verdict: ", Likely)
	switch {
	case len(by[Unknown]) > 0:
		t.Verdict = rundir.Invalid
	case len(by[Missed])+len(by[Alarm]) > 0:
		t.Verdict = rundir.Fail
	case len(by[Likely]) > 0 || tried == 0:
		t.Verdict = rundir.Inconclusive
		if tried == 0 {
			t.Reasons = append(t.Reasons, "nothing could be broken")
		}
	default:
		t.Verdict = rundir.Pass
	}
	t.ExitCode = exitCode(t.Verdict)
	t.neverFailed(s)
}

func (t *SelfTest) neverFailed(s *scenario.Scenario) {
	bitten, already := make(map[int]bool), make(map[int]bool)
	for _, r := range t.Runs {
		for _, b := range r.Bites {
			switch r.Kind {
			case rundir.Mutation:
				bitten[b.Number] = true
			case AsIs:
				already[b.Number] = true
			}
		}
	}
	for i, o := range s.Objectives {
		if o.Severity == slo.SeverityWarn || bitten[i+1] && !already[i+1] {
			continue
		}
		n := NeverFailed{Objective: o.Name, Number: i + 1, Line: o.Line}
		switch arms := o.Check.Arms(); {
		case already[i+1]:
			n.Why = "it fails with nothing broken, too"
		case len(arms) == 1 && arms[0] == s.Baseline && len(s.Arms) > 1:
			n.Why = "it is about the baseline alone, in which nothing was broken"
		}
		t.Never = append(t.Never, n)
	}
}

// breakings are the mutations that will be tried: the scenario's own, and the built-in ones that it has no other of that name for.
func breakings(ctx context.Context, s *scenario.Scenario, o Options) ([]breaking, error) {
	targets, err := LoadTargets(ctx, s, o.Compose)
	if err != nil {
		return nil, err
	}
	var all []breaking
	if err := CheckMutations(ctx, s, o); err != nil { // before anything runs, and not after some of it has
		return nil, err
	}
	for _, m := range s.Mutations {
		all = append(all, breaking{name: m.Name, what: "as the scenario says", vary: []*rundir.Variation{{Kind: rundir.Mutation, Name: m.Name}}})
	}
	less := fewer(s, targets)
	if less.skip == "" {
		if err := possible(ctx, s, less.vary[0], o); err != nil {
			less.skip = "with one node less the scenario is none: " + oneLine(err.Error())
		}
	}
	for _, b := range []breaking{less, delayed(s, targets, o.Kit.Faults), failing(s, targets, o.Kit.Faults)} {
		if !slices.ContainsFunc(s.Mutations, func(m scenario.Mutation) bool { return m.Name == b.name }) {
			all = append(all, b)
		}
	}
	return all, nil
}

// CheckMutations refuses what the scenario's mutations say and no engine could carry out. Of the options it takes Kit and Compose.
func CheckMutations(ctx context.Context, s *scenario.Scenario, o Options) error {
	for _, m := range s.Mutations {
		if err := possible(ctx, s, &rundir.Variation{Kind: rundir.Mutation, Name: m.Name}, o); err != nil {
			return err
		}
	}
	return nil
}

// possible refuses a mutation that no engine could carry out, as [plan.Build] refuses a scenario.
func possible(ctx context.Context, s *scenario.Scenario, v *rundir.Variation, o Options) error {
	broken := *s
	broken.Arms = slices.Clone(s.Arms)
	if err := mutate(&broken, v, o.Kit.Faults); err != nil {
		return err
	}
	targets, err := LoadTargets(ctx, &broken, o.Compose)
	if err != nil {
		return fmt.Errorf("mutation %s: %w", v.Name, err)
	}
	_, err = plan.Build(&broken, targets, o.Kit.Faults, target.Facts{Driver: "any", Abilities: ^target.Ability(0)})
	return err
}

// brokenArms are those that built-in mutations break: all but the baseline.
func brokenArms(s *scenario.Scenario) []string {
	var names []string
	for _, a := range s.Arms {
		if a.Name != s.Baseline || len(s.Arms) == 1 {
			names = append(names, a.Name)
		}
	}
	return names
}

// fewer takes one node away.
func fewer(s *scenario.Scenario, targets map[string]*target.Target) breaking {
	b := breaking{name: OneNodeLess, what: "one node less"}
	scale := make(map[string]map[string]int)
	for _, name := range brokenArms(s) {
		arm := armNamed(s, name)
		n := target.Spec{Target: targets[name], Scale: arm.Scale}.Replicas(arm.Nodes)
		if arm.Nodes != "" && n > 1 {
			scale[name] = map[string]int{arm.Nodes: n - 1}
		}
	}
	if len(scale) == 0 {
		b.skip = "no arm but the baseline has a node to spare; `nodes` in target says which service they are"
	}
	b.vary = []*rundir.Variation{{Kind: rundir.Mutation, Name: b.name, Scale: scale}}
	return b
}

func delayed(s *scenario.Scenario, targets map[string]*target.Target, kinds fault.Kinds) breaking {
	// By requests before by packets: what else goes to the ingress, such as answers to its health checks, is not meant.
	return atIngress(s, targets, kinds, breaking{name: Delay, what: "answers 200 ms late"}, "http", "latency")
}

func failing(s *scenario.Scenario, targets map[string]*target.Target, kinds fault.Kinds) breaking {
	return atIngress(s, targets, kinds, breaking{name: Errors, what: "a fifth of the answers are a 503"}, "http")
}

// atIngress breaks where clients come in, by a verb that is in force for all of the load.
func atIngress(s *scenario.Scenario, targets map[string]*target.Target, kinds fault.Kinds, b breaking, verbs ...string) breaking {
	services := make(map[string]string)
	for _, name := range brokenArms(s) {
		if service := ingressOf(armNamed(s, name), targets[name]); service != "" {
			services[name] = service
		}
	}
	sealed := s.Load.Client.HTTP2 || slices.ContainsFunc(s.Arms, func(a scenario.Arm) bool { return a.Ingress.Scheme == "https" })
	for _, verb := range verbs {
		if _, known := kinds[verb]; known && (verb != "http" || !sealed) {
			b.vary = append(b.vary, &rundir.Variation{Kind: rundir.Mutation, Name: b.name, Verb: verb, Services: services})
		}
	}
	switch {
	case len(b.vary) == 0 && sealed:
		b.skip = "answers over TLS or HTTP/2 cannot be replaced"
	case len(b.vary) == 0:
		b.skip = "this program has no verb " + verbs[0]
	case s.Load.Capacity != nil:
		b.skip = "nothing is broken during a search for capacity"
	case len(services) == 0:
		b.skip = "the ingress is no service of the target"
	}
	return b
}

// ingressOf is the service that an arm's ingress names: by its own name, an alias, or that of a replica.
func ingressOf(arm scenario.Arm, t *target.Target) string {
	host := arm.Ingress.Hostname()
	for name, s := range t.Services {
		if host == name || host == target.ReplicaName(name, 1) {
			return name
		}
		for _, n := range s.Networks {
			if slices.Contains(n.Aliases, host) {
				return name
			}
		}
	}
	return ""
}

// mutate breaks arms as a variation says.
func mutate(s *scenario.Scenario, v *rundir.Variation, kinds fault.Kinds) error {
	if i := slices.IndexFunc(s.Mutations, func(m scenario.Mutation) bool { return m.Name == v.Name }); i >= 0 {
		for _, arm := range s.Mutations[i].Arms {
			k := slices.IndexFunc(s.Arms, func(a scenario.Arm) bool { return a.Name == arm.Name })
			if k >= 0 {
				s.Arms[k] = arm
			}
		}
		return nil
	}
	params := map[string]fault.Params{
		OneNodeLess: {}, Delay: {"delay": mutationDelay}, Errors: {"status": mutationStatus, "share": mutationShare},
	}[v.Name]
	kind, known := kinds[v.Verb]
	if params == nil || v.Verb != "" && (!known || kind.New == nil) {
		return fmt.Errorf("%s: there is no mutation %s by %q", s.File, v.Name, v.Verb)
	}
	for i := range s.Arms {
		arm := &s.Arms[i]
		for service, n := range v.Scale[arm.Name] {
			arm.Scale = scaled(arm.Scale, service, n)
		}
		service := v.Services[arm.Name]
		if v.Verb == "" || service == "" {
			continue
		}
		made, err := kind.New(params)
		if err != nil {
			return fmt.Errorf("%s: mutation %s: %w", s.File, v.Name, err)
		}
		arm.Faults = append(slices.Clone(arm.Faults), scenario.Fault{
			// From the warm-up on: what its beginning resets is not measured.
			Name: analysis.Planted + v.Name, Verb: v.Verb, At: -min(s.Load.Schedule.Warmup/2, time.Second), Selector: fault.Selector{Service: service, All: true}, Params: params, Fault: made, Line: arm.Line,
		})
	}
	return nil
}

func scaled(scale map[string]int, service string, n int) map[string]int {
	out := map[string]int{service: n}
	for k, v := range scale {
		if k != service {
			out[k] = v
		}
	}
	return out
}
