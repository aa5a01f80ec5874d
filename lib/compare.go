package tutti

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
)

// What a measure may be worse where nobody says otherwise: a tenth of times, rates, quotients and what else has a value; one point of shares
// and balance; and of counts of which less is better a tenth, one at the least.
const (
	usualMargin = 0.1
	usualPoint  = 0.01
)

// A Comparison is two runs of one scenario beside each other.
type Comparison struct {
	Schema   string         `json:"schema"`
	Name     string         `json:"name"`
	Was      Side           `json:"was"`
	Now      Side           `json:"now"`
	Moved    []string       `json:"moved"` // what differs between the machines; then only arms inside each run are comparable
	Rows     []ComparedRow  `json:"rows"`  // first what objectives are about
	Verdict  rundir.Verdict `json:"verdict"`
	ExitCode int            `json:"exit_code"`
	Reasons  []string       `json:"reasons"`
}

// A Side is one of the two.
type Side struct {
	File     string            `json:"file"` // its folder, or the baseline file
	Run      string            `json:"run"`
	Measured time.Time         `json:"measured"`
	Blocks   int               `json:"blocks"`
	Host     map[string]string `json:"host"`
}

// A ComparedRow is one measure.
type ComparedRow struct {
	Subject string         `json:"subject"`
	Gates   bool           `json:"gates"`
	Lower   bool           `json:"lower"` // less is worse
	Verdict rundir.Verdict `json:"verdict"`
	Better  bool           `json:"better"`
	Of      slo.Form       `json:"of"` // the form of was and now
	Was     rundir.Value   `json:"was"`
	Now     rundir.Value   `json:"now"`
	Form    slo.Form       `json:"form"`  // of by: now over was, or now less was
	By      rundir.Value   `json:"by"`    // with its interval; the runs are not paired
	Limit   *float64       `json:"limit"` // what by is held against
	Reason  string         `json:"reason"`
}

// ComparisonSchema is the value of [Comparison.Schema].
const ComparisonSchema = "tutti.comparison/v1"

// A measuredRun is a run as it is compared.
type measuredRun struct {
	*rundir.Baseline
	file    string
	invalid string // why it is not to be trusted
}

// MeasuredOf reads what a run has measured, from its folder. A run that is not to be trusted is an error of [ErrUntrusted].
func MeasuredOf(dir string, kit plan.Kit) (*rundir.Baseline, error) {
	m, err := measuredOf(dir, kit)
	if err != nil {
		return nil, err
	}
	if m.invalid != "" {
		return nil, fmt.Errorf("%w: run %s is %s", ErrUntrusted, dir, m.invalid)
	}
	return m.Baseline, nil
}

// ErrUntrusted is of a run whose numbers are not to be trusted: invalid, interrupted, or not carried out.
var ErrUntrusted = errors.New("the measurement is not to be trusted")

func measuredOf(dir string, kit plan.Kit) (*measuredRun, error) {
	j, err := readRun(dir, kit)
	if err != nil {
		return nil, &UsageError{err}
	}
	if j.plan.Variation != nil {
		return nil, &UsageError{fmt.Errorf("%s is a run of a scenario that was changed (%s): it is no measure of another one", dir, j.plan.Variation.Kind)}
	}
	run := j.run(j.judge(j.trials))
	m := &measuredRun{Baseline: j.measured(run), file: dir}
	if v := run.Verdict; v == rundir.Invalid || v == rundir.Errored || v == rundir.Interrupted {
		m.invalid = string(v)
		if len(run.Reasons) > 0 {
			m.invalid += ": " + run.Reasons[0]
		}
	}
	return m, nil
}

// measured is what a run has measured, as a baseline keeps it.
func (j *judging) measured(run *rundir.Run) *rundir.Baseline {
	b := &rundir.Baseline{
		Schema: rundir.BaselineSchema, Name: run.Name, Run: run.ID, Measured: run.Provenance.Started.UTC(), Seed: run.Provenance.Seed,
		Experiment: experiment(j.scenario), Host: Fingerprint(run.Provenance), Measures: []rundir.Measure{},
	}
	add := func(m rundir.Measure) {
		k := slices.IndexFunc(b.Measures, func(o rundir.Measure) bool { return o.Subject == m.Subject && o.Lower == m.Lower })
		switch {
		case k < 0:
			b.Measures = append(b.Measures, m)
		case m.Gates && !b.Measures[k].Gates: // an objective that only warns stands before it
			b.Measures[k] = m
		}
	}
	for i := range run.Objectives {
		o := &run.Objectives[i]
		if o.Subject == "" || o.Regression || o.Op == "==" || o.Op == "!=" {
			continue
		}
		of := measuredSide(j.scenario.Objectives[i].Check)
		scale := slo.ScaleOf(o.Form, of)
		m := rundir.Measure{
			Subject: o.Subject, Gates: o.Severity != slo.SeverityWarn, Severity: o.Severity, Arms: o.Arms, Form: o.Form, Unit: o.Unit,
			Lower: less(o), Relative: scale == slo.Factor, Line: o.Line, Values: append([]rundir.BlockValue{}, o.PerBlock...),
		}
		if m.Relative && o.Form == slo.Absolute {
			m.Floor = slo.Resolution(of, j.scenario.Load.Schedule.Lowest())
		}
		m.Margin = usualMarginOf(scale, &m)
		add(m)
	}
	for _, m := range j.headlines(run) {
		add(m)
	}
	return b
}

// less reports whether an objective sets a lower limit on what is measured, whichever side that stands on.
func less(o *rundir.Objective) bool {
	lower := o.Op[0] == '>'
	if c, err := slo.Parse(o.Text); err == nil {
		if _, constant := slo.Constant(c.L); constant {
			return !lower
		}
	}
	return lower
}

// measuredSide is the left side of a comparison, or the only one that is measured.
func measuredSide(c slo.Comparison) slo.Expr {
	if _, constant := slo.Constant(c.L); constant {
		return c.R
	}
	return c.L
}

// usualMarginOf is what a measure may be worse where nobody says otherwise. It is 0, so that little is decided and nothing wrongly, where
// it is a part of a value that is not there.
func usualMarginOf(scale slo.Scale, m *rundir.Measure) float64 {
	switch scale {
	case slo.Factor:
		return usualMargin
	case slo.Points:
		return usualPoint
	case slo.Units:
	}
	tenth := 0.0
	if e := slo.EstimateOf(valuesOf(m), analysis.Spec{Unit: m.Unit, Signed: true}); e.State == analysis.OK {
		tenth = math.Abs(e.Value) * usualMargin
	}
	if m.Unit == analysis.Number && !m.Lower { // of what is lost one more is not yet worse
		return max(1, math.Ceil(tenth))
	}
	return tenth
}

// headlines are what everybody asks first of each arm.
func (j *judging) headlines(run *rundir.Run) []rundir.Measure {
	var all []rundir.Measure
	for _, a := range j.scenario.Arms {
		if !slices.Contains(run.ArmOrder, a.Name) {
			continue
		}
		refs := []analysis.Ref{{Metric: "availability"}, {Metric: "p50"}, {Metric: "p99"}, {Metric: "ok_p50"}, {Metric: "ok_p99"}, {Metric: "goodput"}}
		for _, f := range faultNames(a, j.scenario.Load.For()) {
			refs = append(refs, analysis.Ref{Metric: "recovery", Fault: f}, analysis.Ref{Metric: "lost_requests", Fault: f})
		}
		if j.scenario.Load.Capacity != nil {
			refs = []analysis.Ref{{Metric: "capacity"}}
		}
		for _, ref := range refs {
			spec, _ := analysis.SpecOf(ref.Metric)
			metric := slo.Metric{Arm: a.Name, Ref: ref}
			scale := slo.ScaleOf(slo.Absolute, metric)
			m := rundir.Measure{
				Subject: slo.Text(metric), Arms: []string{a.Name}, Form: slo.Absolute, Unit: spec.Unit, Lower: spec.Higher,
				Relative: scale == slo.Factor, Floor: slo.Resolution(metric, j.scenario.Load.Schedule.Lowest()), Values: []rundir.BlockValue{},
			}
			for _, t := range run.Trials {
				if v, ok := t.Metrics[ref.String()]; ok && t.Counted && t.Arm == a.Name {
					m.Values = append(m.Values, rundir.BlockValue{Block: t.Block, Value: v.Value, State: v.State})
				}
			}
			m.Margin = usualMarginOf(scale, &m)
			all = append(all, m)
		}
	}
	return all
}

// valueOf is what was measured in one block.
func valueOf(b rundir.BlockValue) analysis.Value {
	switch {
	case b.State == analysis.Never:
		return analysis.Value{State: analysis.Never}
	case b.Value == nil:
		return analysis.Missing("no value in block %d", b.Block)
	case b.State == analysis.NoData:
		return analysis.Missing("in block %d it is at most %.3g: one side never came", b.Block, *b.Value)
	case b.State == analysis.Censored:
		return analysis.Value{V: *b.Value, State: analysis.Censored}
	}
	return analysis.Good(*b.Value)
}

func valuesOf(m *rundir.Measure) []analysis.Value {
	vs := make([]analysis.Value, len(m.Values))
	for i, v := range m.Values {
		if vs[i] = valueOf(v); vs[i].State == analysis.Never && !m.Relative {
			vs[i] = analysis.Missing("one side never came") // which one, a difference does not say
		}
	}
	return vs
}

// Compare holds a run against another one, or against a baseline file, of the same scenario. Nothing is written. Runs that differ in
// load, faults or target are a [UsageError] that says in what.
func Compare(was, now string, kit plan.Kit) (*Comparison, error) {
	before, err := measuredAt(was, kit)
	if err != nil {
		return nil, err
	}
	after, err := measuredAt(now, kit)
	if err != nil {
		return nil, err
	}
	if d := differences(before.Experiment, after.Experiment); len(d) > 0 {
		return nil, &UsageError{fmt.Errorf("%s and %s are runs of two experiments: %s", was, now, strings.Join(d, "; "))}
	}
	return compare(before, after), nil
}

// measuredAt reads a run's folder or a baseline file.
func measuredAt(name string, kit plan.Kit) (*measuredRun, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &UsageError{fmt.Errorf("there is no run and no baseline file %s", name)}
	case err != nil:
		return nil, &UsageError{err}
	case info.IsDir():
		return measuredOf(name, kit)
	}
	b, err := rundir.LoadBaseline(name)
	if err != nil {
		return nil, &UsageError{err}
	}
	return &measuredRun{Baseline: b, file: name}, nil
}

func (m *measuredRun) side() Side {
	s := Side{File: m.file, Run: m.Run, Measured: m.Measured, Host: m.Host}
	for _, one := range m.Measures {
		s.Blocks = max(s.Blocks, len(one.Values))
	}
	return s
}

func compare(was, now *measuredRun) *Comparison {
	c := &Comparison{
		Schema: ComparisonSchema, Name: now.Name, Was: was.side(), Now: now.side(), Moved: append([]string{}, differences(was.Host, now.Host)...),
		Rows: []ComparedRow{}, Reasons: []string{},
	}
	before, after := was.Measures, now.Measures
	if len(c.Moved) > 0 { // times of two machines say nothing of each other
		before, after = inside(was), inside(now)
	}
	var changes []slo.Change
	var rows []ComparedRow
	var gone []string // what would go unnoticed
	for i := range before {
		m := &before[i]
		k := slices.IndexFunc(after, func(o rundir.Measure) bool { return o.Subject == m.Subject && o.Lower == m.Lower })
		if k < 0 {
			if m.Gates {
				gone = append(gone, m.Subject+": no objective is about it any more")
			}
			continue
		}
		severity := m.Severity
		if !m.Gates {
			severity = slo.SeverityWarn
		}
		rows = append(rows, ComparedRow{Subject: m.Subject, Gates: m.Gates, Lower: m.Lower, Of: m.Form})
		changes = append(changes, slo.Change{
			Subject: m.Subject, Was: valuesOf(m), Now: valuesOf(&after[k]), Unit: m.Unit, Ratio: m.Relative, Floor: m.Floor, Lower: m.Lower,
			Margin: m.Margin, Severity: severity,
		})
	}
	for i, d := range slo.Changes(changes) {
		r := rows[i]
		if !r.Gates && d.Was.State == analysis.NoData && d.Now.State == analysis.NoData {
			continue // a metric that nobody asked for, and that is not there
		}
		r.Verdict, r.Better, r.Form, r.Limit, r.Reason = rundir.Verdict(d.Outcome.String()), d.Better, d.Form, finite(d.Limit), d.Reason
		r.Was, r.Now, r.By = value(d.Was), value(d.Now), value(d.By)
		c.Rows = append(c.Rows, r)
	}
	c.conclude(was, now, gone)
	return c
}

// conclude says how it ends: invalid before worse before undecided.
func (c *Comparison) conclude(was, now *measuredRun, gone []string) {
	c.Verdict = rundir.Pass
	gating := 0
	worse, open := []string{}, gone
	for _, r := range c.Rows {
		if !r.Gates {
			continue
		}
		gating++
		switch r.Verdict {
		case rundir.Pass:
		case rundir.Fail:
			worse = append(worse, r.Reason)
		default:
			open = append(open, r.Reason)
		}
	}
	invalid := []string{}
	for _, m := range []*measuredRun{was, now} {
		if m.invalid != "" {
			invalid = append(invalid, fmt.Sprintf("run %s is %s", m.file, m.invalid))
		}
	}
	switch {
	case len(invalid) > 0:
		c.Verdict, c.Reasons = rundir.Invalid, append(invalid, c.Reasons...)
	case len(worse) > 0:
		c.Verdict, c.Reasons = rundir.Fail, append(append(worse, open...), c.Reasons...)
	case gating == 0:
		c.Verdict = rundir.Inconclusive
		why := "no objective that gates is in both: nothing can be told"
		if len(c.Moved) > 0 {
			why = "the machines differ, and no objective compares arms inside a run: nothing can be told"
		}
		c.Reasons = append([]string{why}, c.Reasons...)
	case len(open) > 0:
		c.Verdict, c.Reasons = rundir.Inconclusive, append(open, c.Reasons...)
	}
	if c.ExitCode = exitCode(c.Verdict); c.Verdict == rundir.Fail {
		c.ExitCode = exitRegression
	}
}

// exitRegression is the exit code of what has become worse than a baseline; a failed objective goes first.
const exitRegression = 11

// inside are what can be compared between machines: what objectives hold one arm against another by, and each other arm's metrics over,
// or less, the baseline arm's in the same block. A difference of times or rates is as large as the machine is slow, and is none.
func inside(m *measuredRun) []rundir.Measure {
	var all []rundir.Measure
	for _, one := range m.Measures {
		if one.Form == slo.Ratio || one.Form == slo.Difference && !ofMachine(one.Unit) {
			all = append(all, one)
		}
	}
	base := m.Experiment["baseline"]
	for _, one := range m.Measures {
		if len(one.Arms) != 1 || one.Arms[0] == base || base == "" || one.Form != slo.Absolute {
			continue
		}
		other := base + strings.TrimPrefix(one.Subject, one.Arms[0])
		k := slices.IndexFunc(m.Measures, func(o rundir.Measure) bool { return o.Subject == other && o.Form == slo.Absolute })
		if k < 0 {
			continue
		}
		if made, ok := over(one, m.Measures[k]); ok && !slices.ContainsFunc(all, func(o rundir.Measure) bool { return o.Subject == made.Subject }) {
			all = append(all, made)
		}
	}
	return all
}

// ofMachine reports whether what has a unit is faster or slower with the machine.
func ofMachine(u analysis.Unit) bool { return u == analysis.Seconds || u == analysis.PerSecond }

// over is a measure of one arm held against that of another within each block.
func over(one, base rundir.Measure) (rundir.Measure, bool) {
	if ofMachine(one.Unit) && !one.Relative {
		return one, false
	}
	out := one
	out.Gates, out.Severity, out.Line, out.Values = false, slo.SeverityWarn, 0, []rundir.BlockValue{}
	out.Subject, out.Form = one.Subject+" less "+base.Subject, slo.Difference
	if out.Relative {
		out.Subject, out.Form, out.Unit, out.Floor = one.Subject+" over "+base.Subject, slo.Ratio, analysis.Number, 0
	}
	for _, v := range one.Values {
		k := slices.IndexFunc(base.Values, func(o rundir.BlockValue) bool { return o.Block == v.Block })
		if k < 0 || v.State != analysis.OK || base.Values[k].State != analysis.OK || v.Value == nil || base.Values[k].Value == nil {
			return out, false
		}
		x := *v.Value - *base.Values[k].Value
		if out.Relative {
			x = max(*v.Value, one.Floor) / max(*base.Values[k].Value, base.Floor)
		}
		out.Values = append(out.Values, rundir.BlockValue{Block: v.Block, Value: finite(x), State: analysis.OK})
	}
	return out, len(out.Values) > 0
}

// differsFrom refuses a baseline that is about another experiment than a scenario.
func differsFrom(file string, b *rundir.Baseline, s *scenario.Scenario, kit plan.Kit) error {
	shown, err := masked(s, kit)
	if err != nil {
		return err
	}
	if d := differences(b.Experiment, experiment(shown)); len(d) > 0 {
		return &UsageError{fmt.Errorf("--baseline %s: it is about another experiment: %s\n  tutti baseline update RUN %s makes it anew of a run of this one", file, strings.Join(d, "; "), file)}
	}
	return nil
}

// KeepMargins takes over the margins of a baseline that somebody may have set.
func KeepMargins(from, into *rundir.Baseline) {
	for i := range into.Measures {
		m := &into.Measures[i]
		k := slices.IndexFunc(from.Measures, func(o rundir.Measure) bool {
			return o.Subject == m.Subject && o.Lower == m.Lower && o.Unit == m.Unit && o.Relative == m.Relative
		})
		if k >= 0 {
			m.Margin = from.Measures[k].Margin
		}
	}
}
