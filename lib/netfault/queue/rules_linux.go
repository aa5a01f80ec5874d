package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/netfault/table"
	"golang.org/x/sys/unix"
)

// A target makes the expression of a rule that queues packets, and lets them pass where nobody listens.
type target func(number uint16) expr.Any

// byTarget is the NFQUEUE target of xtables, revision 3 (struct xt_NFQ_info_v3: the queue's number, how many there are, flags,
// padding to 8 bytes). Kernels with nft_compat have it.
func byTarget(number uint16) expr.Any {
	const bypass = 1
	info := binary.NativeEndian.AppendUint16(nil, number)
	info = binary.NativeEndian.AppendUint16(info, 1)
	info = binary.NativeEndian.AppendUint16(info, bypass)
	info = append(info, 0, 0)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: (*xt.Unknown)(&info)}
}

// byExpression is nftables' own.
func byExpression(number uint16) expr.Any {
	return &expr.Queue{Num: number, Total: 1, Flag: expr.QueueFlagBypass}
}

// choose tries which of them the kernel has, in a chain that no packet comes to.
func choose(t *table.Table) (target, error) {
	var errs []error
	for _, one := range []target{byTarget, byExpression} {
		chain := t.Conn.AddChain(&nftables.Chain{Name: "try", Table: t.Table})
		t.Conn.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: []expr.Any{one(firstName)}})
		t.Conn.DelChain(chain)
		err := t.Flush()
		if err == nil {
			return one, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("the kernel queues no packets: neither by the NFQUEUE target (nft_compat, xt_NFQUEUE) nor by nft_queue: %w", errors.Join(errs...))
}

// openCopies makes the chains by which packets are copied, for all rules: they match nothing but what a queue has marked. The
// kernel's dup expression is of IPv4 and IPv6, not of inet, so they have tables of their own.
func (q *Queue) openCopies() error {
	p := priority(rule.Duplicate) + 1
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		t, err := q.table.Add(family)
		if err != nil {
			return err
		}
		for _, s := range sides(rule.Both) {
			chain := q.table.Conn.AddChain(&nftables.Chain{
				Name: "copy-" + s.name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: s.hook, Priority: &p,
			})
			q.table.Conn.AddRule(&nftables.Rule{
				Table: t, Chain: chain, Exprs: slices.Concat(foreign(s.device), marked(), copying(family)),
			})
		}
	}
	if err := q.table.Flush(); err != nil {
		return fmt.Errorf("the kernel copies no packets (nft_dup_ipv4, nft_dup_ipv6): %w", err)
	}
	q.copies = true
	return nil
}

// A side is a hook, and which end of a packet is where.
type side struct {
	name        string
	hook        *nftables.ChainHook
	device      expr.MetaKey
	peer, peer6 uint32 // offsets of the peer's address in the headers of IPv4 and IPv6
	port        uint32 // … of our port in those of TCP and UDP
}

func sides(d rule.Direction) []side {
	in := side{name: "in", hook: nftables.ChainHookInput, device: expr.MetaKeyIIF, peer: 12, peer6: 8, port: 2}
	out := side{name: "out", hook: nftables.ChainHookPostrouting, device: expr.MetaKeyOIF, peer: 16, peer6: 24, port: 0}
	switch d {
	case rule.Out:
		return []side{out}
	case rule.Both:
		return []side{in, out}
	default:
		return []side{in}
	}
}

// priority of a rule's chain: behind the filters of others (0) and their translations (100), before the kernel takes
// note of a new connection. Copies are made right behind.
func priority(a rule.Act) nftables.ChainPriority {
	order := []rule.Act{rule.Lose, rule.Delay, rule.Reorder, rule.Corrupt, rule.Duplicate}
	return nftables.ChainPriority(200 + 2*slices.Index(order, a))
}

// lead asks for the rules that lead packets to the queues of what has begun.
func (q *Queue) lead(begun []*carried) error {
	for _, c := range begun {
		r := c.flow.rule
		for _, s := range sides(r.Direction) {
			slot := q.slot(place{r.Act, s.name}, s)
			c.slots = append(c.slots, slot)
			matches, err := q.matches(r, s)
			if err != nil {
				return err
			}
			for _, m := range matches {
				q.table.Conn.AddRule(&nftables.Rule{
					Table: q.table.Table, Chain: slot.chain,
					Exprs: slices.Concat(foreign(s.device), unmarked(), m, []expr.Any{q.target(c.flow.number)}),
				})
			}
		}
	}
	return nil
}

// slot takes a free slot, or asks for one.
func (q *Queue) slot(at place, s side) *slot {
	for _, one := range q.slots {
		if one.place == at && !one.used {
			one.used = true
			return one
		}
	}
	one := q.addSlot(at, s)
	one.used = true
	return one
}

func (q *Queue) addSlot(at place, s side) *slot {
	p := priority(at.act)
	one := &slot{place: at, chain: q.table.Conn.AddChain(&nftables.Chain{
		Name: fmt.Sprintf("%s-%s-%d", at.act, at.side, q.count(at)+1), Table: q.table.Table,
		Type: nftables.ChainTypeFilter, Hooknum: s.hook, Priority: &p,
	})}
	q.slots = append(q.slots, one)
	return one
}

func (q *Queue) count(at place) (n int) {
	for _, one := range q.slots {
		if one.place == at {
			n++
		}
	}
	return n
}

// foreign matches what does not stay in the node: its loopback interface has the index 1, always.
func foreign(device expr.MetaKey) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: device, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(1)},
	}
}

func maskedMark() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(copyMark), Xor: make([]byte, 4)},
	}
}

// unmarked matches what is no copy of ours.
func unmarked() []expr.Any {
	return append(maskedMark(), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)})
}

func marked() []expr.Any {
	return append(maskedMark(), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
}

// copying sends a copy, which keeps the mark, to where the packet goes, and takes the mark off the packet.
func copying(family nftables.TableFamily) []expr.Any {
	destination := &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if family == nftables.TableFamilyIPv6 {
		destination.Offset, destination.Len = 24, 16
	}
	return []expr.Any{
		destination,
		&expr.Dup{RegAddr: 1},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(^uint32(copyMark)), Xor: make([]byte, 4)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// matches returns, for each rule that the kernel needs, what it looks at: the peers by family, our ports by protocol.
func (q *Queue) matches(r rule.Rule, s side) ([][]expr.Any, error) {
	all := [][]expr.Any{nil}
	if len(r.Peers) > 0 {
		var err error
		if all, err = q.peers(r.Peers, s); err != nil {
			return nil, err
		}
	}
	if len(r.Ports) == 0 {
		return all, nil
	}
	elements := make([]nftables.SetElement, 0, len(r.Ports))
	for _, p := range unique(r.Ports) {
		elements = append(elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, p)})
	}
	var both [][]expr.Any
	for _, m := range all {
		for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			set := &nftables.Set{Table: q.table.Table, Anonymous: true, Constant: true, KeyType: nftables.TypeInetService}
			if err := q.table.Conn.AddSet(set, elements); err != nil {
				return nil, fmt.Errorf("a set of ports: %w", err)
			}
			both = append(both, slices.Concat(m, []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
				&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: s.port, Len: 2},
				&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
			}))
		}
	}
	return both, nil
}

func (q *Queue) peers(peers []netip.Addr, s side) ([][]expr.Any, error) {
	var v4, v6 []netip.Addr
	for _, p := range peers {
		if p = p.Unmap().WithZone(""); !p.IsValid() {
			return nil, errors.New("a peer has no address")
		} else if p.Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	var all [][]expr.Any
	for _, of := range []struct {
		addrs  []netip.Addr
		family byte
		key    nftables.SetDatatype
		at, n  uint32
	}{
		{v4, unix.NFPROTO_IPV4, nftables.TypeIPAddr, s.peer, 4},
		{v6, unix.NFPROTO_IPV6, nftables.TypeIP6Addr, s.peer6, 16},
	} {
		if len(of.addrs) == 0 {
			continue
		}
		elements := make([]nftables.SetElement, 0, len(of.addrs))
		slices.SortFunc(of.addrs, netip.Addr.Compare)
		for _, a := range slices.Compact(of.addrs) {
			elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
		}
		set := &nftables.Set{Table: q.table.Table, Anonymous: true, Constant: true, KeyType: of.key}
		if err := q.table.Conn.AddSet(set, elements); err != nil {
			return nil, fmt.Errorf("a set of peers: %w", err)
		}
		all = append(all, []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{of.family}},
			&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: of.at, Len: of.n},
			&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		})
	}
	return all, nil
}

func unique(ports []uint16) []uint16 {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	return slices.Compact(ports)
}
