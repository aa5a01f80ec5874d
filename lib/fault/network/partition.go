package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// dropping is how packets are dropped.
const dropping = "dropped where they arrive by nftables (input hook, before connection tracking)"

// PartitionKind is the verb partition.
func PartitionKind() fault.Kind {
	return fault.Kind{
		Summary: "packets between groups of nodes dropped where they arrive; or one way; or to a service from everyone",
		Params: []fault.Param{
			{Name: "between", Type: fault.Groups, Alone: true, Summary: "groups of services or replicas that do not reach one another: [a, b] or [[a, b], [c]]"},
			{Name: "from", Type: fault.Peer, Alone: true, Summary: "one way: whose packets are dropped"},
			{Name: "to", Type: fault.Peer, Alone: true, Summary: "one way: where they are dropped"},
		},
		Silent: true,
		Places: []target.Place{target.InNetwork},
		Ways: []fault.Way{{
			Name: rule.WayNFT, Means: dropping, Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT},
		}},
		Choose: cutOff,
		New: func(p fault.Params) (fault.Fault, error) {
			switch {
			case p.Has("between") && (p.Has("from") || p.Has("to")):
				return nil, errors.New("partition: either `between`, or `from` and `to`")
			case p.Has("from") != p.Has("to"):
				return nil, errors.New("partition: `from` and `to` go together")
			case p.Has("between") && len(p.Groups("between")) < 2:
				return nil, errors.New("partition: `between` needs two groups at least")
			}
			return partition(p), nil
		},
	}
}

// cutOff says which nodes drop packets: all members of groups; those that `to` names; or the selector says.
func cutOff(p fault.Params, all []target.Node) ([]target.Node, error) {
	if p.Has("between") {
		group, err := groups(p, all)
		if err != nil {
			return nil, err
		}
		var members []target.Node
		for _, n := range all {
			if _, ok := group[n.Name]; ok {
				members = append(members, n)
			}
		}
		return members, nil
	}
	if !p.Has("to") {
		return nil, nil
	}
	if _, err := named(p.Text("from", ""), all); err != nil {
		return nil, fmt.Errorf("`from`: %w", err)
	}
	to, err := named(p.Text("to", ""), all)
	if err != nil {
		return nil, fmt.Errorf("`to`: %w", err)
	}
	return to, nil
}

// groups numbers the group of each member of `between`.
func groups(p fault.Params, all []target.Node) (map[string]int, error) {
	group := make(map[string]int)
	for i, names := range p.Groups("between") {
		for _, name := range names {
			nodes, err := named(name, all)
			if err != nil {
				return nil, fmt.Errorf("`between`: %w", err)
			}
			for _, n := range nodes {
				if at, ok := group[n.Name]; ok && at != i {
					return nil, fmt.Errorf("`between`: %s is in two groups", n.Name)
				}
				group[n.Name] = i
			}
		}
	}
	return group, nil
}

func partition(p fault.Params) fault.Fault {
	proves := met("all packets dropped", "dropped", "no packet met the rule: nothing was cut")
	drop := rule.Rule{Act: rule.Drop, Way: rule.WayNFT, Direction: rule.In}
	const what = "packets dropped on arrival"
	switch {
	case p.Has("between"):
		proves = met("packets of the other groups dropped", "dropped", "no packet met the rule: nothing was cut")
		return together{helped(what, func(s *fault.Site, nodes []target.Node) (map[string]any, error) { return others(s, p, drop, nodes) }, proves)}
	case p.Has("from"):
		proves = met(from("packets", p)+" dropped", "dropped", "no packet met the rule: nothing was cut")
		return together{ruled(what, func(s *fault.Site) (rule.Part, error) {
			r := drop
			var err error
			r.Peers, err = peers(s, p, "from")
			return rule.Part{r}, err
		}, proves)}
	}
	return ruled(what, one(drop), proves)
}

// others gives each node the members of the other groups to drop.
func others(s *fault.Site, p fault.Params, drop rule.Rule, nodes []target.Node) (map[string]any, error) {
	all := s.Nodes()
	group, err := groups(p, all)
	if err != nil {
		return nil, err
	}
	parts := make(map[string]any, len(nodes))
	for _, n := range nodes {
		var far []target.Node
		for _, o := range all {
			if at, ok := group[o.Name]; ok && at != group[n.Name] {
				far = append(far, o)
			}
		}
		r := drop
		if r.Peers, err = addresses(far); err != nil {
			return nil, err
		}
		if len(r.Peers) == 0 { // a rule without peers would be about everybody
			return nil, fmt.Errorf("%s: there is nobody in the other groups", n.Name)
		}
		parts[n.Name] = rule.Part{r}
	}
	return parts, nil
}

// together is proven by what all nodes dropped: if the ones that ask are cut off on the way, nothing comes back that
// the others could drop.
type together struct{ fault.Helped }

// Inject returns when every member drops the others' packets.
func (f together) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effects, revert, err := f.Helped.Inject(ctx, s, nodes)
	if revert == nil {
		return effects, nil, err
	}
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		ended, err := revert(ctx)
		return share(ended), err
	}, err
}

// share takes back that single nodes had nothing to do, if one had.
func share(ended []target.Effect) []target.Effect {
	proven := false
	for _, e := range ended {
		proven = proven || e.Delivered != "" && !e.Short
	}
	for i := range ended {
		if proven && ended[i].Short {
			ended[i].Short, ended[i].Delivered = false, "nothing arrived here that had to be dropped"
		}
	}
	return ended
}
