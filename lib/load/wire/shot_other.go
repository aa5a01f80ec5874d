//go:build !unix

package wire

import "time"

// A shot is one write and the first read after it.
type shot struct {
	unsent bool // the failure was in writing
	stale  bool // the connection was closed before the request; never known here
}

func (s *shot) init()             {}
func (s *shot) close()            {}
func (s *shot) take(*conn)        {}
func (s *shot) park(*lot, func()) {}
func (s *shot) resume() error     { return ErrClosed } // none was parked

func (s *shot) fire(c *conn, msg []byte, _ bool, _ time.Duration) error {
	if err := c.write(msg); err != nil {
		s.unsent = true
		return err
	}
	s.unsent = false
	return c.fill(firstBuf)
}
