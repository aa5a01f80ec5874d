package tutti_test

import (
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/stats"
	"github.com/tutti-bench/tutti/lib/target"
)

const sweep = `version: 1
name: sweep
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app, node_header: X-Node}
sweep: {service: app, scale: [1, 2, 4, 6]}
load:
  capacity: {while: "p99 <= 100ms and availability >= 99%", from: 16/s, to: 256/s, hold: 2s}
  warmup: 1s
  timeout: 1s
  requests: [GET /]
objectives:
  - app-4.capacity >= 2.5 * app-1.capacity
  - app-6.capacity >= 6 * app-1.capacity
  - app-6.capacity >= 100/s
repeats: 6
seed: 7
`

// law is what the target carries, give or take 3 % from trial to trial.
var law = stats.USL{Lambda: 30, Sigma: 0.05, Kappa: 0.01}

// carrying is a bench whose target carries what the law says.
func carrying(t *testing.T, text string) *bench {
	t.Helper()
	b := newBench(t, text)
	noise := 1.0
	b.UpErr = func(s target.Spec) error {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.Trial))
		noise = 1 + 0.03*math.Sin(float64(h.Sum64()%1000))
		return nil
	}
	b.Carries = func(n int) float64 { return law.At(float64(n)) * noise }
	return b
}

// A sweep finds how much each size carries, judges objectives on it, and finds the law behind it.
func TestSweep(t *testing.T) {
	b := carrying(t, sweep)
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		run := res.Run
		verdict(t, run, rundir.Fail, 10)
		if run.Baseline != "app-1" || len(run.Arms) != 4 {
			t.Errorf("baseline %s of %d arms", run.Baseline, len(run.Arms))
		}
		for i, want := range []rundir.Verdict{rundir.Pass, rundir.Fail, rundir.Pass} {
			if o := run.Objectives[i]; o.Verdict != want {
				t.Errorf("%s: %s because %s", o.Text, o.Verdict, o.Reason)
			}
		}
		s := run.Scaling
		if s == nil || s.Service != "app" || len(s.Sizes) != 4 {
			t.Fatalf("scaling %+v", s)
		}
		for i, n := range []int{1, 2, 4, 6} {
			z, want := s.Sizes[i], law.At(float64(n))
			if z.Nodes != n || len(z.PerBlock) != 6 || z.Capacity.Value == nil || *z.Capacity.Value > want*1.01 || *z.Capacity.Value < want/1.1 {
				t.Errorf("size %+v, want %d nodes that carry %v", z, n, want)
			}
			efficiency := want / float64(n) / law.At(1)
			if z.Efficiency.Value == nil || math.Abs(*z.Efficiency.Value-efficiency) > 0.06 {
				t.Errorf("%d nodes: efficiency %+v, want %v", n, z.Efficiency, efficiency)
			}
		}
		holdsLaw(t, s.Fit)
		for _, tr := range run.Trials {
			if len(tr.Holds) < 5 || tr.Metrics["capacity"].State != analysis.OK {
				t.Errorf("%s-%d: %d holds, capacity %+v", tr.Arm, tr.Block, len(tr.Holds), tr.Metrics["capacity"])
			}
			if _, there := tr.Metrics["availability"]; there {
				t.Error("a search has an availability")
			}
		}
		again, err := tutti.Judge(res.Dir, b.opts.Kit)
		if err != nil || again.Run.Scaling == nil || *again.Run.Scaling.Fit.Lambda.Value != *s.Fit.Lambda.Value {
			t.Errorf("judged again: %v", err)
		}
	})
}

// holdsLaw checks that a fit's intervals hold the law, less what the search's resolution takes.
func holdsLaw(t *testing.T, f *rundir.Fit) {
	t.Helper()
	if f == nil {
		t.Fatal("no fit")
	}
	if l := *f.Lambda.Value; l > law.Lambda*1.05 || l < law.Lambda/1.1 {
		t.Errorf("λ %v", l)
	}
	if first, last := f.Curve[0], f.Curve[len(f.Curve)-1]; first.Nodes != 1 || last.Nodes != 6 || len(f.Curve) < 20 {
		t.Errorf("a curve of %d points from %v to %v", len(f.Curve), first.Nodes, last.Nodes)
	}
	for _, p := range f.Curve {
		want := law.At(p.Nodes)
		if p.Low == nil || p.High == nil || *p.Low > p.Value || *p.High < p.Value || p.Value > want*1.03 || p.Value < want/1.09 {
			t.Errorf("at %v: %v [%v, %v], want %v", p.Nodes, p.Value, p.Low, p.High, want)
		}
	}
}

// What is not known is not fitted, and no objective passes on it.
func TestSweepWithoutData(t *testing.T) {
	for name, c := range map[string]struct {
		change   [2]string
		carries  func(int) float64
		refused  string
		state    analysis.State // of app-6's capacity
		verdicts []rundir.Verdict
	}{
		"to is reached": {
			change: [2]string{"to: 256/s", "to: 64/s"}, refused: "app-4, app-6", state: analysis.Censored,
			verdicts: []rundir.Verdict{rundir.Inconclusive, rundir.Inconclusive, rundir.Inconclusive},
		},
		"nobody carries from": {
			change: [2]string{"from: 16/s", "from: 200/s"}, refused: "not known in every block", state: analysis.NoData,
			verdicts: []rundir.Verdict{rundir.Inconclusive, rundir.Inconclusive, rundir.Inconclusive},
		},
		"at least is enough": {
			change: [2]string{"to: 256/s", "to: 110/s"}, refused: "without app-6", state: analysis.Censored,
			verdicts: []rundir.Verdict{rundir.Pass, rundir.Inconclusive, rundir.Pass},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer(c.change[0], c.change[1], "repeats: 6", "repeats: 3").Replace(sweep)
			b := carrying(t, text)
			synctest.Test(t, func(t *testing.T) {
				res, err := b.run(t.Context(), t)
				if err != nil {
					t.Fatal(err)
				}
				s := res.Run.Scaling
				if s == nil || !strings.Contains(s.Refused, c.refused) {
					t.Fatalf("scaling %+v", s)
				}
				if got := s.Sizes[3].Capacity; got.State != c.state {
					t.Errorf("six nodes: %+v", got)
				}
				for i, want := range c.verdicts {
					if o := res.Run.Objectives[i]; o.Verdict != want {
						t.Errorf("%s: %s because %s", o.Text, o.Verdict, o.Reason)
					}
				}
			})
		})
	}
}

// A recording of another search is not judged by this scenario.
func TestSearchFits(t *testing.T) {
	b := carrying(t, strings.Replace(sweep, "repeats: 6", "repeats: 1", 1))
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(res.Dir, "scenario.yaml")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, strings.Replace(string(text), "p99 <= 100ms", "p99 <= 900ms", 1))
		if _, err := tutti.Judge(res.Dir, b.opts.Kit); err == nil || !strings.Contains(err.Error(), "load.capacity") {
			t.Errorf("judged by another condition: %v", err)
		}
	})
}
