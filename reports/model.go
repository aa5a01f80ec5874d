package reports

import (
	"maps"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// ClosedNote is what goes with every figure of a closed loop.
const ClosedNote = "Closed loop: who waits for an answer sends nothing meanwhile, so that a slow target slows its own exam down, and these figures flatter it."

// notes are what a reader must know before any figure.
func (s *sheet) notes() []string {
	var notes []string
	if v := s.run.Variation; v != nil {
		notes = append(notes, variationNote(v))
	}
	if s.closed() {
		notes = append(notes, ClosedNote)
	}
	return notes
}

// variationNote says what was changed in the scenario before it was run: whoever is handed the page must not take what was broken on
// purpose for a finding.
func variationNote(v *rundir.Variation) string {
	switch v.Kind {
	case rundir.Again:
		return "Equal arms: this run is the baseline twice, under two names, to see what is found where nothing differs."
	case rundir.Mutation:
		where := slices.Sorted(maps.Keys(v.Scale))
		if len(where) == 0 {
			where = slices.Sorted(maps.Keys(v.Services))
		}
		text := "Broken on purpose, to try whether the objectives notice: " + visible(v.Name)
		if len(where) > 0 {
			text += ", in " + visible(strings.Join(where, ", "))
		}
		return text + ". What fails here says nothing of the target as it is."
	}
	return "A variation of the scenario: " + visible(strings.TrimSpace(v.Kind+" "+v.Name)) + "."
}

// closed reports whether users sent the load, and not a schedule.
func (s *sheet) closed() bool { return s.run.Load.Model == rundir.ClosedLoop }

// closedLead is what goes with them, and nothing where load was open.
func (s *sheet) closedLead() string {
	if s.closed() {
		return ClosedNote
	}
	return ""
}

// loadWords says what measured load was, without its length where it has one for each stage.
func loadWords(l rundir.Load) string {
	if len(l.Stages) == 0 {
		return scale{times: 1}.short(l.Rate) + " requests/s for " + seconds(l.For) + arrivals(l)
	}
	parts := make([]string, len(l.Stages))
	for i, g := range l.Stages {
		parts[i] = stageWords(g)
	}
	text := strings.Join(parts, ", then ")
	if l.Model == rundir.ClosedLoop {
		return "a closed loop of " + text
	}
	return text + arrivals(l)
}

func arrivals(l rundir.Load) string {
	if l.Arrivals == "poisson" {
		return ", arriving at random (Poisson)"
	}
	return ""
}

func stageWords(g rundir.Stage) string {
	rate := func(v float64) string { return scale{times: 1}.short(v) }
	long := " for " + seconds(g.For)
	switch {
	case g.Users == 1:
		return "1 user who thinks for " + seconds(g.Think) + long
	case g.Users > 0:
		return rate(float64(g.Users)) + " users who think for " + seconds(g.Think) + long
	case g.To > 0:
		return rate(g.Rate) + " to " + rate(g.To) + " requests/s over " + seconds(g.For)
	case g.Swing > 0:
		return rate(g.Rate) + " ± " + rate(g.Swing) + " requests/s every " + seconds(g.Period) + long
	}
	return rate(g.Rate) + " requests/s" + long
}
