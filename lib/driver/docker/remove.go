package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/tutti-bench/tutti/lib/target"
)

// Remove takes a node's container away, with its writable layer and its anonymous volumes, and returns after the engine's
// event "destroy".
func (c *cluster) Remove(ctx context.Context, n target.Node) (target.Effect, error) {
	from := c.before()
	r, seen, err := c.act(ctx, n, events.ActionDestroy, actTimeout, func(ctx context.Context, id string) error {
		return c.d.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	if err != nil {
		return target.Effect{}, fmt.Errorf("remove %s: %w", n.Name, err)
	}
	e := effect(r.node, from, seen, "destroy")
	for _, m := range seen {
		if m.Action == events.ActionDie { // it was silent from then on
			e.To = at(m)
			e.Proof = "die, exit code " + m.Actor.Attributes["exitCode"] + ", then destroy"
			if e.From.After(e.To) {
				e.From = e.To
			}
		}
	}
	return e, nil
}

// Recreate makes a removed node anew, with its name, addresses and image, and returns after the engine's event "start".
func (c *cluster) Recreate(ctx context.Context, n target.Node) (target.Effect, error) {
	e, err := c.recreate(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("create %s anew: %w", n.Name, err)
	}
	return e, nil
}

func (c *cluster) recreate(ctx context.Context, n target.Node) (target.Effect, error) {
	old, err := c.find(n)
	if err != nil {
		return target.Effect{}, err
	}
	if _, err := c.d.api.ContainerInspect(ctx, old.node.ID); err == nil {
		return target.Effect{}, errors.New("it is there")
	}
	r, err := c.createReplica(ctx, old.service, old.node.Replica)
	if err != nil {
		return target.Effect{}, err
	}
	return c.Start(ctx, r.node)
}
