// Package rule says what faults want of a node's network namespace, and what came of it, in the form
// that goes over the wire to the helper that does it. It knows no kernel: that is lib/netfault's.
package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// An Act is what happens to packets, or to what is in them.
type Act string

// The acts.
const (
	Drop      Act = "drop"      // not delivered, and nobody is told
	Refuse    Act = "refuse"    // TCP answered with a reset, other protocols with "port unreachable"; established connections too
	Reset     Act = "reset"     // established connections are reset; new ones refused
	Delay     Act = "delay"     // held for Delay ± Jitter
	Lose      Act = "lose"      // a Share of them dropped, at random
	Duplicate Act = "duplicate" // a Share delivered twice
	Corrupt   Act = "corrupt"   // a Share delivered with a byte changed
	Reorder   Act = "reorder"   // a Share delivered after those that came behind them
	Limit     Act = "limit"     // Rate at most
	DNS       Act = "dns"       // look-ups of the node answered as Mode says
	HTTP      Act = "http"      // answers of the node on Ports as Status, Delay or Cut say, for a Share of the requests
)

// A Direction is which packets, seen from the node.
type Direction string

// The directions.
const (
	In   Direction = "in"
	Out  Direction = "out"
	Both Direction = "both"
)

// What look-ups are answered with.
const (
	DNSSilent   = "silent"
	DNSRefused  = "refused"
	DNSNXDomain = "nxdomain"
	DNSSlow     = "slow" // the true answer, Delay later
)

// The ways in which a rule can be carried out. A helper does what the rule says or refuses; it never takes another.
const (
	WayNFT     = "nft"     // nftables
	WayNFQueue = "nfqueue" // packets queued to the helper
	WayNetem   = "netem"   // the kernel's network emulator
	WayTBF     = "tbf"     // the kernel's token bucket
)

// A Rule is one thing that happens to a node's packets.
type Rule struct {
	Act       Act          `json:"act"`
	Way       string       `json:"way"`
	Direction Direction    `json:"direction,omitempty"` // "" is In
	Peers     []netip.Addr `json:"peers,omitempty"`     // the other end; none: anybody but the node itself
	Ports     []uint16     `json:"ports,omitempty"`     // the node's own, TCP and UDP; none: all

	Share  float64       `json:"share,omitempty"`  // 0…1
	Delay  time.Duration `json:"delay,omitempty"`  //
	Jitter time.Duration `json:"jitter,omitempty"` // standard deviation of a normal distribution, cut at 0
	Rate   int64         `json:"rate,omitempty"`   // bits per second, as they are on the wire
	Mode   string        `json:"mode,omitempty"`   // of DNS
	Path   string        `json:"path,omitempty"`   // of HTTP: requests below it; "" is all
	Status int           `json:"status,omitempty"` // of HTTP
	Cut    bool          `json:"cut,omitempty"`    // of HTTP: the connection is closed in the middle of the body
	Seed   uint64        `json:"seed,omitempty"`   // where chance comes from, as far as the way lets us
}

// Emulates refuses a rule that is not of the acts which an emulator of a network has (Delay, Lose, Duplicate, Corrupt, Reorder), or
// whose figures make no sense.
func (r Rule) Emulates() error {
	switch r.Act {
	case Delay:
		if r.Delay < 0 || r.Jitter < 0 || r.Delay == 0 && r.Jitter == 0 {
			return fmt.Errorf("a delay of %v ± %v", r.Delay, r.Jitter)
		}
	case Lose, Duplicate, Corrupt, Reorder:
		if r.Share <= 0 || r.Share > 1 {
			return fmt.Errorf("%s: a share of %g is not above 0 and at most 1", r.Act, r.Share)
		}
		if r.Act == Reorder && r.Delay <= 0 {
			return errors.New("reorder: no Delay says for how long packets are held back")
		}
	default:
		return fmt.Errorf("an emulator cannot do %q", r.Act)
	}
	return nil
}

// A Part is what one fault wants of one node's namespace. The helper's state is all parts together.
type Part []Rule

// A Report is what came of a part: one entry for each of its rules, in their order.
type Report []Delivered

// Delivered is what came of one rule since it is in force.
type Delivered struct {
	Packets uint64  `json:"packets"`          // that the rule was about; look-ups or requests for DNS and HTTP
	Hit     uint64  `json:"hit"`              // of them, what it did something to
	Bytes   uint64  `json:"bytes,omitempty"`  // of Packets
	Passed  uint64  `json:"passed,omitempty"` // that could not be held: the queue was full
	Delay   *Spread `json:"delay,omitempty"`  // for how long they were held
	Resets  uint64  `json:"resets,omitempty"` // connections that were reset
}

// A Spread is how durations are spread, in nanoseconds on the wire.
type Spread struct {
	Count uint64        `json:"count"`
	Min   time.Duration `json:"min"`
	P50   time.Duration `json:"p50"`
	P90   time.Duration `json:"p90"`
	P99   time.Duration `json:"p99"`
	Max   time.Duration `json:"max"`
	Mean  time.Duration `json:"mean"`
	SD    time.Duration `json:"sd"` // standard deviation
}

// The primitives that a kernel may have, by the names that the probe gives them.
const (
	HasNFT      = "nftables"          // tables of our own that the kernel removes when we end (the owner flag)
	HasNumgen   = "nftables numgen"   // chance in a rule
	HasReject   = "nftables reject"   // TCP resets and ICMP unreachables
	HasRedirect = "nftables redirect" // connections to a port led to another
	HasNFQueue  = "nfqueue"           // packets queued to a program, passing when it ends
	HasNetem    = "netem"             // delay, loss and more by the kernel
	HasTBF      = "tbf"               // a token bucket on what goes out
	HasIFB      = "ifb"               // … and on what comes in
	HasResets   = "socket destroy"    // established connections ended from outside (SOCK_DESTROY)
)

// Primitives lists all of them, in the order in which they are told.
func Primitives() []string {
	return []string{HasNFT, HasNumgen, HasReject, HasRedirect, HasNFQueue, HasNetem, HasTBF, HasIFB, HasResets}
}

// The workers that a program has for the network, by their names in its kit.
const (
	Worker = "net"   // keeps up the parts of faults
	Prober = "probe" // says which primitives the kernel has
)
