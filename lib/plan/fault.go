package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// possible lists what an arm's faults may be: for a random one each of its verbs, on each of its services where the verb
// leaves that open.
func possible(arm scenario.Arm, kinds fault.Kinds) []scenario.Fault {
	var all []scenario.Fault
	for _, f := range arm.Faults {
		if f.Random == nil {
			all = append(all, f)
			continue
		}
		for _, v := range f.Random.Verbs {
			v.Name, v.Drawn, v.At = f.Name, f.Name, f.At
			if !scenario.Anywhere(v, kinds[v.Verb]) {
				all = append(all, v)
				continue
			}
			for _, service := range f.Random.Services {
				v.Selector.Service = service
				all = append(all, v)
			}
		}
	}
	return all
}

// candidates are the nodes that a fault may hit. That there is none is an error.
func (p *Plan) candidates(arm scenario.Arm, f scenario.Fault, kind fault.Kind) ([]target.Node, error) {
	all := p.nodes(arm)
	if !scenario.Anywhere(f, kind) && f.Selector.Service == "" && f.Selector.Zone == "" { // the parameters say it
		if kind.Choose == nil {
			return nil, fmt.Errorf("%s does not say which nodes its parameters mean", f.Verb)
		}
		of, err := kind.Choose(f.Params, all)
		if err == nil && len(of) == 0 {
			err = errors.New("its parameters mean no node")
		}
		return of, err
	}
	return f.Selector.Candidates(all)
}

// checkFault says what is known to be wrong with a fault in an arm that has its service.
func (p *Plan) checkFault(arm scenario.Arm, f scenario.Fault) []string {
	kind, ok := p.kinds[f.Verb]
	if !ok {
		return []string{fmt.Sprintf("this program has no verb %q", f.Verb)}
	}
	if s := f.Selector.Service; s != "" && p.Replicas(arm, s) == 0 {
		return []string{fmt.Sprintf("fault %s hits nothing: arm %q has no replica of %q", f.Name, arm.Name, s)}
	}
	wrong := p.checkPeers(arm, f, kind)
	if len(wrong) > 0 {
		return wrong
	}
	if _, err := p.candidates(arm, f, kind); err != nil {
		return []string{fmt.Sprintf("fault %s hits nothing in arm %q: %v", f.Name, arm.Name, err)}
	}
	if len(kind.Ways) > 0 && !slices.ContainsFunc(kind.Ways, func(w fault.Way) bool { return fits(w, f.Params) }) {
		return []string{fmt.Sprintf("fault %s: nothing that %s is done with can do what its parameters ask", f.Name, f.Verb)}
	}
	return nil
}

// checkPeers finds parameters that name no node, and groups that share one.
func (p *Plan) checkPeers(arm scenario.Arm, f scenario.Fault, kind fault.Kind) []string {
	var wrong []string
	most := p.most(arm)
	meant := func(param, name string) []string {
		of, why := peer(arm, most, name)
		if why != "" {
			wrong = append(wrong, fmt.Sprintf("fault %s: %s: %s", f.Name, param, why))
		}
		return of
	}
	for _, param := range kind.Params {
		if name := f.Params.Text(param.Name, ""); param.Type == fault.Peer && name != "" {
			meant(param.Name, name)
		}
		in := make(map[string]int)
		for g, group := range f.Params.Groups(param.Name) {
			for _, name := range group {
				for _, node := range meant(param.Name, name) {
					if other, ok := in[node]; ok && other != g {
						wrong = append(wrong, fmt.Sprintf("fault %s: %s: %s is in two groups", f.Name, param.Name, node))
					}
					in[node] = g
				}
			}
		}
	}
	return wrong
}

// peer lists the replicas that a name may mean, a service's or a replica's, or says why there is none.
func peer(arm scenario.Arm, most map[string]int, name string) (of []string, why string) {
	for service, n := range most {
		i, err := strconv.Atoi(strings.TrimPrefix(name, service+"-"))
		if err == nil && i >= 1 && i <= n && name == target.ReplicaName(service, i) {
			return []string{name}, ""
		}
	}
	n, ok := most[name]
	switch {
	case !ok:
		return nil, fmt.Sprintf("arm %q has no service and no replica %q; its services are %s", arm.Name, name, strings.Join(slices.Sorted(maps.Keys(most)), ", "))
	case n == 0:
		return nil, fmt.Sprintf("arm %q has no replica of %q", arm.Name, name)
	}
	for i := range n {
		of = append(of, target.ReplicaName(name, i+1))
	}
	return of, ""
}

// spec is an arm's target with all that its faults may need of the driver, and what is known to be impossible about them.
func (p *Plan) spec(arm scenario.Arm) (target.Spec, scenario.Errors) {
	spec := p.bare(arm)
	var wrong scenario.Errors
	for _, f := range possible(arm, p.kinds) {
		kind := p.kinds[f.Verb]
		nodes, err := p.candidates(arm, f, kind)
		if err != nil {
			continue // told by checkFault
		}
		way := p.way(kind, f.Params)
		params, last := maps.Clone(f.Params), ""
		for _, n := range nodes {
			if n.Service == last {
				continue
			}
			last = n.Service
			if kind.Check != nil {
				if err := kind.Check(params, spec.Target.Services[n.Service], &spec); err != nil {
					wrong = append(wrong, p.wrong(f.Line, fmt.Sprintf("fault %s in arm %q: %s: %s",
						f.Name, arm.Name, f.Verb, strings.TrimPrefix(err.Error(), f.Verb+": "))))
				}
			}
			for _, place := range places(kind, way) {
				if !slices.Contains(spec.Places[n.Service], place) {
					spec.Places[n.Service] = append(spec.Places[n.Service], place)
				}
			}
			if way.Abilities.Has(target.CanProxy) {
				spec.Proxied[n.Service] = true
			}
		}
	}
	return spec, wrong
}

// bare is an arm's target without what its faults need.
func (p *Plan) bare(arm scenario.Arm) target.Spec {
	return target.Spec{
		Target: p.Targets[arm.Name], Scale: arm.Scale, MaxScale: p.most(arm), Ingress: arm.Ingress,
		Places: make(map[string][]target.Place), Bounded: make(map[string]int64), Proxied: make(map[string]bool),
	}
}

// entering are the abilities by which a helper gets into a node.
const entering = target.CanEnterNetwork | target.CanEnterNode | target.CanTrace | target.CanMount | target.CanThrottle

// places are where helpers of ours will be, if the way has any.
func places(kind fault.Kind, way fault.Way) []target.Place {
	if way.Abilities != 0 && way.Abilities&entering == 0 { // the driver's own proxy, or the engine's
		return nil
	}
	return kind.Places
}

// steps draws an arm's faults and their victims. All arms of a block use one seed, so that they are hit alike.
func (p *Plan) steps(kinds fault.Kinds, arm scenario.Arm, seed int64) ([]Step, error) {
	var steps []Step
	for _, f := range arm.Faults {
		drawn, err := p.draw(kinds, f, seed)
		if err != nil {
			return nil, scenario.Errors{p.wrong(f.Line, fmt.Sprintf("fault %s: %v", f.Name, err))}
		}
		for _, one := range drawn {
			step, err := p.step(kinds, arm, one, seed)
			if err != nil {
				return nil, scenario.Errors{p.wrong(one.Line, fmt.Sprintf("fault %s: %v", one.Name, err))}
			}
			steps = append(steps, step)
		}
	}
	sort.SliceStable(steps, func(i, j int) bool {
		if a, b := steps[i].waits(), steps[j].waits(); a != b {
			return b
		}
		return steps[i].At < steps[j].At
	})
	return steps, nil
}

// waits reports whether only the trial knows when the step's time comes.
func (s Step) waits() bool { return s.After != nil || s.When != nil }

func (p *Plan) step(kinds fault.Kinds, arm scenario.Arm, f scenario.Fault, seed int64) (Step, error) {
	kind, ok := kinds[f.Verb]
	if !ok {
		return Step{}, fmt.Errorf("this program has no verb %q", f.Verb)
	}
	of, err := p.candidates(arm, f, kind)
	// A role is asked when the fault fires; a whole service and what the parameters say are hit as they are.
	if said := f.Selector.Service == "" && f.Selector.Zone == ""; err == nil && !kind.WholeService && !said && f.Selector.Role == nil {
		of, err = f.Selector.Choose(of, rng(seed, "fault "+f.Name))
	}
	if err != nil {
		return Step{}, err
	}
	if f, err = p.settle(arm, f, kind, of); err != nil {
		return Step{}, err
	}
	way, err := kind.On(p.facts, f.Params)
	if err != nil {
		return Step{}, err
	}
	step := Step{Fault: f, Kind: kind, Way: way.Name, Means: way.Means}
	for _, n := range of {
		step.Victims = append(step.Victims, n.Name)
	}
	return step, nil
}

// settle gives a fault the parameters that the kind fills in by the services that are hit, such as the only volume of one.
func (p *Plan) settle(arm scenario.Arm, f scenario.Fault, kind fault.Kind, nodes []target.Node) (scenario.Fault, error) {
	if kind.Check == nil {
		return f, nil
	}
	f.Params = maps.Clone(f.Params)
	spec := target.Spec{Target: p.Targets[arm.Name], Scale: arm.Scale, Ingress: arm.Ingress, Bounded: make(map[string]int64)}
	for _, n := range nodes {
		if err := kind.Check(f.Params, spec.Target.Services[n.Service], &spec); err != nil {
			return f, err
		}
	}
	var err error
	f.Fault, err = kind.New(f.Params)
	return f, err
}

// draw makes of a random fault what it does in one block. Another fault is itself.
func (p *Plan) draw(kinds fault.Kinds, f scenario.Fault, seed int64) ([]scenario.Fault, error) {
	if f.Random == nil {
		return []scenario.Fault{f}, nil
	}
	load := p.Scenario.Load.For()
	chance := rng(seed, "random "+f.Name)
	var drawn []scenario.Fault
	for k, at := range f.Draws(load) {
		// Everything is drawn every time, so that one verb more or less of a kind moves nothing that comes after it.
		one := f.Random.Verbs[chance.IntN(len(f.Random.Verbs))]
		service := chance.IntN(max(len(f.Random.Services), 1))
		length := f.Random.Min + time.Duration(chance.Int64N(int64(f.Random.Max-f.Random.Min)+1))
		kind, ok := kinds[one.Verb]
		if !ok {
			return nil, fmt.Errorf("this program has no verb %q", one.Verb)
		}
		if scenario.Anywhere(one, kind) {
			one.Selector.Service = f.Random.Services[service]
		}
		one.Name, one.Drawn, one.At = f.DrawName(k), f.Name, at
		if !kind.NoFor {
			one.For = min(max(length.Round(time.Millisecond), f.Random.Min), f.Random.Max, load-at)
		}
		var err error
		if one.Fault, err = kind.New(one.Params); err != nil { // of its own, because two may be in force at once
			return nil, err
		}
		drawn = append(drawn, one)
	}
	return drawn, nil
}
