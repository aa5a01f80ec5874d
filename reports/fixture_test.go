package reports_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

const source = `version: 1
name: node-crash
hypothesis: Losing one of three nodes costs under 2 % of requests, and clients are served again within 5 s.

target:
  compose: ../targets/web/compose.yaml
  ingress: http://lb:8080
  nodes: app
  node_header: X-Node
  attempts_header: X-Upstream

arms:
  single:  {scale: {app: 1}}
  cluster: {scale: {app: 3}}
baseline: single

load:
  rate: 200/s
  for: 30s
  timeout: 1s
  requests:
    - GET /

faults:
  - {name: crash, at: 10s, kill: app, for: 10s}

objectives:
  - cluster.availability >= 98%
  - cluster.p95 <= 250ms
  - cluster.recovery{fault="crash"} <= 5s
  - cluster.availability > single.availability
  - {name: price, check: "cluster.before.p50 <= single.before.p50", margin: 10%, severity: warn}
`

// spread is the median of values with their extremes: good enough for a fixture.
func spread(unit analysis.Unit, vs []analysis.Value) rundir.Value {
	out := rundir.Value{Unit: unit, State: analysis.NoData, N: len(vs)}
	var sum, lo, hi float64
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range vs {
		if v.State != analysis.OK {
			out.State = v.State
			if v.State == analysis.Censored {
				out.Value = ptr(v.V)
			}
			return out
		}
		sum, lo, hi = sum+v.V, min(lo, v.V), max(hi, v.V)
	}
	if len(vs) == 0 {
		return out
	}
	out.State, out.Value = analysis.OK, ptr(sum/float64(len(vs)))
	if len(vs) > 2 {
		out.Low, out.High = ptr(lo), ptr(hi)
	}
	return out
}

func ptr(v float64) *float64 { return &v }

// runOf makes the run.json that recordings would leave, every trial valid.
func runOf(recs []*record.Recording) *tutti.Result {
	r := &tutti.Result{Dir: "runs/node-crash", Source: []byte(source), Run: &rundir.Run{
		Schema: rundir.Schema, Name: "node-crash", ID: "node-crash-20260923T140211", Verdict: rundir.Pass, Reasons: []string{},
		Hypothesis: "Losing one of three nodes costs under 2 % of requests, and clients are served again within 5 s.",
		Arms:       map[string]rundir.Arm{}, Provenance: provenance(),
		Load: rundir.Load{Rate: 200, For: 30, Warmup: 2, Timeout: 1, Requests: []string{"GET /"}},
	}}
	byArm := make(map[string][]*analysis.Trial)
	for i, rec := range recs {
		t := analysis.Of(rec)
		t.Health = &analysis.HealthCheck{Interval: 500 * time.Millisecond, Timeout: 250 * time.Millisecond, Fails: 2, SilentDeath: true}
		r.Trials = append(r.Trials, t)
		if byArm[rec.Arm] == nil {
			r.Run.ArmOrder = append(r.Run.ArmOrder, rec.Arm)
		}
		byArm[rec.Arm] = append(byArm[rec.Arm], t)
		trial := rundir.Trial{
			Arm: rec.Arm, Block: rec.Block, Order: i + 1, Dir: fmt.Sprintf("trials/%s-%d", rec.Arm, rec.Block),
			Start: rec.Zero, Valid: true, Counted: true, Metrics: map[string]rundir.Value{},
		}
		for _, ref := range refs(rec) {
			spec, _ := analysis.SpecOf(ref.Metric)
			trial.Metrics[ref.String()] = spread(spec.Unit, []analysis.Value{t.Metric(ref)})
		}
		r.Run.Trials = append(r.Run.Trials, trial)
		for _, f := range rec.Faults {
			sig := map[string]uint64{}
			for c, n := range t.Signature(f.Name) {
				sig[c.String()] = n
			}
			r.Run.Faults = append(r.Run.Faults, rundir.Fault{Arm: rec.Arm, Block: rec.Block, Order: i + 1, Fault: f, Proven: f.Proven(), Signature: sig})
		}
		r.Run.Repeats = max(r.Run.Repeats, rec.Block)
	}
	for name, trials := range byArm {
		r.Run.Arms[name] = armOf(trials)
	}
	return r
}

// usual are the arguments with which a run prints metrics that have some.
var usual = map[string][]float64{"available_windows": {1, 0.99}, "worst": {1}, "affordable": {0.999}}

func refs(rec *record.Recording) []analysis.Ref {
	var out []analysis.Ref
	for _, s := range analysis.Specs() {
		if !s.OfFault {
			out = append(out, analysis.Ref{Metric: s.Name, Args: usual[s.Name]})
			continue
		}
		for _, f := range rec.Faults {
			out = append(out, analysis.Ref{Metric: s.Name, Fault: f.Name})
		}
	}
	return out
}

func armOf(trials []*analysis.Trial) rundir.Arm {
	a := rundir.Arm{Metrics: map[string]rundir.Value{}, Phases: map[analysis.Phase]map[string]rundir.Value{}}
	all := func(ref analysis.Ref) rundir.Value {
		spec, _ := analysis.SpecOf(ref.Metric)
		var vs []analysis.Value
		for _, t := range trials {
			vs = append(vs, t.Metric(ref))
		}
		return spread(spec.Unit, vs)
	}
	for _, ref := range refs(trials[0].Rec) {
		a.Metrics[ref.String()] = all(ref)
		spec, _ := analysis.SpecOf(ref.Metric)
		for _, p := range analysis.Phases() {
			if spec.Phased {
				if a.Phases[p] == nil {
					a.Phases[p] = map[string]rundir.Value{}
				}
				ref.Phase = p
				a.Phases[p][ref.String()] = all(ref)
			}
		}
	}
	return a
}

func provenance() rundir.Provenance {
	return rundir.Provenance{
		Tutti: "0.1.0, commit 4f1c9a2", Go: "go1.26.0", OS: "linux/amd64", Engine: "docker", Reason: "an engine answers at unix:///var/run/docker.sock",
		Details: map[string]string{"version": "29.1.2", "storage": "overlay2"}, Images: map[string]string{"app": "sha256:07c4aa1f", "lb": "sha256:51ab90d2"},
		Versions: map[string]string{"lb": "haproxy 3.0.11"},
		Seed:     7, Scenario: "scenarios/node-crash.yaml", SHA256: "9d41c07e", Started: time.Date(2026, 9, 23, 14, 2, 11, 0, time.UTC),
		Ended: time.Date(2026, 9, 23, 14, 28, 51, 0, time.UTC), Command: []string{"tutti", "run", "scenarios/node-crash.yaml"},
		Host: map[string]string{"cores": "8", "memory": "32 GiB"}, Notes: []string{`service "lb": the fixed port 8080 is not published`},
	}
}

// objective judges nothing: it says what a test wants to be said.
func objective(text, op string, limit float64, form slo.Form, v rundir.Value, verdict rundir.Verdict, arms ...string) rundir.Objective {
	o := rundir.Objective{
		Name: text, Text: text, Severity: slo.SeverityFail, Verdict: verdict, Form: form, Op: op, Limit: ptr(limit),
		Value: v, N: 6, Arms: arms,
	}
	for i, l := range strings.Split(source, "\n") {
		if strings.Contains(l, text) {
			o.Line = i + 1
		}
	}
	return o
}

// crash is the usual run: two arms, one fault, everything as it should be.
func crash(blocks int) *tutti.Result {
	r := runOf(analysistest.CrashRun(blocks))
	r.Run.Baseline = "single"
	c, s := r.Run.Arms["cluster"], r.Run.Arms["single"]
	ratio := func(v, lo, hi float64, u analysis.Unit) rundir.Value {
		return rundir.Value{Value: ptr(v), Low: ptr(lo), High: ptr(hi), Unit: u, State: analysis.OK}
	}
	cp, sp := *c.Phases[analysis.Before]["p50"].Value, *s.Phases[analysis.Before]["p50"].Value
	diff := *c.Metrics["availability"].Value - *s.Metrics["availability"].Value
	r.Run.Objectives = []rundir.Objective{
		objective("cluster.availability >= 98%", ">=", 0.98, slo.Absolute, c.Metrics["availability"], rundir.Pass, "cluster"),
		objective("cluster.p95 <= 250ms", "<=", 0.25, slo.Absolute, c.Metrics["p95"], rundir.Pass, "cluster"),
		objective(`cluster.recovery{fault="crash"} <= 5s`, "<=", 5, slo.Absolute, c.Metrics[`recovery{fault="crash"}`], rundir.Pass, "cluster"),
		objective("cluster.availability > single.availability", ">", 0, slo.Difference, ratio(diff, diff-0.01, diff+0.01, analysis.Ratio), rundir.Pass, "cluster", "single"),
		objective("cluster.before.p50 <= single.before.p50", "<=", 1.1, slo.Ratio, ratio(cp/sp, cp/sp-0.03, cp/sp+0.03, analysis.Seconds), rundir.Inconclusive, "cluster", "single"),
	}
	price := &r.Run.Objectives[4]
	price.Name, price.Severity, price.Margin = "price", slo.SeverityWarn, 0.1
	price.Reason, price.MoreBlocks = "Cannot exclude a change of 10 % or more; about 9 more blocks (23 min) would decide.", 9
	return r
}

// dead makes every request fail from a moment on.
func dead(t analysistest.Trial, from time.Duration) func(*record.Sample, *rand.Rand) {
	return func(s *record.Sample, _ *rand.Rand) {
		if s.Due >= from {
			t.Fail(s, record.Refused, time.Millisecond)
		}
	}
}

// hostile is what a target could put into any name, header or error.
const hostile = "<script>alert(1)</script>|`*a*`]]>&\"'\x1b[31m\x1b]0;x\x07\u202e\u200b\x00\x9b2J\xff\uffff\U000e0041\r\nnext {{.}} www.x.org ::error::no"

// attacked is a run in which everything that a target or a scenario can name is hostile.
func attacked() *tutti.Result {
	t := analysistest.Trial{
		Arm: hostile, For: 10 * time.Second, Replicas: 2, Nodes: []record.Node{{Name: hostile, Service: "app", Balanced: true}, {Name: "app-2", Service: "app", Balanced: true}},
		Faults: []record.Fault{analysistest.Fault(hostile, hostile, hostile, 4*time.Second, 6*time.Second)},
	}
	t.Faults[0].Means, t.Faults[0].Proof[0].What = hostile, hostile
	t.Faults[0].Trigger, t.Faults[0].Drawn, t.Faults[0].Role, t.Faults[0].Ended = hostile, hostile, hostile, hostile
	t.Faults[0].Renewed, t.Faults[0].Collateral = []string{hostile}, []string{hostile}
	t.Faults[0].Proof = append(t.Faults[0].Proof, record.Proof{Node: hostile, What: hostile, Asked: hostile, Delivered: hostile})
	t.Each = func(s *record.Sample, _ *rand.Rand) {
		if s.Due > 4*time.Second && s.Due < 5*time.Second {
			s.Class, s.Node = record.Wrong, hostile
		}
	}
	r := runOf([]*record.Recording{t.Recording()})
	p := &r.Run.Provenance
	p.Engine, p.Reason, p.Notes, p.Command, p.Scenario = hostile, hostile, []string{hostile}, []string{hostile}, hostile
	p.Versions = map[string]string{hostile: hostile}
	p.Details, p.Images, p.Host = map[string]string{hostile: hostile}, map[string]string{hostile: hostile}, map[string]string{hostile: hostile}
	r.Run.Name, r.Run.Hypothesis, r.Run.ID, r.Run.Verdict, r.Source = hostile, hostile, hostile, rundir.Invalid, []byte(hostile)
	r.Run.Reasons, r.Run.Load.Requests = []string{hostile, hostile}, []string{hostile}
	o := objective(hostile, ">=", 0.98, slo.Absolute, r.Run.Arms[hostile].Metrics["availability"], rundir.Fail, hostile)
	o.Name, o.Reason, o.Note = hostile+"2", hostile, hostile
	r.Run.Objectives = []rundir.Objective{o}
	r.Run.Trials[0].Problems = []string{hostile}
	r.Run.Faults[0].Problem, r.Run.Faults[0].Signature = hostile, map[string]uint64{hostile: 3}
	return r
}
