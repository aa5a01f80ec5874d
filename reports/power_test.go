package reports_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// The table of blocks has every effect with its blocks and minutes, and says why where it has none. What comes of a run steers no terminal.
func TestPower(t *testing.T) {
	p := &tutti.Power{
		Run: &rundir.Run{Name: "crash\x1b[2J", ID: "20261129"}, PerBlock: 90 * time.Second,
		Rows: []tutti.PowerRow{
			{Name: "cluster.p99 <= single.p99", Noise: tutti.Noise{Relative: true, SD: 0.14, Most: 0.2, N: 6}, Needs: []tutti.Need{
				{Effect: tutti.Effect{V: 0.1, Percent: true}, Blocks: 21, Most: 40}, {Effect: tutti.Effect{V: 0.001, Percent: true}},
			}},
			{Name: "cluster.availability >= 99%", Noise: tutti.Noise{Unit: analysis.Ratio, SD: 0.002, Most: 0.003, N: 6}, Needs: []tutti.Need{
				{Effect: tutti.Effect{V: 0.01, Percent: true}, Blocks: 6, Most: 6},
			}},
			{Name: "cluster.recovery <= 5s", Noise: tutti.Noise{N: 2}, Why: "2 blocks count, and noise takes 3"},
		},
	}
	var b bytes.Buffer
	if err := reports.Power(&b, p, reports.TextOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		`crash\x1b[2J, by the noise of run 20261129`, "cluster.p99 <= single.p99", "21 (40)  32 (60) min", "± 15.0 %", "too many",
		"1 points", "9 min", "± 0.200 points", "2 blocks count, and noise takes 3",
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
