package network

import (
	"fmt"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// wayNetemOut is the emulator alone, where the kernel lacks what is needed for packets that come in.
	wayNetemOut = rule.WayNetem + "-out"
	// wayNetemPeers is the emulator behind filters for peers, which not every kernel that has it can do.
	wayNetemPeers = rule.WayNetem + "-peers"
)

// emulated are the ways of verbs that packet queues and the kernel's emulator have. Queues first: they say what each packet got, compose
// with every other fault on the node (the emulator and a token bucket both want the root of a device), and end with their
// helper, where the emulator stays until somebody removes it. The emulator costs less at high rates.
func emulated(netem, queue string) []fault.Way {
	return []fault.Way{
		{
			Name: rule.WayNFQueue, Means: queue,
			Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasNFQueue},
		},
		{
			Name: rule.WayNetem, Means: netem + ", behind ifb for what comes in",
			Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNetem, rule.HasIFB}, Fits: fromAnybody,
		},
		{
			Name: wayNetemOut, Means: netem, Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNetem},
			Fits: func(p fault.Params) bool {
				return fromAnybody(p) && slices.Equal(towards(p), []rule.Direction{rule.Out})
			},
		},
		{
			Name: wayNetemPeers, Means: netem + " in bands by peer, behind ifb for what comes in",
			Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNetem, rule.HasIFB},
		},
	}
}

func fromAnybody(p fault.Params) bool { return !p.Has("from") }

// spoiled is a fault of the same rules in all nodes, by each of the emulated ways, each node with its own chance.
func spoiled(what string, rules rule.Part, p fault.Params, prove proof) byWay {
	by := func(name string) way {
		return helped(what, func(s *fault.Site, nodes []target.Node) (map[string]any, error) {
			of, err := peers(s, p, "from")
			if err != nil {
				return nil, err
			}
			parts := make(map[string]any, len(nodes))
			for _, n := range nodes {
				part := slices.Clone(rules)
				for i := range part {
					part[i].Way, part[i].Peers = name, of
					if s.Rand != nil {
						part[i].Seed = s.Rand.Uint64()
					}
				}
				parts[n.Name] = part
			}
			return parts, nil
		}, prove)
	}
	netem := by(rule.WayNetem)
	return byWay{rule.WayNetem: netem, wayNetemOut: netem, wayNetemPeers: netem, rule.WayNFQueue: by(rule.WayNFQueue)}
}

// shared is the kind of a verb that does something to a share of the packets that come in.
func shared(act rule.Act, summary, done, netem, queue string, delay time.Duration) fault.Kind {
	return fault.Kind{
		Summary: summary,
		Params:  []fault.Param{{Name: "share", Type: fault.Share, Required: true, Summary: "of the packets, such as 10%"}, peer()},
		Places:  []target.Place{target.InNetwork},
		Ways:    emulated(netem, queue),
		New: func(p fault.Params) (fault.Fault, error) {
			share := p.Number("share", 0)
			if share <= 0 || share > 1 {
				return nil, fmt.Errorf("%s: a `share` of %g is not above 0 and at most 1", act, share)
			}
			rules := rule.Part{{Act: act, Direction: rule.In, Share: share, Delay: delay}}
			return spoiled("packets "+done, rules, p, taken(done, p)), nil
		},
	}
}

// taken proves a share by how many were hit of all that came. The kernel's emulator does not say how many; there it is proven
// that packets came through it.
func taken(done string, p fault.Params) proof {
	asked := percent(p.Number("share", 0)) + " of " + from("packets", p) + " " + done
	return func(part rule.Part, r rule.Report, _ time.Duration) (string, string, bool) {
		d := r[0]
		if d.Packets == 0 {
			return asked, "no packet met the rule: none was " + done, true
		}
		if part[0].Way == rule.WayNetem {
			return asked, fmt.Sprintf("%d packets through the emulator", d.Packets), false
		}
		seen := d.Packets - min(d.Passed, d.Packets) // what passed by was not drawn for
		if seen == 0 {
			return asked, fmt.Sprintf("all %d packets passed by", d.Packets), true
		}
		delivered := fmt.Sprintf("%s of %d packets", percent(float64(d.Hit)/float64(seen)), seen)
		if d.Passed > 0 {
			delivered += fmt.Sprintf(", %d could not be looked at", d.Passed)
		}
		if !likely(seen, d.Hit, part[0].Share) {
			return asked, delivered + ", which chance gives once in 1,000 times at most", true
		}
		return asked, delivered, d.Hit == 0
	}
}
