//go:build !unix

package loadtest

import (
	"errors"
	"net"
)

// A port is one that is taken, and where nobody listens yet.
type port struct{ address string }

func bind() (*port, error) {
	return nil, errors.New("to take a port without listening there is a thing of Unix: Late must be 0")
}

func (*port) listen() (net.Listener, error) { return nil, errors.ErrUnsupported }
func (*port) close()                        {}
