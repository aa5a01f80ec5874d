package reports_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// sentence is the page's, spaces made one.
func sentence(t *testing.T, r *tutti.Result) string {
	t.Helper()
	for _, e := range elements(t, render(t, r, reports.HTML)) {
		if e.Type == html.ElementNode && attr(e, "class") == "say" {
			return strings.Join(strings.Fields(strings.ReplaceAll(text(e), "\u00a0", " ")), " ")
		}
	}
	t.Fatal("no sentence")
	return ""
}

// grammatical makes a run of some verdict, with or without a baseline, so many faults, and enough blocks for an interval or not.
func grammatical(v rundir.Verdict, baseline bool, faults, blocks int) *tutti.Result {
	var recs []*record.Recording
	order := 0
	for b := 1; b <= blocks; b++ {
		for _, k := range []struct {
			arm   string
			nodes int
		}{{"single", 1}, {"cluster", 3}} {
			if k.arm == "single" && !baseline {
				continue
			}
			order++
			tr := analysistest.Crash(k.arm, k.nodes, b)
			tr.Order = order
			if faults != 1 {
				tr.Faults, tr.Events, tr.Each = nil, nil, nil
			}
			if faults > 1 {
				for i := range faults {
					tr.Faults = append(tr.Faults, analysistest.Fault(fmt.Sprintf("f%d", i+1), "pause", "app-1", time.Duration(8+4*i)*time.Second, time.Duration(10+4*i)*time.Second))
				}
			}
			recs = append(recs, tr.Recording())
		}
	}
	r := runOf(recs)
	r.Run.Verdict = v
	if baseline {
		r.Run.Baseline = "single"
	}
	o := objective("cluster.availability >= 98%", ">=", 0.98, "absolute", r.Run.Arms["cluster"].Metrics["availability"], v, "cluster")
	if v == rundir.Invalid {
		r.Run.Reasons = []string{"block 1: the load generator did not run its whole schedule"}
	}
	o.MoreBlocks = map[rundir.Verdict]int{rundir.Inconclusive: 4}[v]
	r.Run.Objectives = []rundir.Objective{o}
	return r
}

// TestGrammar holds the sentence against its grammar in every combination: under what, who, how well with what interval and which
// objective, how soon, against whom, at what price, on what evidence, and what decided.
func TestGrammar(t *testing.T) {
	under := map[int]string{
		0: `[Ww]ithout a fault`, 1: `[Ww]ith (1 of 3 app nodes|the one app node) killed for 10\.2 s`,
		2: `[Ww]ith 1 of 3 app nodes paused for 2 s and 1 of 3 app nodes paused for 2 s`, 4: `[Uu]nder 4 faults`,
	}
	for _, v := range []rundir.Verdict{rundir.Pass, rundir.Fail, rundir.Inconclusive, rundir.Invalid} {
		for _, baseline := range []bool{true, false} {
			for _, faults := range []int{0, 1, 2, 4} {
				for _, blocks := range []int{1, 3} {
					name := fmt.Sprintf("%s, baseline %v, %d faults, %d blocks", v, baseline, faults, blocks)
					t.Run(name, func(t *testing.T) {
						iv := map[bool]string{true: `[0-9.]+ – [0-9.]+, `}[blocks == 3]
						g := map[rundir.Verdict]string{rundir.Invalid: `This measurement is not to be trusted\. In block 1, the load generator did not run its whole schedule\. Measured all the same: `}[v]
						g += under[faults] + `, the cluster answered [0-9.]+ % of requests \(` + iv + `objective ≥ 98 %\)`
						if faults == 1 {
							g += ` and recovered in [0-9.]+ m?s`
							if blocks == 3 {
								g += ` \([0-9.]+ – [0-9.]+\)`
							}
						}
						if baseline {
							g += `; the single node answered [0-9.]+ %`
							if blocks == 3 {
								g += ` \([0-9.]+ – [0-9.]+\)`
							}
						}
						g += `\. `
						if baseline && blocks == 3 {
							g += `Price: (no difference shown in median latency|median latency [+−][0-9.]+ %) \(−?[0-9.]+ – −?[0-9.]+( %)?\)( before the fault| against single)\. `
						}
						g += map[bool]string{true: fmt.Sprintf("%d paired blocks?", blocks), false: fmt.Sprintf("%d trials?", blocks)}[baseline]
						switch {
						case v == rundir.Invalid && blocks == 1:
							g += `: too few for an interval, which takes 3\.`
						case v == rundir.Invalid:
							g += `\.`
						case blocks == 1:
							g += `, valid: too few for an interval, which takes 3\.`
						default:
							g += `, all valid\.`
						}
						switch v {
						case rundir.Fail:
							g += ` Failed: cluster\.availability >= 98%, found [0-9.]+ %` + map[bool]string{true: ` \([0-9.]+ – [0-9.]+\)`}[blocks == 3] + `\.`
						case rundir.Inconclusive:
							g += ` Undecided: cluster\.availability >= 98%, found [0-9.]+ %` + map[bool]string{true: ` \([0-9.]+ – [0-9.]+\)`}[blocks == 3] + `; about 4 more blocks would decide\.`
						case rundir.Pass, rundir.Invalid, rundir.Errored, rundir.Interrupted:
						}
						if got := sentence(t, grammatical(v, baseline, faults, blocks)); !regexp.MustCompile(`^` + g + `$`).MatchString(got) {
							t.Errorf("got  %s\nwant %s", got, g)
						}
					})
				}
			}
		}
	}
}
