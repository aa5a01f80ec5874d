package node

import (
	"context"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Stop ends nodes by their stop signal. Undone, they are started again.
type Stop struct {
	Grace time.Duration // until SIGKILL; negative: the service's own
}

var _ fault.Fault = Stop{}

// StopKind is the verb stop.
func StopKind() fault.Kind {
	return fault.Kind{
		Summary: "stopped by its signal",
		Needs:   target.CanStop,
		Means:   "the service's stop signal by the driver",
		Silent:  true,
		Params:  []fault.Param{{Name: "grace", Type: fault.Duration, Summary: "how long it may take before SIGKILL; default: the service's stop_grace_period"}},
		New: func(p fault.Params) (fault.Fault, error) {
			return Stop{Grace: p.Duration("grace", -1)}, nil
		},
	}
}

// Inject returns when every node is gone.
func (f Stop) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	k, ok := s.Cluster.(target.Stopper)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "stop")
	}
	effects, err := fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
		return k.Stop(ctx, n, f.Grace)
	})
	for i, e := range effects {
		// It begins with the signal: from then on the node may refuse what is new.
		effects[i].Proof = fmt.Sprintf("%s, gone %v after the signal", e.Proof, e.To.Sub(e.From).Round(time.Millisecond))
		effects[i].To = e.From
	}
	return effects, undoing(nodes, k.Start), err
}
