package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
)

// dialWithin bounds how long a proxy tries to reach its node.
const dialWithin = 10 * time.Second

// A front is what stands before a node that faults on the network hit: a proxy for each port on which the node
// listens, on the address that everybody knows, while the node is on one that nobody does. It outlives the node's
// lives: a dead node's ports refuse, as they would without it.
type front struct {
	public, hidden string                                         // addresses, with a port where addresses are shared
	dial           func(address string) (*net.TCPConn, error)     // ends with the front
	stop           func()                                         // ends dials
	listen         func(address string) (*net.TCPListener, error) //
	running        sync.WaitGroup                                 // everything it has started

	mu       sync.Mutex
	closed   bool
	ports    map[string]bool             // on which the node listens now
	doors    map[string]*net.TCPListener // by port
	passages map[*passage]bool
	faults   map[string]*tampering // in force, by name
}

// A passage is one connection through a front.
type passage struct {
	client, node *net.TCPConn
	links        [2]*link // to the node, and from it

	once sync.Once
	gone chan struct{} // closed when it is cut
}

// newFront makes a front that lasts until it is closed, longer than ctx.
func newFront(ctx context.Context, public, hidden string) *front {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &front{
		public: public, hidden: hidden, stop: stop,
		dial: func(address string) (*net.TCPConn, error) {
			c, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp4", address)
			if err != nil {
				return nil, err
			}
			return c.(*net.TCPConn), nil
		},
		listen: func(address string) (*net.TCPListener, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp4", address)
			if err != nil {
				return nil, err
			}
			return l.(*net.TCPListener), nil
		},
		ports: make(map[string]bool), doors: make(map[string]*net.TCPListener),
		passages: make(map[*passage]bool), faults: make(map[string]*tampering),
	}
}

// serves tells the front on which ports its node listens now.
func (f *front) serves(ports []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.ports)
	for _, p := range ports {
		f.ports[p] = true
	}
	return f.settle()
}

// settle opens and shuts doors. mu is held.
func (f *front) settle() error {
	open := !f.closed
	for _, t := range f.faults {
		open = open && !t.refuses
	}
	for port, l := range f.doors {
		if !open || !f.ports[port] {
			l.Close() // what waits to be accepted is reset
			delete(f.doors, port)
		}
	}
	if !open {
		return nil
	}
	var errs []error
	for _, port := range slices.Sorted(maps.Keys(f.ports)) {
		if f.doors[port] != nil {
			continue
		}
		l, err := f.listen(withPort(f.public, port))
		if err != nil {
			errs = append(errs, fmt.Errorf("stand in front of port %s: %w", port, err))
			continue
		}
		f.doors[port] = l
		f.running.Go(func() { f.accept(l, port) })
	}
	return errors.Join(errs...)
}

// accept takes in connections until the door shuts.
func (f *front) accept(l *net.TCPListener, port string) {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as one that was reset before, or too many open files
			f.mu.Lock()
			gone := f.doors[port] != l
			f.mu.Unlock()
			if gone {
				return
			}
			continue
		}
		f.running.Go(func() { f.pass(c, port) })
	}
}

// pass carries one connection to its end.
func (f *front) pass(c *net.TCPConn, port string) {
	node, err := f.dial(withPort(f.hidden, port))
	if err != nil {
		reset(c) // it died in this moment
		return
	}
	p := &passage{client: c, node: node, gone: make(chan struct{})}
	for d := range p.links {
		p.links[d] = newLink(p.gone, func(late time.Duration, bytes int) { f.passed(stream.Direction(d), late, bytes) })
	}
	if !f.enter(p) {
		reset(c)
		reset(node)
		return
	}
	p.carry()
	f.mu.Lock()
	delete(f.passages, p)
	f.mu.Unlock()
}

// enter makes a passage known, with all that is in force. It reports whether it may pass.
func (f *front) enter(p *passage) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(f.faults)) {
		if f.faults[name].refuses {
			return false
		}
		for _, t := range f.faults[name].toxics {
			p.links[t.direction].add(t.key, t.wrap())
		}
	}
	f.passages[p] = true
	return true
}

// carry moves bytes both ways until both sides have finished, or one has cut the connection: then the other is, too.
func (p *passage) carry() {
	ends := [2]struct{ from, to *net.TCPConn }{stream.Upstream: {p.client, p.node}, stream.Downstream: {p.node, p.client}}
	var all, watch sync.WaitGroup
	for d, l := range p.links {
		all.Go(func() {
			if l.send(ends[d].from) != nil {
				p.cut()
			}
		})
		all.Go(func() { l.receive(ends[d].to, p.cut) })
	}
	done := make(chan struct{})
	watch.Go(func() {
		select {
		case <-p.gone:
			for _, l := range p.links {
				l.release()
			}
		case <-done:
		}
	})
	all.Wait()
	close(done)
	watch.Wait()
	p.leave()
}

// cut resets both ends.
func (p *passage) cut() {
	reset(p.client)
	reset(p.node)
	p.once.Do(func() { close(p.gone) })
}

// isGone reports whether it was cut or has ended.
func (p *passage) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// leave ends a passage as a program does that closes its connections.
func (p *passage) leave() {
	p.client.Close()
	p.node.Close()
	p.once.Do(func() { close(p.gone) })
}

// reset closes a connection by a reset.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // if it is closed already, it is
	c.Close()
}

// passed tells those in force of a piece.
func (f *front) passed(d stream.Direction, late time.Duration, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.faults {
		t.delays[d].Add(late)
		t.bytes[d] += int64(bytes)
	}
}

// close ends everything. It may be called twice.
func (f *front) close() {
	f.mu.Lock()
	f.closed = true
	_ = f.settle() // nothing is opened
	for p := range f.passages {
		p.cut()
	}
	f.mu.Unlock()
	f.stop()
	f.running.Wait()
}

// withPort joins an address and a port, unless it has one of its own.
func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(address, port)
}
