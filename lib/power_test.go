package tutti_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
)

func TestParseEffect(t *testing.T) {
	for text, want := range map[string]tutti.Effect{"10%": {0.1, true}, "0.5%": {0.005, true}, "5": {5, false}} {
		got, err := tutti.ParseEffect(text)
		if err != nil || math.Abs(got.V-want.V) > 1e-12 || got.Percent != want.Percent || got.String() != text {
			t.Errorf("%s: %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "ten", "0%", "-5%", "NaN", "Inf", "%", "99999%"} {
		if got, err := tutti.ParseEffect(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// How many blocks an effect needs follows from what an earlier run has measured, objective by objective.
func TestPowerOf(t *testing.T) {
	b := newBench(t, extended[:len(extended)-len("repeats: 6..12\n")]+"  - two.availability >= 99%\n  - {check: two.p50 >= one.p50, severity: warn}\nrepeats: 6\n")
	noise := []float64{0.1, -0.1, 0.05, -0.05, 0.1, -0.1}
	b.Takes = takes(1, func(block int) float64 { return math.Expm1(noise[block-1]) })
	var dir string
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		dir = res.Dir
	})
	p, err := tutti.PowerOf(dir, b.opts.Kit, []tutti.Effect{{V: 0.1, Percent: true}, {V: 3}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Rows) != 3 || p.PerBlock < 11*time.Second || p.PerBlock > 15*time.Second {
		t.Fatalf("%d rows, a block takes %v", len(p.Rows), p.PerBlock)
	}
	sum := 0.0
	for _, x := range noise {
		sum += x * x
	}
	sd := math.Sqrt(sum / 5)
	row := p.Rows[0]
	if n := row.Noise; !n.Relative || n.N != 6 || math.Abs(n.SD-sd) > 0.01 || n.Most < n.SD*1.4 || n.Most > n.SD*1.5 {
		t.Errorf("noise %+v, want %.4f of logarithms", n, sd)
	}
	// ((1.6449 + 1.2816)·0.094/ln 1.1)² is 8.3, and two more.
	if len(row.Needs) != 1 || row.Needs[0].Blocks < 10 || row.Needs[0].Blocks > 12 || row.Needs[0].Most <= row.Needs[0].Blocks {
		t.Errorf("needs %+v", row.Needs)
	}
	if row := p.Rows[1]; row.Noise.Relative || row.Noise.SD != 0 || row.Needs[0].Blocks != 6 {
		t.Errorf("of a share that does not scatter: %+v", row)
	}
	up, down := p.Rows[0].Noise.Resolves(12, false), p.Rows[0].Noise.Resolves(12, true)
	if want := math.Expm1((1.6449 + 1.2816) * sd / math.Sqrt(10)); math.Abs(up-want) > 0.01 || math.Abs((1+up)*(1-down)-1) > 1e-9 {
		t.Errorf("12 blocks resolve %v and %v, want %v up", up, down, want)
	}
	_, err = tutti.PowerOf(t.TempDir(), b.opts.Kit, nil)
	var usage *tutti.UsageError
	if !errors.As(err, &usage) {
		t.Errorf("of no run: %v", err)
	}
}

// Where there is no noise to plan by it says why, and where an effect makes no sense it says that.
func TestPowerOfNothing(t *testing.T) {
	b := newBench(t, twoArms)
	synctest.Test(t, func(t *testing.T) {
		if _, err := b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	p, err := tutti.PowerOf(b.opts.Dir, b.opts.Kit, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range p.Rows {
		if row.Why == "" || row.Needs != nil {
			t.Errorf("of two blocks: %+v", row)
		}
	}
}

// A percentage of a difference of times is nothing, and balance is no count.
func TestPowerOfDifferences(t *testing.T) {
	b := newBench(t, marginTexts)
	b.Takes = slowed(1, 1)
	synctest.Test(t, func(t *testing.T) {
		if _, err := b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	for _, effects := range [][]tutti.Effect{nil, {{V: 0.1, Percent: true}, {V: 5}}} {
		p, err := tutti.PowerOf(b.opts.Dir, b.opts.Kit, effects)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range p.Rows {
			switch row.Name {
			case "two.ok_p90 <= 3 * one.ok_p90 + 50ms", "two.ok_p90 - one.ok_p90 <= 1s", "two.goodput - one.goodput >= 0/s":
				if row.Needs != nil || !strings.Contains(row.Why, "a difference of times or rates") {
					t.Errorf("%s: %+v, %q", row.Name, row.Needs, row.Why)
				}
			case "two.ok_p90 / one.ok_p90 <= 3":
				if !row.Noise.Relative && row.Why == "" {
					t.Errorf("%s: %+v", row.Name, row.Noise)
				}
			case "two.balance >= 0.4":
				if len(row.Needs) == 0 || row.Noise.Unit != analysis.Ratio {
					t.Errorf("%s: %+v, %q", row.Name, row, row.Why)
				}
				for _, n := range row.Needs {
					if !n.Effect.Percent {
						t.Errorf("%s: an effect of %s", row.Name, n.Effect)
					}
				}
			case "two.lost_requests <= 50":
				if len(row.Needs) == 0 || row.Needs[0].Effect.Percent {
					t.Errorf("%s: %+v", row.Name, row.Needs)
				}
			}
		}
	}
}
