// Package rundir is the folder that a run leaves: the plan, a recording for each
// trial, and run.json, from which everything else can be made again.
package rundir

import (
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Schema is the value of [Run.Schema]: the format's name and version.
const Schema = "tutti.run/v1"

// A Run is run.json. Times are seconds, ratios 0…1; null stands where a value is not finite.
type Run struct {
	Schema     string         `json:"schema"`
	Name       string         `json:"name"`
	Hypothesis string         `json:"hypothesis,omitempty"`
	ID         string         `json:"id"`
	Verdict    Verdict        `json:"verdict"`
	ExitCode   int            `json:"exit_code"`
	Reasons    []string       `json:"reasons"`
	Objectives []Objective    `json:"objectives"`
	Baseline   string         `json:"baseline,omitempty"`
	ArmOrder   []string       `json:"arm_order"` // as in the scenario
	Arms       map[string]Arm `json:"arms"`
	Trials     []Trial        `json:"trials"`
	Faults     []Fault        `json:"faults"`
	Scaling    *Scaling       `json:"scaling,omitempty"` // where a search was made with several scales of one service
	Load       Load           `json:"load"`
	Repeats    int            `json:"repeats"` // blocks asked for
	Extension  *Extension     `json:"extension,omitempty"`
	Variation  *Variation     `json:"variation,omitempty"`
	Provenance Provenance     `json:"provenance"`
}

// A Verdict is the run's: one of slo's outcomes, or "interrupted" or "error" where there is none.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
	Invalid      Verdict = "invalid"
	Interrupted  Verdict = "interrupted"
	Errored      Verdict = "error" // the run could not be carried out; Reasons say why
)

// An Objective is one objective, judged.
type Objective struct {
	Name       string       `json:"name"`
	Text       string       `json:"text"`
	Subject    string       `json:"subject,omitempty"`
	Line       int          `json:"line"`
	Severity   slo.Severity `json:"severity"`
	Margin     float64      `json:"margin"`
	Verdict    Verdict      `json:"verdict"`
	Form       slo.Form     `json:"form"`
	Op         string       `json:"op"`
	Limit      *float64     `json:"limit"`
	N          int          `json:"n"`
	Reason     string       `json:"reason,omitempty"`
	MoreBlocks int          `json:"more_blocks,omitempty"`
	Regression bool         `json:"regression,omitempty"`
	Value                   // value low high unit state note
	Arms       []string     `json:"arms"`
	PerBlock   []BlockValue `json:"per_block,omitempty"`
}

// A BlockValue is an objective's value in one block.
type BlockValue struct {
	Block int            `json:"block"`
	Value *float64       `json:"value"`
	State analysis.State `json:"state"`
}

// A Value is an estimate over trials with its two-sided 95 % interval.
type Value struct {
	Value *float64       `json:"value"` // null unless state is ok; for censored the point up to which it did not happen
	Low   *float64       `json:"low"`
	High  *float64       `json:"high"`
	Unit  analysis.Unit  `json:"unit"`
	State analysis.State `json:"state"` // ok, never, censored, no-data
	N     int            `json:"n,omitempty"`
	Note  string         `json:"note,omitempty"`
}

// An Arm is what was measured of one arm, over its valid trials.
type Arm struct {
	Metrics  map[string]Value                    `json:"metrics"`  // by analysis.Ref's String
	Phases   map[analysis.Phase]map[string]Value `json:"phases"`   //
	Requests map[string]map[string]Value         `json:"requests"` // by the request's name
	Scale    map[string]int                      `json:"scale,omitempty"`
}

// A Trial is one trial, in the order in which they ran.
type Trial struct {
	Arm      string           `json:"arm"`
	Block    int              `json:"block"`
	Order    int              `json:"order"`
	Dir      string           `json:"dir"` // relative to the run's folder
	Start    time.Time        `json:"start"`
	Valid    bool             `json:"valid"`
	Counted  bool             `json:"counted"` // valid, and so is its whole block
	Problems []string         `json:"problems,omitempty"`
	Metrics  map[string]Value `json:"metrics"`
	Holds    []Hold           `json:"holds,omitempty"`  // of a search for capacity, in the order in which they were tried
	Writes   []Writes         `json:"writes,omitempty"` // what was read back after the load

	Generator *Generator    `json:"generator,omitempty"`
	Statuses  []StatusCount `json:"statuses,omitempty"`
	Failures  []Example     `json:"failures,omitempty"`
	Slowest   []Example     `json:"slowest,omitempty"`
}

// Writes is what was found when one request's writes were read back.
type Writes struct {
	Request      string   `json:"request"`
	Read         string   `json:"read"`
	Within       float64  `json:"within"`
	Acknowledged uint64   `json:"acknowledged"`
	Kept         uint64   `json:"kept"`
	Lost         uint64   `json:"lost"`
	Unread       uint64   `json:"unread"`
	Uncertain    uint64   `json:"uncertain"`
	Found        uint64   `json:"found"`
	Duplicated   uint64   `json:"duplicated"`
	Reads        uint64   `json:"reads"`
	Took         float64  `json:"took"`
	First        *float64 `json:"first"`
	Last         *float64 `json:"last"`
	Problem      string   `json:"problem,omitempty"`
	Keys         *Keys    `json:"keys,omitempty"` // what the reads during load say, where writes share keys
}

// Keys is what was found when a request's keys were judged as registers.
type Keys struct {
	Keys         uint64   `json:"keys"`
	Reads        uint64   `json:"reads"`
	Unjudged     uint64   `json:"unjudged"`
	Stale        uint64   `json:"stale"`
	Linearizable uint64   `json:"linearizable"`
	Violated     uint64   `json:"violated"`
	Unknown      uint64   `json:"unknown"`
	Why          string   `json:"why,omitempty"`
	Bad          []string `json:"bad,omitempty"`
}

// Load is what was sent, as in the scenario.
type Load struct {
	Model    Model    `json:"model,omitempty"` // "" in older runs: open
	Rate     float64  `json:"rate"`            // 1/s; the mean where it changes, 0 in a closed loop
	Stages   []Stage  `json:"stages,omitempty"`
	Arrivals string   `json:"arrivals,omitempty"` // poisson, else uniform
	For      float64  `json:"for"`
	Warmup   float64  `json:"warmup"`
	Timeout  float64  `json:"timeout"`
	Requests []string `json:"requests"`
	Capacity *Search  `json:"capacity,omitempty"` // then rate and for are 0
	Client   *Client  `json:"client,omitempty"`
}

// Client is how the load was sent, where the scenario says it.
type Client struct {
	Connections int     `json:"connections,omitempty"`
	KeepAlive   bool    `json:"keepalive"`
	MaxAge      float64 `json:"max_age,omitempty"`
	HTTP2       bool    `json:"http2"`
	TLS         *TLS    `json:"tls,omitempty"`
	Redirects   int     `json:"follow_redirects,omitempty"`
	Generator   string  `json:"generator,omitempty"`
}

// TLS is how an https ingress was talked to.
type TLS struct {
	CA         string `json:"ca,omitempty"` // the file's path
	ServerName string `json:"server_name,omitempty"`
	Insecure   bool   `json:"insecure"`
}

// A Model says who decides when requests are sent.
type Model string

// The models.
const (
	OpenLoop   Model = "open"   // a schedule, however slow the answers are
	ClosedLoop Model = "closed" // users who wait for their answers, so that the target itself does
)

// A Stage is a part of measured load, where that is not one rate.
type Stage struct {
	Rate   float64 `json:"rate,omitempty"`
	To     float64 `json:"to,omitempty"`
	Swing  float64 `json:"swing,omitempty"`
	Period float64 `json:"period,omitempty"`
	Users  int     `json:"users,omitempty"`
	Think  float64 `json:"think,omitempty"`
	For    float64 `json:"for"`
}

// Provenance is what somebody needs to repeat the run or to distrust it.
type Provenance struct {
	Tutti    string            `json:"tutti"` // version and commit
	Go       string            `json:"go"`
	OS       string            `json:"os"`
	Engine   string            `json:"engine"` // docker, process
	Reason   string            `json:"reason"` // why this engine
	Details  map[string]string `json:"details"`
	Images   map[string]string `json:"images"`             // digest by service
	Versions map[string]string `json:"versions,omitempty"` // by service, of its programs, where the image says them
	Seed     int64             `json:"seed"`
	Scenario string            `json:"scenario"` // file name
	SHA256   string            `json:"sha256"`   // of the scenario's text
	Started  time.Time         `json:"started"`
	Ended    time.Time         `json:"ended"`
	Command  []string          `json:"command"`
	Host     map[string]string `json:"host"`            // cores, memory, kernel …
	Notes    []string          `json:"notes,omitempty"` // what was rewritten in the Compose files
}
