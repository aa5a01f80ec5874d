package queue

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// most packets that are held at a time. What comes when there are as many is let through. The kernel's own limit for
// each queue is higher, so that it is never what decides.
const most = 65_536

// copyMark is set on packets that the kernel shall send a copy of, and stays on the copy. It is not in the mark that
// package answer gives to packets of its own, in the same node: else all of those would count as chosen.
const copyMark = 1 << 27

// A flow is one rule in force: its queue and what came of it.
type flow struct {
	rule   rule.Rule
	number uint16
	chance *rand.Rand

	done rule.Delivered
	held spread
	last uint32 // the latest packet's number; the kernel counts from 1 and leaves none out
}

// A hold is a packet that waits for its time.
type hold struct {
	flow    *flow
	id      uint32
	turn    uint64        // in which packets came
	arrived time.Duration // since the engine's beginning
	due     time.Duration
}

type holds []hold

func (h holds) Len() int      { return len(h) }
func (h holds) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *holds) Push(x any)   { *h = append(*h, x.(hold)) }

// Less has packets of one due time leave in the order in which they came.
func (h holds) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].turn < h[j].turn
}

func (h *holds) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// An engine decides what becomes of packets. It knows no kernel and no clock; one goroutine calls it. Its verdicts
// are in out until they are sent.
type engine struct {
	flows   map[uint16]*flow
	waiting holds
	turn    uint64
	out     []byte
	left    []hold // the held ones among out
}

func newEngine() *engine { return &engine{flows: make(map[uint16]*flow)} }

// add makes packets of a queue a rule's.
func (e *engine) add(number uint16, r rule.Rule, index uint64) *flow {
	f := &flow{rule: r, number: number, chance: rand.New(rand.NewPCG(r.Seed, index))}
	e.flows[number] = f
	return f
}

// arrive decides on one packet.
func (e *engine) arrive(p packet, now time.Duration) {
	f := e.flows[p.queue]
	if f == nil { // its rule has just ended
		e.out = appendVerdict(e.out, p.queue, p.id, verdictAccept, 0, nil)
		return
	}
	if gap := p.id - f.last - 1; gap < 1<<31 { // let through by the kernel: our socket was full
		f.done.Passed += uint64(gap)
		f.done.Packets += uint64(gap)
	}
	f.last = p.id
	f.done.Packets++
	f.done.Bytes += uint64(p.size)
	switch f.rule.Act {
	case rule.Delay:
		e.hold(f, p.id, now, f.delay())
	case rule.Reorder:
		if f.chosen() {
			e.hold(f, p.id, now, f.rule.Delay)
			return
		}
		e.out = appendVerdict(e.out, p.queue, p.id, verdictAccept, 0, nil)
	default:
		e.spoil(f, p)
	}
}

// spoil is for the acts that take no time.
func (e *engine) spoil(f *flow, p packet) {
	verdict, mark, payload := uint32(verdictAccept), uint32(0), []byte(nil)
	if f.chosen() {
		f.done.Hit++
		switch f.rule.Act {
		case rule.Lose:
			verdict = verdictDrop
		case rule.Duplicate:
			mark = p.mark | copyMark
		case rule.Corrupt:
			if flip(p.payload, f.chance) {
				payload = p.payload
			} else {
				f.done.Hit--
			}
		default: // it passes; check has refused the rule
			f.done.Hit--
		}
	}
	e.out = appendVerdict(e.out, p.queue, p.id, verdict, mark, payload)
}

func (e *engine) hold(f *flow, id uint32, now, delay time.Duration) {
	if len(e.waiting) >= most {
		f.done.Passed++
		e.out = appendVerdict(e.out, f.number, id, verdictAccept, 0, nil)
		return
	}
	f.done.Hit++
	e.turn++
	heap.Push(&e.waiting, hold{flow: f, id: id, turn: e.turn, arrived: now, due: now + delay})
}

// next says when the first packet is due.
func (e *engine) next() (time.Duration, bool) {
	if len(e.waiting) == 0 {
		return 0, false
	}
	return e.waiting[0].due, true
}

// release lets go what is due, at most so many.
func (e *engine) release(now time.Duration, limit int) {
	for ; limit > 0 && len(e.waiting) > 0 && e.waiting[0].due <= now; limit-- {
		h := heap.Pop(&e.waiting).(hold)
		e.out = appendVerdict(e.out, h.flow.number, h.id, verdictAccept, 0, nil)
		e.left = append(e.left, h)
	}
}

// sent notes that out has gone.
func (e *engine) sent(now time.Duration) {
	for _, h := range e.left {
		h.flow.held.add(now - h.arrived)
	}
	e.out, e.left = e.out[:0], e.left[:0]
}

// end takes a rule away; what it held is in out, in the order in which it came. It is in no figures but Hit: it was let
// go before its time.
func (e *engine) end(f *flow) {
	delete(e.flows, f.number)
	rest := e.waiting[:0]
	var early holds
	for _, h := range e.waiting {
		if h.flow == f {
			h.due = 0
			early = append(early, h)
		} else {
			rest = append(rest, h)
		}
	}
	e.waiting = rest
	heap.Init(&e.waiting)
	heap.Init(&early)
	for early.Len() > 0 {
		h := heap.Pop(&early).(hold)
		e.out = appendVerdict(e.out, f.number, h.id, verdictAccept, 0, nil)
	}
}

func (f *flow) report() rule.Delivered {
	d := f.done
	d.Delay = f.held.sum()
	return d
}

func (f *flow) chosen() bool { return f.chance.Float64() < f.rule.Share }

func (f *flow) delay() time.Duration {
	d := f.rule.Delay
	if f.rule.Jitter > 0 {
		d += time.Duration(f.chance.NormFloat64() * float64(f.rule.Jitter))
	}
	return max(d, 0)
}

// flip changes one bit of an IP packet: of the payload of its transport, else of the transport's header behind the
// ports. It reports whether there was one to change.
func flip(p []byte, chance *rand.Rand) bool {
	at := transport(p)
	if at < 0 {
		return false
	}
	first := at + 4
	switch protocol := p[9]; {
	case p[0]>>4 == 6 && p[6] == 17, p[0]>>4 == 4 && protocol == 17: // UDP
		first = payloadAt(p, at+8, first)
	case p[0]>>4 == 6 && p[6] == 6, p[0]>>4 == 4 && protocol == 6: // TCP
		if len(p) > at+12 {
			first = payloadAt(p, at+int(p[at+12]>>4)*4, first)
		}
	}
	if first >= len(p) {
		return false
	}
	p[first+chance.IntN(len(p)-first)] ^= 1 << chance.IntN(8)
	return true
}

func payloadAt(p []byte, payload, header int) int {
	if payload < len(p) {
		return payload
	}
	return header
}

// transport says where an IP packet's transport header begins, -1 if there is none. What comes before it in IPv6
// (extensions) counts as transport.
func transport(p []byte) int {
	switch {
	case len(p) > 20 && p[0]>>4 == 4 && binary.BigEndian.Uint16(p[6:])&0x1fff == 0:
		return int(p[0]&0xf) * 4
	case len(p) > 20 && p[0]>>4 == 4:
		return 20 - 4 // a later fragment has no ports
	case len(p) > 40 && p[0]>>4 == 6:
		return 40
	}
	return -1
}
