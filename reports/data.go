package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// DataSchema names the format of the data in a page; fields are only ever added to it. See README.md.
const DataSchema = "tutti.data/1"

// Data is what a page carries in its element "run-data": what its numbers can be computed from again. Names are as
// the page shows them.
type Data struct {
	Schema  string      `json:"schema"`
	Run     string      `json:"run"`
	Window  float64     `json:"window"` // s, the length of an entry of due and good
	Trials  []DataTrial `json:"trials"`
	Figures DataFigures `json:"figures"`

	// Where the trials are too large for a page, they lack what is by phase, and metrics, and these have it.
	Arms    map[string]map[string]DataPart `json:"arms,omitempty"`     // parts of the trials that count, added up by arm
	Columns []DataColumn                   `json:"columns,omitempty"`  // metrics of all trials
	LeftOut []string                       `json:"left_out,omitempty"` // what is not here that is elsewhere, in words
}

// A DataColumn is a metric of every trial, in their order.
type DataColumn struct {
	Metric string                 `json:"metric"`
	Phase  string                 `json:"phase,omitempty"`
	Values []*float64             `json:"values"`
	States map[int]analysis.State `json:"states,omitempty"` // of trials, from 0, whose state is not ok
}

// A DataTrial is one trial. Its lists are of measured load; Due and Good are lists of runs: value, how often, value …
type DataTrial struct {
	Arm     string                  `json:"arm"`
	Block   int                     `json:"block"`
	Order   int                     `json:"order"`
	Counted bool                    `json:"counted"`
	For     float64                 `json:"for"`  // s
	Rate    float64                 `json:"rate"` // requests due per second, on the average
	Timeout float64                 `json:"timeout"`
	Phases  map[string][][2]float64 `json:"phases"` // from, to in s
	Due     []uint64                `json:"due"`
	Good    []uint64                `json:"good"`
	Parts   map[string]DataPart     `json:"parts,omitempty"` // by phase; "" is what lies between the phases
	Lag     *record.Hist            `json:"lag,omitempty"`   // sent − due, ns
	Faults  []DataFault             `json:"faults,omitempty"`
	P50     []int64                 `json:"p50,omitempty"` // ns in each second over all requests; −1 never, −2 no request; absent in long runs
	P99     []int64                 `json:"p99,omitempty"`
	Metrics map[string]DataValue    `json:"metrics,omitempty"` // as run.json has them of this trial; what needs exact times is only here
}

// A DataPart is a phase's requests.
type DataPart struct {
	Due    uint64       `json:"due"`
	Good   uint64       `json:"good"`
	Bad    []DataBad    `json:"bad,omitempty"`
	OK     *record.Hist `json:"ok"` // response times of the good ones, ns; see lib/record
	Length float64      `json:"length"`
}

// A DataBad counts bad requests of a class by the node that answered.
type DataBad struct {
	Class string `json:"class"`
	Node  string `json:"node,omitempty"`
	Count uint64 `json:"count"`
}

// A DataFault is when a fault was on.
type DataFault struct {
	Name  string      `json:"name"`
	Verb  string      `json:"verb"`
	Nodes []string    `json:"nodes"`
	Onset *[2]float64 `json:"onset"` // it took effect between these
	Heal  *[2]float64 `json:"heal"`
}

// A DataValue is a metric of a trial.
type DataValue struct {
	Value *float64       `json:"value"`
	State analysis.State `json:"state"`
}

// DataFigures is what figures show that cannot be told from the trials' sums.
type DataFigures struct {
	Timeline []DataLine  `json:"timeline,omitempty"`
	Answered []DataCurve `json:"answered,omitempty"`
	Worst    []DataCurve `json:"worst,omitempty"`
	Heat     *DataHeat   `json:"heat,omitempty"`
	Traffic  []DataLayer `json:"traffic,omitempty"`
	Flow     []DataFlow  `json:"flow,omitempty"`
}

// A DataLine is an arm's lines in figure 1: medians over the trials by step of seconds; −1 never, −2 no data.
type DataLine struct {
	Arm          string    `json:"arm"`
	Step         int       `json:"step"`
	Availability []float64 `json:"availability"`
	P50          []float64 `json:"p50"`
	P99          []float64 `json:"p99"`
}

// A DataCurve is an arm's line in figure 2 or 3: medians over the trials by time limit or by length of window, in s.
type DataCurve struct {
	Arm   string    `json:"arm"`
	X     []float64 `json:"x"`
	Share []float64 `json:"share"`
}

// DataHeat is figure 6: counts by row and column as lists of runs, row by row from the fastest.
type DataHeat struct {
	Columns int                 `json:"columns"`
	Rows    int                 `json:"rows"`
	Low     float64             `json:"low"` // s
	High    float64             `json:"high"`
	OK      map[string][]uint64 `json:"ok"`
	Bad     map[string][]uint64 `json:"bad"`
}

// A DataLayer is one layer of figure 7, requests per second by step.
type DataLayer struct {
	Arm  string    `json:"arm"`
	Name string    `json:"name"`
	Bad  bool      `json:"bad,omitempty"`
	Rate []float64 `json:"rate"`
}

// A DataFlow is an arm's panel of figure 9.
type DataFlow struct {
	Arm      string    `json:"arm"`
	Offered  []float64 `json:"offered"`
	Done     []float64 `json:"done"`
	Good     []float64 `json:"good"`
	InFlight []float64 `json:"in_flight"`
}

// Bounds on the data, so that a page stays small however long its run was.
const (
	maxWindows = 24_000 // entries of due in all trials
	maxSeconds = 6_000  // entries of p50 in all trials
)

// data gathers a run's.
func (s *sheet) data() *Data {
	d := &Data{Schema: DataSchema, Run: visible(s.run.ID), Trials: []DataTrial{}}
	bins, secs := 0, 0
	s.each(func(_ rundir.Trial, a *analysis.Trial) {
		if a != nil {
			bins += int(a.Rec.For / record.Grid)
			secs += int(a.Rec.For.Seconds())
		}
	})
	per := 1
	for _, k := range []int{10, 100, 600, 6000} {
		if bins/per > maxWindows {
			per = k
		}
	}
	d.Window = round9(float64(per) * record.Grid.Seconds())
	if per > 1 {
		d.LeftOut = append(d.LeftOut, "requests by windows of 0.1"+nb+"s: here they are of "+seconds(d.Window))
	}
	if secs > maxSeconds {
		d.LeftOut = append(d.LeftOut, "the percentiles of each trial’s seconds")
	}
	var of []*analysis.Trial
	s.each(func(r rundir.Trial, a *analysis.Trial) {
		if a != nil {
			of = append(of, a)
			d.Trials = append(d.Trials, dataTrial(r, a, per, secs <= maxSeconds))
		}
	})
	if d.size() > s.detail.data {
		d.thin(of)
		d.LeftOut = append(d.LeftOut, "each trial’s response times, bad requests and lags: they are added up by arm, and the trials’ metrics are columns")
	}
	if d.size() > s.detail.data {
		d.Trials, d.Columns = []DataTrial{}, nil
		d.LeftOut = []string{"the trials one by one: they are added up by arm, the run’s folder has their recordings, and run.json their metrics"}
	}
	d.Figures = s.dataFigures()
	return d
}

// size is what the trials take.
func (d *Data) size() int {
	b, err := json.Marshal([]any{d.Trials, d.Columns})
	if err != nil {
		return math.MaxInt // that is said where all of it is written
	}
	return len(b)
}

// thin adds up by arm what the trials that count have by phase, and makes columns of all trials' metrics.
func (d *Data) thin(of []*analysis.Trial) {
	d.Arms = make(map[string]map[string]DataPart)
	names := make(map[string]bool)
	for i := range d.Trials {
		t := &d.Trials[i]
		if t.Counted {
			if d.Arms[t.Arm] == nil {
				d.Arms[t.Arm] = make(map[string]DataPart)
			}
			for p, part := range t.Parts {
				d.Arms[t.Arm][p] = d.Arms[t.Arm][p].plus(part)
			}
		}
		for name := range t.Metrics {
			names[name] = true
		}
	}
	for _, p := range append(analysis.Phases(), analysis.Whole) {
		for _, m := range phaseMetrics {
			d.column(m, string(p), func(i int) DataValue { return dataValue(of[i].Metric(analysis.Ref{Metric: m, Phase: p})) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.column(name, "", func(i int) DataValue {
			if v, there := d.Trials[i].Metrics[name]; there {
				return v
			}
			return DataValue{State: analysis.NoData}
		})
	}
	d.column("send_lag_p999", "", func(i int) DataValue {
		lag := d.Trials[i].Lag
		if v, ok := lag.Quantile(0.999); ok {
			return dataValue(analysis.Good(v.Seconds()))
		}
		return DataValue{State: analysis.NoData}
	})
	for i := range d.Trials {
		t := &d.Trials[i]
		t.Parts, t.Metrics, t.Lag = nil, nil, nil
	}
}

// column adds a metric's, if any trial has it.
func (d *Data) column(metric, phase string, of func(trial int) DataValue) {
	c := DataColumn{Metric: metric, Phase: phase, Values: make([]*float64, len(d.Trials)), States: make(map[int]analysis.State)}
	known := false
	for i := range d.Trials {
		v := of(i)
		if c.Values[i] = v.Value; v.State != analysis.OK {
			c.States[i] = v.State
		}
		known = known || v.State != analysis.NoData
	}
	if known {
		d.Columns = append(d.Columns, c)
	}
}

func dataValue(v analysis.Value) DataValue {
	out := DataValue{State: v.State}
	if v.State == analysis.OK || v.State == analysis.Censored {
		n := round9(v.V)
		out.Value = &n
	}
	return out
}

// plus adds two parts up.
func (p DataPart) plus(o DataPart) DataPart {
	out := DataPart{Due: p.Due + o.Due, Good: p.Good + o.Good, Length: round9(p.Length + o.Length), OK: new(record.Hist)}
	out.OK.Merge(p.OK)
	out.OK.Merge(o.OK)
	at := make(map[[2]string]uint64)
	for _, b := range append(slices.Clone(p.Bad), o.Bad...) {
		at[[2]string{b.Class, b.Node}] += b.Count
	}
	for k, n := range at {
		out.Bad = append(out.Bad, DataBad{Class: k[0], Node: k[1], Count: n})
	}
	slices.SortFunc(out.Bad, compareBad)
	return out
}

func dataTrial(r rundir.Trial, a *analysis.Trial, per int, seconds bool) DataTrial {
	rec := a.Rec
	t := DataTrial{
		Arm: visible(r.Arm), Block: r.Block, Order: r.Order, Counted: r.Counted, For: rec.For.Seconds(), Timeout: rec.Timeout.Seconds(),
		Phases: make(map[string][][2]float64), Parts: make(map[string]DataPart), Lag: a.Lag(), Metrics: make(map[string]DataValue),
	}
	for p, spans := range a.Phases() {
		for _, sp := range spans {
			t.Phases[string(p)] = append(t.Phases[string(p)], [2]float64{sp.From.Seconds(), sp.To.Seconds()})
		}
	}
	t.count(a, per)
	for _, f := range rec.Faults {
		t.Faults = append(t.Faults, dataFault(f))
	}
	if seconds && len(rec.Holds) == 0 {
		for _, sec := range a.Seconds() {
			t.P50, t.P99 = append(t.P50, nanoseconds(sec.P50)), append(t.P99, nanoseconds(sec.P99))
		}
	}
	for name, v := range r.Metrics {
		metric, _, _ := strings.Cut(name, "{")
		metric, _, _ = strings.Cut(metric, "(")
		if spec, ok := analysis.SpecOf(metric); ok && v.State != analysis.NoData && !summed(spec) {
			t.Metrics[visible(name)] = DataValue{Value: v.Value, State: v.State}
		}
	}
	return t
}

// count sums the trial's requests by window, and by phase.
func (t *DataTrial) count(a *analysis.Trial, per int) {
	n := int((a.Rec.For + record.Grid - 1) / record.Grid)
	due, good := make([]uint64, (n+per-1)/per), make([]uint64, (n+per-1)/per)
	parts := make(map[analysis.Phase]*DataPart)
	bad := make(map[errorKey]uint64)
	for _, b := range measured(a) {
		if b.Index/per < len(due) {
			due[b.Index/per] += b.Due
			good[b.Index/per] += b.Good
		}
		p := phaseAt(t.Phases, b.Start().Seconds())
		if parts[p] == nil {
			parts[p] = &DataPart{OK: new(record.Hist)}
		}
		parts[p].Due += b.Due
		parts[p].Good += b.Good
		for i := range b.Cells {
			if c := &b.Cells[i]; c.Class.Good() {
				parts[p].OK.Merge(c.Response)
			} else {
				bad[errorKey{c.Class, c.Node, p}] += c.Count
			}
		}
	}
	t.Due, t.Good = runs(due), runs(good)
	if a.Rec.For > 0 {
		var all uint64
		for _, n := range due {
			all += n
		}
		t.Rate = round9(float64(all) / a.Rec.For.Seconds())
	}
	for p, part := range parts {
		for _, sp := range t.Phases[string(p)] {
			part.Length += sp[1] - sp[0]
		}
		part.Length = round9(part.Length)
		for k, n := range bad {
			if k.phase == p {
				part.Bad = append(part.Bad, DataBad{Class: k.class.String(), Node: visible(k.node), Count: n})
			}
		}
		slices.SortFunc(part.Bad, compareBad)
		t.Parts[string(p)] = *part
	}
}

// summed are the metrics that follow from the sums and histograms of the phases.
func summed(spec analysis.Spec) bool {
	return spec.Phased && spec.Name != "balance" && spec.Name != "serving_nodes" && spec.Name != "downtime"
}

func compareBad(a, b DataBad) int {
	switch {
	case a.Class != b.Class && a.Class < b.Class, a.Class == b.Class && a.Node < b.Node:
		return -1
	case a == b:
		return 0
	}
	return 1
}

func dataFault(f record.Fault) DataFault {
	out := DataFault{Name: visible(f.Name), Verb: visible(f.Verb), Nodes: []string{}}
	for _, n := range f.Nodes {
		out.Nodes = append(out.Nodes, visible(n))
	}
	span := func(e *record.Edge) *[2]float64 {
		if e == nil {
			return nil
		}
		return &[2]float64{e.From.Seconds(), e.To.Seconds()}
	}
	out.Onset, out.Heal = span(f.Onset), span(f.Heal)
	return out
}

// phaseAt is the phase of a moment, the whole's name between them.
func phaseAt(phases map[string][][2]float64, at float64) analysis.Phase {
	for _, p := range analysis.Phases() {
		for _, sp := range phases[string(p)] {
			if at >= sp[0]-1e-9 && at < sp[1]-1e-9 {
				return p
			}
		}
	}
	return analysis.Whole
}

func nanoseconds(v analysis.Value) int64 {
	switch v.State {
	case analysis.OK:
		return int64(math.Round(v.V * 1e9))
	case analysis.Never:
		return -1
	case analysis.Censored, analysis.NoData:
	}
	return -2
}

// runs writes a list as value, how often, value …
func runs(vs []uint64) []uint64 {
	out := []uint64{}
	for i := 0; i < len(vs); {
		k := i
		for k < len(vs) && vs[k] == vs[i] {
			k++
		}
		out = append(out, vs[i], uint64(k-i))
		i = k
	}
	return out
}

func (s *sheet) dataFigures() DataFigures {
	var out DataFigures
	drawn := func(make func()) { // what cannot be drawn has no data either
		defer func() { _ = recover() }()
		make()
	}
	drawn(func() {
		if t := s.timeline(); t != nil {
			for _, l := range t.lines {
				out.Timeline = append(out.Timeline, DataLine{
					Arm: visible(l.arm.Name), Step: t.step, Availability: values(l.avail), P50: values(l.p50), P99: values(l.p99),
				})
			}
		}
	})
	drawn(func() {
		if f := s.makeAnswered(); f != nil {
			for i := range f.lines {
				out.Answered = append(out.Answered, f.lines[i].data())
			}
		}
	})
	drawn(func() {
		if f := s.makeWorst(); f != nil {
			for i := range f.curves {
				out.Worst = append(out.Worst, f.curves[i].data())
			}
		}
	})
	drawn(func() {
		if f := s.makeHeat(heatColumns, heatRows); f != nil {
			out.Heat = f.data()
		}
	})
	drawn(func() {
		if f := s.makeTraffic(); f != nil {
			out.Traffic = f.data()
		}
	})
	drawn(func() {
		if f := s.makeFlow(); f != nil {
			out.Flow = f.data()
		}
	})
	return out
}

func (f *traffic) data() (out []DataLayer) {
	for _, p := range f.panels {
		for _, l := range p.layers {
			out = append(out, DataLayer{Arm: visible(p.arm.Name), Name: visible(l.name), Bad: l.bad, Rate: rounded(l.rate)})
		}
	}
	return out
}

func (f *flow) data() (out []DataFlow) {
	for _, p := range f.panels {
		out = append(out, DataFlow{Arm: visible(p.arm.Name), Offered: rounded(p.offered), Done: rounded(p.done), Good: rounded(p.good), InFlight: rounded(p.in)})
	}
	return out
}

func (f *heat) data() *DataHeat {
	d := &DataHeat{Columns: f.columns, Rows: f.rows, Low: f.lo, High: f.hi, OK: make(map[string][]uint64), Bad: make(map[string][]uint64)}
	for i := range f.panels {
		p := &f.panels[i]
		ok, bad := make([]uint64, f.columns*f.rows), make([]uint64, f.columns)
		for k, n := range p.ok {
			ok[k.row*f.columns+k.column] = n
		}
		for k, n := range p.bad {
			bad[k] = n
		}
		d.OK[visible(p.arm.Name)], d.Bad[visible(p.arm.Name)] = runs(ok), runs(bad)
	}
	return d
}

func (k *curveOf) data() DataCurve {
	out := DataCurve{Arm: visible(k.arm.Name), X: make([]float64, len(k.x)), Share: make([]float64, len(k.x))}
	for i := range k.x {
		out.X[i], out.Share[i] = round9(k.x[i]), round9(k.band[i].mid)
	}
	return out
}

// values are a line's medians.
func values(ps []analysis.BandPoint) []float64 {
	out := make([]float64, len(ps))
	for i, p := range ps {
		switch p.Mid.State {
		case analysis.OK:
			out[i] = round9(p.Mid.V)
		case analysis.Never:
			out[i] = -1
		default:
			out[i] = -2
		}
	}
	return out
}

func rounded(vs []float64) []float64 {
	out := make([]float64, len(vs))
	for i, v := range vs {
		out[i] = math.Round(v*1e3) / 1e3
	}
	return out
}

// json is safe inside a script element: the encoder writes < and > as escapes.
func (d *Data) json() (string, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("writing the page's data: %w", err)
	}
	if bytes.ContainsAny(b, "<>") {
		return "", fmt.Errorf("the page's data holds a bracket")
	}
	return string(b), nil
}
