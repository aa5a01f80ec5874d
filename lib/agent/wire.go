package agent

import (
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// protocol is the version of the wire. Both ends are the same binary, unless something is
// very wrong.
const protocol = 3

const (
	maxLine   = 16 << 20        // bytes in one line, either way
	maxQueue  = 8192            // replies that wait for a slow harness; over it the load is broken off
	maxProbes = 16              // probes, look-ups and fetches at the same time
	patience  = 5 * time.Second // for the other end to do what takes it no time
)

// A command goes to the agent; one field besides ID is set.
type command struct {
	ID      uint64     `json:"id"`
	Clock   bool       `json:"clock,omitempty"`
	Probe   *Probe     `json:"probe,omitempty"`
	Resolve string     `json:"resolve,omitempty"`
	Fetch   *Fetch     `json:"fetch,omitempty"`
	Load    *load.Plan `json:"load,omitempty"`
	// Verify has what the latest load wrote read back.
	Verify *verifyOrder `json:"verify,omitempty"`
	Cancel uint64       `json:"cancel,omitempty"` // ID of the load, or of what reads back, to break off
	Stop   bool         `json:"stop,omitempty"`   // break off everything and end
}

// A reply comes from the agent. Hello is its first. The last one to a command has End.
type reply struct {
	ID        uint64            `json:"id,omitempty"`
	Hello     int               `json:"hello,omitempty"` // the protocol
	Clock     int64             `json:"clock,omitempty"` // ns since 1970
	Addresses []string          `json:"addresses,omitempty"`
	Fetched   *Fetched          `json:"fetched,omitempty"`
	Started   int64             `json:"started,omitempty"` // zero of the load, ns since 1970
	Bin       *record.Bin       `json:"bin,omitempty"`
	Chunk     []byte            `json:"chunk,omitempty"` // of the results that the plan asks for
	Done      *record.Generator `json:"done,omitempty"`
	Slowest   []record.Example  `json:"slowest,omitempty"` // with Done
	Progress  *Progress         `json:"progress,omitempty"`
	Writes    []record.Writes   `json:"writes,omitempty"`
	Histories []record.History  `json:"histories,omitempty"`
	Error     string            `json:"error,omitempty"`
	End       bool              `json:"end,omitempty"`
}
