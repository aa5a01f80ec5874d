package record

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Saw is what the answer to a read held.
type Saw struct {
	State  SawState
	Client uint64 // whose value, for [SawValue]
}

// A SawState says what kind of thing an answer held.
type SawState uint8

// The states. The zero value is a request that is not looked at, or an answer that says nothing.
const (
	SawNothing SawState = iota
	SawAbsent           // that there is no value
	SawValue            // one value of this load's
	SawStrange          // one value that this load never wrote
	SawMany             // several values, of which nobody knows which one counts
)

// A History is what happened to one key: every write that may have been done, and every read whose answer can be judged,
// warm-up included, by their beginnings.
type History struct {
	Of  string `json:"of"`  // the request that writes
	Key uint64 `json:"key"` // its number, from 0
	Ops []Op   `json:"ops"`
	Cut bool   `json:"cut,omitempty"` // there was more than is kept
}

// Values of an [Op] that nobody wrote.
const (
	AbsentValue  = 0
	StrangeValue = ^uint64(0)     // a read of something that this load never wrote
	ManyValues   = ^uint64(0) - 1 // a read of several values
)

// An Op is one operation on a register.
type Op struct {
	Write bool
	Value uint64        // one more than the number of the client that wrote it; or [AbsentValue], [StrangeValue], [ManyValues]
	Start time.Duration // when it was sent
	End   time.Duration // when its answer was there; [None] for a write of which nobody knows
}

// MarshalJSON writes the operation as a list: 1 for a write, the value, its start, and how long it took in nanoseconds; −1 for nobody knows.
func (o Op) MarshalJSON() ([]byte, error) {
	write, took := 0, o.End-o.Start
	if o.Write {
		write = 1
	}
	if o.End == None {
		took = -1
	}
	return fmt.Appendf(nil, "[%d,%d,%d,%d]", write, o.Value, o.Start, took), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Op) UnmarshalJSON(b []byte) error {
	var list []json.Number
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) != 4 {
		return fmt.Errorf("an operation has %d fields, not 4", len(list))
	}
	var write, took int64
	for i, to := range []any{&write, &o.Value, &o.Start, &took} {
		if err := json.Unmarshal([]byte(list[i]), to); err != nil {
			return fmt.Errorf("field %d of an operation: %w", i+1, err)
		}
	}
	if write < 0 || write > 1 || took < -1 || took < 0 && write == 0 || o.Start > 1<<61 || o.Start < -1<<61 || took > 1<<61 {
		return fmt.Errorf("%s is no operation", b)
	}
	o.Write, o.End = write == 1, o.Start+time.Duration(took)
	if took < 0 {
		o.End = None
	}
	return nil
}

// Registers is what was found when the keys of one request were judged as registers.
type Registers struct {
	Keys         uint64 `json:"keys"` // that were written or read
	Reads        uint64 `json:"reads"`
	Unjudged     uint64 `json:"unjudged"` // reads that held several values
	Stale        uint64 `json:"stale"`    // reads that held less than what had been acknowledged before they began
	Linearizable uint64 `json:"linearizable"`
	Violated     uint64 `json:"violated"`
	Unknown      uint64 `json:"unknown"`
	Why          string `json:"why,omitempty"` // why something is unknown
	// Bad tells of the first keys that are violated, in the order of their numbers.
	Bad []string `json:"bad,omitempty"`
}
