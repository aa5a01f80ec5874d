//go:build unix

package main

import (
	"context"
	"os/exec"
	"syscall"
)

// command is a command in a process group of its own, which is asked to end with the context: whatever it
// started can clean up.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = endLimit
	return cmd
}
