//go:build unix

package wire

import (
	"io"
	"net"
	"syscall"
)

// A shot is one write and the first read after it. While it waits it has no buffer: of ten thousand connections that wait for an answer
// none needs one.
//
// On a connection that has been idle, the read is announced to the poller, then the connection is looked at, and only then is the request
// written. So whatever the peer had sent or closed until then is seen, and the request not sent on that connection; and whatever comes later
// ends the wait. To look after the announcement matters: what came before it wakes nobody.
type shot struct {
	raw    syscall.RawConn // nil: not to be had
	step   func(fd uintptr) bool
	c      *conn
	msg    []byte
	looked bool
	wrote  bool
	stale  bool // the connection was closed or not silent before the request: nothing was sent
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

// fire writes the message and reads some of the answer into the connection's buffer, which is empty. With sure, it does not look first.
func (s *shot) fire(c *conn, msg []byte, sure bool) error {
	s.stale = false
	if s.raw == nil {
		return s.plain(c, msg)
	}
	s.c, s.msg, s.looked, s.wrote, s.unsent, s.n, s.err = c, msg, sure, false, false, 0, nil
	err := s.raw.Read(s.step)
	if err != nil && !s.wrote && s.err == nil && c.early(err) {
		// The deadline of an exchange before this one passed since it was looked at, and the step was not even called.
		err = s.raw.Read(s.step)
	}
	if s.err != nil {
		err = s.err
	}
	switch {
	case s.stale:
		return nil
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
	if !s.looked {
		s.looked = true
		var one [1]byte
		if _, err := readFD(fd, one[:]); err == nil || !again(err) {
			s.stale = true
			return true
		}
	}
	if !s.wrote {
		n, err := writeFD(fd, s.msg)
		if n > 0 {
			s.c.out += uint64(n)
			s.msg = s.msg[n:]
		}
		if err != nil && !again(err) {
			s.err = err
		}
		if s.wrote = err == nil && len(s.msg) == 0; !s.wrote {
			return true
		}
		if s.c.reused {
			return false
		}
		// A new one was not looked at, so that something may have come before the announcement. Nor was one that was used a moment ago, but to
		// read that at once would cost what the look did.
	}
	if s.c.buf == nil {
		s.c.unshelve()
	}
	n, err := readFD(fd, s.c.buf)
	switch {
	case again(err):
		s.c.putBuffer()
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

// again reports whether a call on a socket that does not block is to be tried again when something has come. One that a signal
// interrupted has been: nothing need come for it.
func again(err error) bool {
	return err == syscall.EAGAIN //nolint:errorlint // as it comes from the system, never wrapped
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
