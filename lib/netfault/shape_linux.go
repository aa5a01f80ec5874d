package netfault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// shapeHandle marks the queueing disciplines that are ours ("tu"), so that a helper finds what one before it left.
	shapeHandle = 0x7455
	// ifbPrefix and the number of a device name the one that its incoming packets are led through.
	ifbPrefix = "tuttiifb"
	// ifbScratch names the device that [shape.Prepare] tries things on.
	ifbScratch = "tuttitry"
)

// The bucket of a rate: what it holds is sent at once after a pause, and what waits for it is dropped when it is too much.
const (
	bucketTime = 10 * time.Millisecond
	frame      = 18 // bytes around a packet on Ethernet, with a VLAN's tag
	queueTime  = 200 * time.Millisecond
	queueLeast = 64 << 10 // a super-packet of the sender's offload, which is cut into segments that wait
	fastest    = 100e9    // bit/s: above, the queue has no 32 bits
	tick       = 64       // nanoseconds, in which the kernel counts the bucket (PSCHED_SHIFT in net/pkt_sched.h)
	slowest    = 8000     // bit/s: below, a bucket takes seconds to fill
)

// bucket returns the bytes that a bucket of a rate in bit/s holds on a device, and those that may wait for it:
//
//	bucket = max(rate · 10 ms, MTU + 18)        what comes through in a time t is rate · t and one bucket at most
//	queue  = bucket + max(rate · 200 ms, 64 KiB) so that nothing waits longer than that takes at the rate
//
// A super-packet that is larger than the bucket is cut by the kernel (tbf_segment in net/sched/sch_tbf.c), so the bucket
// need not hold one; the queue must, or each would lose its end.
func bucket(rate int64, mtu int) (burst, limit uint32) {
	perSecond := float64(rate) / 8
	burst = uint32(max(perSecond*bucketTime.Seconds(), float64(mtu+frame)))
	return burst, burst + uint32(max(perSecond*queueTime.Seconds(), queueLeast))
}

// shape carries out Limit by the kernel's token bucket.
type shape struct {
	swept  bool
	parts  map[string]*shapePart
	ended  map[string]rule.Report // told once
	places []place                // of the buckets that are in force
}

// A shapePart is a part, and what the buckets had let through before it.
type shapePart struct {
	rules  rule.Part
	before map[place]rule.Delivered
}

// A place is where a bucket is.
type place struct {
	link int // the index of a device
	in   bool
}

// NewShape makes the carrier of Limit: a token bucket (tbf) at the root of every device but loopback for what goes
// out; for what comes in, a device of our own (ifb) that it is led through, with a bucket at its root. Each device has
// the rate for itself and for each direction. Of several rates the lowest is in force. Packets are led by the
// classifier u32, or matchall where the kernel lacks that, and the action mirred.
//
// A bucket takes the place of a device's discipline only if the kernel chose that one (as noqueue on veth), so that
// taking it away brings it back; one that somebody has put there is an error. Devices of ours stay until Close, and carry
// nothing meanwhile. Buckets outlive a helper that is
// killed: the first Set or Prepare removes what is marked as ours, whoever left it.
//
// A report's Packets and Bytes are what came through the busiest device and what was dropped there; Hit is how often
// a packet had to wait, and how many were dropped.
func NewShape() (Carrier, error) {
	return &shape{parts: make(map[string]*shapePart), ended: make(map[string]rule.Report)}, nil
}

// Prepare tries what the part needs on a device that carries nothing.
func (c *shape) Prepare(_ context.Context, p rule.Part) error {
	if err := c.sweep(); err != nil {
		return err
	}
	out, in, err := rates(map[string]rule.Part{"": p})
	if err != nil {
		return err
	}
	devices, err := devices()
	if err != nil {
		return err
	}
	for _, d := range devices {
		if err := free(d, out > 0, in > 0); err != nil {
			return err
		}
	}
	if in > 0 {
		return tryIn(in)
	}
	return tryOut(out)
}

// Set makes the rates of parts those that are in force.
func (c *shape) Set(_ context.Context, parts map[string]rule.Part) error {
	if err := c.sweep(); err != nil {
		return err
	}
	out, in, err := rates(parts)
	if err != nil {
		return err
	}
	now, err := c.stats()
	if err != nil {
		return err
	}
	places, err := apply(out, in, false)
	if err != nil {
		wasOut, wasIn, e := rates(c.wanted())
		if e == nil {
			c.places, e = apply(wasOut, wasIn, false)
		}
		if e != nil {
			e = fmt.Errorf("put back what was in force: %w", e)
		}
		return errors.Join(err, e)
	}
	c.places = places
	clear(c.ended)
	for name, was := range c.parts {
		p, stays := parts[name]
		if !stays {
			c.ended[name] = was.report(now)
		}
		if !stays || !slices.EqualFunc(p, was.rules, same) {
			delete(c.parts, name)
		}
	}
	for name, p := range parts {
		if c.parts[name] == nil {
			c.parts[name] = &shapePart{rules: slices.Clone(p), before: now}
		}
	}
	return nil
}

// same reports whether two rules of ours say the same: Act and Way do.
func same(a, b rule.Rule) bool { return a.Rate == b.Rate && a.Direction == b.Direction }

func (c *shape) wanted() map[string]rule.Part {
	all := make(map[string]rule.Part, len(c.parts))
	for name, p := range c.parts {
		all[name] = p.rules
	}
	return all
}

// Read says what the parts have delivered.
func (c *shape) Read(context.Context) (map[string]rule.Report, error) {
	now, err := c.stats()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(c.ended)
	clear(c.ended)
	for name, p := range c.parts {
		all[name] = p.report(now)
	}
	return all, nil
}

// Close removes the buckets.
func (c *shape) Close() error {
	if !c.swept {
		return nil // it has done nothing
	}
	_, err := apply(0, 0, true)
	return err
}

// sweep removes, once, what a helper that was killed has left.
func (c *shape) sweep() error {
	if c.swept {
		return nil
	}
	if _, err := apply(0, 0, true); err != nil {
		return fmt.Errorf("remove what an earlier helper left: %w", err)
	}
	c.swept = true
	return nil
}

// rates returns the lowest rate for each direction, in bit/s; 0 is none.
func rates(parts map[string]rule.Part) (out, in int64, err error) {
	least := func(a, b int64) int64 {
		if a == 0 {
			return b
		}
		return min(a, b)
	}
	for name, p := range parts {
		for _, r := range p {
			switch {
			case r.Act != rule.Limit:
				err = fmt.Errorf("a token bucket does not %s", r.Act)
			case len(r.Peers)+len(r.Ports) > 0:
				err = errors.New("limit: a token bucket is for all of a device's packets, not for some peers or ports")
			case r.Rate < slowest || r.Rate > fastest:
				err = fmt.Errorf("limit: no token bucket for %d bit/s", r.Rate)
			}
			if err != nil {
				return 0, 0, fmt.Errorf("%s: %w", name, err)
			}
			if r.Direction == rule.Out || r.Direction == rule.Both {
				out = least(out, r.Rate)
			}
			if r.Direction != rule.Out {
				in = least(in, r.Rate)
			}
		}
	}
	return out, in, nil
}

// stats tells what each bucket has let through.
func (c *shape) stats() (map[place]rule.Delivered, error) {
	all := make(map[place]rule.Delivered, len(c.places))
	for _, at := range c.places {
		on := at.link
		if at.in {
			l, err := netlink.LinkByName(ifbOf(at.link))
			if errors.As(err, new(netlink.LinkNotFoundError)) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("find %s: %w", ifbOf(at.link), err)
			}
			on = l.Attrs().Index
		}
		root, err := rootOf(on)
		if err != nil {
			return nil, err
		}
		if root == nil || !isOurs(root) || root.Attrs().Statistics == nil {
			continue // the device is gone, or somebody has removed it
		}
		s := root.Attrs().Statistics
		if s.Basic == nil || s.Queue == nil {
			continue
		}
		drops := uint64(s.Queue.Drops)
		sent := uint64(s.Basic.Packets)
		all[at] = rule.Delivered{
			Packets: sent + drops,
			Hit:     min(uint64(s.Queue.Overlimits), sent) + drops,
			Bytes:   s.Basic.Bytes,
		}
	}
	return all, nil
}

// report says of each rule what came through the busiest device since the part began.
func (p *shapePart) report(now map[place]rule.Delivered) rule.Report {
	report := make(rule.Report, len(p.rules))
	for i, r := range p.rules {
		for at, d := range now {
			if at.in && r.Direction == rule.Out || !at.in && (r.Direction == rule.In || r.Direction == "") {
				continue
			}
			was := p.before[at]
			if d.Packets < was.Packets || d.Bytes < was.Bytes || d.Hit < was.Hit {
				was = rule.Delivered{} // the device is another one
			}
			d.Packets, d.Bytes, d.Hit = d.Packets-was.Packets, d.Bytes-was.Bytes, d.Hit-was.Hit
			if d.Bytes > report[i].Bytes {
				report[i] = d
			}
		}
	}
	return report
}

// devices are those that carry packets to others: neither loopback, nor those that incoming packets are led through (ifb),
// whose packets have been on another device, nor the one that things are tried on.
func devices() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the network's devices: %w", err)
	}
	return slices.DeleteFunc(all, func(l netlink.Link) bool {
		a := l.Attrs()
		return a.Flags&net.FlagLoopback != 0 || l.Type() == "ifb" || a.Name == ifbScratch
	}), nil
}

// apply gives every device the rates, 0 being none, and says where buckets are now. Done twice, it changes nothing.
// Clean removes devices of ours that are not needed any more, which takes the kernel ten times as long as the rest.
func apply(out, in int64, clean bool) ([]place, error) {
	all, err := devices()
	if err != nil {
		return nil, err
	}
	if err := orphans(all); err != nil {
		return nil, err
	}
	var places []place
	for _, d := range all {
		up := d.Attrs().Flags&net.FlagUp != 0
		if up {
			if err := free(d, out > 0, in > 0); err != nil {
				return nil, err
			}
		}
		if out > 0 && up {
			err = fill(d, out, d.Attrs().MTU)
			places = append(places, place{d.Attrs().Index, false})
		} else {
			err = empty(d)
		}
		if err != nil {
			return nil, err
		}
		if in > 0 && up {
			err = lead(d, ifbOf(d.Attrs().Index), in)
			places = append(places, place{d.Attrs().Index, true})
		} else {
			err = unlead(d, ifbOf(d.Attrs().Index), clean)
		}
		if err != nil {
			return nil, err
		}
	}
	return places, nil
}

// orphans removes devices of ours whose own devices are gone.
func orphans(of []netlink.Link) error {
	all, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list the network's devices: %w", err)
	}
	for _, l := range all {
		name := l.Attrs().Name
		if !strings.HasPrefix(name, ifbPrefix) || slices.ContainsFunc(of, func(d netlink.Link) bool { return ifbOf(d.Attrs().Index) == name }) {
			continue
		}
		if err := netlink.LinkDel(l); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

func ifbOf(link int) string { return fmt.Sprintf("%s%d", ifbPrefix, link) }

func rootOf(link int) (netlink.Qdisc, error) { return qdiscOf(link, netlink.HANDLE_ROOT) }

// qdiscOf returns a device's discipline below a parent, nil if it has none.
func qdiscOf(link int, parent uint32) (netlink.Qdisc, error) {
	all, err := netlink.QdiscList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: link}})
	if err != nil {
		return nil, fmt.Errorf("list queueing disciplines: %w", err)
	}
	for _, q := range all {
		if q.Attrs().Parent == parent {
			return q, nil
		}
	}
	return nil, nil
}

func isOurs(q netlink.Qdisc) bool { return q.Attrs().Handle == netlink.MakeHandle(shapeHandle, 0) }

// free refuses a device that somebody else has put a discipline on: it could not be brought back as it was.
func free(d netlink.Link, out, in bool) error {
	name := d.Attrs().Name
	if out {
		root, err := rootOf(d.Attrs().Index)
		if err != nil {
			return err
		}
		if root != nil && root.Attrs().Handle != 0 && !isOurs(root) {
			return fmt.Errorf("%s has a queueing discipline already, %s %s, that could not be brought back", name, root.Type(), netlink.HandleStr(root.Attrs().Handle))
		}
	}
	if !in {
		return nil
	}
	ingress, err := qdiscOf(d.Attrs().Index, netlink.HANDLE_INGRESS)
	if err != nil || ingress == nil {
		return err
	}
	_, err = netlink.LinkByName(ifbOf(d.Attrs().Index))
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Errorf("%s has a discipline for what comes in already, %s, that could not be brought back", name, ingress.Type())
	}
	return err
}

// fill puts a bucket at a device's root, or gives the one that is there another rate.
// mtu is of the packets that come to it.
func fill(d netlink.Link, rate int64, mtu int) error {
	burst, limit := bucket(rate, mtu)
	err := netlink.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: d.Attrs().Index, Handle: netlink.MakeHandle(shapeHandle, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       uint64(rate) / 8,
		Limit:      limit,
		Buffer:     uint32(float64(burst) * 8e9 / float64(rate) / tick),
	})
	if err != nil {
		return fmt.Errorf("put a token bucket (tbf) on %s: %w", d.Attrs().Name, err)
	}
	return nil
}

// empty takes our bucket from a device's root, which brings back what the kernel had there.
func empty(d netlink.Link) error {
	root, err := rootOf(d.Attrs().Index)
	if err != nil || root == nil || !isOurs(root) {
		return err
	}
	if err := netlink.QdiscDel(root); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("take the token bucket from %s: %w", d.Attrs().Name, err)
	}
	return nil
}

// lead leads what comes in on a device through one of ours, with a bucket.
func lead(d netlink.Link, through string, rate int64) error {
	name := d.Attrs().Name
	ours, err := netlink.LinkByName(through)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		if err = netlink.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: through}}); err != nil {
			return fmt.Errorf("make a device for what comes in on %s (ifb): %w", name, err)
		}
		ours, err = netlink.LinkByName(through)
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", through, err)
	}
	if err := netlink.LinkSetUp(ours); err != nil {
		return fmt.Errorf("set %s up: %w", through, err)
	}
	if err := fill(ours, rate, d.Attrs().MTU); err != nil {
		return err
	}
	ingress, err := qdiscOf(d.Attrs().Index, netlink.HANDLE_INGRESS)
	if err != nil {
		return err
	}
	if ingress == nil {
		err := netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: d.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
		}})
		if err != nil {
			return fmt.Errorf("catch what comes in on %s (ingress): %w", name, err)
		}
	}
	filters, err := netlink.FilterList(d, netlink.MakeHandle(0xffff, 0))
	if err != nil {
		return fmt.Errorf("list filters of %s: %w", name, err)
	}
	if len(filters) > 0 {
		return nil // it is led already
	}
	attrs := netlink.FilterAttrs{LinkIndex: d.Attrs().Index, Parent: netlink.MakeHandle(0xffff, 0), Priority: 1, Protocol: unix.ETH_P_ALL}
	err = netlink.FilterAdd(&netlink.U32{FilterAttrs: attrs, Actions: []netlink.Action{netlink.NewMirredAction(ours.Attrs().Index)}})
	if errors.Is(err, os.ErrNotExist) {
		err = netlink.FilterAdd(&netlink.MatchAll{FilterAttrs: attrs, Actions: []netlink.Action{netlink.NewMirredAction(ours.Attrs().Index)}})
	}
	if err != nil {
		return fmt.Errorf("lead what comes in on %s elsewhere (u32 or matchall, mirred): %w", name, err)
	}
	return nil
}

// unlead undoes lead: that our device is there says that the rest is ours. The device itself is removed if clean says so.
func unlead(d netlink.Link, through string, clean bool) error {
	ours, err := netlink.LinkByName(through)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", through, err)
	}
	ingress, err := qdiscOf(d.Attrs().Index, netlink.HANDLE_INGRESS)
	if err != nil {
		return err
	}
	if ingress != nil {
		if err := netlink.QdiscDel(ingress); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("let what comes in on %s pass again: %w", d.Attrs().Name, err)
		}
	}
	if !clean {
		return empty(ours) // and with it what it has counted
	}
	if err := netlink.LinkDel(ours); err != nil {
		return fmt.Errorf("remove %s: %w", through, err)
	}
	return nil
}

// tryOut puts a bucket on a device that carries nothing, and removes both. A kernel without devices for that is asked
// for a dummy one first.
func tryOut(rate int64) error {
	return onScratch(func(l netlink.Link) error { return fill(l, rate, l.Attrs().MTU) })
}

// tryIn leads what comes in on a device that carries nothing through another, and removes both.
func tryIn(rate int64) error {
	return onScratch(func(l netlink.Link) error {
		err := lead(l, ifbOf(l.Attrs().Index), rate)
		return errors.Join(err, unlead(l, ifbOf(l.Attrs().Index), true))
	})
}

// onScratch calls f with a device that carries nothing, and removes it.
func onScratch(f func(netlink.Link) error) error {
	attrs := netlink.LinkAttrs{Name: ifbScratch}
	err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs})
	}
	if err != nil && !errors.Is(err, os.ErrExist) { // one before us was killed in between
		return fmt.Errorf("make a device to try it on (dummy or ifb): %w", err)
	}
	l, err := netlink.LinkByName(ifbScratch)
	if err != nil {
		return fmt.Errorf("find %s: %w", ifbScratch, err)
	}
	err = f(l)
	if e := netlink.LinkDel(l); e != nil {
		err = errors.Join(err, fmt.Errorf("remove %s: %w", ifbScratch, e))
	}
	return err
}
