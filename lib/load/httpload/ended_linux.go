package httpload

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ended reports whether the peer has closed a connection of which nobody may have read that yet. It costs a system
// call, and takes nothing from the connection. The end counts also where something is to be read before it: with TLS that is what
// the peer says in farewell.
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
		const end = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
		one := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // descriptors are small
		n, err := unix.Poll(one, 0)
		over = err == nil && n > 0 && one[0].Revents&end != 0
	}
	return raw.Control(look) != nil || over
}
