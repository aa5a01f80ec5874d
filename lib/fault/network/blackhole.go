package network

import (
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// BlackholeKind is the verb blackhole.
func BlackholeKind() fault.Kind {
	return fault.Kind{
		Summary: "what comes in is dropped, and nobody is told; answers that are under way still leave",
		Params:  []fault.Param{port()},
		Silent:  true,
		Places:  []target.Place{target.InNetwork},
		Ways: []fault.Way{{
			Name: rule.WayNFT, Means: dropping, Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT},
		}},
		New: func(p fault.Params) (fault.Fault, error) {
			r := rule.Rule{Act: rule.Drop, Way: rule.WayNFT, Direction: rule.In, Ports: ports(p)}
			return ruled("packets dropped on arrival", one(r), met(of("packets", p)+" dropped", "dropped", "no packet met the rule: nothing was dropped")), nil
		},
	}
}
