package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// diskTolerance is by how much more than its rate may pass.
	diskTolerance = 0.05
	// diskBurst is how long the kernel lets saved-up rate pass at once (throtl_slice of block/blk-throttle.c, 100 ms, rounded up
	// to whole requests).
	diskBurst = time.Second
)

// DiskSlowKind is the verb disk-slow. The limit is on the node, for every disk of the machine: which disk a volume is on,
// only the engine's machine knows.
func DiskSlowKind() fault.Kind {
	return fault.Kind{
		Summary: "the node's disks are slow; the record says which I/O it reaches",
		Needs:   target.CanThrottle,
		Params: []fault.Param{
			{Name: "rate", Type: fault.Size, Required: true, Summary: "bytes per second that the node reads and writes at most, each, such as 1MiB"},
			{Name: "latency", Type: fault.Duration, Summary: "refused: no kernel can delay the disk of one control group"},
		},
		Means:  "the kernel's limit for the node's control group (blkio.throttle or io.max)",
		Places: []target.Place{target.InDisk},
		New: func(p fault.Params) (fault.Fault, error) {
			if p.Has("latency") {
				return nil, errors.New("disk-slow: `latency`: the kernel has no means to delay the disk of one control group; use `rate`")
			}
			rate := p.Amount("rate", 0)
			if rate <= 0 {
				return nil, errors.New("disk-slow: `rate` must say how many bytes per second")
			}
			return slow{fault.Helped{
				Tool:  fault.Tool{Place: target.InDisk, Worker: task.Throttle},
				Parts: braking(rate),
				What:  "the kernel has the limit",
				Prove: proving(func(r task.Braked, _ time.Duration) (string, string, bool) { return braked(r, rate) }),
			}}, nil
		},
	}
}

// slow also takes away the limits that a helper has left which was killed: they are the kernel's, and outlive it.
type slow struct{ fault.Helped }

// Inject returns when the kernel has the limits.
func (f slow) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effects, revert, err := f.Helped.Inject(ctx, s, nodes)
	if revert == nil {
		return effects, revert, err
	}
	var mu sync.Mutex
	clear := make(map[string]bool) // of limits
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		ended, err := revert(ctx)
		var left []target.Node
		mu.Lock()
		for _, e := range ended {
			if e.Asked != "" { // its helper has ended it, and says what it was
				clear[e.Node.Name] = true
			}
			if !clear[e.Node.Name] {
				left = append(left, e.Node)
			}
		}
		mu.Unlock()
		_, swept := fault.Each(ctx, left, func(ctx context.Context, n target.Node) (target.Effect, error) {
			if err := f.sweep(ctx, s, n); err != nil {
				return target.Effect{}, fmt.Errorf("take away the limits that a lost helper has left: %w", err)
			}
			mu.Lock()
			defer mu.Unlock()
			clear[n.Name] = true
			return target.Effect{}, nil
		})
		return ended, errors.Join(err, swept)
	}, err
}

// sweep has a new helper take away what another has left on a node.
func (f slow) sweep(ctx context.Context, s *fault.Site, n target.Node) error {
	if _, err := s.Helpers.Put(ctx, n, f.Tool, s.Name, task.Brake{ID: n.ID}); err != nil {
		return err
	}
	_, err := s.Helpers.Drop(ctx, n, f.Tool, s.Name)
	return err
}

func braking(rate int64) func(*fault.Site, []target.Node) (map[string]any, error) {
	return func(_ *fault.Site, nodes []target.Node) (map[string]any, error) {
		parts := make(map[string]any, len(nodes))
		for _, n := range nodes {
			parts[n.Name] = task.Brake{ID: n.ID, Rate: rate}
		}
		return parts, nil
	}
}

// braked says what has passed. That nothing has is no proof: then what the node does is none of what the limit reaches.
func braked(r task.Braked, rate int64) (asked, delivered string, short bool) {
	asked = fmt.Sprintf("%s/s at most on %s, for %s", bytes(rate), strings.Join(r.Devices, " "), r.Reaches)
	if r.Read+r.Written == 0 {
		return asked, fmt.Sprintf("no such I/O of the node in %v", r.Held.Round(time.Millisecond)), true
	}
	read, written := float64(r.Read)/r.Held.Seconds(), float64(r.Written)/r.Held.Seconds()
	delivered = fmt.Sprintf("%s/s read, %s/s written in %v", bytes(int64(read)), bytes(int64(written)), r.Held.Round(time.Millisecond))
	most := float64(rate) * (r.Held + diskBurst).Seconds() * (1 + diskTolerance) * float64(max(len(r.Devices), 1))
	return asked, delivered, float64(max(r.Read, r.Written)) > most
}
