package wire

import (
	"slices"
	"strings"
	"time"
)

// Counts says how many of each kind of failure there were.
type Counts [numKinds]uint64

// Of is how many there were of one kind.
func (c Counts) Of(k Kind) uint64 { return c[k] }

// Total is how many there were of all kinds.
func (c Counts) Total() uint64 {
	n := uint64(0)
	for _, x := range c {
		n += x
	}
	return n
}

// Address is what happened at one address, which is a host:port as it was asked for, and may be several nodes.
type Address struct {
	Address string

	Requests uint64 // that ended; those that never had a connection included
	Failed   Counts // of those

	Opened    uint64 // connections
	NotOpened uint64 // attempts at one that failed
	Closed    uint64 // connections, by either side
	Peak      int    // the most connections at once

	Waited      uint64        // requests that waited for a connection, or for one to be made
	Wait        time.Duration // all their waits together
	LongestWait time.Duration

	Idle, Busy, Dialing, Waiting int // now; Waiting are requests

	Nodes []Node // by Remote
	Conns []Conn // that are open now, by Opened
}

// Node is what happened at one remote address, which is an IP address and a port.
type Node struct {
	Remote   string
	Opened   uint64 // connections
	Closed   uint64 // connections
	Requests uint64 // that ended on a connection to it
	Failed   Counts // of those
	In, Out  uint64 // bytes
}

// Conn is what happened on one open connection.
type Conn struct {
	Local, Remote string
	Opened        time.Time
	Requests      uint64 // that ended
	In, Out       uint64 // bytes, of those
	Busy          bool
}

// Others stands for the remote addresses beyond the first 1,000 of an address.
const Others = "others"

const maxNodes = 1000

type node struct{ Node }

// tally is what of a connection has been counted.
type tally struct{ requests, in, out uint64 }

// nodeOf returns the node's counters. The lock is held.
func (p *pool) nodeOf(remote string) *node {
	if n := p.nodes[remote]; n != nil {
		return n
	}
	if len(p.nodes) >= maxNodes {
		remote = Others
		if n := p.nodes[remote]; n != nil {
			return n
		}
	}
	n := &node{Node{Remote: remote}}
	p.nodes[remote] = n
	return n
}

// account counts an exchange that ended. The pool's lock is held.
func (c *conn) account(e *Error) {
	c.reused = true
	p, n := c.pool, c.node
	n.In += c.in - c.seen.in
	n.Out += c.out - c.seen.out
	c.seen.in, c.seen.out = c.in, c.out
	c.seen.requests++
	n.Requests++
	p.tally.Requests++
	if e != nil {
		n.Failed[e.Kind]++
		p.tally.Failed[e.Kind]++
	}
}

// Stats returns what has happened at each address until now, by address.
func (t *Transport) Stats() []Address {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Address, 0, len(t.pools))
	for _, p := range t.pools {
		all = append(all, p.stats())
	}
	slices.SortFunc(all, func(a, b Address) int { return strings.Compare(a.Address, b.Address) })
	return all
}

func (p *pool) stats() Address {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.tally
	a.Address = p.address
	a.Idle, a.Busy, a.Dialing, a.Waiting = len(p.idle), len(p.all)-len(p.idle), p.dialing, p.starters.Len()+p.queue.Len()
	for _, n := range p.nodes {
		a.Nodes = append(a.Nodes, n.Node)
	}
	slices.SortFunc(a.Nodes, func(x, y Node) int { return strings.Compare(x.Remote, y.Remote) })
	for _, c := range p.all {
		a.Conns = append(a.Conns, Conn{
			Local: c.nc.LocalAddr().String(), Remote: c.nc.RemoteAddr().String(), Opened: p.t.epoch.Add(c.opened),
			Requests: c.seen.requests, In: c.seen.in, Out: c.seen.out, Busy: c.busy,
		})
	}
	slices.SortFunc(a.Conns, func(x, y Conn) int { return x.Opened.Compare(y.Opened) })
	return a
}
