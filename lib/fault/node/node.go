// Package node has the faults that happen to a node as a whole: it dies, stops,
// restarts, freezes, or is one of more or fewer. Each file holds one fault and the
// [fault.Kind] that makes it a verb.
package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
	"golang.org/x/sync/errgroup"
)

// each does the same to all nodes at once, and returns what was done even if some of it failed.
func each(ctx context.Context, nodes []target.Node, do func(context.Context, target.Node) (target.Effect, error)) ([]target.Effect, error) {
	effects, errs := make([]target.Effect, len(nodes)), make([]error, len(nodes))
	var g errgroup.Group
	for i, n := range nodes {
		g.Go(func() error {
			effects[i], errs[i] = do(ctx, n)
			return nil // one node's trouble must not stop what is done to the others
		})
	}
	_ = g.Wait() // never an error, see above
	var done []target.Effect
	for i, err := range errs {
		if err == nil {
			done = append(done, effects[i])
			continue
		}
		errs[i] = fmt.Errorf("%s: %w", nodes[i].Name, err)
	}
	return done, errors.Join(errs...)
}

// starting undoes what took nodes down.
func starting(s target.Starter, nodes []target.Node) fault.Revert {
	return func(ctx context.Context) ([]target.Effect, error) { return each(ctx, nodes, s.Start) }
}

// unable says that a cluster lacks what its driver promised to plan.
func unable(c target.Cluster, verb string) error {
	return fmt.Errorf("%s: the driver declares the ability, but %T does not have it", verb, c)
}
