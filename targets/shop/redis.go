package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Limits on Redis.
const (
	redisLimit = 250 * time.Millisecond
	cacheLife  = 5 * time.Second
)

// Redis is the store of sessions, and the cache of products. Its methods are safe for concurrent use.
type Redis struct {
	client  *redis.Client
	breaker *breaker
}

// OpenRedis returns the Redis at host:port. It does not wait for it. Close it.
func OpenRedis(address string) *Redis {
	return &Redis{breaker: newBreaker("redis", redisLimit), client: redis.NewClient(&redis.Options{
		Addr: address, DialTimeout: redisLimit, ReadTimeout: redisLimit, WriteTimeout: redisLimit, PoolTimeout: redisLimit,
		PoolSize: 16, MaxRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}
}

// Close closes its connections.
func (r *Redis) Close() error { return r.client.Close() }

// Sessions are sessions kept there.
func (r *Redis) Sessions() *RedisSessions {
	return &RedisSessions{redis: r, add: redis.NewScript(addScript)}
}

// Ping asks whether it is there.
func (r *Redis) Ping(ctx context.Context) error { return r.client.Ping(ctx).Err() }

// Product returns a product from the cache; nil if the cache does not have it.
func (r *Redis) Product(ctx context.Context, id int) (*Product, error) {
	return call(ctx, r.breaker, redisFault, func(ctx context.Context) (*Product, error) {
		b, err := r.client.Get(ctx, productKey(id)).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		p := new(Product)
		if err := json.Unmarshal(b, p); err != nil {
			return nil, fmt.Errorf("product %d in the cache: %w", id, err)
		}
		return p, nil
	})
}

// Keep puts a product into the cache for a while.
func (r *Redis) Keep(ctx context.Context, p *Product) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = call(ctx, r.breaker, redisFault, func(ctx context.Context) (string, error) {
		return r.client.Set(ctx, productKey(p.ID), b, cacheLife).Result()
	})
	return err
}

func productKey(id int) string { return "product:" + strconv.Itoa(id) }

// redisFault reports whether an error is one of Redis, rather than an answer.
func redisFault(err error) bool {
	return !errors.Is(err, ErrNoSession) && !errors.Is(err, ErrFull)
}
