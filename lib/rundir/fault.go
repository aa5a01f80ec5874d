package rundir

import (
	"encoding/json"
	"math"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A Fault is what one fault did in one trial. In run.json its times are seconds from the start of measured
// load, as everywhere there.
type Fault struct {
	Arm   string
	Block int
	Order int
	record.Fault
	Proven    bool
	Signature map[string]uint64 // bad requests by class while it was in force
}

// faultJSON is a [Fault] as run.json has it.
type faultJSON struct {
	Arm       string            `json:"arm"`
	Block     int               `json:"block"`
	Order     int               `json:"order"`
	Name      string            `json:"name"`
	Verb      string            `json:"verb"`
	Line      int               `json:"line,omitempty"`
	At        float64           `json:"at"`
	For       float64           `json:"for,omitempty"`
	Trigger   string            `json:"trigger,omitempty"`
	Drawn     string            `json:"drawn,omitempty"`
	Nodes     []string          `json:"nodes"`
	Role      string            `json:"role,omitempty"`
	Onset     *edgeJSON         `json:"onset,omitempty"`
	Heal      *edgeJSON         `json:"heal,omitempty"`
	Means     string            `json:"means"`
	Proof     []record.Proof    `json:"proof"`
	Ended     string            `json:"ended,omitempty"`
	Problem   string            `json:"problem,omitempty"`
	Proven    bool              `json:"proven"`
	Signature map[string]uint64 `json:"signature"`

	Renewed    []string `json:"renewed,omitempty"`
	Collateral []string `json:"collateral,omitempty"`
}

type edgeJSON struct {
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	Source string  `json:"source"`
}

// MarshalJSON writes the fault with its times in seconds.
func (f Fault) MarshalJSON() ([]byte, error) {
	out := faultJSON{
		Arm: f.Arm, Block: f.Block, Order: f.Order, Name: f.Name, Verb: f.Verb, Line: f.Line, At: f.At.Seconds(), For: f.For.Seconds(),
		Nodes: f.Nodes, Onset: edgeOf(f.Onset), Heal: edgeOf(f.Heal), Means: f.Means, Proof: f.Proof, Ended: f.Ended, Problem: f.Problem,
		Proven: f.Proven, Signature: f.Signature, Trigger: f.Trigger, Drawn: f.Drawn, Role: f.Role, Renewed: f.Renewed, Collateral: f.Collateral,
	}
	if out.Nodes == nil {
		out.Nodes = []string{}
	}
	if out.Proof == nil {
		out.Proof = []record.Proof{}
	}
	if out.Signature == nil {
		out.Signature = map[string]uint64{}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var in faultJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*f = Fault{Arm: in.Arm, Block: in.Block, Order: in.Order, Proven: in.Proven, Signature: in.Signature, Fault: record.Fault{
		Name: in.Name, Verb: in.Verb, Line: in.Line, At: duration(in.At), For: duration(in.For), Nodes: in.Nodes, Onset: in.Onset.edge(),
		Heal: in.Heal.edge(), Means: in.Means, Proof: in.Proof, Ended: in.Ended, Problem: in.Problem,
		Trigger: in.Trigger, Drawn: in.Drawn, Role: in.Role, Renewed: in.Renewed, Collateral: in.Collateral,
	}}
	return nil
}

func edgeOf(e *record.Edge) *edgeJSON {
	if e == nil {
		return nil
	}
	return &edgeJSON{From: e.From.Seconds(), To: e.To.Seconds(), Source: e.Source}
}

func (e *edgeJSON) edge() *record.Edge {
	if e == nil {
		return nil
	}
	return &record.Edge{From: duration(e.From), To: duration(e.To), Source: e.Source}
}

func duration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}
