package network

import (
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// DuplicateKind is the verb duplicate.
func DuplicateKind() fault.Kind {
	return shared(rule.Duplicate, "a share of the packets that come in delivered twice", "delivered twice",
		"delivered twice by the kernel's network emulator (netem)",
		"chosen by a helper that they are queued to (NFQUEUE), and copied by nftables (dup)", 0)
}
