package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// NeedsPrimitives reports whether what a scenario's faults are done with depends on the machine's kernel, so that
// [Build] wants to know its primitives.
func NeedsPrimitives(s *scenario.Scenario, kinds fault.Kinds) bool {
	for _, arm := range s.Arms {
		for _, f := range possible(arm, kinds) {
			if slices.ContainsFunc(kinds[f.Verb].Ways, func(w fault.Way) bool { return len(w.Primitives) > 0 }) {
				return true
			}
		}
	}
	return false
}

// way is the best implementation that the machine has and that can do what the parameters ask.
func (p *Plan) way(kind fault.Kind, params fault.Params) fault.Way {
	w, _ := kind.On(p.facts, params) // Build has told what is lacking
	return w
}

func fits(w fault.Way, params fault.Params) bool { return w.Fits == nil || w.Fits(params) }

// checkAbilities finds faults that nothing here can do, each with the arms that have it.
func (p *Plan) checkAbilities() error {
	type lack struct{ fault, why string }
	var lacks []lack
	arms := make(map[lack][]string)
	for _, arm := range p.Scenario.Arms {
		for _, f := range possible(arm, p.kinds) {
			why := p.unable(f)
			if why == "" {
				continue
			}
			l := lack{fmt.Sprintf("%s:%d: fault %s (%s)", p.Scenario.File, f.Line, f.Name, f.Verb), why}
			if arms[l] == nil {
				lacks = append(lacks, l)
			}
			if !slices.Contains(arms[l], arm.Name) {
				arms[l] = append(arms[l], arm.Name)
			}
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	told := make([]error, len(lacks))
	for i, l := range lacks {
		told[i] = fmt.Errorf("%s in %s: %s", l.fault, armsNamed(arms[l]), l.why)
	}
	return &UnableError{&target.UnavailableError{
		What: "plan the faults", Err: errors.Join(told...),
		Hint: "nothing was started; use another engine, or leave these faults out; tutti doctor says what there is",
	}}
}

// An UnableError says that nothing here can do what the scenario's faults are, though the engine is there and answers. It wraps a
// [target.UnavailableError].
type UnableError struct{ Lacks *target.UnavailableError }

// Error is what the wrapped error says.
func (e *UnableError) Error() string { return e.Lacks.Error() }

// Unwrap returns the [target.UnavailableError].
func (e *UnableError) Unwrap() error { return e.Lacks }

func armsNamed(names []string) string {
	if len(names) == 1 {
		return "arm " + names[0]
	}
	return "arms " + strings.Join(names, ", ")
}

// unable says why a fault cannot be done here and what would mend it, "" if it can.
func (p *Plan) unable(f scenario.Fault) string {
	_, err := p.kinds[f.Verb].On(p.facts, f.Params)
	lack, ok := errors.AsType[*fault.LackError](err)
	if !ok {
		return ""
	}
	text := lack.Error()
	for _, w := range lack.Ways {
		for _, fix := range w.Fixes {
			if !strings.Contains(text, fix) {
				text += "\n    → " + fix
			}
		}
	}
	return text
}
