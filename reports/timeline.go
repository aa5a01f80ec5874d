package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// fewTrials is the number below which trials are drawn one by one instead of as a band.
const fewTrials = 8

// maxPoints bounds the points of a line; longer runs show the worst of several seconds.
const maxPoints = 450

// A timeline is what figure 1 shows: all arms on one axis of time.
type timeline struct {
	length float64 // s of measured load
	step   int     // seconds a point stands for
	lines  []timelineArm
	lanes  []timelineLane
	more   int // lanes left out
	faults []timelineFault
	others int  // faults left out
	banded *arm // whose faults are shaded through all panels
	marks  []timelineMark
	block  int     // whose nodes, faults and events are shown
	slo    float64 // share, 0: no objective
	loose  bool    // drawn from trials that do not count
}

type timelineArm struct {
	arm            *arm
	n              int
	avail          []analysis.BandPoint
	p50, p99       []analysis.BandPoint
	trials, trial9 [][]analysis.BandPoint // availability and p99 one by one, where trials are few
	worst          float64                // the lowest share in any second of any trial
	any            bool                   // there is such a second
	low            []int                  // seconds below 99 % in each trial
	never50        int                    // seconds in which the median over the trials never comes
	never99        int                    // the same of the 99th percentile
}

type timelineLane struct {
	arm *arm
	analysis.Lane
}

// A timelineFault is a fault of one arm's trial. It took effect after early and at from at the
// latest; it was gone after ending and at to at the latest.
type timelineFault struct {
	arm                     *arm
	name, what              string
	early, from, ending, to float64
	open                    bool // never undone
	band                    bool // shaded through all panels
}

type timelineMark struct {
	arm  *arm
	at   float64
	text string
}

// shown are an arm's trials that count, or all it has where none does.
func (s *sheet) shown(a *arm) (trials []*analysis.Trial, loose bool) {
	var all []*analysis.Trial
	s.each(func(t rundir.Trial, of *analysis.Trial) {
		if of == nil || t.Arm != a.Name || of.Rec.For <= 0 || len(of.Rec.Bins) == 0 {
			return
		}
		all = append(all, of)
		if t.Counted {
			trials = append(trials, of)
		}
	})
	if len(trials) == 0 {
		return all, len(all) > 0
	}
	return trials, false
}

// timeline is what figure 1 shows, nil if there is nothing.
func (s *sheet) timeline() *timeline {
	if s.time == nil {
		s.time = s.makeTimeline()
	}
	return s.time
}

func (s *sheet) makeTimeline() *timeline {
	t := &timeline{}
	for _, a := range s.inFigures() {
		trials, loose := s.shown(a)
		if len(trials) == 0 {
			continue
		}
		t.loose = t.loose || loose
		for _, of := range trials {
			t.length = max(t.length, of.Rec.For.Seconds())
		}
		t.lines = append(t.lines, lineOf(a, trials))
	}
	if len(t.lines) == 0 {
		return nil
	}
	t.step = max(1, int(math.Ceil(t.length/maxPoints)))
	for i := range t.lines {
		t.lines[i].thin(t.step)
	}
	s.onePicture(t)
	t.chooseBands(s.subject)
	for _, o := range s.run.Objectives {
		lhs, _, _ := strings.Cut(squeeze(o.Text), ">")
		if o.Form == slo.Absolute && o.Limit != nil && strings.HasSuffix(lhs, ".availability") {
			t.slo = max(t.slo, *o.Limit)
		}
	}
	return t
}

// chooseBands shades the faults of one arm only: those of each arm's own trial differ a little.
func (t *timeline) chooseBands(subject *arm) {
	for i, f := range t.faults {
		if i == 0 || f.arm == subject {
			t.banded = f.arm
		}
	}
	for i := range t.faults {
		t.faults[i].band = t.faults[i].arm == t.banded
	}
}

func availability(s analysis.Second) analysis.Value { return s.Availability() }
func p50(s analysis.Second) analysis.Value          { return s.P50 }
func p99(s analysis.Second) analysis.Value          { return s.P99 }

// nevers counts the seconds in which a percentile is never.
func nevers(seconds []analysis.BandPoint) (n int) {
	for _, p := range seconds {
		if p.Mid.State == analysis.Never {
			n++
		}
	}
	return n
}

func lineOf(a *arm, trials []*analysis.Trial) timelineArm {
	l := timelineArm{
		arm: a, n: len(trials), avail: analysis.Band(trials, availability),
		p50: analysis.Band(trials, p50), p99: analysis.Band(trials, p99),
	}
	l.never50, l.never99 = nevers(l.p50), nevers(l.p99) // before they are thinned
	l.worst = 1
	for _, of := range trials {
		low := 0
		for _, sec := range of.Seconds() {
			if v := sec.Availability(); v.State == analysis.OK {
				l.worst, l.any = min(l.worst, v.V), true
				if v.V < 0.99 {
					low++
				}
			}
		}
		l.low = append(l.low, low)
	}
	if len(trials) > 1 && len(trials) < fewTrials {
		for _, of := range trials {
			one := []*analysis.Trial{of}
			l.trials = append(l.trials, analysis.Band(one, availability))
			l.trial9 = append(l.trial9, analysis.Band(one, p99))
		}
	}
	return l
}

// thin reduces a line to the worst of every few seconds: an outage stays as deep as it was.
func (l *timelineArm) thin(step int) {
	l.avail, l.p50, l.p99 = thin(l.avail, step, false), thin(l.p50, step, true), thin(l.p99, step, true)
	for i := range l.trials {
		l.trials[i], l.trial9[i] = thin(l.trials[i], step, false), thin(l.trial9[i], step, true)
	}
}

func thin(ps []analysis.BandPoint, step int, highest bool) []analysis.BandPoint {
	if step <= 1 {
		return ps
	}
	var out []analysis.BandPoint
	for i := 0; i < len(ps); i += step {
		w := ps[i]
		for _, p := range ps[i+1 : min(i+step, len(ps))] {
			w.N = max(w.N, p.N)
			w.Mid, w.Low, w.High = worse(w.Mid, p.Mid, highest), worse(w.Low, p.Low, highest), worse(w.High, p.High, highest)
		}
		out = append(out, w)
	}
	return out
}

func worse(a, b analysis.Value, highest bool) analysis.Value {
	switch {
	case a.State == analysis.Never || b.State != analysis.OK && b.State != analysis.Never:
		return a
	case b.State == analysis.Never || a.State != analysis.OK:
		return b
	case (b.V > a.V) == highest:
		return b
	}
	return a
}

// maxLanes bounds the lanes of nodes.
const maxLanes = 16

// maxFaults bounds the lanes of faults; the table of faults has them all.
const maxFaults = 8

// onePicture takes nodes, faults and events from one block: they are moments, not averages.
func (s *sheet) onePicture(t *timeline) {
	pick := func(counted bool) int {
		for i, r := range s.run.Trials {
			if i < len(s.result.Trials) && s.result.Trials[i] != nil && s.result.Trials[i].Rec != nil && (r.Counted || !counted) {
				return r.Block
			}
		}
		return 0
	}
	if t.block = pick(true); t.block == 0 {
		t.block = pick(false)
	}
	faults := make(map[*arm][]timelineFault)
	for _, a := range s.inFigures() {
		s.each(func(r rundir.Trial, of *analysis.Trial) {
			if of == nil || r.Block != t.block || r.Arm != a.Name {
				return
			}
			for _, l := range of.Lanes() {
				if len(t.lanes) >= maxLanes {
					t.more++
					continue
				}
				t.lanes = append(t.lanes, timelineLane{a, l})
			}
			faults[a] = append(faults[a], faultsOf(a, of)...)
			t.marks = append(t.marks, marksOf(a, of, len(s.faults) > 1)...)
		})
	}
	t.chooseFaults(s, faults)
}

// chooseFaults draws each arm's faults if there is room for all of one arm's; those of the arm that the report is about
// come first, and of them as many as there is room for.
func (t *timeline) chooseFaults(s *sheet, of map[*arm][]timelineFault) {
	room := maxFaults
	take := func(a *arm, n int) {
		room -= n
		t.others += len(of[a]) - n
		of[a] = of[a][:n]
	}
	if s.subject != nil {
		take(s.subject, min(len(of[s.subject]), room))
	}
	for _, a := range s.inFigures() {
		switch n := len(of[a]); {
		case a == s.subject:
		case n <= room:
			take(a, n)
		default:
			take(a, 0)
		}
	}
	for _, a := range s.inFigures() {
		t.faults = append(t.faults, of[a]...)
	}
}

func faultsOf(a *arm, of *analysis.Trial) []timelineFault {
	var out []timelineFault
	for _, f := range of.Rec.Faults {
		if f.Onset == nil || f.Onset.From >= of.Rec.For {
			continue
		}
		end := of.Rec.For.Seconds()
		l := timelineFault{arm: a, name: f.Name, early: f.Onset.From.Seconds(), from: f.Onset.To.Seconds(), ending: end, to: end, open: true}
		l.what = f.Verb + " " + strings.Join(f.Nodes, ", ") + ": onset " + moment(f.Onset, 2)
		if f.Heal != nil {
			l.ending, l.to, l.open = min(f.Heal.From.Seconds(), end), min(f.Heal.To.Seconds(), end), false
			l.what += ", undone " + moment(f.Heal, 2)
		} else {
			l.what += ", not undone"
		}
		out = append(out, l)
	}
	return out
}

// moment is when an edge was: at one time, or somewhere between two.
func moment(e *record.Edge, decimals int) string {
	from, to := strconv.FormatFloat(e.From.Seconds(), 'f', decimals, 64), strconv.FormatFloat(e.To.Seconds(), 'f', decimals, 64)
	if from == to {
		return to + nb + "s"
	}
	return from + nb + "–" + nb + to + nb + "s"
}

func marksOf(a *arm, of *analysis.Trial, name bool) []timelineMark {
	onset := make(map[string]time.Duration)
	for _, f := range of.Rec.Faults {
		if f.Onset != nil {
			onset[f.Name] = f.Onset.To
		}
	}
	var out []timelineMark
	for _, m := range of.Milestones() {
		if m.Kind == "onset" || m.Kind == "healed" {
			continue
		}
		after := m.At - onset[m.Fault]
		text := a.Name + ": " + m.Kind
		if name {
			text += " (" + m.Fault + ")"
		}
		if after <= 20*time.Millisecond {
			text += " at once"
		} else {
			text += " +" + nb + duration(after)
		}
		out = append(out, timelineMark{a, m.At.Seconds(), text})
	}
	return out
}

// timelineChart is figure 1.
func (s *sheet) timelineChart() *chart {
	t := s.timeline()
	if t == nil {
		return nil
	}
	return &chart{
		n: 1, name: "timeline", title: "Timeline", finding: t.finding(), what: t.what(), alt: t.alt(), table: t.table,
		draw: func(narrow bool) *canvas {
			if narrow {
				return t.draw(frames1[1])
			}
			return t.draw(frames1[0])
		},
	}
}

// finding says the figure in a sentence, from all its trials: a median would hide the worst.
func (t *timeline) finding() string {
	var parts []string
	for _, l := range t.lines {
		if !l.any {
			continue
		}
		who, worst := l.arm.noun(), percent(l.worst)
		hit, length := l.below()
		switch {
		case l.worst == 1:
			parts = append(parts, who+" answered every request in every second")
		case hit == 0:
			parts = append(parts, who+" answered at least "+worst+" in every second")
		case hit < l.n:
			parts = append(parts, fmt.Sprintf("%s fell to %s in its worst second (%d of %s had one below 99"+nb+"%%)", who, worst, hit, plural(l.n, "trial", "trials")))
		default:
			parts = append(parts, fmt.Sprintf("%s fell to %s in its worst second and was below 99"+nb+"%% for %s", who, worst, length))
		}
	}
	if len(parts) == 0 {
		return "No second of it has a request."
	}
	return upper(strings.Join(parts, "; ")) + "."
}

// below is how many trials had a second below 99 %, and how many such seconds they had.
func (l *timelineArm) below() (trials int, length string) {
	low := slices.Clone(l.low)
	slices.Sort(low)
	for _, n := range low {
		if n > 0 {
			trials++
		}
	}
	if len(low) == 0 || low[0] == low[len(low)-1] {
		return trials, plural(low[0], "s", "s")
	}
	return trials, fmt.Sprintf("%d to %d"+nb+"s", low[0], low[len(low)-1])
}

func percent(share float64) string {
	sc := scale{times: 100, ratio: true}
	return strings.TrimSuffix(sc.format(share, sc.decimals(share)), ".00") + nb + "%"
}

func (t *timeline) what() string {
	n := 0
	for _, l := range t.lines {
		n = max(n, l.n)
	}
	var b strings.Builder
	switch {
	case t.banding() > 1:
		fmt.Fprintf(&b, "Where it is shaded a fault was in force, here in %s’s trial of block %d, with its edges dashed; the pale ends of bars are where an edge may lie. ", t.banded.noun(), t.block)
	case len(t.faults) > 0:
		fmt.Fprintf(&b, "Between the dashed lines the fault was in force, here in %s’s trial of block %d; the pale ends of its bar are where an edge may lie. ", t.banded.noun(), t.block)
	}
	if t.others > 0 {
		b.WriteString(plural(t.others, "fault is", "faults are") + " in the table of faults only. ")
	}
	b.WriteString("Where a percentile is “never”, so many requests failed that it has no value: the bar in the top row stands instead of a line. ")
	switch {
	case n == 1:
		b.WriteString("One trial of each arm.")
	case n < fewTrials:
		fmt.Fprintf(&b, "Heavy lines are medians of %d trials, thin ones the trials.", n)
	default:
		fmt.Fprintf(&b, "Lines are medians of %d trials, the shade holds the middle 80"+nb+"%%.", n)
	}
	if t.step > 1 {
		fmt.Fprintf(&b, " Each point is the worst of %d"+nb+"s.", t.step)
	}
	if t.loose {
		b.WriteString(" Drawn from trials that do not count.")
	}
	return b.String()
}

// alt says the figure in numbers to who cannot see it.
func (t *timeline) alt() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Timeline over %s. %s", seconds(t.length), t.finding())
	for _, f := range t.faults {
		b.WriteString(" Fault " + f.name + " in " + f.arm.noun() + ", " + f.what + ".")
	}
	for _, m := range t.marks {
		b.WriteString(" " + m.text + ".")
	}
	return b.String()
}

// table is the figure in numbers.
func (t *timeline) table() table {
	out := table{
		id: "t-f1", class: "sm tl", caption: "Medians over the trials. Latency in ms, over all requests due in the second.",
		head: []column{left("s")},
	}
	if t.step > 1 {
		out.caption += fmt.Sprintf(" Each row is the worst of %d"+nb+"s.", t.step)
	}
	rows := 0
	for _, l := range t.lines {
		out.head = append(out.head, num(l.arm.Name+", %"), num("p50, ms"), num("p99, ms"))
		rows = max(rows, len(l.avail))
	}
	ms := scale{times: 1e3}
	value := func(ps []analysis.BandPoint, i int, sc scale) cell {
		if i >= len(ps) {
			return cell{}
		}
		switch v := ps[i].Mid; v.State {
		case analysis.OK:
			return text(sc.format(v.V, sc.decimals(v.V)))
		case analysis.Never:
			return quiet("never")
		case analysis.Censored, analysis.NoData:
		}
		return quiet("no data")
	}
	for i := range rows {
		cells := []cell{text(strconv.Itoa(i * t.step))}
		for _, l := range t.lines {
			cells = append(cells, value(l.avail, i, scale{times: 100, ratio: true}), value(l.p50, i, ms), value(l.p99, i, ms))
		}
		out.add(cells...)
	}
	return out
}
