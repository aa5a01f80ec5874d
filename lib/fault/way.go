package fault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/target"
)

// On chooses the first of the kind's ways of which a machine has all, for these parameters. Nil parameters stand for those that
// suit every way. A kind without ways has one without a name. The error is a [LackError].
func (k Kind) On(f target.Facts, p Params) (Way, error) {
	if lack := f.Abilities; !lack.Has(k.Needs) {
		return Way{}, &LackError{Ways: []LackingWay{{Lacks: []string{cannot(f, k.Needs)}}}}
	}
	if len(k.Ways) == 0 {
		return Way{Means: k.Means}, nil
	}
	var lacking []LackingWay
	for _, w := range k.Ways {
		lacks, fixes := w.lacks(f)
		if len(lacks) == 0 && p != nil && w.Fits != nil && !w.Fits(p) {
			lacks = []string{"it cannot do what is asked"}
		}
		if len(lacks) == 0 {
			return w, nil
		}
		lacking = append(lacking, LackingWay{Way: w.Name, Lacks: lacks, Fixes: fixes})
	}
	return Way{}, &LackError{Ways: lacking}
}

// lacks lists what a machine lacks for the way, and what would mend it.
func (w Way) lacks(f target.Facts) (lacks, fixes []string) {
	if !f.Abilities.Has(w.Abilities) {
		return []string{cannot(f, w.Abilities)}, nil // what its kernel can do does not matter then
	}
	if f.Primitives == nil {
		return nil, nil // nobody has asked
	}
	for _, name := range w.Primitives {
		p := f.Primitives[name]
		if p.OK {
			continue
		}
		why := "the kernel lacks " + name
		if p.Why != "" {
			why += " (" + p.Why + ")"
		}
		lacks = append(lacks, why)
		if p.Serves != "" {
			fixes = append(fixes, p.Serves)
		}
	}
	return lacks, fixes
}

func cannot(f target.Facts, need target.Ability) string {
	return fmt.Sprintf("the %s driver cannot %s here", f.Driver, need&^f.Abilities)
}

// A LackError says why a verb cannot be had on a machine: what each of its ways lacks.
type LackError struct{ Ways []LackingWay }

// A LackingWay is a way that cannot be had.
type LackingWay struct {
	Way   string // "" where the verb has no ways
	Lacks []string
	Fixes []string
}

// Error names every way and what it lacks; what all of them lack it says once.
func (e *LackError) Error() string {
	var all []string
	for _, w := range e.Ways {
		lacks := strings.Join(w.Lacks, ", ")
		if slices.ContainsFunc(e.Ways, func(o LackingWay) bool { return strings.Join(o.Lacks, ", ") != lacks }) && w.Way != "" {
			lacks = w.Way + ": " + lacks
		}
		if !slices.Contains(all, lacks) {
			all = append(all, lacks)
		}
	}
	return strings.Join(all, "; ")
}
