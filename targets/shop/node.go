package shop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// HeaderNode is the header of every answer that says which node gave it.
const HeaderNode = "X-Node"

// A Registrar makes the node known while it serves: it registers it, holds that until ctx ends, and withdraws it then. It returns
// when that is done.
type Registrar func(ctx context.Context)

// A Node is one node of the shop.
type Node struct {
	Name   string // what it calls itself in [HeaderNode]
	Listen string // address to listen on

	Database      *Database
	Redis         *Redis // nil if nothing needs it
	Sessions      Sessions
	Cache         bool // products come by way of Redis
	CacheRequired bool // and not at all while it is gone, instead of from the database

	// Needs names the dependencies ("database", "redis") without which the node says that it is not ready. One that all nodes share takes all
	// of them out together.
	Needs []string
	Delay time.Duration // pause before each answer, health checks left out

	Register Registrar     // nil is none
	LameDuck time.Duration // how long it still serves after it was asked to stop, /readyz saying no
	Drain    time.Duration // limit on everything between being asked to stop and the end

	Log *slog.Logger

	draining  atomic.Bool
	catalogue atomic.Pointer[catalogue]
	probes    []*probe
	beat      atomic.Int64 // when the background work was last seen alive, in Unix nanoseconds
}

// Run listens and serves until ctx ends, then withdraws, drains and closes its dependencies. It returns nil after an orderly end. A Node runs
// once.
func (n *Node) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", n.Listen)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	// What runs beside the requests outlives ctx, since requests do.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	n.begin(beside, &work)
	var registered sync.WaitGroup
	if n.Register != nil {
		registered.Go(func() {
			if n.untilReady(ctx) {
				n.Register(ctx)
			}
		})
	}
	srv := &http.Server{
		Handler: n.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(n.Log.Handler(), slog.LevelWarn),
	}
	n.Log.Info("node serves", "node", n.Name, "address", l.Addr().String())
	err = n.serve(ctx, srv, l, &registered)
	stop()
	work.Wait()
	n.Database.Close()
	if n.Redis != nil {
		err = errors.Join(err, n.Redis.Close())
	}
	n.Log.Info("node ends", "node", n.Name, "error", err)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

func (n *Node) serve(ctx context.Context, srv *http.Server, l net.Listener, registered *sync.WaitGroup) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.Drain)
	defer cancel()
	n.draining.Store(true)
	n.Log.Info("node leaves", "node", n.Name)
	_ = pause(end, n.LameDuck) // cut short by Drain, which Shutdown then says
	registered.Wait()          // it has a limit of its own
	err := srv.Shutdown(end)
	if err != nil {
		err = fmt.Errorf("requests were left after %v of draining: %w", n.Drain, errors.Join(err, srv.Close()))
	}
	if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// untilReady waits until the node is ready for the first time, and reports whether it came to that before ctx ended.
func (n *Node) untilReady(ctx context.Context) bool {
	for len(n.unready()) > 0 {
		if pause(ctx, 50*time.Millisecond) != nil {
			return false
		}
	}
	return true
}

// pause waits, and returns early with an error when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
