//go:build unix

package wire

import (
	"net"
	"syscall"
)

// quietFunc returns a function that reports whether an idle connection is still open and nothing
// came on it. It costs a system call. On a peer's close, a client that waits for nothing is
// told at once, so to use such a connection would be our own mistake.
func quietFunc(nc net.Conn) func() bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var quiet bool
	var one [1]byte
	look := func(fd uintptr) {
		// Not blocking: the descriptor is in that mode. Whatever comes but "again" ends its use.
		_, err := readFD(fd, one[:])
		quiet = again(err)
	}
	return func() bool {
		quiet = false
		return raw.Control(look) == nil && quiet
	}
}
