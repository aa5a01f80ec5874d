package reports

import (
	"slices"
	"sort"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// An arm is one variant of the target with the looks it has in the whole report.
type arm struct {
	Name     string
	Baseline bool
	// Look is the arm's colour and mark: 0 vermillion and square for the baseline, 1 blue
	// and round for the arm under test, then what Okabe and Ito's palette has left.
	Look int
}

const looks = 6

// armsOf lists the arms, the baseline last: it is what the others are held against.
func armsOf(run *rundir.Run) []*arm {
	names := slices.Clone(run.ArmOrder)
	var rest []string
	for n := range run.Arms {
		if !slices.Contains(names, n) {
			rest = append(rest, n)
		}
	}
	for _, t := range run.Trials {
		if !slices.Contains(names, t.Arm) && !slices.Contains(rest, t.Arm) {
			rest = append(rest, t.Arm)
		}
	}
	sort.Strings(rest)
	names = append(names, rest...)
	var arms []*arm
	var base *arm
	for _, n := range names {
		a := &arm{Name: n}
		if n == run.Baseline {
			a.Baseline, base = true, a
			continue
		}
		a.Look = 1 + len(arms)%(looks-1)
		arms = append(arms, a)
	}
	if base != nil {
		arms = append(arms, base)
	}
	return arms
}

// nouns are arms' names that want words around them to be read aloud.
var nouns = map[string][2]string{
	"cluster": {"the ", ""}, "single": {"the ", " node"}, "target": {"the ", ""}, "baseline": {"the ", ""},
}

// noun is the arm in a sentence that may begin with it: a name keeps its letters.
func (a *arm) noun() string {
	if n, ok := nouns[a.Name]; ok {
		return n[0] + a.Name + n[1]
	}
	return "arm " + a.Name
}
