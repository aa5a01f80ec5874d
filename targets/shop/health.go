package shop

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Background work.
const (
	probeEvery   = 500 * time.Millisecond
	probeLimit   = 400 * time.Millisecond
	probeFails   = 2 // in a row, of a dependency that is gone
	refreshEvery = 5 * time.Second
	stuckAfter   = 5 * time.Second
)

// A probe asks a dependency again and again whether it is there.
type probe struct {
	name   string
	needed bool
	ping   func(context.Context) error

	mu    sync.Mutex
	fails int
	err   error // the last one; nil when it answered
}

// run asks until ctx ends, and beats each time.
func (p *probe) run(ctx context.Context, log *slog.Logger, beat func()) {
	for {
		within, cancel := context.WithTimeout(ctx, probeLimit)
		err := p.ping(within)
		cancel()
		if ctx.Err() != nil {
			return
		}
		beat()
		p.note(err, log)
		if pause(ctx, probeEvery) != nil {
			return
		}
	}
}

func (p *probe) note(err error, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if p.fails >= probeFails {
			log.Info("dependency is back", "dependency", p.name)
		}
		p.fails, p.err = 0, nil
		return
	}
	p.fails, p.err = p.fails+1, err
	if p.fails == probeFails {
		log.Warn("dependency is gone", "dependency", p.name, "error", err)
	}
}

// gone returns why the dependency is gone; "" while it is there.
func (p *probe) gone() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails < probeFails {
		return ""
	}
	return p.name + ": " + p.err.Error()
}

// begin starts what runs beside the requests until ctx ends.
func (n *Node) begin(ctx context.Context, work *sync.WaitGroup) {
	beat := func() { n.beat.Store(time.Now().UnixNano()) }
	beat()
	add := func(name string, ping func(context.Context) error) {
		p := &probe{name: name, needed: slices.Contains(n.Needs, name), ping: ping}
		n.probes = append(n.probes, p)
	}
	add("database", n.Database.Ping)
	if n.Redis != nil {
		add("redis", n.Redis.Ping)
	}
	for _, p := range n.probes {
		work.Go(func() { p.run(ctx, n.Log, beat) })
	}
	work.Go(func() { n.keepCatalogue(ctx) })
}

// keepCatalogue loads the catalogue, and again from time to time. What cannot be loaded stays as it was.
func (n *Node) keepCatalogue(ctx context.Context) {
	for {
		wait := refreshEvery
		if err := n.loadCatalogue(ctx); err != nil && ctx.Err() == nil {
			n.Log.Warn("the catalogue cannot be loaded", "error", err)
			wait = probeEvery
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

func (n *Node) loadCatalogue(ctx context.Context) error {
	if n.catalogue.Load() == nil {
		within, cancel := context.WithTimeout(ctx, 5*time.Second) // another node may be making the schema
		defer cancel()
		if err := n.Database.Prepare(within); err != nil {
			return err
		}
	}
	products, err := n.Database.Products(ctx)
	if err != nil {
		return err
	}
	c, err := newCatalogue(products)
	if err != nil {
		return err
	}
	n.catalogue.Store(c)
	return nil
}

// unready says why the node should get no requests: it leaves, it has nothing to show, or what it needs is gone.
func (n *Node) unready() []string {
	var why []string
	if n.draining.Load() {
		why = append(why, "it leaves")
	}
	if n.catalogue.Load() == nil {
		why = append(why, "there is no catalogue yet")
	}
	for _, p := range n.probes {
		if gone := p.gone(); p.needed && gone != "" {
			why = append(why, gone)
		}
	}
	return why
}

// degraded says which dependencies are gone that the node can do without.
func (n *Node) degraded() []string {
	var what []string
	for _, p := range n.probes {
		if gone := p.gone(); !p.needed && gone != "" {
			what = append(what, gone)
		}
	}
	return what
}

// stuck reports whether the background work has stopped, which only a restart mends.
func (n *Node) stuck() bool {
	return time.Since(time.Unix(0, n.beat.Load())) > stuckAfter
}
