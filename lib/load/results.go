package load

import (
	"fmt"
	"io"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Results has what became of every request written down, beside the bins: in one of the encodings that vegeta's own commands read.
type Results struct {
	Format Format `json:"format"`
	Attack string `json:"attack"` // what vegeta calls the load: the arm

	// Open makes what an agent's results are written to, of which part is the agent's own. It is called once for each agent, where the harness is; who calls it
	// closes what it returns.
	Open func(part Part) (io.WriteCloser, error) `json:"-"`
}

// A Format is an encoding of vegeta's.
type Format string

// The formats.
const (
	VegetaGob  Format = "vegeta-gob"
	VegetaCSV  Format = "vegeta-csv"
	VegetaJSON Format = "vegeta-json"
)

// Formats are all of them.
func Formats() []Format { return []Format{VegetaGob, VegetaCSV, VegetaJSON} }

// Extension is the usual end of a file's name.
func (f Format) Extension() string {
	switch f {
	case VegetaGob:
		return "gob"
	case VegetaCSV:
		return "csv"
	case VegetaJSON:
		return "json"
	}
	return "results"
}

// A Writer is a [Generator] that can write down what became of its requests.
type Writer interface {
	// Write returns a function that writes one sample to w, whole, as the plan's Results ask for. Zero is that of the schedule. The function is
	// called by one goroutine at a time.
	Write(p Plan, zero time.Time, w io.Writer) (func(*record.Sample) error, error)
}

func (r *Results) check() error {
	for _, f := range Formats() {
		if r.Format == f {
			return nil
		}
	}
	return fmt.Errorf("results %q: expected one of %v", r.Format, Formats())
}
