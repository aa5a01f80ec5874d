// Package network has the faults of the network. Each file holds one fault and the [fault.Kind] that makes it a verb.
// What happens in a node's network namespace is written as rules (lib/netfault/rule) and done there by lib/netfault, in a
// helper; on a driver that has proxies in front of its nodes, some are done by those.
package network
