package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/web"
)

// A running is a node or balancer that serves on loopback.
type running struct {
	addr string
	stop func() error // asks it to end and waits; may be called twice
}

type server interface {
	Serve(ctx context.Context, l net.Listener) error
}

// start serves on an address until the test ends.
func start(t *testing.T, s server, addr string) *running {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("%s ended with: %v", l.Addr(), err)
		}
	})
	return &running{addr: l.Addr().String(), stop: stop}
}

// newClient returns a client with connections of its own, closed when the test ends.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

type answer struct {
	status   int
	node     string
	upstream []string // nil: no header
	body     string
}

// ask sends a request with an unread, not replayable body, so that http.Transport sends
// it exactly once.
func ask(t *testing.T, c *http.Client, method, url string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, io.NopCloser(strings.NewReader("")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header.Get(web.HeaderNode), resp.Header.Values(web.HeaderUpstream), string(b)}, err
}

func get(t *testing.T, c *http.Client, url string) answer {
	t.Helper()
	a, err := ask(t, c, http.MethodGet, url)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// eventually waits until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("still not so: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestNodeCountsWhatItDoes(t *testing.T) {
	n := &web.Node{Name: "app-2", FailEvery: 10, ResetEvery: 7, Drain: time.Second}
	r := start(t, n, "127.0.0.1:0")
	c := newClient(t)
	var ok, failed, reset uint64
	for range 100 {
		a, err := ask(t, c, http.MethodGet, "http://"+r.addr+"/some/path")
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			reset++
		case err != nil:
			t.Fatalf("want a reset or an answer, got %v", err)
		case a.status == http.StatusInternalServerError:
			failed++
		case a.status == http.StatusOK:
			ok++
		}
		if err == nil && a.node != "app-2" {
			t.Fatalf("node header %q, want app-2", a.node)
		}
	}
	truth := n.Truth()
	if truth.Requests != 100 || truth.OK != ok || truth.Failed != failed || truth.Reset != reset {
		t.Errorf("counted by the client: ok %d, failed %d, reset %d; by the node: %+v", ok, failed, reset, truth)
	}
	if reset == 0 || failed == 0 || ok+failed+reset != 100 {
		t.Errorf("ok %d, failed %d, reset %d: want some of each, 100 in all", ok, failed, reset)
	}
	// Every reset opens a connection, whose first request is no reused one.
	if want := 100 - 1 - reset; truth.Reused != want && truth.Reused != want+1 {
		t.Errorf("%d requests on reused connections, want about %d", truth.Reused, want)
	}
	if truth.Reset != truth.Reused/7 {
		t.Errorf("%d resets on %d reused, want every 7th", truth.Reset, truth.Reused)
	}
}

func TestNodeTellsItsTruth(t *testing.T) {
	r := start(t, &web.Node{Name: "app-1", Drain: time.Second}, "127.0.0.1:0")
	c := newClient(t)
	get(t, c, "http://"+r.addr+"/")
	get(t, c, "http://"+r.addr+"/healthz")
	var truth web.Truth
	if err := json.Unmarshal([]byte(get(t, c, "http://"+r.addr+"/__truth").body), &truth); err != nil {
		t.Fatal(err)
	}
	if truth.Node != "app-1" || truth.Requests != 1 || truth.OK != 1 || truth.First.IsZero() || !truth.FrozenTo.IsZero() {
		t.Errorf("after one request: %+v", truth)
	}
}

func TestNodeFreezesOnce(t *testing.T) {
	const frozen = 150 * time.Millisecond
	n := &web.Node{Name: "app-1", FreezeFor: frozen, Drain: time.Second}
	r := start(t, n, "127.0.0.1:0")
	c := newClient(t)
	before := time.Now()
	get(t, c, "http://"+r.addr+"/")
	if d := time.Since(before); d < frozen {
		t.Errorf("answered after %v, within the freeze of %v", d, frozen)
	}
	truth := n.Truth()
	if truth.FrozenTo.Sub(truth.FrozenFrom) != frozen || truth.Held != 1 || time.Now().Before(truth.FrozenTo) {
		t.Errorf("freeze of %v told as %+v", frozen, truth)
	}
	get(t, c, "http://"+r.addr+"/")
	if again := n.Truth(); again.Held != 1 || again.FrozenTo != truth.FrozenTo || again.OK != 2 {
		t.Errorf("froze again: %+v", again)
	}
}

func TestNodeHoldsWhatTheFreezeFinds(t *testing.T) {
	// The freeze begins while the first request is at work.
	n := &web.Node{Name: "app-1", Delay: 20 * time.Millisecond, FreezeAt: 10 * time.Millisecond, FreezeFor: 200 * time.Millisecond, Drain: time.Second}
	r := start(t, n, "127.0.0.1:0")
	get(t, newClient(t), "http://"+r.addr+"/")
	if truth := n.Truth(); time.Now().Before(truth.FrozenTo) {
		t.Errorf("answered %v before the freeze ended", time.Until(truth.FrozenTo))
	}
}

func TestOneReplicaIsSlow(t *testing.T) {
	const slow = 60 * time.Millisecond
	for name, isSlow := range map[string]bool{"app-2": true, "app-1": false, "4f2a9c": false} {
		r := start(t, &web.Node{Name: name, SlowReplica: 2, SlowDelay: slow, Drain: time.Second}, "127.0.0.1:0")
		c := newClient(t)
		least := time.Hour
		for range 5 { // the quickest of several: a busy machine only adds
			before := time.Now()
			get(t, c, "http://"+r.addr+"/")
			least = min(least, time.Since(before))
		}
		if got := least >= slow; got != isSlow {
			t.Errorf("%s answers in %v at best, slow is %v", name, least, slow)
		}
	}
}

func TestNodeIsReadyAfterItsStart(t *testing.T) {
	r := start(t, &web.Node{Name: "app-1", StartDelay: 100 * time.Millisecond, Drain: time.Second}, "127.0.0.1:0")
	c := newClient(t)
	if a := get(t, c, "http://"+r.addr+"/healthz"); a.status != http.StatusServiceUnavailable {
		t.Errorf("healthy at once: %+v", a)
	}
	if a := get(t, c, "http://"+r.addr+"/"); a.status != http.StatusOK {
		t.Errorf("a request that came before readiness got %+v", a)
	}
	eventually(t, "healthy", func() bool { return get(t, c, "http://"+r.addr+"/healthz").status == http.StatusOK })
}

func TestNodeDrains(t *testing.T) {
	n := &web.Node{Name: "app-1", Delay: 300 * time.Millisecond, LameDuck: 100 * time.Millisecond, Drain: 10 * time.Second}
	r := start(t, n, "127.0.0.1:0")
	c := newClient(t)
	got := make(chan answer, 1)
	go func() {
		a, err := ask(t, c, http.MethodGet, "http://"+r.addr+"/")
		if err != nil {
			a.body = err.Error()
		}
		got <- a
	}()
	eventually(t, "the request is in", func() bool { return n.Truth().Requests == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	eventually(t, "/healthz says no", func() bool {
		a, err := ask(t, newClient(t), http.MethodGet, "http://"+r.addr+"/healthz")
		return err == nil && a.status == http.StatusServiceUnavailable
	})
	if err := <-stopped; err != nil {
		t.Errorf("drained with: %v", err)
	}
	if a := <-got; a.status != http.StatusOK {
		t.Errorf("the request in flight got %+v", a)
	}
	if truth := n.Truth(); truth.OK != 1 {
		t.Errorf("the node counts %+v", truth)
	}
}

func TestNodeGivesUpDraining(t *testing.T) {
	n := &web.Node{Name: "app-1", Delay: time.Minute, Drain: 50 * time.Millisecond}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, l) }()
	gone := make(chan error, 1)
	go func() {
		_, err := ask(t, newClient(t), http.MethodGet, "http://"+l.Addr().String()+"/")
		gone <- err
	}()
	eventually(t, "the request is in", func() bool { return n.Truth().Requests == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v although a request was left", err)
	}
	if err := <-gone; err == nil {
		t.Error("the request was answered")
	}
}
