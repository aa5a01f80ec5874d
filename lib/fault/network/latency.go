package network

import (
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// What a live run may be off before a latency is not proven: the median by the larger of them, and the share of packets
// that could not be held.
const (
	latencyOff      = 2 * time.Millisecond
	latencyOffShare = 0.10
	latencyPassed   = 0.10
)

// LatencyKind is the verb latency. The delay is added to each packet, so that what goes back and forth several times pays it
// as often: on the node's in-coming packets, the set-up of a TCP connection costs it once, and the request on it once more.
func LatencyKind() fault.Kind {
	proxy := fault.Way{
		Name: wayProxy, Means: "the driver's proxy hands bytes on later; the set-up of a connection is not delayed",
		Abilities: target.CanProxy,
		Fits: func(p fault.Params) bool { // what it calls jitter is another distribution
			return !p.Has("from") && p.Duration("jitter", 0) == 0 && p.Duration("delay", 0)%time.Millisecond == 0
		},
	}
	return fault.Kind{
		Summary: "packets later by `delay`; on in-coming ones, the set-up of a connection pays it once and each request on it once more",
		Params: []fault.Param{
			{Name: "delay", Type: fault.Duration, Required: true, Summary: "added to each packet; those of several faults add up"},
			{Name: "jitter", Type: fault.Duration, Summary: "standard deviation of the delay, a normal distribution cut at 0; packets may overtake each other; default 0"},
			peer(),
			{Name: "direction", Type: fault.Word, Words: []string{string(rule.In), string(rule.Out), string(rule.Both)}, Summary: "of the packets, seen from the node; default in"},
		},
		Places: []target.Place{target.InNetwork},
		Ways:   append(emulated("delayed by the kernel's network emulator (netem)", "queued to a helper that holds them (NFQUEUE)"), proxy),
		New: func(p fault.Params) (fault.Fault, error) {
			if d := p.Duration("delay", 0); d <= 0 {
				return nil, fmt.Errorf("latency: `delay` is %v", d)
			}
			var rules rule.Part
			for _, d := range towards(p) { // one for each, so that each has a report
				rules = append(rules, rule.Rule{Act: rule.Delay, Direction: d, Delay: p.Duration("delay", 0), Jitter: p.Duration("jitter", 0)})
			}
			all := spoiled("packets held", rules, p, late(p))
			all[wayProxy] = lateByProxy(p)
			return all, nil
		},
	}
}

// towards are the directions of a verb whose default is in.
func towards(p fault.Params) []rule.Direction {
	if d := rule.Direction(p.Text("direction", string(rule.In))); d != rule.Both {
		return []rule.Direction{d}
	}
	return []rule.Direction{rule.In, rule.Out}
}

// late proves a latency by the median of how long packets were held. The kernel's emulator does not say that; there it is
// proven that packets came through it.
func late(p fault.Params) proof {
	added := p.Duration("delay", 0).String()
	if j := p.Duration("jitter", 0); j > 0 {
		added += " ± " + j.String()
	}
	return func(part rule.Part, r rule.Report, _ time.Duration) (asked, delivered string, short bool) {
		var wanted, got []string
		for i, d := range r {
			wanted = append(wanted, fmt.Sprintf("%s %s", from(added, p), part[i].Direction))
			text, bad := held(part[i], d)
			short = short || bad
			got = append(got, text)
		}
		return "delay " + strings.Join(wanted, ", "), strings.Join(got, ", "), short
	}
}

// held says for how long a rule has held its packets, and whether that is not what it was to be.
func held(r rule.Rule, d rule.Delivered) (text string, short bool) {
	if d.Packets == 0 {
		return fmt.Sprintf("no packet met the rule %s: nothing was delayed", r.Direction), true
	}
	passed := ""
	if d.Passed > 0 {
		passed = fmt.Sprintf(", %d could not be held", d.Passed)
		short = float64(d.Passed) > latencyPassed*float64(d.Packets)
	}
	if r.Way == rule.WayNetem {
		return fmt.Sprintf("%d packets through the emulator %s%s", d.Packets, r.Direction, passed), short
	}
	if d.Delay == nil || d.Delay.Count == 0 {
		return fmt.Sprintf("none of %d packets %s was held to the end%s", d.Packets, r.Direction, passed), true
	}
	off := (d.Delay.P50 - r.Delay).Abs()
	short = short || off > max(latencyOff, time.Duration(latencyOffShare*float64(r.Delay)))
	return fmt.Sprintf("%s at the median of %d packets %s, p99 %s, SD %s%s",
		millis(d.Delay.P50), d.Delay.Count, r.Direction, millis(d.Delay.P99), millis(d.Delay.SD), passed), short
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// lateByProxy delays by the driver's proxy: upstream is what comes to the node.
func lateByProxy(p fault.Params) proxied {
	var toxics proxied
	for _, d := range towards(p) {
		stream := "upstream"
		if d == rule.Out {
			stream = "downstream"
		}
		toxics = append(toxics, target.Toxic{
			Type: "latency", Stream: stream,
			Attributes: map[string]any{"latency": p.Duration("delay", 0).Milliseconds(), "jitter": int64(0)},
		})
	}
	return toxics
}
