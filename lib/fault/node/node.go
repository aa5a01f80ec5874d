// Package node has the faults that happen to a node as a whole: it dies, stops,
// restarts, freezes, is taken away, or is one of more or fewer. Each file holds one fault and the
// [fault.Kind] that makes it a verb.
package node

import (
	"context"
	"sync"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// undoing is the way back by do. A node for which it was done is left alone the next time, and its effect is told again.
func undoing(nodes []target.Node, do func(context.Context, target.Node) (target.Effect, error)) fault.Revert {
	var mu sync.Mutex
	done := make(map[string]target.Effect)
	return func(ctx context.Context) ([]target.Effect, error) {
		return fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
			mu.Lock()
			e, ok := done[n.Name]
			mu.Unlock()
			if ok {
				return e, nil
			}
			e, err := do(ctx, n)
			if err == nil {
				mu.Lock()
				done[n.Name] = e
				mu.Unlock()
			}
			return e, err
		})
	}
}
