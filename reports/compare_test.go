package reports_test

import (
	"bytes"
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/reports"
)

func some(v, low, high float64, unit analysis.Unit) rundir.Value {
	return rundir.Value{Value: &v, Low: &low, High: &high, Unit: unit, State: analysis.OK, N: 6}
}

// The comparison says what was, what is, by how much it changed and whether that is worse; what comes of runs steers no terminal.
func TestCompare(t *testing.T) {
	never := rundir.Value{Unit: analysis.Seconds, State: analysis.Never}
	c := &tutti.Comparison{
		Name: "crash\x1b[2J", Verdict: rundir.Fail, ExitCode: 11, Reasons: []string{"cluster.p99 is 1.3 times what it was"},
		Was: tutti.Side{File: "base.json", Run: "1", Blocks: 6, Host: map[string]string{"tutti": "v1"}}, Now: tutti.Side{File: "runs/b", Run: "2", Blocks: 12},
		Moved: []string{"cpu is A and B"},
		Rows: []tutti.ComparedRow{
			{Subject: "cluster.p99", Gates: true, Verdict: rundir.Fail, Was: some(0.1, 0.09, 0.11, analysis.Seconds), Now: some(0.13, 0.12, 0.14, analysis.Seconds), Form: slo.Ratio, By: some(1.3, 1.2, 1.4, analysis.Number)},
			{Subject: "cluster.recovery{fault=\"a very long name of a fault\"}", Gates: true, Verdict: rundir.Inconclusive, Was: never, Now: never, Form: slo.Ratio, By: rundir.Value{State: analysis.NoData}},
			{Subject: "single.availability", Verdict: rundir.Pass, Better: true, Was: some(0.9, 0.8, 0.95, analysis.Ratio), Now: some(0.95, 0.94, 0.96, analysis.Ratio), Form: slo.Difference, By: some(0.05, 0.01, 0.1, analysis.Ratio)},
		},
	}
	var b bytes.Buffer
	if err := reports.Compare(&b, c, reports.TextOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(b.String(), "\u00a0", " ")
	for _, want := range []string{
		"✖ WORSE", `crash\x1b[2J`, "base.json  1, 6 blocks, v1", "runs/b  2, 12 blocks", "cpu is A and B", "OBJECTIVE IS ABOUT", "METRIC",
		"100 ms  130 ms   × 1.30", "1.20 – 1.40  ✖ worse", "never", "◇ undecided", "better", "+5.00 points", "exit 11", "a very long name of a fault",
		" · cluster.p99 is 1.3 times what it was",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("it steers:\n%q", text)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// The table of noise has the margins that so many blocks can decide, and tells of equal arms that are apart.
func TestNoise(t *testing.T) {
	sd := 0.1
	n := &rundir.NoiseFile{Name: "crash", Arm: "single", Blocks: 6, Metrics: []rundir.NoiseMetric{
		{Metric: "p50", Relative: true, Unit: analysis.Number, SD: &sd, Most: &sd, Apart: some(1.2, 1.1, 1.3, analysis.Number)},
		{Metric: "availability", Unit: analysis.Ratio, SD: &sd, Most: &sd, Apart: some(0, -0.01, 0.01, analysis.Ratio)},
		{Metric: "p99", Relative: true, Unit: analysis.Number, Apart: rundir.Value{State: analysis.Never}, Why: "it never came"},
	}}
	var b bytes.Buffer
	if err := reports.Noise(&b, n, 12, reports.TextOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(b.String(), "\u00a0", " ")
	for _, want := range []string{"arm single twice, 6 blocks", "± 10.5 %", "9.70 %", "it never came", "apart by more than chance explains in p50"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}
