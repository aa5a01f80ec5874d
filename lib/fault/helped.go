package fault

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/target"
)

// Helped is a fault that helpers keep up: every node gets a part, and the helper's report is its proof. Verbs that are
// one are made of it.
type Helped struct {
	Tool Tool
	// Parts says what each node gets, by its name. It is asked when the fault is armed and when it fires, with all
	// the nodes that it hits.
	Parts func(s *Site, nodes []target.Node) (map[string]any, error)
	// Prove makes an effect's Asked, Delivered and Short of a part's report at its end. held is how long it was in force.
	Prove func(part any, report json.RawMessage, held time.Duration) (asked, delivered string, short bool)
	// What is said of a node when the fault begins: "dropped on arrival".
	What string
}

var (
	_ Fault   = Helped{}
	_ Armer   = Helped{}
	_ Renewer = Helped{}
)

// Arm starts the helpers and has them prepare.
func (f Helped) Arm(ctx context.Context, s *Site, nodes []target.Node) error {
	parts, err := f.Parts(s, nodes)
	if err != nil {
		return err
	}
	_, err = Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
		return target.Effect{}, s.Helpers.Arm(ctx, n, f.Tool, s.Name, parts[n.Name])
	})
	return err
}

// Inject returns when every node's helper keeps up its part.
func (f Helped) Inject(ctx context.Context, s *Site, nodes []target.Node) ([]target.Effect, Revert, error) {
	parts, err := f.Parts(s, nodes)
	if err != nil {
		return nil, nil, err
	}
	effects, err := Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) { return f.put(ctx, s, n, parts) })
	return effects, func(ctx context.Context) ([]target.Effect, error) {
		return Each(ctx, nodes, func(ctx context.Context, n target.Node) (target.Effect, error) {
			held, _ := s.Helpers.held(n, f.Tool, s.Name) // since it was renewed, if it was: so long its helper has counted
			out, err := s.Helpers.Drop(ctx, n, f.Tool, s.Name)
			if err != nil {
				return target.Effect{}, err
			}
			return f.ended(n, parts[n.Name], out, s.Name, held), nil
		})
	}, err
}

// Renew puts a node's part in force again, in the node as it is now.
func (f Helped) Renew(ctx context.Context, s *Site, n target.Node) ([]target.Effect, error) {
	parts, err := f.Parts(s, []target.Node{n})
	if err != nil {
		return nil, err
	}
	return Each(ctx, []target.Node{n}, func(ctx context.Context, n target.Node) (target.Effect, error) { return f.put(ctx, s, n, parts) })
}

func (f Helped) put(ctx context.Context, s *Site, n target.Node, parts map[string]any) (target.Effect, error) {
	out, err := s.Helpers.Put(ctx, n, f.Tool, s.Name, parts[n.Name])
	if err != nil {
		return target.Effect{}, err
	}
	return target.Effect{Node: n, From: out.From, To: out.To, Source: helperSource, Proof: f.What}, nil
}

const helperSource = "helper"

// ended is the effect of a part's end, and the proof of what it was.
func (f Helped) ended(n target.Node, part any, out agent.Outcome, name string, held time.Duration) target.Effect {
	e := target.Effect{Node: n, From: out.From, To: out.To, Source: helperSource, Proof: "ended"}
	report, ok := out.Ended[name]
	if !ok { // undone before, or its helper is gone: then there is nothing to report
		e.Proof = "it was over before"
		return e
	}
	if f.Prove != nil {
		e.Asked, e.Delivered, e.Short = f.Prove(part, report, held)
	}
	return e
}
