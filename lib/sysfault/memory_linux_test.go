package sysfault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/sysfault/task"
)

// nodeMemory makes a control group with a memory limit, and says what to write into to join it. It is removed at the end.
func nodeMemory(t *testing.T, limit int64) (join string, g group) {
	t.Helper()
	needsRoot(t)
	name := fmt.Sprintf("sysfault-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	g = group{dir: filepath.Join("/sys/fs/cgroup/memory", name)}
	file := "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g = group{dir: filepath.Join("/sys/fs/cgroup", name), v2: true}
		file = "memory.max"
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0) // what is missing shows below
	}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		t.Skip("needs control groups: ", err)
	}
	t.Cleanup(func() {
		for range 100 {
			if err := os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("%s could not be removed", g.dir)
	})
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(fmt.Sprint(limit)), 0); err != nil {
		t.Skip("needs a memory limit: ", err)
	}
	return joinKey + "=" + filepath.Join(g.dir, "cgroup.procs"), g
}

// used waits until a group's use is in a range.
func (g group) used(t *testing.T, least, most int64) {
	t.Helper()
	var last int64
	defer func() {
		if t.Failed() {
			t.Logf("%d KiB are in use", last>>10)
		}
	}()
	eventually(t, fmt.Sprintf("%d to %d KiB are in use", least>>10, most>>10), func() bool {
		var err error
		last, err = g.memoryUsed()
		return err == nil && last >= least && last <= most
	})
}

// A filling brings the group to its share, follows what the service uses, and gives all of it back.
func TestFill(t *testing.T) {
	const limit = 256 << 20
	join, g := nodeMemory(t, limit)
	h := help(t, task.Fill, join)
	before, err := g.memoryUsed()
	if err != nil {
		t.Fatal(err)
	}
	h.set(t, map[string]any{"fill": task.Filling{Share: 0.5}})
	g.used(t, limit/2-8<<20, limit/2+8<<20)
	h.set(t, map[string]any{"fill": task.Filling{Share: 0.5}, "more": task.Filling{Share: 0.8}})
	g.used(t, limit/10*8-8<<20, limit/10*8+8<<20)
	h.set(t, map[string]any{"fill": task.Filling{Share: 0.5}})
	g.used(t, limit/2-8<<20, limit/2+8<<20)

	r := read[task.Filled](t, h, "fill")
	if r.Limit != limit || r.Want != limit/2 || r.Ours <= 0 || r.Most < r.Ours {
		t.Errorf("report %+v", r)
	}
	service := start(t, "hold", join) // uses 16 MiB of its own
	service.line(t)
	g.used(t, limit/2-8<<20, limit/2+8<<20)
	eventually(t, "the helper gives way", func() bool { return read[task.Filled](t, h, "fill").Ours < r.Ours-8<<20 })
	_ = service.Process.Kill()
	_ = service.wait()
	eventually(t, "the helper takes it again", func() bool { return read[task.Filled](t, h, "fill").Ours > r.Ours-8<<20 })

	for range 2 {
		h.set(t, nil)
		g.used(t, 0, before+16<<20)
	}
	if n, err := g.kills(); err != nil || n != 0 {
		t.Errorf("%d were killed: %v", n, err)
	}
}

// All of it is a margin less than the limit: nobody is killed.
func TestFillAll(t *testing.T) {
	const limit = 128 << 20
	join, g := nodeMemory(t, limit)
	h := help(t, task.Fill, join)
	out := h.set(t, map[string]any{"fill": task.Filling{Share: 1}})
	r := read[task.Filled](t, h, "fill")
	if r.Want != limit-margin(limit) || r.Least < r.Want-4096 {
		t.Errorf("report %+v", r)
	}
	t.Logf("%d KiB of %d KiB in use after %v", r.Used>>10, limit>>10, out.To.Sub(out.From))
	_ = h.process.Kill() // its memory goes with it
	<-h.Gone()
	g.used(t, 0, 16<<20)
	if n, err := g.kills(); err != nil || n != 0 {
		t.Errorf("%d were killed: %v", n, err)
	}
}

// Without a limit it would be the machine's memory.
func TestNoLimit(t *testing.T) {
	join, _ := nodeMemory(t, 1<<62)
	for worker, part := range map[string]any{task.Fill: task.Filling{Share: 0.1}, task.OOM: task.Kill{}} {
		h := help(t, worker, join)
		if _, err := h.Set(t.Context(), parts(t, map[string]any{"x": part})); err == nil || !strings.Contains(err.Error(), "no memory limit") {
			t.Errorf("%s: error %v", worker, err)
		}
	}
	h := help(t, task.Fill, join)
	if _, err := h.Set(t.Context(), parts(t, map[string]any{"x": map[string]any{"share": 0.5, "shire": 1}})); err == nil || !strings.Contains(err.Error(), "shire") {
		t.Errorf("error %v", err)
	}
}

// The kernel kills the service's process, and not the helper, which says so. On a busy machine the kernel may no longer see
// its victim while it still wants the memory, and kill the helper too: that is the kernel's doing, and tried again.
func TestOOM(t *testing.T) {
	for range 6 { // with two cores and six busy loops it was killed in one of six
		if oomOnce(t) {
			return
		}
	}
	t.Error("the helper was killed each time")
}

// oomOnce is false if the kernel has killed the helper as well as the service.
func oomOnce(t *testing.T) bool {
	t.Helper()
	join, g := nodeMemory(t, 96<<20)
	node := nodeKey + "=" + t.Name()
	service := start(t, "hold", join, node)
	service.line(t)
	other := start(t, "sleep", node) // outlives it
	other.line(t)
	score := fmt.Sprintf("/proc/%d/oom_score_adj", other.Process.Pid)
	before := content(t, score)
	h := help(t, task.OOM, join, node)
	out, err := h.Set(t.Context(), parts(t, map[string]any{"oom": task.Kill{}}))
	if err != nil && strings.Contains(err.Error(), "signal: killed") {
		if err := service.wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the helper was killed, and the service ended with %v", err)
		}
		t.Log("the helper was killed after the service")
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := service.wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the service ended with %v", err)
	}
	r := read[task.Killed](t, h, "oom")
	if after := content(t, score); after != before || len(r.Left) != 0 {
		t.Errorf("who lives has an oom_score_adj of %s, and had %s; left %q", after, before, r.Left)
	}
	if r.Kills != 1 || len(r.Who) != 1 || !strings.Contains(r.Who[0], fmt.Sprint(service.Process.Pid)) || r.Limit != 96<<20 {
		t.Errorf("report %+v", r)
	}
	t.Logf("killed after %v: %+v", out.To.Sub(out.From), r)
	g.used(t, 0, 24<<20)
	if out := h.set(t, nil); report[task.Killed](t, out.Ended, "oom").Kills != 1 {
		t.Errorf("what has ended: %s", out.Ended)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	return true
}

// What shares the machine's processes is not touched: it would be all of the machine's.
func TestMachinesProcesses(t *testing.T) {
	if own, err := os.Readlink("/proc/self/ns/pid"); err != nil || own != machineNamespace {
		t.Skip("this is not the machine's process namespace: ", own)
	}
	if all, err := nodeProcesses(); err == nil || !strings.Contains(err.Error(), "not touched") {
		t.Errorf("%d processes: %v", len(all), err)
	}
}
