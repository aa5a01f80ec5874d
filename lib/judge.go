package tutti

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Judge reads a run's folder, judges its objectives and writes run.json. It is a pure
// function of what is in the folder: the plan, the scenario, the recordings and how the run ended.
func Judge(dir string, kit plan.Kit) (*Result, error) {
	j, err := readRun(dir, kit)
	if err != nil {
		return nil, fmt.Errorf("judge run: %w", err)
	}
	verdict := j.judge(j.trials)
	run := j.run(verdict)
	if err := j.regress(run); err != nil {
		return nil, fmt.Errorf("judge run: %w", err)
	}
	if err := j.folder.WriteRun(run); err != nil {
		return nil, kept(err)
	}
	return &Result{Dir: dir, Run: run, Trials: j.trials, Source: j.source}, nil
}

// Open reads a run that was judged before, to draw it again.
func Open(dir string) (*Result, error) {
	folder, err := rundir.Open(dir)
	if err != nil {
		return nil, err
	}
	run, err := folder.Run()
	if err != nil {
		return nil, fmt.Errorf("open run: %w\n  tutti judge %s makes run.json again", err, dir)
	}
	source, err := folder.Scenario()
	if err != nil {
		return nil, fmt.Errorf("open run: %w", err)
	}
	trials, err := readTrials(folder)
	if err != nil {
		return nil, fmt.Errorf("open run: %w", err)
	}
	if len(trials) != len(run.Trials) {
		return nil, fmt.Errorf("open run: run.json has %d trials, the folder %d\n  tutti judge %s makes run.json again", len(run.Trials), len(trials), dir)
	}
	return &Result{Dir: dir, Run: run, Trials: trials, Source: source}, nil
}

// judging is a run's folder, read.
type judging struct {
	folder   *rundir.Folder
	plan     rundir.Plan
	end      rundir.End
	scenario *scenario.Scenario
	source   []byte
	trials   []*analysis.Trial // in run order
}

func readRun(dir string, kit plan.Kit) (*judging, error) {
	folder, err := rundir.Open(dir)
	if err != nil {
		return nil, err
	}
	j := &judging{folder: folder}
	if j.plan, err = folder.Plan(); err != nil {
		return nil, err
	}
	if j.end, err = folder.End(); err != nil {
		return nil, err
	}
	if j.source, err = folder.Scenario(); err != nil {
		return nil, err
	}
	if j.scenario, err = scenario.Parse(folder.Path("scenario.yaml"), j.source, kit.Faults); err != nil {
		return nil, err
	}
	if err = vary(j.scenario, j.plan.Variation, kit.Faults); err != nil {
		return nil, err
	}
	if j.trials, err = readTrials(folder); err != nil {
		return nil, err
	}
	j.tellHealth()
	return j, j.fits()
}

func readTrials(folder *rundir.Folder) ([]*analysis.Trial, error) {
	recordings, err := folder.Recordings()
	if err != nil {
		return nil, err
	}
	trials := make([]*analysis.Trial, len(recordings))
	for i, r := range recordings {
		trials[i] = analysis.Of(r)
	}
	return trials, nil
}

// tellHealth tells each trial what the scenario says of the balancer's health check.
func (j *judging) tellHealth() {
	for _, t := range j.trials {
		for _, a := range j.scenario.Arms {
			if h := a.Health; h != nil && a.Name == t.Rec.Arm {
				t.Health = &analysis.HealthCheck{
					Interval: h.Interval, Timeout: h.Timeout, Fails: h.Fails, SilentDeath: j.plan.Provenance.Engine == "docker",
				}
			}
		}
	}
}

// arms are the arms that were run.
func (j *judging) arms() []string {
	var names []string
	for _, a := range j.scenario.Arms {
		if j.plan.Only == "" || a.Name == j.plan.Only {
			names = append(names, a.Name)
		}
	}
	return names
}

// perBlock is how long a block takes: from the start of load of its first trial to that of the next block's, on
// the average; 0 where there are fewer than two.
func (j *judging) perBlock() time.Duration {
	if len(j.trials) < 2 || len(j.arms()) == 0 {
		return 0
	}
	first, last := j.trials[0].Rec, j.trials[len(j.trials)-1].Rec
	if first.Zero.IsZero() || last.Zero.IsZero() {
		return 0
	}
	return last.Zero.Sub(first.Zero) / time.Duration(len(j.trials)-1) * time.Duration(len(j.arms()))
}

// lostOf says for every block of some trials that cannot count why.
func (j *judging) lostOf(trials []*analysis.Trial) map[int]string {
	lost, seen := make(map[int]string), make(map[int]map[string]bool)
	for _, t := range trials {
		of := seen[t.Rec.Block]
		if of == nil {
			of = make(map[string]bool)
			seen[t.Rec.Block] = of
		}
		if of[t.Rec.Arm] {
			lost[t.Rec.Block] = fmt.Sprintf("the folder has two recordings of arm %s", t.Rec.Arm)
		}
		of[t.Rec.Arm] = true
		if problems := t.Problems(); len(problems) > 0 && lost[t.Rec.Block] == "" {
			lost[t.Rec.Block] = fmt.Sprintf("%s: %s", t.Rec.Arm, problems[0])
		}
	}
	for block, of := range seen {
		if len(of) < len(j.arms()) && lost[block] == "" {
			lost[block] = "it is not complete"
		}
	}
	return lost
}

// blocks are the trials that count: valid ones, whose whole block is.
func (j *judging) blocks() map[int]map[string]*analysis.Trial { return j.blocksOf(j.trials) }

func (j *judging) blocksOf(trials []*analysis.Trial) map[int]map[string]*analysis.Trial {
	lost := j.lostOf(trials)
	blocks := make(map[int]map[string]*analysis.Trial)
	for _, t := range trials {
		if lost[t.Rec.Block] != "" {
			continue
		}
		if blocks[t.Rec.Block] == nil {
			blocks[t.Rec.Block] = make(map[string]*analysis.Trial)
		}
		blocks[t.Rec.Block][t.Rec.Arm] = t
	}
	return blocks
}

// run makes run.json.
func (j *judging) run(v slo.Verdict) *rundir.Run {
	s := j.scenario
	run := &rundir.Run{
		Schema: rundir.Schema, Name: s.Name, Hypothesis: s.Hypothesis, ID: j.plan.ID,
		Verdict: rundir.Verdict(v.Outcome.String()), Reasons: v.Reasons, Baseline: s.Baseline, ArmOrder: j.arms(),
		Arms: make(map[string]rundir.Arm), Repeats: j.plan.Repeats, Provenance: whole(j.plan.Provenance),
		Load:   loadOf(s.Load),
		Trials: []rundir.Trial{}, Faults: []rundir.Fault{}, Objectives: []rundir.Objective{},
	}
	if !slices.Contains(run.ArmOrder, run.Baseline) {
		run.Baseline = "" // with --only there is nothing to compare
	}
	if j.end.Stopped != "" {
		run.Reasons = append([]string{j.end.Stopped}, run.Reasons...)
	}
	if j.plan.Kept != "" && digest(j.source) != j.plan.Kept {
		run.Reasons = append(run.Reasons, "scenario.yaml was changed after the run: these objectives were not planned")
	}
	switch {
	case j.end.Interrupted:
		run.Verdict, run.Reasons = rundir.Interrupted, append([]string{"the run was interrupted"}, run.Reasons...)
	case j.end.Error != "":
		run.Verdict, run.Reasons = rundir.Errored, append([]string{oneLine(j.end.Error)}, run.Reasons...)
	}
	run.ExitCode = exitCode(run.Verdict)
	run.Load.Client = clientOf(s.Load.Client)
	for _, q := range s.Load.Requests {
		run.Load.Requests = append(run.Load.Requests, q.Name)
	}
	for _, f := range v.Findings {
		run.Objectives = append(run.Objectives, objective(f))
	}
	blocks := j.blocks()
	for _, a := range s.Arms {
		if slices.Contains(run.ArmOrder, a.Name) {
			run.Arms[a.Name] = j.arm(a, blocks)
		}
	}
	for _, t := range j.trials {
		run.Trials = append(run.Trials, j.trial(t, blocks))
		run.Faults = append(run.Faults, faults(t)...)
	}
	run.Scaling = j.scaling(blocks)
	run.Extension, run.Variation = j.extension(v), j.plan.Variation
	run.Provenance.Ended = j.ended()
	if run.Reasons == nil {
		run.Reasons = []string{}
	}
	return run
}

// loadOf is what was sent as run.json has it.
func loadOf(l scenario.Load) rundir.Load {
	when := l.Schedule
	out := rundir.Load{
		Model: rundir.OpenLoop, Rate: when.Mean(), For: when.For().Seconds(), Warmup: when.Warmup.Seconds(), Timeout: l.Timeout.Seconds(),
		Arrivals: string(when.Arrivals), Requests: []string{}, Capacity: searchOf(l.Capacity),
	}
	if when.Closed() {
		out.Model = rundir.ClosedLoop
	}
	if when.Steady() {
		out.Rate = when.Stages[0].Rate
		return out
	}
	for _, g := range when.Stages {
		out.Stages = append(out.Stages, rundir.Stage{
			Rate: g.Rate, To: g.To, Swing: g.Swing, Period: g.Period.Seconds(), Users: g.Users, Think: g.Think.Seconds(), For: g.For.Seconds(),
		})
	}
	return out
}

// clientOf is how load was sent as run.json has it; nil if the scenario says nothing.
func clientOf(c scenario.Client) *rundir.Client {
	if c == (scenario.Client{}) {
		return nil
	}
	out := &rundir.Client{
		Connections: c.Connections, KeepAlive: !c.NoKeepAlive, MaxAge: c.MaxAge.Seconds(), HTTP2: c.HTTP2, Redirects: c.Redirects, Generator: string(c.Generator),
	}
	if t := c.TLS; t != nil {
		out.TLS = &rundir.TLS{CA: t.CA, ServerName: t.ServerName, Insecure: t.Insecure}
	}
	return out
}

// whole has no null where a reader expects a list or a map.
func whole(p rundir.Provenance) rundir.Provenance {
	if p.Command == nil {
		p.Command = []string{}
	}
	for _, m := range []*map[string]string{&p.Details, &p.Images, &p.Host} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	return p
}

// ended is when the run ended; where it was killed, when the load of its last trial did.
func (j *judging) ended() time.Time {
	ended := j.end.Ended
	if !ended.IsZero() {
		return ended.UTC().Truncate(time.Millisecond)
	}
	for _, t := range j.trials {
		length := t.Rec.For
		for _, h := range t.Rec.Holds {
			length = max(length, h.At+h.For)
		}
		if end := t.Rec.Zero.Add(length); !t.Rec.Zero.IsZero() && end.After(ended) {
			ended = end
		}
	}
	return ended.UTC().Truncate(time.Millisecond)
}

// oneLine makes one sentence of an error and its hints.
func oneLine(s string) string {
	var parts []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// exitCode is what the exit code of `tutti run` says of a verdict: the table in README.md.
func exitCode(v rundir.Verdict) int {
	switch v {
	case rundir.Pass:
		return 0
	case rundir.Fail:
		return 10
	case rundir.Inconclusive:
		return 12
	case rundir.Invalid:
		return 13
	case rundir.Errored:
		return 30
	case rundir.Interrupted:
		return 130
	}
	return 70
}

func objective(f slo.Finding) rundir.Objective {
	o := rundir.Objective{
		Name: f.Objective.Name, Text: f.Objective.Text, Subject: f.Subject, Line: f.Objective.Line, Severity: f.Objective.Severity,
		Margin: f.Objective.Margin, Verdict: rundir.Verdict(f.Outcome.String()), Form: f.Form, Op: f.Objective.Check.Op,
		Limit: finite(f.Limit), N: f.Estimate.N, Reason: f.Reason, MoreBlocks: f.MoreBlocks,
		Value: value(f.Estimate), Arms: append([]string{}, f.Objective.Check.Arms()...),
	}
	if o.Severity == "" {
		o.Severity = slo.SeverityFail
	}
	for _, p := range f.Per {
		b := rundir.BlockValue{Block: p.Block, State: p.Value.State}
		if p.Value.State == analysis.OK || p.Value.State == analysis.Censored {
			b.Value = finite(p.Value.V)
		}
		if p.AtMost() {
			b.State = analysis.NoData // with a value, which it is at most
		}
		o.PerBlock = append(o.PerBlock, b)
	}
	return o
}

// value writes an estimate as run.json has it: null where a number is not finite.
func value(e slo.Estimate) rundir.Value {
	v := rundir.Value{Unit: e.Unit, State: e.State, N: e.N, Note: e.Note}
	if v.State == "" {
		v.State = analysis.NoData
	}
	if v.State == analysis.OK || v.State == analysis.Censored {
		v.Value = finite(e.Value)
	}
	if e.HasInterval {
		v.Low, v.High = finite(e.Low), finite(e.High)
	}
	return v
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// arm estimates every metric of one arm over the blocks that count.
func (j *judging) arm(a scenario.Arm, blocks map[int]map[string]*analysis.Trial) rundir.Arm {
	var trials []*analysis.Trial
	for _, t := range j.trials {
		if blocks[t.Rec.Block][a.Name] == t {
			trials = append(trials, t)
		}
	}
	arm := rundir.Arm{
		Metrics: make(map[string]rundir.Value), Phases: make(map[analysis.Phase]map[string]rundir.Value),
		Requests: make(map[string]map[string]rundir.Value), Scale: a.Scale,
	}
	for _, ref := range j.refs(a) {
		into := arm.Metrics
		switch {
		case ref.Phase != analysis.Whole:
			if arm.Phases[ref.Phase] == nil {
				arm.Phases[ref.Phase] = make(map[string]rundir.Value)
			}
			into = arm.Phases[ref.Phase]
		case ref.Request != "":
			if arm.Requests[ref.Request] == nil {
				arm.Requests[ref.Request] = make(map[string]rundir.Value)
			}
			into = arm.Requests[ref.Request]
		}
		key := ref
		if ref.Phase == analysis.Whole {
			key.Request = "" // the map is by request already
		}
		into[key.String()] = estimate(trials, ref)
	}
	return arm
}

func estimate(trials []*analysis.Trial, ref analysis.Ref) rundir.Value {
	values := make([]analysis.Value, len(trials))
	for i, t := range trials {
		values[i] = t.Metric(ref)
	}
	spec, _ := analysis.SpecOf(ref.Metric)
	return value(slo.EstimateOf(values, spec))
}

// refs are the metrics that run.json has of an arm: all there are, over the whole, by phase, by request
// and by fault, and what objectives ask with arguments and labels of their own.
func (j *judging) refs(a scenario.Arm) []analysis.Ref {
	var refs []analysis.Ref
	for _, spec := range analysis.Specs() {
		if spec.Search != (j.scenario.Load.Capacity != nil) {
			continue // the holds of a search have no rate in common, and another load has no holds
		}
		if spec.OfFault {
			for _, f := range faultNames(a, j.scenario.Load.For()) {
				refs = append(refs, analysis.Ref{Metric: spec.Name, Fault: f})
			}
			continue
		}
		if spec.OfWrite && len(j.scenario.Verify) == 0 || spec.OfKeys && j.scenario.Load.Keys == 0 {
			continue
		}
		refs = append(refs, j.variants(spec, len(a.Faults) > 0)...)
	}
	for _, o := range j.scenario.Objectives {
		for _, m := range o.Check.Metrics() {
			if m.Arm == a.Name {
				refs = append(refs, m.Ref)
			}
		}
	}
	return refs
}

// faultNames are the names that an arm's faults have in a trial: a random one is there as what it draws.
func faultNames(a scenario.Arm, load time.Duration) []string {
	var names []string
	for _, f := range a.Faults {
		if strings.HasPrefix(f.Name, analysis.Planted) {
			continue
		}
		for k := range f.Draws(load) {
			names = append(names, f.DrawName(k))
		}
		if f.Random == nil {
			names = append(names, f.Name)
		}
	}
	return names
}

// variants are a metric over the whole, by phase where there are faults, by request and by class.
func (j *judging) variants(spec analysis.Spec, faults bool) []analysis.Ref {
	whole := analysis.Ref{Metric: spec.Name, Args: usualArgs(spec)}
	refs := []analysis.Ref{whole}
	with := func(change func(*analysis.Ref)) {
		r := whole
		change(&r)
		refs = append(refs, r)
	}
	if spec.Phased && faults {
		for _, ph := range analysis.Phases() {
			with(func(r *analysis.Ref) { r.Phase = ph })
		}
	}
	if slices.Contains(spec.Labels, "request") {
		for _, q := range j.scenario.Load.Requests {
			if spec.OfWrite && !slices.ContainsFunc(j.scenario.Verify, func(v scenario.Verify) bool { return v.Of == q.Name }) {
				continue
			}
			with(func(r *analysis.Ref) { r.Request = q.Name })
		}
	}
	if slices.Contains(spec.Labels, "class") {
		for _, c := range record.Classes() {
			if !c.Good() {
				with(func(r *analysis.Ref) { r.Class = c.String() })
			}
		}
	}
	return refs
}

// usualArgs are the arguments with which a metric is printed where nobody asked otherwise: windows of 1 s, at
// 99 %, and the budget of 99.9 %.
func usualArgs(s analysis.Spec) []float64 {
	var args []float64
	for _, u := range s.Args {
		if s.Name == "affordable" {
			args = append(args, 0.999)
		} else if u == analysis.Ratio {
			args = append(args, 0.99)
		} else {
			args = append(args, 1)
		}
	}
	return args
}

func (j *judging) trial(t *analysis.Trial, blocks map[int]map[string]*analysis.Trial) rundir.Trial {
	r := t.Rec
	out := rundir.Trial{
		Arm: r.Arm, Block: r.Block, Order: r.Order, Dir: rundir.TrialDir(r.Arm, r.Block), Start: r.Zero,
		Problems: t.Problems(), Metrics: make(map[string]rundir.Value), Holds: holds(r),
	}
	for _, w := range r.Writes {
		out.Writes = append(out.Writes, writes(w))
	}
	out.Generator, out.Statuses = generator(t), statuses(t)
	out.Failures, out.Slowest = examples(t, r.Failures), examples(t, r.Slowest)
	out.Valid = len(out.Problems) == 0
	out.Counted = out.Valid && blocks[r.Block][r.Arm] == t
	i := slices.IndexFunc(j.scenario.Arms, func(a scenario.Arm) bool { return a.Name == r.Arm })
	if i < 0 {
		return out
	}
	for _, ref := range j.refs(j.scenario.Arms[i]) {
		if ref.Phase != analysis.Whole || ref.Request != "" {
			continue
		}
		spec, _ := analysis.SpecOf(ref.Metric)
		v := t.Metric(ref)
		out.Metrics[ref.String()] = value(slo.Estimate{Value: v.V, Unit: spec.Unit, State: v.State, N: 1, Note: v.Why})
	}
	return out
}

// writes is what was read back as run.json has it.
func writes(w record.Writes) rundir.Writes {
	out := rundir.Writes{
		Request: w.Of, Read: w.Read, Within: w.Within.Seconds(), Acknowledged: w.Acknowledged, Kept: w.Kept, Lost: w.Lost, Unread: w.Unread,
		Uncertain: w.Uncertain, Found: w.Found, Duplicated: w.Duplicated, Reads: w.Reads, Took: w.Took.Seconds(), Problem: w.Problem,
	}
	if k := w.Registers; k != nil {
		out.Keys = &rundir.Keys{
			Keys: k.Keys, Reads: k.Reads, Unjudged: k.Unjudged, Stale: k.Stale, Linearizable: k.Linearizable, Violated: k.Violated, Unknown: k.Unknown,
			Why: k.Why, Bad: k.Bad,
		}
	}
	if w.Lost > 0 {
		out.First, out.Last = finite(w.First.Seconds()), finite(w.Last.Seconds())
	}
	return out
}

func faults(t *analysis.Trial) []rundir.Fault {
	out := make([]rundir.Fault, len(t.Rec.Faults))
	for i := range t.Rec.Faults {
		f := t.Rec.Faults[i]
		out[i] = rundir.Fault{
			Arm: t.Rec.Arm, Block: t.Rec.Block, Order: t.Rec.Order, Fault: f, Proven: f.Proven(),
			Signature: make(map[string]uint64),
		}
		for class, n := range t.Signature(f.Name) {
			out[i].Signature[class.String()] = n
		}
	}
	return out
}
