package answer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
	vnetlink "github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What conntrack's messages are called, from include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	ctTupleOriginal = 1 // CTA_TUPLE_ORIG
	ctTupleReply    = 2
	ctTupleIP       = 1 // within a tuple: CTA_TUPLE_IP
	ctTupleProtocol = 2
	ctIPv4Source    = 1 // CTA_IP_V4_SRC
	ctIPv4To        = 2
	ctIPv6Source    = 3
	ctIPv6To        = 4
	ctNumber        = 1 // CTA_PROTO_NUM
	ctSourcePort    = 2
	ctPort          = 3
)

// kernelWires ask the kernel, and mark what we send ourselves.
func kernelWires() wires {
	marked := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); err != nil {
			return err
		}
		return failed
	}}
	return wires{original: original, asked: asked, dial: marked.DialContext, check: canForget}
}

// original says where a connection that was led to us was going (SO_ORIGINAL_DST, linux/netfilter_ipv4.h).
func original(c net.Conn) (netip.AddrPort, error) {
	const soOriginalDst = 80
	t, ok := c.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("a %T knows no original destination", c)
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var to netip.AddrPort
	var failed error
	v4 := t.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().Is4()
	err = raw.Control(func(fd uintptr) {
		if v4 {
			// The library has no call for a struct sockaddr_in: this one reads as many bytes.
			var b *unix.IPv6Mreq
			if b, failed = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); failed == nil {
				to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b.Multiaddr[4:8])), binary.BigEndian.Uint16(b.Multiaddr[2:4]))
			}
			return
		}
		var b *unix.IPv6MTUInfo // begins with a struct sockaddr_in6
		if b, failed = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, soOriginalDst); failed == nil {
			a := netip.AddrFrom16(b.Addr.Addr)
			if a.IsLinkLocalUnicast() && b.Addr.Scope_id != 0 {
				a = a.WithZone(fmt.Sprint(b.Addr.Scope_id))
			}
			port := binary.NativeEndian.AppendUint16(nil, b.Addr.Port) // the field is in the network's order
			to = netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return netip.AddrPort{}, fmt.Errorf("ask where a connection was going: %w", err)
	}
	return to, nil
}

// asked says where a datagram from client that was led to here was going: conntrack knows it by the answer's addresses.
func asked(client, here netip.AddrPort) (netip.AddrPort, error) {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	question, err := tuple(ctTupleReply, here, client)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("conntrack: %w", err)
	}
	replies, err := conntrack(nl.IPCTNL_MSG_CT_GET, here.Addr(), question)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("conntrack: ask where a look-up was going: %w", err)
	}
	for _, r := range replies {
		if len(r) < nl.SizeofNfgenmsg {
			continue
		}
		if to, err := originalOf(r[nl.SizeofNfgenmsg:]); err == nil {
			return to, nil
		}
	}
	return netip.AddrPort{}, errors.New("conntrack: it does not know where a look-up was going")
}

// conntrack asks for something about one flow.
func conntrack(what int, of netip.Addr, flow []byte) ([][]byte, error) {
	family := uint8(unix.AF_INET6)
	if of.Is4() {
		family = unix.AF_INET
	}
	ask := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|what, unix.NLM_F_ACK)
	ask.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	ask.AddRawData(flow)
	return ask.Execute(unix.NETLINK_NETFILTER, 0)
}

// tuple names a UDP flow by the addresses of one of its directions.
func tuple(direction uint16, from, to netip.AddrPort) ([]byte, error) {
	source, destination := uint16(ctIPv6Source), uint16(ctIPv6To)
	if from.Addr().Is4() {
		source, destination = ctIPv4Source, ctIPv4To
	}
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(direction, func(e *netlink.AttributeEncoder) error {
		e.Nested(ctTupleIP, func(e *netlink.AttributeEncoder) error {
			e.Bytes(source, from.Addr().AsSlice())
			e.Bytes(destination, to.Addr().AsSlice())
			return nil
		})
		e.Nested(ctTupleProtocol, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctNumber, unix.IPPROTO_UDP)
			e.Bytes(ctSourcePort, bigEndian(from.Port()))
			e.Bytes(ctPort, bigEndian(to.Port()))
			return nil
		})
		return nil
	})
	return e.Encode()
}

// originalOf reads a flow's first destination.
func originalOf(attributes []byte) (netip.AddrPort, error) {
	d, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var address netip.Addr
	var port uint16
	for d.Next() {
		if d.Type() != ctTupleOriginal {
			continue
		}
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				part := d.Type()
				d.Nested(func(d *netlink.AttributeDecoder) error {
					for d.Next() {
						switch {
						case part == ctTupleIP && (d.Type() == ctIPv4To || d.Type() == ctIPv6To):
							address, _ = netip.AddrFromSlice(d.Bytes())
						case part == ctTupleProtocol && d.Type() == ctPort && len(d.Bytes()) == 2:
							port = binary.BigEndian.Uint16(d.Bytes())
						}
					}
					return nil
				})
			}
			return nil
		})
	}
	if err := d.Err(); err != nil {
		return netip.AddrPort{}, err
	}
	if !address.IsValid() || port == 0 {
		return netip.AddrPort{}, errors.New("a flow without a destination")
	}
	return netip.AddrPortFrom(address, port), nil
}

// forget makes conntrack forget UDP flows to port 53, or those that were led to the resolver: the next packet of one goes
// where the rules of then say.
func (n *namespace) forget(r *resolver, led bool) error {
	var own []uint16
	for _, c := range r.packets {
		own = append(own, uint16(c.LocalAddr().(*net.UDPAddr).Port))
	}
	if !led {
		if flows, all := connected(own); all {
			return errors.Join(each(flows, forgetOne)...)
		}
	}
	// One pass for both families: it goes through a table that the whole machine shares, which takes about 20 ms.
	listed, err := vnetlink.ConntrackTableList(vnetlink.ConntrackTable, unix.AF_UNSPEC)
	if err != nil && !errors.Is(err, vnetlink.ErrDumpInterrupted) {
		return fmt.Errorf("conntrack: list look-ups: %w", err)
	}
	var flows []udpFlow
	for _, f := range listed {
		if f.Forward.Protocol != unix.IPPROTO_UDP || f.Forward.DstPort != dnsPort || led && !slices.Contains(own, f.Reverse.SrcPort) {
			continue
		}
		source, ok := netip.AddrFromSlice(f.Forward.SrcIP)
		to, too := netip.AddrFromSlice(f.Forward.DstIP)
		if ok && too {
			flows = append(flows, udpFlow{netip.AddrPortFrom(source.Unmap(), f.Forward.SrcPort), netip.AddrPortFrom(to.Unmap(), dnsPort)})
		}
	}
	return errors.Join(each(flows, forgetOne)...)
}

// A udpFlow is whom a socket sends to.
type udpFlow struct{ from, to netip.AddrPort }

// connected lists the flows to port 53 of the namespace's UDP sockets, and reports whether these are all that there can be:
// whom a socket that is not connected has asked, only conntrack knows. Docker's resolver has such a one, but is not a node.
func connected(own []uint16) (flows []udpFlow, all bool) {
	docker := netip.AddrFrom4([4]byte{127, 0, 0, 11})
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := vnetlink.SocketDiagUDP(family)
		if err != nil {
			return nil, false // a kernel without udp_diag
		}
		for _, s := range sockets {
			from, ok := netip.AddrFromSlice(s.ID.Source)
			to, too := netip.AddrFromSlice(s.ID.Destination)
			if !ok || !too {
				return nil, false
			}
			from, to = from.Unmap(), to.Unmap()
			switch {
			case s.ID.DestinationPort == dnsPort:
				flows = append(flows, udpFlow{netip.AddrPortFrom(from, s.ID.SourcePort), netip.AddrPortFrom(to, dnsPort)})
			case s.ID.DestinationPort == 0 && from != docker && !slices.Contains(own, s.ID.SourcePort):
				return nil, false
			}
		}
	}
	return flows, true
}

func each(flows []udpFlow, do func(udpFlow) error) []error {
	errs := make([]error, len(flows))
	for i, f := range flows {
		errs[i] = do(f)
	}
	return errs
}

func forgetOne(f udpFlow) error {
	one, err := tuple(ctTupleOriginal, f.from, f.to)
	if err == nil {
		_, err = conntrack(nl.IPCTNL_MSG_CT_DELETE, f.from.Addr(), one)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("conntrack: forget a look-up: %w", err)
	}
	return nil
}

// canForget reports why conntrack cannot be asked, by a flow that cannot be.
func canForget() error {
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	if _, err := asked(nobody, nobody); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look-ups cannot be followed (the kernel's nf_conntrack_netlink): %w", err)
	}
	return nil
}
