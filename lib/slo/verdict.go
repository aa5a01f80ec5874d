package slo

import "github.com/tutti-bench/tutti/lib/analysis"

// A Form says what a finding's value is.
type Form string

// The forms.
const (
	Absolute   Form = "absolute"   // the metric itself, in its unit
	Ratio      Form = "ratio"      // left over right: 1 is no change
	Difference Form = "difference" // left less right, in the metric's unit
)

// An Estimate is a value over trials with its interval. Low and High are the
// two-sided 95 % interval that is printed; an infinite end has its own state in LowState and HighState.
type Estimate struct {
	Value, Low, High float64
	Unit             analysis.Unit
	State            analysis.State // of Value
	HasInterval      bool
	N                int    // trials or blocks it comes from
	Note             string // such as "paired t on 4 blocks: assumes normal noise"
}

// A Finding is one objective judged.
type Finding struct {
	Objective  Objective
	Subject    string // what Estimate is of: "cluster.p99", "cluster.p99 over single.p99"; "" if it cannot be judged
	Outcome    Outcome
	Form       Form
	Estimate   Estimate
	Limit      float64 // what Value is held against, margin included
	Per        []Point // the value in each trial (Absolute) or block
	Reason     string  // one sentence: why this outcome; what is excluded; what would decide
	MoreBlocks int     // about how many more blocks would decide; 0: unknown or decided
}

// A Point is an objective's value in one block.
type Point struct {
	Block int
	Value analysis.Value // of state ok with a Why it is at most that, and nobody knows how much less
}

// AtMost reports whether the value is only the upper end of what it can be.
func (p Point) AtMost() bool { return p.Value.State == analysis.OK && p.Value.Why != "" }

// A Verdict is the judgement of a run.
type Verdict struct {
	Outcome  Outcome
	Reasons  []string       // why, most important first; for invalid the broken assumptions
	Findings []Finding      // in the order of the scenario
	Blocks   []int          // the blocks that count
	Dropped  map[int]string // blocks taken out, and why
}
