package network

import (
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

const nothingRefused = "no packet met the rule: nothing was refused"

// RefuseKind is the verb refuse.
func RefuseKind() fault.Kind {
	return fault.Kind{
		Summary: "new connections refused, established ones reset by their next packet",
		Params:  []fault.Param{port()},
		Places:  []target.Place{target.InNetwork},
		Ways: []fault.Way{
			{
				Name: rule.WayNFT, Means: "answered with a TCP reset, or port unreachable, by nftables (input hook)",
				Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasReject},
			},
			{
				Name: wayProxy, Means: "the driver's proxy refuses connections and closes those that there are", Abilities: target.CanProxy, Fits: portless,
			},
		},
		New: func(p fault.Params) (fault.Fault, error) {
			r := rule.Rule{Act: rule.Refuse, Way: rule.WayNFT, Direction: rule.In, Ports: ports(p)}
			return byWay{
				rule.WayNFT: ruled("connections refused", one(r), met(of("packets", p)+" refused", "refused", nothingRefused)),
				wayProxy:    proxied{{Type: "down"}},
			}, nil
		},
	}
}
