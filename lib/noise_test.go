package tutti_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
)

// compared is what noise is measured of: comparisons of equal things, of unequal ones, and absolute objectives.
const compared = `version: 1
name: compared
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app, env: {DB_PASSWORD: hunter22}}
arms:
  one: {scale: {app: 1}}
  two: {scale: {app: 2}, faults: [{name: crash, at: 2s, kill: app, for: 1s}]}
baseline: one
load: {rate: 10/s, for: 5s, warmup: 1s, timeout: 500ms, requests: [GET /]}
objectives:
  - {check: two.p50 <= one.p50, margin: 10%}
  - {check: two.p90 >= one.p90, margin: 10%}
  - two.p99 <= 2 * one.p99
  - two.availability >= 50%
  - two.during.availability >= two.before.availability
  - two.lost_requests <= 100
repeats: 6
`

// again is the noise of a run of compared in which the second one of two equal arms scatters so.
func again(t *testing.T, b *bench, noise []float64) (*tutti.Result, *rundir.NoiseFile) {
	t.Helper()
	b.opts.Vary = tutti.Twice()
	b.Takes = func(s target.Spec) time.Duration {
		d := 20 * time.Millisecond
		if block, ok := strings.CutPrefix(s.Trial, "one-again-"); ok {
			d = time.Duration(float64(d) * math.Exp(noise[int(block[0]-'1')]))
		}
		return d
	}
	var res *tutti.Result
	synctest.Test(t, func(t *testing.T) {
		var err error
		if res, err = b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	n, err := tutti.NoiseOf(res, b.opts.Kit)
	if err != nil {
		t.Fatal(err)
	}
	return res, n
}

// Two equal arms are the baseline twice; what is compared between arms is compared between them.
func TestNoise(t *testing.T) {
	b := newBench(t, compared)
	noise := []float64{0.1, -0.1, 0.05, -0.05, 0.1, -0.1}
	res, n := again(t, b, noise)
	if ups := b.Ups(); len(ups) != 12 || slices.ContainsFunc(ups, func(u string) bool { return !strings.HasPrefix(u, "one-") }) {
		t.Errorf("started %v", ups)
	}
	var texts []string
	for _, o := range res.Run.Objectives {
		texts = append(texts, o.Text)
	}
	want := []string{
		"one-again.p50 <= one.p50", "one-again.p90 >= one.p90", "one-again.p90 <= one.p90", "one-again.p99 <= one.p99",
		"one-again.availability >= one.availability", "one-again.ok_p50 <= one.ok_p50", "one-again.ok_p99 <= one.ok_p99",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("objectives\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
	if o := res.Run.Objectives; o[0].Margin != 0.1 || o[0].Severity != "fail" || o[3].Severity != "warn" || res.Run.Variation == nil {
		t.Errorf("margin %v, severities %s and %s, variation %+v", o[0].Margin, o[0].Severity, o[3].Severity, res.Run.Variation)
	}
	m := n.Metrics[0]
	if n.Arm != "one" || n.Blocks != 6 || m.Metric != "p50" || !m.Relative || m.SD == nil || math.Abs(*m.SD-0.0949) > 0.01 {
		t.Errorf("noise %+v of %+v", m, n)
	}
	if again, err := tutti.Judge(res.Dir, b.opts.Kit); err != nil || again.Run.Objectives[0].Text != want[0] {
		t.Errorf("judged again: %v", err)
	}

	file := filepath.Join(t.TempDir(), "noise.json")
	if err := rundir.SaveNoise(file, n); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "hunter22") {
		t.Errorf("the file has the password, or %v", err)
	}
	kept, err := rundir.LoadNoise(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := tutti.Moved(kept, res.Run.Provenance); len(d) > 0 {
		t.Errorf("the machine has changed: %v", d)
	}
	refuses(t, b, kept)
}

// Of comparisons that are the same of equal arms the one that gates is kept, with the smallest margin, in whichever order they stand.
func TestTwiceTheSame(t *testing.T) {
	warning, wide, narrow := "  - {check: two.p50 <= one.p50, severity: warn, name: warning}\n", "  - {check: two.p50 <= one.p50, margin: 40%, name: wide}\n", "  - {check: two.p50 <= one.p50, margin: 20%, name: narrow}\n"
	was := "  - {check: two.p50 <= one.p50, margin: 10%}\n"
	for name, c := range map[string]struct {
		lines  string
		margin float64
	}{
		"a warning first": {warning + wide, 0.4}, "a warning last": {wide + warning, 0.4},
		"the narrow one first": {narrow + wide + warning, 0.2}, "the narrow one last": {warning + wide + narrow, 0.2},
	} {
		b := newBench(t, strings.Replace(compared, was, c.lines, 1))
		res, _ := again(t, b, make([]float64, 6))
		n := 0
		for _, o := range res.Run.Objectives {
			if o.Text != "one-again.p50 <= one.p50" {
				continue
			}
			if n++; o.Severity != slo.SeverityFail || o.Margin != c.margin {
				t.Errorf("%s: %s has margin %v and severity %s, want %v", name, o.Name, o.Margin, o.Severity, c.margin)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d objectives compare p50", name, n)
		}
	}
}

// refuses holds scenarios against noise of 9.5 % over 6 blocks, which resolves 14.9 %.
func refuses(t *testing.T, b *bench, n *rundir.NoiseFile) {
	t.Helper()
	for name, c := range map[string]struct {
		change func(string) string
		want   []string // of the error; none: there is none
		usage  bool
	}{
		"too small": {func(s string) string { return s }, []string{
			"two-arms.yaml:10:5: margin 10% of two.p50 <= one.p50 is below the noise: over 6 blocks", "two-arms.yaml:11:5: margin 10% of two.p90 >= one.p90",
		}, false},
		"wide enough":      {func(s string) string { return strings.ReplaceAll(s, "margin: 10%", "margin: 16%") }, nil, false},
		"one only":         {func(s string) string { return strings.Replace(s, "margin: 10%", "margin: 16%", 1) }, []string{"yaml:11:5: margin 10% of two.p90"}, false},
		"with more blocks": {func(s string) string { return strings.Replace(s, "repeats: 6", "repeats: 6..20", 1) }, nil, false},
		"without a margin": {func(s string) string { return strings.ReplaceAll(s, ", margin: 10%", "") }, nil, false},
		"other load":       {func(s string) string { return strings.Replace(s, "rate: 10/s", "rate: 20/s", 1) }, []string{"load.rate is 10/s and 20/s"}, true},
		"other target": {func(s string) string {
			return strings.Replace(s, "one: {scale: {app: 1}}", "one: {scale: {app: 3}}", 1)
		}, []string{"arms.one.scale.app is 1 and 3"}, true},
		"other arm":     {func(s string) string { return strings.Replace(s, "baseline: one", "baseline: two", 1) }, []string{"the arm is one and two"}, true},
		"the other arm": {func(s string) string { return strings.Replace(s, "at: 2s", "at: 3s", 1) }, []string{"yaml:10:5", "yaml:11:5"}, false},
	} {
		s, err := scenario.Parse(b.file, []byte(c.change(compared)), b.opts.Kit.Faults)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tutti.Floor("noise.json", n, s, b.opts.Kit)
		if len(c.want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var usage *tutti.UsageError
		var wrong scenario.Errors
		if err == nil || errors.As(err, &usage) != c.usage || errors.As(err, &wrong) == c.usage {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
		if !c.usage && len(wrong) != len(c.want) {
			t.Errorf("%s: %d errors, want %d", name, len(wrong), len(c.want))
		}
	}
}

// Equal arms that are apart are told of, and so is noise that is not known.
func TestNoiseBiased(t *testing.T) {
	// Between two requests: of what happens at one moment, either may come first.
	b := newBench(t, strings.Replace(compared, "one: {scale: {app: 1}}", "one: {scale: {app: 1}, faults: [{name: crash, at: 2050ms, kill: app, for: 1s}]}", 1))
	_, n := again(t, b, []float64{0.3, 0.31, 0.3, 0.31, 0.3, 0.31})
	if got := tutti.Biased(n); !slices.Contains(got, "ok_p50") || slices.Contains(got, "availability") {
		t.Errorf("biased: %v", got)
	}
	i := slices.IndexFunc(n.Metrics, func(m rundir.NoiseMetric) bool { return m.Metric == "p90" })
	if m := n.Metrics[i]; m.SD != nil || !strings.Contains(m.Why, "never came") {
		t.Errorf("a percentile that never came: %+v", m)
	}
	s := b.parse(t)
	warnings, err := tutti.Floor("noise.json", n, s, b.opts.Kit)
	if err != nil {
		t.Error(err)
	}
	says(t, "warnings", warnings, "two.p90", "its noise was not measured")
}

// A run of other arms is no noise, and a file of something else is none either.
func TestNoNoise(t *testing.T) {
	b := newBench(t, twoArms)
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tutti.NoiseOf(res, b.opts.Kit); err == nil || !strings.Contains(err.Error(), "no run of two equal arms") {
			t.Errorf("error %v", err)
		}
	})
	for _, file := range []string{filepath.Join(b.opts.Dir, "run.json"), filepath.Join(b.opts.Dir, "scenario.yaml"), filepath.Join(b.opts.Dir, "nothing")} {
		if _, err := rundir.LoadNoise(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
