//go:build unix

package watchdog

import (
	"errors"
	"os"
	"syscall"
)

// detached puts the dog into a session of its own, out of reach of the terminal.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// endings are the signals that must not end the dog.
func endings() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTTOU}
}

// kill ends a process, or the whole group that it leads. A frozen one is woken: the
// kernel ends it either way, but its children may wait for it.
func kill(pid int) {
	to := pid
	if group, err := syscall.Getpgid(pid); err == nil && group == pid {
		to = -pid
	}
	_ = syscall.Kill(to, syscall.SIGKILL)
	_ = syscall.Kill(to, syscall.SIGCONT)
}

// lockFile opens a file and locks it for ourselves. The lock dies with the process.
func lockFile(path string, create bool) (*os.File, error) {
	flags, how := os.O_RDWR, syscall.LOCK_SH
	if create {
		flags, how = os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return f, nil
}
