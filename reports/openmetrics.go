package reports

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// OpenMetrics writes the run's verdict, its objectives and the metrics of its arms in the text format of OpenMetrics 1.0.
// Times are seconds, ratios 0 to 1, numbers have four significant digits (a share just below 1 more): GitLab compares them as strings. A value that
// never came is +Inf; one that there is no data for is left out.
func OpenMetrics(w io.Writer, r *tutti.Result) error {
	s := newSheet(r)
	m := openMetrics{scenario: flat(s.run.Name)}
	m.family("tutti_verdict", "stateset", "", "What the run has shown.")
	for _, v := range []rundir.Verdict{rundir.Pass, rundir.Fail, rundir.Inconclusive, rundir.Invalid, rundir.Interrupted, rundir.Errored} {
		on := 0.0
		if v == s.run.Verdict {
			on = 1
		}
		m.sample("tutti_verdict", on, "tutti_verdict", string(v))
	}
	m.family("tutti_objective_met", "gauge", "", "1: the objective is met; 0: it is not, or that cannot be told.")
	seen := make(map[string]bool)
	for _, o := range s.run.Objectives {
		name := flat(objectiveName(o))
		if seen[name] {
			continue // a metric has one value
		}
		seen[name] = true
		met := 0.0
		if o.Verdict == rundir.Pass {
			met = 1
		}
		m.sample("tutti_objective_met", met, "objective", name)
	}
	m.arms(s)
	m.b.WriteString("# EOF\n")
	_, err := w.Write(m.b.Bytes())
	return err
}

type openMetrics struct {
	b        bytes.Buffer
	scenario string
}

// arms writes the metrics over the whole of measured load, each with its arm, its fault, class and request.
func (m *openMetrics) arms(s *sheet) {
	for _, spec := range analysis.Specs() {
		name := "tutti_" + spec.Name + map[analysis.Unit]string{analysis.Seconds: "_seconds", analysis.Ratio: "_ratio", analysis.PerSecond: "_per_second"}[spec.Unit]
		begun := false
		for _, a := range s.arms {
			metrics := s.run.Arms[a.Name].Metrics
			for _, key := range slices.Sorted(maps.Keys(metrics)) {
				metric, rest, _ := strings.Cut(key, "{")
				labels := []string{"arm", flat(a.Name)}
				if metric != spec.Name && !strings.HasPrefix(metric, spec.Name+"(") {
					continue
				}
				if v, ok := sampleOf(spec, metrics[key]); ok {
					if !begun {
						m.family(name, "gauge", unitOf(spec.Unit), spec.Summary)
						begun = true
					}
					if rest != "" || strings.Contains(metric, "(") {
						labels = append(labels, "of", flat(key))
					}
					m.sample(name, v, labels...)
				}
			}
		}
	}
}

// unitOf is a unit's name as the format wants it: the metric's name ends with it.
func unitOf(u analysis.Unit) string {
	switch u {
	case analysis.Seconds:
		return "seconds"
	case analysis.Ratio:
		return "ratio"
	case analysis.PerSecond, analysis.Number:
	}
	return ""
}

// sampleOf is a value as a number: +Inf for what never came, and for what was not reached while we looked. Of what is the better the
// higher it is, it is as much as was seen: no capacity is without end.
func sampleOf(spec analysis.Spec, v rundir.Value) (float64, bool) {
	switch {
	case v.State == analysis.OK && v.Value != nil, v.State == analysis.Censored && spec.Higher && v.Value != nil:
		return *v.Value, true
	case v.State == analysis.Never, v.State == analysis.Censored:
		return math.Inf(1), true
	}
	return 0, false
}

func (m *openMetrics) family(name, kind, unit, help string) {
	fmt.Fprintf(&m.b, "# TYPE %s %s\n", name, kind)
	if unit != "" {
		fmt.Fprintf(&m.b, "# UNIT %s %s\n", name, unit)
	}
	fmt.Fprintf(&m.b, "# HELP %s %s\n", name, openMetricsText(help))
}

func (m *openMetrics) sample(name string, v float64, labels ...string) {
	fmt.Fprintf(&m.b, "%s{scenario=\"%s\"", name, openMetricsText(m.scenario))
	for i := 0; i+1 < len(labels); i += 2 {
		fmt.Fprintf(&m.b, ",%s=\"%s\"", labels[i], openMetricsText(labels[i+1]))
	}
	m.b.WriteString("} " + openMetricsNumber(v) + "\n")
}

func openMetricsNumber(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	short := strconv.FormatFloat(v, 'g', 4, 64)
	if short == "1" && v < 1 { // what is lost of a share is what it is about
		return strconv.FormatFloat(v, 'f', 2+ratioDecimals(100*v), 64)
	}
	return short
}

var openMetricsEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func openMetricsText(s string) string { return openMetricsEscapes.Replace(s) }
