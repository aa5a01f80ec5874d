//go:build unix && !linux

package process

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

func setAttributes(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// frozen reports whether a process is stopped, and what says so.
func frozen(pid int) (bool, string, error) {
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false, "", fmt.Errorf("ask ps for the state of process %d: %w", pid, err)
	}
	state := strings.TrimSpace(string(out))
	return strings.HasPrefix(state, "T"), "ps: state " + printable([]byte(state)), nil
}
