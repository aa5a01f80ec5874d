package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Scale gives a service another number of replicas. Undone, it has as many as before.
type Scale struct {
	To int
}

var _ fault.Fault = Scale{}

// ScaleKind is the verb scale.
func ScaleKind() fault.Kind {
	return fault.Kind{
		Summary:      "replicas added or removed",
		Needs:        target.CanScale,
		Means:        "replicas created and removed by the driver",
		WholeService: true,
		Exclusive:    func(fault.Params) bool { return true },
		Params:       []fault.Param{{Name: "to", Type: fault.Count, Required: true, Summary: "how many replicas the service has while in force"}},
		New: func(p fault.Params) (fault.Fault, error) {
			to := p.Count("to", -1)
			if to < 0 {
				return nil, errors.New("scale: `to` must say how many replicas")
			}
			return Scale{To: to}, nil
		},
	}
}

// Inject takes all replicas of one service. A service that has To replicas already is an error: the
// fault would hit nothing.
func (f Scale) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	k, ok := s.Cluster.(target.Scaler)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "scale")
	}
	if len(nodes) == 0 || len(nodes) == f.To {
		return nil, nil, fmt.Errorf("scale to %d: there are %d replicas already, nothing to do", f.To, len(nodes))
	}
	service, before := nodes[0].Service, len(nodes)
	effects, err := k.Scale(ctx, service, f.To)
	return effects, func(ctx context.Context) ([]target.Effect, error) { return k.Scale(ctx, service, before) }, err
}
