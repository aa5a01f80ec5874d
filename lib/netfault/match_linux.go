package netfault

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"golang.org/x/sys/unix"
)

// What a line's counter counts.
const (
	countPackets = 1 << iota
	countHit
	countResets
)

// A line is one rule of nftables that does something, and what its counter means.
type line struct {
	exprs  []expr.Any
	counts int
}

func (l line) count(d *rule.Delivered, have *nftables.Rule) {
	for _, e := range have.Exprs {
		c, ok := e.(*expr.Counter)
		if !ok {
			continue
		}
		if l.counts&countPackets != 0 {
			d.Packets += c.Packets
			d.Bytes += c.Bytes
		}
		if l.counts&countHit != 0 {
			d.Hit += c.Packets
		}
		if l.counts&countResets != 0 {
			d.Resets += c.Packets
		}
	}
}

// chances is how many equally likely numbers the kernel draws from for a loss: shares are exact to 5·10⁻¹⁰.
const chances = 1 << 31

// lines are what is done to the packets that a rule is about.
func lines(r rule.Rule) []line {
	counter := func() expr.Any { return &expr.Counter{} }
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	switch r.Act {
	case rule.Drop:
		return []line{{[]expr.Any{counter(), drop}, countPackets | countHit}}
	case rule.Lose:
		below := uint32(math.Round(r.Share * chances))
		return []line{
			{[]expr.Any{counter()}, countPackets},
			{[]expr.Any{
				// The number is in the machine's order of bytes, and comparisons are of bytes: turned, they are of numbers.
				&expr.Numgen{Register: 1, Modulus: chances, Type: unix.NFT_NG_RANDOM},
				&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
				&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, below)},
				counter(), drop,
			}, countHit},
		}
	case rule.Refuse, rule.Reset:
		tcp := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		}
		reset := &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}
		// A packet with neither SYN nor RST is of a connection that was there: it ends it.
		there := append(slices.Clone(tcp),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{tcpSYN | tcpRST}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}},
			counter(), reset)
		return []line{
			{there, countPackets | countHit | countResets},
			{append(slices.Clone(tcp), counter(), reset), countPackets | countHit},
			{[]expr.Any{counter(), &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}, countPackets | countHit},
		}
	default:
		return nil // ready has refused it
	}
}

// Flags in the header of TCP.
const (
	tcpSYN = 0x02
	tcpRST = 0x04
)

// Types of ICMPv6 messages that are neighbour discovery (RFC 4861): without them there is no link.
const (
	discoveryFirst = 133
	discoveryLast  = 137
)

// exempt are packets that no rule is about.
func exempt(out bool) [][]expr.Any {
	back := &expr.Verdict{Kind: expr.VerdictReturn}
	discovery := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{discoveryFirst}},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{discoveryLast}},
		back,
	}
	if !out {
		loopback := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_LOOPBACK)},
			back,
		}
		return [][]expr.Any{loopback, discovery}
	}
	// In the egress hook ARP passes by too. It is neither protocol that peers have.
	ip := func(op expr.CmpOp, protocol uint16) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
			&expr.Cmp{Op: op, Register: 1, Data: binary.BigEndian.AppendUint16(nil, protocol)},
		}
	}
	return [][]expr.Any{
		append(append(ip(expr.CmpOpNeq, unix.ETH_P_IP), ip(expr.CmpOpNeq, unix.ETH_P_IPV6)...), back),
		discovery,
	}
}

// exprs matches the packets. Sets are added to the table, and go with the rule.
func (m meet) exprs(conn *nftables.Conn, t *nftables.Table) ([]expr.Any, error) {
	var all []expr.Any
	if len(m.peers) > 0 {
		protocol, offset, size, key := uint16(unix.ETH_P_IP), uint32(12), uint32(4), nftables.TypeIPAddr
		if !m.peers[0].Is4() {
			protocol, offset, size, key = unix.ETH_P_IPV6, 8, 16, nftables.TypeIP6Addr
		}
		if m.out {
			offset += size // where it goes to, behind where it comes from
		}
		elements := make([]nftables.SetElement, len(m.peers))
		for i, a := range m.peers {
			elements[i].Key = a.AsSlice()
		}
		look, err := lookup(conn, t, key, elements)
		if err != nil {
			return nil, err
		}
		all = append(all,
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, protocol)},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}, look)
	}
	if len(m.ports) > 0 {
		protocols, err := lookup(conn, t, nftables.TypeInetProto, []nftables.SetElement{{Key: []byte{unix.IPPROTO_TCP}}, {Key: []byte{unix.IPPROTO_UDP}}})
		if err != nil {
			return nil, err
		}
		ports := slices.Compact(slices.Sorted(slices.Values(m.ports)))
		elements := make([]nftables.SetElement, len(ports))
		for i, p := range ports {
			elements[i].Key = binary.BigEndian.AppendUint16(nil, p)
		}
		look, err := lookup(conn, t, nftables.TypeInetService, elements)
		if err != nil {
			return nil, err
		}
		offset := uint32(2) // the port it comes to
		if m.out {
			offset = 0
		}
		all = append(all,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, protocols,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}, look)
	}
	return all, nil
}

// lookup matches what is in register 1 against a set.
func lookup(conn *nftables.Conn, t *nftables.Table, key nftables.SetDatatype, elements []nftables.SetElement) (expr.Any, error) {
	set := &nftables.Set{Table: t, Anonymous: true, Constant: true, KeyType: key}
	if err := conn.AddSet(set, elements); err != nil {
		return nil, fmt.Errorf("nftables: make a set: %w", err)
	}
	return &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}, nil
}
