package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/rundir"
)

const killedScenario = `
version: 1
name: killed
target: {compose: compose.yaml, ingress: "http://app:8080", nodes: app, node_header: X-Node}
load: {rate: 100/s, for: %ds, warmup: 500ms, timeout: 5s, requests: [GET /]}
faults: [{name: f, at: 1s, pause: app, for: 1s}]
objectives: [target.availability >= 1%%]
repeats: 1
`

const killedCompose = `
services:
  app:
    image: tutti
    command: [target, node]
    scale: 2
    volumes: %s
`

// A harness under test, started and not yet ended.
type harness struct {
	*exec.Cmd
	out   string
	cache string
	lines *lines
}

// start begins a run of secs of load. Its cache folder makes its things tell apart from anybody else's.
func start(t *testing.T, engine, volumes, cache string, secs int) *harness {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "compose.yaml"), fmt.Sprintf(killedCompose, volumes))
	write(t, filepath.Join(dir, "killed.yaml"), fmt.Sprintf(killedScenario, secs))
	h := &harness{out: filepath.Join(dir, "run"), cache: cache, lines: new(lines)}
	h.Cmd = exec.Command(binary(t), "run", "--engine", engine, "--out", h.out, filepath.Join(dir, "killed.yaml"))
	h.Env = append(os.Environ(), "TUTTI_CACHE="+cache)
	h.Stdout, h.Stderr = h.lines, h.lines
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Process.Kill() })
	return h
}

// lines is what a harness printed, to be looked at while it prints.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits until the harness has printed something.
func (h *harness) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(h.lines.String(), text) {
			return
		}
	}
	t.Fatalf("the run did not print %q within a minute:\n%s", text, h.lines)
}

// children lists the processes that were started, directly or not, by a run: their environment has its cache.
func children(t *testing.T, cache string) []string {
	t.Helper()
	var found []string
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range environs {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if strings.Contains(string(b), cache) || strings.Contains(string(cmdline), cache) {
			found = append(found, filepath.Base(filepath.Dir(name))+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

// Ctrl-C in the middle of a fault undoes, tears down, writes what there is, and exits with 130.
func TestInterrupt(t *testing.T) {
	cache := t.TempDir()
	h := start(t, "process", "[]", cache, 20)
	h.await(t, "onset app")
	if err := h.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = h.Wait()
	if got := h.ProcessState.ExitCode(); got != 130 {
		t.Errorf("exit code %d, want 130\n%s", got, h.lines)
	}
	b, err := os.ReadFile(filepath.Join(h.out, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r rundir.Run
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Verdict != rundir.Interrupted || r.ExitCode != 130 || len(r.Trials) != 1 || r.Trials[0].Valid {
		t.Errorf("run.json says %s, %d, trials %+v", r.Verdict, r.ExitCode, r.Trials)
	}
	if _, err := os.Stat(filepath.Join(h.out, "report.html")); err != nil {
		t.Errorf("no report of what there is: %v", err)
	}
	if left := children(t, cache); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// kills is how often the harness is killed: a few times in the suite, TUTTI_KILLS=20 for the whole.
func kills(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("TUTTI_KILLS"))
	if err != nil {
		return 4
	}
	return n
}

// killed SIGKILLs a harness at random moments of a run. Nothing of it may be left after 15 s, while a second run
// beside it is left alone and ends well.
func killed(t *testing.T, engine, volumes string, left func(cache string) []string) {
	t.Helper()
	n := kills(t)
	bystander := start(t, engine, volumes, t.TempDir(), 12*n+10)
	bystander.await(t, "warm-up")
	worst := time.Duration(0)
	for i := range n {
		cache := t.TempDir()
		h := start(t, engine, volumes, cache, 5)
		at := time.Duration(rand.Int64N(int64(9 * time.Second)))
		time.Sleep(at)
		if err := h.Process.Signal(syscall.SIGKILL); err != nil {
			t.Logf("kill %d at %v: it had ended: %v", i+1, at, err)
		}
		_ = h.Wait()
		began := time.Now()
		for len(left(cache)) > 0 && time.Since(began) < 15*time.Second {
			time.Sleep(100 * time.Millisecond)
		}
		if l := left(cache); len(l) > 0 {
			t.Errorf("kill %d at %v: left after 15 s: %q", i+1, at, l)
		}
		worst = max(worst, time.Since(began))
		t.Logf("killed at %v, clean after %v", at.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	}
	t.Logf("%d kills, the slowest cleaning took %v", n, worst.Round(10*time.Millisecond))
	if err := bystander.Wait(); err != nil {
		t.Errorf("the run beside it: %v\n%s", err, bystander.lines)
	}
}

func TestKilledOnProcesses(t *testing.T) {
	killed(t, "process", "[]", func(cache string) []string { return children(t, cache) })
}

// onEngine lists what carries the label of the machine id that a cache folder holds.
func onEngine(ctx context.Context, t *testing.T, cache string) []string {
	t.Helper()
	label := hostLabel(t, cache)
	if label == "" {
		return nil // killed before it had an id: nothing can have been made
	}
	var found []string
	for _, args := range [][]string{
		{"ps", "-a", "--filter", label, "--format", "container {{.Names}}"},
		{"network", "ls", "--filter", label, "--format", "network {{.Name}}"},
		{"volume", "ls", "--filter", label, "--format", "volume {{.Name}}"},
	} {
		out, err := exec.CommandContext(ctx, "docker", args...).Output()
		if err != nil {
			t.Fatalf("docker %s: %v", args[0], err)
		}
		found = append(found, strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })...)
	}
	return found
}
