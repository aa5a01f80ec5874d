package sysfault

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

// What this test program is when it is started again, in the environment of its children.
const (
	roleKey = "SYSFAULT_TEST_ROLE" // a worker's name; "time": tells the time; "hold": holds memory; "sleep"
	nodeKey = "SYSFAULT_TEST_NODE" // marks the processes of one test's node
	joinKey = "SYSFAULT_TEST_JOIN" // control groups to join first, by files
	dirKey  = "SYSFAULT_TEST_DIR"  // of the disk worker
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleKey)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play is the life of a child.
func play(role string) error {
	for _, file := range filepath.SplitList(os.Getenv(joinKey)) {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return err
		}
	}
	switch role {
	case "time":
		return tellTime()
	case "sleep":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("ready")
		<-stop
		return nil
	case "hold":
		held := make([]byte, 16<<20)
		for i := range held {
			held[i] = byte(i)
		}
		fmt.Println("ready")
		for i := 0; ; i++ {
			held[i%len(held)]++
			time.Sleep(10 * time.Millisecond)
		}
	}
	w, err := worker(role)
	if err != nil {
		return err
	}
	return agent.Help(context.Background(), os.Stdin, os.Stdout, w, time.Minute)
}

func worker(name string) (agent.Worker, error) {
	switch name {
	case task.Signal:
		return NewSignal()
	case task.Burn:
		return NewBurn()
	case task.Fill:
		return NewFill()
	case task.OOM: // never a process of the machine's that is not the test's
		return newOOM(ofNode), nil
	case task.Disk:
		return newDisk(os.Getenv(dirKey)), nil
	case task.Throttle:
		return NewThrottle()
	case task.Clock:
		w, err := NewClock()
		if c, ok := w.(*clock); ok {
			c.list = ofNode
		}
		return w, err
	}
	return nil, fmt.Errorf("no worker %q", name)
}

// ofNode lists the processes of the test's node alone.
func ofNode() ([]process, error) {
	all, err := processes()
	mark := nodeKey + "=" + os.Getenv(nodeKey)
	var some []process
	for _, p := range all {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		if err == nil && strings.Contains(string(env), mark) && !strings.Contains(string(env), roleKey+"="+os.Getenv(roleKey)) {
			some = append(some, p)
		}
	}
	return some, err
}

// tellTime answers each line with the wall clock and the monotonic one.
func tellTime() error {
	zero := time.Now()
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "fork" { // a program that is started now
			cmd := exec.Command("/proc/self/exe")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			return cmd.Run()
		}
		now := time.Now()
		fmt.Println(now.UnixNano(), int64(now.Sub(zero)))
	}
	return in.Err()
}

// A child is a process of a test. It is gone when the test is.
type child struct {
	*exec.Cmd
	in   io.Writer
	out  *bufio.Reader
	once sync.Once
	err  error
}

// start starts this program in a role, with more of an environment.
func start(t *testing.T, role string, env ...string) *child {
	t.Helper()
	return run(t, "/proc/self/exe", append(env, roleKey+"="+role)...)
}

func run(t *testing.T, path string, env ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(path)}
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.in = in
	c.out = bufio.NewReader(out)
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.wait()
	})
	return c
}

func (c *child) wait() error {
	c.once.Do(func() { c.err = c.Wait() })
	return c.err
}

// line reads the child's next line.
func (c *child) line(t *testing.T) string {
	t.Helper()
	l, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child says no more: %v", err)
	}
	return strings.TrimSpace(l)
}

// A helper is a worker of a test, as it is in a node: its own process.
type helper struct {
	*agent.Helper
	process *os.Process
}

func help(t *testing.T, worker string, env ...string) *helper {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append(env, roleKey+"="+worker)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, err := agent.DialHelper(t.Context(), &target.Process{Stdin: in, Stdout: out, Wait: cmd.Wait, Kill: func() { _ = cmd.Process.Kill() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return &helper{h, cmd.Process}
}

// parts are the parts of faults by name.
func parts(t *testing.T, of map[string]any) agent.Parts {
	t.Helper()
	p := make(agent.Parts)
	for name, part := range of {
		raw, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		p[name] = raw
	}
	return p
}

// set has the helper keep up parts, and must succeed.
func (h *helper) set(t *testing.T, of map[string]any) agent.Outcome {
	t.Helper()
	out, err := h.Set(t.Context(), parts(t, of))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// report reads one part's.
func report[R any](t *testing.T, from agent.Parts, name string) R {
	t.Helper()
	var r R
	if err := json.Unmarshal(from[name], &r); err != nil {
		t.Fatalf("the report of %s is %q: %v", name, from[name], err)
	}
	return r
}

func read[R any](t *testing.T, h *helper, name string) R {
	t.Helper()
	all, err := h.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report[R](t, all, name)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(until) {
			t.Fatalf("it is not so after 10 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}
