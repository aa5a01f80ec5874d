package analysis

import (
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A Trial is one recording, read.
type Trial struct {
	Rec *record.Recording
}

// A Span is a stretch of time since zero. To is excluded.
type Span struct{ From, To time.Duration }

// A Second is one window of 1 s of a trial, for drawing.
type Second struct {
	Start     time.Duration
	Due, Good uint64
	P50, P99  Value // over all requests due in it
	ByClass   map[record.Class]uint64
	ByNode    map[string]uint64 // answered requests by node
}

// A LaneState says what a node was doing.
type LaneState string

// The states of a node in a lane.
const (
	InRotation LaneState = "in rotation" // it answers, or is tried
	Failing    LaneState = "failing"     // it is tried, and does not answer
	Ejected    LaneState = "ejected"     // nobody tries it
	Down       LaneState = "down"        // the engine says it does not run, or is frozen
)

// A Lane is one node's states over time.
type Lane struct {
	Node  string
	Spans []LaneSpan
}

// A LaneSpan is one state of a node.
type LaneSpan struct {
	Span
	State LaneState
}

// A Milestone is a moment in a fault's life, as an offset from zero.
type Milestone struct {
	At    time.Duration
	Fault string
	Kind  string // onset, first error, ejected, recovered, healed
}

// An ErrorCount is how many requests had a class, by node and phase.
type ErrorCount struct {
	Class record.Class
	Node  string // "" if nobody answered
	Phase Phase
	Count uint64
}
