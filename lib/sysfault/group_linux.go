package sysfault

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A group is the control group that this process is in, as far as it can be seen from where it runs.
type group struct {
	dir string // where its files are
	v2  bool
}

// groupOf finds this process's group of a version 1 controller ("memory", "cpu", "blkio"), or of version 2 where that
// has it. root is "" but in tests.
func groupOf(root, controller string) (group, error) {
	own, err := os.ReadFile(root + "/proc/self/cgroup")
	if err != nil {
		return group{}, fmt.Errorf("find this control group: %w", err)
	}
	mounts, err := os.ReadFile(root + "/proc/self/mountinfo")
	if err != nil {
		return group{}, fmt.Errorf("find the control groups: %w", err)
	}
	one, two := "", ""
	for line := range strings.Lines(string(own)) { // 4:memory:/docker/ID, or 0::/
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) < 3:
		case f[0] == "0" && f[1] == "":
			two = f[2]
		case slices.Contains(strings.Split(f[1], ","), controller):
			one = f[2]
		}
	}
	for line := range strings.Lines(string(mounts)) { // … root mountpoint … - type source options
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch {
		case one != "" && r[0] == "cgroup" && slices.Contains(strings.Split(r[2], ","), controller):
			return group{dir: below(root+l[4], l[3], one)}, nil
		case one == "" && r[0] == "cgroup2":
			return group{dir: below(root+l[4], l[3], two), v2: true}, nil
		}
	}
	return group{}, fmt.Errorf("no %s control group is mounted here", controller)
}

// below is a group's folder: the mount may be of the whole tree, or of the group alone.
func below(mountpoint, mounted, own string) string {
	rel, err := filepath.Rel(mounted, own)
	if err != nil || strings.HasPrefix(rel, "..") {
		return mountpoint
	}
	dir := path.Join(mountpoint, rel)
	if _, err := os.Stat(dir); err != nil {
		return mountpoint
	}
	return dir
}

// number reads a file with one number; "max" is none, and then ok is false.
func (g group) number(file string) (n int64, ok bool, err error) {
	b, err := os.ReadFile(path.Join(g.dir, file))
	if err != nil {
		return 0, false, fmt.Errorf("read the control group: %w", err)
	}
	text := string(bytes.TrimSpace(b))
	if text == "max" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("read the control group's %s: %w", file, err)
	}
	return n, true, nil
}

// field reads one number of a file with a name and a number in each line. 0 if it is not there.
func (g group) field(file, name string) (uint64, error) {
	b, err := os.ReadFile(path.Join(g.dir, file))
	if err != nil {
		return 0, fmt.Errorf("read the control group: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 2 || f[0] != name {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the control group's %s: %w", file, err)
		}
		return n, nil
	}
	return 0, nil
}

// noLimit is where version 1 has none: it says the biggest number of whole pages.
const noLimit = 1 << 60

// memoryLimit is what the group may use in bytes, and false if there is no limit.
func (g group) memoryLimit() (int64, bool, error) {
	n, ok, err := g.number(g.pick("memory.limit_in_bytes", "memory.max"))
	return n, ok && n < noLimit, err
}

// swapLimit is what the group may use of swap beside its memory, noLimit if that is all of it.
func (g group) swapLimit(limit int64) (int64, error) {
	n, ok, err := g.number(g.pick("memory.memsw.limit_in_bytes", "memory.swap.max"))
	switch {
	case errors.Is(err, fs.ErrNotExist): // the kernel does not count swap: then there is no limit to it
		return noLimit, nil
	case err != nil:
		return 0, err
	case !ok || n >= noLimit:
		return noLimit, nil
	case g.v2:
		return n, nil
	}
	return max(n-limit, 0), nil // version 1 counts both together
}

// memoryUsed is what the group uses in bytes, less the file cache that the kernel would drop first: what
// `docker stats` shows (calculateMemUsageUnixNoCache of docker/cli).
func (g group) memoryUsed() (int64, error) {
	n, _, err := g.number(g.pick("memory.usage_in_bytes", "memory.current"))
	if err != nil {
		return 0, err
	}
	cache, err := g.field("memory.stat", g.pick("total_inactive_file", "inactive_file"))
	if err != nil {
		return 0, err
	}
	return max(n-int64(cache), 0), nil
}

// kills is how many processes of the group the kernel has killed for want of memory.
func (g group) kills() (uint64, error) {
	return g.field(g.pick("memory.oom_control", "memory.events"), "oom_kill")
}

// cores is how many cores the group may use: its quota, or online.
func (g group) cores(online int) (float64, error) {
	if g.v2 {
		b, err := os.ReadFile(path.Join(g.dir, "cpu.max"))
		if errors.Is(err, fs.ErrNotExist) { // the root group has none
			return float64(online), nil
		}
		if err != nil {
			return 0, fmt.Errorf("read the control group: %w", err)
		}
		var quota string
		var period float64
		if _, err := fmt.Sscan(string(b), &quota, &period); err != nil {
			return 0, fmt.Errorf("read the control group's cpu.max %q: %w", b, err)
		}
		if quota == "max" {
			return float64(online), nil
		}
		q, err := strconv.ParseFloat(quota, 64)
		if err != nil || period <= 0 {
			return 0, fmt.Errorf("the control group's cpu.max is %q", b)
		}
		return min(q/period, float64(online)), nil
	}
	quota, _, err := g.number("cpu.cfs_quota_us")
	if errors.Is(err, fs.ErrNotExist) {
		return float64(online), nil
	}
	if err != nil || quota <= 0 {
		return float64(online), err
	}
	period, _, err := g.number("cpu.cfs_period_us")
	if err != nil || period <= 0 {
		return 0, fmt.Errorf("read the CPU quota's period %d: %w", period, err)
	}
	return min(float64(quota)/float64(period), float64(online)), nil
}

func (g group) pick(one, two string) string {
	if g.v2 {
		return two
	}
	return one
}
