//go:build unix

package loadtest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// A port is one that is taken, and where nobody listens yet.
type port struct {
	fd      int
	address string
}

func bind() (*port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &port{fd: fd}
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		p.close()
		return nil, os.NewSyscallError("bind", err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	four, ok := at.(*syscall.SockaddrInet4)
	if !ok {
		p.close()
		return nil, fmt.Errorf("bound to %T, and not to an address of IPv4", at)
	}
	p.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(four.Port))
	return p, nil
}

// listen begins to listen. The port is the listener's from then on.
func (p *port) listen() (net.Listener, error) {
	f := os.NewFile(uintptr(p.fd), "port")
	defer f.Close()
	if err := syscall.SetNonblock(p.fd, true); err != nil {
		return nil, os.NewSyscallError("setnonblock", err)
	}
	if err := syscall.Listen(p.fd, syscall.SOMAXCONN); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return net.FileListener(f)
}

func (p *port) close() { _ = syscall.Close(p.fd) }
