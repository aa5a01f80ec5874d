// Package scenario reads scenario files: what a user writes, checked before
// anything starts. See scenarios/README.md for the format.
package scenario

import (
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A Scenario is one experiment, typed, with the defaults filled in.
type Scenario struct {
	File       string // as given to Parse, for messages
	Source     []byte // the file's text
	Name       string
	Hypothesis string
	Arms       []Arm // in the order of the file; without `arms` and `sweep` there is one, named "target"
	Sweep      *Sweep
	Baseline   string
	Load       Load
	Verify     []Verify
	Objectives []slo.Objective
	Mutations  []Mutation // in the order of the file
	Repeats    int        // blocks
	Most       int        // blocks up to which they may be extended, as planned; 0: they are not
	Seed       int64
	Engine     string // docker, process, or "" for unset
}

// WrongVariable is an error about a variable that `env` sets, at the first place in the file that does; near are the
// words that it may have been. Of the line it shows nothing but the name: what is beside it may be secret.
func (s *Scenario) WrongVariable(name, msg string, near []string) *Error {
	e := &Error{File: s.File, Line: 1, Column: 1, Length: 1, Msg: msg, Expected: "a variable of the Compose files"}
	key := regexp.MustCompile(`(?:^|[\s{,"'])(` + regexp.QuoteMeta(name) + `)["']?\s*:`)
	inEnv := false
	for i, line := range strings.Split(string(s.Source), "\n") {
		inEnv = inEnv || strings.Contains(line, "env")
		if at := key.FindStringSubmatchIndex(line); at != nil && inEnv {
			before := utf8.RuneCountInString(line[:at[2]])
			e.Line, e.Column, e.Length = i+1, before+1, utf8.RuneCountInString(name)
			e.Source = strings.Repeat(" ", before) + name
			break
		}
	}
	return e.near(name, near)
}

// An Arm is one variant of the target, with all that it inherits from the scenario filled in.
type Arm struct {
	Name       string
	Compose    []string // paths as in the file, relative to the scenario's folder: the target's, then the arm's
	Profiles   []string
	Env        map[string]string
	Ingress    *url.URL
	Ready      Ready
	Nodes      string // the balanced service, "" if not said
	NodeHeader string
	Attempts   string // the attempts header
	Health     *HealthCheck
	Scale      map[string]int
	Faults     []Fault
	Line       int
}

// A Sweep is what `sweep` says: one arm for each scale of a service. Arms has them; nil if the file has no sweep.
type Sweep struct {
	Service string
	Scale   []int // in the order of the file
}

// Ready says when a target is ready for load.
type Ready struct {
	Path   string // polled through the ingress; "" means a TCP connect
	Within time.Duration
}

// A HealthCheck is what the balancer's own health check is set to, nil if the file does not say.
type HealthCheck struct {
	Interval, Timeout time.Duration
	Fails             int
}

// Load is what is sent.
type Load struct {
	Schedule schedule.Schedule // when; of a search the warm-up alone
	Timeout  time.Duration
	Agents   int            // processes that send it side by side
	Keys     uint64         // how many keys .Key gives; 0: one for each request or session
	Requests []load.Request // the steps of sessions among them
	Sessions []load.Session
	Capacity *Capacity // nil: Schedule says it
	Client   Client    // how it is sent
}

// A Capacity is a search for the highest rate, instead of a rate.
type Capacity struct {
	While    slo.Condition // what a hold must meet
	From, To float64       // per second
	Hold     time.Duration // how long each rate is held
}

// A Verify says how the writes of one request are read back after the load.
type Verify struct {
	load.Verify
	Line int
}

// A Fault is one planned fault. One of At, After and When says when.
type Fault struct {
	Name     string
	Verb     string
	At       time.Duration
	After    *After         // nil: not after another fault
	When     *slo.Condition // nil: not when something is measured
	For      time.Duration  // 0: until measured load ends
	Selector fault.Selector
	Params   fault.Params
	Fault    fault.Fault // made by the verb's Kind; nil for random
	Random   *Random     // of the verb random, else nil
	Drawn    string      // the random fault that the plan drew it of, else ""
	Line     int
}

// An After is a moment told by another fault.
type After struct {
	Fault string
	Event string // Onset, Healed
	Delay time.Duration
}

// The events of a fault that another one can wait for.
const (
	Onset  = "onset"
	Healed = "healed"
)

// A Random is a nemesis: from At on, and Every so often until its For is over, one of Verbs hits one of Services
// for a length between Min and Max. The plan draws all of it.
type Random struct {
	Verbs    []Fault  // without names and times; their Selector's Service is empty where Services say it
	Services []string //
	Every    time.Duration
	Min, Max time.Duration
}
