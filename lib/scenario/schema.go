package scenario

import (
	"encoding/json"
	"fmt"

	"github.com/tutti-bench/tutti/lib/fault"
)

// Schema returns the JSON Schema (draft 2020-12) of scenario files with these verbs, for editors. It is
// made of the table that [Parse] reads by. A file that Parse takes is valid; of a valid file Parse
// may still refuse what a schema cannot say: units, names that must exist, times that must fit.
func Schema(kinds fault.Kinds) ([]byte, error) {
	s := vocabulary(kinds).schema()
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "A tutti scenario"
	defs := make(object)
	for _, f := range definitions(kinds) {
		defs[f.name] = f.form.schema()
	}
	s["$defs"] = defs
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of scenario files: %w", err)
	}
	return append(b, '\n'), nil
}

// A shared form stands in several places, and the schema says it once.
type shared struct {
	form
	name string
}

func (f shared) schema() object { return object{"$ref": "#/$defs/" + f.name} }

// definitions are all shared forms.
func definitions(kinds fault.Kinds) []shared {
	all := []shared{faultList(kinds), roleForm()}
	for _, verb := range verbNames(kinds) {
		all = append(all, verbForm(verb, kinds[verb], false), verbForm(verb, kinds[verb], true))
	}
	return all
}
