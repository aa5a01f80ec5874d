package tutti

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// hostFacts says what machine the harness runs on. Absolute times are comparable
// only between equal ones. What cannot be had is left out.
func hostFacts() map[string]string {
	facts := map[string]string{"cpus": strconv.Itoa(runtime.NumCPU())}
	for _, f := range []struct{ name, file, key string }{
		{"cpu", "/proc/cpuinfo", "model name"},
		{"memory", "/proc/meminfo", "MemTotal"},
	} {
		if v := field(f.file, f.key); v != "" {
			facts[f.name] = v
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		facts["kernel"] = strings.TrimSpace(string(b))
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		facts["cgroup"] = "2"
	} else if _, err := os.Stat("/sys/fs/cgroup"); err == nil {
		facts["cgroup"] = "1"
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 0 {
			facts["load average at start"] = f[0]
		}
	}
	return facts
}

// field finds the first "key : value" line of a file of /proc.
func field(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
