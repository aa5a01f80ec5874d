package netfault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A space is a network namespace of a test's own.
type space struct {
	t       *testing.T
	file    *os.File
	address string // of its device
}

// newSpace makes a namespace with loopback alone.
func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{t: t}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skipf("no network namespace of our own: %v", err)
	}
	t.Cleanup(func() { _ = s.file.Close() })
	s.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return s
}

// try calls f inside the namespace.
func (s *space) try(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (s *space) do(f func() error) {
	s.t.Helper()
	if err := s.try(f); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command inside the namespace and returns what it printed.
func (s *space) run(words ...string) string {
	s.t.Helper()
	var out []byte
	s.do(func() error {
		var err error
		if out, err = exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", words, err, out)
		}
		return nil
	})
	return string(out)
}

func (s *space) start(c *exec.Cmd) {
	s.t.Helper()
	s.do(c.Start)
}

func (s *space) listen(port int) net.Listener {
	s.t.Helper()
	var l net.Listener
	s.do(func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	})
	s.t.Cleanup(func() { _ = l.Close() })
	return l
}

func (s *space) dial(ctx context.Context, to string) (net.Conn, error) {
	var c net.Conn
	err := s.try(func() (err error) {
		c, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", to)
		return err
	})
	return c, err
}

// pair makes a node and a client with a link between them, each with an address of both families.
func pair(t *testing.T) (node, client *space) {
	t.Helper()
	node, client = newSpace(t), newSpace(t)
	node.link("eth0", client, "eth0", 1)
	return node, client
}

func (s *space) link(name string, to *space, its string, number int) {
	s.t.Helper()
	var peer netlink.Link
	s.do(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "passing"}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		var err error
		if peer, err = netlink.LinkByName("passing"); err != nil {
			return err
		}
		if err := netlink.LinkSetNsFd(peer, int(to.file.Fd())); err != nil {
			return err
		}
		s.address = fmt.Sprintf("10.77.%d.1", number)
		return raise(v, s.address, fmt.Sprintf("fd77:%d::1", number))
	})
	to.do(func() error {
		l, err := netlink.LinkByName("passing")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetName(l, its); err != nil {
			return err
		}
		to.address = fmt.Sprintf("10.77.%d.2", number)
		return raise(l, to.address, fmt.Sprintf("fd77:%d::2", number))
	})
	for _, host := range []string{s.address, fmt.Sprintf("[fd77:%d::1]", number)} { // a link may take a moment to carry both families
		for range 50 {
			soon, cancel := context.WithTimeout(s.t.Context(), 100*time.Millisecond)
			_, err := to.dial(soon, host+":1")
			cancel()
			if errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
		}
	}
}

func raise(l netlink.Link, v4, v6 string) error {
	for _, a := range []struct {
		ip   string
		bits int
	}{{v4, 24}, {v6, 64}} {
		ip := net.ParseIP(a.ip)
		size := 128
		if ip4 := ip.To4(); ip4 != nil {
			ip, size = ip4, 32
		}
		err := netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(a.bits, size)}, Flags: unix.IFA_F_NODAD})
		if err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

func addresses(all ...string) []netip.Addr {
	var parsed []netip.Addr
	for _, a := range all {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	return parsed
}
