package netfault

// ResetConnections resets the connections of others to the node's own ports, and says how many. An error that wraps
// EOPNOTSUPP says that the kernel cannot end connections from outside.
func ResetConnections(ports []uint16) (int, error) { return destroy(nil, ports) }
