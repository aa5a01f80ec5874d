// Package agent is what runs inside a target's network, and its wire, both ends.
//
// The harness starts its own binary beside the nodes and talks with it over standard input
// and output, one JSON value a line. Load is sent and summed up there, because a
// published port or a forwarding proxy would be measured along with the target; what comes back
// are bins, so that the harness may be slow without slowing the load.
//
// [Serve] is the agent's end, [Dial] the harness's.
package agent
