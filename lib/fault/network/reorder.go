package network

import (
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// heldBack is for how long a packet is held back for others to overtake it: three packets of a stream of 300/s, which
// is when TCP takes it for lost.
const heldBack = 10 * time.Millisecond

// ReorderKind is the verb reorder.
func ReorderKind() fault.Kind {
	return shared(rule.Reorder, "a share of the packets that come in held back for 10 ms, so that what follows overtakes them", "held back",
		"held back by the kernel's network emulator (netem), which lets the others go first", "queued to a helper that holds them back (NFQUEUE)", heldBack)
}
