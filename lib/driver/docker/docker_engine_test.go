package docker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/watchdog"
)

// built is what the tests have built, to be removed at their end.
var built struct{ dir, exe string }

// program builds the tests' node program once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tutti-docker-test-")
	if err != nil {
		return "", err
	}
	built.dir, built.exe = dir, filepath.Join(dir, "node")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", built.exe, "./testdata/node")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, msg)
	}
	return built.exe, nil
})

// sha is what images of a binary are named by; "" if there is none.
func sha(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return shaOf(string(b))[:12]
}

func shaOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// removeImages removes what the tests have loaded. One that another test binary uses stays.
func removeImages(names ...string) {
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return
	}
	defer c.Close()
	for _, name := range names {
		_, _ = c.ImageRemove(context.Background(), name, image.RemoveOptions{PruneChildren: true})
	}
}

// The test binary is also the harness that is killed, and its watchdog.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 3 && os.Args[1] == "as-harness":
		err = asHarness(os.Args[2], os.Args[3])
	case len(os.Args) > 3 && os.Args[1] == "as-lone-harness":
		err = asLoneHarness(os.Args[2], os.Args[3])
	case len(os.Args) > 1 && os.Args[1] == "as-dog":
		err = watchdog.Serve(os.Stdin, os.Stdout, sweepers)
	default:
		// Most of their time the engine's tests wait, and for each other if there are many. -parallel counts all the same.
		if err := flag.Set("test.parallel", "3"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		code := m.Run()
		if sum := sha(built.exe); sum != "" {
			removeImages("tutti:"+sum, "tutti-go:"+sum)
		}
		os.RemoveAll(built.dir)
		os.Exit(code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// engine returns a driver on the real engine, or skips.
func engine(t *testing.T) *docker.Driver {
	t.Helper()
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d, err := docker.New(t.Context(), docker.Config{Executable: exe, Host: "test-" + t.Name()})
	if err == nil {
		t.Cleanup(func() { d.Close() })
		_, err = d.Probe(t.Context())
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs a Docker engine: %v", err)
		}
		t.Skipf("needs a Docker engine: %v", err)
	}
	return d
}

// run is a run id that no other test has. What it left on the engine is an error.
func run(t *testing.T, d *docker.Driver) string {
	t.Helper()
	id := fmt.Sprintf("T%d-%s", time.Now().UnixNano(), strings.ToLower(t.Name()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		found, err := d.Sweep(ctx, id)
		if err != nil || found > 0 {
			t.Errorf("the run left %d things on the engine (%v)", found, err)
		}
	})
	return id
}

// web is a target of one service with a healthcheck.
func web(scale int) *target.Target {
	return &target.Target{
		Name: "web", Dir: "/nowhere",
		Networks: map[string]target.Network{"default": {Name: "default"}},
		Services: map[string]target.Service{"app": app(scale)},
	}
}

func app(scale int) target.Service {
	return target.Service{
		Name: "app", Image: target.Image{Kind: target.ImageTutti}, Scale: scale,
		Command:   []string{"serve"},
		Networks:  map[string]target.Attachment{"default": {}},
		StopGrace: time.Second,
		Healthcheck: &target.Healthcheck{
			Test: []string{"CMD", "/tutti", "probe"}, Interval: 200 * time.Millisecond, Timeout: 5 * time.Second, Retries: 20,
		},
	}
}

// watcher collects events.
type watcher struct {
	mu     sync.Mutex
	events []target.NodeEvent
}

func (w *watcher) watch(e target.NodeEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *watcher) kinds(node string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []string
	for _, e := range w.events {
		if e.Node == node && e.Kind != record.NodeHealth {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

// up starts a target, and takes it down when the test ends.
func up(t *testing.T, d *docker.Driver, s target.Spec) target.Cluster {
	t.Helper()
	if s.Run == "" {
		s.Run = run(t, d)
	}
	if s.Trial == "" {
		s.Trial = "Cluster-1"
	}
	if s.Watch == nil {
		s.Watch = func(target.NodeEvent) {}
	}
	if s.Progress == nil {
		s.Progress = func(m string) { t.Log(m) }
	}
	c, err := d.Up(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// output attaches a process and returns what it wrote.
func output(t *testing.T, c target.Cluster, args ...string) string {
	t.Helper()
	p, err := c.Attach(context.WithoutCancel(t.Context()), args...) // also when the test ends
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Error(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	return string(out)
}

func TestLife(t *testing.T) {
	t.Parallel()
	d := engine(t)
	var w watcher
	logs := t.TempDir()
	ingress, err := url.Parse("http://app:8080")
	if err != nil {
		t.Fatal(err)
	}
	c := up(t, d, target.Spec{
		Target: web(2), Env: map[string]string{"COLOUR": "red"}, MaxScale: map[string]int{"app": 3},
		Ingress: ingress, LogDir: logs, Watch: w.watch,
	})
	nodes := c.Nodes()
	if len(nodes) != 2 || nodes[0].Name != "app-1" || nodes[1].Name != "app-2" {
		t.Fatalf("nodes: %+v", nodes)
	}
	if got, want := output(t, c, "get", "http://app-1:8080", "http://"+nodes[1].Address+":8080"), "app-1 red\napp-2 red\n"; got != want {
		t.Errorf("answers: got %q, want %q", got, want)
	}
	killed, err := c.(target.Killer).Kill(t.Context(), nodes[0])
	checkEffect(t, killed, err, "signal 9, then die, exit code 137")
	started, err := c.(target.Killer).Start(t.Context(), nodes[0])
	checkEffect(t, started, err, "start")
	if !started.From.After(killed.To) {
		t.Errorf("started from %v, killed until %v", started.From, killed.To)
	}
	paused, err := c.(target.Pauser).Pause(t.Context(), nodes[0])
	checkEffect(t, paused, err, "pause, then state paused")
	thawed, err := c.(target.Pauser).Unpause(t.Context(), nodes[0])
	checkEffect(t, thawed, err, "unpause, then state running")
	stopped, err := c.(target.Stopper).Stop(t.Context(), nodes[1], 5*time.Second)
	checkEffect(t, stopped, err, "signal 15, then die, exit code 0")
	if _, err := c.(target.Stopper).Stop(t.Context(), nodes[1], time.Second); err == nil {
		t.Error("stopping a stopped node is no error")
	}
	if _, err := c.(target.Killer).Kill(t.Context(), nodes[1]); err == nil {
		t.Error("killing a stopped node is no error")
	}
	again, err := c.(target.Stopper).Start(t.Context(), nodes[1])
	checkEffect(t, again, err, "start")
	added, err := c.(target.Scaler).Scale(t.Context(), "app", 3)
	if err != nil || len(added) != 1 || added[0].Node.Name != "app-3" {
		t.Fatalf("scale to 3: %+v, %v", added, err)
	}
	if _, err := c.(target.Scaler).Scale(t.Context(), "app", 4); err == nil {
		t.Error("scaling beyond MaxScale is no error")
	}
	removed, err := c.(target.Scaler).Scale(t.Context(), "app", 1)
	if err != nil || len(removed) != 2 || removed[0].Node.Name != "app-3" || removed[1].Node.Name != "app-2" {
		t.Fatalf("scale to 1: %+v, %v", removed, err)
	}
	if n := c.Nodes(); len(n) != 1 || !reflect.DeepEqual(n[0], nodes[0]) {
		t.Errorf("after scaling down: %+v, want %+v", n, nodes[0])
	}
	if got, want := output(t, c, "get", "http://"+nodes[0].Address+":8080"), "app-1 red\n"; got != want {
		t.Errorf("the old address answers %q, want %q", got, want)
	}
	if err := c.Down(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.(target.Killer).Kill(t.Context(), nodes[0]); err == nil {
		t.Error("killing a node of a target that is down is no error")
	}
	if got, want := w.kinds("app-1"), []string{"start", "die", "start", "pause", "unpause"}; !slices.Equal(got, want) {
		t.Errorf("events of app-1: %v, want %v", got, want)
	}
	if got, want := w.kinds("app-2"), []string{"start", "die", "start", "die", "remove"}; !slices.Equal(got, want) {
		t.Errorf("events of app-2: %v, want %v", got, want)
	}
	log, err := os.ReadFile(filepath.Join(logs, "app-2.log"))
	if got, want := string(log), strings.Repeat("hello from app-2\nbye\n", 2); err != nil || got != want {
		t.Errorf("log of app-2: %q, %v, want %q", got, err, want)
	}
}

func checkEffect(t *testing.T, e target.Effect, err error, proof string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if e.Proof != proof || e.Source != "engine event" {
		t.Errorf("proof %q from %q, want %q", e.Proof, e.Source, proof)
	}
	if e.From.IsZero() || e.To.Before(e.From) || e.To.Sub(e.From) > 10*time.Second || time.Since(e.To).Abs() > time.Minute {
		t.Errorf("%s: from %v to %v", proof, e.From, e.To)
	}
}

// checkUnavailable checks that an error says that the environment lacks something, in one line and a hint.
func checkUnavailable(t *testing.T, err error, what, hint string) {
	t.Helper()
	var u *target.UnavailableError
	if !errors.As(err, &u) {
		t.Fatalf("error %v does not say that the environment lacks something", err)
	}
	if first := u.What + ": " + u.Err.Error(); !strings.Contains(first, what) || strings.Contains(first, "\n") {
		t.Errorf("%q is not one line that says %q", first, what)
	}
	if !strings.Contains(u.Hint, hint) {
		t.Errorf("hint %q does not say %q", u.Hint, hint)
	}
}
