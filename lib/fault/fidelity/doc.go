// Package fidelity measures what faults deliver against what was asked of them, from the outside: a client beside
// a node that a fault hits. It has tests alone; `make fidelity` runs them and writes the table of lib/fault/README.md.
//
// The figures are the client's own, never the helper's: round trips over UDP, bytes over TCP, outcomes of
// connections, the control group's CPU time, the node's clock. What is subtracted (the round trip without a fault) is
// measured in the same minute on the same nodes.
package fidelity
