package httpload

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// A conn remembers how it failed, and when something came on it.
type conn struct {
	net.Conn
	failed atomic.Pointer[error]
	read   atomic.Int64 // when, in nanoseconds since 1970
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read.Store(time.Now().UnixNano())
	}
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

// heard is when something came last.
func (c *conn) heard() time.Time { return time.Unix(0, c.read.Load()) }
