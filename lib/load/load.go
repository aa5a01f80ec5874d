// Package load says what load is: a schedule, the requests on it, and who sends
// them. Senders are in the packages below it: httpload sends HTTP.
package load

import (
	"context"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A Pacer is an open-loop schedule: when each request is due, however slow the
// answers are. It is a pure function. A [schedule.Timetable] is one.
type Pacer interface {
	// Due is when request n, counted from 0, is to be sent, as an offset from the start of
	// measured load; the warm-up lies before zero. It never falls as n rises.
	Due(n uint64) time.Duration
	// Count is how many requests the schedule has.
	Count() uint64
}

var _ Pacer = (*schedule.Timetable)(nil)

// A Plan is all that a generator needs, and nothing that it must look up.
type Plan struct {
	Schedule schedule.Schedule `json:"schedule"`
	Timeout  time.Duration     `json:"timeout"` // from the due time
	// Ingress is the base URL; Dial is the host:port to connect to instead of its host,
	// resolved by the harness, so that a dead name service is the target's trouble and not ours.
	Ingress        string    `json:"ingress"`
	Dial           string    `json:"dial,omitempty"`
	Requests       []Request `json:"requests"` // the steps of the sessions among them
	Sessions       []Session `json:"sessions,omitempty"`
	NodeHeader     string    `json:"node_header,omitempty"`
	AttemptsHeader string    `json:"attempts_header,omitempty"`
	Seed           int64     `json:"seed"`

	// Connections bounds the connections, and with them the requests that are open at once. Requests beyond it wait for
	// one, to their deadline, and the wait counts; they are [record.Shed] then.
	Connections int           `json:"connections"`
	MaxAge      time.Duration `json:"max_age,omitempty"`      // of a connection; 0: none
	NoKeepAlive bool          `json:"no_keepalive,omitempty"` // a connection for each request
	HTTP2       bool          `json:"http2,omitempty"`        // a request is a stream; without TLS by prior knowledge
	TLS         *TLS          `json:"tls,omitempty"`
	Redirects   int           `json:"redirects,omitempty"` // how many are followed, to the ingress alone; 0: none

	Engine Engine `json:"engine,omitempty"` // "": by the rate

	// Part is what of the schedule is to be sent, beside other agents, and At the zero that they agreed upon: nanoseconds since 1970 on the clock
	// of the agents' machine; 0: as soon as may be. [Plan.Zero] reads it. Connections are the part's own.
	Part Part  `json:"part,omitzero"`
	At   int64 `json:"at,omitempty"`

	Results *Results `json:"results,omitempty"` // every request is to be written down; nil: none is

	Env map[string]string `json:"env,omitempty"` // .Env in templates

	// Keys bounds how many keys .Key gives; 0: one for each number.
	Keys   uint64   `json:"keys,omitempty"`
	Verify []Verify `json:"verify,omitempty"` // whose writes are read back after the load
}

// TLS is how an https ingress is talked to.
type TLS struct {
	CA         string `json:"ca,omitempty"`          // certificates in PEM that sign the ingress's; "": the system's
	ServerName string `json:"server_name,omitempty"` // that its certificate is for; "": the ingress's host
	Insecure   bool   `json:"insecure,omitempty"`    // any certificate will do
}

// MaxRedirects is how many redirects a request can be told to follow.
const MaxRedirects = 10

// An Engine is a way to send load. The results are of one kind.
type Engine string

// The engines.
const (
	Attack Engine = "attack" // vegeta's attacker
	Turbo  Engine = "turbo"  // a loop of our own
)

// A Request is one kind of request.
type Request struct {
	Name    string            `json:"name"`
	Weight  float64           `json:"weight"` // share among the requests; 0 counts as 1; a step has its session's
	Method  string            `json:"method"`
	Path    string            `json:"path"` // a template
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"` // a template
	Expect  Expect            `json:"expect"`
	Capture []Capture         `json:"capture,omitempty"` // for later steps; of steps alone
}

// Expect says which answers are good. The zero value takes any status 200–399.
type Expect struct {
	Status   []int             `json:"status,omitempty"`
	Body     *string           `json:"body,omitempty"`     // the whole body
	Contains string            `json:"contains,omitempty"` // a part of the body's first 1 MiB
	Header   map[string]string `json:"header,omitempty"`   // each with exactly this value
	Within   time.Duration     `json:"within,omitempty"`   // response time; later is class slow
}

// A Generator sends a plan's requests.
type Generator interface {
	// Generate sends every request of the plan when it is due and emits one sample for each, from
	// any goroutine: emit never waits long. It calls started with the wall-clock time of zero, before the first
	// request. It returns when every request has its sample, or soon after ctx is done. In a closed loop samples say
	// whose they are, and when that user's next request is due.
	Generate(ctx context.Context, p Plan, started func(zero time.Time), emit func(record.Sample)) error
}

// A Gauge is a [Generator] that knows how many requests it had open at once.
type Gauge interface {
	// Peak is the most requests that were open at once in the latest Generate.
	Peak() int
}

// A Chooser is a [Generator] that knows how it sent.
type Chooser interface {
	// Chosen is the engine of the latest Generate, "" if none was.
	Chosen() Engine
}

// Check reports what makes the plan one that cannot be sent.
func (p Plan) Check() error {
	if err := p.Schedule.Check(); err != nil {
		return err
	}
	switch {
	case p.Timeout <= 0:
		return fmt.Errorf("timeout %v: must be above 0", p.Timeout)
	case len(p.Requests) == 0:
		return fmt.Errorf("no requests")
	case p.Part.Of < 0 || p.Part.Index < 0 || p.Part.Index >= max(p.Part.Of, 1):
		return fmt.Errorf("part %d of %d: must be from 0 and below that", p.Part.Index, p.Part.Of)
	case p.Part.Of > 1 && (p.Schedule.Closed() || len(p.Sessions) > 0 || len(p.Verify) > 0):
		return fmt.Errorf("users, sessions and what is read back cannot be sent in parts")
	case p.Connections <= 0:
		return fmt.Errorf("%d connections: must be above 0", p.Connections)
	case p.Schedule.Closed() && (len(p.Sessions) > 0 || len(p.Verify) > 0 || p.Keys > 0):
		return fmt.Errorf("users with sessions, verification or keys: these are functions of a request's number, and when a user sends is not")
	case p.Engine != "" && p.Engine != Attack && p.Engine != Turbo:
		return fmt.Errorf("generator %q: expected %s or %s", p.Engine, Attack, Turbo)
	case p.Redirects < 0 || p.Redirects > MaxRedirects:
		return fmt.Errorf("%d redirects to follow: must be from 0 to %d", p.Redirects, MaxRedirects)
	}
	if err := p.TLS.Check(); err != nil {
		return fmt.Errorf("certificates to trust: %w", err)
	}
	if p.Results != nil {
		return p.Results.check()
	}
	return nil
}
