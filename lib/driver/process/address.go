package process

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

const (
	// lockPort is the UDP port that a cluster holds on every address it uses, so that no other
	// one on this machine takes the address while its node is down.
	lockPort = 20747
	// maxTries bounds the search for a free address.
	maxTries = 4096
)

// addresses gives every node an address of its own.
type addresses struct {
	shared bool // 127.0.0.1 and a free port, instead of an address in 127/8

	mu    sync.Mutex
	next  uint32 // the candidate to try
	locks map[string]net.PacketConn
}

// newAddresses begins to search at a place that depends on run and trial, so that
// runs side by side seldom meet, and a trial's addresses are the same each time.
func newAddresses(shared bool, run, trial string) *addresses {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s\x00%s", run, trial)
	// 127.16.0.0 and up: programs that use 127/8 are mostly in 127.0/16.
	blocks := uint32(240-16) << 8
	return &addresses{shared: shared, next: 127<<24 | 16<<16 | h.Sum32()%blocks<<8 | 2, locks: make(map[string]net.PacketConn)}
}

// take returns a free address, with a port if addresses are shared. The ports that the
// service exposes are free on it now.
func (a *addresses) take(ctx context.Context, expose []string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shared {
		return a.takePort(ctx)
	}
	var last error
	for range maxTries {
		ip := netip.AddrFrom4([4]byte{byte(a.next >> 24), byte(a.next >> 16), byte(a.next >> 8), byte(a.next)}).String()
		a.advance()
		conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", net.JoinHostPort(ip, strconv.Itoa(lockPort)))
		if err != nil {
			last = err
			continue
		}
		if err := free(ctx, ip, expose); err != nil {
			return "", errors.Join(err, conn.Close())
		}
		a.locks[ip] = conn
		return ip, nil
	}
	return "", fmt.Errorf("find a free address in 127/8: %w", last)
}

// advance goes to the next address; .0, .1 and .255 are left out, and it stays in 127.16–127.239.
func (a *addresses) advance() {
	a.next++
	if a.next&255 == 255 {
		a.next += 3 // .2 of the next block
	}
	if a.next>>16&255 >= 240 {
		a.next = 127<<24 | 16<<16 | 2
	}
}

// takePort cannot hold the port, since the node will want it: another program could
// take it in between. Then the node says so in its log.
func (a *addresses) takePort(ctx context.Context) (string, error) {
	for range maxTries {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		address := l.Addr().String()
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		if _, taken := a.locks[address]; !taken {
			a.locks[address] = nil
			return address, nil
		}
	}
	return "", errors.New("find a free port: all that the system offers are taken")
}

// free fails if a port is held by a program that listens on all addresses.
func free(ctx context.Context, ip string, ports []string) error {
	for _, p := range ports {
		port, proto, _ := strings.Cut(p, "/")
		if (proto != "" && proto != "tcp") || strings.Contains(port, "-") {
			continue
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort(ip, port))
		if err != nil {
			return fmt.Errorf("port %s is not free on %s: %w\n  end the program that listens on it on all addresses, or let the service use another", port, ip, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// give gives an address back.
func (a *addresses) give(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if conn := a.locks[address]; conn != nil {
		conn.Close() // nothing was ever written to it
	}
	delete(a.locks, address)
}

func (a *addresses) giveAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for address, conn := range a.locks {
		if conn != nil {
			conn.Close()
		}
		delete(a.locks, address)
	}
}
