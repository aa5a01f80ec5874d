package node

import (
	"context"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Pause freezes nodes: they hold their connections and answer nothing.
type Pause struct{}

var _ fault.Fault = Pause{}

// PauseKind is the verb pause.
func PauseKind() fault.Kind {
	return fault.Kind{
		Summary: "frozen",
		Needs:   target.CanPause,
		Means:   "frozen by the driver (cgroup freezer or SIGSTOP)",
		Silent:  true,
		New:     func(fault.Params) (fault.Fault, error) { return Pause{}, nil },
	}
}

// Inject returns when every node is known to be frozen.
func (Pause) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	p, ok := s.Cluster.(target.Pauser)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "pause")
	}
	effects, err := fault.Each(ctx, nodes, p.Pause)
	return effects, undoing(nodes, p.Unpause), err
}
