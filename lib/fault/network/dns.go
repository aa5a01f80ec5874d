package network

import (
	"errors"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// DNSKind is the verb dns: what the nodes' own look-ups are answered with. It is about all that they send to port 53 of anybody,
// Docker's resolver included. What a program remembers of earlier answers it does not look up.
func DNSKind() fault.Kind {
	modes := []string{rule.DNSSilent, rule.DNSRefused, rule.DNSNXDomain, rule.DNSSlow}
	return fault.Kind{
		Summary: "the service's look-ups get no answer, a refusal, \"no such name\", or the true answer late",
		Params: []fault.Param{
			{Name: "mode", Type: fault.Word, Words: modes, Required: true, Summary: "what look-ups are answered with"},
			{Name: "delay", Type: fault.Duration, Summary: "of slow answers, added to what they take; required for slow"},
		},
		Places: []target.Place{target.InNetwork},
		Ways: []fault.Way{
			{
				Name: "drop", Means: "look-ups and answers to them dropped on arrival by nftables", Abilities: target.CanEnterNetwork,
				Primitives: []string{rule.HasNFT},
				Fits:       func(p fault.Params) bool { return p.Text("mode", "") == rule.DNSSilent },
			},
			{
				Name: "resolver", Means: "look-ups redirected to a resolver of our own (nftables)", Abilities: target.CanEnterNetwork,
				Primitives: []string{rule.HasNFT, rule.HasRedirect, rule.HasReject},
				Fits:       func(p fault.Params) bool { return p.Text("mode", "") != rule.DNSSilent },
			},
		},
		New: func(p fault.Params) (fault.Fault, error) {
			r := rule.Rule{Act: rule.DNS, Mode: p.Text("mode", ""), Delay: p.Duration("delay", 0)}
			switch {
			case r.Mode == rule.DNSSlow && r.Delay <= 0:
				return nil, errors.New("dns: mode slow needs a `delay`, such as 500ms")
			case r.Mode != rule.DNSSlow && p.Has("delay"):
				return nil, fmt.Errorf("dns: `delay` is for mode slow, not for %s", r.Mode)
			}
			return ruled("look-ups "+lookedUp(r), one(r), answered), nil
		},
	}
}

// lookedUp says what becomes of look-ups.
func lookedUp(r rule.Rule) string {
	switch r.Mode {
	case rule.DNSSilent:
		return "without an answer"
	case rule.DNSRefused:
		return "refused"
	case rule.DNSNXDomain:
		return `answered with "no such name"`
	default:
		return fmt.Sprintf("answered %v late", r.Delay)
	}
}

// answered proves a fault of look-ups by those that the nodes made.
func answered(p rule.Part, report rule.Report, _ time.Duration) (asked, delivered string, short bool) {
	r, d := p[0], report[0]
	asked = "look-ups " + lookedUp(r)
	switch {
	case d.Packets == 0:
		return asked, "the service looked nothing up while it was in force", true
	case d.Hit == 0 && r.Mode == rule.DNSSilent:
		return asked, fmt.Sprintf("%d look-ups, to none of which an answer came that could be dropped", d.Packets), true
	case r.Mode == rule.DNSSilent: // retries by TCP count once as look-ups, and each of their packets is dropped
		return asked, fmt.Sprintf("%d look-ups, %d packets dropped", d.Packets, d.Hit), false
	}
	delivered = fmt.Sprintf("%d of %d look-ups", d.Hit, d.Packets)
	if d.Delay != nil {
		delivered += fmt.Sprintf(", %s at the median, p99 %s", millis(d.Delay.P50), millis(d.Delay.P99))
	}
	return asked, delivered, d.Hit == 0
}
