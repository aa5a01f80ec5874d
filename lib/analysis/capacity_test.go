package analysis_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
)

// hold is one that was carried out.
func hold(rate float64, answer record.Answer) record.Hold {
	one := analysistest.Trial{Rate: 20, For: time.Second}.Recording()
	return record.Hold{Rate: rate, For: time.Second, Answer: answer, Why: "p99 never", Generator: one.Generator, Bins: one.Bins}
}

func search(holds ...record.Hold) *record.Recording {
	return &record.Recording{
		Header:    record.Header{Capacity: &record.Capacity{From: 10, To: 1000, Hold: time.Second}},
		Holds:     holds,
		Generator: record.Generator{Complete: true},
	}
}

func TestCapacity(t *testing.T) {
	const met, unmet, unknown = record.Met, record.Unmet, record.Unknown
	ref := analysis.Ref{Metric: "capacity"}
	for name, c := range map[string]struct {
		holds []record.Hold
		want  analysis.Value
	}{
		"bracketed":            {[]record.Hold{hold(10, met), hold(20, unmet), hold(14, met), hold(14.7, unmet)}, analysis.Good(14)},
		"a gap is left":        {[]record.Hold{hold(10, met), hold(20, unmet), hold(14, met), hold(17, unknown)}, analysis.Value{V: 14, State: analysis.Censored}},
		"not tried once more":  {[]record.Hold{hold(10, met), hold(20, unmet), hold(14, met), hold(14.7, unmet), hold(14.7, unknown)}, analysis.Value{V: 14, State: analysis.Censored}},
		"tried once more":      {[]record.Hold{hold(10, met), hold(20, unmet), hold(14, met), hold(14.7, unknown), hold(14.7, unmet)}, analysis.Good(14)},
		"never too much":       {[]record.Hold{hold(10, met), hold(20, met)}, analysis.Value{V: 20, State: analysis.Censored}},
		"met when tried again": {[]record.Hold{hold(10, met), hold(10.4, unmet), hold(10.4, met), hold(10.8, unmet)}, analysis.Good(10.4)},
		"not met below it":     {[]record.Hold{hold(10, met), hold(20, unmet), hold(40, met)}, analysis.Value{V: 40, State: analysis.Censored}},
		"not at from":          {[]record.Hold{hold(10, unmet)}, analysis.Missing("not even")},
		"unknown at from":      {[]record.Hold{hold(10, unknown)}, analysis.Missing("cannot be told")},
		"nothing":              {nil, analysis.Missing("no hold")},
		"answers of nobody":    {[]record.Hold{hold(10, ""), hold(20, "yes")}, analysis.Missing("no hold")},
	} {
		got := analysis.Of(search(c.holds...)).Metric(ref)
		if got.State != c.want.State || got.V != c.want.V || !strings.Contains(got.Why, c.want.Why) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if v := analysis.Of(analysistest.Trial{For: time.Second}.Recording()).Metric(ref); v.State != analysis.NoData {
		t.Errorf("a load with a rate has capacity %+v", v)
	}
	for _, s := range analysis.Specs() {
		ref := analysis.Ref{Metric: s.Name, Args: make([]float64, len(s.Args))}
		if v := analysis.Of(search(hold(10, met))).Metric(ref); !s.Search && v.State != analysis.NoData {
			t.Errorf("a search has %s %+v", s.Name, v)
		}
	}
}

// A search counts if every hold was carried out and accounted for.
func TestSearchProblems(t *testing.T) {
	good := func() *record.Recording { return search(hold(10, record.Met), hold(20, record.Unmet)) }
	if p := analysis.Of(good()).Problems(); len(p) > 0 {
		t.Errorf("a good one: %q", p)
	}
	left := good()
	left.Holds = append(left.Holds, record.Hold{Rate: 30, Answer: record.Unknown, Why: "it was not tried"})
	if p := analysis.Of(left).Problems(); len(p) > 0 {
		t.Errorf("one that says why it ended: %q", p)
	}
	for want, spoil := range map[string]func(*record.Recording){
		"no hold of the search":    func(r *record.Recording) { r.Holds = nil },
		"was not judged":           func(r *record.Recording) { r.Holds[1].Answer = "" },
		"whole schedule of hold 1": func(r *record.Recording) { r.Holds[0].Generator.Complete = false },
		"have an outcome":          func(r *record.Recording) { r.Holds[0].Generator.Scheduled++ },
		"generator counted":        func(r *record.Recording) { r.Holds[1].Bins = r.Holds[1].Bins[1:] },
		"belong to no hold":        func(r *record.Recording) { r.Bins = r.Holds[0].Bins },
		"carried to its end":       func(r *record.Recording) { r.Generator.Complete = false },
		"no request was due in": func(r *record.Recording) {
			r.Holds[0].Bins, r.Holds[0].Generator.Scheduled = nil, 0
			r.Holds[0].Generator.Counted = 0
		},
		"the target did not answer": func(r *record.Recording) { r.Problems = []string{"the target did not answer"} },
	} {
		r := good()
		spoil(r)
		if p := strings.Join(analysis.Of(r).Problems(), "; "); !strings.Contains(p, want) {
			t.Errorf("want %q, got %q", want, p)
		}
	}
}

// What was offered is what went out, over the time that it took.
func TestOffered(t *testing.T) {
	trial := analysistest.Trial{Rate: 100, For: 10 * time.Second, Timeout: 20 * time.Second}
	if got := analysis.Of(trial.Recording()).Offered(); math.Abs(got-100) > 0.1 {
		t.Errorf("a punctual generator offers %v", got)
	}
	late := trial
	late.Each = func(s *record.Sample, _ *rand.Rand) { // it sends 50/s, and so takes twice as long
		s.Sent = 2 * s.Due
		s.Done = s.Sent + time.Millisecond
	}
	if got := analysis.Of(late.Recording()).Offered(); math.Abs(got-50) > 1 {
		t.Errorf("one that sends 50/s offers %v", got)
	}
	spoiled := trial
	spoiled.Each = func(s *record.Sample, _ *rand.Rand) {
		if s.Seq%4 == 0 {
			s.Class, s.Sent = record.Local, record.None
		}
		if s.Seq%4 == 1 {
			s.Class, s.Sent = record.Shed, record.None
		}
	}
	a := analysis.Of(spoiled.Recording())
	if got := a.Offered(); math.Abs(got-75) > 0.5 || math.Abs(a.OwnShare()-0.25) > 0.01 {
		t.Errorf("with a quarter spoiled and a quarter shed it offers %v, and spoils %v", got, a.OwnShare())
	}
	empty := analysis.Of(&record.Recording{Header: record.Header{For: time.Second}})
	if empty.Offered() != 0 || empty.OwnShare() != 0 {
		t.Errorf("nothing offers %v", empty.Offered())
	}
}
