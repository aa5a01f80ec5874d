package network

import (
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// The ways of a reset by rules.
const (
	wayDestroy = "destroy"
	wayReject  = "reject"
)

// ResetKind is the verb reset.
func ResetKind() fault.Kind {
	return fault.Kind{
		Summary: "established connections reset, new ones refused",
		Params:  []fault.Param{port()},
		Places:  []target.Place{target.InNetwork},
		Ways: []fault.Way{
			{
				Name: wayDestroy, Means: "connections reset at once by the kernel (SOCK_DESTROY), new ones by nftables",
				Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasReject, rule.HasResets},
			},
			{
				Name: wayReject, Means: "connections reset by their next packet, new ones refused, by nftables",
				Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasReject},
			},
			{
				Name: wayProxy, Means: "the driver's proxy resets connections and refuses new ones", Abilities: target.CanProxy, Fits: portless,
			},
		},
		New: func(p fault.Params) (fault.Fault, error) {
			r := rule.Rule{Act: rule.Reset, Way: rule.WayNFT, Direction: rule.In, Ports: ports(p)}
			rejected := r
			rejected.Act = rule.Refuse // which is what a reset without SOCK_DESTROY is
			prove := met(of("connections", p)+" reset", "refused", "no connection was there and no packet met the rule: nothing was reset")
			return byWay{
				wayDestroy: ruled("connections reset", one(r), prove),
				wayReject:  ruled("connections reset by their next packet", one(rejected), prove),
				wayProxy:   proxied{{Type: "reset_peer"}},
			}, nil
		},
	}
}
