//go:build !unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/tutti-bench/tutti/lib/target"
)

// Without signals there is neither a gentle stop nor a pause.
const abilities = target.CanKill | target.CanScale | target.CanCrash | target.CanProxy

var errNoSignals = errors.New("this system has no such signal")

func setAttributes(*exec.Cmd) {}

func killGroup(p *os.Process) error {
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func freezeGroup(*os.Process) error         { return errNoSignals }
func thawGroup(*os.Process) error           { return errNoSignals }
func stopOne(p *os.Process, _ string) error { return killGroup(p) }
func ended(s *os.ProcessState) string       { return fmt.Sprintf("exit code %d", s.ExitCode()) }
func wasKilled(s *os.ProcessState) bool     { return s.ExitCode() == 1 }
func hasShell() bool                        { return false }
func frozen(int) (bool, string, error)      { return false, "", errNoSignals }
