package answer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxLookups  = 2048             // at once; more are dropped, as a resolver does that has too much to do
	maxStreams  = 256              // connections for look-ups by TCP
	askFor      = 10 * time.Second // for the true answer
	streamIdles = 30 * time.Second // before a connection without look-ups is closed
	maxDatagram = 1 << 14          // bytes; what resolvers send by UDP is below 4,096
)

// A resolver answers the look-ups that are led to it as the rules say, and truly when there are none. Who made it
// closes it.
type resolver struct {
	rules atomic.Pointer[[]*served]
	wires wires

	cancel context.CancelFunc // ends the context that all of it works in
	all    sync.WaitGroup
	slots  chan struct{}

	packets []*net.UDPConn
	streams []net.Listener

	mu     sync.Mutex
	asking map[string]int // questions that we ask a server inside the namespace now
	open   map[net.Conn]struct{}
}

// wires are how servers find out where what is led to them was going, and get there themselves.
type wires struct {
	original func(net.Conn) (netip.AddrPort, error)                          // of a connection
	asked    func(client, here netip.AddrPort) (netip.AddrPort, error)       // of a datagram
	dial     func(ctx context.Context, network, to string) (net.Conn, error) // past our own rules
	check    func() error                                                    // why asked would never know
}

// newResolver listens on the loopback addresses. Nothing is led to it yet. It lasts until it is closed, longer than ctx.
func newResolver(ctx context.Context, w wires) (*resolver, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	r := &resolver{
		wires: w, slots: make(chan struct{}, maxLookups),
		asking: make(map[string]int), open: make(map[net.Conn]struct{}),
	}
	r.rules.Store(&[]*served{})
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, host := range []string{"127.0.0.1", "::1"} {
		if err := r.listen(ctx, host); err != nil {
			if host == "::1" && !speaksIPv6() {
				continue
			}
			return nil, errors.Join(fmt.Errorf("listen for look-ups: %w", err), r.Close())
		}
	}
	for _, c := range r.packets {
		r.all.Go(func() { r.datagrams(ctx, c) })
	}
	for _, l := range r.streams {
		r.all.Go(func() { r.accept(ctx, l) })
	}
	return r, nil
}

// speaksIPv6 reports whether look-ups could be sent by IPv6.
func speaksIPv6() bool {
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && !n.IP.IsLinkLocalUnicast() {
			return true
		}
	}
	return err != nil
}

func (r *resolver) listen(ctx context.Context, host string) error {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
	if err != nil {
		return err
	}
	r.packets = append(r.packets, c)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return err
	}
	r.streams = append(r.streams, l)
	return nil
}

// Close ends it and returns when nothing of it runs.
func (r *resolver) Close() error {
	r.cancel()
	for _, c := range r.packets {
		_ = c.Close()
	}
	for _, l := range r.streams {
		_ = l.Close()
	}
	r.hangUp()
	r.all.Wait()
	return nil
}

// hangUp ends the look-ups by TCP.
func (r *resolver) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		_ = c.Close()
	}
}

func (r *resolver) datagrams(ctx context.Context, c *net.UDPConn) {
	here := c.LocalAddr().(*net.UDPAddr).AddrPort()
	buffer := make([]byte, maxDatagram)
	for {
		n, client, err := c.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !rest(ctx) {
				return
			}
			continue
		}
		select {
		case r.slots <- struct{}{}:
		default:
			r.seen()
			continue
		}
		query := append([]byte(nil), buffer[:n]...)
		r.all.Go(func() {
			defer func() { <-r.slots }()
			whom := func() (netip.AddrPort, error) { return r.wires.asked(client, here) }
			if said := r.answer(ctx, "udp", query, whom); said != nil {
				_, _ = c.WriteToUDPAddrPort(said, client) // who does not get it asks again
			}
		})
	}
}

// seen counts a look-up that nobody serves.
func (r *resolver) seen() {
	for _, s := range *r.rules.Load() {
		s.packets.Add(1)
	}
}

// rest waits a moment before something is tried again, and reports whether it is worth it.
func rest(ctx context.Context) bool {
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *resolver) accept(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !rest(ctx) {
				return
			}
			continue
		}
		r.mu.Lock()
		if ctx.Err() != nil || len(r.open) >= maxStreams {
			r.mu.Unlock()
			_ = c.Close()
			continue
		}
		r.open[c] = struct{}{}
		r.mu.Unlock()
		r.all.Go(func() { r.stream(ctx, c) })
	}
}

// stream answers the look-ups of a connection, each on its own: RFC 7766 lets answers overtake.
func (r *resolver) stream(ctx context.Context, c net.Conn) {
	var writing sync.Mutex
	var here sync.WaitGroup
	defer func() {
		here.Wait()
		r.mu.Lock()
		delete(r.open, c)
		r.mu.Unlock()
		_ = c.Close()
	}()
	server, err := r.wires.original(c)
	whom := func() (netip.AddrPort, error) { return server, err }
	for {
		_ = c.SetReadDeadline(time.Now().Add(streamIdles))
		query, err := readFramed(c)
		if err != nil {
			return
		}
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		here.Go(func() {
			defer func() { <-r.slots }()
			said := r.answer(ctx, "tcp", query, whom)
			if said == nil {
				return
			}
			writing.Lock()
			defer writing.Unlock()
			_ = c.SetWriteDeadline(time.Now().Add(askFor))
			_, _ = c.Write(framed(said))
		})
	}
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func readFramed(c io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, message)
	return message, err
}

// A question is what a look-up asks.
type question struct {
	header dnsmessage.Header
	dnsmessage.Question
}

// key says whether two look-ups ask the same.
func (q question) key() string {
	return fmt.Sprintf("%s %d %d", strings.ToLower(q.Name.String()), q.Type, q.Class)
}

func parse(query []byte) (question, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return question{}, false
	}
	q, err := p.Question()
	return question{h, q}, err == nil
}

// reply is the answer of a server that refuses, or that knows no such name.
func (q question) reply(code dnsmessage.RCode) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RCode: code,
			RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, CheckingDisabled: q.header.CheckingDisabled,
		},
		Questions: []dnsmessage.Question{q.Question},
	}
	b, err := m.Pack()
	if err != nil {
		return nil // a name that could be read can be written
	}
	return b
}

// answer returns what a look-up gets; nil if it gets nothing.
func (r *resolver) answer(ctx context.Context, network string, query []byte, whom func() (netip.AddrPort, error)) []byte {
	q, ok := parse(query)
	if !ok {
		return r.ask(ctx, network, query, "", whom) // what is no look-up is not ours to judge
	}
	rules := *r.rules.Load()
	if r.ours(q, whom) {
		rules = nil
	}
	began := time.Now()
	var slow []*served
	for _, s := range rules {
		s.packets.Add(1)
		switch s.Mode {
		case rule.DNSSlow:
			slow = append(slow, s)
		case rule.DNSRefused, rule.DNSNXDomain:
			code := dnsmessage.RCodeRefused
			if s.Mode == rule.DNSNXDomain {
				code = dnsmessage.RCodeNameError
			}
			r.hold(ctx, slow, began)
			s.hit.Add(1)
			return q.reply(code)
		}
	}
	said := r.ask(ctx, network, query, q.key(), whom)
	if said != nil {
		r.hold(ctx, slow, time.Now())
	}
	return said
}

// hold makes an answer late by all delays together.
func (r *resolver) hold(ctx context.Context, slow []*served, since time.Time) {
	for _, s := range slow {
		if s.hold(ctx, since) {
			s.hit.Add(1)
			since = since.Add(s.Delay)
		}
	}
}

// ours reports whether a look-up comes because of one of ours: a server inside the namespace, which we ask the same
// now, asks another one.
func (r *resolver) ours(q question, whom func() (netip.AddrPort, error)) bool {
	r.mu.Lock()
	asking := r.asking[q.key()] > 0
	r.mu.Unlock()
	if !asking {
		return false
	}
	server, err := whom()
	return err == nil && !server.Addr().IsLoopback()
}

// ask gets the true answer from whom the node has asked; nil if there is none.
func (r *resolver) ask(ctx context.Context, network string, query []byte, key string, whom func() (netip.AddrPort, error)) []byte {
	server, err := whom()
	if err != nil {
		return nil
	}
	if key != "" && server.Addr().IsLoopback() {
		r.mu.Lock()
		r.asking[key]++
		r.mu.Unlock()
		defer func() {
			r.mu.Lock()
			if r.asking[key]--; r.asking[key] == 0 {
				delete(r.asking, key)
			}
			r.mu.Unlock()
		}()
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c, err := r.wires.dial(ctx, network, server.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if network == "tcp" {
		if _, err := c.Write(framed(query)); err != nil {
			return nil
		}
		said, err := readFramed(c)
		if err != nil {
			return nil
		}
		return said
	}
	if _, err := c.Write(query); err != nil {
		return nil
	}
	buffer := make([]byte, maxDatagram)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return nil
		}
		if n >= 2 && len(query) >= 2 && buffer[0] == query[0] && buffer[1] == query[1] {
			return append([]byte(nil), buffer[:n]...)
		}
	}
}
