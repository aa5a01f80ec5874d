package scenario

import (
	"maps"
	"slices"
)

// A Mutation is something broken in the target on purpose, for the gate's self-test: arms that take the place of those of their names.
type Mutation struct {
	Name string
	Arms []Arm
	Line int
}

// unbroken are the names of a self-test's own runs, whose results stand beside those of mutations.
var unbroken = []string{"as-is", "equal-arms"}

// mutationKeys are the keys of a mutation: those of an arm, and whose they are.
func mutationKeys(arm *keys) *keys {
	k := *arm
	k.name, k.brief, k.empty = "a mutation", "a mapping, such as {arms: [cluster], env: {CHECK: off}}", false
	k.list = append(slices.Clone(arm.list), key{name: "arms", doc: "which arms are broken", def: "all but the baseline, or the only one", form: many{
		of: anyName, what: "a list of arms, such as [cluster]", alone: true, min: 1, max: 50,
	}})
	return &k
}

// mutations reads what the gate's self-test breaks. The arms are complete by now.
func (b *builder) mutations(s *Scenario, top *fields) {
	for _, i := range get[[]item](top, "mutations", nil) {
		f, ok := i.v.(*fields)
		if !ok {
			continue
		}
		m := Mutation{Name: i.key.Value, Line: i.key.Line}
		if slices.Contains(unbroken, m.Name) {
			b.wrong(i.key, "%q is a run of the self-test in which nothing is broken", m.Name).expect("another name")
		}
		broken := make(map[string]bool)
		for _, a := range get[[]item](f, "arms", nil) {
			name := a.v.(string)
			if names := armNames(s); b.allArms && !slices.Contains(names, name) {
				b.wrong(a.node, "no arm is named %q", name).near(name, names).expect("%s", list(names, "or"))
			}
			broken[name] = true
		}
		if len(f.at) == 0 || len(f.at) == 1 && f.has("arms") {
			b.wrong(i.key, "the mutation changes nothing").expect("what it breaks, such as env, scale or faults")
		}
		before := len(b.errs)
		for _, arm := range s.Arms {
			other := arm.Name != s.Baseline || len(s.Arms) == 1 // a scenario's only arm is broken, whatever it is called
			if broken[arm.Name] || !f.has("arms") && other {
				m.Arms = append(m.Arms, b.mutated(arm, f, s.Load))
			}
		}
		b.once(before)
		s.Mutations = append(s.Mutations, m)
	}
}

// once takes out what was found more than once since there were so many errors: what a mutation says is read for each of its arms.
func (b *builder) once(before int) {
	told := make(map[string]bool)
	kept := slices.DeleteFunc(b.errs[before:], func(e *Error) bool {
		again := told[e.Error()]
		told[e.Error()] = true
		return again
	})
	b.errs = b.errs[:before+len(kept)]
}

// mutated is an arm with what a mutation says over it.
func (b *builder) mutated(arm Arm, f *fields, load Load) Arm {
	arm.Compose, arm.Profiles = slices.Clone(arm.Compose), slices.Clone(arm.Profiles)
	arm.Env, arm.Scale = maps.Clone(arm.Env), maps.Clone(arm.Scale)
	b.inherit(&arm, f)
	for _, s := range get[[]item](f, "scale", nil) {
		arm.Scale[s.key.Value] = int(s.v.(int64))
	}
	if f.has("faults") {
		arm.Faults = b.faults(get[[]item](f, "faults", nil), load, arm.NodeHeader)
	}
	return arm
}
