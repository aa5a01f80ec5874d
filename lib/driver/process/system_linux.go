package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func setAttributes(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// frozen reports whether a process is stopped, and what says so.
func frozen(pid int) (bool, string, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return false, "", err
	}
	// The second field is the program's name in brackets, and may hold anything.
	i := bytes.LastIndexByte(text, ')')
	if i < 0 || i+2 >= len(text) {
		return false, "", fmt.Errorf("%s has no state", file)
	}
	state := text[i+2]
	return state == 'T', fmt.Sprintf("%s: state %c", file, state), nil
}
