// Package etcd is the gateway's store over etcd, by its own client.
//
// Writes are sent once: the client repeats one only if it found no connection to send it over. Reads are linearizable; the client
// repeats those on another member, within the request's limit.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

const (
	prefix      = "kv/"
	dialLimit   = 500 * time.Millisecond // for one connection
	silentLimit = time.Second            // sent data without an acknowledgement of the network ends a connection
	askLimit    = 2 * time.Second        // for the question who leads
)

// Store is a [gateway.Store]. Open makes one, Close ends it.
type Store struct {
	client    *clientv3.Client
	endpoints []string
	ctx       context.Context //nolint:containedctx // of the question who leads, which outlives the request that raises it
	stop      context.CancelFunc
	wg        sync.WaitGroup

	mu     sync.Mutex
	closed bool
	asking bool
	term   uint64 // in which leader leads
	leader string
}

// Open returns a store on these members, each HOST:PORT. It does not wait for them. When ctx ends nobody asks any more who
// leads.
func Open(ctx context.Context, endpoints []string) (*Store, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints,
		// Ten seconds is the least that gRPC takes. What counts is the timeout: gRPC makes it the connection's TCP_USER_TIMEOUT.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: silentLimit,
		Logger:               zap.NewNop(), // each failed read would be a line
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: dialLimit,
			}),
			grpc.WithChainUnaryInterceptor(atOnce),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make a client of etcd at %s: %w", strings.Join(endpoints, ", "), err)
	}
	ctx, stop := context.WithCancel(ctx)
	return &Store{client: client, endpoints: endpoints, ctx: ctx, stop: stop}, nil
}

// atOnce has a request fail while no member can be reached. The client would hold it until one can, so that nobody knew of a
// write whether it was sent.
func atOnce(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
}

// Put implements [gateway.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte) (string, error) {
	// A member that has lost the others says so at once, instead of holding the write until it times out.
	res, err := s.client.Put(clientv3.WithRequireLeader(ctx), prefix+key, string(value))
	if err != nil {
		return "", judge(err)
	}
	return s.node(res.Header), nil
}

// Get implements [gateway.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, string, error) {
	res, err := s.client.Get(clientv3.WithRequireLeader(ctx), prefix+key)
	if err != nil {
		return nil, "", judge(err)
	}
	node := s.node(res.Header)
	if len(res.Kvs) == 0 {
		return nil, node, gateway.ErrNotFound
	}
	return res.Kvs[0].Value, node, nil
}

// Ready implements [gateway.Store].
func (s *Store) Ready(ctx context.Context) error {
	for _, e := range s.endpoints {
		st, err := s.client.Status(ctx, e)
		if err != nil {
			return fmt.Errorf("ask %s for its state: %w", e, err)
		}
		if st.Leader == 0 {
			return fmt.Errorf("%s knows no leader", e)
		}
	}
	return nil
}

// Close implements [gateway.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
	return s.client.Close()
}

// judge says what is known of a request that failed.
func judge(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoLeader), errors.Is(err, rpctypes.ErrTooManyRequests), errors.Is(err, rpctypes.ErrNoSpace):
		return gateway.NotDone(err)
	}
	st, ok := status.FromError(err)
	switch {
	case !ok:
		return err
	case st.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case st.Code() == codes.Unavailable && strings.Contains(st.Message(), "Error while dialing"):
		// gRPC has no code of its own for "no connection to any member".
		return gateway.NotDone(err)
	}
	return err
}

// node names the leader. Answers have the term; who leads in it is asked once, beside the requests.
func (s *Store) node(h *etcdserverpb.ResponseHeader) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.GetRaftTerm() == s.term {
		return s.leader
	}
	if !s.asking && !s.closed {
		s.asking = true
		s.wg.Go(s.ask)
	}
	return ""
}

func (s *Store) ask() {
	ctx, cancel := context.WithTimeout(s.ctx, askLimit)
	defer cancel()
	term, leader := s.who(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = false
	if leader != "" {
		s.term, s.leader = term, leader
	}
}

// who asks the members, one after the other, until one knows.
func (s *Store) who(ctx context.Context) (term uint64, leader string) {
	for _, e := range s.endpoints {
		once, cancel := context.WithTimeout(ctx, dialLimit)
		st, err := s.client.Status(once, e)
		cancel()
		if err != nil || st.Leader == 0 {
			continue
		}
		list, err := s.client.MemberList(ctx)
		if err != nil {
			continue
		}
		for _, m := range list.Members {
			if m.ID == st.Leader {
				return st.RaftTerm, m.Name
			}
		}
	}
	return 0, ""
}
