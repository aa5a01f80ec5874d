//go:build !unix

package wire

import "net"

// quietFunc returns nil: there is no look at an idle connection here, and one that the peer
// has closed fails the next request on it.
func quietFunc(net.Conn) func() bool { return nil }
