package plan

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
)

// Build checks a scenario against its targets and against what the driver can do.
// A scenario that cannot work is a [scenario.Errors]; something the environment lacks
// is a [target.UnavailableError].
func Build(s *scenario.Scenario, targets map[string]*target.Target, kinds fault.Kinds, facts target.Facts) (*Plan, error) {
	p := &Plan{Scenario: s, Targets: targets}
	var wrong scenario.Errors
	for _, arm := range s.Arms {
		wrong = append(wrong, p.checkArm(arm)...)
	}
	if len(wrong) > 0 {
		sort.SliceStable(wrong, func(i, j int) bool { return wrong[i].Line < wrong[j].Line })
		return nil, wrong
	}
	if err := p.checkAbilities(kinds, facts); err != nil {
		return nil, err
	}
	first, err := p.Block(kinds, 1)
	if err != nil {
		return nil, err
	}
	if err := first[0].Load.Check(); err != nil {
		return nil, scenario.Errors{p.wrong(0, "load: "+err.Error())}
	}
	p.Warnings = append(p.Warnings, slo.Unreachable(s.Objectives, s.Repeats)...)
	return p, nil
}

// wrong is an error on a line of the scenario; what is about the whole file is on its first.
func (p *Plan) wrong(line int, msg string) *scenario.Error {
	line = max(line, 1)
	e := &scenario.Error{File: p.Scenario.File, Line: line, Column: 1, Length: 1, Msg: msg}
	if lines := strings.Split(string(p.Scenario.Source), "\n"); line <= len(lines) {
		text := strings.TrimRight(lines[line-1], "\r")
		body := strings.TrimLeft(text, " -")
		e.Source, e.Column = text, len(text)-len(body)+1
		e.Length = max(utf8.RuneCountInString(body), 1)
	}
	return e
}

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
	for _, f := range arm.Faults {
		need(f.Line, "fault "+f.Name, f.Selector.Service)
		if slices.Contains(services, f.Selector.Service) && p.Replicas(arm, f.Selector.Service) == 0 {
			wrong = append(wrong, p.wrong(f.Line, fmt.Sprintf("fault %s hits nothing: arm %q has no replica of %q", f.Name, arm.Name, f.Selector.Service)))
		}
	}
	wrong = append(wrong, p.checkScales(arm)...)
	if !p.reaches(arm) {
		wrong = append(wrong, p.wrong(arm.Line, fmt.Sprintf("ingress %s: arm %q has no service of that name; it has %s", arm.Ingress, arm.Name, strings.Join(services, ", "))))
	}
	return wrong
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
	most := p.Spec(arm).MaxScale
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

func (p *Plan) checkAbilities(kinds fault.Kinds, facts target.Facts) error {
	var lacking []error
	for _, arm := range p.Scenario.Arms {
		for _, f := range arm.Faults {
			if need := kinds[f.Verb].Needs; !facts.Abilities.Has(need) {
				lacking = append(lacking, fmt.Errorf("%s:%d: fault %s (%s) in arm %s: the %s driver cannot %s here",
					p.Scenario.File, f.Line, f.Name, f.Verb, arm.Name, facts.Driver, need&^facts.Abilities))
			}
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return &target.UnavailableError{
		What: "plan the faults", Err: errors.Join(lacking...),
		Hint: "nothing was started; use another engine, or leave these faults out",
	}
}

// steps draws the victims of an arm's faults. All arms of a block use one seed, so that they
// are hit alike.
func (p *Plan) steps(kinds fault.Kinds, arm scenario.Arm, seed int64) ([]Step, error) {
	steps := make([]Step, len(arm.Faults))
	for i, f := range arm.Faults {
		kind, ok := kinds[f.Verb]
		if !ok {
			return nil, scenario.Errors{p.wrong(f.Line, fmt.Sprintf("this program has no verb %q", f.Verb))}
		}
		all := p.nodes(arm, f.Selector.Service)
		chosen := all
		if !kind.WholeService {
			var err error
			if chosen, err = f.Selector.Choose(all, rng(seed, "fault "+f.Name)); err != nil {
				return nil, scenario.Errors{p.wrong(f.Line, fmt.Sprintf("fault %s: %v", f.Name, err))}
			}
		}
		steps[i] = Step{Fault: f, Kind: kind}
		for _, n := range chosen {
			steps[i].Victims = append(steps[i].Victims, n.Name)
		}
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].At < steps[j].At })
	return steps, nil
}
