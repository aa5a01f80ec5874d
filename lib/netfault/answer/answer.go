package answer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// Answer carries out the acts DNS and HTTP in the network namespace that the program runs in. Several rules compose:
// silence goes before all other modes of look-ups, delays add up, and of rules that would answer in different ways
// the first one does, by the names of their faults.
type Answer struct {
	kernel   kernel
	resolver *resolver // nil until it is needed
	proxy    *proxy    // nil until it is needed
	state    state
	ended    map[string]rule.Report
}

var (
	_ netfault.Carrier  = (*Answer)(nil)
	_ netfault.Preparer = (*Answer)(nil)
)

// A state is what is in force.
type state struct {
	parts map[string][]*served
	want  wanted
}

// wanted is what a namespace's rules do.
type wanted struct {
	silent  bool     // look-ups and their answers are dropped
	lookups bool     // … are led to the resolver
	ports   []uint16 // connections to these are led to the proxy
	still   bool     // what was led before goes on being translated
}

// kernel is the namespace's part of it.
type kernel interface {
	// force puts rules into force, all of them or none.
	force(w wanted, r *resolver, p *proxy) error
	// counts says how many look-ups were seen, and packets of theirs dropped, while silence was in force, and to
	// how many packets of connections to a port a reset was the answer.
	counts() (counts, error)
	// forget makes conntrack forget the UDP flows to port 53, or those that were led to the resolver.
	forget(r *resolver, led bool) error
	// reset resets the connections from elsewhere to a port and says how many; 0 where only the rules can.
	reset(port uint16) (uint64, error)
	Close() error
}

// counts are the kernel's, since it was first asked for rules.
type counts struct {
	lookups, dropped uint64
	rejected         map[uint16]uint64 // by port
}

// New makes a carrier without anything in force. Who made it closes it.
func New() (*Answer, error) {
	k, err := newKernel()
	if err != nil {
		return nil, err
	}
	return &Answer{kernel: k}, nil
}

// Prepare starts the servers that a part needs. They serve nobody yet.
func (a *Answer) Prepare(ctx context.Context, p rule.Part) error {
	var w wanted
	for i, r := range p {
		if err := check(r); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		w.add(r)
	}
	return a.prepare(ctx, w)
}

func (w *wanted) add(r rule.Rule) {
	switch {
	case r.Act == rule.HTTP:
		w.ports = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(w.ports), r.Ports...))))
	case r.Mode == rule.DNSSilent:
		w.silent = true
	default:
		w.lookups = true
	}
}

func (a *Answer) prepare(ctx context.Context, w wanted) error {
	var err error
	if w.lookups && a.resolver == nil {
		if a.resolver, err = newResolver(ctx, kernelWires()); err != nil {
			return err
		}
	}
	if len(w.ports) > 0 && a.proxy == nil {
		if a.proxy, err = newProxy(ctx, kernelWires()); err != nil {
			return fmt.Errorf("listen for connections: %w", err)
		}
	}
	return nil
}

// Set makes parts all that is in force.
func (a *Answer) Set(ctx context.Context, parts map[string]rule.Part) error {
	now, err := a.kernel.counts()
	if err != nil {
		return err
	}
	next := state{parts: make(map[string][]*served, len(parts))}
	for name, p := range parts {
		for i, r := range p {
			if err := check(r); err != nil {
				return fmt.Errorf("%s: rule %d: %w", name, i+1, err)
			}
			s := a.serves(name, i, r)
			if s == nil {
				s = serve(r)
				s.before = now
			}
			next.parts[name] = append(next.parts[name], s)
			next.want.add(r)
		}
	}
	if err := a.prepare(ctx, next.want); err != nil {
		return err
	}
	before := a.state
	if err := a.begin(before, next); err != nil {
		return errors.Join(err, a.begin(next, before))
	}
	a.state = next
	return a.finish(before)
}

// serves returns the rule that is in force already; nil if none is.
func (a *Answer) serves(name string, i int, r rule.Rule) *served {
	if was := a.state.parts[name]; i < len(was) && reflect.DeepEqual(was[i].Rule, r) {
		return was[i]
	}
	return nil
}

// begin puts a state into force in the place of another. What was led to the servers is still translated afterwards.
func (a *Answer) begin(from, to state) error {
	a.tell(to)
	w := to.want
	w.still = true
	if err := a.kernel.force(w, a.resolver, a.proxy); err != nil {
		return err
	}
	if to.want.lookups && !from.want.lookups {
		if err := a.kernel.forget(a.resolver, false); err != nil {
			return err
		}
	}
	for _, port := range to.want.ports {
		if slices.Contains(from.want.ports, port) {
			continue
		}
		n, err := a.kernel.reset(port)
		if err != nil {
			return err
		}
		to.count(port, n)
	}
	return nil
}

// finish ends what was in force before and is not now.
func (a *Answer) finish(before state) error {
	for _, s := range before.without(a.state) {
		close(s.over)
	}
	if a.proxy != nil {
		for port, n := range a.proxy.reset(*a.proxy.rules.Load()) {
			before.count(port, n)
		}
	}
	// Look-ups that were led to the resolver once, over a socket that is still in use, go on coming to it, and it answers
	// truly: nothing that is under way is lost. That takes the translation, which does nothing to others.
	w := a.state.want
	w.still = a.resolver != nil
	if err := a.kernel.force(w, a.resolver, a.proxy); err != nil {
		return err
	}
	now, err := a.kernel.counts()
	if err != nil {
		return err
	}
	a.ended = make(map[string]rule.Report)
	for name, part := range before.parts {
		if !slices.Equal(part, a.state.parts[name]) {
			a.ended[name] = report(part, now)
		}
	}
	return nil
}

// without lists the rules that another state has not.
func (s state) without(other state) []*served {
	var all []*served
	for name, part := range s.parts {
		for _, r := range part {
			if !slices.Contains(other.parts[name], r) {
				all = append(all, r)
			}
		}
	}
	return all
}

// count notes connections to a port that were reset.
func (s state) count(port uint16, n uint64) {
	for _, part := range s.parts {
		for _, r := range part {
			if slices.Contains(r.Ports, port) {
				r.resets.Add(n)
			}
		}
	}
}

func report(part []*served, now counts) rule.Report {
	said := make(rule.Report, len(part))
	for i, s := range part {
		said[i] = s.delivered()
		if s.silent() {
			said[i].Packets, said[i].Hit = now.lookups-s.before.lookups, now.dropped-s.before.dropped
		}
		for _, p := range s.Ports {
			said[i].Resets += now.rejected[p] - s.before.rejected[p]
		}
	}
	return said
}

// Read says what the parts in force have delivered, and once more of those that the last Set has ended.
func (a *Answer) Read(context.Context) (map[string]rule.Report, error) {
	now, err := a.kernel.counts()
	if err != nil {
		return nil, err
	}
	all := a.ended
	if all == nil {
		all = make(map[string]rule.Report)
	}
	a.ended = nil
	for name, part := range a.state.parts {
		all[name] = report(part, now)
	}
	return all, nil
}

// Close ends everything. It may be called twice.
func (a *Answer) Close() error {
	_, err := a.kernel.counts()
	if err == nil && len(a.state.parts) > 0 {
		err = a.Set(context.Background(), nil) // while what was led can still be told that it is over
	}
	if a.resolver != nil {
		err = errors.Join(err, a.kernel.forget(a.resolver, true))
	}
	err = errors.Join(err, a.kernel.Close())
	if a.proxy != nil {
		err = errors.Join(err, a.proxy.Close())
	}
	if a.resolver != nil {
		err = errors.Join(err, a.resolver.Close())
	}
	return err
}

// tell gives the servers their rules.
func (a *Answer) tell(s state) {
	var lookups []*served
	ports := make(map[uint16][]*served)
	for _, name := range slices.Sorted(maps.Keys(s.parts)) {
		for _, r := range s.parts[name] {
			switch {
			case r.Act == rule.HTTP:
				for _, p := range slices.Compact(slices.Sorted(slices.Values(r.Ports))) {
					ports[p] = append(ports[p], r)
				}
			case !r.silent():
				lookups = append(lookups, r)
			}
		}
	}
	if a.resolver != nil {
		a.resolver.rules.Store(&lookups)
	}
	if a.proxy != nil {
		a.proxy.rules.Store(&ports)
	}
}
