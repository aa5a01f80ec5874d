package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	cpuPeriod = 100 * time.Millisecond // the kernel's own
	leastCPU  = 0.01                   // cores; engines refuse less
	noQuota   = -1                     // 0 would leave the one that is there
)

// Limit lets a node have so many cores, until it is made anew. A container with a limit of its own has NanoCPUs, which
// excludes a quota and can be changed; one without gets a quota, since the engine takes no NanoCPUs away again.
func (c *cluster) Limit(ctx context.Context, n target.Node, cores float64) (target.Effect, error) {
	e, err := c.limit(ctx, n, cores)
	if err != nil {
		return target.Effect{}, fmt.Errorf("limit the CPU of %s to %v cores: %w", n.Name, cores, err)
	}
	return e, nil
}

func (c *cluster) limit(ctx context.Context, n target.Node, cores float64) (target.Effect, error) {
	info, err := c.d.info(ctx)
	if err != nil {
		return target.Effect{}, err
	}
	if cores != 0 && (cores < leastCPU || cores > float64(info.NCPU)) {
		return target.Effect{}, fmt.Errorf("the engine takes %v to %d", leastCPU, info.NCPU)
	}
	r, err := c.find(n)
	if err != nil {
		return target.Effect{}, err
	}
	var want container.Resources
	switch own := r.service.CPUs; {
	case own > 0 && cores == 0:
		want.NanoCPUs = nano(own)
	case own > 0:
		want.NanoCPUs = nano(cores)
	case cores == 0:
		want.CPUQuota = noQuota
	default:
		want.CPUPeriod = cpuPeriod.Microseconds()
		want.CPUQuota = int64(math.Round(cores * float64(want.CPUPeriod)))
	}
	from := c.before()
	r, seen, err := c.act(ctx, n, events.ActionUpdate, actTimeout, func(ctx context.Context, id string) error {
		got, err := c.d.api.ContainerUpdate(ctx, id, container.UpdateConfig{Resources: want})
		if err == nil {
			c.warn(got.Warnings)
		}
		return err
	})
	if err != nil {
		return target.Effect{}, err
	}
	got, err := c.d.api.ContainerInspect(ctx, r.node.ID)
	if err != nil {
		return target.Effect{}, fmt.Errorf("see whether it worked: %w", err)
	}
	has := got.HostConfig.Resources
	if has.NanoCPUs != want.NanoCPUs || has.CPUQuota != want.CPUQuota {
		return target.Effect{}, fmt.Errorf("the engine reported it, but the container has %d billionths of a core and a quota of %d µs", has.NanoCPUs, has.CPUQuota)
	}
	return effect(r.node, from, seen, "update, then "+limitText(has)), nil
}

func nano(cores float64) int64 { return int64(math.Round(cores * 1e9)) }

func limitText(r container.Resources) string {
	switch {
	case r.NanoCPUs > 0:
		return fmt.Sprintf("a limit of %v cores", float64(r.NanoCPUs)/1e9)
	case r.CPUQuota > 0:
		return fmt.Sprintf("a quota of %d µs in %d", r.CPUQuota, r.CPUPeriod)
	}
	return "no quota"
}

// Throttled says what the node's control group has counted since its container was started.
func (c *cluster) Throttled(ctx context.Context, n target.Node) (target.Throttling, error) {
	t, err := c.throttled(ctx, n)
	if err != nil {
		return target.Throttling{}, fmt.Errorf("read the CPU statistics of %s: %w", n.Name, err)
	}
	return t, nil
}

func (c *cluster) throttled(ctx context.Context, n target.Node) (target.Throttling, error) {
	r, err := c.find(n)
	if err != nil {
		return target.Throttling{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	res, err := c.d.api.ContainerStatsOneShot(ctx, r.node.ID)
	if err != nil {
		return target.Throttling{}, err
	}
	defer res.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return target.Throttling{}, err
	}
	if s.CPUStats.CPUUsage.TotalUsage == 0 {
		return target.Throttling{}, errors.New("the engine has none: it does not run")
	}
	d := s.CPUStats.ThrottlingData
	return target.Throttling{
		Periods: d.Periods, Throttled: d.ThrottledPeriods,
		Time: time.Duration(d.ThrottledTime), Used: time.Duration(s.CPUStats.CPUUsage.TotalUsage),
	}, nil
}
