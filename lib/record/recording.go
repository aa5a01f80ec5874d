package record

import (
	"time"

	"github.com/tutti-bench/tutti/lib/schedule"
)

// Version is the version of the recording's format. A reader takes this one and those before it: 2 added what was
// read back; 3 the schedule, where there was one rate, the generator's own lag, the statuses of bad answers, examples, and what the generator
// found out about itself.
const Version = 3

// A Header is what was planned for a trial, and when its clock began.
type Header struct {
	Version int    `json:"version"`
	Run     string `json:"run"`
	Arm     string `json:"arm"`
	Block   int    `json:"block"` // from 1; trials are compared within a block
	Order   int    `json:"order"` // from 1: when in the run this trial ran
	Seed    int64  `json:"seed"`  // the same for all arms of a block

	Zero     time.Time     `json:"zero"` // start of measured load, on the engine's clock
	Warmup   time.Duration `json:"warmup"`
	For      time.Duration `json:"for"` // measured load
	Timeout  time.Duration `json:"timeout"`
	Requests []string      `json:"requests"` // the names of the requests
	Nodes    []Node        `json:"nodes"`

	// Schedule is when requests were due. It has no stages where a search set the rates, see [Capacity].
	Schedule schedule.Schedule `json:"schedule"`

	Attempts bool `json:"attempts"` // the scenario names an attempts header

	Capacity *Capacity `json:"capacity,omitempty"` // the load is a search for the highest rate: Holds has it, and Bins is empty
}

// A Node is one replica of the target.
type Node struct {
	Name     string `json:"name"` // service-n, n from 1
	Service  string `json:"service"`
	Balanced bool   `json:"balanced"` // of the service whose replicas are "the nodes"
	Address  string `json:"address,omitempty"`
	ID       string `json:"id,omitempty"`    // the container's
	Image    string `json:"image,omitempty"` // digest of its image
	Late     bool   `json:"late,omitempty"`  // a fault added it while load ran
}

// Kinds of events that happen to a node. They are what the engine says.
const (
	NodeStart   = "start"
	NodeDie     = "die"
	NodePause   = "pause"
	NodeUnpause = "unpause"
	NodeOOM     = "oom"
	NodeHealth  = "health" // Detail: healthy, unhealthy
	NodeRemove  = "remove"
)

// An Event is something that happened during a trial and is no request.
type Event struct {
	At     time.Duration `json:"at"`
	Within time.Duration `json:"within,omitempty"` // uncertainty: it happened in [At−Within, At]
	Kind   string        `json:"kind"`
	Node   string        `json:"node,omitempty"`
	Fault  string        `json:"fault,omitempty"`
	Source string        `json:"source"` // engine, harness, agent
	Detail string        `json:"detail,omitempty"`
}

// An Edge is a measured instant: it lies in [From, To]. Its value is To, the moment
// from which the effect is known to be there.
type Edge struct {
	From   time.Duration `json:"from"`
	To     time.Duration `json:"to"`
	Source string        `json:"source"` // who measured it
}

// A Proof is the evidence that a fault did to one node what it claims.
type Proof struct {
	Node string `json:"node"`
	What string `json:"what"` // such as "engine event die, exit code 137"
	OK   bool   `json:"ok"`

	// Where it can be measured: "delay 100ms", and "100.3 ms at the median of 4,012 packets".
	Asked     string `json:"asked,omitempty"`
	Delivered string `json:"delivered,omitempty"`
}

// Why a fault ended.
const (
	EndedFor     = "its time was over"
	EndedLoad    = "measured load ended"
	EndedItself  = "it is done when it has happened" // restart
	EndedAborted = "the trial was aborted"
	EndedLost    = "what kept it up was lost"           // the helper died; the trial is invalid
	EndedRestart = "its node came back, and it did not" // a restart ended it, and it cannot be renewed
	EndedBack    = "its node came back by itself"       // a restart policy, or another fault's undoing, has started what it took down
	EndedNever   = "its trigger never came"
)

// A Fault is what really happened of one planned fault.
type Fault struct {
	Name string        `json:"name"`
	Verb string        `json:"verb"`
	Line int           `json:"line,omitempty"` // in the scenario file
	At   time.Duration `json:"at"`             // when it was due: as planned, or when its trigger came
	For  time.Duration `json:"for,omitempty"`  // as planned; 0: to the end of load

	Trigger string `json:"trigger,omitempty"` // why then, where it is not a planned time: "2s after crash healed"
	Drawn   string `json:"drawn,omitempty"`   // the random fault that it is a draw of

	Nodes   []string `json:"nodes"`           // the chosen ones
	Onset   *Edge    `json:"onset,omitempty"` // nil: it never began
	Heal    *Edge    `json:"heal,omitempty"`  // nil: it never healed
	Means   string   `json:"means"`           // the implementation used
	Proof   []Proof  `json:"proof"`
	Ended   string   `json:"ended,omitempty"`
	Problem string   `json:"problem,omitempty"` // what went wrong; the trial is invalid

	Role       string   `json:"role,omitempty"`       // by which the nodes were found when it fired
	Renewed    []string `json:"renewed,omitempty"`    // nodes that restarted while it was in force, and what became of it there
	Collateral []string `json:"collateral,omitempty"` // what happened to nodes not chosen while it was in force
}

// Proven reports whether the fault has begun and every chosen node has its proof.
func (f *Fault) Proven() bool {
	if f.Onset == nil || len(f.Nodes) == 0 || f.Problem != "" {
		return false
	}
	ok := make(map[string]bool)
	for _, p := range f.Proof {
		if !p.OK {
			return false
		}
		ok[p.Node] = true
	}
	for _, n := range f.Nodes {
		if !ok[n] {
			return false
		}
	}
	return true
}

// A Recording is everything that is known of one trial. Analysis starts from it
// and from nothing else.
type Recording struct {
	Header
	Bins      []Bin // by index, ascending; negative ones are the warm-up
	Holds     []Hold
	Events    []Event
	Faults    []Fault
	Writes    []Writes // one for each request that the scenario verifies
	Histories []History
	Failures  []Example // at most [MaxFailures] of measured load, by number, spread over class, node and phase; none of a search
	Slowest   []Example // the [MaxSlowest] slowest of the answered requests of measured load, the slowest first; none of a search
	Generator Generator

	// Problems are reasons why the trial cannot be trusted, found while it ran: a target that
	// did not get ready, a header that names no replica. Any makes it invalid.
	Problems []string
}
