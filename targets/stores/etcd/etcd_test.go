package etcd_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tutti-bench/tutti/targets/stores/etcd"
	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

// A member answers as it is told.
type member struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedClusterServer

	mu     sync.Mutex
	values map[string][]byte
	puts   int
	err    error
	hang   bool
	term   uint64
	leader uint64
}

func (m *member) header() *pb.ResponseHeader { return &pb.ResponseHeader{RaftTerm: m.term} }

func (m *member) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	if m.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if m.err != nil {
		return nil, m.err
	}
	m.values[string(r.Key)] = r.Value
	return &pb.PutResponse{Header: m.header()}, nil
}

func (m *member) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &pb.RangeResponse{Header: m.header()}
	if v, ok := m.values[string(r.Key)]; ok {
		out.Kvs = append(out.Kvs, &mvccpb.KeyValue{Key: r.Key, Value: v})
	}
	return out, nil
}

func (m *member) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &pb.StatusResponse{Header: m.header(), Leader: m.leader, RaftTerm: m.term}, nil
}

func (m *member) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	return &pb.MemberListResponse{Members: []*pb.Member{{ID: 7, Name: "etcd-1"}, {ID: 8, Name: "etcd-2"}}}, nil
}

func (m *member) set(change func(*member)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

// start serves a member and opens a store on it, and on the other addresses.
func start(t *testing.T, others ...string) (*member, *etcd.Store) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{values: make(map[string][]byte), term: 1, leader: 7}
	s := grpc.NewServer()
	pb.RegisterKVServer(s, m)
	pb.RegisterMaintenanceServer(s, m)
	pb.RegisterClusterServer(s, m)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends with Stop
	}()
	store, err := etcd.Open(t.Context(), append([]string{l.Addr().String()}, others...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		store.Close()
		s.Stop()
		<-done
	})
	return m, store
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestValuesAndTheLeader(t *testing.T) {
	m, s := start(t)
	leader := func(want string) {
		t.Helper()
		for range 200 {
			node, err := s.Put(within(t, 5*time.Second), "a", []byte("1"))
			if err != nil {
				t.Fatal(err)
			}
			if node == want {
				return
			}
			if node != "" {
				t.Fatalf("the leader is %q, want %q or nobody known", node, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s never was the leader", want)
	}
	leader("etcd-1")
	value, node, err := s.Get(within(t, 5*time.Second), "a")
	if err != nil || string(value) != "1" || node != "etcd-1" {
		t.Errorf("%q %q %v", value, node, err)
	}
	if _, _, err := s.Get(within(t, 5*time.Second), "b"); !errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	// A new term, and with it a new leader: the old one is never named again.
	m.set(func(m *member) { m.term, m.leader = 2, 8 })
	leader("etcd-2")
}

// A write reaches the store once, whatever becomes of it, and is called not done only where that is certain.
func TestFailedWritesAreSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		notDone bool
	}{
		"no leader":          {rpctypes.ErrGRPCNoLeader, true},
		"no space":           {rpctypes.ErrGRPCNoSpace, true},
		"timed out":          {rpctypes.ErrGRPCTimeout, false},
		"leader failed":      {rpctypes.ErrGRPCTimeoutDueToLeaderFail, false},
		"unavailable":        {status.Error(codes.Unavailable, "transport is closing"), false},
		"another, of no one": {status.Error(codes.Unknown, "raft proposal dropped"), false},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := start(t)
			m.set(func(m *member) { m.err = c.err })
			_, err := s.Put(within(t, 5*time.Second), "a", []byte("1"))
			if err == nil || gateway.IsNotDone(err) != c.notDone {
				t.Errorf("not done is %v: %v", gateway.IsNotDone(err), err)
			}
			m.set(func(m *member) {
				if m.puts != 1 {
					t.Errorf("the member got the write %d times", m.puts)
				}
			})
		})
	}
}

func TestAMemberThatHangs(t *testing.T) {
	m, s := start(t)
	m.set(func(m *member) { m.hang = true })
	_, err := s.Put(within(t, 200*time.Millisecond), "a", []byte("1"))
	if !errors.Is(err, context.DeadlineExceeded) || gateway.IsNotDone(err) {
		t.Errorf("%v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s, err := etcd.Open(t.Context(), []string{l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Put(within(t, 5*time.Second), "a", []byte("1")); !gateway.IsNotDone(err) {
		t.Errorf("a write that was never sent: %v", err)
	}
	if err := s.Ready(within(t, 500*time.Millisecond)); err == nil {
		t.Error("ready without a member")
	}
}

func TestReadyWantsALeader(t *testing.T) {
	m, s := start(t)
	if err := s.Ready(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	m.set(func(m *member) { m.leader = 0 })
	if err := s.Ready(within(t, 5*time.Second)); err == nil {
		t.Error("ready without a leader")
	}
}
