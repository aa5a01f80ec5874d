package network

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// wayTBFOut is the token bucket alone, where the kernel lacks what is needed for packets that come in.
	wayTBFOut = rule.WayTBF + "-out"

	rateTolerance = 0.05
	// rateGrace is the time between the rule's beginning and when we heard of it, and what the bucket holds; at low rates
	// that is a packet, and another may be on its way.
	rateGrace  = 50 * time.Millisecond
	rateBucket = 2 * (1500 + 18) // bytes

	// The rates of a token bucket: below, it takes seconds to fill; above, its queue has no 32 bits.
	slowest, fastest = 8000, 100e9

	kilobyte = 8000 // bit/s in what toxiproxy counts a rate in
)

// BandwidthKind is the verb bandwidth.
func BandwidthKind() fault.Kind {
	return fault.Kind{
		Summary: "less bandwidth: each device of the node has the rate, in each direction for itself",
		Params: []fault.Param{
			{Name: "rate", Type: fault.BitRate, Required: true, Summary: "at most, such as 1mbit; of several at once the lowest"},
			{Name: "direction", Type: fault.Word, Words: []string{string(rule.In), string(rule.Out), string(rule.Both)}, Summary: "of the packets, seen from the node; default both"},
		},
		Places: []target.Place{target.InNetwork},
		Ways: []fault.Way{
			{
				Name: rule.WayTBF, Means: "the kernel's token bucket (tbf), behind ifb for what comes in",
				Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasTBF, rule.HasIFB},
			},
			{
				Name: wayTBFOut, Means: "the kernel's token bucket (tbf)",
				Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasTBF},
				Fits: func(p fault.Params) bool { return p.Text("direction", "") == string(rule.Out) },
			},
			{
				Name: wayProxy, Means: "the driver's proxy hands bytes on at the rate", Abilities: target.CanProxy,
				Fits: func(p fault.Params) bool { return kilobytes(p.Amount("rate", 0)) > 0 },
			},
		},
		New: func(p fault.Params) (fault.Fault, error) {
			rate := p.Amount("rate", 0)
			if rate < slowest || rate > fastest {
				return nil, fmt.Errorf("bandwidth: `rate` is %s; from %s to %s can be had", bits(float64(rate)), bits(slowest), bits(fastest))
			}
			limits := ruled("limited", func(*fault.Site) (rule.Part, error) {
				var part rule.Part
				for _, d := range directions(p) {
					part = append(part, rule.Rule{Act: rule.Limit, Way: rule.WayTBF, Direction: d, Rate: rate})
				}
				return part, nil
			}, limited)
			return byWay{rule.WayTBF: limits, wayTBFOut: limits, wayProxy: throttling(p)}, nil
		},
	}
}

// directions are one rule each, so that each has a report.
func directions(p fault.Params) []rule.Direction {
	switch d := rule.Direction(p.Text("direction", string(rule.Both))); d {
	case rule.In, rule.Out:
		return []rule.Direction{d}
	default:
		return []rule.Direction{rule.In, rule.Out}
	}
}

// limited proves a limit by what came through the busiest device.
func limited(p rule.Part, r rule.Report, held time.Duration) (asked, delivered string, short bool) {
	var wanted, got []string
	var packets uint64
	for i, d := range r {
		packets += d.Packets
		most := rateBucket + float64(p[i].Rate)*(held+rateGrace).Seconds()/8*(1+rateTolerance)
		short = short || float64(d.Bytes) > most
		wanted = append(wanted, fmt.Sprintf("%s %s at most", bits(float64(p[i].Rate)), p[i].Direction))
		word := "never reached"
		if d.Hit > 0 {
			word = fmt.Sprintf("reached: %d times packets had to wait or were dropped", d.Hit)
		}
		got = append(got, fmt.Sprintf("%s %s (%s)", bits(float64(d.Bytes)*8/held.Seconds()), p[i].Direction, word))
	}
	asked = strings.Join(wanted, ", ")
	if packets == 0 {
		return asked, "no packet met the rule: nothing was limited", true
	}
	return asked, strings.Join(got, ", "), short
}

// kilobytes is a rate as toxiproxy has it, 0 if that would be off by more than the tolerance.
func kilobytes(rate int64) int64 {
	n := int64(math.Round(float64(rate) / kilobyte))
	if math.Abs(float64(n*kilobyte-rate)) > rateTolerance*float64(rate) {
		return 0
	}
	return n
}

// throttling is the limit by a proxy.
func throttling(p fault.Params) proxied {
	var toxics proxied
	for _, d := range directions(p) {
		stream := "upstream"
		if d == rule.Out {
			stream = "downstream"
		}
		toxics = append(toxics, target.Toxic{Type: "bandwidth", Stream: stream, Attributes: map[string]any{"rate": kilobytes(p.Amount("rate", 0))}})
	}
	return toxics
}

// bits writes a rate.
func bits(rate float64) string {
	for _, u := range []struct {
		least float64
		unit  string
	}{{1e9, "Gbit/s"}, {1e6, "Mbit/s"}, {1e3, "kbit/s"}} {
		if rate >= u.least {
			return fmt.Sprintf("%.4g %s", rate/u.least, u.unit)
		}
	}
	return fmt.Sprintf("%.4g bit/s", rate)
}
