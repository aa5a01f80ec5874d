package rundir

import (
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

// BaselineSchema is the value of [Baseline.Schema].
const BaselineSchema = "tutti.baseline/v1"

// A Baseline is what a run has measured, block by block, for other runs to be held against: a file beside the scenario, or in a
// run's folder the one that it was held against.
type Baseline struct {
	Schema     string            `json:"schema"`
	Name       string            `json:"name"` // of the scenario
	Run        string            `json:"run"`
	Measured   time.Time         `json:"measured"`
	Seed       int64             `json:"seed"`
	Experiment map[string]string `json:"experiment"` // what was done to whom, part by part
	Host       map[string]string `json:"host"`       // times are comparable between equal ones only
	Measures   []Measure         `json:"measures"`
}

// A Measure is one thing that was measured: what an objective is about, or a metric of an arm.
type Measure struct {
	Subject  string        `json:"subject"` // "cluster.p99", "cluster.p99 over single.p99"
	Gates    bool          `json:"gates"`   // an objective is about it, and does not only warn: it can be a regression
	Severity slo.Severity  `json:"severity,omitempty"`
	Arms     []string      `json:"arms"`
	Form     slo.Form      `json:"form"`
	Unit     analysis.Unit `json:"unit"`            // of the values; of a ratio 1
	Lower    bool          `json:"lower"`           // less is worse
	Margin   float64       `json:"margin"`          // what it may be worse: relative if ratio, else in its unit. Yours to change.
	Relative bool          `json:"relative"`        // it changes by a factor
	Floor    float64       `json:"floor,omitempty"` // what is below counts as this, so that there are factors
	Line     int           `json:"line,omitempty"`  // of the objective
	Values   []BlockValue  `json:"values"`          // of the blocks that count
}

// SaveBaseline writes a baseline file, whole or not at all.
func SaveBaseline(file string, b *Baseline) error { return saveJSON(file, b) }

// LoadBaseline reads one. It refuses one with a margin that is no number from 0.
func LoadBaseline(file string) (*Baseline, error) {
	var b Baseline
	if err := loadJSON(file, &b); err != nil {
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	if b.Schema != BaselineSchema {
		return nil, fmt.Errorf("read the baseline: %s: schema is %q, this program reads %q", file, b.Schema, BaselineSchema)
	}
	for _, m := range b.Measures {
		if !(m.Margin >= 0) {
			return nil, fmt.Errorf("read the baseline: %s: the margin of %s is %v; expected 0 or more", file, m.Subject, m.Margin)
		}
	}
	return &b, nil
}

// WriteBaseline keeps in the folder what the run is held against.
func (f *Folder) WriteBaseline(b *Baseline) error { return f.writeJSON(baselineFile, b) }

// Baseline reads what the run is held against.
func (f *Folder) Baseline() (*Baseline, error) { return LoadBaseline(f.Path(baselineFile)) }
