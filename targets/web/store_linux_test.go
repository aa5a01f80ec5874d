package web_test

import (
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tutti-bench/tutti/targets/web"
)

// limitFiles lets no file of this process grow beyond so many bytes, until lift is called: a write that would is cut off there, as on a
// disk that is full.
func limitFiles(t *testing.T, most uint64) (lift func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
	t.Cleanup(lift)
	return lift
}

// What a full disk cut off was never acknowledged, and does not become the beginning of what is written once there is room again.
func TestStoreOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	k, s := storing(t, &web.Node{Store: path})
	lift := limitFiles(t, 1<<20) // more than anything else here writes
	value := func(i int) string { return strconv.Itoa(i) + strings.Repeat("x", 60_000) }
	kept, refused := 0, false
	for !refused && kept < 100 {
		switch status, body := k.do("PUT", "a", value(kept+1)); {
		case status == 204:
			kept++
		case status == 500 && strings.Contains(body, "the store cannot be written"):
			refused = true
		default:
			t.Fatalf("%d %s", status, body)
		}
	}
	if kept == 0 || !refused {
		t.Fatalf("%d values were kept, and the next one was refused: %v", kept, refused)
	}
	last := func(when string) { // not by want, which would tell all of it
		t.Helper()
		if status, got := k.do("GET", "a", ""); status != 200 || got != value(kept) {
			t.Errorf("%s: %d %.20q, want %.20q", when, status, got, value(kept))
		}
	}
	last("refused")
	lift()
	k.want("PUT", "b", "1", 204, "")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	k, _ = storing(t, &web.Node{Store: path})
	last("started again")
	k.want("GET", "b", "", 200, "1")
}
