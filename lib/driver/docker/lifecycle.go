package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/tutti-bench/tutti/lib/target"
)

// actTimeout is how long an engine may take to do one thing to one node, its grace apart.
const actTimeout = 30 * time.Second

// source is where our effects' instants are from: the engine's own record of what it did,
// since an API call returns long after (a stop waits for the grace period) or before.
const source = "engine event"

// Nodes lists the replicas that should be there now.
func (c *cluster) Nodes() []target.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := make([]target.Node, 0, len(c.replicas))
	for _, r := range c.replicas {
		nodes = append(nodes, r.node)
	}
	slices.SortFunc(nodes, func(a, b target.Node) int {
		if a.Service != b.Service {
			return strings.Compare(a.Service, b.Service)
		}
		return a.Replica - b.Replica
	})
	return nodes
}

// find returns a node as it is now, or why it cannot be acted on.
func (c *cluster) find(n target.Node) (*replica, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.downing {
		return nil, errDown
	}
	r, ok := c.replicas[n.Name]
	if !ok {
		return nil, errors.New("there is no such node; it may have been scaled away")
	}
	return r, nil
}

// act does one thing to a node and waits for the event that shows it. What has begun outlives ctx, within its limit: else
// it might happen yet, and whoever undoes it would find a state that is about to change.
func (c *cluster) act(ctx context.Context, n target.Node, shows events.Action, limit time.Duration,
	do func(ctx context.Context, id string) error,
) (r *replica, seen []events.Message, err error) {
	if r, err = c.find(n); err != nil {
		return nil, nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, nil, err
	}
	begun, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	w, err := c.events.wait(r.node.ID)
	if err != nil {
		return nil, nil, err
	}
	defer w.close()
	if err := do(begun, r.node.ID); err != nil {
		return nil, nil, err
	}
	seen, err = w.until(begun, shows)
	return r, seen, err
}

// Kill ends a node with SIGKILL and returns after the engine's event "die". The engine takes it for the user's wish,
// so that no restart policy acts.
func (c *cluster) Kill(ctx context.Context, n target.Node) (target.Effect, error) {
	e, waited, err := c.killWaiting(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("kill %s: %w", n.Name, err)
	}
	if waited {
		return e, nil
	}
	r, seen, err := c.act(ctx, n, events.ActionDie, actTimeout, func(ctx context.Context, id string) error {
		return c.d.api.ContainerKill(ctx, id, "SIGKILL")
	})
	if err != nil {
		return target.Effect{}, fmt.Errorf("kill %s: %w", n.Name, err)
	}
	return ended(r.node, seen), nil
}

// killWaiting kills a node that waits for its restart policy: it has no process, and so there will be no event.
func (c *cluster) killWaiting(ctx context.Context, n target.Node) (e target.Effect, waited bool, err error) {
	r, err := c.find(n)
	if err != nil || !restarts(r.service) {
		return e, false, err
	}
	from := c.before()
	got, err := c.d.api.ContainerInspect(ctx, r.node.ID)
	if err != nil || !got.State.Restarting {
		return e, false, err
	}
	if err := c.settle(ctx, r.node.ID); err != nil {
		return e, false, err
	}
	return target.Effect{
		Node: r.node, From: from, To: c.before(), Source: "engine state",
		Proof: fmt.Sprintf("it had ended with exit code %d, and its restart policy has been stopped", got.State.ExitCode),
	}, true, nil
}

// Stop sends the stop signal and, after grace (whole seconds, rounded up), SIGKILL. When ctx is done grace is over. A node
// that waits for its restart policy has no process to send it to, and waits no more.
func (c *cluster) Stop(ctx context.Context, n target.Node, grace time.Duration) (target.Effect, error) {
	r, err := c.find(n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("stop %s: %w", n.Name, err)
	}
	if e, waited, err := c.killWaiting(ctx, n); waited || err != nil {
		if err != nil {
			err = fmt.Errorf("stop %s: %w", n.Name, err)
		}
		return e, err
	}
	if grace < 0 {
		grace = r.service.StopGrace
	}
	r, seen, err := c.act(ctx, n, events.ActionDie, grace+actTimeout, func(begun context.Context, id string) error {
		if err := c.mustRun(begun, id); err != nil {
			return err // the engine calls stopping a stopped container a success
		}
		killed := make(chan struct{})
		enough := context.AfterFunc(ctx, func() {
			defer close(killed)
			_ = c.d.api.ContainerKill(begun, id, "SIGKILL") // an error means that it has ended
		})
		err := c.d.api.ContainerStop(begun, id, container.StopOptions{Timeout: ptr(seconds(grace))})
		if !enough() {
			<-killed // so that it cannot hit what is started next
		}
		return err
	})
	if err != nil {
		return target.Effect{}, fmt.Errorf("stop %s: %w", n.Name, err)
	}
	return ended(r.node, seen), nil
}

func (c *cluster) mustRun(ctx context.Context, id string) error {
	got, err := c.d.api.ContainerInspect(ctx, id)
	if err != nil {
		return err
	}
	if !got.State.Running {
		return fmt.Errorf("it does not run: it is %s, exit code %d", got.State.Status, got.State.ExitCode)
	}
	return nil
}

// ended makes the effect of a node's end from the events up to "die".
func ended(n target.Node, seen []events.Message) target.Effect {
	die := seen[len(seen)-1]
	e := target.Effect{Node: n, From: at(die), To: at(die), Source: source}
	var proof []string
	for _, m := range seen {
		if m.Action != events.ActionKill {
			continue
		}
		// The engine stamps "kill" after it has sent the signal, at times after "die".
		if at(m).Before(e.From) {
			e.From = at(m)
		}
		proof = append(proof, "signal "+m.Actor.Attributes["signal"])
	}
	proof = append(proof, "die, exit code "+die.Actor.Attributes["exitCode"])
	e.Proof = strings.Join(proof, ", then ")
	return e
}

// Start starts a node that was killed or stopped and returns after the engine's event
// "start". It has its old address: every address is fixed when the container is created.
func (c *cluster) Start(ctx context.Context, n target.Node) (target.Effect, error) {
	from := c.before()
	r, seen, err := c.act(ctx, n, events.ActionStart, actTimeout, func(ctx context.Context, id string) error {
		got, err := c.d.api.ContainerInspect(ctx, id)
		if err != nil {
			return err
		}
		if got.State.Running {
			return errors.New("it runs already")
		}
		return c.d.api.ContainerStart(ctx, id, container.StartOptions{})
	})
	if err != nil {
		return target.Effect{}, fmt.Errorf("start %s: %w", n.Name, err)
	}
	if err := c.sameAddress(ctx, r); err != nil {
		return target.Effect{}, fmt.Errorf("start %s: %w", n.Name, err)
	}
	return effect(r.node, from, seen, "start"), nil
}

// sameAddress checks that a node is where it was.
func (c *cluster) sameAddress(ctx context.Context, r *replica) error {
	if r.node.Address == "" {
		return nil
	}
	got, err := c.d.api.ContainerInspect(ctx, r.node.ID)
	if err != nil {
		return err
	}
	if !got.State.Running {
		return nil // it has ended again, and so has no address
	}
	for _, e := range got.NetworkSettings.Networks {
		if e.IPAddress == r.node.Address {
			return nil
		}
	}
	return fmt.Errorf("it does not have its old address %s", r.node.Address)
}

// effect makes an effect that lies between our call and its event.
func effect(n target.Node, from time.Time, seen []events.Message, proof string) target.Effect {
	to := at(seen[len(seen)-1])
	if from.After(to) {
		from = to
	}
	return target.Effect{Node: n, From: from, To: to, Source: source, Proof: proof}
}

// Scale adds or removes replicas.
func (c *cluster) Scale(ctx context.Context, service string, n int) ([]target.Effect, error) {
	s, ok := c.spec.Target.Services[service]
	if !ok {
		return nil, fmt.Errorf("scale %s: there is no such service", service)
	}
	if limit := most(c.spec, service); n < 0 || n > limit {
		return nil, fmt.Errorf("scale %s to %d: addresses are planned for 0 to %d replicas", service, n, limit)
	}
	have := c.of(service)
	if n >= len(have) {
		return c.grow(ctx, s, len(have)+1, n)
	}
	return c.shrink(ctx, have[n:])
}

// grow adds the replicas first to last.
func (c *cluster) grow(ctx context.Context, s target.Service, first, last int) ([]target.Effect, error) {
	effects := make([]target.Effect, max(0, last-first+1))
	all, ctx := errgroup.WithContext(ctx)
	for n := first; n <= last; n++ {
		all.Go(func() error {
			r, err := c.createReplica(ctx, s, n)
			if err != nil {
				return err
			}
			effects[n-first], err = c.Start(ctx, r.node)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return done(effects), fmt.Errorf("scale %s to %d: %w", s.Name, last, err)
	}
	return effects, nil
}

// shrink stops and removes replicas; the highest number is the first in the result.
func (c *cluster) shrink(ctx context.Context, away []*replica) ([]target.Effect, error) {
	effects := make([]target.Effect, len(away))
	var all errgroup.Group
	for i, r := range away {
		all.Go(func() error {
			e, err := c.Stop(ctx, r.node, -1)
			if err != nil {
				// One that a fault has killed before is only removed.
				if running := c.mustRun(ctx, r.node.ID); running == nil || ctx.Err() != nil {
					return err
				}
				now := c.before()
				e = target.Effect{Node: r.node, From: now, To: now, Source: "engine state", Proof: "it did not run before"}
			}
			if err := c.d.removeThing(ctx, thing{kind: "container", id: r.node.ID, name: r.node.Name}); err != nil {
				return err
			}
			c.mu.Lock()
			delete(c.replicas, r.node.Name)
			c.mu.Unlock()
			effects[len(away)-1-i] = e
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return done(effects), fmt.Errorf("scale %s down: %w", away[0].node.Service, err)
	}
	return effects, nil
}

// done keeps the effects that happened.
func done(effects []target.Effect) []target.Effect {
	return slices.DeleteFunc(effects, func(e target.Effect) bool { return e.To.IsZero() })
}

// Down removes the trial's containers, networks and volumes, attached processes included.
func (c *cluster) Down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	c.mu.Lock()
	c.downing = true
	c.mu.Unlock()
	c.downMu.Lock()
	defer c.downMu.Unlock()
	if c.gone {
		return nil
	}
	c.endHelpers(ctx)
	if c.logs != nil {
		c.endNodes(ctx) // so that their logs end
		c.logs.close()
	}
	err := c.d.removeAll(ctx, c.filter(""))
	if c.events != nil {
		c.events.stop()
	}
	if err != nil {
		return fmt.Errorf("take the target down: %w", err)
	}
	c.running.Wait() // attached processes end with their containers
	c.gone = true
	return nil
}

// endHelpers ends the driver's own helpers. An error means that one has ended in another way.
func (c *cluster) endHelpers(ctx context.Context) {
	select {
	case <-c.crashTurn:
		if c.crasher != nil {
			_ = c.crasher.Close()
			c.crasher = nil
		}
		c.crashTurn <- struct{}{}
	case <-ctx.Done(): // a crash is under way: its helper goes with its container
	}
	if c.keeper != nil {
		_ = c.keeper.Close()
		c.keeper = nil
	}
}

// endNodes kills every node. That one does not run, or is gone, is what we want.
func (c *cluster) endNodes(ctx context.Context) {
	if c.spec.LogDir == "" {
		return // removing kills them too
	}
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, n := range c.Nodes() {
		all.Go(func() error { return c.d.api.ContainerKill(ctx, n.ID, "SIGKILL") })
	}
	_ = all.Wait()
}
