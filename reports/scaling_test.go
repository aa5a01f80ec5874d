package reports_test

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/stats"
	"github.com/tutti-bench/tutti/reports"
)

const sweepSource = `version: 1
name: scaling
target: {compose: compose.yaml, ingress: http://lb:8080, nodes: app}
sweep: {service: app, scale: [1, 2, 3, 6]}
load:
  capacity: {while: "p99 <= 100ms and availability >= 99%", from: 20/s, to: 320/s, hold: 2s}
  requests: [GET /]
objectives:
  - app-3.capacity >= 2 * app-1.capacity
`

// searched is the recording of a search in a target that carries so much.
func searched(arm string, nodes, block int, carries, to float64) *record.Recording {
	rec := analysistest.Trial{Arm: arm, Block: block, Order: block, Replicas: nodes, For: time.Second}.Recording()
	rec.Capacity = &record.Capacity{While: "p99 <= 100ms and availability >= 99%", From: 20, To: to, Hold: 2 * time.Second}
	rec.Bins, rec.Schedule, rec.For, rec.Generator = nil, schedule.Schedule{}, 0, record.Generator{Complete: true}
	for rate, met := 20.0, true; met && rate <= to; rate *= 2 {
		if met = rate <= carries; !met {
			rec.Holds = append(rec.Holds, held(rec, math.Round(carries*10)/10, true), held(rec, math.Round(carries*1.04*10)/10, false))
			break
		}
		rec.Holds = append(rec.Holds, held(rec, rate, met))
	}
	return rec
}

func held(rec *record.Recording, rate float64, met bool) record.Hold {
	load := analysistest.Trial{Rate: rate, For: 2 * time.Second, Replicas: len(rec.Nodes)}
	if !met {
		load.Each = dead(load, 1900*time.Millisecond)
	}
	one := load.Recording()
	h := record.Hold{
		At: time.Duration(len(rec.Holds)) * 4 * time.Second, Rate: rate, For: 2 * time.Second, Offered: rate, Achieved: rate, Goodput: rate,
		Availability: 1, P99: 12 * time.Millisecond, Answer: record.Met, Generator: one.Generator, Bins: one.Bins,
	}
	if !met {
		h.Goodput, h.Availability, h.P99, h.Answer, h.Why = 0.95*rate, 0.95, record.None, record.Unmet, "p99 never, availability 95%"
	}
	return h
}

// sweepOf is the run of a sweep: sizes and blocks, in a target that carries what a law says.
func sweepOf(sizes []int, blocks int, to float64) *tutti.Result {
	law := stats.USL{Lambda: 45, Sigma: 0.04, Kappa: 0.008}
	var recs []*record.Recording
	for b := 1; b <= blocks; b++ {
		for _, n := range sizes {
			noise := 1 + 0.02*math.Sin(float64(7*n+5*b))
			recs = append(recs, searched(fmt.Sprintf("app-%d", n), n, b, law.At(float64(n))*noise, to))
		}
	}
	r := runOf(recs)
	r.Run.Name, r.Run.Hypothesis, r.Source, r.Run.Baseline = "scaling", "Three nodes carry twice what one carries.", []byte(sweepSource), "app-1"
	r.Run.Load = rundir.Load{Warmup: 2, Timeout: 1, Requests: []string{"GET /"}, Capacity: &rundir.Search{While: recs[0].Capacity.While, From: 20, To: to, Hold: 2}}
	r.Run.Scaling = &rundir.Scaling{Service: "app"}
	for i, rec := range recs {
		for _, h := range rec.Holds {
			one := rundir.Hold{
				At: h.At.Seconds(), Rate: h.Rate, Offered: h.Offered, Achieved: h.Achieved, Goodput: h.Goodput,
				Availability: h.Availability, Answer: h.Answer, Why: h.Why,
			}
			if h.P99 != record.None {
				one.P99 = ptr(h.P99.Seconds())
			}
			r.Run.Trials[i].Holds = append(r.Run.Trials[i].Holds, one)
		}
	}
	for _, n := range sizes {
		name := fmt.Sprintf("app-%d", n)
		z := rundir.Size{Arm: name, Nodes: n, Capacity: r.Run.Arms[name].Metrics["capacity"], Efficiency: rundir.Value{Unit: analysis.Number, State: analysis.NoData}}
		if z.Capacity.State == analysis.OK {
			share := *z.Capacity.Value / *r.Run.Arms["app-1"].Metrics["capacity"].Value
			z.Efficiency.State, z.Efficiency.Value = analysis.OK, ptr(share/float64(n))
		}
		for _, t := range r.Run.Trials {
			if v := t.Metrics["capacity"]; t.Arm == name {
				z.PerBlock = append(z.PerBlock, rundir.BlockValue{Block: t.Block, Value: v.Value, State: v.State})
			}
		}
		r.Run.Scaling.Sizes = append(r.Run.Scaling.Sizes, z)
	}
	o := objective("app-3.capacity >= 2 * app-1.capacity", ">=", 1, slo.Ratio, rundir.Value{Value: ptr(1.32), Low: ptr(1.29), High: ptr(1.36), Unit: analysis.Number, State: analysis.OK}, rundir.Pass, "app-3", "app-1")
	o.Line = 9
	r.Run.Objectives = []rundir.Objective{o}
	return r
}

// scaling is a sweep with a law fitted to it.
func scaling() *tutti.Result {
	r := sweepOf([]int{1, 2, 3, 6}, 6, 320)
	f := &rundir.Fit{
		Lambda: rundir.Value{Value: ptr(45), Low: ptr(44), High: ptr(46), Unit: analysis.PerSecond, State: analysis.OK, N: 24},
		Sigma:  rundir.Value{Value: ptr(0.04), Low: ptr(0.03), High: ptr(0.05), Unit: analysis.Number, State: analysis.OK, N: 24},
		Kappa:  rundir.Value{Value: ptr(0.008), Low: ptr(0.006), High: ptr(0.01), Unit: analysis.Number, State: analysis.OK, N: 24},
		Peak:   rundir.Value{Value: ptr(10.95), Low: ptr(9.8), High: ptr(12.6), Unit: analysis.Number, State: analysis.OK, N: 24},
	}
	law := stats.USL{Lambda: 45, Sigma: 0.04, Kappa: 0.008}
	for n := 1.0; n <= 6; n += 0.125 {
		f.Curve = append(f.Curve, rundir.CurvePoint{Nodes: n, Value: law.At(n), Low: ptr(law.At(n) * 0.96), High: ptr(law.At(n) * 1.04)})
	}
	r.Run.Scaling.Fit = f
	return r
}

// unfitted is a sweep of which too little is known for a law: its largest size reached the end of the search.
func unfitted() *tutti.Result {
	r := sweepOf([]int{1, 3, 6}, 2, 160)
	r.Run.Scaling.Refused = "a law with three parameters wants 3 sizes, and here are 2; the capacity of app-6 is not known in every block"
	h := &r.Run.Trials[0].Holds[1]
	h.Answer, h.Why = record.Unknown, "the load generator offered 31/s only"
	return r
}

// lonely is a search in one arm.
func lonely() *tutti.Result {
	r := sweepOf([]int{1}, 1, 320)
	r.Run.Scaling, r.Run.Baseline, r.Run.Objectives = nil, "", nil
	return r
}

func TestScalingGolden(t *testing.T) {
	for name, r := range map[string]*tutti.Result{"scaling": scaling(), "scaling-unfitted": unfitted(), "search": lonely()} {
		for ext, draw := range formats {
			t.Run(name+"."+ext, func(t *testing.T) {
				got := render(t, r, draw)
				golden(t, "testdata/"+name+"."+ext, got)
				if !bytes.Equal(got, render(t, r, draw)) {
					t.Error("two drawings of one result differ")
				}
			})
		}
	}
}

// Every number that figure 11 says is one of run.json.
func TestScalingNumbers(t *testing.T) {
	r := scaling()
	es := elements(t, render(t, r, reports.HTML))
	var caption, alt string
	for _, e := range es {
		if e.Data == "figure" && attr(e, "id") == "f11" {
			checkFigures(t, append(es[:0:0], e))
			for n := range e.Descendants() {
				switch {
				case n.Data == "figcaption":
					caption = text(n)
				case n.Data == "desc":
					alt = text(n)
				}
			}
		}
	}
	first, last := r.Run.Scaling.Sizes[0], r.Run.Scaling.Sizes[3]
	for what, in := range map[string]string{"caption": caption, "alternative text": alt} {
		for _, want := range []string{
			"6\u00a0app nodes carry " + fmt.Sprintf("%.0f", *last.Capacity.Value) + "\u00a0/s", "1\u00a0app node " + fmt.Sprintf("%.1f", *first.Capacity.Value) + "\u00a0/s",
			fmt.Sprintf("%.2f times as much for 6 times the nodes", *last.Capacity.Value / *first.Capacity.Value), "σ is 4.00\u00a0%", "κ 0.800\u00a0%", "more than were measured",
		} {
			if !strings.Contains(in, want) {
				t.Errorf("the %s lacks %q: %s", what, want, in)
			}
		}
	}
	rows := rowsOf(t, es, "t-capacity")
	if len(rows) != 4 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, z := range r.Run.Scaling.Sizes {
		found(t, z.Arm, rows[i][2][0], rows[i][2][1], "/s", z.Capacity)
		if rows[i][1][0] != fmt.Sprint(z.Nodes) || strings.Count(rows[i][4][0], ",") != 5 {
			t.Errorf("%s: %v", z.Arm, rows[i])
		}
	}
	holds := 0
	for _, tr := range r.Run.Trials {
		holds += len(tr.Holds)
	}
	if rows := rowsOf(t, es, "t-holds"); len(rows) < holds {
		t.Errorf("%d rows for %d holds", len(rows), holds)
	}
}

// What is only known from below is drawn as that, and no line is drawn that nobody fitted.
func TestScalingUnfitted(t *testing.T) {
	page := string(render(t, unfitted(), reports.HTML))
	for _, want := range []string{"No law is fitted: a law with three parameters wants 3 sizes", "A triangle is one", "&gt;\u00a0160", "at least, since the search goes no higher than 160/s", "the load generator offered 31/s only"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	lagging := unfitted()
	last := lagging.Run.Trials[2].Holds
	last[len(last)-1].Answer, last[len(last)-1].Why = record.Unknown, "it lagged"
	if text := string(render(t, lagging, formats["txt"])); !strings.Contains(text, "at least, since the hold at 160/s cannot be told: it lagged") {
		t.Errorf("the terminal does not say why more is not known:\n%s", text)
	}
	figure := regexp.MustCompile(`(?s)<figure id="f11".*?</svg>`).FindString(page)
	if figure == "" || strings.Contains(figure, `class="ln p99`) || strings.Contains(figure, `class="r1"`) {
		t.Error("a line without a law")
	}
}

// Sweeps that nothing sensible can be drawn of do not break a page.
func TestScalingOdd(t *testing.T) {
	for name, spoil := range map[string]func(*rundir.Run){
		"no size":       func(r *rundir.Run) { r.Scaling.Sizes = nil },
		"no capacity":   func(r *rundir.Run) { nothingKnown(r) },
		"no curve":      func(r *rundir.Run) { r.Scaling.Fit.Curve = nil },
		"no band":       func(r *rundir.Run) { r.Scaling.Fit.Curve[3].Low = nil },
		"wide band":     func(r *rundir.Run) { r.Scaling.Fit.Curve[9].High = ptr(1e12) },
		"empty fit":     func(r *rundir.Run) { r.Scaling.Fit = &rundir.Fit{} },
		"no arms":       func(r *rundir.Run) { r.Arms, r.ArmOrder = nil, nil },
		"thousand":      func(r *rundir.Run) { r.Scaling.Sizes[3].Nodes = 1000 },
		"one hold less": func(r *rundir.Run) { r.Trials[0].Holds = nil },
	} {
		r := scaling()
		spoil(r.Run)
		for ext, draw := range formats {
			if out := string(render(t, r, draw)); strings.Contains(out, "NaN") || strings.Contains(out, "Inf") || strings.Contains(out, "could not be drawn") {
				t.Errorf("%s, %s: NaN, Inf or a broken figure", name, ext)
			}
		}
	}
}

func nothingKnown(r *rundir.Run) {
	none := rundir.Value{Unit: analysis.PerSecond, State: analysis.NoData, Note: "no data in 6 of 6 trials"}
	for i := range r.Scaling.Sizes {
		z := &r.Scaling.Sizes[i]
		z.Capacity = none
		for k := range z.PerBlock {
			z.PerBlock[k] = rundir.BlockValue{Block: k + 1, State: analysis.NoData}
		}
		r.Arms[z.Arm].Metrics["capacity"] = none
	}
	r.Scaling.Fit, r.Scaling.Refused = nil, "nothing is known"
}

// A name or a condition of a scenario stays text in the figure too.
func TestScalingHostile(t *testing.T) {
	r := scaling()
	r.Run.Scaling.Service, r.Run.Load.Capacity.While, r.Run.Scaling.Refused = hostile, hostile, hostile
	r.Run.Trials[0].Holds[0].Answer, r.Run.Trials[0].Holds[0].Why = record.Unknown, hostile
	for ext, draw := range formats {
		out := string(render(t, r, draw))
		if i := strings.IndexFunc(out, func(c rune) bool {
			return c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 || c == 0x202e || c == 0x200b
		}); i >= 0 {
			t.Errorf("%s: a character that steers: %q", ext, out[max(i-20, 0):min(i+20, len(out))])
		}
		if n := strings.Count(out, "<script"); ext == "html" && n != 2 || ext != "html" && ext != "txt" && n > 0 {
			t.Errorf("%s: has <script %d times", ext, n)
		}
	}
	checkSafe(t, elements(t, render(t, r, reports.HTML)))
	checkMarkdownTables(t, string(render(t, r, reports.Markdown)))
}
