package node

import (
	"context"
	"errors"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// Restart stops nodes and starts them again. It is over when it has happened.
type Restart struct {
	Pause time.Duration // between stop and start
}

var (
	_ fault.Fault   = Restart{}
	_ fault.Lasting = Restart{}
)

// RestartKind is the verb restart.
func RestartKind() fault.Kind {
	return fault.Kind{
		Summary: "stop and start",
		Needs:   target.CanStop,
		Means:   "the service's stop signal, then a start, by the driver",
		NoFor:   true,
		Silent:  true,
		Params:  []fault.Param{{Name: "pause", Type: fault.Duration, Summary: "between stop and start; default 0s"}},
		New: func(p fault.Params) (fault.Fault, error) {
			return Restart{Pause: p.Duration("pause", 0)}, nil
		},
	}
}

// Inject returns when every node is gone. The start belongs to the Revert: the injector calls
// it at once, as the verb has no time of its own.
func (r Restart) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effects, start, err := Stop{Grace: -1}.Inject(ctx, s, nodes)
	if start == nil {
		return effects, nil, err
	}
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		wait := time.NewTimer(r.Pause)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-s.Over: // it is not to last longer
		case <-ctx.Done():
			return nil, errors.Join(errors.New("restart: the pause was cut short"), context.Cause(ctx))
		}
		return start(ctx)
	}, err
}

// Lasts is the pause.
func (r Restart) Lasts(int, time.Duration) time.Duration { return r.Pause }
