package target

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Driver starts targets with one outside technology.
type Driver interface {
	// Probe says what the driver can do on this machine. An error means that it
	// cannot be used at all, and why.
	Probe(ctx context.Context) (Facts, error)
	// Prepare gets the images of a target, so that no trial waits for them, and
	// returns their digests by service. It refuses a service that it cannot run.
	Prepare(ctx context.Context, t *Target, progress func(string)) (map[string]string, error)
	// Up starts a target and returns when every replica runs, every healthcheck is
	// healthy and every depends_on condition holds. On error nothing is left behind.
	Up(ctx context.Context, s Spec) (Cluster, error)
}

// A Cluster is one running target. Drivers add the abilities they have by
// implementing [Killer], [Stopper], [Pauser], [Scaler] on it.
type Cluster interface {
	// Nodes lists the replicas that should be there now, by service, then number.
	// A killed or stopped replica is still listed; one scaled away is not.
	Nodes() []Node
	// Attach starts our own binary with these arguments on the target's network,
	// its standard streams attached.
	Attach(ctx context.Context, args ...string) (*Process, error)
	// Down removes everything that Up and Attach made. It may be called twice and works
	// under a context of its own; an error names what is left.
	Down(ctx context.Context) error
}

// A Process is our own binary, running beside the nodes. Closing Stdin asks it to end.
type Process struct {
	Stdin  io.WriteCloser
	Stdout io.Reader
	// Wait returns when the process has ended: nil for exit code 0, else an error with
	// the end of its standard error.
	Wait func() error
	// Kill ends it at once. It may be called twice.
	Kill func()
}

// Facts are what a driver knows of its machine.
type Facts struct {
	Driver    string            // docker, process
	Abilities Ability           //
	Details   map[string]string // for provenance: engine version, kernel, storage driver …
}

// Ability is a set of things that a driver can do to a node.
type Ability uint32

// The abilities.
const (
	CanKill Ability = 1 << iota
	CanStop
	CanPause
	CanScale
)

// Has reports whether all of want is there.
func (a Ability) Has(want Ability) bool { return a&want == want }

// String lists the abilities.
func (a Ability) String() string {
	var names []string
	for i, n := range []string{"kill", "stop", "pause", "scale"} {
		if a&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// An Effect is one thing done to one node, and how we know. From and To are on
// the engine's clock: it happened between them.
type Effect struct {
	Node     Node // as it is afterwards
	From, To time.Time
	Source   string // "engine event", "wait status" …
	Proof    string // what was seen, such as "die, exit code 137"
}

// A Killer can end a node without warning.
type Killer interface {
	// Kill returns when the node is known to be dead.
	Kill(ctx context.Context, n Node) (Effect, error)
	Starter
}

// A Starter can start a node again that was killed or stopped, at its old address.
type Starter interface {
	// Start returns when the node's process runs. It need not be ready.
	Start(ctx context.Context, n Node) (Effect, error)
}

// A Stopper can stop a node by its signal.
type Stopper interface {
	// Stop sends the stop signal and, after grace, SIGKILL. A negative grace is the
	// service's own. The effect's From is when the signal was sent, To when the node was gone.
	Stop(ctx context.Context, n Node, grace time.Duration) (Effect, error)
	Starter
}

// A Pauser can freeze a node.
type Pauser interface {
	Pause(ctx context.Context, n Node) (Effect, error)
	Unpause(ctx context.Context, n Node) (Effect, error)
}

// A Scaler can change how many replicas a service has.
type Scaler interface {
	// Scale returns when the service has n replicas, with an effect for each one added or removed. The
	// highest numbers go first. It does not wait for healthchecks.
	Scale(ctx context.Context, service string, n int) ([]Effect, error)
}

// A NodeEvent is what the engine says of a node. Kind is one of the Node constants
// of package record.
type NodeEvent struct {
	At     time.Time // on the engine's clock
	Node   string
	Kind   string
	Detail string
}

// An UnavailableError says that the environment lacks something: no engine, no image, no
// ability. It is never the scenario's fault. Commands exit with 30 on it.
type UnavailableError struct {
	What string // "start the target with docker"
	Err  error
	Hint string // what to do; may be empty
}

// Error says what, why, and what to do.
func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("%s: %v", e.What, e.Err)
	if e.Hint != "" {
		s += "\n  " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }
