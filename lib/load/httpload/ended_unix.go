//go:build unix && !linux

package httpload

import (
	"net"
	"syscall"
)

// ended reports whether the peer has closed a connection of which nobody may have read that yet. It costs a system
// call, and takes nothing from the connection. An end behind something that has not been read is not seen.
func ended(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	var over bool
	look := func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		over = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	}
	return raw.Control(look) != nil || over
}
