package target

// Labels on everything that a driver makes. Only what carries LabelRun is ever touched.
const (
	LabelRun   = "bench.tutti.run"   // id of the run
	LabelTrial = "bench.tutti.trial" // ARM-N
	LabelHost  = "bench.tutti.host"  // id of the machine that the harness runs on
	LabelRole  = "bench.tutti.role"  // node, agent, helper, network, volume
	LabelZone  = "tutti.zone"        // a user's: which zone a service is in

	LabelVersion = "tutti.version" // on an image: the programs in it and their versions, "haproxy 3.0.11"
)

// Environment variables that drivers set for our own node programs.
const (
	// EnvListen is the IP address to listen on where several nodes share one
	// network (process driver), or address:port where they share one address too (process
	// driver on systems but Linux); absent, a node listens on all its addresses.
	EnvListen = "TUTTI_LISTEN"
	// EnvHosts names a JSON file that maps host names, or host:port pairs, to lists of
	// addresses, or address:port pairs. It stands in for DNS where nodes have none, and
	// is rewritten when replicas come and go.
	EnvHosts = "TUTTI_HOSTS"
	// EnvNode is the replica's name, service-n.
	EnvNode = "TUTTI_NODE"
)
