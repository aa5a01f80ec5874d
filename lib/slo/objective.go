// Package slo holds objectives: the expressions a scenario states, and the
// verdict on them. It is pure.
//
// [Parse] reads an expression, [Judge] judges objectives over the trials of a run.
package slo

import (
	"fmt"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// An Outcome is a verdict on an objective or on a run. The zero value is
// Inconclusive: nothing has been shown.
type Outcome int

// The outcomes, in rising order of precedence for a run but for Pass, which comes last.
const (
	Inconclusive Outcome = iota
	Pass
	Fail
	Invalid
)

var outcomeNames = [...]string{"inconclusive", "pass", "fail", "invalid"}

// String returns the outcome as run.json has it.
func (o Outcome) String() string {
	if o < 0 || int(o) >= len(outcomeNames) {
		return fmt.Sprintf("outcome(%d)", int(o))
	}
	return outcomeNames[o]
}

// MarshalText writes the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an outcome's name.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, n := range outcomeNames {
		if n == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %q", b)
}

// A Severity says what an objective's failing means for the run.
type Severity string

// The severities.
const (
	SeverityFail Severity = "fail" // the default
	SeverityWarn Severity = "warn" // printed, never changes the run's verdict
)

// An Objective is a bound that the scenario sets.
type Objective struct {
	Name     string // its own, or its text
	Text     string // as in the file
	Check    Comparison
	Margin   float64  // in the objective's favour: relative for times and rates, points (0…1) for ratios, absolute for counts
	Severity Severity // "" is fail
	Line     int      // in the scenario file
}

// An Expr is a number, a metric, or two of them joined.
type Expr interface{ unit() analysis.Unit }

// A Num is a number with its unit. A plain number has unit [analysis.Number]; it
// also goes with ratios.
type Num struct {
	V    float64
	Unit analysis.Unit
}

// A Metric is a metric of an arm. Arm is empty where the grammar refuses one.
type Metric struct {
	Arm string
	Ref analysis.Ref
	// Offset of the metric in the expression's text, in bytes.
	Offset int
}

// A Binary is two expressions joined by + - * or /.
type Binary struct {
	Op   byte
	L, R Expr
	Unit analysis.Unit // of the result
}

// A Comparison is EXPR OP EXPR.
type Comparison struct {
	L  Expr
	Op string // >= <= > < == !=
	R  Expr
}

func (n Num) unit() analysis.Unit    { return n.Unit }
func (b Binary) unit() analysis.Unit { return b.Unit }
func (m Metric) unit() analysis.Unit {
	s, _ := analysis.SpecOf(m.Ref.Metric)
	return s.Unit
}

// Metrics lists the metrics of an expression, from left to right.
func Metrics(e Expr) []Metric {
	switch e := e.(type) {
	case Metric:
		return []Metric{e}
	case Binary:
		return append(Metrics(e.L), Metrics(e.R)...)
	}
	return nil
}

// Metrics lists the metrics on both sides, from left to right.
func (c Comparison) Metrics() []Metric { return append(Metrics(c.L), Metrics(c.R)...) }

// Arms lists the arms that a comparison is about, each once, in order of appearance.
func (c Comparison) Arms() []string {
	var arms []string
	seen := make(map[string]bool)
	for _, m := range c.Metrics() {
		if !seen[m.Arm] {
			seen[m.Arm] = true
			arms = append(arms, m.Arm)
		}
	}
	return arms
}

// A SyntaxError says where an expression is wrong, what was expected, and what was probably meant.
type SyntaxError struct {
	Offset, Length int    // of the offending text, in bytes
	Msg            string // `unknown metric "avialability"`
	Nearest        string // the nearest valid word, or ""
	Expected       string // what may stand there
}

// Error returns the message with the nearest word.
func (e *SyntaxError) Error() string {
	s := e.Msg
	if e.Nearest != "" {
		s += fmt.Sprintf(", did you mean %q?", e.Nearest)
	}
	return s
}
