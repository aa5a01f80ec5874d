package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// named are the nodes that a service's or a replica's name means. That there are none is an error.
func named(name string, all []target.Node) ([]target.Node, error) {
	var of []target.Node
	for _, n := range all {
		if n.Service == name || n.Name == name {
			of = append(of, n)
		}
	}
	if len(of) == 0 {
		return nil, fmt.Errorf("%q is neither a service nor one of its replicas", name)
	}
	return of, nil
}

// addresses are all that nodes have, on every network.
func addresses(nodes []target.Node) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, n := range nodes {
		have := n.Addresses
		if len(have) == 0 {
			have = []string{n.Address}
		}
		for _, text := range have {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("address of %s: %w", n.Name, err)
			}
			all = append(all, a.Unmap())
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

// peers are the addresses that a parameter names; none if it is absent, which rules take for anybody.
func peers(s *fault.Site, p fault.Params, param string) ([]netip.Addr, error) {
	if !p.Has(param) {
		return nil, nil
	}
	nodes, err := named(p.Text(param, ""), s.Nodes())
	if err != nil {
		return nil, fmt.Errorf("`%s`: %w", param, err)
	}
	return addresses(nodes)
}

// peer is the parameter of verbs that may be about one peer.
func peer() fault.Param {
	return fault.Param{Name: "from", Type: fault.Peer, Summary: "a service, or one of its replicas, whose packets it is about; default any"}
}

// from says whose packets.
func from(what string, p fault.Params) string {
	if !p.Has("from") {
		return what
	}
	return what + " from " + p.Text("from", "")
}
