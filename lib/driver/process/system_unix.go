//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tutti-bench/tutti/lib/target"
)

const abilities = target.CanKill | target.CanStop | target.CanPause | target.CanScale | target.CanCrash | target.CanProxy

// signalGroup signals a child and what it has started. The child must not have been
// waited for, or have been just now: its id may be another's later.
func signalGroup(p *os.Process, s syscall.Signal) error {
	if err := syscall.Kill(-p.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func killGroup(p *os.Process) error   { return signalGroup(p, syscall.SIGKILL) }
func freezeGroup(p *os.Process) error { return signalGroup(p, syscall.SIGSTOP) }
func thawGroup(p *os.Process) error   { return signalGroup(p, syscall.SIGCONT) }

// stopOne sends the stop signal to the node itself, as an engine does to a container's
// first process. A frozen one is thawed, or it would never see it.
func stopOne(p *os.Process, name string) error {
	s, err := stopSignal(name)
	if err != nil {
		return err
	}
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return thawGroup(p)
}

func stopSignal(name string) (syscall.Signal, error) {
	if name == "" {
		return syscall.SIGTERM, nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if s := unix.SignalNum(full); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("the stop signal %q is unknown", name)
}

// ended describes how a process ended: "exit code 1", "signal killed".
func ended(s *os.ProcessState) string {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return "signal " + w.Signal().String()
	}
	return fmt.Sprintf("exit code %d", s.ExitCode())
}

// wasKilled reports whether SIGKILL ended the process.
func wasKilled(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}

func hasShell() bool {
	_, err := exec.LookPath("/bin/sh")
	return err == nil
}
