// Package netem delays, loses, doubles, spoils and reorders packets by the kernel's network emulator (sch_netem), through
// netlink messages of its own making.
//
// # How
//
// What goes out meets an emulator at the root of each device but loopback. What comes in is led through a device of our own
// (ifb) with an emulator at its root. Where rules are about peers, a prio discipline stands in front, with one
// emulator for each set of rules that some peer has, and u32 filters by address. Rules of several faults on the same
// packets become one emulator: delays add up, spreads by the square root of the sum of squares, shares as independent
// draws. It has no place for these, which are refused: ports; a delay and a reordering of the same packets, or two
// reorderings; more than 15 different sets of rules by peer. Kernels from 6.15 on refuse several emulators in one tree if one
// of them duplicates, which is then the error.
//
// The seed is given to the kernel, which takes it from 6.6 on.
//
// # What it does to packets
//
//   - Everything on the device is meant, ARP and IPv6's neighbour discovery too.
//   - Delay with a jitter draws from a table of the normal distribution, which is cut at 0 and may reorder packets.
//   - Reorder holds the chosen packets back for Delay and lets the others go at once (gap 1, its probability being that
//     of the others).
//   - Segments that were not cut yet (offload) are one packet.
//
// # The queue
//
// An emulator holds so many packets at most (limit, 1,000 by default), and drops the others: a delay becomes a loss when
// it is less than rate times delay. Ours is enough for 200,000 packets a second, and 1,000 at least.
//
// # The end
//
// What is held when an emulator is taken away is lost; so it is when rules about peers come or go, as the tree is
// built anew. Disciplines outlive a program that is killed: they carry handles of ours (7456: and 7457:), New removes what an
// earlier one left, and the namespace's end removes all.
package netem
