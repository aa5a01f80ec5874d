// Package netfault is the helper's side of the network faults: the desired state of one network namespace, carried
// out by nftables, NFQUEUE, netem, a token bucket, or proxies of the helper's own. It runs inside the namespace, with
// CAP_NET_ADMIN and nothing else, and leaves nothing behind when it is killed, as far as the kernel lets it.
package netfault

import (
	"context"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// A Carrier carries out the rules of one way. One goroutine calls it. A chain that it has put at a hook stays there until
// Close, empty if need be: when any hook of a namespace goes, the kernel drops every packet that waits in any of its
// queues (nf_queue_nf_hook_drop), and with them what another fault holds.
type Carrier interface {
	// Set makes parts, by the names of the faults that want them, all that is in force. It returns once that is so. A
	// rule that it cannot carry out is an error, and then what was in force still is. Counters of a part that stays go on.
	Set(ctx context.Context, parts map[string]rule.Part) error
	// Read says what the parts in force have delivered, and once more of those that the last Set has ended.
	Read(ctx context.Context) (map[string]rule.Report, error)
	// Close ends everything.
	Close() error
}

// A Preparer is a [Carrier] that can make something ready ahead, so that Set takes no time.
type Preparer interface {
	Prepare(ctx context.Context, p rule.Part) error
}
