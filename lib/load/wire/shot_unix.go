//go:build unix

package wire

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
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

	lot   *lot   // where it may park, nil if it may not
	entry int    // the lot's, under its lock
	ready func() // called in a goroutine of its own when one that is parked is to go on
	hasty bool   // it parks as soon as there is nothing to read
	waits bool   // there is nothing to read, and it is hasty

	since atomic.Int64         // from when on it waits, as a duration of the transport's, 0 if it does not; for the lot's keeper
	on    atomic.Pointer[conn] // where, for the same
}

func (s *shot) init() { s.step = s.try }

// park makes it a shot that parks in l.
func (s *shot) park(l *lot, ready func()) {
	s.lot, s.ready = l, ready
	l.enter(s)
}

// close makes it one that parks no more.
func (s *shot) close() {
	if s.lot != nil {
		s.lot.leave(s)
		s.lot = nil
	}
}

// take makes the shot one on this connection.
func (s *shot) take(c *conn) {
	s.raw = nil
	s.on.Store(c)
	if c == nil {
		return
	}
	if sc, ok := c.nc.(*net.TCPConn); ok {
		s.raw, _ = sc.SyscallConn() // it fails on a closed connection, as what follows will
	}
}

// fire writes the message and reads some of the answer into the connection's buffer, which is empty. With sure, it does not look first.
// After [ErrParked] the shot is no longer the caller's.
func (s *shot) fire(c *conn, msg []byte, sure bool, now time.Duration) error {
	s.stale = false
	if s.raw == nil {
		return s.plain(c, msg)
	}
	s.c, s.msg, s.looked, s.wrote, s.unsent, s.n, s.err = c, msg, sure, false, false, 0, nil
	if s.lot != nil {
		s.hasty = s.lot.patience < 0
		s.since.Store(int64(now))
	}
	return s.wait()
}

// resume goes on with a shot that was parked.
func (s *shot) resume() error {
	s.c.rearm() // it was told to go by another deadline
	return s.wait()
}

// wait goes on until there is an answer's beginning, or a failure.
func (s *shot) wait() error {
	c := s.c
	err := s.raw.Read(s.step)
	// A deadline that is not the exchange's own passed: one of an exchange before this one, when perhaps the step was not even called, or
	// the lot's.
	for s.err == nil && (s.waits || c.premature(err)) {
		if s.wrote && s.parks() {
			return ErrParked
		}
		c.rearm()
		err = s.raw.Read(s.step)
	}
	s.since.Store(0)
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
	}
	return err
}

// parks parks the shot if it has waited for long enough, and reports whether it did.
func (s *shot) parks() bool {
	since := time.Duration(s.since.Load())
	long := s.waits || since != 0 && s.c.now()-since >= s.lot.patience
	s.waits, s.hasty = false, false
	if !long {
		return false
	}
	s.since.Store(0)
	return s.lot.park(s)
}

// try is called first before anything is awaited, and then whenever something came.
func (s *shot) try(fd uintptr) bool {
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
			return s.idles()
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
		return s.idles()
	case err != nil:
		s.err = err
	case n == 0:
		s.err = io.EOF
	default:
		s.n = n
	}
	return true
}

// idles says that there is nothing to read: it is to be awaited, or, by who is hasty, not here.
func (s *shot) idles() bool {
	s.waits = s.hasty
	return s.waits
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
