package watchdog_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/watchdog"
)

// The test binary is also the dog, the harness that is killed, and what it starts.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "as-") {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "as-dog":
		err = watchdog.Serve(os.Stdin, os.Stdout, map[string]watchdog.Sweeper{"docker": sweep, "process": nil})
	case "as-harness":
		err = harness(os.Args[2])
	case "as-node":
		time.Sleep(time.Hour)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// sweep stands in for an engine's: a thing is a file in a folder named by the run.
func sweep(_ context.Context, o watchdog.Order) (int, error) {
	things, err := filepath.Glob(filepath.Join(o.Env["THINGS"], o.Run+"-*"))
	for _, t := range things {
		if err := os.Remove(t); err != nil {
			return len(things), err
		}
	}
	return len(things), err
}

// harness starts a dog and a node, says how far it is, and never cleans up.
func harness(moment string) error {
	say := func(what string, v any) {
		fmt.Println(what, v)
		if what == moment {
			time.Sleep(time.Hour)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dog, err := watchdog.Start(context.Background(), exe, []string{"as-dog"}, watchdog.Order{
		Run: "dead", Driver: "docker", Env: map[string]string{"THINGS": os.Getenv("THINGS")},
	})
	if err != nil {
		return err
	}
	say("dog", 0)
	if err := os.WriteFile(filepath.Join(os.Getenv("THINGS"), "dead-1"), nil, 0o600); err != nil {
		return err
	}
	say("thing", 0)
	node := exec.Command(exe, "as-node")
	if err := node.Start(); err != nil {
		return err
	}
	if err := dog.Pid(node.Process.Pid); err != nil {
		return err
	}
	say("node", node.Process.Pid)
	return errors.New("the harness was not killed")
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// start starts a dog in a cache of its own.
func start(t *testing.T, o watchdog.Order) *watchdog.Dog {
	t.Helper()
	dog, err := watchdog.Start(t.Context(), executable(t), []string{"as-dog"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return dog
}

// eventually waits for something that other processes do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

func TestKilledHarness(t *testing.T) {
	for _, moment := range []string{"dog", "thing", "node"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			things := t.TempDir()
			other := filepath.Join(things, "alive-1")
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(executable(t), "as-harness", moment)
			cmd.Env = append(os.Environ(), "THINGS="+things, "TUTTI_CACHE="+t.TempDir())
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			node := waitFor(t, out, moment)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			// An engine may finish a creation after its client has died.
			late := filepath.Join(things, "dead-2")
			if err := os.WriteFile(late, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			eventually(t, "the dead run's things are gone", func() bool { return gone(late) && gone(filepath.Join(things, "dead-1")) })
			if moment == "node" {
				eventually(t, "the dead run's process is gone", func() bool { return !alive(t, node) })
			}
			if gone(other) {
				t.Error("the dog removed what belongs to another run")
			}
		})
	}
}

// waitFor reads what the harness says up to a moment and returns its value.
func waitFor(t *testing.T, out io.Reader, moment string) (value int) {
	t.Helper()
	for s := bufio.NewScanner(out); s.Scan(); {
		var what string
		if _, err := fmt.Sscan(s.Text(), &what, &value); err == nil && what == moment {
			return value
		}
	}
	t.Fatalf("the harness did not get to %q", moment)
	return 0
}

func TestRelease(t *testing.T) {
	t.Setenv("TUTTI_CACHE", t.TempDir())
	things := t.TempDir()
	thing := filepath.Join(things, "r-1")
	if err := os.WriteFile(thing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dog := start(t, watchdog.Order{Run: "r", Driver: "docker", Env: map[string]string{"THINGS": things}})
	if err := dog.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if gone(thing) {
		t.Error("a released dog has swept")
	}
	if err := dog.Pid(os.Getpid()); err == nil {
		t.Error("a released dog took a registration")
	}
}

func TestStartFails(t *testing.T) {
	t.Setenv("TUTTI_CACHE", t.TempDir())
	for name, c := range map[string]struct {
		args   []string
		order  watchdog.Order
		reason string
	}{
		"no run":         {[]string{"as-dog"}, watchdog.Order{Driver: "process"}, "no run given"},
		"unknown driver": {[]string{"as-dog"}, watchdog.Order{Run: "r", Driver: "abacus"}, `driver "abacus"`},
		"no dog":         {[]string{"as-nothing"}, watchdog.Order{Run: "r", Driver: "process"}, "before it was ready"},
	} {
		t.Run(name, func(t *testing.T) {
			dog, err := watchdog.Start(t.Context(), executable(t), c.args, c.order)
			if err == nil {
				t.Fatal("it started", dog.Release(t.Context()))
			}
			if !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %q does not say %q", err, c.reason)
			}
		})
	}
}

// A line is what goes over the wire, as the tests of the dog's side write it.
type line map[string]any

// serve runs the dog's side on these lines, the end of the pipe after them.
func serve(t *testing.T, sweep watchdog.Sweeper, lines ...line) error {
	t.Helper()
	var in strings.Builder
	for _, l := range lines {
		if err := json.NewEncoder(&in).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	in.WriteString(`{"process": {"pid": 1`) // a harness that died while it wrote
	var out strings.Builder
	err := watchdog.Serve(strings.NewReader(in.String()), &out, map[string]watchdog.Sweeper{"docker": sweep})
	if out.String() != "{\"ready\":true}\n" {
		t.Errorf("the dog answered %q", out.String())
	}
	return err
}

var order = line{"order": line{"run": "r", "driver": "docker"}}

func TestReusedPid(t *testing.T) {
	t.Setenv("TUTTI_CACHE", t.TempDir())
	node := exec.Command(executable(t), "as-node")
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Process.Kill(); _ = node.Wait() })
	if err := serve(t, nil, order, line{"process": line{"pid": node.Process.Pid, "start": "12345"}}); err != nil {
		t.Fatal(err)
	}
	if !alive(t, node.Process.Pid) {
		t.Error("the dog killed a process that has the number of another")
	}
}

func TestTemp(t *testing.T) {
	t.Setenv("TUTTI_CACHE", t.TempDir())
	ours, theirs := filepath.Join(t.TempDir(), "tutti-x"), filepath.Join(t.TempDir(), "home")
	for _, dir := range []string{ours, theirs} {
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := serve(t, nil, order, line{"temp": ours}, line{"temp": theirs}); err == nil {
		t.Error("a folder that is not ours is no error")
	}
	if !gone(ours) || gone(theirs) {
		t.Errorf("ours gone: %v, theirs gone: %v", gone(ours), gone(theirs))
	}
}

func TestQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		found []int         // by sweep; 0 after them; −1 is an error
		takes time.Duration // each sweep
		least time.Duration
		most  time.Duration
		fails bool
	}{
		"nothing":        {nil, 0, 3 * time.Second, 4 * time.Second, false},
		"appears late":   {[]int{0, 0, 1}, 0, 5 * time.Second, 6 * time.Second, false},
		"engine is busy": {[]int{-1, -1, 2}, 0, 3 * time.Second, 5 * time.Second, false},
		"slow engine":    {nil, 3 * time.Second, 11 * time.Second, 12 * time.Second, false},
		"never quiet":    {many(1000, 1), 0, 60 * time.Second, 61 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TUTTI_CACHE", t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				begun, n := time.Now(), 0
				err := serve(t, func(context.Context, watchdog.Order) (int, error) {
					n++
					time.Sleep(c.takes)
					switch {
					case n > len(c.found):
						return 0, nil
					case c.found[n-1] < 0:
						return 0, errors.New("busy")
					}
					return c.found[n-1], nil
				}, order)
				if (err != nil) != c.fails {
					t.Errorf("error: %v", err)
				}
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("it took %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}

func many(n, v int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// Who only looks makes no folder: a dog outlives its run, and may outlive its cache.
func TestLookingMakesNothing(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "none")
	t.Setenv("TUTTI_CACHE", cache)
	if watchdog.Held("nobody") || !gone(cache) {
		t.Errorf("held, or the folder is there now: %v", !gone(cache))
	}
	release, err := watchdog.Lock("somebody")
	if err != nil || !watchdog.Held("somebody") {
		t.Fatalf("not locked: %v", err)
	}
	release()
}

func TestLock(t *testing.T) {
	t.Setenv("TUTTI_CACHE", t.TempDir())
	if watchdog.Held("a") {
		t.Error("a run that never was is alive")
	}
	release, err := watchdog.Lock("a")
	if err != nil {
		t.Fatal(err)
	}
	if !watchdog.Held("a") || watchdog.Held("b") {
		t.Errorf("a is alive: %v, b is alive: %v", watchdog.Held("a"), watchdog.Held("b"))
	}
	if _, err := watchdog.Lock("a"); err == nil {
		t.Error("two hold the lock of one run")
	}
	release()
	if watchdog.Held("a") {
		t.Error("a released run is alive")
	}
	for _, bad := range []string{"", "../x", `a\b`, ".x"} {
		if _, err := watchdog.Lock(bad); err == nil {
			t.Errorf("%q was taken for a run", bad)
		}
	}
}

func TestLockDiesWithItsHolder(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("TUTTI_CACHE", cache)
	holder := exec.Command(executable(t), "-test.run=TestHold")
	holder.Env = append(os.Environ(), "HOLD=1")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, out, "held")
	if !watchdog.Held("h") {
		t.Error("the run is not alive")
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	if watchdog.Held("h") {
		t.Error("a killed run is alive")
	}
}

// TestHold is the other process of TestLockDiesWithItsHolder.
func TestHold(t *testing.T) {
	if os.Getenv("HOLD") == "" {
		return
	}
	if _, err := watchdog.Lock("h"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("held", 0)
	time.Sleep(time.Hour)
}

func TestHostID(t *testing.T) {
	t.Setenv("TUTTI_CACHE", t.TempDir())
	ids := make(chan string)
	for range 8 {
		go func() {
			id, err := watchdog.HostID()
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range 7 {
		if id := <-ids; id != first || len(id) < 8 {
			t.Errorf("ids %q and %q", first, id)
		}
	}
	t.Setenv("TUTTI_CACHE", t.TempDir())
	if other, err := watchdog.HostID(); err != nil || other == first {
		t.Errorf("another user has the id %q, %v", other, err)
	}
}
