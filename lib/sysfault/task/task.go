// Package task says what faults want of a node's processes and resources, and what came of it, in the form
// that goes over the wire to the helper that does it. It knows no kernel: that is lib/sysfault's.
package task

import "time"

// The workers, by the names that the program's kit has for them.
const (
	Signal   = "signal"   // in the machine
	Burn     = "burn"     // in the node
	Fill     = "fill"     // in the node
	OOM      = "oom"      // in the node
	Disk     = "disk"     // at the volume
	Throttle = "throttle" // in the machine's control groups
	Clock    = "clock"    // among the node's processes
)

// An End is of one container's first process: the signal that ends it, or, without Kill, only the watch for its end.
type End struct {
	ID   string `json:"id"`             // of the container
	Kill bool   `json:"kill,omitempty"` // by SIGKILL; without it the process is only watched
}

// Ended is what came of an [End].
type Ended struct {
	PID  int  `json:"pid"` // in the machine's process namespace
	Dead bool `json:"dead"`
	// It ended between From and To, on the kernel's clock.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// A Load is a share of the CPU that a node may use: of its quota if it has one, of the machine's cores if not.
type Load struct {
	Share float64 `json:"share"` // above 0, at most 1
}

// Burnt is what came of a [Load].
type Burnt struct {
	Held      time.Duration `json:"held"`      // for so long it burnt
	CPU       time.Duration `json:"cpu"`       // that the burner used
	Cores     float64       `json:"cores"`     // that the node may use
	Asked     float64       `json:"asked"`     // share of them
	Delivered float64       `json:"delivered"` // CPU ÷ (Held × Cores)
}

// A Filling is a share of a node's memory limit that is to be in use.
type Filling struct {
	Share float64 `json:"share"` // above 0, at most 1
}

// Filled is what came of a [Filling]. All sizes are bytes.
type Filled struct {
	Limit  int64 `json:"limit"`
	Before int64 `json:"before"` // in use when it began, file cache that the kernel can drop included
	Want   int64 `json:"want"`   // to be in use
	Used   int64 `json:"used"`   // in use when last looked
	Least  int64 `json:"least"`  // the lowest use that was seen since Want was reached; 0: it never was
	Ours   int64 `json:"ours"`   // of Used
	Most   int64 `json:"most"`   // that was ever ours; 0: others used Want already
}

// A Kill by the kernel for want of memory is what an OOM part asks for. It has no parameters: whatever is not ours in
// the node may go.
type Kill struct{}

// Killed is what came of a [Kill], where the helper has survived it.
type Killed struct {
	Limit  int64    `json:"limit"`
	Used   int64    `json:"used"`             // at the most, in bytes
	Kills  uint64   `json:"kills"`            // by the kernel since it began, as the control group counts them
	Who    []string `json:"who,omitempty"`    // the processes that were there before and are not now, "name (pid)"
	Spared []string `json:"spared,omitempty"` // those that could not be offered to the kernel, and why
	Left   []string `json:"left,omitempty"`   // those that are still offered, since that could not be undone, and why
}

// A Full is a volume to be filled.
type Full struct {
	// Bound is the size in bytes that the volume may have at most. One that is bigger is never filled.
	Bound int64 `json:"bound"`
}

// Fullness is what came of a [Full]. All sizes are bytes.
type Fullness struct {
	Size       int64  `json:"size"`
	FreeBefore int64  `json:"free_before"`
	FreeAfter  int64  `json:"free_after"` // when last looked, before anything was freed
	Ours       int64  `json:"ours"`       // in our file
	NoSpace    uint64 `json:"no_space"`   // how often a write of ours was refused: ENOSPC
	TopUps     uint64 `json:"top_ups"`    // how often space that had come free was taken
}

// A Brake is a limit of the disk's speed for one container, on every disk of the machine.
type Brake struct {
	ID string `json:"id"`
	// Rate is in bytes per second, of reads and of writes each. 0 takes away what a helper that was killed has left.
	Rate int64 `json:"rate"`
}

// Braked is what came of a [Brake].
type Braked struct {
	Devices []string      `json:"devices"` // "8:0": those whose limit the kernel has confirmed
	Reaches string        `json:"reaches"` // which I/O the limit is about
	Held    time.Duration `json:"held"`
	Read    uint64        `json:"read"` // bytes of the container's that passed while it was in force
	Written uint64        `json:"written"`
}

// A Skew is how far the node's wall clock is from the true time.
type Skew struct {
	Offset time.Duration `json:"offset"` // of all faults together the sum
}

// Skewed is what came of a [Skew].
type Skewed struct {
	Asked     time.Duration `json:"asked"`     // of all faults together
	Processes int           `json:"processes"` // that were changed
	// Seen is what the changed function of a process answers, less the true time: the one that is furthest from Asked.
	Seen    time.Duration `json:"seen"`
	Stopped time.Duration `json:"stopped"`          // for how long a process stood still for it, at the most
	Missed  []string      `json:"missed,omitempty"` // processes that could not be changed, and why
}
