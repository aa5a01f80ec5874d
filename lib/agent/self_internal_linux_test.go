package agent

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestStolen(t *testing.T) {
	const stat = "cpu  100 0 50 1000 3 0 7 250 0 0\ncpu0 50 0 25 500 1 0 3 999 0 0\n"
	if d := stolen(stat); d != 2500*time.Millisecond {
		t.Errorf("stolen %v", d)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu  1 2 3 4 5 6 7 x 9"} {
		if d := stolen(bad); d != 0 {
			t.Errorf("%q: %v", bad, d)
		}
	}
}

func TestGroupDirs(t *testing.T) {
	for own, want := range map[string][]string{
		"0::/\n":       {"/sys/fs/cgroup", "/sys/fs/cgroup"},
		"0::/x/y.s\n":  {"/sys/fs/cgroup/x/y.s", "/sys/fs/cgroup"},
		"no such file": nil,
		"4:memory:/m\n2:cpu,cpuacct:/docker/1\n": {
			"/sys/fs/cgroup/cpu,cpuacct/docker/1", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu/docker/1", "/sys/fs/cgroup/cpu",
			"/sys/fs/cgroup/cpu,cpuacct/docker/1", "/sys/fs/cgroup/cpu,cpuacct",
		},
	} {
		if got := groupDirs(own); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", own, got, want)
		}
	}
}

func TestThrottled(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"nr_periods 9\nnr_throttled 4\nthrottled_time 1500000\n":                         1500 * time.Microsecond,
		"usage_usec 7\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1500\nnr_bursts 0\n": 1500 * time.Microsecond,
	} {
		if n, d := throttled(stat); n != 4 || d != want {
			t.Errorf("%q: %d, %v", stat, n, d)
		}
	}
	if n, d := throttled("usage_usec 7\n"); n != 0 || d != 0 {
		t.Errorf("no limit: %d, %v", n, d)
	}
}

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  float64
	}{
		{map[string]string{"cpu.max": "150000 100000\n"}, 1.5},
		{map[string]string{"cpu.max": "max 100000\n"}, 0},
		{map[string]string{"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"}, 0.5},
		{map[string]string{"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 0},
		{nil, 0},
	} {
		if got := quota(func(name string) string { return c.files[name] }); got != c.want {
			t.Errorf("%v: %v, want %v", c.files, got, c.want)
		}
	}
}

func TestOpenFiles(t *testing.T) {
	before := openFiles()
	var files []*os.File
	for range 10 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if n := openFiles(); before < 3 || n != before+10 {
		t.Errorf("%d open files, then %d", before, n)
	}
	for _, f := range files {
		_ = f.Close()
	}
	if limit := fileLimit(); limit < before {
		t.Errorf("a limit of %d", limit)
	}
}
