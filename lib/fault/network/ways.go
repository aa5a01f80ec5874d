package network

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// byWay is a fault that is another one for each of its kind's ways.
type byWay map[string]way

// A way can do all that the injector may ask.
type way interface {
	fault.Fault
	fault.Armer
	fault.Renewer
}

var _ way = byWay(nil)

func (f byWay) of(s *fault.Site) (way, error) {
	one, ok := f[s.Way]
	if !ok {
		return nil, fmt.Errorf("%s: the fault has no way %q", s.Name, s.Way)
	}
	return one, nil
}

// Arm prepares the nodes in the way that was planned.
func (f byWay) Arm(ctx context.Context, s *fault.Site, nodes []target.Node) error {
	one, err := f.of(s)
	if err != nil {
		return err
	}
	return one.Arm(ctx, s, nodes)
}

// Inject makes it so in the way that was planned.
func (f byWay) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	one, err := f.of(s)
	if err != nil {
		return nil, nil, err
	}
	return one.Inject(ctx, s, nodes)
}

// Renew makes it so again on a node that has restarted.
func (f byWay) Renew(ctx context.Context, s *fault.Site, n target.Node) ([]target.Effect, error) {
	one, err := f.of(s)
	if err != nil {
		return nil, err
	}
	return one.Renew(ctx, s, n)
}

// ruled is a fault of rules in the nodes' network namespaces, the same in each of them.
func ruled(what string, part func(s *fault.Site) (rule.Part, error), prove proof) fault.Helped {
	return helped(what, func(s *fault.Site, nodes []target.Node) (map[string]any, error) {
		p, err := part(s)
		if err != nil {
			return nil, err
		}
		parts := make(map[string]any, len(nodes))
		for _, n := range nodes {
			parts[n.Name] = p
		}
		return parts, nil
	}, prove)
}

// one makes the part of a single rule that is the same whatever the target.
func one(r rule.Rule) func(*fault.Site) (rule.Part, error) {
	return func(*fault.Site) (rule.Part, error) { return rule.Part{r}, nil }
}

// A proof says what was asked for, what was delivered, and whether that is too little. The report has an entry for each rule.
type proof func(p rule.Part, r rule.Report, held time.Duration) (asked, delivered string, short bool)

func helped(what string, parts func(*fault.Site, []target.Node) (map[string]any, error), prove proof) fault.Helped {
	return fault.Helped{
		Tool:  fault.Tool{Place: target.InNetwork, Worker: rule.Worker},
		Parts: parts,
		What:  what,
		Prove: func(part any, raw json.RawMessage, held time.Duration) (string, string, bool) {
			var r rule.Report
			p, ok := part.(rule.Part)
			if err := json.Unmarshal(raw, &r); err != nil || !ok || len(r) != len(p) {
				return "a report", fmt.Sprintf("%.200q, which does not fit %d rules", raw, len(p)), true
			}
			return prove(p, r, held)
		},
	}
}

// met proves rules by the packets that they did something to.
func met(asked, done, nothing string) proof {
	return func(_ rule.Part, r rule.Report, _ time.Duration) (string, string, bool) {
		var hit, resets uint64
		for _, d := range r {
			hit += d.Hit
			resets += d.Resets
		}
		if hit+resets == 0 {
			return asked, nothing, true
		}
		delivered := fmt.Sprintf("%d packets %s", hit, done)
		if resets > 0 {
			delivered += fmt.Sprintf(", %d resets of connections that were there", resets)
		}
		return asked, delivered, false
	}
}

// port is the parameter of verbs that may be about one port.
func port() fault.Param {
	return fault.Param{Name: "port", Type: fault.Port, Summary: "of the node, TCP and UDP; default all"}
}

// ports are the node's own that the parameters name; none: all.
func ports(p fault.Params) []uint16 {
	if !p.Has("port") {
		return nil
	}
	return []uint16{uint16(p.Count("port", 0))}
}

func portless(p fault.Params) bool { return !p.Has("port") }

// of says which ports.
func of(what string, p fault.Params) string {
	if !p.Has("port") {
		return what
	}
	return fmt.Sprintf("%s to port %d", what, p.Count("port", 0))
}
