package httpload

import "golang.org/x/sys/unix"

// hungUp reports whether the peer has closed a socket. The end counts also where something is to be read before it: with TLS that
// is what the peer says in farewell.
func hungUp(fd uintptr) bool {
	const end = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
	one := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // descriptors are small
	n, err := unix.Poll(one, 0)
	return err == nil && n > 0 && one[0].Revents&end != 0
}
