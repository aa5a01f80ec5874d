package reports_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/reports"
)

// unitOf is how much one of a printed unit is.
var unitOf = map[string]float64{"": 1, "requests": 1, "/s": 1, "s": 1, "ms": 1e-3, "µs": 1e-6, "%": 1e-2, "points": 1e-2}

// same checks a printed number against what it stands for, to half of its last digit.
func same(t *testing.T, what, printed, unit string, want float64) {
	t.Helper()
	s := strings.NewReplacer("×\u00a0", "", "\u00a0", " ", "−", "-", "+", "", ",", "").Replace(printed)
	num, u, _ := strings.Cut(strings.TrimSpace(s), " ")
	if u != "" {
		unit = u
	}
	of, known := unitOf[unit]
	got, err := strconv.ParseFloat(num, 64)
	if err != nil || !known {
		t.Errorf("%s: %q in %q is no number of a known unit", what, printed, unit)
		return
	}
	_, frac, _ := strings.Cut(num, ".")
	half := 0.5000001 * math.Pow(10, -float64(len(frac))) * of
	if math.Abs(got*of-want) > half {
		t.Errorf("%s: printed %s %s, measured %v", what, printed, unit, want)
	}
}

// sameInterval checks "low – high", which has the unit of the number beside it.
func sameInterval(t *testing.T, what, printed, unit string, v rundir.Value, shift float64) {
	t.Helper()
	if v.Low == nil || v.High == nil {
		if printed != "" {
			t.Errorf("%s has the interval %q, and run.json none", what, printed)
		}
		return
	}
	lo, hi, ok := strings.Cut(printed, "\u00a0–\u00a0")
	if !ok {
		t.Errorf("%s has the interval %q, want %v to %v", what, printed, *v.Low, *v.High)
		return
	}
	same(t, what+", low", lo, unit, *v.Low-shift)
	same(t, what+", high", hi, unit, *v.High-shift)
}

// found checks one value, whatever its state.
func found(t *testing.T, what, num, iv, unit string, v rundir.Value) {
	t.Helper()
	if _, u, ok := strings.Cut(strings.TrimPrefix(num, "×\u00a0"), "\u00a0"); ok {
		unit = u
	}
	switch {
	case v.State == analysis.Never && num != "never", v.State == analysis.NoData && num != "no data" && num != "":
		t.Errorf("%s is %q, and %s in run.json", what, num, v.State)
	case v.State == analysis.OK:
		same(t, what, num, unit, *v.Value)
		sameInterval(t, what, iv, unit, v, 0)
	}
}

// rowsOf reads a table's rows by its caption: the cells' texts, intervals apart.
func rowsOf(t *testing.T, es []*html.Node, caption string) (rows [][][2]string) {
	t.Helper()
	for _, e := range es {
		if e.Data != "table" || len(kids(e, "caption")) == 0 || attr(kids(e, "caption")[0], "id") != caption {
			continue
		}
		for _, tr := range kids(kids(e, "tbody")[0], "tr") {
			var cells [][2]string
			for c := tr.FirstChild; c != nil; c = c.NextSibling {
				cells = append(cells, cellOf(c))
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("there is no table %s", caption)
	}
	return rows
}

func cellOf(c *html.Node) (cell [2]string) {
	for k := c.FirstChild; k != nil; k = k.NextSibling {
		switch attr(k, "class") {
		case "ivl":
			cell[1] = text(k)
		case "sub":
		default:
			cell[0] += text(k)
		}
	}
	return cell
}

func kids(n *html.Node, tag string) (out []*html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type == html.ElementNode && c.Data == tag {
			out = append(out, c)
		}
	}
	return out
}

// TestNumbers reads the page's numbers back and holds them against run.json and the recordings.
func TestNumbers(t *testing.T) {
	for _, blocks := range []int{1, 6, 12} {
		r := crash(blocks)
		es := elements(t, render(t, r, reports.HTML))
		checkTiles(t, es, r.Run)
		checkObjectives(t, es, r.Run)
		checkPhases(t, es, r)
		checkEvents(t, es, r.Run)
		checkErrors(t, es, r.Trials)
	}
}

func checkTiles(t *testing.T, es []*html.Node, run *rundir.Run) {
	t.Helper()
	m := run.Arms["cluster"].Metrics
	want := map[string]rundir.Value{
		"Availability": m["availability"], "Lost per fault": m[`lost_requests{fault="crash"}`], "Recovered in": m[`recovery{fault="crash"}`],
		"p99, all requests": m["p99"], "30\u00a0days afford": m["affordable(99.9%)"],
	}
	seen := 0
	for _, e := range es {
		if e.Data != "dl" || attr(e, "class") != "tiles" {
			continue
		}
		for _, d := range kids(e, "div") {
			label, dd := text(kids(d, "dt")[0]), kids(d, "dd")
			unit := ""
			for _, u := range kids(dd[0], "span") {
				unit = text(u)
			}
			num := strings.TrimSuffix(text(dd[0]), unit)
			seen++
			if v, ok := want[label]; ok {
				found(t, "tile "+label, num, text(dd[1]), unit, v)
				continue
			}
			price := run.Objectives[4].Value
			same(t, "tile "+label, num, unit, *price.Value-1)
			sameInterval(t, "tile "+label, text(dd[1]), unit, price, 1)
		}
	}
	if seen != 6 {
		t.Errorf("%d tiles", seen)
	}
}

func checkObjectives(t *testing.T, es []*html.Node, run *rundir.Run) {
	t.Helper()
	rows := rowsOf(t, es, "t-objectives")
	if len(rows) != len(run.Objectives) {
		t.Fatalf("%d rows for %d objectives", len(rows), len(run.Objectives))
	}
	for i, o := range run.Objectives {
		if rows[i][1][0] != o.Text {
			t.Errorf("row %d is about %q, want %q", i, rows[i][1][0], o.Text)
		}
		unit := ""
		if o.Form == slo.Difference {
			unit = "points"
		}
		found(t, o.Text, rows[i][2][0], rows[i][3][0], unit, o.Value)
	}
}

// checkPhases holds the arms' columns against run.json, and the comparison against the trials
// of each block: no average of pairs lies outside of them.
func checkPhases(t *testing.T, es []*html.Node, r *tutti.Result) {
	t.Helper()
	run := r.Run
	metrics := map[string]string{"availability": "availability", "good answers": "goodput", "p50": "p50", "p95": "p95", "p99": "p99"}
	phases := map[string]analysis.Phase{"Before the fault": analysis.Before, "During: from onset to heal": analysis.During, "After the heal": analysis.After, "Whole trial": analysis.Whole}
	var phase analysis.Phase
	n := 0
	for _, row := range rowsOf(t, es, "t-phases") {
		if len(row) == 1 {
			phase = phases[row[0][0]]
			continue
		}
		label, unit, _ := strings.Cut(row[0][0], ",\u00a0")
		metric, ok := metrics[label]
		if !ok {
			continue
		}
		for i, arm := range []string{"cluster", "single"} {
			key, from := analysis.Ref{Metric: metric}.String(), run.Arms[arm].Metrics
			if phase != analysis.Whole {
				key, from = analysis.Ref{Metric: metric, Phase: phase}.String(), run.Arms[arm].Phases[phase]
			}
			v, ok := from[key]
			if !ok {
				v, ok = from[metric]
			}
			if !ok {
				t.Fatalf("the fixture has no %s of %s in phase %q", metric, arm, phase)
			}
			found(t, arm+" "+row[0][0]+" "+string(phase), row[1+i][0], row[1+i][1], unit, v)
			n++
		}
		checkPair(t, string(phase)+" "+label, row[3][0], analysis.Ref{Metric: metric, Phase: phase}, r.Trials)
	}
	if n < 30 {
		t.Errorf("only %d numbers in the table by phase", n)
	}
}

// checkPair holds a factor or a difference against those of the blocks.
func checkPair(t *testing.T, what, printed string, ref analysis.Ref, trials []*analysis.Trial) {
	t.Helper()
	byBlock := make(map[int]map[string]float64)
	for _, tr := range trials {
		if byBlock[tr.Rec.Block] == nil {
			byBlock[tr.Rec.Block] = make(map[string]float64)
		}
		byBlock[tr.Rec.Block][tr.Rec.Arm] = tr.Metric(ref).V
	}
	points := strings.HasSuffix(printed, "points")
	if !points && !strings.HasPrefix(printed, "×") {
		return // words
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, b := range byBlock {
		d := b["cluster"] / b["single"]
		if points {
			d = (b["cluster"] - b["single"]) * 100
		}
		lo, hi = min(lo, d), max(hi, d)
	}
	got, err := strconv.ParseFloat(strings.TrimSpace(strings.NewReplacer("×", "", "+", "", "−", "-", "points", "", "\u00a0", "").Replace(printed)), 64)
	if err != nil || got < lo-0.006*math.Abs(lo) || got > hi+0.006*math.Abs(hi) {
		t.Errorf("%s: printed %q, the blocks have %v to %v", what, printed, lo, hi)
	}
}

func checkEvents(t *testing.T, es []*html.Node, run *rundir.Run) {
	t.Helper()
	metrics := map[string]string{
		"first error": "first_error", "no longer tried": "detection", "recovered": "recovery", "lost requests": "lost_requests",
		"share back, from the fault’s end": "rebalanced", "lost at least, by the health check": "floor", "lost beyond that": "loss_over_floor",
	}
	for _, row := range rowsOf(t, es, "t-events") {
		label, unit, _ := strings.Cut(row[0][0], ",\u00a0")
		metric, ok := metrics[label]
		if !ok {
			continue
		}
		for i, arm := range []string{"cluster", "single"} {
			found(t, arm+" "+label, row[1+i][0], row[1+i][1], unit, run.Arms[arm].Metrics[metric+`{fault="crash"}`])
		}
	}
}

// checkErrors counts the recordings' bad requests anew.
func checkErrors(t *testing.T, es []*html.Node, trials []*analysis.Trial) {
	t.Helper()
	bad := make(map[string]uint64)
	for _, tr := range trials {
		for _, b := range tr.Rec.Bins {
			if b.Index >= 0 && b.Start() < tr.Rec.For {
				bad[tr.Rec.Arm] += b.Due - b.Good
			}
		}
	}
	arm := ""
	for _, row := range rowsOf(t, es, "t-errors") {
		switch {
		case len(row) == 1:
			arm = row[0][0]
		case strings.HasPrefix(row[0][0], "all bad"):
			same(t, arm+"'s bad requests", row[len(row)-1][0], "", float64(bad[arm]))
			delete(bad, arm)
		}
	}
	if len(bad) > 0 {
		t.Errorf("the table has no sum for %v", bad)
	}
}

// long is a trial of two minutes at 2,000 requests a second, built from bins: samples would be too many.
func long(arm string, replicas, block int) *record.Recording {
	t := analysistest.Crash(arm, replicas, block)
	small := t.Recording()
	rec := *small
	rec.For, rec.Schedule, rec.Bins = 120*time.Second, schedule.Constant(2000, 0, 120*time.Second), nil
	pattern := small.Bins
	first := 0
	for pattern[first].Index < 0 {
		first++
	}
	n := int(rec.For / record.Grid)
	var counted uint64
	for i := range n {
		// The original's bins, stretched: each comes ten times as often and is ten times as full.
		from := pattern[first+i*(len(pattern)-first)/n]
		b := from
		b.Index, b.Due, b.Good, b.Untraced = i, 10*from.Due, 10*from.Good, 10*from.Untraced
		b.Tried = make(map[string]uint64)
		for node, k := range from.Tried {
			b.Tried[node] = 10 * k
		}
		b.Cells = nil
		for _, c := range from.Cells {
			c.Count *= 10
			c.First, c.Last = b.Start(), b.Start()+90*time.Millisecond
			c.Response, c.Unlagged, c.Service = tenfold(c.Response), tenfold(c.Unlagged), tenfold(c.Service)
			b.Cells = append(b.Cells, c)
		}
		b.Lag = tenfold(from.Lag)
		counted += b.Due
		rec.Bins = append(rec.Bins, b)
	}
	rec.Generator.Scheduled, rec.Generator.Counted = counted, counted
	stretch := func(d time.Duration) time.Duration {
		return time.Duration(float64(d) * float64(rec.For) / float64(small.For))
	}
	rec.Faults = []record.Fault{small.Faults[0]}
	on, heal := *small.Faults[0].Onset, *small.Faults[0].Heal
	rec.Faults[0].Onset = &record.Edge{From: stretch(on.From), To: stretch(on.To)}
	rec.Faults[0].Heal = &record.Edge{From: stretch(heal.From), To: stretch(heal.To)}
	rec.Events = append([]record.Event(nil), small.Events...)
	for i := range rec.Events {
		rec.Events[i].At = stretch(rec.Events[i].At)
	}
	return &rec
}

func tenfold(h *record.Hist) *record.Hist {
	if h == nil {
		return nil
	}
	out := new(record.Hist)
	for range 10 {
		out.Merge(h)
	}
	return out
}

// TestTenMillion: ten million requests in each of two arms make a page under 2 MB.
func TestTenMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	stretched := func(rec *record.Recording) *record.Recording {
		bins := rec.Bins
		rec.For, rec.Bins = 1000*time.Second, nil
		var counted uint64
		for i := range int(rec.For / record.Grid) {
			b := bins[i*len(bins)/int(rec.For/record.Grid)] // 200 in each, each five times as many below
			b.Index, b.Due, b.Good, b.Untraced = i, 5*b.Due, 5*b.Good, 5*b.Untraced
			cells := append([]record.Cell(nil), b.Cells...)
			for k := range cells {
				c := &cells[k]
				c.Count *= 5
				c.First, c.Last = b.Start(), b.Start()+90*time.Millisecond
				h := new(record.Hist)
				for range 5 {
					h.Merge(c.Response)
				}
				c.Response = h
			}
			b.Cells = cells
			counted += b.Due
			rec.Bins = append(rec.Bins, b)
		}
		rec.Generator.Scheduled, rec.Generator.Counted = counted, counted
		return rec
	}
	r := runOf([]*record.Recording{stretched(long("single", 1, 1)), stretched(long("cluster", 3, 1))})
	r.Run.Baseline = "single"
	for _, tr := range r.Trials {
		if n := tr.Rec.Generator.Scheduled; n != 10_000_000 {
			t.Fatalf("%s has %d requests", tr.Rec.Arm, n)
		}
	}
	begun := time.Now()
	page := render(t, r, reports.HTML)
	t.Logf("%d bytes in %v", len(page), time.Since(begun))
	if len(page) > 2_000_000 {
		t.Errorf("the report is %d bytes", len(page))
	}
}

// TestLong: a report's size and time do not follow the number of requests, here 2.9 million.
func TestLong(t *testing.T) {
	var recs []*record.Recording
	for block := 1; block <= 6; block++ {
		recs = append(recs, long("single", 1, block), long("cluster", 3, block))
	}
	r := runOf(recs)
	r.Run.Baseline = "single"
	begun := time.Now()
	page := render(t, r, reports.HTML)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the report took %v", took)
	}
	if len(page) > 1_000_000 {
		t.Errorf("the report is %d bytes", len(page))
	}
	if !strings.Contains(string(page), "240,000") {
		t.Error("the report does not say how many requests there were")
	}
	t.Logf("%d bytes in %v", len(page), time.Since(begun))
}
