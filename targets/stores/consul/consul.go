// Package consul is the gateway's store over Consul, by its own client.
//
// A write is sent once, to one server, which passes it on to the leader. A server that does not answer, or cannot be
// reached, is left for the next one by the requests that follow, not by the same one. (Go's HTTP client repeats a write only if the
// connection that it took turns out to have been closed before a byte was written.) Reads are of consistency "consistent".
package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

const (
	prefix    = "kv/"
	dialLimit = 500 * time.Millisecond // for one connection
	askEvery  = 500 * time.Millisecond // who leads
	idle      = 64                     // connections kept open to each server
)

// Store is a [gateway.Store]. Open makes one, Close ends it.
type Store struct {
	servers   []string
	clients   []*api.Client
	transport *http.Transport
	current   atomic.Uint64 // counts up; the server is the remainder
	leader    *gateway.Leader
}

// Open returns a store on these servers, each HOST:PORT. It does not wait for them. When ctx ends
// nobody asks any more who leads.
func Open(ctx context.Context, servers []string) (*Store, error) {
	s := &Store{servers: servers, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialLimit}).DialContext,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     time.Minute,
	}}
	for _, server := range servers {
		c, err := api.NewClient(&api.Config{Address: server, HttpClient: &http.Client{Transport: s.transport}})
		if err != nil {
			return nil, fmt.Errorf("make a client of Consul at %s: %w", server, err)
		}
		s.clients = append(s.clients, c)
	}
	s.leader = gateway.Follow(ctx, askEvery, s.askLeader)
	return s, nil
}

// Put implements [gateway.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte) (string, error) {
	at := s.current.Load()
	_, err := s.client(at).KV().Put(&api.KVPair{Key: prefix + key, Value: value}, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return "", s.judge(at, err)
	}
	return s.leader.Name(), nil
}

// Get implements [gateway.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, string, error) {
	at := s.current.Load()
	pair, _, err := s.client(at).KV().Get(prefix+key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	switch {
	case err != nil:
		return nil, "", s.judge(at, err)
	case pair == nil:
		return nil, s.leader.Name(), gateway.ErrNotFound
	}
	return pair.Value, s.leader.Name(), nil
}

// Ready implements [gateway.Store].
func (s *Store) Ready(ctx context.Context) error {
	for i, c := range s.clients {
		peers, err := c.Status().PeersWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("ask %s for its peers: %w", s.servers[i], err)
		}
		if len(peers) != len(s.clients) {
			return fmt.Errorf("%s knows %d of %d servers", s.servers[i], len(peers), len(s.clients))
		}
		leader, err := c.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("ask %s who leads: %w", s.servers[i], err)
		}
		if leader == "" {
			return fmt.Errorf("%s knows no leader", s.servers[i])
		}
	}
	return nil
}

// Close implements [gateway.Store].
func (s *Store) Close() error {
	s.leader.Close()
	s.transport.CloseIdleConnections()
	return nil
}

func (s *Store) client(at uint64) *api.Client { return s.clients[at%uint64(len(s.clients))] }

// judge says what is known of a request that failed, and leaves a server that did not answer. However many requests
// failed there, it is one step.
func (s *Store) judge(at uint64, err error) error {
	var answer api.StatusError
	if !errors.As(err, &answer) {
		s.current.CompareAndSwap(at, at+1)
		if gateway.Unsent(err) {
			return gateway.NotDone(err)
		}
		return err
	}
	// What a server says that gave up waiting for a leader, that is none and passes nothing on, that could not reach the leader.
	for _, said := range []string{"No cluster leader", "node is not the leader", "rpc error getting client"} {
		if strings.Contains(answer.Body, said) {
			return gateway.NotDone(err)
		}
	}
	return err
}

func (s *Store) askLeader(ctx context.Context) (string, error) {
	address, err := s.client(s.current.Load()).Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(address)
	return host, err
}
