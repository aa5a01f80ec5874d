package node

import (
	"context"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Crash ends the process of nodes as a bug would: the host lives on, and a restart policy may act. Undone, the nodes run
// again, whoever has started them.
type Crash struct{}

var _ fault.Fault = Crash{}

// CrashKind is the verb crash.
func CrashKind() fault.Kind {
	return fault.Kind{
		Summary: "the process dies on a living host; the restart policy may act",
		Needs:   target.CanCrash,
		Means:   "SIGKILL of the node's process, by the driver from outside the container",
		Places:  []target.Place{target.InMachine}, // where it takes a helper to reach the process, as in containers
		New:     func(fault.Params) (fault.Fault, error) { return Crash{}, nil },
	}
}

// Inject returns when the process of every node is known to be dead. It may run again by then.
func (Crash) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	c, ok := s.Cluster.(target.Crasher)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "crash")
	}
	effects, err := fault.Each(ctx, nodes, c.Crash)
	return effects, undoing(nodes, c.Revive), err
}
