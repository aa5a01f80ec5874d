package watchdog

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const (
	detachedProcess                = 0x00000008
	processQueryLimitedInformation = 0x1000
	errInvalidParameter            = syscall.Errno(87) // what OpenProcess says of a process that is not there
	errSharingViolation            = syscall.Errno(32)
)

// detached takes the dog off the console.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{HideWindow: true, CreationFlags: detachedProcess | syscall.CREATE_NEW_PROCESS_GROUP}
}

// endings are the signals that must not end the dog.
func endings() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
		_ = p.Release()
	}
}

// startTime returns when a process started. One that has ended counts as gone.
func startTime(pid int) (string, error) {
	h, err := syscall.OpenProcess(processQueryLimitedInformation, false, uint32(pid))
	if errors.Is(err, errInvalidParameter) {
		return "", os.ErrProcessDone
	}
	if err != nil {
		return "", fmt.Errorf("open process %d: %w", pid, err)
	}
	defer syscall.CloseHandle(h)
	var created, exited, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return "", fmt.Errorf("ask for the start of process %d: %w", pid, err)
	}
	if exited.HighDateTime != 0 || exited.LowDateTime != 0 {
		return "", os.ErrProcessDone
	}
	return fmt.Sprint(created.Nanoseconds()), nil
}

// lockFile opens a file that nobody else can open meanwhile.
func lockFile(path string, create bool) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	mode := uint32(syscall.OPEN_EXISTING)
	if create {
		mode = syscall.OPEN_ALWAYS
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, mode, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharingViolation) {
		return nil, errHeld
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
