//go:build !unix

package wire

// A shot is one write and the first read after it.
type shot struct {
	unsent bool // the failure was in writing
	stale  bool // the connection was closed before the request; never known here
}

func (s *shot) init()      {}
func (s *shot) take(*conn) {}

func (s *shot) fire(c *conn, msg []byte, _ bool) error {
	if err := c.write(msg); err != nil {
		s.unsent = true
		return err
	}
	s.unsent = false
	return c.fill(firstBuf)
}
