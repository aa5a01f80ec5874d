package reports_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/reports"
)

var update = flag.Bool("update", false, "write the golden files anew")

// formats are all renderers, by the end of their golden file's name.
var formats = map[string]func(io.Writer, *tutti.Result) error{
	"html": reports.HTML,
	"md":   reports.Markdown,
	"xml":  reports.JUnit,
	"txt": func(w io.Writer, r *tutti.Result) error {
		return reports.Text(w, r, reports.TextOptions{Width: 80, Path: "runs/node-crash-20260923T140211/report.html"})
	},
}

// steady is one arm without a fault and without a baseline.
func steady() *tutti.Result {
	var recs []*record.Recording
	for b := 1; b <= 3; b++ {
		recs = append(recs, analysistest.Trial{Block: b, Order: b, Seed: int64(b), For: 10 * time.Second}.Recording())
	}
	r := runOf(recs)
	r.Run.Name, r.Source = "steady", []byte("version: 1\nname: steady\n")
	return r
}

// arms is three arms and a baseline, one trial of each.
func arms() *tutti.Result {
	r := runOf([]*record.Recording{
		analysistest.Crash("single", 1, 1).Recording(), analysistest.Crash("cluster", 3, 1).Recording(),
		analysistest.Crash("pair", 2, 1).Recording(), analysistest.Crash("five", 5, 1).Recording(),
	})
	r.Run.Baseline = "single"
	r.Run.Verdict, r.Run.ExitCode = rundir.Inconclusive, 12
	o := objective("cluster.availability >= 98%", ">=", 0.98, slo.Absolute, rundir.Value{Unit: analysis.Ratio, State: analysis.NoData}, rundir.Inconclusive, "cluster")
	o.Reason = "One trial is too few for an interval."
	r.Run.Objectives = []rundir.Objective{o}
	return r
}

// failed is a run whose single arm never came back.
func failed() *tutti.Result {
	t := analysistest.Trial{
		Arm: "target", For: 20 * time.Second, Replicas: 1,
		Faults: []record.Fault{analysistest.Fault("crash", "kill", "app-1", 8*time.Second, record.None)},
		Events: analysistest.Down("app-1", "crash", 8*time.Second, record.None),
	}
	t.Each = dead(t, 8*time.Second)
	r := runOf([]*record.Recording{t.Recording()})
	r.Run.Verdict, r.Run.ExitCode = rundir.Fail, 10
	v := r.Run.Arms["target"].Metrics
	r.Run.Objectives = []rundir.Objective{
		objective("target.availability >= 99%", ">=", 0.99, slo.Absolute, v["availability"], rundir.Fail, "target"),
		objective("target.recovery <= 5s", "<=", 5, slo.Absolute, v[`recovery{fault="crash"}`], rundir.Fail, "target"),
	}
	for i := range r.Run.Objectives {
		r.Run.Objectives[i].N, r.Run.Objectives[i].Line = 1, 28+i
		r.Run.Objectives[i].Note = "judged on the worst trial"
	}
	return r
}

// invalid is a run of which one block lost its recording and another its proof.
func invalid() *tutti.Result {
	r := crash(3)
	r.Run.Verdict, r.Run.ExitCode = rundir.Invalid, 13
	r.Run.Reasons = []string{"block 2: fault \"crash\" has no proof of effect on app-1", "2 of 3 blocks count"}
	r.Trials[0] = nil
	for i := range r.Run.Trials {
		if t := &r.Run.Trials[i]; t.Block != 3 {
			t.Counted, t.Valid = false, t.Block == 1 && t.Arm == "cluster"
			t.Problems = []string{"the recording is missing"}
		}
	}
	r.Run.Faults[2].Proven, r.Run.Faults[2].Problem = false, "no die event within 5 s"
	for i := range r.Run.Objectives {
		r.Run.Objectives[i].Verdict = rundir.Invalid
	}
	return r
}

// nemesis is a run with eight faults that overlap, and all that can become of one.
func nemesis() *tutti.Result {
	var recs []*record.Recording
	for i, arm := range []string{"single", "cluster"} {
		t := analysistest.Trial{Arm: arm, Block: 1, Order: i + 1, Seed: 7, For: 40 * time.Second, Replicas: []int{1, 3}[i]}
		for k := range 8 {
			from := time.Duration(5+3*k) * time.Second
			f := analysistest.Fault(fmt.Sprintf("nemesis-%d", k+1), "latency", analysistest.Node(k%t.Replicas+1), from, from+5*time.Second)
			f.Means, f.Drawn = "packets queued to a helper that holds them (NFQUEUE)", "nemesis"
			f.Proof[0].What = "helper: delayed"
			f.Proof = append(f.Proof, record.Proof{Node: f.Nodes[0], What: "helper: ended", OK: true, Asked: "delay 100ms", Delivered: fmt.Sprintf("100.%d ms at the median of 4,0%d packets", k, 10+k)})
			t.Faults = append(t.Faults, f)
		}
		slow := func(s *record.Sample, _ *rand.Rand) {
			if s.Due > 5*time.Second && s.Due < 31*time.Second {
				s.Done += 100 * time.Millisecond
			}
		}
		t.Each = slow
		f := &t.Faults[2]
		f.Renewed = []string{f.Nodes[0] + ": in force again 0.31 s after its restart at 12.40 s"}
		f.Collateral = []string{"app-9: unhealthy at 13.02 s"}
		t.Faults[4].Ended, t.Faults[4].Verb, t.Faults[4].Trigger, t.Faults[4].Drawn = record.EndedBack, "crash", "2s after nemesis-1 healed", ""
		t.Faults[4].Proof = t.Faults[4].Proof[:1]
		last := &t.Faults[7].Proof[1]
		last.OK, last.Delivered = false, "12 ms at the median of 15 packets"
		t.Faults[6].Role = `get http://:2379/metrics, contains "etcd_server_is_leader 1"`
		recs = append(recs, t.Recording())
	}
	r := runOf(recs)
	r.Run.Name, r.Run.Baseline, r.Run.Verdict, r.Run.ExitCode = "nemesis", "single", rundir.Invalid, 13
	r.Run.Reasons = []string{`block 1: cluster: fault "nemesis-8" did too little on app-2: asked delay 100ms, delivered 12 ms at the median of 15 packets`}
	return r
}

// interrupted is a run that was stopped in its second trial.
func interrupted() *tutti.Result {
	r := crash(1)
	r.Run.Verdict, r.Run.ExitCode, r.Run.Repeats = rundir.Interrupted, 130, 6
	r.Run.Reasons = []string{"interrupted by the user in block 1"}
	r.Trials = r.Trials[:1]
	for i := range r.Run.Trials {
		r.Run.Trials[i].Counted = false
	}
	r.Run.Trials[1].Valid = false
	r.Run.Objectives, r.Run.Arms = nil, nil
	return r
}

// errored is a run that never had a trial.
func errored() *tutti.Result {
	return &tutti.Result{Run: &rundir.Run{
		Name: "node-crash", Verdict: rundir.Errored, ExitCode: 30, Repeats: 6, ArmOrder: []string{"single", "cluster"}, Baseline: "single",
		Reasons: []string{"starting the target: image \"web:1\" is not here and cannot be pulled: no route to registry; pull it by hand"},
	}}
}

var cases = map[string]func() *tutti.Result{
	"crash": func() *tutti.Result { return crash(6) }, "many": func() *tutti.Result { return crash(8) },
	"steady": steady, "arms": arms, "failed": failed,
	"invalid": invalid, "interrupted": interrupted, "errored": errored, "hostile": attacked, "nemesis": nemesis,
}

func TestGolden(t *testing.T) {
	for name, of := range cases {
		r := of()
		for ext, draw := range formats {
			if ext == "html" && (name == "arms" || name == "many" || name == "interrupted") {
				continue // large, and of what the others have; TestPage reads them
			}
			t.Run(name+"."+ext, func(t *testing.T) {
				golden(t, filepath.Join("testdata", name+"."+ext), render(t, r, draw))
			})
		}
	}
}

func render(t *testing.T, r *tutti.Result, draw func(io.Writer, *tutti.Result) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := draw(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s, line %d (run with -update if this is meant):\n got %.400s\nwant %.400s", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", path, len(g), len(w))
}

// TestSameBytes draws the same result twice: maps must not show.
func TestSameBytes(t *testing.T) {
	r := crash(3)
	for ext, draw := range formats {
		if !bytes.Equal(render(t, r, draw), render(t, r, draw)) {
			t.Errorf("%s: two drawings of one result differ", ext)
		}
	}
}

// TestMildAxis: seconds that are all above 90 % are drawn on an axis of nines, deeper ones on one from 0.
func TestMildAxis(t *testing.T) {
	for _, c := range []struct {
		every int // one request in so many is bad
		want  string
	}{{50, "99.9\u00a0%"}, {5, "50\u00a0%"}, {0, "50\u00a0%"}} {
		tr := analysistest.Trial{For: 10 * time.Second}
		tr.Each = func(s *record.Sample, _ *rand.Rand) {
			if c.every > 0 && s.Due > 4*time.Second && s.Seq%uint64(c.every) == 0 {
				s.Class = record.Wrong
			}
		}
		all, err := reports.Figures(runOf([]*record.Recording{tr.Recording()}))
		if err != nil || !strings.Contains(string(all[0].SVG), ">"+c.want+"<") {
			t.Errorf("one in %d bad: no tick at %s (%v)", c.every, c.want, err)
		}
	}
}

// TestOddRuns draws recordings that no scenario gives on purpose.
func TestOddRuns(t *testing.T) {
	allBad := analysistest.Trial{For: 3 * time.Second}
	allBad.Each = dead(allBad, -time.Hour)
	short := analysistest.Trial{For: 150 * time.Millisecond, Rate: 3}.Recording()
	empty := analysistest.Trial{For: time.Second}.Recording()
	empty.Bins, empty.Nodes = nil, nil
	early := analysistest.Trial{Faults: []record.Fault{{Name: "f", Verb: "kill", At: time.Second}}}.Recording()
	late := analysistest.Trial{Faults: []record.Fault{analysistest.Fault("f", "kill", "app-1", time.Hour, record.None)}}.Recording()
	for name, rec := range map[string]*record.Recording{
		"all bad": allBad.Recording(), "short": short, "empty": empty, "never began": early, "after the load": late, "nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			r := runOf([]*record.Recording{rec})
			for ext, draw := range formats {
				if out := string(render(t, r, draw)); strings.Contains(out, "NaN") || strings.Contains(out, "Inf") || strings.Contains(out, "could not be drawn") {
					t.Errorf("%s has NaN, Inf or a broken figure", ext)
				}
			}
		})
	}
	for _, r := range []*tutti.Result{{}, {Run: &rundir.Run{}}, {Run: &rundir.Run{Trials: []rundir.Trial{{Arm: "a", Block: 1}}}, Trials: []*analysis.Trial{nil, nil, nil}}} {
		for _, draw := range formats {
			render(t, r, draw)
		}
	}
}
