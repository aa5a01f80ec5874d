package analysis_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
)

func TestTimeline(t *testing.T) {
	tr := analysis.Of(kill(18*sec, 12*sec).Recording())
	s := tr.Seconds()
	if len(s) != 20 {
		t.Fatalf("%d seconds, want 20", len(s))
	}
	if s[10].Due != 100 || s[10].Good != 67 || s[10].P99.State != analysis.Never || s[10].ByClass[record.Wrong] != 33 || s[10].ByNode["app-1"] != 0 {
		t.Errorf("the first second of the fault is %+v", s[10])
	}
	if s[9].Good != 100 || s[9].P50.State != analysis.OK || s[9].ByNode["app-1"] != 34 {
		t.Errorf("the last second before it is %+v", s[9])
	}
	var kinds []string
	for _, m := range tr.Milestones() {
		kinds = append(kinds, m.Kind+" "+m.At.String())
	}
	if want := []string{"onset 10s", "first error 10.02s", "ejected 12s", "recovered 12s", "healed 18s"}; !slices.Equal(kinds, want) {
		t.Errorf("milestones %q, want %q", kinds, want)
	}
	if got, want := tr.Errors(), []analysis.ErrorCount{{Class: record.Wrong, Phase: analysis.During, Count: 66}}; !slices.Equal(got, want) {
		t.Errorf("errors %v, want %v", got, want)
	}
}

func TestLanes(t *testing.T) {
	k := kill(18*sec, 12*sec)
	k.Rate = 300 // ten requests a bin to each node
	lanes := analysis.Of(k.Recording()).Lanes()
	want := []analysis.LaneSpan{
		{Span: analysis.Span{From: 0, To: 10 * sec}, State: analysis.InRotation},
		{Span: analysis.Span{From: 10 * sec, To: 12 * sec}, State: analysis.DownTried},
		{Span: analysis.Span{From: 12 * sec, To: 18 * sec}, State: analysis.Down},
		{Span: analysis.Span{From: 18 * sec, To: 20 * sec}, State: analysis.InRotation},
	}
	if len(lanes) != 3 || !slices.Equal(lanes[0].Spans, want) {
		t.Errorf("lanes %v, want app-1 %v", lanes, want)
	}
	// Without the engine's word the balancer's is left: tried in vain, then not tried.
	k.Events = nil
	got := analysis.Of(k.Recording()).Lanes()[0].Spans
	want = []analysis.LaneSpan{
		want[0],
		{Span: analysis.Span{From: 10 * sec, To: 12 * sec}, State: analysis.Failing},
		{Span: analysis.Span{From: 12 * sec, To: 18 * sec}, State: analysis.Ejected},
		want[3],
	}
	if !slices.Equal(got, want) {
		t.Errorf("lane %v, want %v", got, want)
	}
}

// TestLaneEdges kills a node within a step: what was due before it died is not held against the balancer.
func TestLaneEdges(t *testing.T) {
	for _, c := range []struct {
		name    string
		ejected time.Duration
		want    []analysis.LaneSpan
	}{
		{"never tried again", 10 * sec, []analysis.LaneSpan{
			{Span: analysis.Span{From: 10*sec + 50*time.Millisecond, To: 18*sec + 50*time.Millisecond}, State: analysis.Down},
		}},
		{"tried for two seconds", 12 * sec, []analysis.LaneSpan{
			{Span: analysis.Span{From: 10*sec + 50*time.Millisecond, To: 12 * sec}, State: analysis.DownTried},
			{Span: analysis.Span{From: 12 * sec, To: 18*sec + 50*time.Millisecond}, State: analysis.Down},
		}},
		{"tried all the time", 19 * sec, []analysis.LaneSpan{
			{Span: analysis.Span{From: 10*sec + 50*time.Millisecond, To: 18*sec + 50*time.Millisecond}, State: analysis.DownTried},
		}},
	} {
		k := kill(18*sec, c.ejected)
		k.Rate = 300
		for i := range k.Events {
			k.Events[i].At += 50 * time.Millisecond
		}
		var got []analysis.LaneSpan
		for _, s := range analysis.Of(k.Recording()).Lanes()[0].Spans {
			if s.State == analysis.Down || s.State == analysis.DownTried {
				got = append(got, s)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: lane %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAnswered(t *testing.T) {
	for _, rec := range append(analysistest.CrashRun(1), kill(18*sec, 12*sec).Recording()) {
		tr := analysis.Of(rec)
		xs, share := tr.Answered()
		if len(xs) == 0 || len(xs) > 600 || len(xs) != len(share) {
			t.Fatalf("%d points and %d shares", len(xs), len(share))
		}
		if !slices.IsSorted(xs) || !slices.IsSorted(share) {
			t.Error("the curve falls")
		}
		if a := tr.Metric(of("availability")).V; math.Abs(share[len(share)-1]-a) > 1e-12 {
			t.Errorf("the plateau is %v, the availability %v", share[len(share)-1], a)
		}
	}
}

func TestBand(t *testing.T) {
	var trials []*analysis.Trial
	for ms := range 5 {
		trials = append(trials, analysis.Of(analysistest.Trial{Latency: time.Duration(ms+1) * 10 * time.Millisecond, For: 2 * sec}.Recording()))
	}
	trials = append(trials, analysis.Of(kill(18*sec, 12*sec).Recording()))
	band := analysis.Band(trials, func(s analysis.Second) analysis.Value { return s.P99 })
	if len(band) != 20 || band[0].N != 6 || band[19].N != 1 {
		t.Fatalf("band has %d seconds, the first of %d trials", len(band), band[0].N)
	}
	// 5, 10, 20, 30, 40, 50 ms.
	if b := band[0]; math.Abs(b.Mid.V-0.025) > 3e-4 || math.Abs(b.Low.V-0.005) > 1e-4 || math.Abs(b.High.V-0.05) > 5e-4 {
		t.Errorf("band is %v %v %v", b.Low.V, b.Mid.V, b.High.V)
	}
	if band[10].Mid.State != analysis.Never {
		t.Errorf("in the outage the p99 is %v", band[10].Mid)
	}
	full := analysis.Band(trials, analysis.Second.Availability)
	if full[10].Mid.V != 0.67 {
		t.Errorf("availability in the outage is %v", full[10].Mid)
	}
}

func TestCrashIsLifelike(t *testing.T) {
	for _, rec := range analysistest.CrashRun(3) {
		tr := analysis.Of(rec)
		if p := tr.Problems(); len(p) > 0 {
			t.Errorf("%s-%d has problems: %q", rec.Arm, rec.Block, p)
		}
		a := tr.Metric(of("availability"))
		switch {
		case rec.Arm == "cluster" && (a.V < 0.98 || a.V > 0.9999):
			t.Errorf("the cluster's availability is %v", a.V)
		case rec.Arm == "single" && (a.V < 0.6 || a.V > 0.7):
			t.Errorf("the single node's availability is %v", a.V)
		}
		if r := tr.Metric(of("recovery")); rec.Arm == "cluster" && (r.State != analysis.OK || r.V > 3) {
			t.Errorf("the cluster recovered %v %s", r.V, r.State)
		}
		for _, m := range []string{"recovery", "failover"} {
			t.Logf("%s-%d %s %v", rec.Arm, rec.Block, m, tr.Metric(of(m)))
		}
	}
}
