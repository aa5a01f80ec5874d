package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

// A fake is a store that fails as it is told.
type fake struct {
	mu     sync.Mutex
	values map[string]string
	puts   int
	err    error         // of every request
	hang   chan struct{} // requests wait for it, or for their context
	ready  error
}

func (f *fake) wait(ctx context.Context) error {
	if f.hang != nil {
		select {
		case <-f.hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.err
}

func (f *fake) Put(ctx context.Context, key string, value []byte) (string, error) {
	f.mu.Lock()
	f.puts++
	f.mu.Unlock()
	if err := f.wait(ctx); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[key] = string(value)
	return "node-1", nil
}

func (f *fake) Get(ctx context.Context, key string) ([]byte, string, error) {
	if err := f.wait(ctx); err != nil {
		return nil, "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.values[key]
	if !ok {
		return nil, "node-1", gateway.ErrNotFound
	}
	return []byte(v), "node-1", nil
}

func (f *fake) Ready(context.Context) error { return f.ready }
func (f *fake) Close() error                { return nil }

func serve(t *testing.T, f *fake, limit time.Duration) *httptest.Server {
	t.Helper()
	f.values = make(map[string]string)
	s := httptest.NewServer(gateway.Handler(f, limit, slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	return s
}

// An answer is what is left of a response when it has been read.
type answer struct {
	StatusCode int
	Status     string
	Header     http.Header
}

func do(t *testing.T, method, url, body string) (answer, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Status, res.Header}, string(b)
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	s := serve(t, &fake{}, time.Second)
	for key, value := range map[string]string{"a": "1", "A-b_9": "two\x00\xff\n", "empty": ""} {
		if res, body := do(t, "PUT", s.URL+"/kv/"+key, value); res.StatusCode != 204 || res.Header.Get("X-Node") != "node-1" {
			t.Errorf("PUT %s: %s %v %s", key, res.Status, res.Header, body)
		}
		if res, body := do(t, "GET", s.URL+"/kv/"+key, ""); res.StatusCode != 200 || body != value || res.Header.Get("X-Node") != "node-1" {
			t.Errorf("GET %s: %s, %q", key, res.Status, body)
		}
	}
	if res, _ := do(t, "GET", s.URL+"/kv/other", ""); res.StatusCode != 404 {
		t.Errorf("GET of a key that is not there: %s", res.Status)
	}
}

func TestFailedWritesSayWhatIsKnown(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("no route")}
	for name, c := range map[string]struct {
		err     error
		status  int
		outcome string
	}{
		"refused":     {gateway.NotDone(errors.New("read only")), 503, "not-done"},
		"wrapped":     {fmt.Errorf("put: %w", gateway.NotDone(errors.New("read only"))), 503, "not-done"},
		"late":        {fmt.Errorf("put: %w", context.DeadlineExceeded), 504, "unknown"},
		"broken":      {io.ErrUnexpectedEOF, 502, "unknown"},
		"late unsent": {gateway.NotDone(context.DeadlineExceeded), 503, "not-done"},
		"not marked":  {dial, 502, "unknown"}, // it is for the store to say so
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{err: c.err}
			s := serve(t, f, time.Second)
			res, body := do(t, "PUT", s.URL+"/kv/a", "1")
			if res.StatusCode != c.status || res.Header.Get("X-Outcome") != c.outcome || res.Header.Get("X-Node") != "" {
				t.Errorf("PUT: %s, %v: %s", res.Status, res.Header, body)
			}
			if f.puts != 1 {
				t.Errorf("the store got the write %d times", f.puts)
			}
			if res, _ := do(t, "GET", s.URL+"/kv/a", ""); res.StatusCode != c.status || res.Header.Get("X-Outcome") != "" {
				t.Errorf("GET: %s, %v", res.Status, res.Header)
			}
		})
	}
	if !gateway.Unsent(fmt.Errorf("put: %w", dial)) || gateway.Unsent(&net.OpError{Op: "read", Err: errors.New("reset")}) {
		t.Error("only what failed to be dialled was certainly not sent")
	}
	if gateway.NotDone(nil) != nil {
		t.Error("no error became one")
	}
}

// A store that hangs holds nobody longer than the limit, and not more requests than the bound.
func TestAHangingStore(t *testing.T) {
	f := &fake{hang: make(chan struct{})}
	s := serve(t, f, 200*time.Millisecond)
	const n = 600 // the bound is 512
	statuses := make(chan int, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), "PUT", s.URL+"/kv/a", strings.NewReader("1"))
			if err != nil {
				t.Error(err)
				return
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			statuses <- res.StatusCode
		})
	}
	wg.Wait()
	close(statuses)
	for status := range statuses {
		if status != 504 && status != 503 {
			t.Errorf("status %d", status)
		}
	}
	close(f.hang) // the places are free again
	if res, body := do(t, "PUT", s.URL+"/kv/a", "1"); res.StatusCode != 204 {
		t.Errorf("after it: %s %s", res.Status, body)
	}
}

func TestBadRequestsNeverReachTheStore(t *testing.T) {
	f := &fake{}
	s := serve(t, f, time.Second)
	for path, want := range map[string]int{
		"/kv/a%2Fb": 400, "/kv/..%2f": 400, "/kv/a.b": 400, "/kv/%00": 400, "/kv/" + strings.Repeat("k", 201): 400,
		"/kv/": 404, "/kv/a/b": 404, "/other": 404,
	} {
		if res, _ := do(t, "PUT", s.URL+path, "1"); res.StatusCode != want {
			t.Errorf("PUT %s: %s, want %d", path, res.Status, want)
		}
	}
	if res, _ := do(t, "PUT", s.URL+"/kv/a", strings.Repeat("x", 64<<10+1)); res.StatusCode != 413 || res.Header.Get("X-Outcome") != "not-done" {
		t.Errorf("a value that is too long: %s", res.Status)
	}
	if res, _ := do(t, "DELETE", s.URL+"/kv/a", ""); res.StatusCode != 405 {
		t.Errorf("DELETE: %s", res.Status)
	}
	if f.puts != 0 {
		t.Errorf("the store got %d writes", f.puts)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	f := &fake{ready: errors.New("2 of 3 members")}
	s := serve(t, f, time.Second)
	if res, _ := do(t, "GET", s.URL+"/healthz", ""); res.StatusCode != 200 {
		t.Errorf("/healthz: %s", res.Status)
	}
	if res, body := do(t, "GET", s.URL+"/readyz", ""); res.StatusCode != 503 || !strings.Contains(body, "2 of 3") || f.puts != 0 {
		t.Errorf("/readyz of a part: %s %s", res.Status, body)
	}
	f.ready, f.err = nil, gateway.NotDone(errors.New("read only"))
	if res, body := do(t, "GET", s.URL+"/readyz", ""); res.StatusCode != 503 || !strings.Contains(body, "read only") {
		t.Errorf("/readyz without a write: %s %s", res.Status, body)
	}
	f.err = nil
	if res, _ := do(t, "GET", s.URL+"/readyz", ""); res.StatusCode != 200 {
		t.Errorf("/readyz: %s", res.Status)
	}
	if res, body := do(t, "GET", s.URL+"/kv/"+gateway.ReadyKey, ""); res.StatusCode != 200 || body == "" {
		t.Errorf("the key that it writes: %s", res.Status)
	}
}

func TestLeader(t *testing.T) {
	var mu sync.Mutex
	name, fail := "a", error(nil)
	asked := make(chan struct{})
	l := gateway.Follow(t.Context(), time.Millisecond, func(ctx context.Context) (string, error) {
		select {
		case asked <- struct{}{}:
		case <-ctx.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		return name, fail
	})
	defer l.Close()
	until := func(want string) {
		t.Helper()
		for range 1000 {
			<-asked
			if l.Name() == want {
				return
			}
		}
		t.Errorf("the leader is %q, want %q", l.Name(), want)
	}
	until("a")
	mu.Lock()
	name = "b"
	mu.Unlock()
	until("b")
	mu.Lock()
	fail = errors.New("nobody")
	mu.Unlock()
	until("")
}
