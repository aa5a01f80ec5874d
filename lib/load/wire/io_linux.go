package wire

import (
	"syscall"
	"unsafe"
)

// A system call on a socket that does not block is short, so that the scheduler need not be told of it: that
// would cost as much as what is done for a request here.

func writeFD(fd uintptr, p []byte) (int, error) {
	return once(syscall.SYS_WRITE, fd, p)
}

func readFD(fd uintptr, p []byte) (int, error) {
	return once(syscall.SYS_READ, fd, p)
}

func once(call, fd uintptr, p []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as package syscall does
		switch e {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return -1, e
		}
	}
}
