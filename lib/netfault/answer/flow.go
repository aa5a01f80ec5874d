package answer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	maxLine = 16 << 10 // bytes of a request's first line; a longer one is not taken for HTTP
	lineFor = time.Second
)

// A flow is one connection of a client, and its own to the node.
type flow struct {
	proxy     *proxy
	client    net.Conn
	node      netip.AddrPort // whom the client has meant
	transport *http.Transport
	lines     *bufio.Reader // what the client says

	cut bool // the present answer is to be cut; its handler alone uses it

	mu     sync.Mutex
	server net.Conn // to the node
	taken  bool     // the transport has it
	idle   bool     // no request is under way
	gone   bool     // the node has closed its end
	ended  bool
}

// connect gives the flow its connection to the node, unless it has ended meanwhile.
func (f *flow) connect(server net.Conn) bool {
	f.lines = bufio.NewReaderSize(f.client, maxLine)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		_ = server.Close()
		return false
	}
	f.server = server
	f.transport = &http.Transport{
		DialContext: f.take, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders, ExpectContinueTimeout: time.Second,
	}
	return true
}

// take hands out the connection to the node, once: where the node has closed it, the client has to make a new one, as
// it would have without us.
func (f *flow) take(context.Context, string, string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken || f.ended {
		return nil, errors.New("the node has closed the connection")
	}
	f.taken = true
	return &nodeConn{Conn: f.server, flow: f}, nil
}

// end closes both connections.
func (f *flow) end() {
	f.mu.Lock()
	before := f.ended
	f.ended = true
	server, transport := f.server, f.transport
	f.mu.Unlock()
	if before {
		return
	}
	_ = f.client.Close()
	if server != nil {
		_ = server.Close()
		transport.CloseIdleConnections()
	}
	f.proxy.mu.Lock()
	delete(f.proxy.flows, f)
	f.proxy.mu.Unlock()
	<-f.proxy.slots
}

// reset ends the flow so that the client sees a reset.
func (f *flow) reset() {
	linger(f.client)
	f.end()
}

func reset(c net.Conn) {
	linger(c)
	_ = c.Close()
}

// linger makes a close a reset.
func linger(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it fails where the connection is gone already
	}
}

// state follows the requests: a connection that the node closes between two of them is closed to the client, too.
func (f *flow) state(s http.ConnState) {
	f.mu.Lock()
	f.idle = s == http.StateIdle
	over := f.idle && f.gone
	f.mu.Unlock()
	if over {
		f.end()
	}
}

// nodeGone is told that the connection to the node is closed.
func (f *flow) nodeGone() {
	f.mu.Lock()
	f.gone = true
	over := f.idle
	f.mu.Unlock()
	if over {
		f.end()
	}
}

// speech is what the ends of a connection speak.
type speech int

const (
	speaksNothing speech = iota // it ends, or half of it, before anything was said
	speaksHTTP
	speaksElse
)

// greet waits until either end says something, and reports what they speak. Where the node speaks first, it is not HTTP.
func (f *flow) greet() speech {
	server := &peeked{Conn: f.server, r: bufio.NewReaderSize(f.server, 512)}
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	peek := func(r *bufio.Reader) <-chan error {
		c := make(chan error, 1)
		go func() { // ends with a deadline below, or with the flow
			_, err := r.Peek(1)
			c <- err
		}()
		return c
	}
	fromClient, fromNode := peek(f.lines), peek(server.r)
	var client, node error
	past := time.Unix(1, 0)
	select {
	case client = <-fromClient:
		_ = server.SetReadDeadline(past)
		node = <-fromNode
	case node = <-fromNode:
		_ = f.client.SetReadDeadline(past)
		client = <-fromClient
	}
	_ = server.SetReadDeadline(time.Time{})
	_ = f.client.SetReadDeadline(time.Time{})
	switch {
	case node == nil:
		return speaksElse
	case client != nil:
		return speaksNothing
	case errors.Is(node, os.ErrDeadlineExceeded) && f.begunHTTP():
		return speaksHTTP
	default:
		return speaksElse
	}
}

// begunHTTP reports whether what the client says begins like a request of HTTP/1.
func (f *flow) begunHTTP() bool {
	_ = f.client.SetReadDeadline(time.Now().Add(lineFor))
	defer func() { _ = f.client.SetReadDeadline(time.Time{}) }()
	for {
		b, _ := f.lines.Peek(f.lines.Buffered()) // what is there can be had
		if line, _, whole := bytes.Cut(b, []byte("\n")); whole {
			return isRequest(string(line))
		}
		if bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\r' || r >= 0x7f }) {
			return false
		}
		if _, err := f.lines.Peek(len(b) + 1); err != nil {
			return false // too long, or nothing more comes
		}
	}
}

// isRequest reports whether a line begins a request of HTTP/1 other than CONNECT.
func isRequest(line string) bool {
	words := strings.Split(strings.TrimSuffix(line, "\r"), " ")
	if len(words) != 3 || words[0] == "" || words[1] == "" || words[0] == http.MethodConnect {
		return false
	}
	other := strings.IndexFunc(words[0], func(r rune) bool { // RFC 9110: a method is a token
		return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
	return other < 0 && (words[2] == "HTTP/1.1" || words[2] == "HTTP/1.0")
}

// splice passes bytes both ways until both ends have said all.
func (f *flow) splice() {
	defer f.end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(f.server, f.lines)
	}()
	pass(f.client, f.server)
	<-done
}

// pass copies all and hands on the end of it. Where either connection breaks, so does the other.
func pass(to net.Conn, from io.Reader) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_ = to.Close()
		if c, ok := from.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

// A clientConn is what the server has of a client.
type clientConn struct {
	net.Conn
	flow *flow
}

func (c *clientConn) Read(b []byte) (int, error) { return c.flow.lines.Read(b) }

func (c *clientConn) Close() error {
	c.flow.end()
	return nil
}

// CloseWrite is what the server does before it closes, so that the client reads all that it was sent.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// A nodeConn is what the transport has of the node.
type nodeConn struct {
	net.Conn
	flow *flow
}

func (c *nodeConn) Close() error {
	err := c.Conn.Close()
	c.flow.nodeGone()
	return err
}

// A peeked connection is read from where its first bytes have been looked at.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

func (p *peeked) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
