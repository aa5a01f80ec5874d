package answer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/table"
	"golang.org/x/sys/unix"
)

// Priorities of our chains. The kernel's own and Docker's translation is at -100 (NF_IP_PRI_NAT_DST): the first that
// translates a flow has it.
const (
	beforeDocker = -110
	filtering    = 0
)

// mark is on the packets of our resolver, so that they are not led to it: "tutt". Package queue has a mark of its own,
// whose bit must not be in it.
const mark = 0x74757474

const dnsPort = 53

// Names of the counters.
const (
	countLookups  = "lookups"
	countDropped  = "dropped"
	countRejected = "rejected-" // and the port
)

// A namespace is the network namespace that we run in, as nftables has it.
type namespace struct {
	table  *table.Table               // nil until it is needed
	chains map[string]*nftables.Chain // by name; once made they stay
	ports  map[uint16]bool            // that have a counter
}

func newKernel() (kernel, error) { return &namespace{ports: make(map[uint16]bool)}, nil }

func (n *namespace) Close() error {
	if n.table == nil {
		return nil
	}
	err := n.table.Close()
	n.table = nil
	return err
}

func (n *namespace) open() error {
	if n.table != nil {
		return nil
	}
	t, err := table.Open("tutti-answer")
	if err != nil {
		return err
	}
	for _, name := range []string{countLookups, countDropped} {
		t.Conn.AddObj(counter(t.Table, name))
	}
	if err := t.Flush(); err != nil {
		return errors.Join(err, t.Close())
	}
	n.table = t
	return nil
}

func counter(t *nftables.Table, name string) *nftables.NamedObj {
	return &nftables.NamedObj{Table: t, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}}
}

// counts reads the counters: as they are in the table, not of a rule, they outlive the changes of rules.
func (n *namespace) counts() (counts, error) {
	c := counts{rejected: make(map[uint16]uint64)}
	if n.table == nil {
		return c, nil
	}
	all, err := n.table.Conn.GetNamedObjects(n.table.Table)
	if err != nil {
		return c, fmt.Errorf("nftables: read what was counted: %w", err)
	}
	for _, o := range all {
		one, ok := o.(*nftables.NamedObj)
		if !ok {
			continue
		}
		value, ok := one.Obj.(*expr.Counter)
		if !ok {
			continue
		}
		switch port, old := strings.CutPrefix(one.Name, countRejected); {
		case old:
			p, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return c, fmt.Errorf("nftables: a counter that is not ours: %q", one.Name)
			}
			c.rejected[uint16(p)] = value.Packets
		case one.Name == countLookups:
			c.lookups = value.Packets
		case one.Name == countDropped:
			c.dropped = value.Packets
		}
	}
	return c, nil
}

// force replaces all chains in one transaction.
func (n *namespace) force(w wanted, r *resolver, p *proxy) error {
	if err := n.open(); err != nil {
		return err
	}
	c, t := n.table.Conn, n.table.Table
	for _, old := range n.chains {
		c.FlushChain(old) // it stays at its hook, empty if need be: see netfault.Carrier
	}
	for _, port := range w.ports {
		if !n.ports[port] {
			c.AddObj(counter(t, countRejected+strconv.Itoa(int(port))))
		}
	}
	chains := make(map[string]*nftables.Chain, len(n.chains))
	maps.Copy(chains, n.chains)
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int, rules [][]expr.Any) {
		one := c.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)),
		})
		for _, exprs := range rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: one, Exprs: exprs})
		}
		chains[name] = one
	}
	if w.lookups || w.still {
		chain("lookups", nftables.ChainTypeNAT, nftables.ChainHookOutput, beforeDocker, leadLookups(w, r))
	}
	if len(w.ports) > 0 {
		chain("connections", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, beforeDocker, leadConnections(w, p))
	}
	if w.lookups || w.silent {
		chain("out", nftables.ChainTypeFilter, nftables.ChainHookOutput, filtering, outgoing(w, r))
	}
	if len(w.ports) > 0 || w.silent {
		chain("in", nftables.ChainTypeFilter, nftables.ChainHookInput, filtering, incoming(w))
	}
	if err := n.table.Flush(); err != nil {
		return err
	}
	n.chains = chains
	for _, port := range w.ports {
		n.ports[port] = true
	}
	return nil
}

// leadLookups leads look-ups to the resolver, but for those of its own.
func leadLookups(w wanted, r *resolver) [][]expr.Any {
	if !w.lookups {
		return nil
	}
	var rules [][]expr.Any
	for _, c := range r.packets {
		rules = append(rules, lead(unix.IPPROTO_UDP, c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Is4(), dnsPort, uint16(c.LocalAddr().(*net.UDPAddr).Port)))
	}
	for _, l := range r.streams {
		rules = append(rules, lead(unix.IPPROTO_TCP, l.Addr().(*net.TCPAddr).AddrPort().Addr().Is4(), dnsPort, uint16(l.Addr().(*net.TCPAddr).Port)))
	}
	for i := range rules {
		rules[i] = append(unmarked(), rules[i]...)
	}
	return rules
}

// leadConnections leads connections from elsewhere to the proxy.
func leadConnections(w wanted, p *proxy) [][]expr.Any {
	var rules [][]expr.Any
	for _, port := range w.ports {
		for _, l := range p.listeners {
			at := l.Addr().(*net.TCPAddr)
			rules = append(rules, append(loopback(expr.CmpOpNeq), lead(unix.IPPROTO_TCP, l.(*net.TCPListener).Addr().(*net.TCPAddr).IP.To4() != nil, port, uint16(at.Port))...))
		}
	}
	return rules
}

// outgoing counts look-ups for silence, and ends those connections for look-ups that were there before they could be
// led to the resolver.
func outgoing(w wanted, r *resolver) [][]expr.Any {
	var rules [][]expr.Any
	if w.silent {
		count := &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: countLookups}
		rules = append(rules,
			join(unmarked(), protocol(unix.IPPROTO_UDP), lookup(directionOriginal), count),
			join(unmarked(), protocol(unix.IPPROTO_TCP), lookup(directionOriginal), syn(), count))
	}
	if w.lookups {
		exprs := join(unmarked(), protocol(unix.IPPROTO_TCP), lookup(directionOriginal), port())
		for _, l := range r.streams {
			exprs = append(exprs, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: bigEndian(uint16(l.Addr().(*net.TCPAddr).Port))})
		}
		rules = append(rules, append(exprs, refuse()))
	}
	return rules
}

// incoming drops look-ups on loopback and answers to look-ups from anywhere, and ends those connections to ports that were
// there before they could be led to the proxy: what is led there has another port by now.
func incoming(w wanted) [][]expr.Any {
	var rules [][]expr.Any
	if w.silent {
		drop := []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: countDropped}, &expr.Verdict{Kind: expr.VerdictDrop}}
		for _, p := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			rules = append(rules,
				join(protocol(p), loopback(expr.CmpOpEq), lookup(directionOriginal), drop),
				join(protocol(p), lookup(directionReply), drop))
		}
	}
	for _, p := range w.ports {
		rules = append(rules, join(
			loopback(expr.CmpOpNeq), protocol(unix.IPPROTO_TCP), port(),
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bigEndian(p)},
			&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: countRejected + strconv.Itoa(int(p))}, refuse()))
	}
	return rules
}

// join makes one list of expressions, and lists of them.
func join(all ...any) []expr.Any {
	var exprs []expr.Any
	for _, e := range all {
		switch e := e.(type) {
		case []expr.Any:
			exprs = append(exprs, e...)
		case expr.Any:
			exprs = append(exprs, e)
		}
	}
	return exprs
}

func bigEndian(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

func refuse() expr.Any { return &expr.Reject{Type: unix.NFT_REJECT_TCP_RST} }

// lead redirects what goes to a port to one of ours.
func lead(p byte, v4 bool, from, to uint16) []expr.Any {
	family := byte(unix.NFPROTO_IPV6)
	if v4 {
		family = unix.NFPROTO_IPV4
	}
	return join(
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		protocol(p), port(),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bigEndian(from)},
		&expr.Immediate{Register: 1, Data: bigEndian(to)},
		&expr.Redir{RegisterProtoMin: 1})
}

func unmarked() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, mark)},
	}
}

func protocol(p byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}},
	}
}

// port loads the port that a packet goes to, of UDP or TCP.
func port() expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

// syn matches the packet that begins a connection: SYN without ACK.
func syn() []expr.Any {
	const flagSYN, flagACK = 0x02, 0x10
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{flagSYN | flagACK}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{flagSYN}},
	}
}

func loopback(op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_LOOPBACK)},
	}
}

// Directions of a flow, as conntrack has them (enum ip_conntrack_dir).
const (
	directionOriginal = 0
	directionReply    = 1
)

// lookup matches packets of flows that went to port 53 at first, whatever has been made of it.
func lookup(direction byte) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{direction}},
		&expr.Ct{Key: expr.CtKeyPROTODST, Register: 1, Direction: directionOriginal},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bigEndian(dnsPort)},
	}
}

// reset lets the kernel end connections where it can from outside. Where it cannot, the rules do, with their next packets.
func (n *namespace) reset(port uint16) (uint64, error) {
	ended, err := netfault.ResetConnections([]uint16{port})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return 0, nil
	}
	return uint64(ended), err
}
