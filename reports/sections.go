package reports

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// phaseTable has the same metrics in each phase, arms side by side.
func (s *sheet) phaseTable() table {
	t := table{
		id: "t-phases", class: "ph",
		caption: "Percentiles are over all requests: a failed one never arrives. Intervals are two-sided 95" + nb + "%.",
		head:    []column{left("")},
	}
	for _, a := range s.arms {
		t.head = append(t.head, column{text: a.Name, arm: a, num: true})
	}
	compare := s.baseline != nil && s.subject != nil && s.subject != s.baseline
	if compare {
		t.caption += " The last column compares within blocks: × is " + s.subject.noun() + "’s value divided by " + s.baseline.noun() +
			"’s, points are the one less the other."
		t.head = append(t.head, num(s.subject.Name+" against "+s.baseline.Name))
	}
	for _, p := range []struct {
		phase analysis.Phase
		name  string
	}{
		{analysis.Before, "Before the fault"},
		{analysis.During, "During: from onset to heal"},
		{analysis.After, "After the heal"},
		{analysis.Whole, "Whole trial"},
	} {
		var rows []row
		for _, m := range phaseMetrics {
			ref := analysis.Ref{Metric: m}
			cells := s.metricRow(phaseLabels[m], p.phase, ref)
			if cells == nil {
				continue
			}
			if compare {
				cells = append(cells, s.comparison(p.phase, m).cell())
			}
			rows = append(rows, row{cells: cells})
		}
		if len(rows) > 0 {
			t.group(p.name)
			t.rows = append(t.rows, rows...)
		}
	}
	return t
}

var phaseLabels = map[string]string{
	"availability": "availability", "goodput": "good answers", "p50": "p50", "p95": "p95", "p99": "p99",
	"ok_p99": "p99 of good ones alone",
}

// eventTable says how fast each arm came back from each fault.
func (s *sheet) eventTable() table {
	t := table{
		id: "t-events", class: "ev",
		caption: "From the fault’s measured onset. Estimates over the valid trials with two-sided 95" + nb + "% intervals.",
		head:    []column{left("")},
	}
	for _, a := range s.arms {
		t.head = append(t.head, column{text: a.Name, arm: a, num: true})
	}
	for _, f := range s.faults {
		var rows []row
		for _, m := range []struct{ metric, label string }{
			{"first_error", "first error"},
			{"detection", "no longer tried"},
			{"failover", "served again while the fault is on"},
			{"recovery", "recovered"},
			{"rebalanced", "share back, from the fault’s end"},
			{"lost_requests", "lost requests"},
			{"floor", "lost at least, by the health check"},
			{"loss_over_floor", "lost beyond that"},
		} {
			ref := analysis.Ref{Metric: m.metric, Fault: f}
			if cells := s.metricRow(m.label, analysis.Whole, ref); cells != nil {
				rows = append(rows, row{cells: cells, note: s.whyNoData(ref)})
			}
		}
		if len(rows) > 0 {
			t.group("Fault " + f)
			t.rows = append(t.rows, rows...)
		}
	}
	var rows []row
	for _, m := range []struct {
		ref   analysis.Ref
		label string
	}{
		{analysis.Ref{Metric: "downtime"}, "downtime, bad share of each second summed"},
		{analysis.Ref{Metric: "longest_silence"}, "longest silence"},
		{affordable(), "times that 30 days afford this at 99.9" + nb + "%"},
	} {
		if cells := s.metricRow(m.label, analysis.Whole, m.ref); cells != nil {
			rows = append(rows, row{cells: cells})
		}
	}
	if len(rows) > 0 {
		t.group("Whole trial")
		t.rows = append(t.rows, rows...)
	}
	return t
}

// whyNoData says of the arms that lack a metric which others have why they do.
func (s *sheet) whyNoData(ref analysis.Ref) string {
	var parts []string
	for _, a := range s.arms {
		if v := s.value(a, analysis.Whole, ref); v.State == analysis.NoData && v.Note != "" {
			parts = append(parts, a.Name+": "+v.Note)
		}
	}
	return strings.Join(parts, "; ")
}

var classText = map[record.Class]string{
	record.Unsent: "unsent: the generator’s own fault", record.Wrong: "wrong: another answer than expected",
	record.Slow: "slow: as expected, but late", record.Timeout: "timeout: not done in time", record.Refused: "refused: no connection",
	record.Reset: "reset by the peer", record.EOF: "eof: closed before an answer", record.Truncated: "truncated: closed within an answer",
	record.NoRoute: "no route to the target", record.DNS: "dns: the name did not resolve", record.Shed: "shed: too many in flight at the target",
	record.Local: "local: the generator’s own shortage",
}

// badCounts sums the bad requests of an arm's counted trials.
func (s *sheet) badCounts(name string) (bad map[errorKey]uint64, due uint64) {
	bad = make(map[errorKey]uint64)
	s.each(func(t rundir.Trial, a *analysis.Trial) {
		if a == nil || t.Arm != name || !t.Counted {
			return
		}
		for _, b := range measured(a) {
			due += b.Due
		}
		for _, e := range a.Errors() {
			if !e.Class.Good() {
				bad[errorKey{e.Class, e.Node, e.Phase}] += e.Count
			}
		}
	})
	return bad, due
}

type errorKey struct {
	class record.Class
	node  string
	phase analysis.Phase
}

// maxErrorNodes bounds the rows that a target's names can make.
const maxErrorNodes = 12

// errorTable counts the bad requests by class, node and phase.
func (s *sheet) errorTable() table {
	t := table{
		id: "t-errors", class: "er",
		caption: "Bad requests by class, by the node that answered, and by phase; sums over the trials that count. Between: not in a phase, since it could belong to either, being due less than a timeout before an onset, or around a heal.",
		head:    []column{left("class"), left("answered by"), num("before"), num("during"), num("after"), num("between"), num("all")},
	}
	phases := []analysis.Phase{analysis.Before, analysis.During, analysis.After, analysis.Whole}
	for _, a := range s.arms {
		bad, due := s.badCounts(a.Name)
		if due == 0 {
			continue
		}
		t.rows = append(t.rows, row{group: a.Name, cells: []cell{ofArm(a)}})
		lines, all := errorLines(bad)
		for _, l := range lines {
			cells := []cell{text(classText[l.class]), text(l.node)}
			for _, p := range phases {
				cells = append(cells, countCell(l.by[p]))
			}
			t.add(append(cells, cell{text: count(l.all), strong: true})...)
		}
		cells := []cell{text("all bad requests"), text("")}
		var sum uint64
		for _, p := range phases {
			cells = append(cells, countCell(all[p]))
			sum += all[p]
		}
		sc := scale{times: 100, ratio: true}
		share := float64(sum) / float64(due)
		t.rows = append(t.rows, row{
			total: true, cells: append(cells, cell{text: count(sum), strong: true}),
			note: join(sc.format(share, sc.decimals(share)), "%") + " of " + count(due) + " due",
		})
	}
	return t
}

func countCell(n uint64) cell { return cell{text: count(n), quiet: n == 0} }

type errorLine struct {
	class record.Class
	node  string
	by    map[analysis.Phase]uint64
	all   uint64
}

// errorLines makes a line for each class and node, in the order of classes, most first.
func errorLines(bad map[errorKey]uint64) ([]errorLine, map[analysis.Phase]uint64) {
	type key struct {
		class record.Class
		node  string
	}
	at, all := make(map[key]*errorLine), make(map[analysis.Phase]uint64)
	for k, n := range bad {
		id := key{k.class, k.node}
		if at[id] == nil {
			at[id] = &errorLine{class: k.class, node: k.node, by: make(map[analysis.Phase]uint64)}
		}
		at[id].by[k.phase] += n
		at[id].all += n
		all[k.phase] += n
	}
	lines := make([]errorLine, 0, len(at))
	for _, l := range at {
		if l.all == 0 {
			continue
		}
		if l.node == "" {
			l.node = "nobody"
			if l.class == record.Wrong || l.class == record.Slow {
				l.node = "not named in the answer"
			}
		}
		lines = append(lines, *l)
	}
	sort.Slice(lines, func(i, j int) bool {
		a, b := lines[i], lines[j]
		if a.class != b.class {
			return a.class < b.class
		}
		if a.all != b.all {
			return a.all > b.all
		}
		return a.node < b.node
	})
	return boundNodes(lines), all
}

// boundNodes folds a class's lines beyond the first twelve into one.
func boundNodes(lines []errorLine) []errorLine {
	var out []errorLine
	n := 0
	for _, l := range lines {
		if len(out) == 0 || out[len(out)-1].class != l.class {
			n = 0
		}
		if n++; n <= maxErrorNodes {
			out = append(out, l)
			continue
		}
		last := &out[len(out)-1]
		if n == maxErrorNodes+1 {
			last.by = maps.Clone(last.by)
			last.node = "all other nodes"
		}
		for p, k := range l.by {
			last.by[p] += k
		}
		last.all += l.all
	}
	return out
}

func (s *sheet) errorsLead() string {
	var parts []string
	for _, a := range s.arms {
		bad, due := s.badCounts(a.Name)
		if due == 0 {
			continue
		}
		by := make(map[record.Class]uint64)
		var sum uint64
		for k, n := range bad {
			by[k.class] += n
			sum += n
		}
		if sum == 0 {
			parts = append(parts, a.noun()+" lost none of "+count(due)+" requests")
			continue
		}
		most := record.Unsent
		for _, c := range record.Classes() {
			if by[c] > by[most] {
				most = c
			}
		}
		how := "all of them “" + classText[most] + "”"
		if by[most] < sum {
			how = fmt.Sprintf("%s of them “%s”", count(by[most]), classText[most])
		}
		parts = append(parts, fmt.Sprintf("%s lost %s of %s requests, %s", a.noun(), count(sum), count(due), how))
	}
	if len(parts) == 0 {
		return "There is no trial that counts."
	}
	return upper(strings.Join(parts, "; ")) + "."
}

// trialTable has one row for each trial, in the order in which they ran.
func (s *sheet) trialTable() table {
	t := table{
		id: "t-trials", class: "sm", caption: "Every trial, in the order in which they ran.",
		head: []column{left("Trial"), left("Arm"), num("Block")},
	}
	type col struct{ key, label string }
	cols := []col{{"capacity", "capacity"}}
	if !s.searches() {
		cols = []col{{"availability", "availability"}, {"p50", "p50"}, {"p99", "p99, all"}, {"longest_silence", "longest silence"}}
	}
	for _, f := range s.faults {
		cols = append(cols, col{analysis.Ref{Metric: "recovery", Fault: f}.String(), "recovered, " + f})
	}
	for _, c := range cols {
		t.head = append(t.head, num(c.label))
	}
	t.head = append(t.head, left("State"))
	for i, r := range s.run.Trials {
		cells := []cell{text(fmt.Sprint(max(r.Order, i+1))), {text: r.Arm, arm: s.arm(r.Arm)}, text(fmt.Sprint(r.Block))}
		for _, c := range cols {
			cells = append(cells, read(r.Metrics[c.key], slo.Absolute).cell(false))
		}
		t.rows = append(t.rows, row{cells: append(cells, trialState(r)), note: strings.Join(r.Problems, "; ")})
	}
	return t
}

func trialState(t rundir.Trial) cell {
	switch {
	case t.Counted:
		return cell{verdict: rundir.Pass, word: "counts"}
	case t.Valid:
		return cell{verdict: rundir.Inconclusive, word: "left out with its block"}
	}
	return cell{verdict: rundir.Invalid, word: "invalid"}
}

// makeProvenance is what somebody needs to repeat the run or to distrust it.
func (s *sheet) makeProvenance() []entry {
	p := s.run.Provenance
	var out []entry
	add := func(term string, values ...string) {
		var kept []string
		for _, v := range values {
			if v != "" {
				kept = append(kept, v)
			}
		}
		if len(kept) > 0 {
			out = append(out, entry{term: term, values: kept})
		}
	}
	coded := func(term string, values ...string) {
		n := len(out)
		add(term, values...)
		if len(out) > n {
			out[n].code = true
		}
	}
	add("run", s.run.ID)
	add("tutti", strings.Join(nonEmpty(strings.Replace(p.Tutti, "(devel)", "development build", 1), p.Go, p.OS), ", "))
	coded("command", strings.Join(p.Command, " "))
	add("scenario", p.Scenario)
	coded("scenario’s sha256", p.SHA256)
	add("seed", fmt.Sprint(p.Seed))
	add("order of the trials", s.runOrder())
	add("load", s.loadText())
	if !p.Started.IsZero() {
		add("started", p.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if !p.Ended.IsZero() {
		add("ended", p.Ended.UTC().Format("2006-01-02 15:04:05 UTC")+", took "+elapsed(p.Ended.Sub(p.Started)))
	}
	add("engine", strings.Join(nonEmpty(p.Engine, p.Reason), ": "))
	add("engine, details", pairs(p.Details)...)
	add("host", pairs(p.Host)...)
	add("versions", pairs(p.Versions)...)
	coded("images", pairs(p.Images)...)
	add("done differently from the Compose files", p.Notes...)
	return out
}

func nonEmpty(ss ...string) []string {
	return slices.DeleteFunc(ss, func(s string) bool { return s == "" })
}

func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+" "+sizeText(k, m[k]))
	}
	return out
}

// sizeText writes an amount of memory in GiB where it stands in bytes.
func sizeText(key, v string) string {
	n, err := strconv.ParseUint(v, 10, 64)
	if key != "memory" || err != nil || n < 1<<20 {
		return v
	}
	return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + nb + "GiB"
}

func (s *sheet) runOrder() string {
	var b strings.Builder
	last := 0
	for _, t := range s.run.Trials {
		switch {
		case t.Block == last:
			b.WriteString(", ")
		case last == 0:
			fmt.Fprintf(&b, "block"+nb+"%d: ", t.Block)
		default:
			fmt.Fprintf(&b, "; %d: ", t.Block)
		}
		last = t.Block
		b.WriteString(t.Arm)
	}
	return b.String()
}

func (s *sheet) loadText() string {
	l := s.run.Load
	if c := l.Capacity; c != nil {
		rate := func(v float64) string { return scale{times: 1}.short(v) }
		return "a search from " + rate(c.From) + " to " + rate(c.To) + " requests/s for the highest rate at which " + c.While + ", each held for " + seconds(c.Hold) +
			", after a warm-up of " + seconds(l.Warmup) + ", timeout " + seconds(l.Timeout) + " from the due time; " + strings.Join(l.Requests, ", ")
	}
	if l.For == 0 {
		return ""
	}
	t := loadWords(l) + " after a warm-up of " + seconds(l.Warmup) +
		", timeout " + seconds(l.Timeout) + " from the due time"
	if len(l.Requests) > 0 {
		t += "; " + strings.Join(l.Requests, ", ")
	}
	return t
}
