package zookeeper

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

// serve answers srvr with a text, and nothing else with anything.
func serve(t *testing.T, said string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				word := make([]byte, 4)
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, err := io.ReadFull(c, word); err == nil && string(word) == "srvr" {
					_, _ = io.WriteString(c, said)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

const leading = "Zookeeper version: 3.9.3, built on 2024-11-01 10:21 UTC\nLatency min/avg/max: 0/0.0/0\nMode: leader\nNode count: 5\n"

func TestMode(t *testing.T) {
	for said, want := range map[string]string{
		leading:            "leader",
		"Mode: standalone": "standalone",
		"This ZooKeeper instance is not currently serving requests\n": "",
		"": "",
	} {
		mode, err := ask(t.Context(), serve(t, said))
		if mode != want || (err != nil) != (want == "") {
			t.Errorf("%q: mode %q, %v", said, mode, err)
		}
	}
}

// Without a session nothing is asked of the client, which would keep it and send it later.
func TestWithoutASessionNothingIsQueued(t *testing.T) {
	s, err := Open(t.Context(), []string{serve(t, leading)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Put(ctx, "a", nil); !gateway.IsNotDone(err) {
		t.Errorf("%v", err)
	}
	if _, _, err := s.Get(ctx, "a"); err == nil || errors.Is(err, gateway.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if len(s.held) != 0 {
		t.Errorf("%d requests are held", len(s.held))
	}
	if err := s.Ready(ctx); err == nil {
		t.Error("ready without a session")
	}
}

func TestWhatIsKnownOfAFailedRequest(t *testing.T) {
	for err, notDone := range map[error]bool{
		zk.ErrNoServer: true, zk.ErrNoNode: true,
		zk.ErrConnectionClosed: false, zk.ErrSessionExpired: false, context.DeadlineExceeded: false,
	} {
		if got := judge(err); gateway.IsNotDone(got) != notDone || !errors.Is(got, err) {
			t.Errorf("%v: not done is %v", err, gateway.IsNotDone(got))
		}
	}
}
