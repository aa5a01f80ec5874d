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

// mutationKeys are the keys of a mutation: those of an arm, and whose they are.
func mutationKeys(arm *keys) *keys {
	k := *arm
	k.name, k.brief, k.empty = "a mutation", "a mapping, such as {arms: [cluster], env: {CHECK: off}}", false
	k.list = append(slices.Clone(arm.list), key{name: "arms", doc: "which arms are broken", def: "all but the baseline", form: many{
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
		for _, arm := range s.Arms {
			if broken[arm.Name] || !f.has("arms") && arm.Name != s.Baseline {
				m.Arms = append(m.Arms, b.mutated(arm, f, s.Load))
			}
		}
		s.Mutations = append(s.Mutations, m)
	}
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
