package sysfault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/sysfault/task"
)

// The burner uses about what it is asked to, if nobody else wants the CPU, never more, and nothing at its end.
func TestBurn(t *testing.T) {
	h := help(t, task.Burn)
	h.set(t, map[string]any{"burn": task.Load{Share: 0.3}, "more": task.Load{Share: 0.1}})
	eventually(t, "it has burnt for two seconds", func() bool { return read[task.Burnt](t, h, "burn").Held > 2*time.Second })
	out := h.set(t, nil)
	for name, share := range map[string]float64{"burn": 0.3, "more": 0.1} {
		r := report[task.Burnt](t, out.Ended, name)
		t.Logf("asked %v, delivered %.3f of %v cores in %v", share, r.Delivered, r.Cores, r.Held)
		if r.Asked != share || r.CPU <= 0 || r.Delivered <= share/10 || r.Delivered > share*1.1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	before := cpuOf(t, h.process.Pid)
	time.Sleep(300 * time.Millisecond)
	if used := cpuOf(t, h.process.Pid) - before; used > 10 {
		t.Errorf("%d ticks of CPU after its end", used)
	}
	for _, share := range []float64{0, -1, 1.01} {
		if _, err := h.Set(t.Context(), parts(t, map[string]any{"x": task.Load{Share: share}})); err == nil || !strings.Contains(err.Error(), "share") {
			t.Errorf("share %v: error %v", share, err)
		}
	}
}

// cpuOf is a process's CPU time in ticks.
func cpuOf(t *testing.T, pid int) (ticks int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')'):]))
	var user, system int64
	if _, err := fmt.Sscan(f[12]+" "+f[13], &user, &system); err != nil {
		t.Fatal(err)
	}
	return user + system
}

// A group's quota is what the burner takes its share of.
func TestCores(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		v2    bool
		files map[string]string
		want  float64
	}{
		{false, map[string]string{"cpu.cfs_quota_us": "20000", "cpu.cfs_period_us": "100000"}, 0.2},
		{false, map[string]string{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, 4},
		{false, map[string]string{"cpu.cfs_quota_us": "900000", "cpu.cfs_period_us": "100000"}, 4},
		{false, nil, 4},
		{true, map[string]string{"cpu.max": "150000 100000\n"}, 1.5},
		{true, map[string]string{"cpu.max": "max 100000\n"}, 4},
		{true, nil, 4},
	} {
		g := group{dir: filepath.Join(dir, fmt.Sprintf("%p", &c)), v2: c.v2}
		write(t, g.dir, c.files)
		if got, err := g.cores(4); err != nil || got != c.want {
			t.Errorf("%v: %v cores, %v; want %v", c.files, got, err, c.want)
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A group is found through whatever is mounted: the whole tree, or the group alone, of either version.
func TestGroupOf(t *testing.T) {
	for name, c := range map[string]struct {
		own, mounts string
		want        string
		v2          bool
	}{
		"version 1 in a container": {
			"4:memory:/docker/ID\n3:cpu,cpuacct:/docker/ID\n",
			"31 28 0:27 /docker/ID /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n", "/sys/fs/cgroup/memory", false,
		},
		"version 1 on the machine": {
			"4:memory:/docker/ID\n0::/\n",
			"31 28 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 28 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/memory/docker/ID", false,
		},
		"version 2 in a container": {"0::/\n", "31 28 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "/sys/fs/cgroup", true},
		"version 2 on the machine": {"0::/docker/ID\n", "31 28 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "/sys/fs/cgroup/docker/ID", true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, map[string]string{"proc/self/cgroup": c.own, "proc/self/mountinfo": c.mounts})
			if err := os.MkdirAll(root+c.want, 0o700); err != nil {
				t.Fatal(err)
			}
			g, err := groupOf(root, "memory")
			if err != nil || g.dir != root+c.want || g.v2 != c.v2 {
				t.Errorf("%+v, %v; want %s", g, err, c.want)
			}
		})
	}
	root := t.TempDir()
	write(t, root, map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "1 2 0:1 / / rw - ext4 x rw\n"})
	if _, err := groupOf(root, "memory"); err == nil {
		t.Error("a group where none is mounted")
	}
}

// Names of processes may have anything in them.
func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"
	if p, ok := parseStat(7, "7 (a) b (c)"+rest); !ok || p.name != "a) b (c" || p.start != "4242" {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, bad := range []string{"", "7", "7 (a", "7 (a) S 1", "7 (a)" + strings.Replace(rest, "S", "Z", 1)} {
		if p, ok := parseStat(7, bad); ok {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}
