package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcdPrefix is where the nodes are.
const etcdPrefix = "/shop/nodes/"

// etcd registers nodes as keys that are bound to a lease.
type etcd struct{ hosts []string }

func (e *etcd) connect(ctx context.Context) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: e.hosts, Context: ctx, DialTimeout: dialLimit, Logger: zap.NewNop(),
		// A member that is gone without a word is noticed by what was written to it.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return c, nil
}

func (e *etcd) Hold(ctx context.Context, n Node) error {
	// The connection outlives ctx, for withdrawing.
	c, err := e.connect(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer c.Close()
	within, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	lease, err := c.Grant(within, int64(life.Seconds()))
	if err != nil {
		return fmt.Errorf("etcd: get a lease: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawLimit)
		defer cancel()
		_, _ = c.Revoke(end, lease.ID) // what cannot be revoked runs out
	}()
	if _, err := c.Put(within, etcdPrefix+n.Name, n.Address, clientv3.WithLease(lease.ID)); err != nil {
		return fmt.Errorf("etcd: register: %w", err)
	}
	alive, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		return fmt.Errorf("etcd: keep the lease: %w", err)
	}
	for range alive { // closed when ctx ends or the lease is lost
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("etcd: the lease is lost")
}

// etcdWatch is how long one watch lasts. A stream from a member that fell silent would say nothing for ever, so that
// the list is asked for now and then.
const etcdWatch = 3 * time.Second

func (e *etcd) Watch(ctx context.Context, tell func([]string)) error {
	c, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, requestLimit)
		got, err := c.Get(within, etcdPrefix, clientv3.WithPrefix(), clientv3.WithLimit(1000))
		cancel()
		if err != nil {
			return fmt.Errorf("etcd: list nodes: %w", err)
		}
		found := make([]string, 0, len(got.Kvs))
		for _, kv := range got.Kvs {
			found = append(found, string(kv.Value))
		}
		tell(found)
		e.change(ctx, c, got.Header.Revision+1)
	}
	return ctx.Err()
}

// change waits for a change from a revision on, for as long as a watch lasts.
func (e *etcd) change(ctx context.Context, c *clientv3.Client, from int64) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), etcdWatch)
	defer cancel()
	for r := range c.Watch(ctx, etcdPrefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if len(r.Events) > 0 || r.Err() != nil {
			return
		}
	}
}
