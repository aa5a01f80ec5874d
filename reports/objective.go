package reports

import (
	"fmt"
	"math"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// signs are the operators as print has them.
var signs = map[string]string{">=": "≥", "<=": "≤", "==": "=", "!=": "≠", ">": ">", "<": "<"}

func (s *sheet) objectiveTable() table {
	t := table{
		id: "t-objectives", class: "obj",
		caption: "Objectives, judged over " + s.evidence() + ". Found is the estimate; the interval is two-sided 95" + nb + "%.",
		head: []column{
			left("Verdict"), left("Objective"), num("Found"), num("95" + nb + "% interval"),
			num("Room left"), num("Trials"), left("Scenario"),
		},
	}
	for _, o := range s.run.Objectives {
		r := read(o.Value, o.Form)
		c := []cell{
			{verdict: o.Verdict},
			code(o.Text),
			{text: r.String(), strong: true, quiet: r.state != analysis.OK},
			{text: r.iv},
			{text: roomLeft(o)},
			{text: trialsOf(o)},
			{},
		}
		if o.Line > 0 {
			c[6] = cell{text: fmt.Sprintf("line %d", o.Line), line: o.Line}
		}
		t.rows = append(t.rows, row{cells: c, note: s.objectiveNote(o)})
	}
	return t
}

// evidence is what the run's estimates come from: "6 paired blocks".
func (s *sheet) evidence() string {
	n := len(s.countedBlocks())
	if len(s.arms) > 1 {
		return plural(n, "paired block", "paired blocks")
	}
	return plural(n, "trial", "trials")
}

// countedBlocks are the blocks that count, in order of appearance.
func (s *sheet) countedBlocks() []int {
	var blocks []int
	seen := make(map[int]bool)
	for _, t := range s.run.Trials {
		if t.Counted && !seen[t.Block] {
			seen[t.Block] = true
			blocks = append(blocks, t.Block)
		}
	}
	return blocks
}

func trialsOf(o rundir.Objective) string {
	if o.N == 0 {
		return ""
	}
	if len(o.Arms) == 2 && o.Form != slo.Absolute {
		return fmt.Sprintf("%d + %d", o.N, o.N)
	}
	return fmt.Sprint(o.N)
}

// objectiveNote says what the numbers leave open.
func (s *sheet) objectiveNote(o rundir.Objective) string {
	var parts []string
	if o.Name != "" && o.Name != o.Text {
		parts = append(parts, o.Name)
	}
	if o.Margin != 0 {
		parts = append(parts, "margin "+marginText(o))
	}
	if o.Severity == slo.SeverityWarn {
		parts = append(parts, "warns only")
	}
	note := strings.Join(parts, ", ")
	reason := o.Reason
	if o.Verdict == rundir.Pass {
		reason = "" // the numbers say it
	}
	about := o.Note
	if strings.HasPrefix(about, "the worst of 1 ") {
		about = "one trial, which gives no interval"
	}
	for _, more := range []string{reason, about} {
		if more == "" {
			continue
		}
		if note != "" {
			note += ". "
			more = upper(more)
		}
		note += strings.TrimSuffix(more, ".")
	}
	if o.MoreBlocks > 0 && !strings.Contains(note, "more block") {
		if note != "" {
			note += "; "
		}
		note += "about " + plural(o.MoreBlocks, "more block", "more blocks") + " would decide"
	}
	return note
}

func marginText(o rundir.Objective) string {
	switch {
	case o.Unit == analysis.Ratio && o.Form == slo.Difference:
		return scale{times: 100}.short(o.Margin) + nb + "points"
	case o.Unit == analysis.Number && o.Form != slo.Ratio:
		return scale{times: 1}.short(o.Margin)
	}
	return scale{times: 100}.short(o.Margin) + nb + "%"
}

// roomLeft is how far the estimate stands from the limit, negative beyond it.
func roomLeft(o rundir.Objective) string {
	if o.Limit == nil || o.Value.Value == nil || o.State != analysis.OK {
		return ""
	}
	room := *o.Limit - *o.Value.Value
	switch o.Op {
	case ">=", ">":
		room = -room
	case "<=", "<":
	default:
		return ""
	}
	sc := scaleOf(o.Unit, o.Form, room)
	sc.signed, sc.prefix = false, ""
	if sc.ratio {
		sc.ratio, sc.unit = false, "points"
	}
	return join(sc.format(room, min(sc.decimals(room), 3)), sc.unit)
}

// limitText is the limit with its operator: "≥ 99 %".
func limitText(o rundir.Objective) string {
	sign := signs[o.Op]
	if sign == "" || o.Limit == nil || math.IsNaN(*o.Limit) {
		return ""
	}
	sc := scaleOf(o.Unit, o.Form, *o.Limit)
	return sign + nb + sc.prefix + join(sc.short(*o.Limit), sc.unit)
}

// objectiveOn finds the objective that holds one metric of one arm against a number.
func (s *sheet) objectiveOn(a *arm, m measure) (rundir.Objective, bool) {
	if a == nil {
		return rundir.Objective{}, false
	}
	want := a.Name + "."
	if m.phase != analysis.Whole {
		want += string(m.phase) + "."
	}
	long := squeeze(want + m.ref.String())
	bare := m.ref
	if len(s.faults) == 1 {
		bare.Fault = ""
	}
	short := squeeze(want + bare.String())
	for _, o := range s.run.Objectives {
		if o.Form != slo.Absolute || o.Limit == nil {
			continue
		}
		lhs, _, ok := strings.Cut(squeeze(o.Text), o.Op)
		if ok && (lhs == long || lhs == short) {
			return o, true
		}
	}
	return rundir.Objective{}, false
}

// squeeze takes the spaces out, so that texts can be compared.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

// objectivesLead counts the verdicts in a sentence or two.
func (s *sheet) objectivesLead() string {
	if len(s.run.Objectives) == 0 {
		return "The scenario states no objective, so nothing was judged."
	}
	by := make(map[rundir.Verdict]int)
	warn := 0
	for _, o := range s.run.Objectives {
		by[o.Verdict]++
		if o.Severity == slo.SeverityWarn && o.Verdict != rundir.Pass {
			warn++
		}
	}
	var parts []string
	for _, w := range []struct {
		v         rundir.Verdict
		one, many string
	}{
		{rundir.Pass, "passes", "pass"},
		{rundir.Fail, "fails", "fail"},
		{rundir.Inconclusive, "is undecided", "are undecided"},
		{rundir.Invalid, "cannot be judged", "cannot be judged"},
	} {
		switch n := by[w.v]; n {
		case 0:
		case 1:
			parts = append(parts, "one "+w.one)
		default:
			parts = append(parts, numberWord(n)+" "+w.many)
		}
	}
	if len(parts) == 0 {
		parts = []string{"none was judged"}
	}
	lead := upper(list(parts)) + "."
	switch {
	case warn == 1:
		lead += " One of those that do not pass only warns."
	case warn > 1:
		lead += " " + upper(numberWord(warn)) + " of those that do not pass only warn."
	}
	return lead
}

var numberWords = []string{"none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

func numberWord(n int) string {
	if n >= 0 && n < len(numberWords) {
		return numberWords[n]
	}
	return count(uint64(max(n, 0)))
}

// list joins with commas and an "and".
func list(parts []string) string {
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
