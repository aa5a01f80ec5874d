package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What goes between us and the kernel's queues, by include/uapi/linux/netfilter/nfnetlink_queue.h: netlink messages in the
// machine's byte order, with a header of nfnetlink and attributes in the network's.
const (
	typePacket  = 3 << 8         // NFNL_SUBSYS_QUEUE, NFQNL_MSG_PACKET
	typeVerdict = typePacket + 1 // NFQNL_MSG_VERDICT
	typeConfig  = typePacket + 2 // NFQNL_MSG_CONFIG
	typeError   = 2              // NLMSG_ERROR

	flagRequest = 1
	flagAck     = 4

	attrPacket  = 1 // NFQA_PACKET_HDR
	attrVerdict = 2 // NFQA_VERDICT_HDR
	attrMark    = 3
	attrPayload = 10
	attrCapLen  = 13
	attrMask    = 0x3fff // NLA_TYPE_MASK

	cfgCommand = 1 // NFQA_CFG_CMD
	cfgParams  = 2
	cfgLength  = 3
	cfgMask    = 4
	cfgFlags   = 5

	commandBind   = 1
	commandUnbind = 2
	copyPacket    = 2

	cfgFailOpen = 1 << 0
	cfgSegments = 1 << 2 // NFQA_CFG_F_GSO: segments need not be cut

	verdictDrop   = 0
	verdictAccept = 1

	headerLen = 16 + 4 // struct nlmsghdr, struct nfgenmsg
)

// A packet is what the kernel says of one that it has queued. Payload is valid until the next is read.
type packet struct {
	queue   uint16
	id      uint32
	mark    uint32
	size    int // of the packet, from its network header on
	payload []byte
}

// begin appends a message's headers; end its length.
func begin(b []byte, kind, flags uint16, seq uint32, queue uint16) []byte {
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint16(b, queue)
}

func end(b []byte, start int) []byte {
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func attribute(b []byte, kind uint16, value ...byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func number(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// appendVerdict lets a packet go, or drops it. A mark of 0 and a payload of nil leave the packet's own.
func appendVerdict(b []byte, queue uint16, id, verdict, mark uint32, payload []byte) []byte {
	start := len(b)
	b = begin(b, typeVerdict, flagRequest, 0, queue)
	b = attribute(b, attrVerdict, append(number(verdict), number(id)...)...)
	if mark != 0 {
		b = attribute(b, attrMark, number(mark)...)
	}
	if payload != nil {
		b = attribute(b, attrPayload, payload...)
	}
	return end(b, start)
}

// bind asks for a queue: so many bytes of each packet, and at most length packets in it.
func bind(seq uint32, queue uint16, bytes, length, flags uint32) []byte {
	b := begin(nil, typeConfig, flagRequest|flagAck, seq, queue)
	b = attribute(b, cfgCommand, commandBind, 0, 0, 0)
	b = attribute(b, cfgParams, append(number(bytes), copyPacket)...)
	b = attribute(b, cfgLength, number(length)...)
	b = attribute(b, cfgFlags, number(flags)...)
	b = attribute(b, cfgMask, number(cfgFailOpen|cfgSegments)...)
	return end(b, 0)
}

func unbind(seq uint32, queue uint16) []byte {
	return end(attribute(begin(nil, typeConfig, flagRequest|flagAck, seq, queue), cfgCommand, commandUnbind, 0, 0, 0), 0)
}

var errShort = errors.New("a message of the kernel is shorter than it says")

// An answer is the kernel's to a command, or a verdict that came too late. Code 0 is yes.
type answer struct {
	seq  uint32
	code int32 // an errno, negative
}

// read takes one datagram apart.
func read(b []byte, queued func(packet), answered func(answer)) error {
	for len(b) >= 16 {
		length := int(binary.NativeEndian.Uint32(b))
		if length < 16 || length > len(b) {
			return errShort
		}
		one := b[:length]
		b = b[min((length+3)&^3, len(b)):]
		switch kind := binary.NativeEndian.Uint16(one[4:]); kind {
		case typePacket:
			p, err := readPacket(one)
			if err != nil {
				return err
			}
			queued(p)
		case typeError:
			if len(one) < 20 {
				return errShort
			}
			answered(answer{binary.NativeEndian.Uint32(one[8:]), int32(binary.NativeEndian.Uint32(one[16:]))})
		}
	}
	return nil
}

func readPacket(b []byte) (packet, error) {
	if len(b) < headerLen {
		return packet{}, errShort
	}
	p := packet{queue: binary.BigEndian.Uint16(b[18:])}
	found, length := false, -1
	for b = b[headerLen:]; len(b) >= 4; {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])&attrMask
		if n < 4 || n > len(b) {
			return packet{}, errShort
		}
		value := b[4:n]
		b = b[min((n+3)&^3, len(b)):]
		switch {
		case kind == attrPacket && len(value) >= 7:
			p.id, found = binary.BigEndian.Uint32(value), true
		case kind == attrMark && len(value) == 4:
			p.mark = binary.BigEndian.Uint32(value)
		case kind == attrPayload:
			p.payload = value
		case kind == attrCapLen && len(value) == 4:
			length = int(binary.BigEndian.Uint32(value))
		}
	}
	if !found {
		return packet{}, fmt.Errorf("a packet of queue %d came without a number", p.queue)
	}
	p.size = max(length, len(p.payload))
	return p, nil
}
