package export

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// A Table is one file of comma-separated values.
type Table struct {
	Name    string // without an extension
	Summary string
	head    []string
	rows    func(t Trial, put func(...string))
}

// Tables are all of them. The first columns of each are arm, block, order in which the trial ran, and whether it counts. Times are
// seconds, ratios 0 to 1; an empty cell is no data, "never" what never came, and ">5" what was not reached within 5.
func Tables() []Table {
	return []Table{
		{"timeline", "measured load by second: figure 1", []string{"at_s", "due", "good", "availability", "p50_s", "p99_s", "bad"}, timeline},
		{"percentiles", "response times over all requests by phase: figures 2 and 8", []string{"phase", "share", "response_s", "ok_response_s"}, percentiles},
		{"errors", "bad requests by class, node and phase", []string{"phase", "class", "node", "requests"}, badRequests},
		{"events", "what happened to nodes and of faults", []string{"at_s", "within_s", "kind", "node", "fault", "source", "detail"}, events},
		{"faults", "each fault as it really was", []string{"fault", "verb", "nodes", "due_s", "onset_from_s", "onset_to_s", "heal_from_s", "heal_to_s", "means", "proven", "ended", "problem"}, faults},
		{"trials", "each trial, and every metric of it", []string{"start", "valid", "problems", "metric", "unit", "state", "value"}, trials},
	}
}

// CSV writes one table of the trials, with the fields quoted as RFC 4180 has it. What a spreadsheet would take for
// a formula has an apostrophe before it.
func CSV(w io.Writer, t Table, of []Trial) error {
	var b bytes.Buffer
	c := csv.NewWriter(&b)
	c.UseCRLF = true
	errs := []error{c.Write(append([]string{"arm", "block", "order", "counts"}, t.head...))}
	for _, trial := range of {
		first := []string{text(trial.Arm), strconv.Itoa(trial.Block), strconv.Itoa(trial.Order), strconv.FormatBool(trial.Counted)}
		t.rows(trial, func(cells ...string) { errs = append(errs, c.Write(append(slices.Clone(first), cells...))) })
	}
	c.Flush()
	for _, err := range append(errs, c.Error()) {
		if err != nil {
			return fmt.Errorf("write %s: %w", t.Name, err)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// text is a cell of somebody else's text.
func text(s string) string {
	s = clean(s)
	if s != "" && strings.ContainsRune("=+-@'", rune(s[0])) {
		return "'" + s
	}
	return s
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func seconds(d time.Duration) string {
	if d == record.None {
		return ""
	}
	return number(d.Seconds())
}

func value(v analysis.Value) string {
	switch v.State {
	case analysis.OK:
		return number(v.V)
	case analysis.Never:
		return string(analysis.Never)
	case analysis.Censored:
		return ">" + number(v.V)
	case analysis.NoData:
	}
	return ""
}

func timeline(t Trial, put func(...string)) {
	if t.Of.Rec.Capacity != nil {
		holds(t, put)
		return
	}
	for _, s := range t.Of.Seconds() {
		put(seconds(s.Start), count(s.Due), count(s.Good), value(s.Availability()), value(s.P50), value(s.P99), classes(s.ByClass))
	}
}

// holds are a search's loads, one after the other.
func holds(t Trial, put func(...string)) {
	for i := range t.Of.Rec.Holds {
		h := &t.Of.Rec.Holds[i]
		for _, s := range analysis.HoldTrial(t.Of.Rec, h).Seconds() {
			put(seconds(h.At+s.Start), count(s.Due), count(s.Good), value(s.Availability()), value(s.P50), value(s.P99), classes(s.ByClass))
		}
	}
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// classes are counts of bad requests: "timeout 3; reset 1".
func classes(by map[record.Class]uint64) string {
	var parts []string
	for _, c := range record.Classes() {
		if n := by[c]; n > 0 && !c.Good() {
			parts = append(parts, fmt.Sprintf("%s %d", c, n))
		}
	}
	return strings.Join(parts, "; ")
}

func percentiles(t Trial, put func(...string)) {
	for _, p := range append([]analysis.Phase{analysis.Whole}, analysis.Phases()...) {
		for _, q := range []struct{ name, share string }{
			{"p50", "0.5"}, {"p90", "0.9"}, {"p95", "0.95"}, {"p99", "0.99"}, {"p999", "0.999"}, {"p9999", "0.9999"}, {"max", "1"},
		} {
			all := t.Of.Metric(analysis.Ref{Metric: q.name, Phase: p})
			ok := t.Of.Metric(analysis.Ref{Metric: "ok_" + q.name, Phase: p})
			if all.State != analysis.NoData || ok.State != analysis.NoData {
				put(phase(p), q.share, value(all), value(ok))
			}
		}
	}
}

func phase(p analysis.Phase) string {
	if p == analysis.Whole {
		return "all"
	}
	return string(p)
}

func badRequests(t Trial, put func(...string)) {
	for _, e := range t.Of.Errors() {
		name := string(e.Phase)
		if e.Phase == analysis.Whole {
			name = "between"
		}
		put(name, e.Class.String(), text(e.Node), count(e.Count))
	}
}

func events(t Trial, put func(...string)) {
	for _, e := range t.Of.Rec.Events {
		put(seconds(e.At), seconds(e.Within), text(e.Kind), text(e.Node), text(e.Fault), text(e.Source), text(e.Detail))
	}
}

func faults(t Trial, put func(...string)) {
	edge := func(e *record.Edge) (from, to string) {
		if e == nil {
			return "", ""
		}
		return seconds(e.From), seconds(e.To)
	}
	for i := range t.Of.Rec.Faults {
		f := &t.Of.Rec.Faults[i]
		of, ot := edge(f.Onset)
		hf, ht := edge(f.Heal)
		put(text(f.Name), text(f.Verb), text(strings.Join(f.Nodes, "; ")), seconds(f.At), of, ot, hf, ht, text(f.Means), strconv.FormatBool(f.Proven()), text(f.Ended), text(f.Problem))
	}
}

func trials(t Trial, put func(...string)) {
	start := ""
	if t.Start.Year() > 1 {
		start = t.Start.UTC().Format(time.RFC3339Nano)
	}
	for _, key := range slices.Sorted(maps.Keys(t.Metrics)) {
		v := t.Metrics[key]
		put(start, strconv.FormatBool(t.Valid), text(strings.Join(t.Problems, "; ")), text(key), string(v.Unit), string(v.State), written(v))
	}
	if len(t.Metrics) == 0 {
		put(start, strconv.FormatBool(t.Valid), text(strings.Join(t.Problems, "; ")), "", "", "", "")
	}
}

// written is a value of run.json.
func written(v rundir.Value) string {
	out := analysis.Value{State: v.State}
	if v.Value != nil {
		out.V = *v.Value
	} else if v.State == analysis.OK || v.State == analysis.Censored {
		out.State = analysis.NoData
	}
	return value(out)
}
