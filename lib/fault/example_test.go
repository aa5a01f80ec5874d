package fault_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// A Hiccup freezes nodes for a moment, once.
type Hiccup struct{ For time.Duration }

// HiccupKind is the verb: {at: 10s, hiccup: {service: app, length: 300ms}}.
func HiccupKind() fault.Kind {
	return fault.Kind{
		Summary: "frozen for a moment",
		Needs:   target.CanPause, // plan refuses the verb where the driver cannot
		NoFor:   true,            // it is over when it has happened
		Means:   "paused and unpaused by the driver",
		Params:  []fault.Param{{Name: "length", Type: fault.Duration, Summary: "how long; default 200ms"}},
		New: func(p fault.Params) (fault.Fault, error) {
			h := Hiccup{For: p.Duration("length", 200*time.Millisecond)}
			if h.For > time.Minute {
				return nil, errors.New("length: at most 1m")
			}
			return h, nil
		},
	}
}

// Inject freezes the nodes. What ends it is the Revert, which the injector calls at once for a verb that has no `for`.
func (h Hiccup) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	p, ok := s.Cluster.(target.Pauser)
	if !ok {
		return nil, nil, errors.New("hiccup: this driver cannot pause")
	}
	began := time.Now()
	var effects []target.Effect
	for _, n := range nodes {
		e, err := p.Pause(ctx, n)
		if err != nil {
			return effects, h.thaw(p, nodes, began), fmt.Errorf("freeze %s: %w", n.Name, err)
		}
		effects = append(effects, e)
	}
	return effects, h.thaw(p, nodes, began), nil
}

// thaw waits for the rest of the moment and says how long it was in the end.
func (h Hiccup) thaw(p target.Pauser, nodes []target.Node, began time.Time) fault.Revert {
	return func(ctx context.Context) ([]target.Effect, error) {
		select {
		case <-time.After(time.Until(began.Add(h.For))):
		case <-ctx.Done(): // out of time: thawed now, and Delivered says so
		}
		var effects []target.Effect
		var errs []error
		for _, n := range nodes {
			e, err := p.Unpause(context.WithoutCancel(ctx), n)
			if errs = append(errs, err); err != nil {
				continue
			}
			held := time.Since(began)
			e.Asked, e.Delivered, e.Short = "frozen for "+h.For.String(), "frozen for "+held.Round(time.Millisecond).String(), held < h.For
			effects = append(effects, e)
		}
		return effects, errors.Join(errs...)
	}
}

// A node is what the example freezes in place of a container.
type node struct{ target.Cluster }

func (node) Pause(_ context.Context, n target.Node) (target.Effect, error) {
	return target.Effect{Node: n, From: time.Now(), To: time.Now(), Source: "example", Proof: "frozen"}, nil
}

func (node) Unpause(_ context.Context, n target.Node) (target.Effect, error) {
	return target.Effect{Node: n, From: time.Now(), To: time.Now(), Source: "example", Proof: "thawed"}, nil
}

// A program of one's own adds a verb to the map of its kit: kit := cmd.Builtin(), kit.Faults["hiccup"] = HiccupKind(), and
// cmd.Main(kit, …) is the whole command line with one verb more.
func Example() {
	kinds := fault.Kinds{}
	kinds["hiccup"] = HiccupKind()

	f, err := kinds["hiccup"].New(fault.Params{"length": 50 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	effects, revert, err := f.Inject(context.Background(), &fault.Site{Cluster: node{}, Name: "hiccup-1"}, []target.Node{{Name: "app-1"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(effects[0].Node.Name, effects[0].Proof)
	effects, err = revert(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(effects[0].Node.Name, effects[0].Proof, effects[0].Asked, effects[0].Short)
	// Output:
	// app-1 frozen
	// app-1 thawed frozen for 50ms false
}
