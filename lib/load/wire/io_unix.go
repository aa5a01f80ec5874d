//go:build unix && !linux

package wire

import "syscall"

func writeFD(fd uintptr, p []byte) (int, error) { return once(syscall.Write, fd, p) }
func readFD(fd uintptr, p []byte) (int, error)  { return once(syscall.Read, fd, p) }

func once(call func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		if n, err := call(int(fd), p); err != syscall.EINTR { //nolint:errorlint // as it comes from the system, never wrapped
			return n, err
		}
	}
}
