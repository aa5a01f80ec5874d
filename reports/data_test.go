package reports_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/stats"
	"github.com/tutti-bench/tutti/reports"
)

// estimated is the usual run with the estimates that a judge makes, as run.json has them.
func estimated(blocks int) *tutti.Result {
	r := crash(blocks)
	for name := range r.Run.Arms {
		arm := rundir.Arm{Metrics: map[string]rundir.Value{}, Phases: map[analysis.Phase]map[string]rundir.Value{}}
		var trials []*analysis.Trial
		for _, t := range r.Trials {
			if t.Rec.Arm == name {
				trials = append(trials, t)
			}
		}
		for _, ref := range refs(trials[0].Rec) {
			spec, _ := analysis.SpecOf(ref.Metric)
			for _, p := range append(analysis.Phases(), analysis.Whole) {
				if p != analysis.Whole && !spec.Phased {
					continue
				}
				ref.Phase = p
				var vs []analysis.Value
				for _, t := range trials {
					vs = append(vs, t.Metric(ref))
				}
				into := arm.Metrics
				if p != analysis.Whole {
					if arm.Phases[p] == nil {
						arm.Phases[p] = map[string]rundir.Value{}
					}
					into = arm.Phases[p]
				}
				into[ref.String()] = valueOf(slo.EstimateOf(vs, spec))
			}
		}
		r.Run.Arms[name] = arm
	}
	c := r.Run.Arms["cluster"].Metrics
	for i, metric := range []string{"availability", "p95", `recovery{fault="crash"}`} {
		r.Run.Objectives[i].Value = c[metric]
	}
	return r
}

func valueOf(e slo.Estimate) rundir.Value {
	keep := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	v := rundir.Value{Unit: e.Unit, State: e.State, N: e.N}
	if e.State == analysis.OK || e.State == analysis.Censored {
		v.Value = keep(e.Value)
	}
	if e.HasInterval {
		v.Low, v.High = keep(e.Low), keep(e.High)
	}
	return v
}

func dataOf(t *testing.T, es []*html.Node) *reports.Data {
	t.Helper()
	var d reports.Data
	for _, e := range es {
		if attr(e, "id") == "run-data" {
			if err := json.Unmarshal([]byte(text(e)), &d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d.Schema != reports.DataSchema {
		t.Fatalf("the page's data has the schema %q", d.Schema)
	}
	return &d
}

// An outsider computes metrics from a page's data alone, without any of our own code for metrics.
type outsider struct {
	*reports.DataTrial
	columns map[[2]string]analysis.Value // by phase and metric, where the trial itself has no more
}

// outsiders are the data's trials.
func outsiders(d *reports.Data) []outsider {
	out := make([]outsider, len(d.Trials))
	for i := range d.Trials {
		out[i].DataTrial = &d.Trials[i]
		for _, c := range d.Columns {
			v := analysis.Value{State: analysis.OK}
			if s, other := c.States[i]; other {
				v.State = s
			}
			if c.Values[i] != nil {
				v.V = *c.Values[i]
			}
			if out[i].columns == nil {
				out[i].columns = make(map[[2]string]analysis.Value)
			}
			out[i].columns[[2]string{c.Phase, c.Metric}] = v
		}
	}
	return out
}

// counted are those that count, by arm.
func counted(d *reports.Data) map[string][]outsider {
	arms := make(map[string][]outsider)
	for _, o := range outsiders(d) {
		if o.Counted {
			arms[o.Arm] = append(arms[o.Arm], o)
		}
	}
	return arms
}

func spread2(runs []uint64) (out []uint64) {
	for i := 0; i+1 < len(runs); i += 2 {
		for range runs[i+1] {
			out = append(out, runs[i])
		}
	}
	return out
}

func sum(vs []uint64) (n uint64) {
	for _, v := range vs {
		n += v
	}
	return n
}

// part merges the parts of a phase; of the whole, all.
func (o outsider) part(phase string) (due, good uint64, ok *record.Hist, length float64) {
	ok = new(record.Hist)
	for name, p := range o.Parts {
		if phase == "" || name == phase {
			due, good, length = due+p.Due, good+p.Good, length+p.Length
			ok.Merge(p.OK)
		}
	}
	if phase == "" {
		length = o.For
	}
	return due, good, ok, length
}

func (o outsider) metric(phase, name string) analysis.Value {
	if o.columns != nil {
		v, there := o.columns[[2]string{phase, name}]
		if !there {
			v, there = o.columns[[2]string{phase, name + `{fault="crash"}`}]
		}
		if !there {
			return analysis.Missing("not in the data")
		}
		return v
	}
	due, good, ok, length := o.part(phase)
	if due == 0 {
		return analysis.Missing("nothing due")
	}
	percentile := func(of uint64, q uint64) analysis.Value {
		k := (q*of + 9999) / 10000
		d, there := ok.Rank(k)
		if !there {
			return analysis.Value{State: analysis.Never}
		}
		return analysis.Good(d.Seconds())
	}
	switch name {
	case "availability":
		return analysis.Good(float64(good) / float64(due))
	case "goodput":
		return analysis.Good(float64(good) / length)
	case "p50":
		return percentile(due, 5000)
	case "p95":
		return percentile(due, 9500)
	case "p99":
		return percentile(due, 9900)
	case "ok_p99":
		return percentile(good, 9900)
	case "downtime", "affordable(99.9%)":
		down := o.downtime()
		if name == "downtime" {
			return analysis.Good(down)
		}
		return analysis.Good(0.001 * 30 * 86400 / down)
	case "lost_requests":
		return analysis.Good(o.lost())
	case "recovery":
		return o.recovery()
	}
	v, there := o.Metrics[name]
	if !there {
		v, there = o.Metrics[name+`{fault="crash"}`]
	}
	switch {
	case !there:
		return analysis.Missing("not in the data")
	case v.Value != nil:
		return analysis.Value{V: *v.Value, State: v.State}
	}
	return analysis.Value{State: v.State}
}

func (o outsider) downtime() float64 {
	due, good := spread2(o.Due), spread2(o.Good)
	down := 0.0
	for i := 0; i < len(due); i += 10 {
		to := min(i+10, len(due))
		if d := sum(due[i:to]); d > 0 {
			down += math.Min(1, o.For-float64(i)/10) * float64(d-sum(good[i:to])) / float64(d)
		}
	}
	return down
}

// lost counts what was bad beyond the share before from onset − timeout on; the fixture has one fault.
func (o outsider) lost() float64 {
	due, good := spread2(o.Due), spread2(o.Good)
	from := int(math.Floor((o.Faults[0].Onset[1]-o.Timeout)*10 + 1e-9))
	d, g := sum(due[from:]), sum(good[from:])
	beforeDue, beforeGood, _, _ := o.part("before")
	return math.Max(0, float64(d-g)-float64(d)*float64(beforeDue-beforeGood)/float64(beforeDue))
}

// recovery is the first stretch of max(5 s, 200/rate) from the onset on that is as good as before, less a point.
func (o outsider) recovery() analysis.Value {
	due, good := spread2(o.Due), spread2(o.Good)
	onset, hold := o.Faults[0].Onset[1], math.Max(5, 200/o.Rate)
	d, g, _, _ := o.part("before")
	level := float64(g)/float64(d) - 0.01
	n := int(math.Ceil(hold*10 - 1e-9))
	for i := int(math.Ceil(onset*10 - 1e-9)); i+n <= len(due) && float64(i)/10+hold <= o.For+1e-9; i++ {
		if due[i] > 0 && good[i] == due[i] && float64(sum(good[i:i+n])) >= level*float64(sum(due[i:i+n]))-1e-9 {
			return analysis.Good(float64(i)/10 - onset)
		}
	}
	return analysis.Value{State: analysis.Censored, V: o.For - hold - onset}
}

// TestRecomputed: every table of the page can be computed again from the data that the page carries.
func TestRecomputed(t *testing.T) {
	r := estimated(6)
	es := elements(t, render(t, r, reports.HTML))
	d := dataOf(t, es)
	if len(d.Trials) != len(r.Trials) {
		t.Fatalf("the data has %d trials, the run %d", len(d.Trials), len(r.Trials))
	}
	arms := counted(d)
	estimate := estimatorOf(t, arms)
	recomputePhases(t, es, arms, estimate)
	recomputeEvents(t, es, estimate)
	recomputeErrors(t, es, arms)
	recomputeWorst(t, es, arms)
	recomputeSpectrum(t, es, arms)
	recomputeTimeline(t, es, arms, d)
	recomputeHeat(t, es, arms, d)
	recomputeTraffic(t, es, d)
	recomputeAnswered(t, es, arms)
	recomputeOrder(t, es, d)
	for i, metric := range []string{"availability", "p95", "recovery"} {
		row := rowsOf(t, es, "t-objectives")[i]
		found(t, "again: "+row[1][0], row[2][0], row[3][0], "", estimate("cluster", "", metric))
	}
	tiles := map[string]rundir.Value{
		"Availability": estimate("cluster", "", "availability"), "Lost per fault": estimate("cluster", "", "lost_requests"),
		"Recovered in": estimate("cluster", "", "recovery"), "p99, all requests": estimate("cluster", "", "p99"), "30\u00a0days afford": estimate("cluster", "", "affordable(99.9%)"),
	}
	for _, e := range es {
		if e.Data != "dl" || attr(e, "class") != "tiles" {
			continue
		}
		for _, k := range kids(e, "div") {
			label, dd := text(kids(k, "dt")[0]), kids(k, "dd")
			if v, ok := tiles[label]; ok {
				unit := ""
				for _, u := range kids(dd[0], "span") {
					unit = text(u)
				}
				found(t, "tile "+label, strings.TrimSuffix(text(dd[0]), unit), text(dd[1]), unit, v)
				delete(tiles, label)
			}
		}
	}
	if len(tiles) > 0 {
		t.Errorf("no tiles for %v", tiles)
	}
}

// TestRecomputedThin: the same where the data had to leave out what the trials have by phase.
func TestRecomputedThin(t *testing.T) {
	r := estimated(6)
	es := elements(t, render(t, r, func(w io.Writer, r *tutti.Result) error { return reports.ThinHTML(w, r, 40_000) }))
	d := dataOf(t, es)
	if len(d.Trials) != 12 || d.Trials[0].Parts != nil || d.Trials[0].Metrics != nil || d.Trials[0].Lag != nil || len(d.LeftOut) != 1 {
		t.Fatalf("the data of %d trials is not thin: left out is %q", len(d.Trials), d.LeftOut)
	}
	arms, sums := counted(d), make(map[string][]outsider)
	for arm, parts := range d.Arms {
		sums[arm] = []outsider{{DataTrial: &reports.DataTrial{Parts: parts}}}
	}
	estimate := estimatorOf(t, arms)
	recomputePhases(t, es, arms, estimate)
	recomputeEvents(t, es, estimate)
	recomputeErrors(t, es, sums)
	recomputeWorst(t, es, arms)
	recomputeSpectrum(t, es, sums)
	recomputeTimeline(t, es, arms, d)
	recomputeHeat(t, es, sums, d)
	recomputeTraffic(t, es, d)
	recomputeOrder(t, es, d)
	for _, f := range []struct {
		table string
		of    []reports.DataCurve
		step  int
	}{{"t-f2", d.Figures.Answered, 5}, {"t-f3", d.Figures.Worst, 1}} {
		for i, row := range rowsOf(t, es, f.table) {
			for k, c := range f.of {
				same(t, "again: "+f.table, row[0][0], "", c.X[i*f.step])
				same(t, "again: "+f.table, row[1+k][0], "%", c.Share[i*f.step])
			}
		}
	}
	none := dataOf(t, elements(t, render(t, r, func(w io.Writer, r *tutti.Result) error { return reports.ThinHTML(w, r, 1000) })))
	if len(none.Trials) != 0 || none.Columns != nil || len(none.Arms) != 2 || len(none.LeftOut) != 1 {
		t.Errorf("without room the data has %d trials, %d columns, %d arms, and left out is %q", len(none.Trials), len(none.Columns), len(none.Arms), none.LeftOut)
	}
}

type estimator func(arm, phase, metric string) rundir.Value

func estimatorOf(t *testing.T, arms map[string][]outsider) estimator {
	t.Helper()
	return func(arm, phase, metric string) rundir.Value {
		name, _, _ := strings.Cut(metric, "(")
		spec, ok := analysis.SpecOf(name)
		if !ok {
			t.Fatalf("no metric %s", name)
		}
		var vs []analysis.Value
		for _, o := range arms[arm] {
			vs = append(vs, o.metric(phase, metric))
		}
		return valueOf(slo.EstimateOf(vs, spec))
	}
}

func recomputePhases(t *testing.T, es []*html.Node, arms map[string][]outsider, estimate estimator) {
	t.Helper()
	metrics := map[string]string{"availability": "availability", "good answers": "goodput", "p50": "p50", "p95": "p95", "p99": "p99", "p99 of good ones alone": "ok_p99"}
	phases := map[string]string{"Before the fault": "before", "During: from onset to heal": "during", "After the heal": "after", "Whole trial": ""}
	phase, n := "", 0
	for _, row := range rowsOf(t, es, "t-phases") {
		if len(row) == 1 {
			phase = phases[row[0][0]]
			continue
		}
		label, unit, _ := strings.Cut(row[0][0], ",\u00a0")
		metric, ok := metrics[label]
		if !ok {
			t.Errorf("a row about %q, which nobody computes again", label)
			continue
		}
		for i, arm := range []string{"cluster", "single"} {
			found(t, "again: "+arm+" "+label+" "+phase, row[1+i][0], row[1+i][1], unit, estimate(arm, phase, metric))
			n++
		}
		if strings.HasPrefix(row[3][0], "×") && !(phase == "before" && metric == "p50") { // that one is the fixture's own objective
			factor(t, "again: "+label+" "+phase, row[3], arms, phase, metric)
			n++
		}
	}
	if n < 50 {
		t.Errorf("only %d numbers by phase were computed again", n)
	}
}

// factor computes a comparison again: Hodges–Lehmann over the blocks' ratios in logs.
func factor(t *testing.T, what string, printed [2]string, arms map[string][]outsider, phase, metric string) {
	t.Helper()
	var logs []float64
	for _, c := range arms["cluster"] {
		for _, s := range arms["single"] {
			if c.Block == s.Block {
				logs = append(logs, math.Log(c.metric(phase, metric).V/s.metric(phase, metric).V))
			}
		}
	}
	low, _, _ := stats.SignedRankBounds(logs, 0.025)
	_, high, _ := stats.SignedRankBounds(logs, 0.025)
	mid, lo, hi := math.Exp(stats.HodgesLehmann(logs)), math.Exp(low), math.Exp(high)
	same(t, what, printed[0], "", mid)
	sameInterval(t, what, printed[1], "", rundir.Value{Low: &lo, High: &hi}, 0)
}

func recomputeEvents(t *testing.T, es []*html.Node, estimate estimator) {
	t.Helper()
	metrics := map[string]string{
		"first error": "first_error", "no longer tried": "detection", "served again while the fault is on": "failover", "recovered": "recovery",
		"lost requests": "lost_requests", "share back, from the fault’s end": "rebalanced", "lost at least, by the health check": "floor", "lost beyond that": "loss_over_floor",
		"downtime, bad share of each second summed": "downtime", "longest silence": "longest_silence", "times that 30 days afford this at 99.9\u00a0%": "affordable(99.9%)",
	}
	for _, row := range rowsOf(t, es, "t-events") {
		if len(row) == 1 {
			continue
		}
		label, unit := row[0][0], ""
		if at := strings.LastIndex(label, ",\u00a0"); at > 0 {
			label, unit = label[:at], label[at+len(",\u00a0"):]
		}
		metric, ok := metrics[label]
		if !ok {
			t.Errorf("a row about %q, which nobody computes again", label)
			continue
		}
		for i, arm := range []string{"cluster", "single"} {
			found(t, "again: "+arm+" "+label, row[1+i][0], row[1+i][1], unit, estimate(arm, "", metric))
		}
	}
}

func recomputeErrors(t *testing.T, es []*html.Node, arms map[string][]outsider) {
	t.Helper()
	arm := ""
	for _, row := range rowsOf(t, es, "t-errors") {
		if len(row) == 1 {
			arm = row[0][0]
			continue
		}
		class, _, _ := strings.Cut(row[0][0], ":")
		all := uint64(0)
		for i, phase := range []string{"before", "during", "after", ""} {
			n := uint64(0)
			for _, o := range arms[arm] {
				for _, b := range o.Parts[phase].Bad {
					if b.Class == class || strings.HasPrefix(row[0][0], "all bad") {
						n += b.Count
					}
				}
			}
			same(t, "again: "+arm+" "+class+" "+phase, row[2+i][0], "", float64(n))
			all += n
		}
		same(t, "again: "+arm+" "+class, row[6][0], "", float64(all))
	}
}

// recomputeWorst: figure 3.
func recomputeWorst(t *testing.T, es []*html.Node, arms map[string][]outsider) {
	t.Helper()
	for _, row := range rowsOf(t, es, "t-f3") {
		w := int(math.Round(parseSeconds(t, row[0][0]) * 10))
		for i, arm := range []string{"cluster", "single"} {
			var vs []float64
			for _, o := range arms[arm] {
				due, good, least := spread2(o.Due), spread2(o.Good), 1.0
				for k := 0; k+w <= len(due); k++ {
					if d := sum(due[k : k+w]); d > 0 {
						least = math.Min(least, float64(sum(good[k:k+w]))/float64(d))
					}
				}
				vs = append(vs, least)
			}
			same(t, "again: worst "+row[0][0]+" of "+arm, row[1+i][0], "%", stats.Median(vs))
		}
	}
}

// recomputeSpectrum: figure 8.
func recomputeSpectrum(t *testing.T, es []*html.Node, arms map[string][]outsider) {
	t.Helper()
	phases := map[string]string{"Before the fault": "before", "During": "during", "After the heal": "after"}
	phase := ""
	for _, row := range rowsOf(t, es, "t-f8") {
		if len(row) == 1 {
			phase = phases[row[0][0]]
			continue
		}
		var due uint64
		all := new(record.Hist)
		for _, o := range arms[row[0][0]] {
			d, _, ok, _ := o.part(phase)
			due += d
			all.Merge(ok)
		}
		same(t, "again: requests "+phase, row[len(row)-1][0], "", float64(due))
		for i, q := range []uint64{5000, 9000, 9900, 9990} {
			d, there := all.Rank((q*due + 9999) / 10_000)
			switch got := row[1+i][0]; {
			case got == "" && due*(10_000-q) < 10*10_000: // fewer than ten requests beyond it
			case got == "never" && !there:
			case got == "" || got == "never" || !there:
				t.Errorf("%s, %d of 10,000 of %s is %q, the data say %v (%v)", phase, q, row[0][0], got, d, there)
			default:
				same(t, fmt.Sprintf("again: %s, %d of 10,000 of %s", phase, q, row[0][0]), got, "", d.Seconds())
			}
		}
	}
}

// TestNamedPercentiles: what figure 8 says is exact, though its line has few points: here one bad request more puts the availability below
// 99 %, and none of the points lies between the two.
func TestNamedPercentiles(t *testing.T) {
	for bad, want := range map[uint64]string{60: "5 ms", 61: "never"} {
		tr := analysistest.Trial{Rate: 200, For: 30 * time.Second}
		tr.Each = func(s *record.Sample, _ *rand.Rand) {
			if s.Seq%90 == 0 && s.Seq/90 < bad {
				s.Class = record.Wrong
			}
		}
		r := runOf([]*record.Recording{tr.Recording()})
		if got := r.Trials[0].Metric(analysis.Ref{Metric: "availability"}).V; got != 1-float64(bad)/6000 {
			t.Fatalf("%d bad requests make an availability of %v", bad, got)
		}
		rows := rowsOf(t, elements(t, render(t, r, reports.HTML)), "t-f8")
		if got := strings.ReplaceAll(rows[len(rows)-1][3][0], "\u00a0", " "); got != want {
			t.Errorf("%d of 6,000 bad: 99 %% were answered within %q, want %q", bad, got, want)
		}
	}
}

// recomputeAnswered: figure 2 never shows an answer too early, and none later than the curve's step of 5 %.
func recomputeAnswered(t *testing.T, es []*html.Node, arms map[string][]outsider) {
	t.Helper()
	share := func(arm string, x float64) float64 {
		var vs []float64
		for _, o := range arms[arm] {
			due, _, ok, _ := o.part("")
			vs = append(vs, float64(ok.Within(time.Duration(x*1e9)))/float64(due))
		}
		return stats.Median(vs)
	}
	for _, row := range rowsOf(t, es, "t-f2") {
		x := parseSeconds(t, row[0][0])
		for i, arm := range []string{"cluster", "single"} {
			var got float64
			if err := json.Unmarshal([]byte(row[1+i][0]), &got); err != nil {
				t.Fatalf("%q is no share", row[1+i][0])
			}
			if most, least := share(arm, x*1.02)*100, share(arm, x/1.07)*100; got > most+0.01 || got < least-0.01 {
				t.Errorf("%s within %s: printed %v %%, the data say %v to %v", arm, row[0][0], got, least, most)
			}
		}
	}
}

// recomputeOrder: the medians before the fault and the generator's lag, trial by trial.
func recomputeOrder(t *testing.T, es []*html.Node, d *reports.Data) {
	t.Helper()
	rows := rowsOf(t, es, "t-f10")
	if len(rows) != len(d.Trials) {
		t.Fatalf("%d rows behind figure 10", len(rows))
	}
	of := outsiders(d)
	for i, row := range rows {
		o := of[i]
		same(t, "again: p50", row[3][0], "", o.metric("before", "p50").V)
		d, _ := o.Lag.Rank((o.Lag.Total()*999 + 999) / 1000)
		lag := d.Seconds()
		if o.columns != nil {
			lag = o.columns[[2]string{"", "send_lag_p999"}].V
		}
		if row[4][0] != "none" || lag > 0 {
			same(t, "again: lag", row[4][0], "", lag)
		}
	}
}

func parseSeconds(t *testing.T, s string) float64 {
	t.Helper()
	num, unit, _ := strings.Cut(s, "\u00a0")
	var v float64
	if err := json.Unmarshal([]byte(strings.ReplaceAll(num, ",", "")), &v); err != nil {
		t.Fatalf("%q is no time", s)
	}
	return v * unitOf[unit]
}

// recomputeTimeline: the medians of each second over the trials.
func recomputeTimeline(t *testing.T, es []*html.Node, arms map[string][]outsider, d *reports.Data) {
	t.Helper()
	rows := rowsOf(t, es, "t-f1")
	if len(rows) != 30 {
		t.Fatalf("%d rows behind figure 1", len(rows))
	}
	median := func(vs []int64) (float64, bool) {
		fs := make([]float64, len(vs))
		for i, v := range vs {
			if fs[i] = float64(v) / 1e9; v < 0 {
				fs[i] = math.Inf(1)
			}
		}
		m := stats.Median(fs)
		return m, !math.IsInf(m, 1)
	}
	for i, row := range rows {
		for k, arm := range []string{"cluster", "single"} {
			var share []float64
			var p50, p99 []int64
			for _, o := range arms[arm] {
				due, good := spread2(o.Due)[10*i:10*i+10], spread2(o.Good)[10*i:10*i+10]
				share = append(share, float64(sum(good))/float64(sum(due)))
				p50, p99 = append(p50, o.P50[i]), append(p99, o.P99[i])
			}
			same(t, "again: availability", row[1+3*k][0], "%", stats.Median(share))
			for j, vs := range [][]int64{p50, p99} {
				if v, ok := median(vs); ok {
					same(t, "again: latency", row[2+3*k+j][0], "ms", v)
				} else if row[2+3*k+j][0] != "never" {
					t.Errorf("second %d of %s is %q, and never in the data", i, arm, row[2+3*k+j][0])
				}
			}
		}
	}
	if len(d.Figures.Timeline) != 2 || len(d.Figures.Timeline[0].P99) != 30 {
		t.Errorf("the data has %d lines of figure 1", len(d.Figures.Timeline))
	}
}

func recomputeHeat(t *testing.T, es []*html.Node, arms map[string][]outsider, d *reports.Data) {
	t.Helper()
	for arm, noun := range map[string]string{"cluster": "the cluster", "single": "the single node"} {
		all, due := new(record.Hist), uint64(0)
		for _, o := range arms[arm] {
			n, _, ok, _ := o.part("")
			due += n
			all.Merge(ok)
		}
		median, _ := all.Rank((all.Total() + 1) / 2)
		want := fmt.Sprintf("%s: %d of %d took more than ten times the median of the good ones", noun, all.Total()-all.Within(10*median), due)
		if got := strings.ReplaceAll(findingIn(t, es, "f6"), ",", ""); !strings.Contains(strings.ToLower(got), want) {
			t.Errorf("figure 6 finds: %s; the data say: %s", got, want)
		}
	}
	rows := rowsOf(t, es, "t-f6")
	for i, arm := range []string{"cluster", "single"} {
		cells := spread2(d.Figures.Heat.OK[arm])
		per := 3 * d.Figures.Heat.Columns
		if len(cells) != per*(len(rows)-1) {
			t.Fatalf("%d cells of figure 6", len(cells))
		}
		for k, row := range rows[:len(rows)-1] {
			same(t, "again: heat "+row[0][0], row[1+i][0], "", float64(sum(cells[k*per:(k+1)*per])))
		}
		same(t, "again: heat, bad", rows[len(rows)-1][1+i][0], "", float64(sum(spread2(d.Figures.Heat.Bad[arm]))))
	}
}

func recomputeTraffic(t *testing.T, es []*html.Node, d *reports.Data) {
	t.Helper()
	for i, row := range rowsOf(t, es, "t-f7") {
		for k, l := range d.Figures.Traffic {
			same(t, "again: traffic", row[1+k][0], "", math.Round(l.Rate[i]*10)/10)
		}
	}
	for i, row := range rowsOf(t, es, "t-f9") {
		for k, f := range d.Figures.Flow {
			for j, vs := range [][]float64{f.Offered, f.Done, f.Good, f.InFlight} {
				same(t, "again: flow", row[1+4*k+j][0], "", math.Round(vs[i]*10)/10)
			}
		}
	}
}

// TestDataHostile: names in the data are those of the page, and cannot end its element.
func TestDataHostile(t *testing.T) {
	es := elements(t, render(t, attacked(), reports.HTML))
	d := dataOf(t, es)
	if !strings.Contains(d.Trials[0].Arm, "<script>alert(1)</script>") || strings.ContainsRune(d.Trials[0].Arm, 0x1b) {
		t.Errorf("the arm is called %q", d.Trials[0].Arm)
	}
	if n := slices.IndexFunc(es, func(e *html.Node) bool { return e.Data == "script" && attr(e, "id") == "" }); n < 0 || strings.Contains(text(es[n]), "alert") {
		t.Error("the page's script is not ours")
	}
}

// TestDataBounded: the data of a long run is coarser, not larger.
func TestDataBounded(t *testing.T) {
	var recs []*record.Recording
	for block := 1; block <= 2; block++ {
		recs = append(recs, long("single", 1, block), long("cluster", 3, block))
	}
	for _, rec := range recs {
		rec.For *= 30 // an hour, of which the rest is silent
	}
	r := runOf(recs)
	page := render(t, r, reports.HTML)
	d := dataOf(t, elements(t, page))
	if d.Window <= 0.1 || d.Trials[0].P99 != nil || len(page) > 1_000_000 {
		t.Errorf("windows of %v s, %d percentiles, %d bytes", d.Window, len(d.Trials[0].P99), len(page))
	}
	var due uint64
	for _, b := range recs[0].Bins {
		due += b.Due
	}
	if got := sum(spread2(d.Trials[0].Due)); got != due {
		t.Errorf("the data counts %d requests, the recording %d", got, due)
	}
}
