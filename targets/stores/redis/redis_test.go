package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
	"github.com/tutti-bench/tutti/targets/stores/redis"
)

// A node speaks as much of Redis's protocol as is needed, and answers a SET as it is told.
type node struct {
	l      net.Listener
	master string // as a sentinel: who it says is the master

	mu     sync.Mutex
	values map[string]string
	sets   int
	fail   string // an error's text
	drop   bool   // the connection breaks when the write has arrived
	hang   bool
}

func serve(t *testing.T) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{l: l, values: make(map[string]string)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { n.talk(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return n
}

func (n *node) talk(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		words, err := command(r)
		if err != nil || !n.answer(c, words) {
			return
		}
	}
}

// command reads an array of strings.
func command(r *bufio.Reader) ([]string, error) {
	number := func(sign byte) (int, error) {
		line, err := r.ReadString('\n')
		if err != nil || line[0] != sign {
			return 0, fmt.Errorf("%q: %w", line, err)
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	count, err := number('*')
	if err != nil {
		return nil, err
	}
	var words []string
	for range count {
		size, err := number('$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		words = append(words, string(b[:size]))
	}
	return words, nil
}

func (n *node) answer(w io.Writer, words []string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch strings.ToLower(words[0]) {
	case "set":
		n.sets++
		switch {
		case n.drop:
			return false
		case n.hang:
			return true
		case n.fail != "":
			fmt.Fprintf(w, "-%s\r\n", n.fail)
		default:
			n.values[words[1]] = words[2]
			fmt.Fprint(w, "+OK\r\n")
		}
	case "get":
		v, ok := n.values[words[1]]
		if !ok {
			fmt.Fprint(w, "$-1\r\n")
			return true
		}
		fmt.Fprintf(w, "$%d\r\n%s\r\n", len(v), v)
	case "ping":
		fmt.Fprint(w, "+PONG\r\n")
	case "sentinel":
		if strings.EqualFold(words[1], "get-master-addr-by-name") && n.master != "" {
			host, port, _ := net.SplitHostPort(n.master)
			fmt.Fprintf(w, "*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(host), host, len(port), port)
			return true
		}
		fmt.Fprint(w, "*0\r\n")
	default: // HELLO, CLIENT, SUBSCRIBE: the client does without
		fmt.Fprint(w, "-ERR unknown command\r\n")
	}
	return true
}

func open(t *testing.T, cfg redis.Config) *redis.Store {
	t.Helper()
	cfg.Limit, cfg.Master = time.Second, "main"
	s, err := redis.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestValues(t *testing.T) {
	s := open(t, redis.Config{Nodes: []string{serve(t).l.Addr().String()}})
	if node, err := s.Put(within(t, 5*time.Second), "a", []byte("1\x00")); err != nil || node != "127.0.0.1" {
		t.Fatal(node, err)
	}
	if v, _, err := s.Get(within(t, 5*time.Second), "a"); err != nil || string(v) != "1\x00" {
		t.Errorf("%q %v", v, err)
	}
	if _, _, err := s.Get(within(t, 5*time.Second), "b"); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	if err := s.Ready(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
}

func TestFailedWritesAreSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		tell    func(*node)
		notDone bool
		late    bool
	}{
		"read only":       {func(n *node) { n.fail = "READONLY You can't write against a read only replica." }, true, false},
		"loading":         {func(n *node) { n.fail = "LOADING Redis is loading the dataset in memory" }, true, false},
		"few replicas":    {func(n *node) { n.fail = "NOREPLICAS Not enough good replicas to write." }, true, false},
		"connection lost": {func(n *node) { n.drop = true }, false, false},
		"no answer":       {func(n *node) { n.hang = true }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := serve(t)
			c.tell(n)
			s := open(t, redis.Config{Nodes: []string{n.l.Addr().String()}})
			_, err := s.Put(within(t, 400*time.Millisecond), "a", []byte("1"))
			if err == nil || gateway.IsNotDone(err) != c.notDone || errors.Is(err, context.DeadlineExceeded) != c.late {
				t.Errorf("not done is %v: %v", gateway.IsNotDone(err), err)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.sets != 1 {
				t.Errorf("the node got the write %d times", n.sets)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	n := serve(t)
	n.l.Close()
	gone := n.l.Addr().String()
	for name, cfg := range map[string]redis.Config{
		"node":     {Nodes: []string{gone}},
		"sentinel": {Nodes: []string{"a", "b"}, Sentinels: []string{gone}},
	} {
		s := open(t, cfg)
		if _, err := s.Put(within(t, 5*time.Second), "a", nil); !gateway.IsNotDone(err) {
			t.Errorf("%s: a write that was never sent: %v", name, err)
		}
	}
	if _, err := redis.Open(redis.Config{Nodes: []string{"a", "b"}}); err == nil {
		t.Error("two nodes without sentinels have a master")
	}
}

func TestSentinelSaysWhoIsMaster(t *testing.T) {
	sentinel, master, other := serve(t), serve(t), serve(t)
	sentinel.master = master.l.Addr().String()
	s := open(t, redis.Config{Nodes: []string{other.l.Addr().String(), sentinel.master}, Sentinels: []string{sentinel.l.Addr().String()}})
	if _, err := s.Put(within(t, 5*time.Second), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if master.sets != 1 || other.sets != 0 {
		t.Errorf("the master got %d writes, the other node %d", master.sets, other.sets)
	}
	if err := s.Ready(within(t, 5*time.Second)); err == nil {
		t.Error("ready without a replica")
	}
}
