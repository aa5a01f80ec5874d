//go:build !unix

package main

import (
	"context"
	"os/exec"
)

// command is a command that ends with the context.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = endLimit
	return cmd
}
