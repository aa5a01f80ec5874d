package netfault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/netfault/table"
)

// nftTable is the name of our table. There is one helper for the network of a node: a second one finds it taken.
const nftTable = "tutti-net"

// nft carries out rules by nftables.
//
// Each part has chains of its own, so that one begins and ends without touching the others' counters: a base chain
// for each hook, which jumps to the part's chain, which jumps to a chain for each rule. Without its base chain a part
// is not in force, but its counters can still be read, exact to the packet.
type nft struct {
	table  *table.Table    // nil until it is needed
	egress *nftables.Table // nil until a rule is about what goes out
	parts  map[string]*nftPart
	ended  map[string]rule.Report // told once
	stale  []*nftPart             // ended, and their chains are still to be deleted
	last   int                    // number of the latest part
}

// An nftPart is a part as the kernel has it.
type nftPart struct {
	rules     rule.Part
	number    int
	links     []string // devices that it has an egress chain on
	destroyed []uint64 // for each rule: sockets
}

// NewNFT makes the carrier of what nftables does: Drop, Refuse, Reset and Lose. Packets are caught in the input hook
// at raw priority, before connection tracking, so that established connections meet the rules like new ones and the
// sender is not told. What goes out is dropped in the egress hook of every device but loopback (Linux 5.16 or later),
// for a drop in the output hook would be told to the program that writes. What a node sends to itself, and neighbour
// discovery (as ARP for IPv4), are never touched.
//
// A packet here is what the kernel hands on: segments that were joined on the way (GRO, or the 64 KiB that go through
// veth whole) are one.
func NewNFT() (Carrier, error) {
	return &nft{parts: make(map[string]*nftPart), ended: make(map[string]rule.Report)}, nil
}

// Prepare opens the table and has the kernel check the rules where nothing reaches them.
func (c *nft) Prepare(_ context.Context, p rule.Part) error {
	if err := c.ready(p); err != nil {
		return err
	}
	one := c.part(p)
	if err := c.add(one); err != nil {
		return errors.Join(err, c.forget())
	}
	c.delete(one)
	return c.table.Flush() // made and deleted in one batch: the kernel checks it and nothing is seen of it
}

// Set puts parts in force in one batch.
func (c *nft) Set(_ context.Context, parts map[string]rule.Part) error {
	var begin, end []string
	for name, p := range parts {
		if was, ok := c.parts[name]; !ok || !reflect.DeepEqual(was.rules, p) {
			begin = append(begin, name)
			if err := c.ready(p); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for name := range c.parts {
		if _, stays := parts[name]; !stays || slices.Contains(begin, name) {
			end = append(end, name)
		}
	}
	if len(begin)+len(end) == 0 {
		return nil
	}
	slices.Sort(begin)
	fresh := make(map[string]*nftPart, len(begin))
	for _, name := range begin {
		fresh[name] = c.part(parts[name])
		if err := c.add(fresh[name]); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), c.forget())
		}
		c.hook(fresh[name])
	}
	for _, name := range end {
		c.unhook(c.parts[name])
	}
	if err := c.table.Flush(); err != nil {
		return err
	}
	for _, name := range begin {
		if err := fresh[name].reset(); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", name, err), c.putBack(fresh, end))
		}
	}
	return c.finish(fresh, end)
}

// putBack ends what has just begun and begins what has just ended.
func (c *nft) putBack(fresh map[string]*nftPart, end []string) error {
	for _, one := range fresh {
		c.unhook(one)
		c.delete(one)
	}
	for _, name := range end {
		c.hook(c.parts[name])
	}
	return c.table.Flush()
}

// finish reads the counters of what has ended and clears it away.
func (c *nft) finish(fresh map[string]*nftPart, end []string) error {
	clear(c.ended)
	over := make(map[string]*nftPart, len(end))
	for _, name := range end {
		over[name] = c.parts[name]
		delete(c.parts, name)
	}
	maps.Copy(c.parts, fresh)
	for name, one := range over {
		c.stale = append(c.stale, one)
		if _, again := fresh[name]; again {
			continue // changed: it counts anew
		}
		report, err := c.read(one)
		if err != nil {
			return err
		}
		c.ended[name] = report
	}
	for _, one := range c.stale {
		c.delete(one)
	}
	if err := c.table.Flush(); err == nil {
		c.stale = nil
	} // else: nothing leads to them, and the next time tries again
	return nil
}

// Read says what the parts have delivered.
func (c *nft) Read(context.Context) (map[string]rule.Report, error) {
	all := maps.Clone(c.ended)
	clear(c.ended)
	for name, one := range c.parts {
		report, err := c.read(one)
		if err != nil {
			return nil, err
		}
		all[name] = report
	}
	return all, nil
}

// Close removes the table.
func (c *nft) Close() error {
	if c.table == nil {
		return nil
	}
	return c.table.Close()
}

// forget drops what was asked of the connection and never sent.
func (c *nft) forget() error {
	// An unknown chain makes the kernel refuse the batch as a whole.
	c.table.Conn.DelChain(&nftables.Chain{Table: c.table.Table, Name: "none"})
	if err := c.table.Flush(); err == nil {
		return errors.New("nftables: half of a change was made")
	}
	return nil
}

// ready refuses what cannot be done and opens the tables that are needed.
func (c *nft) ready(p rule.Part) error {
	out := false
	for _, r := range p {
		goes := r.Direction == rule.Out || r.Direction == rule.Both
		out = out || goes
		switch r.Act {
		case rule.Drop, rule.Lose:
		case rule.Refuse, rule.Reset:
			if goes {
				return fmt.Errorf("%s: only what comes in can be answered, not what goes out", r.Act)
			}
		default:
			return fmt.Errorf("nftables does not %s", r.Act)
		}
		if r.Act == rule.Reset {
			if err := canDestroy(); err != nil {
				return fmt.Errorf("established connections cannot be ended from outside (SOCK_DESTROY): %w", err)
			}
		}
	}
	var err error
	if c.table == nil {
		if c.table, err = table.Open(nftTable); err != nil {
			return err
		}
	}
	if out && c.egress == nil {
		if c.egress, err = c.table.Add(nftables.TableFamilyNetdev); err != nil {
			return fmt.Errorf("what goes out can only be dropped in the egress hook (Linux 5.16 or later): %w", err)
		}
	}
	return nil
}

func (c *nft) part(p rule.Part) *nftPart {
	c.last++
	return &nftPart{rules: slices.Clone(p), number: c.last, destroyed: make([]uint64, len(p))}
}

// A side is a direction of an [nftPart]: where its chains are, and what its rules are.
type side struct {
	table *nftables.Table
	out   bool
	part  *nftPart
}

func (c *nft) sides(p *nftPart) []side {
	sides := []side{{c.table.Table, false, p}}
	if c.egress != nil {
		sides = append(sides, side{c.egress, true, p})
	}
	return slices.DeleteFunc(sides, func(s side) bool {
		return !slices.ContainsFunc(p.rules, s.has)
	})
}

func (s side) has(r rule.Rule) bool {
	return r.Direction == rule.Both || (r.Direction == rule.Out) == s.out
}

func (s side) chain() *nftables.Chain {
	return &nftables.Chain{Table: s.table, Name: fmt.Sprintf("part%d", s.part.number)}
}

func (s side) of(i int) *nftables.Chain {
	return &nftables.Chain{Table: s.table, Name: fmt.Sprintf("part%d-rule%d", s.part.number, i+1)}
}

// bases are the chains that lead from a hook to the part.
func (s side) bases() []*nftables.Chain {
	base := nftables.Chain{
		Table: s.table, Name: fmt.Sprintf("part%d-in", s.part.number),
		Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRaw,
	}
	if !s.out {
		return []*nftables.Chain{&base}
	}
	base.Hooknum = nftables.ChainHookEgress
	all := make([]*nftables.Chain, len(s.part.links))
	for i, link := range s.part.links {
		one := base
		one.Name, one.Device = fmt.Sprintf("part%d-out%d", s.part.number, i+1), link
		all[i] = &one
	}
	return all
}

// add asks for a part's chains and rules, to which nothing leads yet.
func (c *nft) add(p *nftPart) error {
	conn := c.table.Conn
	for _, s := range c.sides(p) {
		if s.out {
			links, err := links()
			if err != nil {
				return err
			}
			p.links = links
		}
		chain := conn.AddChain(s.chain())
		for _, exprs := range exempt(s.out) {
			conn.AddRule(&nftables.Rule{Table: s.table, Chain: chain, Exprs: exprs})
		}
		for i, r := range p.rules {
			if !s.has(r) {
				continue
			}
			does := conn.AddChain(s.of(i))
			for _, l := range lines(r) {
				conn.AddRule(&nftables.Rule{Table: s.table, Chain: does, Exprs: l.exprs})
			}
			for _, m := range meets(r, s.out) {
				exprs, err := m.exprs(conn, s.table)
				if err != nil {
					return err
				}
				exprs = append(exprs, &expr.Verdict{Kind: expr.VerdictJump, Chain: does.Name})
				conn.AddRule(&nftables.Rule{Table: s.table, Chain: chain, Exprs: exprs})
			}
		}
	}
	return nil
}

func (c *nft) hook(p *nftPart) {
	for _, s := range c.sides(p) {
		for _, base := range s.bases() {
			chain := c.table.Conn.AddChain(base)
			c.table.Conn.AddRule(&nftables.Rule{Table: s.table, Chain: chain, Exprs: []expr.Any{
				&expr.Verdict{Kind: expr.VerdictJump, Chain: s.chain().Name},
			}})
		}
	}
}

func (c *nft) unhook(p *nftPart) {
	for _, s := range c.sides(p) {
		for _, base := range s.bases() {
			c.table.Conn.FlushChain(base) // it stays at its hook, empty: see [Carrier]
		}
	}
}

// delete asks for the end of a part's chains, to which nothing leads any more.
func (c *nft) delete(p *nftPart) {
	for _, s := range c.sides(p) {
		c.table.Conn.FlushChain(s.chain())
		c.table.Conn.DelChain(s.chain())
		for i, r := range p.rules {
			if s.has(r) {
				c.table.Conn.FlushChain(s.of(i))
				c.table.Conn.DelChain(s.of(i))
			}
		}
	}
}

// read sums a part's counters.
func (c *nft) read(p *nftPart) (rule.Report, error) {
	report := make(rule.Report, len(p.rules))
	for _, s := range c.sides(p) {
		for i, r := range p.rules {
			if !s.has(r) {
				continue
			}
			have, err := c.table.Conn.GetRules(s.table, s.of(i))
			if err != nil {
				return nil, fmt.Errorf("nftables: read the counters: %w", err)
			}
			ours := lines(r)
			if len(have) != len(ours) {
				return nil, fmt.Errorf("nftables: read the counters: %d rules where %d were made", len(have), len(ours))
			}
			for j, l := range ours {
				l.count(&report[i], have[j])
			}
		}
	}
	for i, n := range p.destroyed {
		report[i].Resets += n
	}
	return report, nil
}

// reset ends the established connections of Reset rules. The rules that refuse new ones are in force already.
func (p *nftPart) reset() error {
	for i, r := range p.rules {
		if r.Act != rule.Reset {
			continue
		}
		n, err := destroy(r.Peers, r.Ports)
		p.destroyed[i] = uint64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// links names the devices that are up.
func links() ([]string, error) {
	all, err := devices()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range all {
		if a := one.Attrs(); a.Flags&net.FlagUp != 0 {
			names = append(names, a.Name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("the network has no device but loopback")
	}
	return names, nil
}

// A meet is packets that a rule is about, of one family of addresses.
type meet struct {
	peers []netip.Addr // of one family; none: any
	ports []uint16
	out   bool
}

// meets splits a rule's peers by family.
func meets(r rule.Rule, out bool) []meet {
	if len(r.Peers) == 0 {
		return []meet{{ports: r.Ports, out: out}}
	}
	var v4, v6 []netip.Addr
	for _, a := range r.Peers {
		if a = a.Unmap().WithZone(""); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	var all []meet
	for _, peers := range [][]netip.Addr{v4, v6} {
		if len(peers) > 0 {
			slices.SortFunc(peers, netip.Addr.Compare)
			all = append(all, meet{peers: slices.Compact(peers), ports: r.Ports, out: out})
		}
	}
	return all
}
