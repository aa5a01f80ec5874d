package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// effectTable is what each fault did in each trial.
func (s *sheet) effectTable() table {
	measured := slices.ContainsFunc(s.run.Faults, func(f rundir.Fault) bool { return delivered(f.Proof) != "" })
	t := table{
		id: "t-faults", class: "sm",
		caption: "Every fault of every trial: between which moments it took effect, and was gone, in seconds since load start; by what means, on what proof, and its signature, the bad requests while it was in force.",
		head: []column{
			left("Block, arm"), left("Fault"), left("Nodes"), num("Onset"), num("Undone"), left("Means"), left("Proof"),
		},
	}
	if measured {
		t.head = append(t.head, left("Asked → delivered"))
	}
	t.head = append(t.head, left("Signature"), left("State"))
	for _, f := range s.run.Faults {
		state := cell{verdict: rundir.Pass, word: "proven"}
		if !f.Proven {
			state = cell{verdict: rundir.Invalid, word: "not proven"}
		}
		cells := []cell{
			text(fmt.Sprintf("%d, %s", f.Block, f.Arm)), text(f.Name + " (" + f.Verb + ")"), text(strings.Join(f.Nodes, ", ")),
			text(edge(f.Onset)), text(edge(f.Heal)), text(f.Means), text(proofs(f.Proof)),
		}
		if measured {
			cells = append(cells, text(delivered(f.Proof)))
		}
		notes := told(f)
		if f.Problem != "" {
			notes = append(notes, f.Problem)
		}
		t.rows = append(t.rows, row{note: strings.Join(notes, "; "), cells: append(cells, text(signature(f.Signature)), state)})
	}
	return t
}

// edge is when an edge was, as closely as it is known.
func edge(e *record.Edge) string {
	if e == nil {
		return "never"
	}
	return moment(e, 3)
}

// proofs are what was seen; what was measured is in a column of its own.
func proofs(ps []record.Proof) string {
	var parts []string
	for _, p := range ps {
		if p.Asked != "" {
			continue
		}
		what := p.Node + ": " + p.What
		if !p.OK {
			what += " (not as it should be)"
		}
		parts = append(parts, what)
	}
	return strings.Join(parts, "; ")
}

// delivered sets what was asked for against what was delivered, by node.
func delivered(ps []record.Proof) string {
	var parts []string
	for _, p := range ps {
		if p.Asked != "" {
			parts = append(parts, p.Node+": "+against(p))
		}
	}
	return strings.Join(parts, "; ")
}

func against(p record.Proof) string {
	if !p.OK {
		return set(p) + " (too little)"
	}
	return set(p)
}

func set(p record.Proof) string {
	if p.Delivered == "" {
		return p.Asked + " → nothing"
	}
	return p.Asked + " → " + p.Delivered
}

// told is what else the record says of a fault: why it came when it did, how its nodes were found, what became of it.
func told(f rundir.Fault) []string {
	var parts []string
	if f.Trigger != "" {
		parts = append(parts, f.Trigger)
	}
	if f.Drawn != "" {
		parts = append(parts, "drawn by "+f.Drawn)
	}
	if f.Role != "" {
		parts = append(parts, "its nodes found by "+f.Role)
	}
	if unplanned(f.Ended) {
		parts = append(parts, "ended because "+f.Ended)
	}
	parts = append(parts, f.Renewed...)
	if len(f.Collateral) > 0 {
		parts = append(parts, "meanwhile on nodes that were not chosen: "+strings.Join(f.Collateral, ", "))
	}
	return parts
}

// unplanned tells the ends that the scenario does not say.
func unplanned(ended string) bool {
	return ended != "" && ended != record.EndedFor && ended != record.EndedLoad && ended != record.EndedItself
}

// faultLines say in one line each what of the faults is worth a line where there is no room for the table: what
// was asked against what was delivered, and what did not go as planned. They are by fault, with an example each.
func (s *sheet) faultLines() []string {
	var names []string
	by := make(map[string][]rundir.Fault)
	for _, f := range s.run.Faults {
		if by[f.Name] == nil {
			names = append(names, f.Name)
		}
		by[f.Name] = append(by[f.Name], f)
	}
	var lines []string
	for _, name := range names {
		of := by[name]
		if parts := summary(of); len(parts) > 0 {
			lines = append(lines, fmt.Sprintf("%s (%s): %s", name, of[0].Verb, strings.Join(parts, "; ")))
		}
	}
	return lines
}

// summary is what is worth telling of one fault in all its trials.
func summary(of []rundir.Fault) []string {
	var parts []string
	first := true
	for _, f := range of {
		for _, p := range f.Proof {
			if p.Asked != "" && (first || !p.OK) {
				first = false
				parts = append(parts, set(p)+where(f, p.Node, !p.OK))
			}
		}
	}
	const most = 3 // of what failed: the rest is in the table
	if len(parts) > most {
		parts = append(parts[:most], fmt.Sprintf("and %d more", len(parts)-most))
	}
	if t := of[0].Trigger; t != "" {
		parts = append(parts, t)
	}
	count := func(what string, has func(rundir.Fault) string) {
		n, example := 0, ""
		for _, f := range of {
			if w := has(f); w != "" {
				if n++; example == "" {
					example = w + where(f, "", false)
				}
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s in %d of %s, such as %s", what, n, plural(len(of), "trial", "trials"), example))
		}
	}
	count("ended otherwise than planned", func(f rundir.Fault) string {
		if !unplanned(f.Ended) {
			return ""
		}
		return f.Ended
	})
	count("a node of its restarted", func(f rundir.Fault) string { return strings.Join(f.Renewed, ", ") })
	count("nodes that were not chosen were hit too", func(f rundir.Fault) string { return strings.Join(f.Collateral, ", ") })
	return parts
}

// where says in which trial something was.
func where(f rundir.Fault, node string, short bool) string {
	at := fmt.Sprintf("%s, block %d", f.Arm, f.Block)
	if node != "" {
		at = node + ", " + at
	}
	if short {
		at = "too little: " + at
	}
	return " (" + at + ")"
}

func signature(by map[string]uint64) string {
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(by)) {
		if by[class] > 0 {
			parts = append(parts, count(by[class])+nb+class)
		}
	}
	if len(parts) == 0 {
		return "no bad request"
	}
	return strings.Join(parts, ", ")
}
