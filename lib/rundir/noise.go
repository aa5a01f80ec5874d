package rundir

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// NoiseSchema is the value of [NoiseFile.Schema].
const NoiseSchema = "tutti.noise/v1"

// A NoiseFile is how much equal arms differed from one another in the blocks of one run.
type NoiseFile struct {
	Schema     string            `json:"schema"`
	Name       string            `json:"name"` // of the scenario
	Run        string            `json:"run"`
	Measured   time.Time         `json:"measured"`
	Arm        string            `json:"arm"` // the one that was run twice
	Blocks     int               `json:"blocks"`
	Experiment map[string]string `json:"experiment"` // what was done to it, part by part
	Host       map[string]string `json:"host"`
	Metrics    []NoiseMetric     `json:"metrics"`
}

// A NoiseMetric is one metric of equal arms.
type NoiseMetric struct {
	Metric   string        `json:"metric"`   // as in objectives, without arm
	Relative bool          `json:"relative"` // SD is of logarithms of quotients; else of differences in Unit
	Unit     analysis.Unit `json:"unit"`
	SD       *float64      `json:"sd"`      // from block to block; null: not known, and why says why
	Most     *float64      `json:"sd_most"` // it may be this large, with a confidence of 80 %
	Apart    Value         `json:"apart"`   // how far equal arms were apart: 1, or 0, is where they should be
	Why      string        `json:"why,omitempty"`
}

// SaveNoise writes a file of noise, whole or not at all.
func SaveNoise(file string, n *NoiseFile) error { return saveJSON(file, n) }

// LoadNoise reads one.
func LoadNoise(file string) (*NoiseFile, error) {
	var n NoiseFile
	if err := loadJSON(file, &n); err != nil {
		return nil, fmt.Errorf("read the noise: %w", err)
	}
	if n.Schema != NoiseSchema {
		return nil, fmt.Errorf("read the noise: %s: schema is %q, this program reads %q", file, n.Schema, NoiseSchema)
	}
	return &n, nil
}

// saveJSON writes a file outside a run's folder.
func saveJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	dir, name := filepath.Split(file)
	if dir == "" {
		dir = "."
	}
	return (&Folder{dir}).WriteFile(name, append(b, '\n'))
}

// maxFile bounds a file that is read from outside a run's folder.
const maxFile = 16 << 20

func loadJSON(file string, v any) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s has %d bytes; at most %d are read", file, info.Size(), maxFile)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
