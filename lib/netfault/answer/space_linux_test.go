package answer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/tutti-bench/tutti/lib/netfault/answer"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

const (
	inside = "TUTTI_TEST_INSIDE" // set in the environment of a test that runs in a namespace of its own

	nodeAddress, nodeAddress6 = "10.77.0.1", "fd77::1" // of the namespace that the test is in
	peerAddress, peerAddress6 = "10.77.0.2", "fd77::2" // of the one next to it
)

// apart runs the calling test once more, in a process with a network namespace of its own, and reports whether this is
// that process. All of a process has to be in the namespace: servers make their sockets in any thread.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := c.CombinedOutput()
	switch {
	case err != nil && c.ProcessState == nil:
		t.Skipf("no network namespace of our own: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// A peer is a network namespace next to the test's.
type peer struct{ do chan func() }

// neighbour makes the namespace next to ours, with a link between both.
func neighbour(t *testing.T) *peer {
	t.Helper()
	up(t, "lo")
	p := &peer{do: make(chan func())}
	started := make(chan string)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			started <- err.Error()
			return
		}
		started <- ""
		for f := range p.do {
			f()
		}
	}()
	if why := <-started; why != "" {
		t.Skip("no second network namespace: " + why)
	}
	t.Cleanup(func() { close(p.do) })
	var tid int
	p.in(func() { tid = unix.Gettid() })
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}))
	other, err := netlink.LinkByName("eth1")
	must(t, err)
	must(t, netlink.LinkSetNsPid(other, tid))
	must(t, netlink.AddrAdd(up(t, "eth0"), address(nodeAddress, 24)))
	must(t, netlink.AddrAdd(up(t, "eth0"), address(nodeAddress6, 64)))
	p.in(func() {
		up(t, "lo")
		must(t, netlink.AddrAdd(up(t, "eth1"), address(peerAddress, 24)))
		must(t, netlink.AddrAdd(up(t, "eth1"), address(peerAddress6, 64)))
	})
	for _, to := range []string{nodeAddress, nodeAddress6} { // a new link loses what comes first
		for i := 0; ; i++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := p.dial(ctx, "tcp", net.JoinHostPort(to, "1"))
			cancel()
			if errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
			if i == 10 {
				t.Fatalf("the link does not work: %v", err)
			}
		}
	}
	return p
}

func address(ip string, bits int) *netlink.Addr {
	a := netip.MustParseAddr(ip)
	n := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
	return &netlink.Addr{IPNet: n, Flags: unix.IFA_F_NODAD}
}

func up(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	return l
}

// in does something in the peer's namespace. A socket that was made there stays there.
func (p *peer) in(f func()) {
	done := make(chan struct{})
	p.do <- func() { defer close(done); f() }
	<-done
}

func (p *peer) dial(ctx context.Context, network, to string) (c net.Conn, err error) {
	p.in(func() { c, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, to) })
	return c, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dockerAddress is where Docker's resolver is, and dockerPort where it is really: Docker draws the port.
const (
	dockerAddress = "127.0.0.11"
	dockerPort    = 45678
)

// translate does what Docker does in a node's namespace: look-ups for its resolver are led to the port where it is.
func translate(t *testing.T) {
	t.Helper()
	var c nftables.Conn
	tab := c.AddTable(&nftables.Table{Name: "docker-dns", Family: nftables.TableFamilyIPv4})
	out := c.AddChain(&nftables.Chain{
		Name: "out", Table: tab, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	back := c.AddChain(&nftables.Chain{
		Name: "back", Table: tab, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, protocol := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		rule := func(address, port uint32, from uint16, how expr.NATType, to uint16) []expr.Any {
			return []expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: 4},
				&expr.Cmp{Register: 1, Data: []byte{127, 0, 0, 11}},
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Register: 1, Data: []byte{protocol}},
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
				&expr.Cmp{Register: 1, Data: binary.BigEndian.AppendUint16(nil, from)},
				&expr.Immediate{Register: 1, Data: []byte{127, 0, 0, 11}},
				&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, to)},
				&expr.NAT{Type: how, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
			}
		}
		c.AddRule(&nftables.Rule{Table: tab, Chain: out, Exprs: rule(16, 2, 53, expr.NATTypeDestNAT, dockerPort)})
		c.AddRule(&nftables.Rule{Table: tab, Chain: back, Exprs: rule(12, 0, dockerPort, expr.NATTypeSourceNAT, 53)})
	}
	if err := c.Flush(); err != nil {
		t.Skipf("no translation like Docker's: %v", err)
	}
}

// nameServer answers every look-up by UDP and TCP with an address. onwards is asked first, where there is one, as Docker's
// resolver asks for names that it does not know.
func nameServer(t *testing.T, at, says string, onwards func(query []byte) bool) {
	t.Helper()
	packets, err := net.ListenPacket("udp", at)
	must(t, err)
	streams, err := net.Listen("tcp", at)
	must(t, err)
	t.Cleanup(func() { _ = packets.Close(); _ = streams.Close() })
	said := func(query []byte) []byte {
		if onwards != nil && !onwards(query) {
			return nil
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil {
			return nil
		}
		m.Response, m.Additionals = true, nil
		if m.Questions[0].Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 600},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(says).As4()},
			}}
		}
		b, _ := m.Pack()
		return b
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			query := append([]byte(nil), b[:n]...)
			go func() {
				if b := said(query); b != nil {
					_, _ = packets.WriteTo(b, from)
				}
			}()
		}
	}()
	go func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					q, err := readFramed(c)
					if err != nil {
						return
					}
					_, _ = c.Write(framed(said(q)))
				}
			}()
		}
	}()
}

// carrier makes what is tested.
func carrier(t *testing.T) *answer.Answer {
	t.Helper()
	a, err := answer.New()
	must(t, err)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	})
	return a
}

func set(t *testing.T, a *answer.Answer, parts map[string]rule.Part) {
	t.Helper()
	must(t, a.Set(t.Context(), parts))
}

// end ends all parts and returns what the one rule of a part has delivered.
func end(t *testing.T, a *answer.Answer, name string) rule.Delivered {
	t.Helper()
	set(t, a, nil)
	all, err := a.Read(t.Context())
	must(t, err)
	if len(all[name]) != 1 {
		t.Fatalf("want what came of %s, got %+v", name, all)
	}
	return all[name][0]
}
