package plan

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
)

// Build checks a scenario against its targets and against what the driver can do.
// A scenario that cannot work is a [scenario.Errors]; faults that nothing in the environment
// can do are an [UnableError].
func Build(s *scenario.Scenario, targets map[string]*target.Target, kinds fault.Kinds, facts target.Facts) (*Plan, error) {
	p := &Plan{Scenario: s, Targets: targets, kinds: kinds, facts: facts}
	var wrong scenario.Errors
	for _, arm := range s.Arms {
		wrong = append(wrong, p.checkArm(arm)...)
	}
	wrong = append(wrong, p.checkVerify()...)
	if len(wrong) > 0 {
		sort.SliceStable(wrong, func(i, j int) bool { return wrong[i].Line < wrong[j].Line })
		told := make(map[string]bool) // what is wrong in every arm alike is told once
		return nil, slices.DeleteFunc(wrong, func(e *scenario.Error) bool {
			again := told[e.Error()]
			told[e.Error()] = true
			return again
		})
	}
	if err := p.checkAbilities(); err != nil {
		return nil, err
	}
	first, err := p.Block(kinds, 1)
	if err != nil {
		return nil, err
	}
	if err := first[0].Load.Check(); err != nil {
		return nil, scenario.Errors{p.wrong(0, "load: "+err.Error())}
	}
	p.Warnings = append(p.Warnings, slo.Unreachable(s.Objectives, p.Blocks())...)
	p.Warnings = append(p.Warnings, fewRequests(s.Load.Capacity)...)
	return p, nil
}

// fewRequests says which percentiles of a search are no more than the slowest request of its first hold.
func fewRequests(c *scenario.Capacity) []string {
	if c == nil {
		return nil
	}
	requests := c.From * c.Hold.Seconds()
	var warnings []string
	for _, m := range c.While.Metrics() {
		least, ok := map[string]float64{"p90": 10, "p95": 20, "p99": 100, "p999": 1000, "p9999": 10_000}[strings.TrimPrefix(m.Ref.Metric, "ok_")]
		if ok && requests < least {
			warnings = append(warnings, fmt.Sprintf("%s over the %.0f requests of the first hold is the slowest of them: hold it longer, or begin with a higher rate", m.Ref, requests))
		}
	}
	return warnings
}

// wrong is an error on a line of the scenario; what is about the whole file is on its first.
func (p *Plan) wrong(line int, msg string) *scenario.Error { return p.Scenario.Wrong(line, msg) }

func (p *Plan) checkArm(arm scenario.Arm) scenario.Errors {
	t, ok := p.Targets[arm.Name]
	if !ok {
		return scenario.Errors{p.wrong(arm.Line, fmt.Sprintf("arm %q has no target", arm.Name))}
	}
	var wrong scenario.Errors
	services := make([]string, 0, len(t.Services))
	for name := range t.Services {
		services = append(services, name)
	}
	sort.Strings(services)
	need := func(line int, what, service string) {
		if service == "" || slices.Contains(services, service) {
			return
		}
		wrong = append(wrong, p.wrong(line, fmt.Sprintf("%s: arm %q has no service %q; it has %s",
			what, arm.Name, service, strings.Join(services, ", "))))
	}
	need(arm.Line, "nodes", arm.Nodes)
	scaled := make([]string, 0, len(arm.Scale))
	for service := range arm.Scale {
		scaled = append(scaled, service)
	}
	sort.Strings(scaled)
	for _, service := range scaled {
		need(arm.Line, "scale", service)
	}
	for _, f := range possible(arm, p.kinds) {
		need(f.Line, "fault "+f.Name, f.Selector.Service)
		if f.Selector.Service == "" || slices.Contains(services, f.Selector.Service) {
			for _, msg := range p.checkFault(arm, f) {
				wrong = append(wrong, p.wrong(f.Line, msg))
			}
		}
	}
	if _, impossible := p.spec(arm); len(wrong) == 0 {
		wrong = append(wrong, impossible...)
	}
	wrong = append(wrong, p.checkScales(arm)...)
	wrong = append(wrong, p.checkExclusive(arm)...)
	if !p.reaches(arm) {
		wrong = append(wrong, p.wrong(arm.Line, fmt.Sprintf("ingress %s: arm %q has no service of that name; it has %s", arm.Ingress, arm.Name, strings.Join(services, ", "))))
	}
	return wrong
}

// checkExclusive finds faults of which the end of one would undo the other, because they are, or may be, in force on one service
// at a time.
func (p *Plan) checkExclusive(arm scenario.Arm) scenario.Errors {
	var wrong scenario.Errors
	var seen []scenario.Fault
	exclusive := func(f scenario.Fault) bool {
		only := p.kinds[f.Verb].Exclusive
		return only != nil && only(f.Params)
	}
	for _, f := range arm.Faults {
		if f.Random != nil {
			if i := slices.IndexFunc(f.Random.Verbs, exclusive); i >= 0 && f.Random.Max > f.Random.Every {
				wrong = append(wrong, p.wrong(f.Line, fmt.Sprintf("fault %s may draw %s while another one is in force, whose end would undo it: draw every %v or more seldom",
					f.Name, f.Random.Verbs[i].Verb, f.Random.Max)))
			}
		}
	}
	for _, f := range possible(arm, p.kinds) {
		if !exclusive(f) {
			continue
		}
		if i := slices.IndexFunc(arm.Faults, func(r scenario.Fault) bool { return r.Name == f.Drawn }); i >= 0 && f.Drawn != "" {
			of := arm.Faults[i] // it may be in force for as long as is drawn, and once more after that
			if f.After, f.When, f.For = of.After, of.When, of.For; f.For > 0 {
				f.For += of.Random.Max
			}
			f.Line = of.Line
		}
		for _, o := range seen {
			if o.Verb == f.Verb && o.Selector.Service == f.Selector.Service && (o.Drawn == "" || o.Drawn != f.Drawn) && overlap(o, f) {
				wrong = append(wrong, p.wrong(f.Line, fmt.Sprintf("fault %s can be in force together with %s on %s, and the end of one would undo the other: give the first a `for` that ends before the second",
					f.Name, o.Name, f.Selector.Service)))
			}
		}
		seen = append(seen, f)
	}
	return wrong
}

// overlap reports whether two faults may be in force at the same time. When one is triggered nobody knows, unless it waits for the
// other to have healed.
func overlap(a, b scenario.Fault) bool {
	for _, f := range [][2]scenario.Fault{{a, b}, {b, a}} {
		if f[0].After != nil && f[0].After.Fault == f[1].Name && f[0].After.Event == scenario.Healed {
			return false
		}
	}
	if a.After != nil || a.When != nil || b.After != nil || b.When != nil {
		return true
	}
	if b.At < a.At {
		a, b = b, a
	}
	return a.For == 0 || a.At+a.For > b.At
}

// checkScales finds a fault that gives a service the replicas that it has. Of several faults on one service the later
// ones start from what the earlier ones left, which only the run knows.
func (p *Plan) checkScales(arm scenario.Arm) scenario.Errors {
	scales := make(map[string][]scenario.Fault)
	for _, f := range arm.Faults {
		if f.Params.Count("to", -1) >= 0 {
			scales[f.Selector.Service] = append(scales[f.Selector.Service], f)
		}
	}
	var wrong scenario.Errors
	for service, of := range scales {
		if to := of[0].Params.Count("to", -1); len(of) == 1 && to == p.Replicas(arm, service) && to > 0 {
			wrong = append(wrong, p.wrong(of[0].Line, fmt.Sprintf("fault %s changes nothing: in arm %q %s has scale %d already", of[0].Name, arm.Name, service, to)))
		}
	}
	return wrong
}

// reaches reports whether the ingress names a service, a replica or an alias of one: load goes
// to the target and nowhere else.
func (p *Plan) reaches(arm scenario.Arm) bool {
	host := arm.Ingress.Hostname()
	most := p.most(arm)
	for name, s := range p.Targets[arm.Name].Services {
		if host == name {
			return true
		}
		for _, a := range s.Networks {
			if slices.Contains(a.Aliases, host) {
				return true
			}
		}
		n, err := strconv.Atoi(strings.TrimPrefix(host, name+"-"))
		if err == nil && n >= 1 && n <= most[name] && host == target.ReplicaName(name, n) {
			return true
		}
	}
	return false
}
