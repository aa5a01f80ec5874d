package node

import (
	"context"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Remove takes nodes away. Undone, there are new ones of their names and addresses, which have nothing of the old ones but
// their named volumes.
type Remove struct{}

var _ fault.Fault = Remove{}

// RemoveKind is the verb remove.
func RemoveKind() fault.Kind {
	return fault.Kind{
		Summary: "taken away with all but its named volumes, and created anew when undone",
		Needs:   target.CanRemove,
		Means:   "removed and created anew by the driver",
		Silent:  true,
		New:     func(fault.Params) (fault.Fault, error) { return Remove{}, nil },
	}
}

// Inject returns when every node is gone. The effects of the Revert have the new ones.
func (Remove) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	r, ok := s.Cluster.(target.Remover)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "remove")
	}
	effects, err := fault.Each(ctx, nodes, r.Remove)
	return effects, undoing(nodes, r.Recreate), err
}
