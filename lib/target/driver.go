package target

import (
	"context"
	"errors"
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

// A Versioner is a driver whose images may say which versions of which programs they hold.
type Versioner interface {
	// Versions returns, by service, what the images of a prepared target say: "haproxy 3.0.11". A service whose image
	// says nothing is not in it.
	Versions(ctx context.Context, t *Target) (map[string]string, error)
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

	// Primitives are what the machine's kernel can do where helpers run, by name. Nil: not asked. A primitive that is
	// not in it cannot be had.
	Primitives map[string]Primitive
}

// A Primitive is one thing that a kernel can do, or cannot.
type Primitive struct {
	OK      bool   `json:"ok"`
	Why     string `json:"why,omitempty"`     // why not: "add a netem qdisc: no such file or directory"
	Serves  string `json:"serves,omitempty"`  // what serves in its place, or the fix
	Measure string `json:"measure,omitempty"` // asked against delivered, where it was measured
}

// Ability is a set of things that a driver can do to a node.
type Ability uint32

// The abilities.
const (
	CanKill Ability = 1 << iota
	CanStop
	CanPause
	CanScale
	CanRemove       // create a node anew
	CanCrash        // end a node's process on a living host
	CanExec         // run a command inside a node
	CanLimit        // limit a node's CPU
	CanBound        // give a service's volume a size
	CanEnterNetwork // our own process in a node's network namespace
	CanEnterNode    // … in its control group, among its processes and mounts
	CanTrace        // … that may change its processes' memory
	CanMount        // … with a volume of the node
	CanThrottle     // … that may limit its control group's disk
	CanProxy        // a proxy of the driver's own in front of a node
)

// abilities name the bits, in their order, as what a driver can do.
var abilities = []string{
	"kill nodes", "stop nodes", "pause nodes", "scale services", "create nodes anew", "crash nodes", "run commands in nodes",
	"limit nodes' CPU", "give volumes a size", "enter nodes' network namespaces", "enter nodes' control groups", "trace nodes' processes",
	"mount nodes' volumes", "throttle nodes' disks", "put a proxy in front of nodes",
}

// Has reports whether all of want is there.
func (a Ability) Has(want Ability) bool { return a&want == want }

// String lists the abilities.
func (a Ability) String() string {
	var names []string
	for i, n := range abilities {
		if a&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// ErrLeft is in the chain of an error when something of a target could not be removed: of Up's, if what it had begun stays.
var ErrLeft = errors.New("the target was not removed whole")

// An Effect is one thing done to one node, and how we know. From and To are on
// the engine's clock: it happened between them.
type Effect struct {
	Node     Node // as it is afterwards
	From, To time.Time
	Source   string // "engine event", "wait status" …
	Proof    string // what was seen, such as "die, exit code 137"

	// What was asked for and what was delivered, where that can be measured: "delay 100ms", "100.3 ms
	// at the median of 4,012 packets". Short means that too little was: the fault is not proven.
	Asked, Delivered string
	Short            bool
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

// A Remover can take a node away and make it anew.
type Remover interface {
	// Remove returns when the node is gone from the engine.
	Remove(ctx context.Context, n Node) (Effect, error)
	// Recreate returns when a node of the same name and address runs, made from the same image with
	// nothing of the old one but its named volumes.
	Recreate(ctx context.Context, n Node) (Effect, error)
}

// A Crasher can end a node's process from the outside of its container, as a bug would, so that a
// restart policy may act.
type Crasher interface {
	// Crash returns when the process is known to be dead.
	Crash(ctx context.Context, n Node) (Effect, error)
	// Revive returns when the node's process runs, whoever has started it. The process may have ended a moment ago, so
	// that the engine has not heard of it.
	Revive(ctx context.Context, n Node) (Effect, error)
}

// An Execer can run a command inside a node, as `docker exec` does.
type Execer interface {
	// Exec returns when the command has ended. Output is its standard output and error together, at most
	// 64 KiB. That it could not be run at all is an error; an exit code is none.
	Exec(ctx context.Context, n Node, command []string) (Executed, error)
}

// Executed is a command that was run inside a node.
type Executed struct {
	From, To time.Time // on the engine's clock
	Code     int
	Output   string
}

// A Limiter can limit a node's CPU.
type Limiter interface {
	// Limit lets a node have so many cores. 0 gives it back what its Compose file says.
	Limit(ctx context.Context, n Node, cores float64) (Effect, error)
	// Throttled says for how long a node has been held back by its limit so far.
	Throttled(ctx context.Context, n Node) (Throttling, error)
}

// Throttling is what a kernel says of a CPU limit: how many of a control group's periods were throttled, and for how long.
type Throttling struct {
	Periods, Throttled uint64
	Time               time.Duration
	Used               time.Duration // of the CPU
}

// A Place is where in a node our own binary runs, and what it may do there: what the verb needs, and no more.
type Place string

// The places.
const (
	InNetwork   Place = "network"   // the node's network namespace; may change it
	InMachine   Place = "machine"   // the machine's process namespace; may send signals
	InNode      Place = "node"      // inside the node's container: its control group, processes, mounts; no more than the service may
	InProcesses Place = "processes" // the node's process namespace; may trace
	AtVolume    Place = "volume"    // a volume of the node below /volume; may write there whatever its owner
	InDisk      Place = "disk"      // the machine's control groups; may write them
)

// An Enterer can start our own binary in a node.
type Enterer interface {
	// Enter starts our own binary in a node that runs, its standard streams attached. It ends with
	// its standard input, by Kill, when the node ends (as far as it is inside), or in Down. For AtVolume
	// the volume is named by the Compose file's name for it.
	Enter(ctx context.Context, n Node, p Place, volume string, args ...string) (*Process, error)
}

// A Scratcher is a driver that can start our own binary where a helper would run, away from any target: to find
// out what can be done there.
type Scratcher interface {
	Scratch(ctx context.Context, run string, p Place, args ...string) (*Process, error)
}

// A Proxier is a cluster whose driver has a proxy of its own in front of nodes (the process driver).
type Proxier interface {
	// Proxy makes the toxics of one fault act on what comes to a node; none ends them. It returns once that is so.
	Proxy(ctx context.Context, n Node, fault string, toxics []Toxic) (Effect, error)
}

// A Toxic is one thing that a proxy does to connections, by toxiproxy's names for them and their attributes.
// "down" refuses connections and "reset_peer" resets them.
type Toxic struct {
	Type       string         // latency, bandwidth, down, reset_peer
	Stream     string         // upstream (to the node), downstream
	Attributes map[string]any //
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
