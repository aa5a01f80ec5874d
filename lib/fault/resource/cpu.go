package resource

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// leastCores is what engines accept: a quota of 1 ms in each 100 ms.
	leastCores = 0.01
	// cpuTolerance is by how much a node may use more than its limit: the kernel hands its quota out in slices.
	cpuTolerance = 0.05
	// cpuGrace is what may be used beyond it at both ends: the rest of a period.
	cpuGrace = 200 * time.Millisecond
	// leastBurnt is the part of what was asked that a burner has to get. What it gets beside a busy service is up to the
	// kernel, and that is the fault; less than this is none.
	leastBurnt = 0.1
)

// CPUKind is the verb cpu.
func CPUKind() fault.Kind {
	return fault.Kind{
		Summary: "less CPU: a quota, or contention inside the service's control group",
		Params: []fault.Param{
			{Name: "limit", Type: fault.Number, Summary: "cores that the node may use, such as 0.2; or:"},
			{Name: "burn", Type: fault.Share, Summary: "share of the CPU that the node may use that is burnt beside the service, such as 90%"},
		},
		Ways: []fault.Way{
			{
				Name: "quota", Means: "the engine's CPU quota", Abilities: target.CanLimit,
				Fits: func(p fault.Params) bool { return p.Has("limit") },
			},
			{
				Name: "burner", Means: "a helper that uses CPU in the service's control group", Abilities: target.CanEnterNode,
				Fits: func(p fault.Params) bool { return p.Has("burn") },
			},
		},
		Places:    []target.Place{target.InNode},
		Exclusive: func(p fault.Params) bool { return p.Has("limit") },
		Check: func(p fault.Params, s target.Service, _ *target.Spec) error {
			if cores := p.Number("limit", 0); s.CPUs > 0 && cores >= s.CPUs {
				return fmt.Errorf("cpu: a limit of %v cores takes nothing from service %s, which has %v in the Compose file", cores, s.Name, s.CPUs)
			}
			return nil
		},
		New: func(p fault.Params) (fault.Fault, error) {
			if p.Has("limit") == p.Has("burn") {
				return nil, errors.New("cpu: one of `limit` (cores) and `burn` (a share) has to be given, and not both")
			}
			if p.Has("burn") {
				return burning(p.Number("burn", 0)), nil
			}
			cores := p.Number("limit", 0)
			if cores < leastCores {
				return nil, fmt.Errorf("cpu: a limit of %v cores: engines accept %v and more", cores, leastCores)
			}
			return &Quota{Cores: cores}, nil
		},
	}
}

// burning takes a share of the node's CPU beside the service.
func burning(share float64) fault.Fault {
	return fault.Helped{
		Tool:  fault.Tool{Place: target.InNode, Worker: task.Burn},
		Parts: same(task.Load{Share: share}),
		What:  "the burner runs",
		Prove: proving(func(r task.Burnt, _ time.Duration) (string, string, bool) {
			asked := fmt.Sprintf("%s of %.4g cores", percent(r.Asked), r.Cores)
			delivered := fmt.Sprintf("%s: %v of CPU in %v", percent(r.Delivered), r.CPU.Round(time.Millisecond), r.Held.Round(time.Millisecond))
			return asked, delivered, r.Delivered < leastBurnt*r.Asked
		}),
	}
}

// Quota limits how many cores nodes may use.
type Quota struct {
	Cores float64

	mu    sync.Mutex
	start map[string]reading // by node, of those that are limited
}

// A reading is what a node's control group had counted at a time.
type reading struct {
	at    time.Time
	count target.Throttling
}

var (
	_ fault.Fault   = (*Quota)(nil)
	_ fault.Renewer = (*Quota)(nil)
)

// Inject returns when every node has its limit.
func (q *Quota) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	l, ok := s.Cluster.(target.Limiter)
	if !ok {
		return nil, nil, fault.Unable(s.Cluster, "cpu")
	}
	effects, err := fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) { return q.limit(ctx, l, n) })
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		return fault.Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) { return q.release(ctx, l, n) })
	}, err
}

// Renew limits a node again that has restarted: it counts anew.
func (q *Quota) Renew(ctx context.Context, s *fault.Site, n target.Node) ([]target.Effect, error) {
	l, ok := s.Cluster.(target.Limiter)
	if !ok {
		return nil, fault.Unable(s.Cluster, "cpu")
	}
	return fault.Each(ctx, []target.Node{n}, func(ctx context.Context, n target.Node) (target.Effect, error) { return q.limit(ctx, l, n) })
}

// limit sets the limit, then reads the counters: what was used before does not count.
func (q *Quota) limit(ctx context.Context, l target.Limiter, n target.Node) (target.Effect, error) {
	e, err := l.Limit(ctx, n, q.Cores)
	if err != nil {
		return e, err
	}
	count, err := l.Throttled(ctx, n)
	if err != nil {
		return e, errors.Join(err, undo(ctx, l, n))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.start == nil {
		q.start = make(map[string]reading)
	}
	q.start[n.Name] = reading{time.Now(), count}
	return e, nil
}

func undo(ctx context.Context, l target.Limiter, n target.Node) error {
	_, err := l.Limit(ctx, n, 0)
	return err
}

// release reads the counters and gives the node back what it had.
func (q *Quota) release(ctx context.Context, l target.Limiter, n target.Node) (target.Effect, error) {
	q.mu.Lock()
	start, ok := q.start[n.Name]
	delete(q.start, n.Name)
	q.mu.Unlock()
	var end target.Throttling
	var uncounted error
	if ok {
		end, uncounted = l.Throttled(ctx, n)
	}
	held := time.Since(start.at)
	e, err := l.Limit(ctx, n, 0)
	if err != nil || !ok {
		return e, err
	}
	e.Asked = fmt.Sprintf("%.4g cores at most", q.Cores)
	// A node that is down, or has been, does not say what it used before; the limit was there, as the engine confirmed.
	switch {
	case uncounted != nil:
		e.Delivered = fmt.Sprintf("not known: %v", uncounted)
	case end.Used < start.count.Used:
		e.Delivered = "not known: the node has ended meanwhile, and its counters with it"
	default:
		e.Delivered, e.Short = q.used(start.count, end, held)
	}
	return e, nil
}

// used says what a node has used in a time, and whether that is more than the limit allows.
func (q *Quota) used(from, to target.Throttling, held time.Duration) (delivered string, short bool) {
	used, back := to.Used-from.Used, to.Time-from.Time
	delivered = fmt.Sprintf("%.4g cores used: %v in %v", used.Seconds()/held.Seconds(), used.Round(time.Millisecond), held.Round(time.Millisecond))
	if n := to.Throttled - from.Throttled; n > 0 {
		delivered += fmt.Sprintf("; held back in %d of %d periods, for %v", n, to.Periods-from.Periods, back.Round(time.Millisecond))
	} else {
		delivered += "; never held back: it did not want more"
	}
	most := q.Cores * (held + cpuGrace).Seconds() * (1 + cpuTolerance)
	return delivered, used.Seconds() > most
}
