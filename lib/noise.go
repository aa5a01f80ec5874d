package tutti

import (
	"fmt"
	"math"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Twice is the variation that runs the baseline twice, under two names.
func Twice() *rundir.Variation { return &rundir.Variation{Kind: rundir.Again} }

// NoiseOf reads how much two equal arms differed, of a run that was varied by [Twice].
func NoiseOf(res *Result, kit plan.Kit) (*rundir.NoiseFile, error) {
	j, err := readRun(res.Dir, kit)
	if err != nil {
		return nil, err
	}
	if j.plan.Variation == nil || j.plan.Variation.Kind != rundir.Again {
		return nil, &UsageError{fmt.Errorf("%s is no run of two equal arms; tutti noise makes one", res.Dir)}
	}
	one := baselineArm(j.scenario)
	run := res.Run
	n := &rundir.NoiseFile{
		Schema: rundir.NoiseSchema, Name: run.Name, Run: run.ID, Measured: run.Provenance.Started, Arm: one.Name,
		Experiment: armExperiment(j.scenario, one), Host: Fingerprint(run.Provenance), Metrics: []rundir.NoiseMetric{},
	}
	for i := range run.Objectives {
		o := &run.Objectives[i]
		bare := j.scenario.Objectives[i].Check.Map(func(m slo.Metric) slo.Metric { m.Arm = ""; return m })
		noise, why := noiseOf(o, slo.ScaleOf(o.Form, bare.L))
		m := rundir.NoiseMetric{Metric: slo.Text(bare.L), Relative: noise.Relative, Unit: noise.Unit, Apart: o.Value, Why: why}
		if why == "" {
			m.SD, m.Most = finite(noise.SD), finite(noise.Most)
		}
		n.Blocks = max(n.Blocks, noise.N)
		n.Metrics = append(n.Metrics, m)
	}
	return n, nil
}

// noise is a metric's, as it was measured; false if it is not known.
func noiseIn(f *rundir.NoiseFile, metric string) (Noise, bool) {
	for _, m := range f.Metrics {
		if m.Metric == metric && m.SD != nil && *m.SD >= 0 {
			n := Noise{Relative: m.Relative, Unit: m.Unit, SD: *m.SD, Most: math.Inf(1), N: f.Blocks}
			if m.Most != nil {
				n.Most = *m.Most
			}
			return n, true
		}
	}
	return Noise{}, false
}

// Floor refuses margins that are below what the scenario's blocks can tell from noise: identical arms would as likely as not end
// undecided. The error is [scenario.Errors], at the objectives' lines, or a [UsageError] where the file is about something else.
// What it cannot say it returns as warnings. file is the noise file's name.
func Floor(file string, f *rundir.NoiseFile, s *scenario.Scenario, kit plan.Kit) (warnings []string, err error) {
	one := baselineArm(s)
	shown, err := masked(s, kit)
	if err != nil {
		return nil, err
	}
	if d := differences(f.Experiment, armExperiment(shown, baselineArm(shown))); len(d) > 0 || f.Arm != one.Name {
		if f.Arm != one.Name {
			d = append([]string{fmt.Sprintf("the arm is %s and %s", f.Arm, one.Name)}, d...)
		}
		return nil, &UsageError{fmt.Errorf("--noise %s: it was measured with something else: %s\n  measure it anew with tutti noise %s --noise %s",
			file, strings.Join(d, "; "), s.File, file)}
	}
	blocks := max(s.Repeats, s.Most)
	var wrong scenario.Errors
	for _, o := range s.Objectives {
		expr, ok := equalSides(o.Check)
		if !ok || o.Margin == 0 {
			continue
		}
		noise, known := noiseIn(f, slo.Text(expr))
		if !known {
			warnings = append(warnings, fmt.Sprintf("%s: its noise was not measured, so that nobody can say whether its margin is wide enough", o.Name))
			continue
		}
		lower := o.Check.Op[0] == '>'
		floor := noise.Resolves(blocks, lower)
		if o.Margin >= floor {
			continue
		}
		delta := o.Margin
		switch {
		case noise.Relative && lower:
			delta = -math.Log1p(-o.Margin)
		case noise.Relative:
			delta = math.Log1p(o.Margin)
		}
		e := s.Wrong(o.Line, fmt.Sprintf("margin %s of %s is below the noise: over %d blocks equal arms can be told to be within %s of each other at best (%s)",
			sayMargin(o.Margin, noise), o.Name, blocks, sayMargin(floor, noise), file))
		e.Expected = "a margin of " + sayMargin(roundUp(floor), noise) + " or more"
		if need := blocksFor(noise.SD, delta); need > 0 {
			e.Expected += fmt.Sprintf(", or repeats: %d", need)
		}
		wrong = append(wrong, e)
	}
	if len(wrong) > 0 {
		return warnings, wrong
	}
	return warnings, nil
}

// sayMargin writes a margin as the file has it.
func sayMargin(v float64, n Noise) string {
	if n.counts() {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%.3g%%", 100*v)
}

// roundUp rounds to two digits, never down.
func roundUp(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return v
	}
	step := math.Pow(10, math.Floor(math.Log10(v))-1)
	return math.Ceil(v/step-1e-9) * step
}

// Moved lists what of the machine differs from that of the noise.
func Moved(f *rundir.NoiseFile, p rundir.Provenance) []string {
	return differences(f.Host, Fingerprint(p))
}

// Biased lists the metrics in which equal arms were apart by more than chance explains.
func Biased(f *rundir.NoiseFile) []string {
	var all []string
	for _, m := range f.Metrics {
		equal := map[bool]float64{true: 1}[m.Relative]
		if m.Apart.State == analysis.OK && m.Apart.Low != nil && m.Apart.High != nil && (*m.Apart.Low > equal || *m.Apart.High < equal) {
			all = append(all, m.Metric)
		}
	}
	return all
}
