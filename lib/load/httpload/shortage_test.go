//go:build unix

package httpload_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
)

// filesLeft names, in the environment of a child, the limit of its open files.
const (
	shortChild = "TUTTI_TEST_SHORT_OF_FILES"
	filesLeft  = 40
)

// A generator that has no files left for another connection blames itself, and nobody else.
func TestShortOfFiles(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := &loadtest.Server{Delay: time.Second}
			p := w.plan(t, s, 200, time.Second)
			p.Connections, p.NoKeepAlive, p.Timeout = 1000, true, time.Minute
			if w.tls {
				p.TLS = &load.TLS{Insecure: true}
			}
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestShortOfFilesChild$")
			c.Env = append(os.Environ(), shortChild+"=1")
			c.Stdin, c.Stderr = bytes.NewReader(text), os.Stderr
			out, err := c.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var got map[record.Class]int
			if err := json.NewDecoder(bytes.NewReader(out)).Decode(&got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got[record.Local] < 20 || got[record.OK] < 5 || got[record.OK] != len(s.Log()) {
				t.Errorf("%v; the server saw %d", got, len(s.Log()))
			}
			checkClasses(t, got, map[record.Class]int{record.OK: got[record.OK], record.Local: 200 - got[record.OK]})
		})
	}
}

// TestShortOfFilesChild is what the child does: it sends the plan that it is given, and says how many requests ended how.
func TestShortOfFilesChild(t *testing.T) {
	if os.Getenv(shortChild) == "" {
		t.Skip("for a child of TestShortOfFiles")
	}
	var p load.Plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: filesLeft, Max: filesLeft}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(classes(generate(t, new(httpload.Generator), p)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
}
