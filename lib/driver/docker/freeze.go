package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// The engine learns of a freeze twice: from its own call, and again from containerd, whose word comes late on a busy
// machine. If the container has been thawed meanwhile, the engine believes the late word: it holds the container for
// frozen, and says so with an event, until containerd's word of the thaw corrects it, with another event. Neither is
// anything that happened (moby, daemon/monitor.go, EventPaused and EventResumed).
const (
	// echoWait is for how long after our own call the engine may be told by containerd.
	echoWait = 5 * time.Second
	// settleWait bounds how long we wait for the engine to be corrected.
	settleWait = 2 * time.Second
	settlePoll = 20 * time.Millisecond
)

// freezes counts our own freezes and thaws of one container, and what the engine has told of them.
type freezes struct {
	asked, told map[string]int // by the event's kind
	last        time.Time      // our latest call
}

// asks notes a call that is about to be made; the function returned takes it back.
func (c *cluster) asks(id, kind string) (takeBack func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen == nil {
		c.frozen = make(map[string]*freezes)
	}
	f := c.frozen[id]
	if f == nil {
		f = &freezes{asked: make(map[string]int), told: make(map[string]int)}
		c.frozen[id] = f
	}
	f.asked[kind]++
	f.last = time.Now()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		f.asked[kind]--
	}
}

// isEcho reports whether an event tells once more of a freeze or a thaw of ours.
func (c *cluster) isEcho(id, kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.frozen[id]
	if f == nil {
		return false
	}
	if f.told[kind] < f.asked[kind] {
		f.told[kind]++
		return false
	}
	return time.Since(f.last) < echoWait
}

// Pause freezes a node and checks that it is frozen.
func (c *cluster) Pause(ctx context.Context, n target.Node) (target.Effect, error) {
	e, err := c.freeze(ctx, n, record.NodePause, c.pauseOnce)
	if err != nil {
		return target.Effect{}, fmt.Errorf("pause %s: %w", n.Name, err)
	}
	return e, nil
}

// pauseOnce freezes a container. One that we have thawed just now the engine may still hold for frozen.
func (c *cluster) pauseOnce(ctx context.Context, id string) error {
	err := c.d.api.ContainerPause(ctx, id)
	if err == nil || !cerrdefs.IsConflict(err) || !c.thawedLately(id) {
		return err
	}
	if _, settled := c.becomes(ctx, id, false); settled != nil {
		return err
	}
	return c.d.api.ContainerPause(ctx, id)
}

func (c *cluster) thawedLately(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.frozen[id]
	return f != nil && f.told[record.NodeUnpause] > 0 && time.Since(f.last) < echoWait
}

// errNotFrozen says that there was nothing to thaw.
var errNotFrozen = errors.New("it is not frozen")

// Unpause thaws a node and checks that it runs. One that has died meanwhile, or restarted, is not frozen any more: that
// is told, and no error.
func (c *cluster) Unpause(ctx context.Context, n target.Node) (target.Effect, error) {
	e, err := c.freeze(ctx, n, record.NodeUnpause, func(ctx context.Context, id string) error {
		err := c.d.api.ContainerUnpause(ctx, id)
		if err == nil {
			return nil
		}
		if got, seen := c.d.api.ContainerInspect(ctx, id); seen == nil && !got.State.Paused {
			return errNotFrozen
		}
		return err
	})
	if err == nil {
		return e, nil
	}
	if !errors.Is(err, errNotFrozen) {
		return target.Effect{}, fmt.Errorf("unpause %s: %w", n.Name, err)
	}
	r, err := c.find(n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("unpause %s: %w", n.Name, err)
	}
	now := c.before()
	return target.Effect{Node: r.node, From: now, To: now, Source: "engine state", Proof: "it was not frozen any more"}, nil
}

// freeze freezes or thaws a node, as kind says, and waits until the engine holds it for what it is.
func (c *cluster) freeze(ctx context.Context, n target.Node, kind string, do func(context.Context, string) error) (target.Effect, error) {
	from := c.before()
	shows := events.ActionPause
	if kind == record.NodeUnpause {
		shows = events.ActionUnPause
	}
	r, seen, err := c.act(ctx, n, shows, actTimeout, func(ctx context.Context, id string) error {
		takeBack := c.asks(id, kind)
		err := do(ctx, id)
		if err != nil {
			takeBack()
		}
		return err
	})
	if err != nil {
		return target.Effect{}, err
	}
	state, err := c.becomes(ctx, r.node.ID, kind == record.NodePause)
	if err != nil {
		return target.Effect{}, err
	}
	return effect(r.node, from, seen, string(shows)+", then state "+state), nil
}

// becomes waits until the engine holds a container for frozen, or for thawed.
func (c *cluster) becomes(ctx context.Context, id string, frozen bool) (state container.ContainerState, err error) {
	for end := time.Now().Add(settleWait); ; {
		got, err := c.d.api.ContainerInspect(ctx, id)
		if err != nil {
			return "", fmt.Errorf("see whether it worked: %w", err)
		}
		if got.State.Paused == frozen {
			return got.State.Status, nil
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("the engine reported it, but the container is %s", got.State.Status)
		}
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
