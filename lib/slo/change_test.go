package slo_test

import (
	"math"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

// values are those of blocks: numbers, never (+Inf) and no data (NaN).
func values(vs ...float64) (all []analysis.Value) {
	for _, v := range vs {
		switch {
		case math.IsInf(v, 1):
			all = append(all, analysis.Value{State: analysis.Never})
		case math.IsNaN(v):
			all = append(all, analysis.Missing("it was not measured"))
		default:
			all = append(all, analysis.Good(v))
		}
	}
	return all
}

func around100(factor float64) []analysis.Value {
	return values(.098*factor, .1*factor, .101*factor, .099*factor, .103*factor, .097*factor)
}

func TestChanges(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	time := func(was, now []analysis.Value) slo.Change {
		return slo.Change{Subject: "a.p99", Was: was, Now: now, Unit: analysis.Seconds, Ratio: true, Floor: 1e-6, Margin: 0.1}
	}
	share := func(was, now []analysis.Value) slo.Change {
		return slo.Change{Subject: "a.availability", Was: was, Now: now, Unit: analysis.Ratio, Lower: true, Margin: 0.01}
	}
	never := values(inf, inf, inf, inf, inf, inf)
	for name, c := range map[string]struct {
		change slo.Change
		want   slo.Outcome
		better bool
		by     float64
		reason string
	}{
		"the same":              {time(around100(1), around100(1)), slo.Pass, false, 1, "within the limit of 1.1"},
		"slower in the margin":  {time(around100(1), around100(1.05)), slo.Pass, false, 1.05, "within the limit"},
		"slower":                {time(around100(1), around100(1.3)), slo.Fail, false, 1.3, "worse than the limit of 1.1"},
		"faster":                {time(around100(1), around100(0.7)), slo.Pass, true, 0.7, "within"},
		"at the margin":         {time(around100(1), around100(1.1)), slo.Inconclusive, false, 1.1, "neither"},
		"never came":            {time(around100(1), never), slo.Fail, false, inf, "worse"},
		"came at last":          {time(never, around100(1)), slo.Pass, true, 0, "within"},
		"never and never":       {time(never, never), slo.Pass, false, 1, "within"},
		"no data now":           {time(around100(1), values(.1, .1, nan, .1, .1, .1)), slo.Inconclusive, false, 0, "no data now: it was not measured"},
		"no data before":        {time(values(nan), around100(1)), slo.Inconclusive, false, 0, "no data before"},
		"nothing":               {time(nil, around100(1)), slo.Inconclusive, false, 0, "no block counts"},
		"too few":               {time(values(.1, .1, .1), values(.2, .2, .2)), slo.Inconclusive, false, 2, "four blocks on each side, and here are 3 and 3"},
		"below its resolution":  {time(values(0, 0, 0, 0), values(0, 0, 0, 0)), slo.Pass, false, 1, "within"},
		"as available":          {share(values(.99, .99, .99, .99), values(.989, .99, .99, .99)), slo.Pass, false, 0, "within the limit of -1 points"},
		"less available":        {share(values(.99, .99, .99, .99), values(.95, .95, .94, .95)), slo.Fail, false, -.04, "worse than the limit of -1 points"},
		"more available":        {share(values(.95, .95, .94, .95), values(.99, .99, .99, .99)), slo.Pass, true, .04, "within"},
		"a number that is none": {slo.Change{Subject: "x", Was: values(1, 1, 1, 1), Now: values(1, 1, 1, 1), Margin: nan}, slo.Inconclusive, false, 0, "is no number from 0"},
	} {
		got := slo.Changes([]slo.Change{c.change})[0]
		if got.Outcome != c.want || got.Better != c.better || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %s, better %v, because %q", name, got.Outcome, got.Better, got.Reason)
		}
		if got.By.State == analysis.OK && math.Abs(got.By.Value-c.by) > 0.012 {
			t.Errorf("%s: changed by %v, want %v", name, got.By.Value, c.by)
		}
	}
}

// Among many that could have become worse by chance one that barely did fails no longer.
func TestChangesAmongMany(t *testing.T) {
	worse := slo.Change{Subject: "a.p99", Was: values(.098, .1, .101, .099), Now: around100(1.3)[:4], Unit: analysis.Seconds, Ratio: true, Margin: 0.1}
	same := slo.Change{Subject: "a.p50", Was: around100(1), Now: around100(1), Unit: analysis.Seconds, Ratio: true, Margin: 0.1}
	if got := slo.Changes([]slo.Change{worse}); got[0].Outcome != slo.Fail {
		t.Errorf("alone: %+v", got[0])
	}
	got := slo.Changes([]slo.Change{worse, same, same, same, same})
	if got[0].Outcome != slo.Inconclusive || !strings.Contains(got[0].Reason, "Holm, p = 0.014") {
		t.Errorf("among five: %s because %s", got[0].Outcome, got[0].Reason)
	}
	same.Severity = slo.SeverityWarn
	if got := slo.Changes([]slo.Change{worse, same, same, same, same}); got[0].Outcome != slo.Fail {
		t.Errorf("among four that only warn: %s", got[0].Outcome)
	}
}
