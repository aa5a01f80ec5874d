package shop

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	sessionLife = 30 * time.Minute
	maxSessions = 100_000 // in a node's memory
	maxItems    = 100     // different ones in a cart
)

// Errors of sessions.
var (
	ErrNoSession = errors.New("no such session")
	ErrFull      = errors.New("full")
)

// A Cart is how many of each product a session has, by the product's number.
type Cart map[string]int

// Sessions keep carts from one request to the next.
type Sessions interface {
	// Login begins a session and returns its secret name.
	Login(ctx context.Context, user string) (id string, err error)
	// Cart returns what the session has; ErrNoSession if there is none.
	Cart(ctx context.Context, id string) (Cart, error)
	// Add puts n more of a product into the session's cart, and returns the cart.
	Add(ctx context.Context, id string, product, n int) (Cart, error)
}

// MemorySessions are sessions in the memory of one node. They end with it, and no other node knows of them.
type MemorySessions struct {
	mu  sync.Mutex
	all map[string]*memorySession
}

type memorySession struct {
	cart Cart
	last time.Time
}

// Login is part of [Sessions].
func (m *MemorySessions) Login(context.Context, string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = make(map[string]*memorySession)
	}
	if len(m.all) >= maxSessions {
		maps.DeleteFunc(m.all, func(_ string, s *memorySession) bool { return time.Since(s.last) > sessionLife })
	}
	if len(m.all) >= maxSessions {
		return "", ErrFull
	}
	id := rand.Text()
	m.all[id] = &memorySession{cart: Cart{}, last: time.Now()}
	return id, nil
}

// Cart is part of [Sessions].
func (m *MemorySessions) Cart(_ context.Context, id string) (Cart, error) {
	return m.with(id, func(Cart) error { return nil })
}

// Add is part of [Sessions].
func (m *MemorySessions) Add(_ context.Context, id string, product, n int) (Cart, error) {
	key := strconv.Itoa(product)
	return m.with(id, func(c Cart) error {
		if _, has := c[key]; !has && len(c) >= maxItems {
			return ErrFull
		}
		c[key] += n
		return nil
	})
}

// with does something to a session's cart and returns a copy of it.
func (m *MemorySessions) with(id string, do func(Cart) error) (Cart, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.all[id]
	if s == nil || time.Since(s.last) > sessionLife {
		delete(m.all, id)
		return nil, ErrNoSession
	}
	s.last = time.Now()
	if err := do(s.cart); err != nil {
		return nil, err
	}
	return maps.Clone(s.cart), nil
}

// RedisSessions are sessions in Redis, which all nodes share.
type RedisSessions struct {
	redis *Redis
	add   *redis.Script
}

// owner is the field of a session's hash that makes it exist before anything is in the cart.
const owner = "user"

// addScript adds to a cart only where there is a session, in one step: another node may be at it.
const addScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then return {'full'} end
redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('HGETALL', KEYS[1])`

// Login is part of [Sessions].
func (s *RedisSessions) Login(ctx context.Context, user string) (string, error) {
	id := rand.Text()
	return call(ctx, s.redis.breaker, redisFault, func(ctx context.Context) (string, error) {
		_, err := s.redis.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HSet(ctx, sessionKey(id), owner, user)
			p.Expire(ctx, sessionKey(id), sessionLife)
			return nil
		})
		return id, err
	})
}

// Cart is part of [Sessions].
func (s *RedisSessions) Cart(ctx context.Context, id string) (Cart, error) {
	return call(ctx, s.redis.breaker, redisFault, func(ctx context.Context) (Cart, error) {
		fields, err := s.redis.client.HGetAll(ctx, sessionKey(id)).Result()
		if err != nil {
			return nil, err
		}
		return cartOf(fields)
	})
}

// Add is part of [Sessions].
func (s *RedisSessions) Add(ctx context.Context, id string, product, n int) (Cart, error) {
	return call(ctx, s.redis.breaker, redisFault, func(ctx context.Context) (Cart, error) {
		list, err := s.add.Run(ctx, s.redis.client, []string{sessionKey(id)},
			product, n, maxItems, int(sessionLife.Seconds())).StringSlice()
		if err != nil {
			return nil, err
		}
		if len(list) == 1 {
			return nil, ErrFull
		}
		fields := make(map[string]string, len(list)/2)
		for i := 0; i+1 < len(list); i += 2 {
			fields[list[i]] = list[i+1]
		}
		return cartOf(fields)
	})
}

func cartOf(fields map[string]string) (Cart, error) {
	if len(fields) == 0 {
		return nil, ErrNoSession
	}
	c := make(Cart, len(fields))
	for k, v := range fields {
		if k == owner {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, err
		}
		c[k] = n
	}
	return c, nil
}

func sessionKey(id string) string { return "session:" + id }
