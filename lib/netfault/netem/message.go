package netem

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// Messages are those of rtnetlink (include/uapi/linux/{netlink,rtnetlink,pkt_sched,pkt_cls}.h), in the machine's byte order:
// struct nlmsghdr, struct tcmsg, attributes.
const (
	newQdisc  = 36
	delQdisc  = 37
	newFilter = 44

	request = 0x001
	ack     = 0x004
	replace = 0x100
	excl    = 0x200
	create  = 0x400

	tcaKind    = 1
	tcaOptions = 2

	netemDist      = 2
	netemReorder   = 3
	netemCorrupt   = 4
	netemLatency64 = 10
	netemJitter64  = 11
	netemSeed      = 14

	u32Class   = 1
	u32Select  = 5
	u32Actions = 7

	actKind     = 1
	actOptions  = 2
	mirredParms = 2

	atRoot    = 0xffffffff // TC_H_ROOT
	atIngress = 0xfffffff1 // TC_H_INGRESS

	// rootNetem and rootPrio are the handles of roots that are ours; an emulator in a band has the next ones.
	rootNetem = 0x7456 << 16
	rootPrio  = 0x7457 << 16
	ingress   = 0xffff << 16

	protocolAll = 0x0003 // ETH_P_ALL
	protocol4   = 0x0800
	protocol6   = 0x86dd

	tick = 64 // nanoseconds (PSCHED_SHIFT)
)

func message(kind, flags uint16, link int, handle, parent, info uint32) []byte {
	b := make([]byte, 16, 256)
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], request|ack|flags)
	b = append(b, 0, 0, 0, 0) // AF_UNSPEC
	return numbers(b, uint32(link), handle, parent, info)
}

func numbers(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func end(b []byte) []byte {
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

func word(s string) []byte { return append([]byte(s), 0) }

// emulator is the message that puts an emulator at a place, or gives the one that is there other parameters.
func emulator(link int, handle, parent uint32, w want) []byte {
	b := message(newQdisc, create|replace, link, handle, parent, 0)
	b = attribute(b, tcaKind, word("netem"))
	return end(attribute(b, tcaOptions, w.options()))
}

// options are struct tc_netem_qopt (latency and jitter in ticks, for kernels before 4.15), then attributes.
func (w want) options() []byte {
	gap := uint32(0)
	latency := w.delay
	if w.reorder > 0 {
		gap, latency = 1, w.back
	}
	b := numbers(nil, ticks(latency), w.limit(), ratio(w.lose), gap, ratio(w.duplicate), ticks(w.jitter))
	if w.jitter > 0 {
		b = attribute(b, netemDist, normal())
	}
	if w.reorder > 0 {
		b = attribute(b, netemReorder, numbers(nil, ratio(1-w.reorder), 0))
	}
	b = attribute(b, netemCorrupt, numbers(nil, ratio(w.corrupt), 0)) // always: what is not said stays as it was
	b = attribute(b, netemLatency64, binary.NativeEndian.AppendUint64(nil, uint64(latency)))
	b = attribute(b, netemJitter64, binary.NativeEndian.AppendUint64(nil, uint64(w.jitter)))
	return attribute(b, netemSeed, binary.NativeEndian.AppendUint64(nil, w.seed))
}

func ticks(d time.Duration) uint32 { return uint32(min(int64(d)/tick, math.MaxUint32)) }

// ratio is a probability as the kernel draws it: all ones is always.
func ratio(share float64) uint32 { return uint32(math.Round(share * math.MaxUint32)) }

// normal is the table that the kernel draws a delay's deviation from: quantiles of the standard normal distribution,
// in units of 1/8192 (NETEM_DIST_SCALE), at the middles of 4,096 equal shares.
func normal() []byte {
	const n, scale = 4096, 8192
	b := make([]byte, 0, 2*n)
	for i := range n {
		p := (float64(i) + 0.5) / n
		b = binary.NativeEndian.AppendUint16(b, uint16(int16(math.Round(scale*math.Sqrt2*math.Erfinv(2*p-1)))))
	}
	return b
}

// bands puts a prio discipline at a device's root: so many bands, and what no filter knows in the last one.
func bands(link, n int) []byte {
	options := numbers(nil, uint32(n))
	for range 16 {
		options = append(options, byte(n-1))
	}
	b := message(newQdisc, create|replace, link, rootPrio, atRoot, 0)
	return end(attribute(attribute(b, tcaKind, word("prio")), tcaOptions, options))
}

// filter leads a peer's packets to a band, counted from 1. A peer is the source of what comes in.
func filter(link int, peer netip.Addr, in bool, band uint32) []byte {
	protocol, offset := uint16(protocol4), 16
	switch {
	case peer.Is6() && in:
		protocol, offset = protocol6, 8
	case peer.Is6():
		protocol, offset = protocol6, 24
	case in:
		offset = 12
	}
	address := peer.AsSlice()
	priority := uint32(1)
	if peer.Is6() {
		priority = 2 // a priority is for one protocol
	}
	b := message(newFilter, create, link, 0, rootPrio, priority<<16|uint32(swap(protocol)))
	b = attribute(b, tcaKind, word("u32"))
	options := attribute(nil, u32Class, numbers(nil, rootPrio|band))
	options = attribute(options, u32Select, selector(address, offset))
	return end(attribute(b, tcaOptions, options))
}

// selector is struct tc_u32_sel with a key (value, mask, offset from the network header) for every four bytes of an address.
func selector(address []byte, offset int) []byte {
	const terminal = 1
	b := []byte{terminal, 0, byte(len(address) / 4), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for i := 0; i < len(address); i += 4 {
		b = append(b, 0xff, 0xff, 0xff, 0xff)
		b = append(b, address[i:i+4]...)
		b = numbers(b, uint32(offset+i), 0)
	}
	return b
}

// swap brings a number into the network's byte order.
func swap(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// entrance puts an ingress discipline on a device.
func entrance(link int) []byte {
	b := message(newQdisc, create|excl, link, ingress, atIngress, 0)
	return end(attribute(attribute(b, tcaKind, word("ingress")), tcaOptions, nil))
}

// lead sends all that comes in by a device to another one, by a u32 filter that everything fits and the action mirred.
func lead(link, to int) []byte {
	const stolen, redirect = 4, 1
	parms := numbers(nil, 0, 0, stolen, 0, 0, redirect, uint32(to))
	action := attribute(nil, actKind, word("mirred"))
	action = attribute(action, actOptions, attribute(nil, mirredParms, parms))
	all := []byte{1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // struct tc_u32_sel: one key …
	all = numbers(all, 0, 0, 0, 0)                                // … with a mask of nothing
	options := attribute(nil, u32Select, all)
	options = attribute(options, u32Actions, attribute(nil, 1, action))
	b := message(newFilter, create, link, 0, ingress, 1<<16|uint32(swap(protocolAll)))
	return end(attribute(attribute(b, tcaKind, word("u32")), tcaOptions, options))
}

// remove takes away what is at a place.
func remove(link int, handle, parent uint32) []byte {
	return end(message(delQdisc, 0, link, handle, parent, 0))
}
