//go:build unix

package httpload

import (
	"net"
	"syscall"
)

// ended reports whether the peer has closed a connection of which nobody may have read that yet. It costs a system
// call, and takes nothing from the connection.
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
	look := func(fd uintptr) { over = hungUp(fd) }
	return raw.Control(look) != nil || over
}
