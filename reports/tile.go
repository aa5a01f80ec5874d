package reports

import (
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A tile is one of the six numbers above all.
type tile struct {
	label   string
	num     string
	unit    string
	iv      string
	verdict rundir.Verdict // of its objective, "" if there is none
	judged  string         // the objective's limit, or that there is none
	others  []otherValue
}

// An otherValue is what another arm has there.
type otherValue struct {
	arm  *arm
	text string
}

// makeTiles chooses six numbers: what the objectives are mostly about, as far as the scenario gives them.
func (s *sheet) makeTiles() []tile {
	if s.subject == nil {
		return nil
	}
	if s.searches() {
		return s.capacityTiles()
	}
	ms := []measure{{label: "Availability", ref: analysis.Ref{Metric: "availability"}}}
	if len(s.faults) > 0 {
		of := ""
		if len(s.faults) > 1 {
			of = ", " + s.faults[0]
		}
		ms = append(
			ms,
			measure{label: "Lost per fault" + of, ref: analysis.Ref{Metric: "lost_requests", Fault: s.faults[0]}},
			measure{label: "Recovered in" + of, ref: analysis.Ref{Metric: "recovery", Fault: s.faults[0]}},
		)
	} else {
		ms = append(ms,
			measure{label: "p50, all requests", ref: analysis.Ref{Metric: "p50"}},
			measure{label: "p95, all requests", ref: analysis.Ref{Metric: "p95"}})
	}
	budget := measure{label: "Longest silence", ref: analysis.Ref{Metric: "longest_silence"}}
	if v := s.value(s.subject, analysis.Whole, affordable()); len(s.faults) > 0 && v.State != analysis.NoData {
		budget = measure{label: "30" + nb + "days afford", ref: affordable()}
	}
	ms = append(ms,
		measure{label: "p99, all requests", ref: analysis.Ref{Metric: "p99"}},
		budget)
	var tiles []tile
	for _, m := range ms {
		tiles = append(tiles, s.tile(m))
	}
	if t, ok := s.priceTile(); ok {
		return append(tiles, t)
	}
	return append(tiles, s.tile(measure{label: "Good answers", ref: analysis.Ref{Metric: "goodput"}}))
}

// capacityTiles are those of a search: what the subject carries, and what the law says where there are sizes.
func (s *sheet) capacityTiles() []tile {
	tiles := []tile{s.tile(measure{label: "Capacity", ref: capacityRef()})}
	add := func(label string, r reading) {
		tiles = append(tiles, tile{label: label, num: r.num, unit: r.unit, iv: r.iv, judged: "no objective"})
	}
	share := scale{times: 100, unit: "%"}
	if z := s.size(s.subject); z != nil {
		add("Efficiency, per node", share.read(z.Efficiency))
	}
	if s.run.Scaling == nil || s.run.Scaling.Fit == nil {
		return tiles
	}
	f := s.run.Scaling.Fit
	add("One node, by the law", read(f.Lambda, slo.Absolute))
	add("Contention σ", share.read(f.Sigma))
	add("Coherency κ", share.read(f.Kappa))
	peak := scale{times: 1, unit: "nodes"}.read(f.Peak)
	if peak.state == analysis.NoData {
		peak = reading{num: "none shown"}
	}
	add("Most carried with", peak)
	if n := s.run.Scaling.Sizes; len(n) > 0 && f.Peak.Value != nil && *f.Peak.Value > float64(n[len(n)-1].Nodes) {
		tiles[len(tiles)-1].judged = "more than were measured"
	}
	return tiles
}

func (s *sheet) tile(m measure) tile {
	r := read(s.value(s.subject, m.phase, m.ref), slo.Absolute)
	t := tile{label: m.label, num: r.num, unit: r.unit, iv: r.iv, judged: "no objective"}
	if m.ref.Metric == "lost_requests" && r.state == analysis.OK {
		t.unit = "requests"
	}
	if m.ref.Metric == "affordable" {
		t.judged = "such faults, at 99.9" + nb + "%"
		if len(s.faults) > 1 {
			t.judged = "such runs, at 99.9" + nb + "%"
		}
	}
	if o, ok := s.objectiveOn(s.subject, m); ok {
		t.verdict, t.judged = o.Verdict, limitText(o)
		if o.Severity == slo.SeverityWarn {
			t.judged += ", warns only"
		}
	}
	for _, a := range s.sized() {
		if a != s.subject {
			if v := s.value(a, m.phase, m.ref); v.State != analysis.NoData {
				t.others = append(t.others, otherValue{a, read(v, slo.Absolute).String()})
			}
		}
	}
	return t
}

// priceTile is what the subject costs before anything is broken.
func (s *sheet) priceTile() (tile, bool) {
	v, iv, ok := s.priceOf()
	if !ok {
		return tile{}, false
	}
	num, unit := percentChange(v), ""
	if n := len(num); n > 3 && num[n-1] == '%' {
		num, unit = num[:n-1-len(nb)], "%"
	}
	t := tile{label: "Price, healthy p50", num: num, unit: unit, iv: iv, judged: "no objective"}
	if len(s.faults) == 0 {
		t.label = "Price, p50"
	}
	if o, ok := s.priceObjective(); ok {
		t.verdict, t.judged = o.Verdict, "margin "+marginText(o)
		if o.Margin == 0 {
			t.judged = "no margin"
		}
		if o.Severity == slo.SeverityWarn {
			t.judged += ", warns only"
		}
	}
	base := read(s.value(s.baseline, s.pricePhase(), analysis.Ref{Metric: "p50"}), slo.Absolute)
	t.others = []otherValue{{s.baseline, base.String()}}
	return t, true
}

func (s *sheet) pricePhase() analysis.Phase {
	if len(s.faults) > 0 {
		return analysis.Before
	}
	return analysis.Whole
}

// priceObjective finds the objective that compares the two arms' medians.
func (s *sheet) priceObjective() (rundir.Objective, bool) {
	if s.baseline == nil || s.subject == nil || s.subject == s.baseline {
		return rundir.Objective{}, false
	}
	metric := ".p50"
	if p := s.pricePhase(); p != analysis.Whole {
		metric = "." + string(p) + metric
	}
	want := s.subject.Name + metric
	for _, o := range s.run.Objectives {
		t := squeeze(o.Text)
		if o.Form == slo.Ratio && (t == want+"<="+s.baseline.Name+metric || t == want+"<"+s.baseline.Name+metric) {
			return o, true
		}
	}
	return rundir.Objective{}, false
}

// manifold is the quotient from which on a change is told as a factor and not in percent.
const manifold = 3

// priceOf is the subject's median over the baseline's, and its interval: in percent, from threefold on as factors.
func (s *sheet) priceOf() (ratio float64, interval string, ok bool) {
	c := s.comparison(s.pricePhase(), "p50")
	v := c.value
	if c.form != slo.Ratio || v.State != analysis.OK || v.Value == nil {
		return 0, "", false
	}
	if v.Low != nil && v.High != nil && *v.Value >= manifold {
		sc := scaleOf(analysis.Number, slo.Ratio, *v.Value)
		interval = sc.format(*v.Low, sc.decimals(*v.Low)) + nb + "–" + nb + sc.format(*v.High, sc.decimals(*v.High))
	} else if v.Low != nil && v.High != nil {
		sc, d := scale{times: 100}, changeDecimals(*v.Value)
		interval = sc.format(*v.Low-1, d) + nb + "–" + nb + sc.format(*v.High-1, d)
	}
	return *v.Value, interval, true
}

// noPrice reports whether the interval of the price contains no change.
func (s *sheet) noPrice() bool {
	v := s.comparison(s.pricePhase(), "p50").value
	return v.Low != nil && v.High != nil && *v.Low <= 1 && *v.High >= 1
}

// percentChange is "+21 %" for 1.21; beyond threefold it says "× 3.40".
func percentChange(ratio float64) string {
	if ratio >= manifold {
		sc := scaleOf(analysis.Number, slo.Ratio, ratio)
		return sc.prefix + sc.format(ratio, sc.decimals(ratio))
	}
	sc := scale{times: 100, signed: true}
	return sc.format(ratio-1, changeDecimals(ratio)) + nb + "%"
}

func changeDecimals(ratio float64) int {
	if p := (ratio - 1) * 100; p > -10 && p < 10 {
		return 1
	}
	return 0
}

// tileNote says what the tiles are.
func (s *sheet) tileNote() string {
	if s.subject == nil {
		return ""
	}
	var due uint64
	n := 0
	s.each(func(t rundir.Trial, a *analysis.Trial) {
		if a != nil && t.Counted && t.Arm == s.subject.Name {
			n++
			due = max(due, a.Rec.Generator.Scheduled)
		}
	})
	note := " from too few trials for an interval"
	for _, t := range s.tiles {
		if t.iv != "" {
			note = " with two-sided 95" + nb + "% intervals"
			break
		}
	}
	if n > 0 && due > 0 {
		note += fmt.Sprintf("; %s of %s requests, warm-up included", plural(n, "trial", "trials"), count(due))
	}
	return note + "."
}

// elapsed is a long time: "26 min 40 s".
func elapsed(d time.Duration) string {
	d = d.Round(time.Second)
	m, sec := int(d/time.Minute), int(d%time.Minute/time.Second)
	switch {
	case d < 0:
		return "0" + nb + "s"
	case m == 0:
		return fmt.Sprintf("%d"+nb+"s", sec)
	case m >= 60:
		return fmt.Sprintf("%d"+nb+"h %d"+nb+"min", m/60, m%60)
	}
	return fmt.Sprintf("%d"+nb+"min %d"+nb+"s", m, sec)
}
