package agent

import (
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/stat: USER_HZ is 100 on every architecture that Go runs on (proc_stat(5)).
const tick = time.Second / 100

func lookAtMachine() machine {
	var m machine
	if stat, err := os.ReadFile("/proc/stat"); err == nil {
		m.stolen = stolen(string(stat))
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return m
	}
	for _, dir := range groupDirs(string(own)) {
		if stat, err := os.ReadFile(path.Join(dir, "cpu.stat")); err == nil {
			m.throttles, m.throttled = throttled(string(stat))
			m.cores = quota(func(name string) string {
				b, _ := os.ReadFile(path.Join(dir, name)) // what is not there sets no limit
				return string(b)
			})
			break
		}
	}
	return m
}

// stolen reads the eighth number of the line of all processors.
func stolen(stat string) time.Duration {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	n, err := strconv.ParseInt(fields[8], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}

// groupDirs are where the files of our own control group for processors can be, the likeliest first. In a container the
// path is often the engine's, and what is mounted is the container's own.
func groupDirs(own string) []string {
	const root = "/sys/fs/cgroup"
	var dirs []string
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch controllers := strings.Split(parts[1], ","); {
		case parts[0] == "0" && parts[1] == "": // version 2
			dirs = append(dirs, path.Join(root, parts[2]), root)
		case slices.Contains(controllers, "cpu"):
			for _, mount := range []string{parts[1], "cpu", "cpu,cpuacct"} {
				dirs = append(dirs, path.Join(root, mount, parts[2]), path.Join(root, mount))
			}
		}
	}
	return dirs
}

// throttled reads cpu.stat: version 1 has nanoseconds, version 2 microseconds.
func throttled(stat string) (periods uint64, d time.Duration) {
	for line := range strings.Lines(stat) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			continue
		}
		switch name {
		case "nr_throttled":
			periods = n
		case "throttled_time":
			d = time.Duration(n)
		case "throttled_usec":
			d = time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond
		}
	}
	return periods, d
}

// quota is how many processors the group may use; 0: as many as there are.
func quota(read func(name string) string) float64 {
	limit := strings.Fields(read("cpu.max")) // version 2
	if len(limit) < 2 {
		limit = append(strings.Fields(read("cpu.cfs_quota_us")), strings.Fields(read("cpu.cfs_period_us"))...)
	}
	if len(limit) < 2 {
		return 0
	}
	most, err := strconv.ParseFloat(limit[0], 64) // "max" and −1 are none
	period, perr := strconv.ParseFloat(limit[1], 64)
	if err != nil || perr != nil || most <= 0 || period <= 0 {
		return 0
	}
	return most / period
}

// openFiles counts our descriptors. Kernels from 6.2 on have the number as the folder's size (proc_pid_fd(5)).
func openFiles() int {
	const dir = "/proc/self/fd"
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	n := -1 // the one that we read it with
	for {
		names, err := d.Readdirnames(1024)
		n += len(names)
		if err == io.EOF {
			return n
		}
		if err != nil {
			return 0
		}
	}
}

func fileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(min(l.Cur, math.MaxInt32))
}
