package docker

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"

	"github.com/tutti-bench/tutti/lib/target"
)

// testPoll is how often a healthcheck that we run ourselves is asked whether it has ended, and
// testLimit how long it may take where the file does not say: the engine's own default.
const testPoll, testLimit = 20 * time.Millisecond, 30 * time.Second

// early stands in for healthcheck.start_interval on engines that do not have it: while such an
// engine still waits for its first interval to pass, the test is run by us, and once it succeeds the replica counts as
// healthy. The engine's own word follows, and counts from then on.
func (c *cluster) early(ctx context.Context, r *replica, s *container.State) bool {
	h := r.service.Healthcheck
	if h == nil || h.StartInterval <= 0 || len(h.Test) < 2 || !versions.LessThan(c.d.api.ClientVersion(), apiStartInterval) {
		return false
	}
	if !s.Running || s.Restarting || s.Paused || s.Health == nil || s.Health.Status != container.Starting {
		return false
	}
	c.mu.Lock()
	known := c.tested[r.node.ID]
	c.mu.Unlock()
	if known {
		return true
	}
	if !c.test(ctx, r.node.ID, h) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tested[r.node.ID] = true
	return true
}

// test runs a healthcheck once inside its container, and reports whether it succeeded. An error is a test that
// failed: the next one, or the engine's, may not.
func (c *cluster) test(ctx context.Context, id string, h *target.Healthcheck) bool {
	command := h.Test[1:]
	if h.Test[0] == "CMD-SHELL" {
		command = []string{"/bin/sh", "-c", h.Test[1]}
	}
	limit := h.Timeout
	if limit <= 0 {
		limit = testLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	made, err := c.d.api.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command})
	if err != nil {
		return false
	}
	if err := c.d.api.ContainerExecStart(ctx, made.ID, container.ExecStartOptions{Detach: true}); err != nil {
		return false
	}
	for {
		got, err := c.d.api.ContainerExecInspect(ctx, made.ID)
		if err != nil {
			return false
		}
		if !got.Running {
			return got.ExitCode == 0
		}
		select {
		case <-time.After(testPoll):
		case <-ctx.Done():
			return false
		}
	}
}
