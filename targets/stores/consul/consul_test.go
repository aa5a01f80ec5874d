package consul_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/stores/consul"
	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

// A server answers as it is told.
type server struct {
	mu     sync.Mutex
	values map[string]string
	puts   int
	fail   string // body of a 500
	hang   bool
	peers  string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	key, isKey := strings.CutPrefix(r.URL.Path, "/v1/kv/kv/")
	switch {
	case r.URL.Path == "/v1/status/leader":
		fmt.Fprint(w, `"10.0.0.7:8300"`)
	case r.URL.Path == "/v1/status/peers":
		fmt.Fprint(w, s.peers)
	case !isKey:
		http.NotFound(w, r)
	case s.hang:
		s.puts++
		<-r.Context().Done()
	case r.Method == http.MethodPut:
		s.puts++
		if s.fail != "" {
			http.Error(w, s.fail, http.StatusInternalServerError)
			return
		}
		s.values[key] = string(body)
		fmt.Fprint(w, "true")
	default:
		if !r.URL.Query().Has("consistent") {
			http.Error(w, "a read that may be old", http.StatusTeapot)
			return
		}
		v, ok := s.values[key]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `[{"Key":"kv/%s","Value":%q}]`, key, base64.StdEncoding.EncodeToString([]byte(v)))
	}
}

func serve(t *testing.T) (*server, string) {
	t.Helper()
	s := &server{values: make(map[string]string)}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, strings.TrimPrefix(h.URL, "http://")
}

func open(t *testing.T, servers ...string) *consul.Store {
	t.Helper()
	s, err := consul.Open(t.Context(), servers)
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

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestValuesAndTheLeader(t *testing.T) {
	_, at := serve(t)
	s := open(t, at)
	if _, err := s.Put(within(t, 5*time.Second), "a", []byte("1\x00")); err != nil {
		t.Fatal(err)
	}
	if v, _, err := s.Get(within(t, 5*time.Second), "a"); err != nil || string(v) != "1\x00" {
		t.Errorf("%q %v", v, err)
	}
	if _, _, err := s.Get(within(t, 5*time.Second), "b"); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	for range 200 {
		node, err := s.Put(within(t, 5*time.Second), "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if node == "10.0.0.7" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the leader was never named")
}

func TestFailedWritesAreSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fail    string
		notDone bool
	}{
		"no leader":       {"No cluster leader", true},
		"not the leader":  {"rpc error making call: node is not the leader", true},
		"unreachable":     {"rpc error getting client: failed to get conn: dial tcp: connection refused", true},
		"leadership lost": {"rpc error making call: leadership lost while committing log", false},
	} {
		t.Run(name, func(t *testing.T) {
			srv, at := serve(t)
			other, second := serve(t)
			srv.fail = c.fail
			s := open(t, at, second)
			for range 2 { // a server that answers is stayed with
				if _, err := s.Put(within(t, 5*time.Second), "a", nil); err == nil || gateway.IsNotDone(err) != c.notDone {
					t.Errorf("not done is %v: %v", gateway.IsNotDone(err), err)
				}
			}
			if srv.puts != 2 || other.puts != 0 {
				t.Errorf("the servers got two writes %d and %d times", srv.puts, other.puts)
			}
		})
	}
}

// A write to a server that is not there is not done, and not sent to another; the next one is.
func TestTheNextRequestGoesElsewhere(t *testing.T) {
	srv, at := serve(t)
	s := open(t, nobody(t), at)
	if _, err := s.Put(within(t, 5*time.Second), "a", []byte("1")); !gateway.IsNotDone(err) || srv.puts != 0 {
		t.Errorf("%v; the other server got %d", err, srv.puts)
	}
	if _, err := s.Put(within(t, 5*time.Second), "a", []byte("1")); err != nil || srv.puts != 1 {
		t.Errorf("%v; the other server got %d", err, srv.puts)
	}
}

func TestAServerThatHangs(t *testing.T) {
	first, at := serve(t)
	second, other := serve(t)
	first.hang = true
	s := open(t, at, other)
	if _, err := s.Put(within(t, 200*time.Millisecond), "a", nil); !errors.Is(err, context.DeadlineExceeded) || gateway.IsNotDone(err) {
		t.Errorf("%v", err)
	}
	if _, err := s.Put(within(t, 5*time.Second), "a", nil); err != nil || second.puts != 1 {
		t.Errorf("%v; the other server got %d", err, second.puts)
	}
}

func TestReadyWantsAllPeers(t *testing.T) {
	srv, at := serve(t)
	s := open(t, at)
	srv.peers = `[]`
	if err := s.Ready(within(t, 5*time.Second)); err == nil {
		t.Error("ready without peers")
	}
	srv.mu.Lock()
	srv.peers = `["10.0.0.7:8300"]`
	srv.mu.Unlock()
	if err := s.Ready(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
}
