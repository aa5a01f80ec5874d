// Package zookeeper is the gateway's store over ZooKeeper, by the client go-zookeeper.
//
// A write is sent once. The client keeps what is asked of it while it has no connection, and sends it later, so that nothing is
// asked of it then. A key is a node below [Parent]: made by the first write and set by those that follow. Before a read, the
// server that the client is connected to is brought up to date (sync); without that, ZooKeeper's reads may be old.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

// Parent is the node below which the keys are. Ready makes it.
const Parent = "/kv"

const (
	session  = 3 * time.Second        // two thirds of it without an answer end a connection
	askEvery = 500 * time.Millisecond // who leads
	pending  = 1024                   // requests that the client may hold; each ends with its connection
	stateMax = 4 << 10                // bytes of an answer to srvr
)

var errNoSession = errors.New("no session with any server")

// Store is a [gateway.Store]. Open makes one, Close ends it.
type Store struct {
	conn    *zk.Conn
	servers []string
	leader  *gateway.Leader
	held    chan struct{}
	wg      sync.WaitGroup
}

// Open returns a store on these servers, each HOST:PORT. Their names must resolve by now; it does not wait for more. When
// ctx ends nobody asks any more who leads.
func Open(ctx context.Context, servers []string, log *slog.Logger) (*Store, error) {
	conn, events, err := zk.Connect(slices.Clone(servers), session, zk.WithLogInfo(false), zk.WithLogger(logger{log}))
	if err != nil {
		return nil, fmt.Errorf("make a client of ZooKeeper at %s: %w", strings.Join(servers, ", "), err)
	}
	s := &Store{conn: conn, servers: servers, held: make(chan struct{}, pending)}
	s.wg.Go(func() { // Close closes the channel
		for e := range events {
			log.Info("session", "state", e.State.String(), "server", e.Server)
		}
	})
	s.leader = gateway.Follow(ctx, askEvery, s.askLeader)
	return s, nil
}

// Put implements [gateway.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte) (string, error) {
	_, err := s.do(ctx, func() ([]byte, error) {
		_, err := s.conn.Create(Parent+"/"+key, value, 0, zk.WorldACL(zk.PermAll))
		if errors.Is(err, zk.ErrNodeExists) {
			_, err = s.conn.Set(Parent+"/"+key, value, -1)
		}
		return nil, err
	})
	if err != nil {
		return "", judge(err)
	}
	return s.leader.Name(), nil
}

// Get implements [gateway.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, string, error) {
	value, err := s.do(ctx, func() ([]byte, error) {
		if _, err := s.conn.Sync(Parent + "/" + key); err != nil {
			return nil, err
		}
		value, _, err := s.conn.Get(Parent + "/" + key)
		return value, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, s.leader.Name(), gateway.ErrNotFound
	}
	if err != nil {
		return nil, "", judge(err)
	}
	return value, s.leader.Name(), nil
}

// Ready implements [gateway.Store].
func (s *Store) Ready(ctx context.Context) error {
	leaders := 0
	for _, server := range s.servers {
		mode, err := ask(ctx, server)
		if err != nil {
			return fmt.Errorf("ask %s for its state: %w", server, err)
		}
		if leads(mode) {
			leaders++
		}
	}
	if leaders != 1 {
		return fmt.Errorf("%d of %d servers lead", leaders, len(s.servers))
	}
	_, err := s.do(ctx, func() ([]byte, error) {
		_, err := s.conn.Create(Parent, nil, 0, zk.WorldACL(zk.PermAll))
		return nil, err
	})
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("make %s: %w", Parent, err)
	}
	return nil
}

// Close implements [gateway.Store].
func (s *Store) Close() error {
	s.leader.Close()
	s.conn.Close() // ends what do has left waiting
	s.wg.Wait()
	return nil
}

// do waits for what the client does no longer than ctx lasts. The client knows no contexts, and holds a request until its
// connection ends; how many it may hold is bounded.
func (s *Store) do(ctx context.Context, what func() ([]byte, error)) ([]byte, error) {
	if s.conn.State() != zk.StateHasSession {
		return nil, gateway.NotDone(errNoSession)
	}
	select {
	case s.held <- struct{}{}:
	default:
		return nil, gateway.NotDone(fmt.Errorf("%d requests wait for the server already", pending))
	}
	type result struct {
		value []byte
		err   error
	}
	done := make(chan result, 1)
	s.wg.Go(func() {
		defer func() { <-s.held }()
		value, err := what()
		done <- result{value, err}
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// judge says what is known of a request that failed.
func judge(err error) error {
	switch {
	case errors.Is(err, zk.ErrNoServer), // the client gave up on what it had not yet sent
		errors.Is(err, zk.ErrNoNode): // there is no Parent
		return gateway.NotDone(err)
	}
	return err
}

func (s *Store) askLeader(ctx context.Context) (string, error) {
	for _, server := range s.servers {
		once, cancel := context.WithTimeout(ctx, askEvery/4)
		mode, err := ask(once, server)
		cancel()
		if err == nil && leads(mode) {
			host, _, err := net.SplitHostPort(server)
			return host, err
		}
	}
	return "", errors.New("nobody says that it leads")
}

func leads(mode string) bool { return mode == "leader" || mode == "standalone" }

// ask asks a server for its mode, by the four-letter word srvr. One without a quorum has none.
func ask(ctx context.Context, server string) (mode string, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return "", err
	}
	said, err := io.ReadAll(io.LimitReader(conn, stateMax))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(said)) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", fmt.Errorf("it says no mode: %.60q", said)
}

// logger hands the client's errors on.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }
