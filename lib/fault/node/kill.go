package node

import (
	"context"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Kill ends nodes without warning. Undone, they are started again at their old addresses.
type Kill struct{}

var _ fault.Fault = Kill{}

// KillKind is the verb kill.
func KillKind() fault.Kind {
	return fault.Kind{
		Summary: "killed without warning: a container's address is silent then, a process's refuses",
		Needs:   target.CanKill,
		Means:   "SIGKILL by the driver",
		Silent:  true,
		New:     func(fault.Params) (fault.Fault, error) { return Kill{}, nil },
	}
}

// Inject returns when every node is known to be dead.
func (Kill) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	k, ok := s.Cluster.(target.Killer)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "kill")
	}
	effects, err := fault.Each(ctx, nodes, k.Kill)
	return effects, undoing(nodes, k.Start), err
}
