package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/target"
)

// signalWorker is the helper that ends a container's first process from outside, by the name that the program's kit has for it.
const signalWorker = "signal"

// signalPart is what it is given.
type signalPart struct {
	ID   string `json:"id"`   // of the container
	Kill bool   `json:"kill"` // without it, it only looks whether the process lives
}

// signalReport is what it says of a part.
type signalReport struct {
	Dead bool `json:"dead"`
}

const (
	// reviveWait is for how long a restart policy that is about to act is left to it: its first pause is 100 ms.
	reviveWait = 2 * time.Second
	// dieLimit is how long an engine may take to hear that a container's first process has ended.
	dieLimit = 10 * time.Second
)

// armCrash starts the helper that crashes need before the load, if something said that it will.
func (c *cluster) armCrash(ctx context.Context) error {
	for _, places := range c.spec.Places {
		if slices.Contains(places, target.InMachine) {
			return c.withCrasher(ctx, func(*agent.Helper) error { return nil })
		}
	}
	return nil
}

// Crash ends a node's first process with SIGKILL, past the engine, and returns after the engine's event "die". For the
// engine it has died by itself, so that the restart policy acts. Before the signal it ends with ctx; from then on it waits
// for what comes of it.
func (c *cluster) Crash(ctx context.Context, n target.Node) (target.Effect, error) {
	var out agent.Outcome
	r, seen, err := c.act(ctx, n, events.ActionDie, actTimeout, func(begun context.Context, id string) error {
		return c.withCrasher(ctx, func(h *agent.Helper) (err error) {
			out, err = c.signal(begun, h, n.Name, id)
			return err
		})
	})
	if err != nil {
		return target.Effect{}, fmt.Errorf("crash %s: %w", n.Name, err)
	}
	e := ended(r.node, seen)
	if out.To.Before(e.To) && !out.From.IsZero() { // the helper has seen the death itself; the engine hears of it later
		e.From, e.To = out.From, out.To
	}
	e.Source = "helper and engine event"
	e.Proof = "signal 9 from outside the container, then " + e.Proof
	return e, nil
}

// signal has the helper end a container's process, and forgets the part at once: the next crash of that node is a new one.
func (c *cluster) signal(ctx context.Context, h *agent.Helper, name, id string) (agent.Outcome, error) {
	part, err := json.Marshal(signalPart{ID: id, Kill: true})
	if err != nil {
		return agent.Outcome{}, err
	}
	out, err := h.Set(ctx, agent.Parts{name: part})
	_, forgot := h.Set(ctx, agent.Parts{})
	return out, errors.Join(err, forgot)
}

// lives returns nil if a container's first process lives, by the kernel: an engine hears of an end after it.
func (c *cluster) lives(ctx context.Context, name, id string) error {
	part, err := json.Marshal(signalPart{ID: id})
	if err != nil {
		return err
	}
	return c.withCrasher(ctx, func(h *agent.Helper) error {
		if _, err := h.Set(ctx, agent.Parts{name: part}); err != nil {
			return err
		}
		said, err := h.Read(ctx)
		_, forgot := h.Set(ctx, agent.Parts{})
		if err = errors.Join(err, forgot); err != nil {
			return err
		}
		var r signalReport
		if err := json.Unmarshal(said[name], &r); err != nil {
			return fmt.Errorf("what the helper says is not understood: %w", err)
		}
		if r.Dead {
			return errors.New("its first process has ended")
		}
		return nil
	})
}

// withCrasher does something with the helper that ends processes, one at a time, and starts it where there is none.
func (c *cluster) withCrasher(ctx context.Context, do func(*agent.Helper) error) error {
	select {
	case <-c.crashTurn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { c.crashTurn <- struct{}{} }()
	if c.crasher != nil {
		select {
		case <-c.crasher.Gone():
			c.crasher = nil
		default:
		}
	}
	if c.crasher == nil {
		host, err := c.d.placeHost(ctx, target.InMachine, site{memory: helperMemory})
		if err != nil {
			return err
		}
		p, err := c.launch(ctx, launch{
			name: c.helperName(), config: ownConfig([]string{"helper", signalWorker}, c.labels("helper")), host: host, over: func() {},
		})
		if err != nil {
			return err
		}
		if c.crasher, err = agent.DialHelper(ctx, p); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return do(c.crasher)
}

// Revive returns when a node runs again that has crashed: its restart policy has brought it back, or we start it. The engine
// need not have heard yet that it has crashed.
func (c *cluster) Revive(ctx context.Context, n target.Node) (target.Effect, error) {
	e, err := c.revive(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("revive %s: %w", n.Name, err)
	}
	return e, nil
}

func (c *cluster) revive(ctx context.Context, n target.Node) (target.Effect, error) {
	r, err := c.find(n)
	if err != nil {
		return target.Effect{}, err
	}
	w, err := c.events.wait(r.node.ID)
	if err != nil {
		return target.Effect{}, err
	}
	defer w.close()
	from := c.before()
	got, err := c.d.api.ContainerInspect(ctx, r.node.ID)
	if err == nil && runs(got) {
		lives := c.lives(ctx, n.Name, r.node.ID)
		if lives == nil {
			return c.revived(ctx, r, got)
		}
		short, cancel := context.WithTimeout(ctx, dieLimit)
		_, err = w.until(short, events.ActionDie)
		cancel()
		if err != nil {
			return target.Effect{}, fmt.Errorf("the engine says that it runs: %w", errors.Join(lives, err))
		}
		from = c.before()
		got, err = c.d.api.ContainerInspect(ctx, r.node.ID)
	}
	switch {
	case err != nil:
		return target.Effect{}, err
	case runs(got): // since, as there is a policy
		return c.revived(ctx, r, got)
	case !got.State.Running:
		return c.Start(ctx, n)
	}
	short, cancel := context.WithTimeout(ctx, reviveWait)
	defer cancel()
	if seen, err := w.until(short, events.ActionStart); err == nil {
		return effect(r.node, from, seen, "start, by the restart policy"), c.sameAddress(ctx, r)
	}
	// The policy's pause is a long one by now.
	if err := c.settle(ctx, r.node.ID); err != nil {
		return target.Effect{}, err
	}
	return c.Start(ctx, n)
}

// runs reports whether a container runs, as far as the engine has heard.
func runs(got container.InspectResponse) bool { return got.State.Running && !got.State.Restarting }

// revived is the effect of a restart policy that has acted.
func (c *cluster) revived(ctx context.Context, r *replica, got container.InspectResponse) (target.Effect, error) {
	since, err := time.Parse(time.RFC3339Nano, got.State.StartedAt)
	if err != nil {
		return target.Effect{}, fmt.Errorf("when it was started: %w", err)
	}
	return target.Effect{
		Node: r.node, From: since, To: since, Source: "engine state",
		Proof: fmt.Sprintf("it runs, started by its restart policy (restarts: %d)", got.RestartCount),
	}, c.sameAddress(ctx, r)
}

// settle stops the restart policy of a container that it is about to start, and waits until the engine says that the
// container does not run.
func (c *cluster) settle(ctx context.Context, id string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout) // else nobody would know whether it will be started
	defer cancel()
	// An error means that it does not run, which is looked for.
	killed := c.d.api.ContainerKill(ctx, id, "SIGKILL")
	for {
		got, err := c.d.api.ContainerInspect(ctx, id)
		if err != nil {
			return err
		}
		if !got.State.Running {
			return nil
		}
		select {
		case <-time.After(pollFirst):
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("stop its restart policy: it is %s", got.State.Status), killed)
		}
	}
}
