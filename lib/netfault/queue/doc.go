// Package queue holds, loses, doubles, spoils and reorders packets by having the kernel queue them to us (NFQUEUE). It
// serves where the kernel has no network emulator, and tells for how long each packet was really held.
//
// # How
//
// Each rule has a queue of its own and, for each direction, a chain of its own in a table that belongs to us: at the
// input hook for what comes in, at postrouting for what goes out, behind everybody else's filters. A packet that
// several rules are about goes through one queue after the other, by the kernel's own doing: delays add up, draws are
// independent, and rules come and go without touching each other. The order is lose, delay, reorder, corrupt,
// duplicate, so that nothing is done to what is lost and both copies are late. One thread serves all queues by one
// socket. What never leaves the node (loopback) is never touched.
//
// # Order
//
// Packets of one delay keep their order. With a jitter each packet draws its own delay, so that one may overtake
// another; the kernel's network emulator does the same. A normal distribution cut at 0 has a higher mean and a lower
// standard deviation than without the cut: at a jitter of half the delay by 0.4 % and 2 %, at one of the whole delay by
// 8 % and 13 %.
//
// # Acts
//
//   - Delay holds packets as they are handed over, which may be several segments in one (offload).
//   - All others see packets as they would be on the wire; the kernel cuts them for us.
//   - Corrupt flips one bit: of the payload where there is one, else of the transport header behind the ports.
//     The checksum stays as it was, so that a receiver that checks drops the packet, as on a bad wire. (UDP over IPv4
//     without a checksum is delivered changed.)
//   - Reorder holds the chosen packets back for Delay; what follows within that time overtakes them.
//   - Duplicate marks the chosen packets (bit 27 of the mark, taken off again), and a rule of the kernel
//     (nftables dup) sends a copy to where the packet goes. It needs no more than CAP_NET_ADMIN. In-coming copies
//     arrive by the loopback interface: a socket bound to a device does not see them. What several such rules choose at
//     once gets one copy.
//
// # Failing open
//
// A queue that nobody listens to is passed by, a packet that does not fit is let through and counted in
// [rule.Delivered.Passed], and the table goes with its owner. When this program is killed the kernel drops the packets in
// its queues, and traffic goes on at once; so it does when anybody takes a chain from a hook of the namespace, which is why ours
// stay until Close. When a rule ends as it should, what it holds is let go at once, and in order.
//
// # Limits
//
// Some tens of microseconds pass between the kernel's queueing and our reading, and after our verdict; they are in what
// clients see and not in the figures here. A packet that is held on its way out still counts against its sender's
// buffer: bulk transfers of one connection become slower than the delay alone would make them. Hold packets
// where they arrive when that matters.
package queue
