package web_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/web"
)

func put(t *testing.T, addr, path string) int {
	t.Helper()
	a, err := ask(t, newClient(t), http.MethodPut, "http://"+addr+path)
	if err != nil {
		t.Fatal(err)
	}
	return a.status
}

// A session in memory is known where it began, one in a folder wherever the folder is, one with the client everywhere.
func TestSessions(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name     string
		sessions func() *web.Node
		there    int // what the other node answers
	}{
		{"memory", func() *web.Node { return &web.Node{Sessions: web.Sessions{InMemory: true}} }, http.StatusConflict},
		{"folder", func() *web.Node { return &web.Node{Sessions: web.Sessions{Dir: dir}} }, http.StatusOK},
		{"client", func() *web.Node { return new(web.Node) }, http.StatusOK},
	} {
		var nodes [2]*running
		for i := range nodes {
			n := c.sessions()
			n.Drain = 5 * time.Second
			nodes[i] = start(t, n, "127.0.0.1:0")
		}
		if got := put(t, nodes[0].addr, "/session/a-1/0"); got != http.StatusOK {
			t.Errorf("%s: to begin gave %d", c.name, got)
		}
		if got := put(t, nodes[0].addr, "/session/a-1/3"); got != http.StatusOK {
			t.Errorf("%s: where it began it is answered with %d", c.name, got)
		}
		if got := put(t, nodes[1].addr, "/session/a-1/3"); got != c.there {
			t.Errorf("%s: elsewhere it is answered with %d, want %d", c.name, got, c.there)
		}
		if got := put(t, nodes[0].addr, "/session/never-begun/1"); c.name != "client" && got != http.StatusConflict {
			t.Errorf("%s: one that nobody began is answered with %d", c.name, got)
		}
	}
}

// An ID becomes a file's name, and leads nowhere else.
func TestSessionIDs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, &web.Node{Sessions: web.Sessions{Dir: dir}, Drain: 5 * time.Second}, "127.0.0.1:0")
	for _, id := range []string{"..", "%2e%2e%2fout", "a.b", ""} {
		_, _ = ask(t, newClient(t), http.MethodPut, "http://"+r.addr+"/session/"+id+"/0")
	}
	for _, folder := range []string{dir, filepath.Dir(dir)} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "in" {
				t.Errorf("%s has %s", folder, e.Name())
			}
		}
	}
}

// What is acknowledged early is not stored yet, and an orderly end stores it.
func TestAcksEarly(t *testing.T) {
	dir := t.TempDir()
	n := &web.Node{Sessions: web.Sessions{Dir: dir, Late: time.Hour}, Drain: 5 * time.Second}
	early := start(t, n, "127.0.0.1:0")
	other := start(t, &web.Node{Sessions: web.Sessions{Dir: dir}, Drain: 5 * time.Second}, "127.0.0.1:0")
	if got := put(t, early.addr, "/session/a/0"); got != http.StatusOK {
		t.Fatalf("to begin gave %d", got)
	}
	if here, there := put(t, early.addr, "/session/a/1"), put(t, other.addr, "/session/a/1"); here != http.StatusOK || there != http.StatusConflict {
		t.Errorf("before it is stored, the node answers %d and another %d", here, there)
	}
	if err := early.stop(); err != nil {
		t.Fatal(err)
	}
	if got := put(t, other.addr, "/session/a/1"); got != http.StatusOK {
		t.Errorf("after an orderly end another node answers %d", got)
	}
}

// Sessions that are due are stored while the node runs.
func TestAcksALittleEarly(t *testing.T) {
	dir := t.TempDir()
	r := start(t, &web.Node{Sessions: web.Sessions{Dir: dir, Late: time.Millisecond}, Drain: 5 * time.Second}, "127.0.0.1:0")
	put(t, r.addr, "/session/a/0")
	eventually(t, "it is stored", func() bool {
		_, err := os.Stat(filepath.Join(dir, "a"))
		return err == nil
	})
}

// A node that works on one request at a time works on what was abandoned, too.
func TestAtOnce(t *testing.T) {
	n := &web.Node{AtOnce: 1, Delay: 100 * time.Millisecond, Drain: 10 * time.Second}
	r := start(t, n, "127.0.0.1:0")
	impatient := newClient(t)
	impatient.Timeout = 20 * time.Millisecond
	for range 3 {
		if _, err := ask(t, impatient, http.MethodGet, "http://"+r.addr+"/"); err == nil {
			t.Fatal("who waits for 20 ms has an answer")
		}
	}
	began := time.Now()
	if a := get(t, newClient(t), "http://"+r.addr+"/"); a.status != http.StatusOK {
		t.Fatalf("answer %+v", a)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("the fourth waited %v: the work of those who had gone was left out", took)
	}
}

// Nodes without their dependency answer 503, at once where too many ask it already.
func TestDependency(t *testing.T) {
	depot := start(t, &web.Node{Delay: 300 * time.Millisecond, Drain: 5 * time.Second}, "127.0.0.1:0")
	n := &web.Node{Dependency: web.Dependency{URL: "http://" + depot.addr, Limit: 1, Timeout: 5 * time.Second}, Drain: 5 * time.Second}
	r := start(t, n, "127.0.0.1:0")
	c := newClient(t)
	const together = 5
	codes := make(chan int, together)
	for range together {
		go func() {
			resp, err := c.Get("http://" + r.addr + "/")
			if err != nil {
				codes <- 0
				return
			}
			_ = resp.Body.Close()
			codes <- resp.StatusCode
		}()
	}
	got := make(map[int]int)
	for range together {
		got[<-codes]++
	}
	if got[http.StatusOK] == 0 || got[http.StatusServiceUnavailable] == 0 || got[http.StatusOK]+got[http.StatusServiceUnavailable] != together {
		t.Errorf("%d requests together were answered with %v", together, got)
	}
	if a := get(t, c, "http://"+r.addr+"/"); a.status != http.StatusOK {
		t.Errorf("alone, one is answered with %+v", a)
	}
	if err := depot.stop(); err != nil {
		t.Fatal(err)
	}
	if a := get(t, c, "http://"+r.addr+"/"); a.status != http.StatusServiceUnavailable {
		t.Errorf("without the dependency the answer is %+v", a)
	}
	if n.Truth().Without == 0 {
		t.Error("the node does not count them")
	}
}

// A node that hides its draining says that it is healthy until it ends.
func TestHideDrain(t *testing.T) {
	n := &web.Node{HideDrain: true, LameDuck: 400 * time.Millisecond, Drain: 5 * time.Second}
	r := start(t, n, "127.0.0.1:0")
	ended := make(chan error, 1)
	go func() { ended <- r.stop() }()
	c := newClient(t)
	asked := 0
	for {
		select {
		case err := <-ended:
			if err != nil || asked == 0 {
				t.Errorf("it ended with %v after %d answers", err, asked)
			}
			return
		default:
		}
		a, err := ask(t, c, http.MethodGet, "http://"+r.addr+"/healthz")
		if err == nil && a.status != http.StatusOK {
			t.Errorf("while it drains it says %d", a.status)
		}
		if err == nil {
			asked++
		}
	}
}

// Who accepts connections and says nothing passes one kind of health check and not the other.
func TestCheckModes(t *testing.T) {
	var lc net.ListenConfig
	mute, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	lb, _ := balance(t, func(b *web.Balancer) { b.CheckMode = web.CheckConnect }, mute.Addr().String())
	if got := len(in(t, lb)); got != 1 {
		t.Errorf("%d upstreams are in", got)
	}
	other := startNode(t, "app-1")
	lb, dns := balance(t, func(b *web.Balancer) { b.CheckTimeout = 50 * time.Millisecond }, other.addr)
	dns.set(other.addr, mute.Addr().String())
	eventually(t, "it was checked", func() bool {
		for _, u := range status(t, lb).Upstreams {
			if u.Address == mute.Addr().String() && u.Why != "not checked yet" {
				return !u.In
			}
		}
		return false
	})
}

// With a cache, the balancer never hears of a node that is added.
func TestCacheDNS(t *testing.T) {
	a, b := startNode(t, "app-1"), startNode(t, "app-2")
	fresh, freshDNS := balance(t, nil, a.addr)
	stale, staleDNS := balance(t, func(b *web.Balancer) { b.CacheDNS = true }, a.addr)
	freshDNS.set(a.addr, b.addr)
	staleDNS.set(a.addr, b.addr)
	eventually(t, "the fresh one has both", func() bool { return len(in(t, fresh)) == 2 })
	if got := len(status(t, stale).Upstreams); got != 1 {
		t.Errorf("the one with a cache has %d", got)
	}
}
