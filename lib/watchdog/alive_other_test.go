//go:build !linux

package watchdog_test

import (
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// alive reports whether a process runs; a zombie does not.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	if runtime.GOOS == "windows" {
		out, err := exec.Command("tasklist", "/nh", "/fi", "PID eq "+strconv.Itoa(pid)).Output()
		return err == nil && strings.Contains(string(out), strconv.Itoa(pid))
	}
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}
