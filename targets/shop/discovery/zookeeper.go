package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-zookeeper/zk"
)

// zookeeperPath is where the nodes are.
const zookeeperPath = "/shop"

// zookeeper registers nodes as ephemeral entries, which end with the session that made them.
type zookeeper struct{ hosts []string }

// silent keeps the client's log away: what matters comes back as an error.
type silent struct{}

func (silent) Printf(string, ...any) {}

// connect begins a session. The client's calls take no context; they end with the connection, which ends with ctx.
func (z *zookeeper) connect(ctx context.Context) (c *zk.Conn, events <-chan zk.Event, done func(), err error) {
	dial := func(network, address string, limit time.Duration) (net.Conn, error) {
		return (&net.Dialer{Timeout: min(limit, dialLimit)}).DialContext(ctx, network, address)
	}
	hosts, err := resolve(ctx, z.hosts)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("zookeeper: %w", err)
	}
	c, events, err = zk.Connect(hosts, life, zk.WithDialer(dial), zk.WithLogger(silent{}), zk.WithLogInfo(false))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("zookeeper: %w", err)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		c.Close()
	})
	return c, events, func() {
		if stop() {
			c.Close()
		} else {
			<-ended
		}
	}, nil
}

// resolve returns the addresses of those hosts that have one. The client would
// give up if one is unknown, as that of a dead member may be.
func resolve(ctx context.Context, hosts []string) (found []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	for _, h := range hosts {
		host, port, e := net.SplitHostPort(h)
		if e != nil {
			return nil, e
		}
		addresses, e := net.DefaultResolver.LookupHost(ctx, host)
		if e != nil {
			err = e
			continue
		}
		for _, a := range addresses {
			found = append(found, net.JoinHostPort(a, port))
		}
	}
	if len(found) > 0 {
		err = nil
	}
	return found, err
}

// first waits until there is a session.
func first(ctx context.Context, events <-chan zk.Event) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("zookeeper: no session: %w", ctx.Err())
		case e, ok := <-events:
			if !ok {
				return errors.New("zookeeper: the connection is closed")
			}
			if e.State == zk.StateHasSession {
				return nil
			}
		}
	}
}

func (z *zookeeper) Hold(ctx context.Context, n Node) error {
	// The session outlives ctx, for withdrawing.
	within, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	c, events, done, err := z.connect(within)
	if err != nil {
		return err
	}
	defer done()
	if err := first(ctx, events); err != nil {
		return err
	}
	unbind := context.AfterFunc(ctx, func() { // a limit on whatever goes on when ctx ends
		t := time.NewTimer(withdrawLimit)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-within.Done():
		}
	})
	defer unbind()
	path := zookeeperPath + "/" + n.Name
	if err := z.register(c, path, n.Address); err != nil {
		return fmt.Errorf("zookeeper: register: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			_ = c.Delete(path, -1) // what cannot be withdrawn ends with the session
			return nil
		case e, ok := <-events:
			if !ok || e.State == zk.StateExpired {
				return errors.New("zookeeper: the session is lost")
			}
		}
	}
}

func (z *zookeeper) register(c *zk.Conn, path, address string) error {
	acl := zk.WorldACL(zk.PermAll)
	if _, err := c.Create(zookeeperPath, nil, 0, acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	_, err := c.Create(path, []byte(address), zk.FlagEphemeral, acl)
	if errors.Is(err, zk.ErrNodeExists) {
		// It is from this node's life before, and would end with that one's session.
		if err := c.Delete(path, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		_, err = c.Create(path, []byte(address), zk.FlagEphemeral, acl)
	}
	return err
}

func (z *zookeeper) Watch(ctx context.Context, tell func([]string)) error {
	c, events, done, err := z.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := first(ctx, events); err != nil {
		return err
	}
	for ctx.Err() == nil {
		names, _, changed, err := c.ChildrenW(zookeeperPath)
		if errors.Is(err, zk.ErrNoNode) {
			return errors.New("zookeeper: nobody has ever registered")
		}
		if err != nil {
			return fmt.Errorf("zookeeper: list nodes: %w", err)
		}
		found := make([]string, 0, len(names))
		for _, name := range names {
			address, _, err := c.Get(zookeeperPath + "/" + name)
			if errors.Is(err, zk.ErrNoNode) {
				continue // it left in between
			}
			if err != nil {
				return fmt.Errorf("zookeeper: read %s: %w", name, err)
			}
			found = append(found, string(address))
		}
		tell(found)
		if err := next(ctx, events, changed); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// next waits for a change, or for the end of the session.
func next(ctx context.Context, events, changed <-chan zk.Event) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
			return nil
		case e, ok := <-events:
			if !ok || e.State == zk.StateExpired {
				return errors.New("zookeeper: the session is lost")
			}
		}
	}
}
