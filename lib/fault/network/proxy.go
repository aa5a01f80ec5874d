package network

import (
	"context"
	"fmt"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// wayProxy is the way of drivers that have a proxy in front of each node.
const wayProxy = "proxy"

// proxied is a fault by the driver's own proxies: what they do to connections to a node. The driver says what was delivered.
type proxied []target.Toxic

var _ way = proxied(nil)

// Arm finds out whether there are proxies.
func (f proxied) Arm(_ context.Context, s *fault.Site, _ []target.Node) error {
	_, err := proxier(s)
	return err
}

// Inject returns when every node's proxy does what was asked.
func (f proxied) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	p, err := proxier(s)
	if err != nil {
		return nil, nil, err
	}
	do := func(ctx context.Context, toxics []target.Toxic) ([]target.Effect, error) {
		return fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
			return p.Proxy(ctx, n, s.Name, toxics)
		})
	}
	effects, err := do(ctx, f)
	return effects, func(ctx context.Context) ([]target.Effect, error) { return do(ctx, nil) }, err
}

// Renew asks the proxy of a node that has restarted once more.
func (f proxied) Renew(ctx context.Context, s *fault.Site, n target.Node) ([]target.Effect, error) {
	p, err := proxier(s)
	if err != nil {
		return nil, err
	}
	e, err := p.Proxy(ctx, n, s.Name, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	return []target.Effect{e}, nil
}

func proxier(s *fault.Site) (target.Proxier, error) {
	p, ok := s.Cluster.(target.Proxier)
	if !ok {
		return nil, fmt.Errorf("%s: the driver declares proxies, but %T does not have them", s.Name, s.Cluster)
	}
	return p, nil
}
