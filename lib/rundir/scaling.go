package rundir

import "github.com/tutti-bench/tutti/lib/record"

// A Search is a search for the highest rate whose hold meets a condition.
type Search struct {
	While string  `json:"while"`
	From  float64 `json:"from"` // 1/s
	To    float64 `json:"to"`
	Hold  float64 `json:"hold"`
}

// A Hold is one rate that a search has tried.
type Hold struct {
	At           float64       `json:"at"`      // since the first hold's start
	Rate         float64       `json:"rate"`    // 1/s
	Offered      float64       `json:"offered"` // 1/s
	Achieved     float64       `json:"achieved"`
	Goodput      float64       `json:"goodput"`
	P99          *float64      `json:"p99"`
	Availability float64       `json:"availability"`
	Answer       record.Answer `json:"answer"`
	Why          string        `json:"why,omitempty"`
}

// A Scaling is the capacity of arms that differ in how many replicas of a service they have.
type Scaling struct {
	Service string `json:"service"`
	Sizes   []Size `json:"sizes"`         // rising
	Fit     *Fit   `json:"fit,omitempty"` // the Universal Scalability Law, over all trials that count
	Refused string `json:"refused,omitempty"`
}

// A Size is an arm of a scaling.
type Size struct {
	Arm        string       `json:"arm"`
	Nodes      int          `json:"nodes"`
	Capacity   Value        `json:"capacity"`
	Efficiency Value        `json:"efficiency"`
	PerBlock   []BlockValue `json:"per_block"`
}

// A Fit is the law X(N) = λN / (1 + σ(N−1) + κN(N−1)), fitted.
type Fit struct {
	Lambda Value        `json:"lambda"`
	Sigma  Value        `json:"sigma"`
	Kappa  Value        `json:"kappa"`
	Peak   Value        `json:"peak"`
	Curve  []CurvePoint `json:"curve"`
}

// A CurvePoint is the law at some number of nodes.
type CurvePoint struct {
	Nodes float64  `json:"nodes"`
	Value float64  `json:"value"` // 1/s
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}
