// Package redis is the gateway's store over Redis, alone or behind Sentinel, by the client go-redis.
//
// A write is sent once: the client's own repeats, three by default, are switched off, those of dialling too. With Sentinel the
// client asks it for the master whenever it dials, and drops its connections when it is told of another. The master acknowledges
// a write before its replicas have it. Reads are the master's.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

const (
	prefix    = "kv:"
	dialLimit = 500 * time.Millisecond // for one connection
	poolSize  = 64                     // connections to the master
)

// Config is where a store is.
type Config struct {
	Nodes     []string // HOST:PORT; without sentinels one
	Sentinels []string // HOST:PORT; none is a single node
	Master    string   // what the sentinels call it
	Limit     time.Duration
}

// Store is a [gateway.Store]. Open makes one, Close ends it.
type Store struct {
	cfg    Config
	client *redis.Client
	master atomic.Pointer[string] // last connected to
}

// Open returns a store. It does not wait for anybody.
func Open(cfg Config) (*Store, error) {
	s := &Store{cfg: cfg}
	switch {
	case len(cfg.Sentinels) > 0:
		s.client = redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: cfg.Master, SentinelAddrs: cfg.Sentinels,
			MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, PoolSize: poolSize,
			DialTimeout: dialLimit, ReadTimeout: cfg.Limit, WriteTimeout: cfg.Limit, PoolTimeout: cfg.Limit,
		})
	case len(cfg.Nodes) == 1:
		s.client = redis.NewClient(&redis.Options{
			Addr:       cfg.Nodes[0],
			MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, PoolSize: poolSize,
			DialTimeout: dialLimit, ReadTimeout: cfg.Limit, WriteTimeout: cfg.Limit, PoolTimeout: cfg.Limit,
		})
	default:
		return nil, fmt.Errorf("%d nodes of Redis have no master without sentinels", len(cfg.Nodes))
	}
	s.client.AddHook(hook{s})
	return s, nil
}

// Put implements [gateway.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte) (string, error) {
	if err := s.client.Set(ctx, prefix+key, value, 0).Err(); err != nil {
		return "", judge(err)
	}
	return s.node(), nil
}

// Get implements [gateway.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, string, error) {
	value, err := s.client.Get(ctx, prefix+key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, s.node(), gateway.ErrNotFound
	case err != nil:
		return nil, "", judge(err)
	}
	return value, s.node(), nil
}

// Ready implements [gateway.Store]: the master has all of its replicas, and every sentinel knows of all of them and of all
// other sentinels, without which there is nobody to fail over to, or nobody to do it.
func (s *Store) Ready(ctx context.Context) error {
	if len(s.cfg.Sentinels) == 0 {
		return s.client.Ping(ctx).Err()
	}
	said, err := s.client.Info(ctx, "replication").Result()
	if err != nil {
		return fmt.Errorf("ask the master for its replicas: %w", err)
	}
	if n := strings.Count(said, "state=online"); n != len(s.cfg.Nodes)-1 {
		return fmt.Errorf("%d of %d replicas are online", n, len(s.cfg.Nodes)-1)
	}
	for _, at := range s.cfg.Sentinels {
		if err := s.sees(ctx, at); err != nil {
			return fmt.Errorf("sentinel %s: %w", at, err)
		}
	}
	return nil
}

// sees reports whether a sentinel sees everybody.
func (s *Store) sees(ctx context.Context, sentinel string) error {
	c := redis.NewSentinelClient(&redis.Options{Addr: sentinel, MaxRetries: -1, DialTimeout: dialLimit, ContextTimeoutEnabled: true})
	defer c.Close()
	m, err := c.Master(ctx, s.cfg.Master).Result()
	if err != nil {
		return err
	}
	if m["flags"] != "master" {
		return fmt.Errorf("it holds the master for %s", m["flags"])
	}
	for _, know := range []struct {
		field string
		want  int
	}{{"num-slaves", len(s.cfg.Nodes) - 1}, {"num-other-sentinels", len(s.cfg.Sentinels) - 1}} {
		if n, err := strconv.Atoi(m[know.field]); err != nil || n != know.want {
			return fmt.Errorf("%s is %q, not %d", know.field, m[know.field], know.want)
		}
	}
	replicas, err := c.Replicas(ctx, s.cfg.Master).Result()
	if err != nil {
		return err
	}
	for _, r := range replicas {
		if r["flags"] != "slave" {
			return fmt.Errorf("it holds the replica %s for %s", r["name"], r["flags"])
		}
	}
	return nil
}

// Close implements [gateway.Store].
func (s *Store) Close() error { return s.client.Close() }

func (s *Store) node() string {
	if name := s.master.Load(); name != nil {
		return *name
	}
	return ""
}

// judge says what is known of a request that failed.
func judge(err error) error {
	var answer redis.Error
	switch {
	case gateway.IsNotDone(err): // see hook
		return err
	case errors.As(err, &answer), errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		// Redis does a command or answers that it did not.
		return gateway.NotDone(err)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// A hook tells who was dialled, and tells errors of dialling from those of a request that was sent.
type hook struct{ store *Store }

func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, gateway.NotDone(err)
		}
		if host, _, err := net.SplitHostPort(conn.RemoteAddr().String()); err == nil {
			h.store.master.Store(&host)
		}
		return conn, nil
	}
}

func (hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
