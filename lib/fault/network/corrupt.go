package network

import (
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// CorruptKind is the verb corrupt. One bit changes and the checksum does not, as on a bad wire: what checks it (TCP always)
// drops the packet, and sees a loss.
func CorruptKind() fault.Kind {
	return shared(rule.Corrupt, "a share of the packets that come in delivered with one bit changed: TCP drops them for their checksum", "changed",
		"changed by the kernel's network emulator (netem)", "queued to a helper that changes a bit (NFQUEUE)", 0)
}
