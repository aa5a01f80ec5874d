package web_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/web"
)

// A kvClient puts and gets.
type kvClient struct {
	t    *testing.T
	c    *http.Client
	base string
}

func (k kvClient) do(method, key, value string) (int, string) {
	k.t.Helper()
	r, err := http.NewRequestWithContext(k.t.Context(), method, k.base+key, strings.NewReader(value))
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := k.c.Do(r)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (k kvClient) want(method, key, value string, status int, body string) {
	k.t.Helper()
	if s, b := k.do(method, key, value); s != status || strings.TrimSpace(b) != body {
		k.t.Errorf("%s %s %s: %d %q, want %d %q", method, key, value, s, b, status, body)
	}
}

func storing(t *testing.T, n *web.Node) (kvClient, *running) {
	t.Helper()
	n.Name, n.Drain = "app-1", 5*time.Second
	s := start(t, n, "127.0.0.1:0")
	return kvClient{t, newClient(t), "http://" + s.addr + "/kv/"}, s
}

// What was put is there, also after a new start; what no store takes is refused.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	k, s := storing(t, &web.Node{Store: path})
	k.want("GET", "a", "", 404, "no such key")
	k.want("PUT", "a", "1", 204, "")
	k.want("PUT", "b/c", "x y", 204, "")
	k.want("PUT", "a", "2", 204, "")
	k.want("GET", "a", "", 200, "2")
	k.want("PUT", "a", "two\nlines", 400, "a key and a value on one line, please")
	k.want("PUT", "a", strings.Repeat("x", 65<<10), 400, "a key and a value on one line, please")
	k.want("PUT", "", "1", 400, "a key and a value on one line, please")
	k.want("POST", "a", "1", 405, "PUT and GET are known here")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	k, _ = storing(t, &web.Node{Store: path})
	k.want("GET", "a", "", 200, "2")
	k.want("GET", "b/c", "", 200, "x y")
	half := filepath.Join(t.TempDir(), "half")
	if err := os.WriteFile(half, []byte("a 1\nb 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // half a line was never acknowledged, and does not become the beginning of the next one
		k, s = storing(t, &web.Node{Store: half})
		k.want("GET", "a", "", 200, "1")
		k.want("GET", "b", "", 404, "no such key")
		k.want("PUT", "c", "3", 204, "")
		k.want("GET", "c", "", 200, "3")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
	k, _ = storing(t, &web.Node{Store: "memory"})
	k.want("GET", "a", "", 404, "no such key")
	nowhere := &web.Node{Name: "app-1", Listen: "127.0.0.1:0", Store: filepath.Join(t.TempDir(), "no", "store"), Drain: 5 * time.Second}
	if err := nowhere.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "open the store") {
		t.Errorf("a store that cannot be opened: %v", err)
	}
	none, _ := storing(t, &web.Node{})
	if s, b := none.do("GET", "a", ""); s != 200 || !strings.HasPrefix(b, "hello from app-1") {
		t.Errorf("a node without a store: %d %s", s, b)
	}
}

// Planted defects are there, and nothing else is.
func TestStoreDefects(t *testing.T) {
	k, _ := storing(t, &web.Node{Store: "memory", StoreForget: 2})
	k.want("PUT", "a", "1", 204, "")
	k.want("PUT", "b", "1", 204, "")
	k.want("GET", "a", "", 200, "1")
	k.want("GET", "b", "", 404, "no such key")
	k, _ = storing(t, &web.Node{Store: "memory", StoreTwice: 2})
	k.want("PUT", "a", "1", 204, "")
	k.want("PUT", "b", "1", 204, "")
	k.want("GET", "a", "", 200, "1")
	k.want("GET", "b", "", 200, "1,1")

	path := filepath.Join(t.TempDir(), "store")
	late, s := storing(t, &web.Node{Store: path, StoreLate: time.Minute})
	late.want("PUT", "a", "1", 204, "")
	late.want("GET", "a", "", 404, "no such key")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again, _ := storing(t, &web.Node{Store: path, StoreLate: time.Millisecond})
	again.want("GET", "a", "", 404, "no such key")
	again.want("PUT", "a", "2", 204, "")
	again.becomes("a", "2")

	const behind = 300 * time.Millisecond
	stale, _ := storing(t, &web.Node{Store: "memory", StoreStale: behind})
	stale.want("PUT", "a", "1", 204, "")
	stale.want("GET", "a", "", 404, "no such key")
	stale.becomes("a", "1")
	stale.want("PUT", "a", "2", 204, "")
	stale.want("GET", "a", "", 200, "1")
	stale.becomes("a", "2")
}

// becomes waits until a key has a value.
func (k kvClient) becomes(key, value string) {
	k.t.Helper()
	eventually(k.t, "key "+key+" has "+value, func() bool {
		_, got := k.do("GET", key, "")
		return got == value
	})
}
