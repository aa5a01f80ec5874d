package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A conn is one connection. But for the fields of its pool and its turn, it belongs to
// whoever has it: one exchange at a time, or nobody while it is idle.
type conn struct {
	nc    net.Conn
	pool  *pool
	epoch time.Time // what the durations here count from
	quiet func() bool

	// buf[r:w] came and has not been read. Bodies are read past it, so it stays small.
	buf  []byte
	r, w int

	limit time.Duration // the deadline of what is being done
	armed time.Duration // the deadline that the kernel's side knows; 0: none

	reused  bool   // it had an exchange before
	in, out uint64 // bytes, ever

	// The pool's, under its lock.
	opened    time.Duration // when
	expires   time.Duration // from then on it is not taken again
	idleSince time.Duration // of a lane's, the lane's
	place     int           // in pool.all
	busy      bool
	node      *node
	seen      tally

	// The turn tells a cancellation that comes late from one that is due.
	mu     sync.Mutex
	turn   uint64
	broken bool
}

const (
	firstBuf = 2 << 10  // bytes; most headers fit
	keepBuf  = 16 << 10 // a larger buffer is not kept for the next exchange
)

func (c *conn) now() time.Duration { return time.Since(c.epoch) }

// arm makes sure that some deadline not after c.limit is set. Deadlines of exchanges that follow
// one another differ by little, and setting one costs: one that is still to come stays, and
// when it cuts a read short, the read goes on with the right one. So a connection has its deadline set about
// once per timeout and not once per request, and yet none is missed.
func (c *conn) arm(now time.Duration) {
	if c.armed > now && c.armed <= c.limit {
		return
	}
	c.rearm()
}

func (c *conn) rearm() {
	c.armed = c.limit
	_ = c.nc.SetDeadline(c.epoch.Add(c.limit)) // it fails on a closed connection, as what follows will
}

// premature reports whether err is a deadline that is not this one's, which is still to come.
func (c *conn) premature(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && c.now() < c.limit
}

// early reports whether err is a deadline that is not yet due, and sets the one that is.
func (c *conn) early(err error) bool {
	if !c.premature(err) {
		return false
	}
	c.rearm()
	return true
}

// read reads what there is, at least a byte, under the deadline.
func (c *conn) read(p []byte) (int, error) {
	for {
		n, err := c.nc.Read(p)
		c.in += uint64(n)
		switch {
		case n > 0:
			return n, nil // an error comes again
		case err == nil:
			if len(p) == 0 {
				return 0, nil
			}
		case !c.early(err):
			return 0, err
		}
	}
}

// write writes all of p under the deadline.
func (c *conn) write(p []byte) error {
	for {
		n, err := c.nc.Write(p)
		c.out += uint64(n)
		p = p[n:]
		if err == nil {
			return nil
		}
		if !c.early(err) {
			return err
		}
	}
}

// fill reads more into the buffer, which grows up to most bytes.
func (c *conn) fill(most int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		switch {
		case c.r > 0:
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		case len(c.buf) >= most:
			return io.ErrShortBuffer
		default:
			c.buf = append(c.buf, make([]byte, min(max(len(c.buf), firstBuf), most-len(c.buf)))...)
		}
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	return err
}

// shelve puts an empty buffer away until the next answer comes: a connection that waits needs none.
func (c *conn) shelve(now time.Duration) {
	c.idleSince = now
	c.putBuffer()
}

// putBuffer does that with one of the usual size, and forgets one that is too large to be kept.
func (c *conn) putBuffer() {
	if c.r != c.w {
		return
	}
	switch n := len(c.buf); {
	case n == firstBuf:
		b := (*[firstBuf]byte)(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
		buffers.Put(b)
	case n > keepBuf:
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// unshelve gets a buffer.
func (c *conn) unshelve() {
	b, _ := buffers.Get().(*[firstBuf]byte)
	c.buf, c.r, c.w = b[:], 0, 0
}

var buffers = sync.Pool{New: func() any { return new([firstBuf]byte) }} //nolint:gochecknoglobals // a cache

// take begins an exchange and returns its turn.
func (c *conn) take() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turn
}

// yield ends the exchange and reports whether it was left in peace.
func (c *conn) yield() bool {
	if len(c.buf) > keepBuf {
		c.putBuffer()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	return !c.broken
}

// breakOff ends the exchange that has this turn, from any goroutine, by closing the connection.
func (c *conn) breakOff(turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn == turn {
		c.broken = true
		_ = c.nc.Close()
	}
}
