package sysfault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/sysfault/task"
)

// container starts the first process of a process namespace in a control group that has an id for its name, as an
// engine does.
func container(t *testing.T, id string) *child {
	t.Helper()
	needsRoot(t)
	dir := filepath.Join("/sys/fs/cgroup/pids", id)
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir = filepath.Join("/sys/fs/cgroup", id)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skip("needs control groups: ", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	c := &child{Cmd: exec.Command("/proc/self/exe")}
	c.Env = append(os.Environ(), roleKey+"=sleep", joinKey+"="+filepath.Join(dir, "cgroup.procs"))
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skip("needs process namespaces: ", err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.wait()
	})
	if n, err := out.Read(make([]byte, 6)); n == 0 {
		t.Fatal("the container's process has not come up: ", err)
	}
	return c
}

func containerID(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%x", fmt.Sprintf("%-20s%d", t.Name(), time.Now().UnixNano()))[:64]
}

// A container's first process is ended by SIGKILL from outside, and its end is between two instants.
func TestSignal(t *testing.T) {
	id := containerID(t)
	c := container(t, id)
	h := help(t, task.Signal)
	h.set(t, map[string]any{"watch": task.End{ID: id}})
	if r := read[task.Ended](t, h, "watch"); r.Dead || r.PID != c.Process.Pid {
		t.Errorf("before: %+v, the process is %d", r, c.Process.Pid)
	}
	began := time.Now()
	out := h.set(t, map[string]any{"watch": task.End{ID: id}, "crash": task.End{ID: id, Kill: true}})
	if out.From.Before(began) || out.To.After(time.Now()) || out.To.Before(out.From) {
		t.Errorf("it ended between %v and %v, asked at %v", out.From, out.To, began)
	}
	r := read[task.Ended](t, h, "crash")
	if !r.Dead || r.PID != c.Process.Pid || r.From.Before(began) || r.To.Before(r.From) {
		t.Errorf("after: %+v", r)
	}
	t.Logf("bracket %v", r.To.Sub(r.From))
	eventually(t, "the watch has seen it", func() bool { return read[task.Ended](t, h, "watch").Dead })
	if w := read[task.Ended](t, h, "watch"); w.To.Before(r.From) || w.To.Sub(w.From) > time.Second {
		t.Errorf("the watch saw %+v", w)
	}
	if err := c.wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended with %v", err)
	}
	for range 2 {
		h.set(t, nil)
	}
	if _, err := h.Set(t.Context(), parts(t, map[string]any{"again": task.End{ID: id, Kill: true}})); err == nil || !strings.Contains(err.Error(), "no process") {
		t.Errorf("a dead container: error %v", err)
	}
	if _, err := h.Set(t.Context(), parts(t, map[string]any{"short": task.End{ID: "a", Kill: true}})); err == nil || !strings.Contains(err.Error(), "no container") {
		t.Errorf("an id that fits everything: error %v", err)
	}
}

// The first process is the one of the container, not of one inside it, nor any other of its processes.
func TestInitOf(t *testing.T) {
	proc, id := t.TempDir(), strings.Repeat("ab", 32)
	for pid, p := range map[string][2]string{
		"10": {"0::/docker/" + strings.Repeat("cd", 32), "NSpid:\t10\t1"},
		"20": {"4:memory:/docker/" + id + "\n0::/", "NSpid:\t20\t7"},
		"30": {"4:memory:/docker/" + id + "/docker/" + strings.Repeat("ef", 32), "NSpid:\t30\t9\t1"},
		"40": {"0::/system.slice/docker-" + id + ".scope", "Name:\tx\nNSpid:\t40\t1\nThreads:\t3"},
		"50": {"0::/", "NSpid:\t50"},
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"cgroup", "status"} {
			if err := os.WriteFile(filepath.Join(proc, pid, name), []byte(p[i]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pid, err := initOf(proc, id); pid != 40 || err != nil {
		t.Errorf("found %d: %v", pid, err)
	}
	if err := os.RemoveAll(filepath.Join(proc, "40")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(proc, "30")); err != nil {
		t.Fatal(err)
	}
	if pid, err := initOf(proc, id); err == nil || !strings.Contains(err.Error(), "share") {
		t.Errorf("one that shares a namespace: %d, %v", pid, err)
	}
}
