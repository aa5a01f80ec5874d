package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	agentMemory = 1 << 30
	agentPids   = 4096
)

// Attach starts our own binary in a container on the target's networks. ctx bounds
// the start only: the process ends by itself, when its Stdin is closed, by Kill, or in Down. If
// the harness dies, the engine closes its standard input.
func (c *cluster) Attach(ctx context.Context, args ...string) (*target.Process, error) {
	p, err := c.attach(ctx, args)
	if err != nil {
		return nil, fmt.Errorf("attach a process to the target: %w", err)
	}
	return p, nil
}

func (c *cluster) attach(ctx context.Context, args []string) (*target.Process, error) {
	place, err := c.takePlace()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("tutti-agent-%d", place+1) // no service's, most likely
	return c.launch(ctx, launch{
		name:   name,
		config: ownConfig(args, c.labels("agent")),
		host:   ownHost(agentMemory, agentPids),
		ends:   c.agentEndpoints(place, name),
		over:   func() { c.givePlace(place) },
	})
}

// launch starts our own binary in a container of the trial. Down waits for its end.
func (c *cluster) launch(ctx context.Context, l launch) (*target.Process, error) {
	release := l.over
	end, err := c.begin()
	if err != nil {
		release()
		return nil, err
	}
	l.over = func() { release(); end() }
	l.create = c.create
	l.what, l.name = l.name, c.project+"-"+l.name
	return c.d.launch(ctx, l, c.spec.Progress)
}

// begin announces a process that Down has to wait for. The caller calls end once it is over.
func (c *cluster) begin() (end func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.downing {
		return nil, errDown
	}
	c.running.Add(1)
	return c.running.Done, nil
}

// errDown is what is said of everything that is asked of a target after Down.
var errDown = errors.New("the target has been taken down")

// takePlace reserves one of the addresses for attached processes.
func (c *cluster) takePlace() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.downing {
		return 0, errDown
	}
	if n := len(c.free); n > 0 {
		place := c.free[n-1]
		c.free = c.free[:n-1]
		return place, nil
	}
	limit := agentAddresses
	for _, s := range c.nets {
		limit = min(limit, len(s.agents))
	}
	if c.agents >= limit {
		return 0, fmt.Errorf("%d processes are attached already, and there is no address for more", limit)
	}
	c.agents++
	return c.agents - 1, nil
}

func (c *cluster) givePlace(place int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, place)
}

func (c *cluster) agentEndpoints(place int, name string) []endpoint {
	var ends []endpoint
	// The one that clients come in by first: it gets the default route.
	for _, first := range []bool{true, false} {
		for _, n := range sortedKeys(c.nets) {
			if s := c.nets[n]; c.ingressOn(n) == first {
				ends = append(ends, endpoint{net: s, address: s.agents[place].String(), aliases: []string{name}})
			}
		}
	}
	return ends
}
