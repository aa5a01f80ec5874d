// Package agent is what runs inside a target's network, and its wire, both ends.
//
// The harness starts its own binary beside the nodes and talks with it over standard input
// and output, one JSON value a line. Load is sent and summed up there, because a
// published port or a forwarding proxy would be measured along with the target; what comes back
// are bins, so that the harness may be slow without slowing the load.
//
// Several agents can send one load side by side, a [Group]: request number n goes to the (n mod agents)-th of them, so that the split is
// exact; they begin at a zero on their machine's clock that the harness names half a second ahead; and their bins are merged into those that one would
// have made.
//
// [Serve] is the agent's end, [Dial] the harness's.
package agent
