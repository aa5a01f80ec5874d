package reports

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A sheet is everything that a report says, in no format.
type sheet struct {
	result   *tutti.Result
	run      *rundir.Run
	arms     []*arm
	subject  *arm     // whom the report is about; nil without arms
	baseline *arm     // nil if there is none
	faults   []string // the names of the faults, in order of appearance

	detail detail // how much of all that a page shows
	pairs  map[pairing]compared
	time   *timeline // of figure 1, whose time the others share; nil until it is asked for

	sentence   []piece
	tiles      []tile
	objectives table
	overview   table // arms side by side, whole trial
	capacity   table // of a search, a row for each arm
	phases     table
	events     table
	errors     table
	examples   table // of requests, failed and slow
	writes     table // what was read back; no rows where nothing was verified
	effects    table // faults with proof and signature
	trials     table
	trust      table
	checks     []check
	provenance []entry
}

// An entry is one line of the provenance.
type entry struct {
	term   string
	values []string
	code   bool
}

// newSheet reads a result once, for all formats.
func newSheet(r *tutti.Result) *sheet {
	run := r.Run
	if run == nil {
		run = &rundir.Run{Verdict: rundir.Errored, Reasons: []string{"there is no run.json"}}
	}
	s := &sheet{result: r, run: run, arms: armsOf(run), detail: detailLevels[0]}
	for _, a := range s.arms {
		if a.Baseline {
			s.baseline = a
		}
	}
	s.subject = s.chooseSubject()
	seen := make(map[string]bool)
	for _, f := range run.Faults {
		if !seen[f.Name] {
			seen[f.Name] = true
			s.faults = append(s.faults, f.Name)
		}
	}
	s.pairs = s.compare()
	s.checks = s.makeChecks()
	s.objectives = s.objectiveTable()
	s.overview = s.overviewTable()
	s.capacity = s.capacityTable()
	s.phases = s.phaseTable()
	s.events = s.eventTable()
	s.errors = s.errorTable()
	s.examples = s.exampleTable()
	s.writes = s.writeTable()
	s.effects = s.effectTable()
	s.trials = s.trialTable()
	s.trust = s.trustTable()
	s.tiles = s.makeTiles()
	s.provenance = s.makeProvenance()
	s.sentence = s.makeSentence()
	return s
}

// chooseSubject takes the first arm that an objective names and that is not the
// baseline, else the first arm.
func (s *sheet) chooseSubject() *arm {
	for _, o := range s.run.Objectives {
		for _, name := range o.Arms {
			if a := s.arm(name); a != nil && !a.Baseline {
				return a
			}
		}
	}
	if len(s.arms) == 0 {
		return nil
	}
	return s.arms[0]
}

func (s *sheet) arm(name string) *arm {
	for _, a := range s.arms {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// value finds what was measured of an arm; no-data if it was not.
func (s *sheet) value(a *arm, phase analysis.Phase, ref analysis.Ref) rundir.Value {
	none := rundir.Value{State: analysis.NoData}
	if spec, ok := analysis.SpecOf(ref.Metric); ok {
		none.Unit = spec.Unit
	}
	if a == nil {
		return none
	}
	of, ok := s.run.Arms[a.Name]
	if !ok {
		return none
	}
	key, from := ref.String(), of.Metrics
	if phase != analysis.Whole {
		from = of.Phases[phase]
	}
	if v, ok := from[key]; ok {
		return v
	}
	return none
}

// A line of the overview: a metric, and how it is called.
type measure struct {
	label string
	phase analysis.Phase
	ref   analysis.Ref
}

// measures are the metrics of the overview.
func (s *sheet) measures() []measure {
	if s.searches() {
		return []measure{{label: "capacity", ref: capacityRef()}}
	}
	m := []measure{{label: "availability", ref: analysis.Ref{Metric: "availability"}}}
	for _, f := range s.faults {
		of := ""
		if len(s.faults) > 1 {
			of = " " + f
		}
		m = append(
			m,
			measure{label: "lost per fault" + of, ref: analysis.Ref{Metric: "lost_requests", Fault: f}},
			measure{label: "recovered" + of, ref: analysis.Ref{Metric: "recovery", Fault: f}},
		)
	}
	if len(s.faults) > 0 {
		m = append(m, measure{label: "p50 before", phase: analysis.Before, ref: analysis.Ref{Metric: "p50"}})
	} else {
		m = append(m, measure{label: "p50, all requests", ref: analysis.Ref{Metric: "p50"}})
	}
	return append(
		m,
		measure{label: "p99, all requests", ref: analysis.Ref{Metric: "p99"}},
		measure{label: "longest silence", ref: analysis.Ref{Metric: "longest_silence"}},
		measure{label: "good answers", ref: analysis.Ref{Metric: "goodput"}},
	)
}

// overviewTable sets the arms side by side.
func (s *sheet) overviewTable() table {
	t := table{id: "t-overview", caption: "Estimates over the valid trials with two-sided 95 % intervals.", head: []column{left("metric")}}
	for _, a := range s.arms {
		t.head = append(t.head, column{text: a.Name, arm: a, num: true})
	}
	for _, m := range s.measures() {
		if cells := s.metricRow(m.label, m.phase, m.ref); cells != nil {
			t.add(cells...)
		}
	}
	return t
}

// metricRow is a metric of all arms in one unit; nil if no arm has it.
func (s *sheet) metricRow(label string, phase analysis.Phase, ref analysis.Ref) []cell {
	var values []rundir.Value
	var on []float64
	known := false
	for _, a := range s.arms {
		v := s.value(a, phase, ref)
		values = append(values, v)
		on = append(on, finite(v)...)
		known = known || v.State != analysis.NoData
	}
	if !known {
		return nil
	}
	sc := scaleOf(values[0].Unit, slo.Absolute, on...)
	bare := !farApart(values)
	if sc.unit != "" && bare {
		label += "," + nb + sc.unit
	}
	cells := []cell{text(label)}
	for _, v := range values {
		r := sc.read(v)
		if !bare {
			r = read(v, slo.Absolute)
		}
		cells = append(cells, r.cell(bare))
	}
	return cells
}

// farApart tells times that no common unit fits.
func farApart(values []rundir.Value) bool {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if v.Unit == analysis.Seconds && v.Value != nil && *v.Value > 0 {
			lo, hi = min(lo, *v.Value), max(hi, *v.Value)
		}
	}
	return hi > 100*lo
}

// upper makes the first letter a capital, unless the first word is code, a node's name or a
// symbol, as the t of a t interval.
func upper(s string) string {
	word, _, _ := strings.Cut(strings.ReplaceAll(s, nb, " "), " ")
	if utf8.RuneCountInString(word) < 2 && word != "A" && word != "a" || strings.ContainsFunc(strings.TrimRight(word, ".,;:"), codelike) {
		return s
	}
	r := []rune(s)
	return strings.ToUpper(string(r[:1])) + string(r[1:])
}

func codelike(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune("._{}()/=<>\"", r) }
