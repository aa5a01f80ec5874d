package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-bench/tutti/lib/target"
	"golang.org/x/sync/errgroup"
)

// Each does the same to all nodes at once, and returns what was done even if some of it failed: an effect for each
// node where it worked, in the order of the nodes, and an error that names the others. An effect without times is none.
func Each(ctx context.Context, nodes []target.Node, do func(context.Context, target.Node) (target.Effect, error)) ([]target.Effect, error) {
	effects, errs := make([]target.Effect, len(nodes)), make([]error, len(nodes))
	var g errgroup.Group
	for i, n := range nodes {
		g.Go(func() error {
			if effects[i], errs[i] = do(ctx, n); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", n.Name, errs[i])
			}
			return nil // one node's trouble must not stop what is done to the others
		})
	}
	_ = g.Wait() // never an error, see above
	var done []target.Effect
	for i, e := range effects {
		if errs[i] == nil && !e.To.IsZero() {
			done = append(done, e)
		}
	}
	return done, errors.Join(errs...)
}

// Unable says that a cluster lacks what its driver promised to plan.
func Unable(c target.Cluster, verb string) error {
	return fmt.Errorf("%s: the driver declares the ability, but %T does not have it", verb, c)
}
