//go:build unix

package main

import "syscall"

// alone puts a child into a group of its own, so that the terminal's Ctrl-C does not come to it beside ours.
func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
