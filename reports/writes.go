package reports

import (
	"fmt"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// A ledger is what was read back of one request's writes in the trials of an arm that count.
type ledger struct {
	arm    *arm
	sum    record.Writes
	more   int // trials in which nothing, or not all, was read
	failed int // those of them in which something came between
	of     int
}

// ledgers sums what was read back, by arm and request, in the order of the scenario.
func (s *sheet) ledgers() []ledger {
	var all []ledger
	for _, a := range s.arms {
		var names []string
		by := make(map[string]*ledger)
		s.each(func(t rundir.Trial, at *analysis.Trial) {
			if at == nil || t.Arm != a.Name || !t.Counted {
				return
			}
			for _, w := range at.Rec.Writes {
				if by[w.Of] == nil {
					by[w.Of] = &ledger{arm: a}
					names = append(names, w.Of)
				}
				by[w.Of].add(w)
			}
		})
		for _, name := range names {
			all = append(all, *by[name])
		}
	}
	return all
}

func (l *ledger) add(w record.Writes) {
	l.of++
	if w.Unread > 0 || w.Problem != "" {
		l.more++
	}
	if w.Problem != "" {
		l.failed++
	}
	sum := &l.sum
	if w.Lost > 0 {
		if sum.Lost == 0 || w.First < sum.First {
			sum.First = w.First
		}
		sum.Last = max(sum.Last, w.Last)
	}
	sum.Of, sum.Read, sum.Within = w.Of, w.Read, w.Within
	sum.Acknowledged += w.Acknowledged
	sum.Kept += w.Kept
	sum.Lost += w.Lost
	sum.Unread += w.Unread
	sum.Uncertain += w.Uncertain
	sum.Found += w.Found
	sum.Duplicated += w.Duplicated
	sum.Reads += w.Reads
	sum.Took += w.Took
	if sum.Problem == "" {
		sum.Problem = w.Problem
	}
	if sum.Lacks == nil {
		sum.Lacks = w.Lacks
	}
	sum.Registers = analysis.Together(sum.Registers, w.Registers)
}

// writeTable says what became of the writes, arm by arm.
func (s *sheet) writeTable() table {
	t := table{
		id: "t-writes", class: "er",
		caption: "Writes of measured load, read back through the ingress once every fault was undone and the target was ready again; sums over the trials that count. Uncertain: sent, and not answered as expected; they may be there or not.",
		head: []column{
			left("writes"), num("acknowledged"), num("kept"), num("lost"), num("not read"), num("duplicated"), num("uncertain"), num("of them there"),
		},
	}
	var last *arm
	for _, l := range s.ledgers() {
		if l.arm != last {
			t.rows = append(t.rows, row{group: l.arm.Name, cells: []cell{ofArm(l.arm)}})
			last = l.arm
		}
		lost := countCell(l.sum.Lost)
		lost.strong = l.sum.Lost > 0
		t.rows = append(t.rows, row{note: l.note(), cells: []cell{
			text(l.sum.Of), countCell(l.sum.Acknowledged), countCell(l.sum.Kept), lost, countCell(l.sum.Unread),
			countCell(l.sum.Duplicated), countCell(l.sum.Uncertain), countCell(l.sum.Found),
		}})
	}
	return t
}

// note says when what was lost was written, what came instead, and why nothing is known.
func (l ledger) note() string {
	var parts []string
	if l.sum.Problem != "" {
		parts = append(parts, "in "+plural(l.failed, "trial", "trials")+" not all is known: "+l.sum.Problem)
	}
	if l.sum.Lost > 0 {
		parts = append(parts, l.when())
	}
	parts = append(parts, l.keys()...)
	for i, k := range l.sum.Lacks {
		if i == 3 {
			break
		}
		what := "not read"
		if k.Lost {
			what = "lost"
		}
		parts = append(parts, fmt.Sprintf("%s: %s, due at %s, last answer “%s”", what, k.Read, duration(k.Due), k.Got))
	}
	return strings.Join(parts, "; ")
}

// keys says what the reads during load say.
func (l ledger) keys() []string {
	k := l.sum.Registers
	if k == nil {
		return nil
	}
	parts := []string{
		fmt.Sprintf("%s of %s during load stale", count(k.Stale), plural(int(k.Reads), "read", "reads")),
		fmt.Sprintf("%s of %s linearizable", count(k.Linearizable), plural(int(k.Keys), "key", "keys")),
	}
	if k.Violated > 0 {
		parts = append(parts, count(k.Violated)+" shown not to be ("+strings.Join(k.Bad[:min(len(k.Bad), 2)], ", ")+")")
	}
	if k.Unknown > 0 {
		parts = append(parts, count(k.Unknown)+" unknown ("+k.Why+")")
	}
	if k.Unjudged > 0 {
		parts = append(parts, count(k.Unjudged)+" reads held several values and were not judged")
	}
	return []string{strings.Join(parts, ", ")}
}

func (l ledger) when() string {
	if l.sum.First == l.sum.Last {
		return "lost: due at " + duration(l.sum.First)
	}
	return "lost: due between " + duration(l.sum.First) + " and " + duration(l.sum.Last)
}

// text says it all in a line.
func (l ledger) text() string {
	w := l.sum
	parts := []string{
		count(w.Acknowledged) + " acknowledged", count(w.Lost) + " lost", count(w.Duplicated) + " duplicated",
		count(w.Uncertain) + " uncertain",
	}
	if w.Uncertain > 0 {
		parts[3] += " (" + count(w.Found) + " of them there)"
	}
	if w.Unread > 0 {
		parts = append(parts, count(w.Unread)+" could not be read")
	}
	line := fmt.Sprintf("%s, %s: %s", l.arm.Name, w.Of, strings.Join(parts, ", "))
	if w.Lost > 0 {
		line += "; " + l.when()
	}
	for _, k := range l.keys() {
		line += "; " + k
	}
	if w.Problem != "" {
		line += "; " + w.Problem
	}
	return line
}

// writesLead answers the section's question.
func (s *sheet) writesLead() string {
	var parts []string
	for _, l := range s.ledgers() {
		w := l.sum
		switch {
		case w.Acknowledged == 0:
			parts = append(parts, fmt.Sprintf("%s acknowledged no write", l.arm.noun()))
		case w.Lost > 0:
			parts = append(parts, fmt.Sprintf("%s lost %s of %s acknowledged writes", l.arm.noun(), count(w.Lost), count(w.Acknowledged)))
		case w.Unread > 0 || w.Problem != "":
			parts = append(parts, fmt.Sprintf("of %s’s %s acknowledged writes %s could not be read back", l.arm.noun(), count(w.Acknowledged), count(w.Unread)))
		default:
			parts = append(parts, fmt.Sprintf("%s kept all of %s acknowledged writes", l.arm.noun(), count(w.Acknowledged)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return upper(strings.Join(parts, "; ")) + "."
}

// writeCases are the ledgers for JUnit: none fails, since objectives judge; one that nobody could read is skipped.
func (s *sheet) writeCases(p Policy) []junitCase {
	var cases []junitCase
	for _, l := range s.ledgers() {
		c := junitCase{
			Class: visible(s.run.Name + ".writes"), Name: visible(l.arm.Name + ": " + l.sum.Of), Time: "0.000",
			File: p.file(s.run),
		}
		if l.more > 0 {
			c.Skipped = message("unknown", flat(l.text()))
		} else {
			c.Out = flat(l.text())
		}
		cases = append(cases, c)
	}
	return cases
}

// writes lists the ledgers on a terminal.
func (t *terminal) writes(s *sheet) {
	var lines []string
	for _, l := range s.ledgers() {
		lines = append(lines, l.text())
	}
	t.listed(" WRITES, READ BACK", lines, 6)
}
