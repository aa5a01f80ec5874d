package record

import "time"

// A Capacity is what a search for the highest rate was planned to be.
type Capacity struct {
	While string        `json:"while"` // the condition that a hold must meet
	From  float64       `json:"from"`  // requests per second
	To    float64       `json:"to"`
	Hold  time.Duration `json:"hold"`
}

// An Answer is what a hold says of its rate.
type Answer string

// The answers. The zero value is none: a hold that nobody judged says nothing.
const (
	Met     Answer = "met"
	Unmet   Answer = "unmet"
	Unknown Answer = "unknown" // it cannot be told, whatever the target did: the generator is to blame
)

// A Hold is one rate, held for a while: a load of its own, with bins of its own.
type Hold struct {
	At     time.Duration `json:"at"`     // start of its measured load, from the first hold's; the zero of its bins
	Rate   float64       `json:"rate"`   // requests due per second
	Warmup time.Duration `json:"warmup"` // load at this rate before it, which is not measured
	For    time.Duration `json:"for"`

	Offered      float64       `json:"offered"`  // requests that really went out per second
	Achieved     float64       `json:"achieved"` // answers per second
	Goodput      float64       `json:"goodput"`  // good ones
	Availability float64       `json:"availability"`
	P99          time.Duration `json:"p99"` // over all requests; [None] if it never came

	Answer  Answer        `json:"answer"`
	Why     string        `json:"why,omitempty"` // it was not met, or cannot be told
	Settled time.Duration `json:"settled"`       // rest before it, until the target answered as it does at rest

	Generator Generator `json:"generator"`
	Bins      []Bin     `json:"-"` // negative ones are the warm-up; on disk they follow the hold
}
