package httpload

import (
	"net"
	"sync"
)

// A prefaced connection tells when the server's SETTINGS have been read, which is the first frame of HTTP/2 that it sends
// (RFC 9113, 3.4). Before them net/http takes it that 100 streams may be open. A server that lets fewer be open would
// refuse the others, and that would be our doing.
type prefaced struct {
	net.Conn
	known chan struct{} // closed when they have been read, or never will be
	once  sync.Once
	head  [frameHead]byte // of the first frame
	got   int
}

// frameHead is the length of a frame's header, of which the first three bytes are the length of what follows it.
const frameHead = 9

// Read is called again when all that came before has been taken in.
func (p *prefaced) Read(b []byte) (int, error) {
	if p.got >= frameHead && p.got >= frameHead+int(p.head[0])<<16+int(p.head[1])<<8+int(p.head[2]) {
		p.tell()
	}
	n, err := p.Conn.Read(b)
	if p.got < frameHead {
		copy(p.head[p.got:], b[:n])
	}
	p.got += n
	if err != nil {
		p.tell()
	}
	return n, err
}

// Close ends the connection, and the wait.
func (p *prefaced) Close() error {
	p.tell()
	return p.Conn.Close()
}

func (p *prefaced) tell() { p.once.Do(func() { close(p.known) }) }
