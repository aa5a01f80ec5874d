package httpload

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/tutti-bench/tutti/lib/record"
)

// class says how an exchange failed. The connection's own last error goes before the
// transport's, which at times names only what it did about it.
func (t *trip) class(err error) record.Class {
	if t.tries == 0 { // refused by the transport itself: our request is broken, or time was up
		if errors.Is(err, context.DeadlineExceeded) {
			return record.Timeout
		}
		return record.Unsent
	}
	if t.tries > 1 {
		err = io.EOF // stopped by trip: the transport keeps the reason to itself
	}
	if t.conn != nil {
		if e := t.conn.failure(); e != nil {
			err = e
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return record.Timeout
	case is(err, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM):
		return record.Local
	case t.answered.Load():
		return t.brokenAnswer(err)
	case is(err, syscall.ECONNREFUSED):
		return record.Refused
	case is(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		return record.Reset
	case is(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ETIMEDOUT):
		return record.NoRoute // ETIMEDOUT: the kernel gave up on a silent peer, before our deadline
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return record.EOF
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return record.DNS
	}
	return record.Wrong // it answered, but not in HTTP or not with a certificate that we trust
}

// brokenAnswer tells an answer that ended early from one that is no HTTP.
func (t *trip) brokenAnswer(err error) record.Class {
	if errors.Is(err, io.ErrUnexpectedEOF) || (t.conn != nil && t.conn.failure() != nil) {
		return record.Truncated
	}
	return record.Wrong
}

func is(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}

// A conn remembers how it failed.
type conn struct {
	net.Conn
	failed atomic.Pointer[error]
}

// connOf finds our connection below what the transport uses.
func connOf(c net.Conn) *conn {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = wrapped.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(err)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.note(err)
	return n, err
}

// note keeps the first failure, except that we closed it ourselves.
func (c *conn) note(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.failed.CompareAndSwap(nil, &err)
	}
}

func (c *conn) failure() error {
	if e := c.failed.Load(); e != nil {
		return *e
	}
	return nil
}
