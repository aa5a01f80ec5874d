package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/web"
)

// names is a name server of one name.
type names struct {
	mu    sync.Mutex
	addrs []string
	err   error
}

func (n *names) set(addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs = addrs
}

func (n *names) lookup(_ context.Context, name, port string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name != "app" || port != "8080" {
		return nil, fmt.Errorf("asked for %s:%s", name, port)
	}
	return slices.Clone(n.addrs), n.err
}

// balance starts a balancer that is quick to notice, over the given addresses, and
// waits until it has as many upstreams in.
func balance(t *testing.T, set func(*web.Balancer), addrs ...string) (lb string, dns *names) {
	t.Helper()
	dns = new(names)
	dns.set(addrs...)
	b := &web.Balancer{
		To: &url.URL{Scheme: "http", Host: "app:8080"}, Policy: web.RoundRobin,
		Check: "/healthz", Interval: 10 * time.Millisecond, CheckTimeout: 2 * time.Second, Fails: 2, Passes: 1,
		ConnectTimeout: 2 * time.Second, ResponseTimeout: 10 * time.Second,
		Resolve: 10 * time.Millisecond, Forget: time.Hour, Drain: 5 * time.Second,
		Lookup: dns.lookup,
	}
	if set != nil {
		set(b)
	}
	lb = start(t, b, "127.0.0.1:0").addr
	eventually(t, "all upstreams are in", func() bool { return len(in(t, lb)) == len(addrs) })
	return lb, dns
}

func status(t *testing.T, lb string) web.Status {
	t.Helper()
	var s web.Status
	if err := json.Unmarshal([]byte(get(t, newClient(t), "http://"+lb+"/balancer/status").body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// in lists the names of the upstreams that are in.
func in(t *testing.T, lb string) []string {
	t.Helper()
	names := []string{}
	for _, u := range status(t, lb).Upstreams {
		if u.In {
			names = append(names, u.Name)
		}
	}
	slices.Sort(names)
	return names
}

func startNode(t *testing.T, name string) *running {
	t.Helper()
	return start(t, &web.Node{Name: name, Drain: 5 * time.Second}, "127.0.0.1:0")
}

// count asks n times and counts the answers by node.
func count(t *testing.T, lb string, n int) map[string]int {
	t.Helper()
	c := newClient(t)
	by := make(map[string]int)
	for range n {
		a := get(t, c, "http://"+lb+"/")
		by[a.node]++
		if a.status == http.StatusOK && !slices.Equal(a.upstream, []string{a.node}) {
			t.Fatalf("%s answered, tried were %q", a.node, a.upstream)
		}
	}
	return by
}

func TestRoundRobinTakesTurns(t *testing.T) {
	var addrs []string
	for i := range 3 {
		addrs = append(addrs, startNode(t, fmt.Sprintf("app-%d", i+1)).addr)
	}
	lb, _ := balance(t, nil, addrs...)
	by := count(t, lb, 30)
	for _, n := range []string{"app-1", "app-2", "app-3"} {
		if by[n] != 10 {
			t.Fatalf("30 requests went to %v", by)
		}
	}
}

func TestLeastConnPrefersTheFast(t *testing.T) {
	fast := startNode(t, "app-1")
	slow := start(t, &web.Node{Name: "app-2", Delay: 200 * time.Millisecond, Drain: 5 * time.Second}, "127.0.0.1:0")
	lb, _ := balance(t, func(b *web.Balancer) { b.Policy = web.LeastConn }, fast.addr, slow.addr)
	var wg sync.WaitGroup
	var toSlow, all atomic.Int64
	for range 4 {
		wg.Go(func() {
			c := newClient(t)
			for range 25 {
				a, err := ask(t, c, http.MethodGet, "http://"+lb+"/")
				if err != nil {
					t.Error(err)
					return
				}
				all.Add(1)
				if a.node == "app-2" {
					toSlow.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// By turns it would be half of them.
	if got := toSlow.Load(); all.Load() != 100 || got > 35 {
		t.Errorf("%d of %d requests went to the slow node", got, all.Load())
	}
}

func TestDeadNodeIsTakenOutAndComesBack(t *testing.T) {
	a, b := startNode(t, "app-1"), startNode(t, "app-2")
	lb, _ := balance(t, nil, a.addr, b.addr)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "app-2 is out", func() bool { return slices.Equal(in(t, lb), []string{"app-1"}) })
	if by := count(t, lb, 10); by["app-1"] != 10 {
		t.Errorf("10 requests after the death went to %v", by)
	}
	start(t, &web.Node{Name: "app-2", Drain: time.Second}, b.addr)
	eventually(t, "app-2 is back", func() bool { return len(in(t, lb)) == 2 })
	if by := count(t, lb, 10); by["app-2"] != 5 {
		t.Errorf("10 requests after the return went to %v", by)
	}
}

func TestAttemptsAreTold(t *testing.T) {
	for _, c := range []struct {
		name    string
		retries int
		method  string
		status  int
		tried   string
	}{
		{"dead, no retry", 0, http.MethodGet, http.StatusBadGateway, "app-1"},
		{"dead, then the living", 1, http.MethodGet, http.StatusOK, "app-1, app-2"},
		{"nothing was sent, so that even a POST may go elsewhere", 1, http.MethodPost, http.StatusOK, "app-1, app-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dead, alive := startNode(t, "app-1"), startNode(t, "app-2")
			lb, _ := balance(t, func(b *web.Balancer) {
				b.Retries = c.retries
				b.Fails = 1 << 30 // no check takes it out: the request meets it
			}, dead.addr, alive.addr)
			eventually(t, "both have told their names", func() bool { return slices.Equal(in(t, lb), []string{"app-1", "app-2"}) })
			if err := dead.stop(); err != nil {
				t.Fatal(err)
			}
			client := newClient(t)
			seen := []string{}
			for range 2 { // one of two turns begins at the dead one
				got, err := ask(t, client, c.method, "http://"+lb+"/")
				if err != nil {
					t.Fatal(err)
				}
				tried := strings.Join(got.upstream, "|")
				seen = append(seen, tried)
				if tried == c.tried && got.status != c.status {
					t.Errorf("tried %s: status %d, want %d", tried, got.status, c.status)
				}
			}
			if !slices.Contains(seen, c.tried) || !slices.Contains(seen, "app-2") {
				t.Errorf("tried %q, want %q and app-2", seen, c.tried)
			}
		})
	}
}

func TestNobodyInIsToldAsNobodyTried(t *testing.T) {
	n := startNode(t, "app-1")
	lb, _ := balance(t, nil, n.addr)
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody is in", func() bool { return len(in(t, lb)) == 0 })
	c := newClient(t)
	if a := get(t, c, "http://"+lb+"/"); a.status != http.StatusServiceUnavailable || !slices.Equal(a.upstream, []string{""}) {
		t.Errorf("got %+v, want 503 and an empty list of attempts", a)
	}
	if a := get(t, c, "http://"+lb+"/balancer/healthz"); a.status != http.StatusServiceUnavailable {
		t.Errorf("a balancer without nodes says %+v of itself", a)
	}
}

func TestSilentNodeIsAGatewayTimeout(t *testing.T) {
	n := start(t, &web.Node{Name: "app-1", Delay: time.Minute, Drain: 5 * time.Second}, "127.0.0.1:0")
	lb, _ := balance(t, func(b *web.Balancer) { b.ResponseTimeout = 50 * time.Millisecond }, n.addr)
	a := get(t, newClient(t), "http://"+lb+"/")
	if a.status != http.StatusGatewayTimeout || !slices.Equal(a.upstream, []string{"app-1"}) {
		t.Errorf("got %+v, want 504 after trying app-1", a)
	}
}

// A node that closes a reused connection instead of answering has lost that request:
// the balancer must not send it again of its own accord.
func TestNothingIsSentAgainInSecret(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			n := &web.Node{Name: "app-1", ResetEvery: 3, Drain: time.Second}
			lb, _ := balance(t, nil, start(t, n, "127.0.0.1:0").addr)
			c := newClient(t)
			var lost uint64
			for range 60 {
				a, err := ask(t, c, method, "http://"+lb+"/")
				if err != nil {
					t.Fatal(err)
				}
				if a.status == http.StatusBadGateway {
					lost++
				}
			}
			truth := n.Truth()
			if truth.Requests != 60 || lost != truth.Reset || lost == 0 {
				t.Errorf("60 asked, %d lost; the node saw %d and reset %d", lost, truth.Requests, truth.Reset)
			}
		})
	}
}

func TestRequestsAreTakenOverWhole(t *testing.T) {
	got := make(chan string, 1)
	srv := &handler{func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		b, err := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%s %s %s %q %s %v", r.Method, r.Host, r.URL, b, r.Header.Get("X-Mine"), err)
	}}
	dead, alive := startNode(t, "app-1"), start(t, srv, "127.0.0.1:0")
	lb, _ := balance(t, func(b *web.Balancer) { b.Retries, b.Fails = 1, 1<<30 }, dead.addr, alive.addr)
	if err := dead.stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the body survives a first attempt that could not connect
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+lb+"/a/b?c=d", strings.NewReader("a body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Mine", "yes")
		req.Host = "shop.example"
		resp, err := newClient(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d", resp.StatusCode)
		}
		if want := `POST shop.example /a/b?c=d "a body" yes <nil>`; <-got != want {
			t.Errorf("the node did not get %s", want)
		}
	}
}

func TestRefusedConnectionsTakeANodeOut(t *testing.T) {
	a, b := startNode(t, "app-1"), startNode(t, "app-2")
	lb, _ := balance(t, func(b *web.Balancer) {
		b.PassiveFails = 2
		b.Interval = time.Hour // the first check takes it in; none takes it out
	}, a.addr, b.addr)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	bad := 0
	for range 20 {
		if get(t, c, "http://"+lb+"/").status != http.StatusOK {
			bad++
		}
	}
	if got := in(t, lb); bad != 2 || !slices.Equal(got, []string{"app-1"}) {
		t.Errorf("%d requests failed and %q are in, want 2 and app-1", bad, got)
	}
}

func TestNamesAreLookedUpAgain(t *testing.T) {
	a, b := startNode(t, "app-1"), startNode(t, "app-2")
	lb, dns := balance(t, nil, a.addr)
	dns.set(a.addr, b.addr)
	eventually(t, "app-2 was found", func() bool { return slices.Equal(in(t, lb), []string{"app-1", "app-2"}) })

	// A name that is lost is not a node that is lost.
	dns.set(a.addr)
	eventually(t, "the name is lost", func() bool {
		return slices.ContainsFunc(status(t, lb).Upstreams, func(u web.UpstreamStatus) bool { return !u.Resolved })
	})
	if got := in(t, lb); len(got) != 2 {
		t.Errorf("only %q are in", got)
	}
}

func TestLostAndDeadIsForgottenLater(t *testing.T) {
	a, b := startNode(t, "app-1"), startNode(t, "app-2")
	const forget = 200 * time.Millisecond
	lb, dns := balance(t, func(b *web.Balancer) { b.Forget = forget }, a.addr, b.addr)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	dns.set(a.addr)
	died := time.Now()
	eventually(t, "app-2 is forgotten", func() bool { return len(status(t, lb).Upstreams) == 1 })
	if d := time.Since(died); d < forget {
		t.Errorf("forgotten after %v, before %v", d, forget)
	}
}

func TestNameServerThatFailsChangesNothing(t *testing.T) {
	a := startNode(t, "app-1")
	lb, dns := balance(t, func(b *web.Balancer) { b.Forget = 0 }, a.addr)
	dns.mu.Lock()
	dns.err = errors.New("no answer")
	dns.mu.Unlock()
	eventually(t, "the failure is told", func() bool { return status(t, lb).Problem == "no answer" })
	if got := count(t, lb, 3); got["app-1"] != 3 {
		t.Errorf("answers by %v", got)
	}
}

// registry is a source that tells what it is given.
type registry chan []string

func (r registry) Watch(ctx context.Context, tell func([]string)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case found := <-r:
			if found == nil {
				return errors.New("the registry is gone")
			}
			tell(found)
		}
	}
}

func TestSourceTellsWhoComesAndGoes(t *testing.T) {
	one, two := startNode(t, "app-1"), startNode(t, "app-2")
	source := make(registry)
	lb, _ := balance(t, func(b *web.Balancer) { b.To, b.Source = nil, source })
	source <- []string{one.addr, two.addr}
	eventually(t, "both are in", func() bool { return slices.Equal(in(t, lb), []string{"app-1", "app-2"}) })

	source <- []string{two.addr} // withdrawn, though it is well
	eventually(t, "the one that withdrew is dropped", func() bool { return len(status(t, lb).Upstreams) == 1 })
	if by := count(t, lb, 4); by["app-2"] != 4 {
		t.Errorf("4 requests went to %v", by)
	}

	source <- []string{}
	eventually(t, "the empty list is noted", func() bool { return status(t, lb).Problem != "" })
	source <- nil
	eventually(t, "the error is noted", func() bool { return strings.Contains(status(t, lb).Problem, "gone") })
	if by := count(t, lb, 4); by["app-2"] != 4 {
		t.Errorf("without its source it sent 4 requests to %v", by)
	}
	source <- []string{one.addr, two.addr} // it is asked again
	eventually(t, "both are in again", func() bool { return len(in(t, lb)) == 2 })
	if s := status(t, lb); s.Problem != "" {
		t.Errorf("the problem is over, and it says %q", s.Problem)
	}
}

func TestUnknownNamesAreAddresses(t *testing.T) {
	nameless := start(t, &handler{func(http.ResponseWriter, *http.Request) {}}, "127.0.0.1:0")
	rude := start(t, &handler{func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(web.HeaderNode, "app-1, app-2")
	}}, "127.0.0.1:0")
	lb, _ := balance(t, nil, nameless.addr, rude.addr)
	want := []string{nameless.addr, rude.addr}
	slices.Sort(want)
	if got := in(t, lb); !slices.Equal(got, want) {
		t.Errorf("called %q, want the addresses %q", got, want)
	}
}

// A handler serves as nodes do.
type handler struct{ http.HandlerFunc }

func (h *handler) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: h.HandlerFunc, ReadHeaderTimeout: time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
