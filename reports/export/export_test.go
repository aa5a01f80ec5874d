package export_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports/export"
)

// runOf is a run of some recordings, whose trials all count.
func runOf(t *testing.T, recs ...*record.Recording) (*tutti.Result, []export.Trial) {
	t.Helper()
	r := &tutti.Result{Dir: t.TempDir(), Run: &rundir.Run{
		Name: "node-crash", ID: "1", Provenance: rundir.Provenance{OS: "linux/amd64", Host: map[string]string{"cpus": "8"}},
	}}
	for i, rec := range recs {
		of := analysis.Of(rec)
		trial := rundir.Trial{
			Arm: rec.Arm, Block: rec.Block, Order: i + 1, Dir: fmt.Sprintf("trials/%s-%d", rec.Arm, rec.Block), Start: rec.Zero, Valid: true, Counted: true,
			Metrics: map[string]rundir.Value{},
		}
		refs := []analysis.Ref{}
		for _, s := range analysis.Specs() {
			switch {
			case len(s.Args) > 0:
			case s.OfFault:
				for _, f := range rec.Faults {
					refs = append(refs, analysis.Ref{Metric: s.Name, Fault: f.Name})
				}
			default:
				refs = append(refs, analysis.Ref{Metric: s.Name})
			}
		}
		for _, ref := range refs {
			v := of.Metric(ref)
			spec, _ := analysis.SpecOf(ref.Metric)
			out := rundir.Value{State: v.State, Unit: spec.Unit}
			if v.State == analysis.OK || v.State == analysis.Censored {
				out.Value = &v.V
			}
			trial.Metrics[ref.String()] = out
		}
		r.Run.Trials, r.Trials = append(r.Run.Trials, trial), append(r.Trials, of)
		if !slices.Contains(r.Run.ArmOrder, rec.Arm) {
			r.Run.ArmOrder = append(r.Run.ArmOrder, rec.Arm)
		}
	}
	trials, err := export.Trials(r, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return r, trials
}

func TestTrials(t *testing.T) {
	r, all := runOf(t, analysistest.CrashRun(3)...)
	if len(all) != 6 {
		t.Fatalf("%d trials", len(all))
	}
	for _, c := range []struct {
		arm   string
		block int
		want  int
		err   string
	}{{"single", 0, 3, ""}, {"", 2, 2, ""}, {"single", 3, 1, ""}, {"singel", 0, 0, `no arm "singel"; the run has `}, {"", 4, 0, "no such trial"}} {
		got, err := export.Trials(r, c.arm, c.block)
		if len(got) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %d trials, %v", c, len(got), err)
		}
	}
	r.Trials[0] = nil
	if _, err := export.Trials(r, "", 0); err == nil {
		t.Error("a trial without a recording is no error")
	}
}

// TestHDR: a reader of the format finds every request of every trial, at the time at which it was due, and the percentiles of the analysis.
func TestHDR(t *testing.T) {
	_, trials := runOf(t, analysistest.CrashRun(2)...)
	trials[1].Of.Rec.Zero = trials[0].Of.Rec.Zero.Add(90*time.Second + 250*time.Millisecond)
	var b bytes.Buffer
	if err := export.HDR(&b, "node-crash\nTag=x,1,1,1,", trials); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "#scenario node-crash�Tag=x") {
		t.Errorf("a scenario's name ends its line: %.80q", b.String())
	}
	log := hdrhistogram.NewHistogramLogReader(bytes.NewReader(b.Bytes()))
	sums, first := map[string]*hdrhistogram.Histogram{}, map[string]int64{}
	for {
		h, err := log.NextIntervalHistogram()
		if h == nil {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.EndTimeMs()-h.StartTimeMs() != 1000 {
			t.Errorf("%s: an interval from %d to %d", h.Tag(), h.StartTimeMs(), h.EndTimeMs())
		}
		if sums[h.Tag()] == nil {
			sums[h.Tag()] = hdrhistogram.New(1, int64(2*time.Hour), 3)
			first[h.Tag()] = h.StartTimeMs()
		}
		if dropped := sums[h.Tag()].Merge(h); dropped > 0 {
			t.Errorf("%s: %d values beyond the range", h.Tag(), dropped)
		}
	}
	if len(sums) != 2*len(trials) {
		t.Errorf("%d tags of %d trials", len(sums), len(trials))
	}
	near := func(tag string, got int64, want analysis.Value) {
		t.Helper()
		limit := want.V * 1e9
		if want.State == analysis.Never {
			limit = float64(export.Never)
		}
		if math.Abs(float64(got)-limit) > 0.02*limit { // each is within 0.8 % of what was measured, and at its own rank
			t.Errorf("%s: %d ns, the analysis has %v %s", tag, got, want.V, want.State)
		}
	}
	for _, tr := range trials {
		tag := fmt.Sprintf("%s-%d", tr.Arm, tr.Block)
		all, ok := sums[tag], sums[tag+".ok"]
		if all == nil || ok == nil {
			t.Fatalf("no histogram of %s", tag)
		}
		due, good := uint64(0), uint64(0)
		for _, s := range tr.Of.Seconds() {
			due, good = due+s.Due, good+s.Good
		}
		if uint64(all.TotalCount()) != due || uint64(ok.TotalCount()) != good {
			t.Errorf("%s: %d and %d requests, want %d and %d", tag, all.TotalCount(), ok.TotalCount(), due, good)
		}
		if d := first[tag] - tr.Of.Rec.Zero.UnixMilli(); d < -1 || d > 1 {
			t.Errorf("%s begins %d ms off", tag, d)
		}
		for metric, q := range map[string]float64{"p50": 50, "p90": 90, "p99": 99} {
			near(tag+" "+metric, all.ValueAtPercentile(q), tr.Of.Metric(analysis.Ref{Metric: metric}))
			near(tag+".ok "+metric, ok.ValueAtPercentile(q), tr.Of.Metric(analysis.Ref{Metric: "ok_" + metric}))
		}
	}
	if v := trials[0].Of.Metric(analysis.Ref{Metric: "p99"}); v.State != analysis.Never {
		t.Fatal("the fixture has no failures")
	}
}

// A benchLine is a line of Go's benchmark format, by its specification.
type benchLine struct {
	name       string
	iterations int
	values     map[string]float64
}

func readBench(t *testing.T, out string) (lines []benchLine) {
	t.Helper()
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"), regexp.MustCompile(`^[a-z][^A-Z\s]*: \S`).MatchString(line), regexp.MustCompile(`^Unit \S+ better=higher$`).MatchString(line):
			continue
		}
		f := strings.Fields(line)
		if !regexp.MustCompile(`^Benchmark[A-Z0-9]`).MatchString(line) || len(f) < 4 || len(f)%2 != 0 {
			t.Fatalf("no benchmark line: %q", line)
		}
		l := benchLine{name: f[0], values: map[string]float64{}}
		var err error
		if l.iterations, err = strconv.Atoi(f[1]); err != nil || l.iterations < 1 {
			t.Errorf("iterations in %q", line)
		}
		for i := 2; i < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%q is no finite number", f[i])
			}
			l.values[f[i+1]] = v
		}
		lines = append(lines, l)
	}
	return lines
}

func TestBenchmarks(t *testing.T) {
	r, trials := runOf(t, analysistest.CrashRun(3)...)
	trials[5].Counted = false
	// An arm of which a percentile never came in one trial alone.
	one := trials[0]
	for i := range trials {
		if trials[i].Arm == one.Arm && i > 0 {
			v := 0.02
			trials[i].Metrics["p99"] = rundir.Value{State: analysis.OK, Unit: analysis.Seconds, Value: &v}
		}
	}
	other := trials[1]
	delete(trials[1].Metrics, "goodput")
	var b bytes.Buffer
	if err := export.Benchmarks(&b, r, trials); err != nil {
		t.Fatal(err)
	}
	lines := readBench(t, b.String())
	if len(lines) != 5 {
		t.Fatalf("%d lines of 5 trials that count:\n%s", len(lines), b.String())
	}
	for i, l := range lines {
		tr := trials[i]
		if l.name != "BenchmarkNodeCrash/arm="+tr.Arm+"-8" || l.iterations != 6000 {
			t.Errorf("%s %d", l.name, l.iterations)
		}
		if _, there := l.values["p99-ns"]; there && tr.Arm == one.Arm {
			t.Errorf("%s has a p99 that never came in a trial of its arm", l.name)
		}
		if _, there := l.values["goodput/s"]; there == (tr.Arm == other.Arm) {
			t.Errorf("%s: goodput is there: %v; a trial of %s has none", l.name, there, other.Arm)
		}
		for unit, want := range map[string]float64{
			"p50-ns": 1e9 * *tr.Metrics["p50"].Value, "availability-pct": 100 * *tr.Metrics["availability"].Value,
			"recovery-crash-ns": 1e9 * *tr.Metrics[`recovery{fault="crash"}`].Value, "lost_requests-crash": *tr.Metrics[`lost_requests{fault="crash"}`].Value,
		} {
			if got, ok := l.values[unit]; !ok || math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %s is %v (%v), want %v", l.name, unit, got, ok, want)
			}
		}
	}
	for _, want := range []string{"# p99 of arm " + one.Arm + " left out: it is no number in 1 of ", "left out: it does not count", "Unit availability-pct better=higher\n", "goos: linux\ngoarch: amd64\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestBenchmarksWithoutNumbers: a trial of which every metric is left out has no line; a name and a count alone are none to benchstat.
func TestBenchmarksWithoutNumbers(t *testing.T) {
	r, trials := runOf(t, analysistest.CrashRun(2)...)
	mute := trials[0].Arm
	for _, tr := range trials {
		for key := range tr.Metrics {
			if tr.Arm == mute {
				tr.Metrics[key] = rundir.Value{State: analysis.Never}
			}
		}
	}
	var b bytes.Buffer
	if err := export.Benchmarks(&b, r, trials); err != nil {
		t.Fatal(err)
	}
	lines := readBench(t, b.String())
	if len(lines) != 2 {
		t.Errorf("%d lines of 2 trials that have numbers:\n%s", len(lines), b.String())
	}
	for _, l := range lines {
		if strings.Contains(l.name, "arm="+mute) {
			t.Errorf("%s has a line", mute)
		}
	}
	if !strings.Contains(b.String(), "# p50 of arm "+mute+" left out") {
		t.Errorf("nothing says why %s has no line:\n%s", mute, b.String())
	}
}

// TestNames: arms whose names become the same word stay apart, a name that ends like processors keeps its end, and nothing
// that a name holds begins a line or a field.
func TestNames(t *testing.T) {
	hostile := "a b\n\"BenchmarkX 1 2 ns/op\x1b[31m,=cmd|calc"
	var recs []*record.Recording
	for i, arm := range []string{"node-3", "a b", "a_b", hostile} {
		tr := analysistest.Crash("x", 1, 1)
		tr.Arm, tr.Order, tr.For = arm, i+1, 12*time.Second
		tr.Faults[0].Name = hostile
		recs = append(recs, tr.Recording())
	}
	r, trials := runOf(t, recs...)
	r.Run.Name, r.Run.ID, r.Run.Provenance.OS = "x "+hostile, hostile, hostile+"/"+hostile
	var b, h bytes.Buffer
	if err := errors.Join(export.Benchmarks(&b, r, trials), export.HDR(&h, r.Run.Name, trials)); err != nil {
		t.Fatal(err)
	}
	lines := readBench(t, b.String())
	seen := map[string]bool{}
	for _, l := range lines {
		if !strings.HasSuffix(l.name, "-8") || seen[l.name] {
			t.Errorf("%s twice, or without processors", l.name)
		}
		seen[l.name] = true
	}
	if len(lines) != 4 || !strings.Contains(lines[0].name, "/arm=node-3-8") {
		t.Errorf("%d lines, the first %s", len(lines), lines[0].name)
	}
	log := hdrhistogram.NewHistogramLogReader(&h)
	tags := map[string]bool{}
	for h, err := log.NextIntervalHistogram(); h != nil; h, err = log.NextIntervalHistogram() {
		if err != nil {
			t.Fatal(err)
		}
		tags[h.Tag()] = true
	}
	if len(tags) != 8 {
		t.Errorf("tags %v", tags)
	}
	for _, table := range export.Tables() {
		var c bytes.Buffer
		if err := export.CSV(&c, table, trials); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(c.String(), func(r rune) bool { return r < 0x20 && r != '\n' && r != '\r' || r == 0x7f }); i >= 0 {
			t.Errorf("%s has a character that steers", table.Name)
		}
	}
}

// table reads a table back.
func table(t *testing.T, name string, trials []export.Trial) (head []string, rows [][]string) {
	t.Helper()
	i := slices.IndexFunc(export.Tables(), func(x export.Table) bool { return x.Name == name })
	var b bytes.Buffer
	if err := export.CSV(&b, export.Tables()[i], trials); err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(&b).ReadAll() // rows of another length are an error
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return all[0], all[1:]
}

func TestCSV(t *testing.T) {
	_, trials := runOf(t, analysistest.CrashRun(1)...)
	trials[0].Of.Rec.Events[0].Detail, trials[0].Of.Rec.Events[0].Node = `=HYPERLINK("x")`, "a\r\n\"b\""
	head, rows := table(t, "timeline", trials)
	col := func(head []string, name string) int {
		i := slices.Index(head, name)
		if i < 0 {
			t.Fatalf("no column %s in %v", name, head)
		}
		return i
	}
	due, never := 0, false
	for _, r := range rows {
		n, err := strconv.Atoi(r[col(head, "due")])
		if err != nil {
			t.Error(err)
		}
		due += n
		never = never || r[col(head, "p99_s")] == "never"
	}
	if len(rows) != 60 || due != 12000 || !never {
		t.Errorf("%d rows, %d requests, never: %v", len(rows), due, never)
	}
	head, rows = table(t, "percentiles", trials)
	if want := 2 * 4 * 7; len(rows) != want {
		t.Errorf("%d rows of percentiles, want %d", len(rows), want)
	}
	for _, r := range rows {
		if r[0] == trials[0].Arm && r[col(head, "phase")] == "before" && r[col(head, "share")] == "0.5" {
			if v := trials[0].Of.Metric(analysis.Ref{Metric: "p50", Phase: analysis.Before}); r[col(head, "response_s")] != strconv.FormatFloat(v.V, 'g', -1, 64) {
				t.Errorf("p50 before is %s, want %v", r[col(head, "response_s")], v.V)
			}
		}
	}
	head, rows = table(t, "errors", trials)
	bad := 0
	for _, r := range rows {
		n, _ := strconv.Atoi(r[col(head, "requests")])
		bad += n
	}
	want := uint64(0)
	for _, tr := range trials {
		for _, e := range tr.Of.Errors() {
			want += e.Count
		}
	}
	if uint64(bad) != want || bad == 0 {
		t.Errorf("%d bad requests, want %d", bad, want)
	}
	head, rows = table(t, "events", trials)
	if r := rows[0]; r[col(head, "detail")] != `'=HYPERLINK("x")` || r[col(head, "node")] != `a��"b"` {
		t.Errorf("%q", r)
	}
	head, rows = table(t, "faults", trials)
	if r := rows[0]; len(rows) != 2 || r[col(head, "fault")] != "crash" || r[col(head, "proven")] != "true" || r[col(head, "onset_to_s")] == "" {
		t.Errorf("%q", rows)
	}
	head, rows = table(t, "trials", trials)
	i := slices.IndexFunc(rows, func(r []string) bool { return r[col(head, "metric")] == "availability" })
	if i < 0 || rows[i][col(head, "value")] != strconv.FormatFloat(*trials[0].Metrics["availability"].Value, 'g', -1, 64) {
		t.Errorf("%q", rows)
	}
}

// TestVegeta: what was recorded in any of vegeta's encodings, by one agent or several, is read by vegeta's decoder in any other.
func TestVegeta(t *testing.T) {
	_, trials := runOf(t, analysistest.CrashRun(1)...)
	dir := t.TempDir()
	folder := filepath.Join(dir, "trials", fmt.Sprintf("%s-1", trials[0].Arm))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	encoders := map[string]func(io.Writer) vegeta.Encoder{"gob": vegeta.NewEncoder, "csv": vegeta.NewCSVEncoder, "json": vegeta.NewJSONEncoder}
	for ext, encoder := range encoders {
		for _, names := range [][]string{{"requests." + ext}, {"requests-1." + ext, "requests-2." + ext}, {"requests-1.gob", "requests-2." + ext}} {
			if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(filepath.Join(folder, "requests.gob.d"), 0o755), os.WriteFile(filepath.Join(folder, "requests.txt"), []byte("x"), 0o644)); err != nil {
				t.Fatal(err)
			}
			want := map[uint64]vegeta.Result{}
			for k, name := range names {
				f, err := os.Create(filepath.Join(folder, name))
				if err != nil {
					t.Fatal(err)
				}
				e := encoder(f)
				if strings.HasSuffix(name, ".gob") {
					e = vegeta.NewEncoder(f)
				}
				for i := range 7 + k {
					r := vegeta.Result{
						Attack: "cluster", Seq: uint64(100*k + i), Code: 200, Timestamp: time.Unix(1700000000, int64(i)).UTC(), Latency: time.Millisecond, BytesIn: 5, Method: "GET", URL: "http://lb:8080/",
					}
					if i == 3 {
						r.Code, r.Error = 0, "timeout, \"x\"\n"
					}
					want[r.Seq] = r
					if err := e.Encode(&r); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for _, format := range export.VegetaFormats() {
				var b bytes.Buffer
				if err := export.Vegeta(&b, dir, trials[0], format); err != nil {
					t.Fatal(err)
				}
				d, n := vegeta.DecoderFor(&b), 0
				for {
					var r vegeta.Result
					err := d.Decode(&r)
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatalf("%v to %s: %v", names, format, err)
					}
					w := want[r.Seq]
					if n++; r.Code != w.Code || r.Error != w.Error || r.Latency != w.Latency || !r.Timestamp.Equal(w.Timestamp) || r.Attack != w.Attack || r.URL != w.URL {
						t.Errorf("%v to %s: %+v, want %+v", names, format, r, w)
					}
				}
				if n != len(want) {
					t.Errorf("%v to %s: %d requests, want %d", names, format, n, len(want))
				}
			}
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "requests-3.csv"), []byte("no results\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := export.Vegeta(io.Discard, dir, trials[0], "vegeta-csv"); err == nil {
		t.Error("a broken recording is no error")
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := export.Vegeta(io.Discard, dir, trials[0], "vegeta-csv"); !errors.Is(err, export.ErrNotRecorded) || !strings.Contains(err.Error(), "tutti run --record vegeta-csv") {
		t.Errorf("not recorded: %v", err)
	}
	trials[0].Dir = "../../etc"
	if err := export.Vegeta(io.Discard, dir, trials[0], "vegeta-csv"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("outside of the run's folder: %v", err)
	}
}
