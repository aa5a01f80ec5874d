//go:build unix

package wire

import (
	"io"
	"net"
	"syscall"
)

// A shot is one write and the first read after it, in as few system calls as there can be.
//
// net.Conn reads first and waits then, which after a request is a system call in vain. So the read is announced before the
// write: what comes from then on ends the wait, and the first read finds it.
type shot struct {
	raw    syscall.RawConn // nil: not to be had
	step   func(fd uintptr) bool
	c      *conn
	msg    []byte
	wrote  bool
	unsent bool // the failure was in writing
	n      int
	err    error
}

func (s *shot) init() { s.step = s.on }

// take makes the shot one on this connection.
func (s *shot) take(c *conn) {
	s.raw = nil
	if c == nil {
		return
	}
	if sc, ok := c.nc.(*net.TCPConn); ok {
		s.raw, _ = sc.SyscallConn() // it fails on a closed connection, as what follows will
	}
}

// fire writes the message and reads some of the answer into the connection's buffer, which is empty.
func (s *shot) fire(c *conn, msg []byte) error {
	if s.raw == nil {
		return s.plain(c, msg)
	}
	s.c, s.msg, s.wrote, s.unsent, s.n, s.err = c, msg, false, false, 0, nil
	err := s.raw.Read(s.step)
	if s.err != nil {
		err = s.err
	}
	switch {
	case !s.wrote && err == nil: // there was no room for all of it
		return s.plain(c, s.msg)
	case !s.wrote:
		s.unsent = true
		return err
	case err == nil:
		c.r, c.w = 0, s.n
		c.in += uint64(s.n)
		return nil
	case c.early(err):
		return c.fill(firstBuf)
	}
	return err
}

// on is called first before anything is awaited, and then whenever something came.
func (s *shot) on(fd uintptr) bool {
	if !s.wrote {
		n, err := writeFD(fd, s.msg)
		if n > 0 {
			s.c.out += uint64(n)
			s.msg = s.msg[n:]
		}
		if s.wrote = err == nil && len(s.msg) == 0; s.wrote {
			return false
		}
		if err != nil && !again(err) {
			s.err = err
		}
		return true
	}
	if s.c.buf == nil {
		s.c.unshelve()
	}
	n, err := readFD(fd, s.c.buf)
	switch {
	case again(err):
		return false
	case err != nil:
		s.err = err
	case n == 0:
		s.err = io.EOF
	default:
		s.n = n
	}
	return true
}

// again reports whether a call on a socket that does not block is to be tried again.
func again(err error) bool {
	return err == syscall.EAGAIN || err == syscall.EINTR //nolint:errorlint // as it comes from the system, never wrapped
}

// plain does the same by net.Conn.
func (s *shot) plain(c *conn, msg []byte) error {
	if err := c.write(msg); err != nil {
		s.unsent = true
		return err
	}
	s.unsent = false
	return c.fill(firstBuf)
}
