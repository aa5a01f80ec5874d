package web_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/targets/web"
)

// What is answered is in the journal; a node that cannot write it answers with an error, and its health says so.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	n := start(t, &web.Node{Name: "app-1", Journal: path, Drain: 5 * time.Second}, "127.0.0.1:0")
	c := newClient(t)
	status := func(what string) int {
		t.Helper()
		res, err := c.Get("http://" + n.addr + what)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for range 3 {
		if got := status("/"); got != http.StatusOK {
			t.Fatalf("status %d", got)
		}
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || strings.Count(string(b), "\n") != 3 {
		t.Fatalf("the journal has %q: %v", b, err)
	}

	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	full := &web.Node{Name: "app-1", Journal: "/dev/full", Drain: 5 * time.Second}
	n = start(t, full, "127.0.0.1:0")
	for what, want := range map[string]int{"/": http.StatusInternalServerError, "/healthz": http.StatusServiceUnavailable} {
		if got := status(what); got != want {
			t.Errorf("%s: status %d, want %d", what, got, want)
		}
	}
	if got := full.Truth(); got.Unkept != 1 || got.OK != 0 || got.Requests != 1 {
		t.Errorf("truth %+v", got)
	}
}

// A journal that cannot be opened is told before anybody is served.
func TestJournalNowhere(t *testing.T) {
	n := &web.Node{Name: "app-1", Listen: "127.0.0.1:0", Journal: filepath.Join(t.TempDir(), "no", "journal"), Drain: 5 * time.Second}
	if err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "open the journal") {
		t.Errorf("error %v", err)
	}
}
