package record

import "time"

// Writes is what was found when one request's writes of measured load were read back. Every write that the schedule
// asked for is one of acknowledged, uncertain (it was sent, and no answer said that it was done: it may be there or
// not), or was never sent and is not counted. An acknowledged one is kept, lost or unread.
type Writes struct {
	Of     string        `json:"of"`   // the request's name
	Read   string        `json:"read"` // how it was read back, as the file has it
	Within time.Duration `json:"within"`

	Acknowledged uint64 `json:"acknowledged"`
	Kept         uint64 `json:"kept"`   // read back as it was written
	Lost         uint64 `json:"lost"`   // the last answer did not hold it
	Unread       uint64 `json:"unread"` // the last read had no answer that says anything
	Uncertain    uint64 `json:"uncertain"`
	Found        uint64 `json:"found"`      // uncertain ones that are there
	Duplicated   uint64 `json:"duplicated"` // that the answer held more than once, uncertain ones included

	Reads uint64        `json:"reads"` // requests sent to find all this
	Took  time.Duration `json:"took"`

	First time.Duration `json:"first,omitempty"` // due times of the first and of the last lost write; 0 if none is
	Last  time.Duration `json:"last,omitempty"`
	Lacks []Lack        `json:"lacks,omitempty"` // the first of those lost or unread, in the order of the schedule
	// Problem says why nothing was read back at all, or not to the end; then what was found is no more than a part.
	Problem string `json:"problem,omitempty"`

	// Registers is what the reads during load say, where several writes share a key and the load reads them; else nil.
	Registers *Registers `json:"registers,omitempty"`
}

// MaxLacks is how many examples [Writes] keeps.
const MaxLacks = 8

// A Lack is one acknowledged write that was not found.
type Lack struct {
	Seq  uint64        `json:"seq"` // its number in the schedule
	Due  time.Duration `json:"due"`
	Read string        `json:"read"` // what was asked for, such as "/kv/k2b5bccf307d0982e"
	Got  string        `json:"got"`  // what came last, such as "404 not found"; what a target says, cut
	Lost bool          `json:"lost"` // false: unread
}
