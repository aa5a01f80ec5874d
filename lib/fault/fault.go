// Package fault says what a fault is. The faults themselves are in the packages
// below it, one a file. The injector (lib/trial) owns time, choice of nodes, undo, proof and
// stamps; a fault only makes one thing happen, and unhappen.
package fault

import (
	"context"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// A Fault does one thing to nodes of a running target.
type Fault interface {
	// Inject returns once the effect can be observed, with an effect for every node it touched
	// and the way to undo it. A nil Revert means that there is nothing to undo. On error it has
	// undone what it did as far as it could, and Revert may still be non-nil.
	Inject(ctx context.Context, c target.Cluster, nodes []target.Node) ([]target.Effect, Revert, error)
}

// A Revert undoes a fault and returns once that can be observed. It may be called twice.
type Revert func(ctx context.Context) ([]target.Effect, error)

// A Kind is a verb of the scenario file.
type Kind struct {
	Summary string         // one line for the docs and the schema
	Needs   target.Ability // checked by plan against the driver
	Params  []Param        // what may stand inside the verb's value, beside service and selectors
	NoFor   bool           // `for` is refused: the fault is over when it has happened
	// Means names the implementation for the record, such as "SIGKILL by the engine".
	Means string
	// WholeService: the fault is about a service, not about chosen nodes: no selectors.
	WholeService bool
	// Silent: the dead node's address answers nothing (as against refusing).
	Silent bool
	New    func(Params) (Fault, error)
}

// A ParamType is the form that a parameter's value has in the file.
type ParamType string

// The forms.
const (
	Duration ParamType = "duration"
	Count    ParamType = "count" // a whole number from 0
)

// A Param is one parameter of a verb.
type Param struct {
	Name     string
	Type     ParamType
	Required bool
	Summary  string
}

// Params are parsed parameters: time.Duration for Duration, int for Count. An
// absent one is not in the map.
type Params map[string]any

// Duration returns a duration, or def if it is absent.
func (p Params) Duration(name string, def time.Duration) time.Duration {
	if d, ok := p[name].(time.Duration); ok {
		return d
	}
	return def
}

// Count returns a whole number, or def if it is absent.
func (p Params) Count(name string, def int) int {
	if n, ok := p[name].(int); ok {
		return n
	}
	return def
}

// Kinds are the verbs that a program knows, by name.
type Kinds map[string]Kind
