//go:build unix && !linux

package httpload

import "syscall"

// hungUp reports whether the peer has closed a socket. An end behind something that has not been read is not seen.
func hungUp(fd uintptr) bool {
	n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
}
