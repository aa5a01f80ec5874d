// Package fault says what a fault is. The faults themselves are in the packages
// below it, one a file. The injector (lib/trial) owns time, choice of nodes, undo, proof and
// stamps; a fault only makes one thing happen, and unhappen.
package fault

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// A Fault does one thing to nodes of a running target. One value serves one trial after the other, and never two at a time.
type Fault interface {
	// Inject returns once the effect can be observed, with an effect for every node it touched
	// and the way to undo it. A nil Revert means that there is nothing to undo. On error it has
	// undone what it did as far as it could, and Revert may still be non-nil.
	Inject(ctx context.Context, s *Site, nodes []target.Node) ([]target.Effect, Revert, error)
}

// A Revert undoes a fault and returns once that can be observed. It may be called twice. Its effects say what
// the fault has delivered, as far as that can be measured.
type Revert func(ctx context.Context) ([]target.Effect, error)

// An Armer is a [Fault] that prepares something on the nodes it may hit, before the load, so that Inject
// takes no time. Nothing of it is in force afterwards.
type Armer interface {
	Arm(ctx context.Context, s *Site, nodes []target.Node) error
}

// A Renewer is a [Fault] that can be put in force again on a node that has restarted meanwhile. For others a
// restart is the end of it on that node.
type Renewer interface {
	Renew(ctx context.Context, s *Site, node target.Node) ([]target.Effect, error)
}

// A Lasting is a [Fault] whose Revert does more than undo, and may take longer than most.
type Lasting interface {
	// Lasts is the time that it may take beyond what every Revert may, on so many nodes of a service with this stop grace.
	Lasts(nodes int, grace time.Duration) time.Duration
}

// A Site is where one fault of one trial happens.
type Site struct {
	target.Cluster
	Name    string                          // the fault's, unique in the trial
	Way     string                          // one of the Kind's Ways, as the plan chose; "" if it has none
	Helpers *Helpers                        // our own processes in the nodes, shared by the trial's faults
	Ready   func(ctx context.Context) error // returns nil once the target answers through its ingress
	Rand    *rand.Rand                      // the fault's own chance
	// Over is closed when measured load ends, or the trial is aborted: a Revert that goes on with the fault stops then. Nil: never.
	Over <-chan struct{}
	// Died says when a node died last since load began, on the engine's clock; false: it has not. Nil: nobody knows.
	Died func(node string) (time.Time, bool)
	// Engine gives a moment of this machine's clock as the engine's has it, which effects are on: where the engine runs in a
	// machine of its own, the two differ. Nil: they are one.
	Engine func(time.Time) time.Time
}

// Now is the moment on the engine's clock.
func (s *Site) Now() time.Time {
	if s.Engine == nil {
		return time.Now()
	}
	return s.Engine(time.Now())
}

// A Kind is a verb of the scenario file.
type Kind struct {
	Summary string         // one line for the docs and the schema
	Needs   target.Ability // checked by plan against the driver
	Params  []Param        // what may stand inside the verb's value, beside service and selectors
	NoFor   bool           // `for` is refused: the fault is over when it has happened
	// Means names the implementation for the record, such as "SIGKILL by the engine". A kind with Ways names it there.
	Means string
	// Ways are the implementations that it has, the best one first. The plan takes the first of which the machine has all.
	Ways []Way
	// WholeService: the fault is about a service, not about chosen nodes: no selectors.
	WholeService bool
	// Silent: the dead node's address answers nothing (as against refusing), where the driver gives nodes an address
	// that goes with them. A process's address is the machine's, and refuses.
	Silent bool
	// Places are where helpers of ours will be in the nodes that it hits.
	Places []target.Place
	// Choose says which nodes are hit where the parameters do and no selector (partition between groups). It returns
	// nil if they do not. What fits no node is an error. Nil: never.
	Choose func(p Params, all []target.Node) ([]target.Node, error)
	// Exclusive reports whether two faults of the kind cannot be in force on one service at a time: the end of one would undo
	// the other. Nil: never.
	Exclusive func(Params) bool
	// Check finds what can be known from a service's Compose file to be impossible, such as filling the memory of one
	// without a limit. It may ask something of the spec, such as the size of a volume. Nil: nothing.
	Check func(p Params, s target.Service, spec *target.Spec) error
	New   func(Params) (Fault, error)
}

// A Way is one implementation of a verb.
type Way struct {
	Name  string
	Means string // for the record: "packets queued to a helper that holds them (NFQUEUE)"
	// Abilities and Primitives are what it needs: of the driver, and of the machine's kernel, by the names that the
	// probe gives them ([github.com/tutti-bench/tutti/lib/netfault/rule.Primitive]).
	Abilities  target.Ability
	Primitives []string
	// Fits reports whether it can do what the parameters ask; nil: always.
	Fits func(Params) bool
}

// Kinds are the verbs that a program knows, by name.
type Kinds map[string]Kind
