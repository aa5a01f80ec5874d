package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// nowhere is a database that refuses connections.
func nowhere(t *testing.T) *Database {
	t.Helper()
	d, err := OpenDatabase(t.Context(), "postgres://shop:shop@127.0.0.1:1/shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func startRedis(t *testing.T) (*miniredis.Miniredis, *Redis) {
	t.Helper()
	server := miniredis.RunT(t)
	r := OpenRedis(server.Addr())
	t.Cleanup(func() { r.Close() })
	return server, r
}

// newNode is a node without a database, whose catalogue has two products.
func newNode(t *testing.T, change func(*Node)) *Node {
	t.Helper()
	n := &Node{Name: "app-1", Database: nowhere(t), Sessions: new(MemorySessions), Log: slog.New(slog.DiscardHandler)}
	c, err := newCatalogue([]Product{{1, "Lamp", 1999}, {2, "<b>Chair</b>", 4500}})
	if err != nil {
		t.Fatal(err)
	}
	n.catalogue.Store(c)
	n.beat.Store(time.Now().UnixNano())
	if change != nil {
		change(n)
	}
	return n
}

type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, n *Node, method, path, body, cookie string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	}
	w := httptest.NewRecorder()
	n.handler().ServeHTTP(w, r)
	res := w.Result()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func login(t *testing.T, n *Node) string {
	t.Helper()
	a := ask(t, n, "POST", "/login", `{"user": "ann"}`, "")
	var got struct{ Session string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || got.Session == "" {
		t.Fatalf("login answered %d %s", a.status, a.body)
	}
	if c := a.header.Get("Set-Cookie"); !strings.Contains(c, got.Session) || !strings.Contains(c, "HttpOnly") {
		t.Fatalf("its cookie is %q", c)
	}
	return got.Session
}

func TestCatalogueNeedsNobody(t *testing.T) {
	a := ask(t, newNode(t, nil), "GET", "/", "", "")
	if a.status != 200 || a.header.Get(HeaderNode) != "app-1" || a.header.Get("ETag") == "" {
		t.Errorf("it answered %d, %v", a.status, a.header)
	}
	if !strings.Contains(a.body, "19.99") || !strings.Contains(a.body, "&lt;b&gt;Chair") {
		t.Errorf("the page is %s", a.body)
	}
}

func TestOrdersWithoutDatabase(t *testing.T) {
	n := newNode(t, nil)
	for i := range 5 {
		a := ask(t, n, "POST", "/orders", `{"product": 1, "quantity": 2}`, "")
		if a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Fatalf("order %d got %d %s", i+1, a.status, a.body)
		}
		// From the fourth on nobody asks.
		if asked := !strings.Contains(a.body, "not asked"); asked != (i < 3) {
			t.Errorf("order %d: %s", i+1, a.body)
		}
	}
}

// A number that no product can have is an answer, and no sign of a database that is gone.
func TestProductThatCannotBe(t *testing.T) {
	n := newNode(t, nil)
	for i := range 5 {
		if a := ask(t, n, "POST", "/orders", `{"product": 9999999999, "quantity": 2}`, ""); a.status != 404 {
			t.Fatalf("order %d got %d %s", i+1, a.status, a.body)
		}
	}
	if _, err := n.Database.Product(t.Context(), 1<<40); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestBreakerTriesAgain(t *testing.T) {
	b := newBreaker("it", time.Second)
	calls, down := 0, errors.New("down")
	try := func(answer error) error {
		_, err := call(t.Context(), b, func(err error) bool { return errors.Is(err, down) }, func(context.Context) (int, error) {
			calls++
			return 1, answer
		})
		return err
	}
	for range 5 {
		if err := try(ErrNotFound); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
			t.Fatalf("an answer became %v", err)
		}
	}
	if calls != 5 {
		t.Fatalf("answers opened the breaker: %d calls of 5", calls)
	}
	for range 5 {
		if err := try(down); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("a failure became %v", err)
		}
	}
	if calls != 8 {
		t.Errorf("%d failing calls were made, want 3 of 5", calls-5)
	}
	for end := time.Now().Add(5 * time.Second); try(nil) != nil; {
		if time.Now().After(end) {
			t.Fatal("it never tries again")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestCallHasALimit(t *testing.T) {
	b := newBreaker("it", 20*time.Millisecond)
	_, err := call(t.Context(), b, func(error) bool { return true }, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("silence became %v", err)
	}
}

func TestProductsFromTheCache(t *testing.T) {
	server, r := startRedis(t)
	n := newNode(t, func(n *Node) { n.Redis, n.Cache = r, true })
	if err := r.Keep(t.Context(), &Product{ID: 7, Name: "Table", Cents: 100}); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, n, "GET", "/items/7", "", ""); a.status != 200 || a.header.Get("X-Cache") != "hit" || !strings.Contains(a.body, "Table") {
		t.Errorf("from the cache: %d %v %s", a.status, a.header, a.body)
	}
	if server.TTL(productKey(7)) <= 0 {
		t.Error("it stays in the cache for ever")
	}
	if a := ask(t, n, "GET", "/items/8", "", ""); a.status != 503 || !strings.Contains(a.body, "database") {
		t.Errorf("what the cache does not have comes from the database, which is gone: %d %s", a.status, a.body)
	}
	server.Close()
	n.CacheRequired = true
	if a := ask(t, n, "GET", "/items/7", "", ""); a.status != 503 || !strings.Contains(a.body, "redis") {
		t.Errorf("without the cache that it insists on: %d %s", a.status, a.body)
	}
	n.CacheRequired = false
	if a := ask(t, n, "GET", "/items/7", "", ""); a.status != 503 || !strings.Contains(a.body, "database") {
		t.Errorf("without the cache it goes to the database: %d %s", a.status, a.body)
	}
}

// Both kinds of sessions do the same, on one node.
func TestSessions(t *testing.T) {
	_, r := startRedis(t)
	for name, s := range map[string]Sessions{"memory": new(MemorySessions), "redis": r.Sessions()} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, func(n *Node) { n.Sessions = s })
			id := login(t, n)
			if a := ask(t, n, "GET", "/cart", "", id); a.status != 200 || !strings.Contains(a.body, `"cart":{}`) {
				t.Errorf("a new cart: %d %s", a.status, a.body)
			}
			for range 2 {
				if a := ask(t, n, "POST", "/cart", `{"product": 5, "quantity": 2}`, id); a.status != 200 {
					t.Errorf("add: %d %s", a.status, a.body)
				}
			}
			if a := ask(t, n, "GET", "/cart", "", id); !strings.Contains(a.body, `"cart":{"5":4}`) {
				t.Errorf("the cart is %s", a.body)
			}
			for _, bad := range []string{"", "nobody", strings.Repeat("x", 100)} {
				if a := ask(t, n, "GET", "/cart", "", bad); a.status != 401 {
					t.Errorf("session %q: %d", bad, a.status)
				}
				if a := ask(t, n, "POST", "/cart", `{"product": 5, "quantity": 2}`, bad); a.status != 401 {
					t.Errorf("add to session %q: %d", bad, a.status)
				}
			}
			if other := login(t, n); other == id {
				t.Error("two sessions have one name")
			}
		})
	}
}

func TestCartsHaveALimit(t *testing.T) {
	_, r := startRedis(t)
	for name, s := range map[string]Sessions{"memory": new(MemorySessions), "redis": r.Sessions()} {
		id, err := s.Login(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		for p := range maxItems {
			if _, err := s.Add(t.Context(), id, p+1, 1); err != nil {
				t.Fatalf("%s: product %d: %v", name, p+1, err)
			}
		}
		if _, err := s.Add(t.Context(), id, maxItems+1, 1); !errors.Is(err, ErrFull) {
			t.Errorf("%s: one more than %d: %v", name, maxItems, err)
		}
		if c, err := s.Add(t.Context(), id, 1, 1); err != nil || c["1"] != 2 || len(c) != maxItems {
			t.Errorf("%s: more of what is there: %v, %d products", name, err, len(c))
		}
	}
}

// What a session has is seen by all nodes if it is in Redis, and by one if it is in its memory.
func TestSessionsOfTwoNodes(t *testing.T) {
	_, r := startRedis(t)
	one := newNode(t, func(n *Node) { n.Sessions = r.Sessions() })
	two := newNode(t, func(n *Node) { n.Sessions = r.Sessions() })
	if a := ask(t, two, "GET", "/cart", "", login(t, one)); a.status != 200 {
		t.Errorf("the other node does not know the session in Redis: %d", a.status)
	}
	one.Sessions, two.Sessions = new(MemorySessions), new(MemorySessions)
	if a := ask(t, two, "GET", "/cart", "", login(t, one)); a.status != 401 {
		t.Errorf("the other node knows a session in memory: %d", a.status)
	}
}

func TestBadInput(t *testing.T) {
	n := newNode(t, nil)
	for _, c := range [][3]string{
		{"POST", "/orders", `{"product": 0, "quantity": 1}`},
		{"POST", "/orders", `{"product": 1, "quantity": 1001}`},
		{"POST", "/orders", `{"product": 1, "quantity": 1, "more": 1}`},
		{"POST", "/orders", `{"product": 1, "quantity": 1} x`},
		{"POST", "/login", `{}`},
		{"POST", "/login", `{"user": "` + strings.Repeat("x", maxBody) + `"}`},
		{"POST", "/cart", `[]`},
	} {
		if a := ask(t, n, c[0], c[1], c[2], "s"); a.status != 400 {
			t.Errorf("%s %s %.60s: %d", c[0], c[1], c[2], a.status)
		}
	}
	if a := ask(t, n, "GET", "/items/x", "", ""); a.status != 404 {
		t.Errorf("item x: %d", a.status)
	}
}

func TestReadyAndAlive(t *testing.T) {
	gone := &probe{name: "database", ping: func(context.Context) error { return errors.New("refused") }}
	n := newNode(t, func(n *Node) { n.probes = []*probe{gone} })
	ready := func(status int, contains string) {
		t.Helper()
		if a := ask(t, n, "GET", "/readyz", "", ""); a.status != status || !strings.Contains(a.body, contains) {
			t.Errorf("/readyz: %d %s, want %d and %q", a.status, a.body, status, contains)
		}
	}
	ready(200, `"ready":true`)
	gone.note(errors.New("refused"), n.Log)
	ready(200, `"degraded":null`) // once is no outage
	gone.note(errors.New("refused"), n.Log)
	ready(200, "database: refused") // it can do without
	gone.needed = true
	ready(503, "database: refused")
	gone.note(nil, n.Log)
	ready(200, `"ready":true`)
	n.draining.Store(true)
	ready(503, "it leaves")
	if a := ask(t, n, "GET", "/healthz", "", ""); a.status != 200 {
		t.Errorf("a node that leaves is alive: %d", a.status)
	}
	n.draining.Store(false)
	n.catalogue.Store(nil)
	ready(503, "no catalogue")
	n.beat.Store(time.Now().Add(-time.Minute).UnixNano())
	if a := ask(t, n, "GET", "/healthz", "", ""); a.status != 503 {
		t.Errorf("a node whose work has stopped says that it is alive: %d", a.status)
	}
}

func TestBugIsForTheNodeItself(t *testing.T) {
	if a := ask(t, newNode(t, nil), "POST", "/debug/bug", "", ""); a.status != 404 { // httptest's client is at 192.0.2.1
		t.Errorf("a client from elsewhere got %d", a.status)
	}
}

// A node that is asked to leave says so first, goes on serving, withdraws, and then ends.
func TestNodeLeaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var registered, withdrawn sync.WaitGroup
	registered.Add(1)
	withdrawn.Add(1)
	n := newNode(t, func(n *Node) {
		n.Listen, n.LameDuck, n.Drain = "127.0.0.1:0", 2*time.Second, 10*time.Second
		n.Register = func(ctx context.Context) {
			registered.Done()
			<-ctx.Done()
			withdrawn.Done()
		}
	})
	lines := make(logLines, 100)
	n.Log = slog.New(slog.NewTextHandler(lines, nil))
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	address := lines.address(t)
	registered.Wait() // it is ready: the catalogue is there
	leave()
	withdrawn.Wait()
	status := func(path string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	for end := time.Now().Add(1500 * time.Millisecond); ; {
		if got, err := status("/readyz"); err != nil {
			t.Fatal(err)
		} else if got == 503 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it leaves and says that it is ready")
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := status("/"); err == nil {
		t.Error("it has ended, and serves")
	}
}

// logLines are what a node logs.
type logLines chan string

func (l logLines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
		return 0, fmt.Errorf("too many lines")
	}
	return len(b), nil
}

// address waits for the line that says where the node listens.
func (l logLines) address(t *testing.T) string {
	t.Helper()
	for {
		select {
		case line := <-l:
			if _, rest, ok := strings.Cut(line, "address="); ok {
				return strings.TrimSpace(rest)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("it does not say where it listens")
		}
	}
}
