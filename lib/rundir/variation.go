package rundir

// The kinds of [Variation].
const (
	Again    = "again"    // the baseline twice, under two names
	Mutation = "mutation" // arms with something broken
)

// A Variation is what was changed in a scenario before it was run. scenario.yaml in the folder is the scenario without it.
type Variation struct {
	Kind     string                    `json:"kind"`
	Name     string                    `json:"name,omitempty"`     // of a mutation
	Scale    map[string]map[string]int `json:"scale,omitempty"`    // replicas by arm and service, where a mutation takes one away
	Verb     string                    `json:"verb,omitempty"`     // by which it is broken
	Services map[string]string         `json:"services,omitempty"` // by arm, where it is broken
}
