package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// changeWithin bounds how long the connections of a node may take to get another toxic: one whose other side takes
	// nothing cannot.
	changeWithin = 5 * time.Second
	// refuseWithin bounds the question whether a port refuses.
	refuseWithin = time.Second
	proxySource  = "proxy"
)

// Proxy makes the toxics of one fault act on what comes to a node and on what it answers. A node that has died meanwhile, or
// has come back, is no matter: they stay in force until none are asked for.
//
// latency and bandwidth act on bytes, in one direction each; all connections to a node share a bandwidth. down refuses new
// connections and closes those that there are; reset_peer refuses new ones and resets those that there are. What was
// delivered is told when they end: how long pieces were on their way through the proxy, all faults together.
func (c *cluster) Proxy(ctx context.Context, n target.Node, fault string, asked []target.Toxic) (target.Effect, error) {
	r, release, err := c.hold(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("proxy %s: %w", n.Name, err)
	}
	defer release()
	if r.front == nil {
		return target.Effect{}, fmt.Errorf("proxy %s: no proxy stands in front of it: the trial was not started with one", n.Name)
	}
	e := target.Effect{Node: r.node(), Source: proxySource}
	if len(asked) == 0 {
		err = r.front.restore(ctx, fault, &e)
	} else {
		if ch := r.status().child; ch == nil || ch.isDone() {
			return target.Effect{}, fmt.Errorf("proxy %s: it does not run", n.Name)
		}
		err = r.front.tamper(ctx, fault, asked, &e)
	}
	if err != nil {
		return target.Effect{}, fmt.Errorf("proxy %s: %w", n.Name, err)
	}
	return e, nil
}

// tamper puts a fault in force, in place of what it did before.
func (f *front) tamper(ctx context.Context, name string, asked []target.Toxic, e *target.Effect) error {
	t, err := newTampering(name, asked)
	if err != nil {
		return err
	}
	e.From = time.Now()
	if err := sleep(ctx, t.cutAfter); err != nil {
		return err
	}
	f.mu.Lock()
	old := f.faults[name]
	t.began = time.Now()
	if old != nil {
		t.goOn(old)
	}
	f.faults[name] = t
	err = f.settle()
	now := slices.Collect(maps.Keys(f.passages))
	if t.refuses {
		for _, p := range now {
			if !p.isGone() {
				t.cut++
				t.end(p)
			}
		}
	}
	f.mu.Unlock()
	err = errors.Join(err, f.change(ctx, now, func(p *passage) {
		if old != nil {
			p.remove(old)
		}
		for _, x := range t.toxics {
			p.links[x.direction].add(x.key, x.wrap())
		}
	}))
	if err == nil && t.refuses {
		err = f.refuses(ctx)
	}
	if err != nil {
		var ignored target.Effect
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeWithin)
		defer cancel()
		return errors.Join(err, f.restore(undo, name, &ignored))
	}
	e.To = time.Now()
	e.Proof = fmt.Sprintf("%s, in front of port %s, on %d connections and all that come", strings.Join(t.names, ", "), f.portsNow(), len(now))
	if t.refuses {
		e.Proof = fmt.Sprintf("%s: port %s refuses, %d connections %s", strings.Join(t.names, ", "), f.portsNow(), t.cut, t.word)
	}
	return nil
}

// restore ends a fault, and says what it has delivered.
func (f *front) restore(ctx context.Context, name string, e *target.Effect) error {
	e.From = time.Now()
	f.mu.Lock()
	t := f.faults[name]
	delete(f.faults, name)
	err := f.settle()
	now := slices.Collect(maps.Keys(f.passages))
	f.mu.Unlock()
	if t == nil {
		e.To, e.Proof = time.Now(), "it was over before"
		return err
	}
	held := time.Since(t.began)
	err = errors.Join(err, f.change(ctx, now, func(p *passage) { p.remove(t) }))
	e.To, e.Proof = time.Now(), "ended"
	f.mu.Lock() // pieces may still be on their way to the count
	defer f.mu.Unlock()
	var wanted, got []string
	for _, prove := range t.proofs {
		asked, delivered, short := prove(t, held)
		wanted, got, e.Short = append(wanted, asked), append(got, delivered), e.Short || short
	}
	e.Asked, e.Delivered = strings.Join(wanted, "; "), strings.Join(got, "; ")
	return err
}

// change does something to passages, all at once. One that cannot now will when it can.
func (f *front) change(ctx context.Context, all []*passage, do func(*passage)) error {
	done := make(chan struct{})
	var changing sync.WaitGroup
	for _, p := range all {
		f.running.Add(1)
		changing.Go(func() {
			defer f.running.Done()
			do(p)
		})
	}
	f.running.Go(func() {
		changing.Wait()
		close(done)
	})
	wait, cancel := context.WithTimeoutCause(ctx, changeWithin, fmt.Errorf("a connection has taken nothing for %v", changeWithin))
	defer cancel()
	select {
	case <-done:
		return nil
	case <-wait.Done():
		return fmt.Errorf("change what connections go through: %w", context.Cause(wait))
	}
}

func (p *passage) remove(t *tampering) {
	for _, x := range t.toxics {
		p.links[x.direction].remove(x.key)
	}
}

// refuses asks every port whether it refuses.
func (f *front) refuses(ctx context.Context) error {
	f.mu.Lock()
	ports := slices.Sorted(maps.Keys(f.ports))
	f.mu.Unlock()
	for _, port := range ports {
		c, err := (&net.Dialer{Timeout: refuseWithin}).DialContext(ctx, "tcp4", withPort(f.public, port))
		if err == nil {
			return errors.Join(fmt.Errorf("port %s does not refuse", port), c.Close())
		}
	}
	return ctx.Err()
}

// portsNow lists the ports on which the node listens.
func (f *front) portsNow() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(f.ports)), ", ")
}

// sleep waits, or says why it cannot.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
