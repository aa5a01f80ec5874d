package process

import (
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// A node's health; "" where there is no healthcheck.
const (
	starting  = "starting"
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

// checked reports whether a service has a healthcheck that can be run.
func checked(s target.Service) bool {
	return s.Healthcheck != nil && !s.Healthcheck.Disable && len(s.Healthcheck.Test) > 1
}

// withDefaults fills in the engine's defaults.
// Source: https://docs.docker.com/reference/dockerfile/#healthcheck
func withDefaults(h target.Healthcheck) target.Healthcheck {
	orElse := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orElse(&h.Interval, 30*time.Second)
	orElse(&h.Timeout, 30*time.Second)
	orElse(&h.StartInterval, 5*time.Second)
	if h.Retries <= 0 {
		h.Retries = 3
	}
	return h
}

// checkHealth runs the healthcheck as an engine does, until the node has ended: first after one
// interval, in the start period by the start interval, where failures do not count.
func (r *replica) checkHealth(ch *child) {
	h := withDefaults(*r.service.Healthcheck)
	begin, failures, now := time.Now(), 0, starting
	for {
		early := now == starting && time.Since(begin) < h.StartPeriod
		wait := h.Interval
		if early {
			wait = min(h.StartInterval, h.Interval)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ch.done:
		case <-r.c.quit:
		}
		timer.Stop()
		if r.gone(ch) {
			return
		}
		if r.status().paused {
			continue // an engine does not look at a frozen container either
		}
		ok, output := r.probe(ch, h)
		if r.gone(ch) {
			return
		}
		next := now
		switch {
		case ok:
			failures, next = 0, healthy
		case early:
		default:
			if failures++; failures >= h.Retries {
				next = unhealthy
			}
		}
		r.mu.Lock()
		r.health = next
		if !ok {
			r.output = output
		}
		r.mu.Unlock()
		if next != now {
			now = next
			r.c.tell(time.Now(), r.name, record.NodeHealth, next)
			r.c.notify()
		}
	}
}

// gone reports whether the life that is checked is over.
func (r *replica) gone(ch *child) bool {
	select {
	case <-r.c.quit:
		return true
	default:
		return ch.isDone()
	}
}

// probe runs the healthcheck once. It returns what the check said when it failed.
func (r *replica) probe(node *child, h target.Healthcheck) (bool, string) {
	args := h.Test[1:]
	cmd := command(r.c.programs[r.service.Name].path, args[1:])
	if h.Test[0] == "CMD-SHELL" {
		cmd = command("/bin/sh", []string{"-c", args[0]})
	}
	cmd.Dir, cmd.Env = r.dir, r.env()
	out := &nodeLog{last: make([]byte, maxTail)}
	check, err := r.c.spawn(cmd, out, nil, nil)
	if err != nil {
		return false, err.Error()
	}
	timer := time.NewTimer(h.Timeout)
	defer timer.Stop()
	late := false
	select {
	case <-check.done:
	case <-timer.C:
		late = true
	case <-node.done:
	case <-r.c.quit:
	}
	_ = r.c.kill(check) // whether it worked, done tells
	<-check.done
	switch {
	case late:
		return false, "no answer within " + h.Timeout.String()
	case check.state.ExitCode() != 0:
		return false, ended(check.state) + " " + out.end()
	}
	return true, ""
}
