package process

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// A node's ports are looked for at once after its start, and then ever more seldom: it may open more.
	portsFirst = 5 * time.Millisecond
	portsLast  = 2 * time.Second
	// portsWithin bounds how long a node may take to listen on the first one.
	portsWithin = 60 * time.Second
)

// watchPorts tells a node's front on which ports it listens, as long as it lives.
func (r *replica) watchPorts(ch *child) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began, wait := time.Now(), portsFirst
	var known []string
	for {
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
		ports, silent, err := r.listening(ctx, known)
		if err == nil && !slices.Equal(ports, known) {
			r.mu.Lock()
			if r.child == ch && !r.over {
				err = r.front.serves(ports)
			}
			r.mu.Unlock()
			if err == nil {
				known, wait = ports, portsFirst
			}
		}
		if err == nil && len(ports) == 0 && time.Since(began) > portsWithin {
			err = fmt.Errorf("it listens on no port of %s after %v, so that no proxy can stand in front of it", r.hidden, portsWithin)
			if silent != nil {
				err = fmt.Errorf("%w: %w", err, silent)
			}
		}
		r.mu.Lock()
		r.fronted, r.frontErr = len(ports) > 0 && r.hasExposed(ports), err
		r.mu.Unlock()
		r.c.notify()
		wait = min(wait*5/4+time.Millisecond, portsLast)
	}
}

// listening returns the ports on which the node listens, sorted. Where nodes share an address, each has one port, which
// is tried until it answers; until then, silent says why it did not.
func (r *replica) listening(ctx context.Context, known []string) (ports []string, silent, err error) {
	_, port, err := net.SplitHostPort(r.hidden)
	if err != nil {
		ports, err = listeningOn(r.hidden)
		return ports, nil, err
	}
	if len(known) > 0 {
		return known, nil, nil
	}
	c, silent := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp4", r.hidden)
	if silent != nil {
		return nil, silent, nil
	}
	return []string{port}, nil, c.Close()
}

// hasExposed reports whether the ports that the service exposes are among those that are found. Where each node has one
// port, it is another one.
func (r *replica) hasExposed(found []string) bool {
	if r.c.driver.shared {
		return true
	}
	for _, e := range r.service.Expose {
		port, proto, _ := strings.Cut(e, "/")
		if (proto == "" || proto == "tcp") && !strings.Contains(port, "-") && !slices.Contains(found, port) {
			return false
		}
	}
	return true
}
