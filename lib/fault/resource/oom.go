package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// oomLook is how often the watcher is asked for the end of a node.
	oomLook = 20 * time.Millisecond
	// oomEnd is how long a node may take to end after the helper in it has ended with it.
	oomEnd = 10 * time.Second
	// oomLimit is how long the helper in a node may try, its own limit and that of its end included.
	oomLimit = 40 * time.Second
)

// OOM has the kernel kill a process of each node for want of memory. Undone, the nodes run again, whoever has started them.
type OOM struct{}

var (
	_ fault.Fault = OOM{}
	_ fault.Armer = OOM{}
)

// OOMKind is the verb oom.
func OOMKind() fault.Kind {
	return fault.Kind{
		Summary: "the kernel kills the service's process for memory",
		Needs:   target.CanEnterNode | target.CanCrash,
		Means:   "a helper that uses up the memory of the service's control group, with the service's processes first in the kernel's choice",
		Silent:  true,
		Places:  []target.Place{target.InNode, target.InMachine},
		Check: func(_ fault.Params, s target.Service, _ *target.Spec) error {
			return errors.Join(needsMemoryLimit("oom", s), needsOwnProcesses("oom", s))
		},
		New: func(fault.Params) (fault.Fault, error) { return OOM{}, nil },
	}
}

// squeezer takes the memory, inside the node; it dies with the node. watcher sees the node's end from outside.
func squeezer() fault.Tool { return fault.Tool{Place: target.InNode, Worker: task.OOM} }
func watcher() fault.Tool  { return fault.Tool{Place: target.InMachine, Worker: task.Signal} }

// Arm starts both helpers.
func (OOM) Arm(ctx context.Context, s *fault.Site, nodes []target.Node) error {
	_, err := fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
		return target.Effect{}, errors.Join(
			s.Helpers.Arm(ctx, n, watcher(), s.Name, task.End{ID: n.ID}),
			s.Helpers.Arm(ctx, n, squeezer(), s.Name, nil))
	})
	return err
}

// Inject returns when the kernel has killed in every node: the node is dead, or, where it was not its first
// process, that process is.
func (OOM) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	c, ok := s.Cluster.(target.Crasher)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "oom")
	}
	effects, err := fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) { return kill(ctx, s, n) })
	at := time.Now()
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		healed, err := fault.Each(ctx, nodes, c.Revive)
		for i := range healed {
			upAllAlong(&healed[i], effects, time.Since(at))
		}
		return healed, err
	}, err
}

// upAllAlong mends the end of a fault that has not ended the node: the node was started before the kill, and that is not
// when it healed. It is told now, on the clock of the node's machine, which was at its latest onset so long ago.
func upAllAlong(healed *target.Effect, onsets []target.Effect, ago time.Duration) {
	var latest time.Time
	for _, e := range onsets {
		if e.To.After(latest) {
			latest = e.To
		}
	}
	for _, e := range onsets {
		if e.Node.Name == healed.Node.Name && healed.To.Before(e.From) {
			now := latest.Add(ago)
			healed.From, healed.To, healed.Proof = now, now, "it runs, and never went down: the kernel killed another of its processes than the first"
		}
	}
}

// kill has the kernel kill in one node. Once the helper in it has been told, it waits for what comes of it, whatever becomes
// of ctx: else the node might die after it was brought back.
func kill(ctx context.Context, s *fault.Site, n target.Node) (e target.Effect, err error) {
	if err := context.Cause(ctx); err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), oomLimit, fmt.Errorf("it took over %v", oomLimit))
	defer cancel()
	if _, err := s.Helpers.Put(ctx, n, watcher(), s.Name, task.End{ID: n.ID}); err != nil {
		return e, fmt.Errorf("watch for its end: %w", err)
	}
	defer func() {
		_, dropped := s.Helpers.Drop(ctx, n, watcher(), s.Name)
		err = errors.Join(err, dropped)
	}()
	out, lost := s.Helpers.Put(ctx, n, squeezer(), s.Name, task.Kill{})
	if lost != nil { // its end and the node's are one, if the node's is near
		end, err := died(ctx, s, n, oomEnd)
		if err != nil {
			return e, errors.Join(lost, err)
		}
		s.Helpers.Died(n.Name) // the one in the node: that it ended is what was wanted
		e = effect(n, end)
		e.Asked, e.Delivered = "a kill by the kernel for want of memory", "the node's first process ended when its memory was used up"
		return e, nil
	}
	done, err := s.Helpers.Drop(ctx, n, squeezer(), s.Name)
	if err != nil && len(done.Ended) == 0 {
		return e, err
	}
	var r task.Killed
	if raw, ok := done.Ended[s.Name]; ok {
		if err := json.Unmarshal(raw, &r); err != nil {
			return e, fmt.Errorf("what the helper says is not understood: %w", err)
		}
	}
	e = target.Effect{Node: n, From: out.From, To: out.To, Source: "helper"}
	e.Proof = fmt.Sprintf("the control group's oom_kill rose by %d", r.Kills)
	if len(r.Who) > 0 {
		e.Proof += ": " + strings.Join(r.Who, ", ") + " ended"
	}
	e.Asked = "a kill by the kernel for want of memory"
	e.Delivered = fmt.Sprintf("%d, with %s in use of %s", r.Kills, bytes(r.Used), bytes(r.Limit))
	if len(r.Left) > 0 {
		e.Delivered += "; still first in the kernel's choice: " + strings.Join(r.Left, ", ")
	}
	e.Short = r.Kills == 0
	return e, nil
}

// died waits for the node's end.
func died(ctx context.Context, s *fault.Site, n target.Node, limit time.Duration) (task.Ended, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the node lives %v later", limit))
	defer cancel()
	look := time.NewTicker(oomLook)
	defer look.Stop()
	for {
		raw, err := s.Helpers.Read(ctx, n, watcher(), s.Name)
		if err != nil {
			return task.Ended{}, err
		}
		var r task.Ended
		if err := json.Unmarshal(raw, &r); err != nil {
			return r, fmt.Errorf("what the watcher says is not understood: %w", err)
		}
		if r.Dead {
			return r, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
	}
}

func effect(n target.Node, end task.Ended) target.Effect {
	return target.Effect{
		Node: n, From: end.From, To: end.To, Source: "helper",
		Proof: fmt.Sprintf("process %d of the machine, the node's first, ended", end.PID),
	}
}
