package netfault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// Answer is what [Makers] call the carrier of the acts that have no way: DNS and HTTP.
const Answer = "answer"

// Makers make the carriers that a worker may need: one for each way of package rule, and [Answer]. A maker is called
// when its carrier is first needed, so that what a kernel lacks matters only to the faults that need it.
type Makers map[string]func() (Carrier, error)

// Worker keeps up the network faults of one namespace: it deals the rules of all parts out to the carriers of their
// ways, and makes of their reports one for each part.
type Worker struct {
	makers   Makers
	carriers map[string]Carrier
	force    map[string]rule.Part // what is in force, by the names of faults
}

var (
	_ agent.Worker = (*Worker)(nil)
	_ agent.Armer  = (*Worker)(nil)
)

// New makes a worker for the network namespace that the program runs in. Whoever made it closes it.
func New(makers Makers) *Worker {
	return &Worker{makers: makers, carriers: make(map[string]Carrier), force: make(map[string]rule.Part)}
}

// Arm makes the carriers of a part's rules and has them prepare.
func (w *Worker) Arm(ctx context.Context, name string, raw json.RawMessage) error {
	p, err := decode(name, raw)
	if err != nil {
		return err
	}
	for by, dealt := range deal(map[string]rule.Part{name: p}) {
		c, err := w.carrier(by)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if c, ok := c.(Preparer); ok {
			if err := c.Prepare(ctx, dealt[name]); err != nil {
				return fmt.Errorf("%s: %s: %w", name, by, err)
			}
		}
	}
	return nil
}

// Set makes parts all that is in force. If a carrier refuses, those that had changed before it are put back.
// Set to nothing where nothing is in force, it removes what a helper that was killed has left: qdiscs outlive one.
func (w *Worker) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	next := make(map[string]rule.Part, len(parts))
	for name, raw := range parts {
		p, err := decode(name, raw)
		if err != nil {
			return agent.Outcome{}, err
		}
		next[name] = p
	}
	was, is := deal(w.force), deal(next)
	concerned, err := w.concerned(was, is)
	if err != nil {
		return agent.Outcome{}, err
	}
	if len(concerned) == 0 && len(next) == 0 {
		concerned = w.lasting()
	}
	out := agent.Outcome{From: time.Now()}
	for i, by := range concerned {
		if err := w.carriers[by].Set(ctx, is[by]); err != nil {
			err = fmt.Errorf("%s: %w", by, err)
			for _, before := range slices.Backward(concerned[:i]) {
				if e := w.carriers[before].Set(ctx, was[before]); e != nil {
					err = errors.Join(err, fmt.Errorf("%s: put back what was in force: %w", before, e))
				}
			}
			out.To = time.Now()
			return out, err
		}
	}
	out.To = time.Now()
	before := w.force
	w.force = next
	out.Ended, err = w.ended(ctx, concerned, before)
	return out, err
}

// Read says what each part in force has delivered so far.
func (w *Worker) Read(ctx context.Context) (agent.Parts, error) {
	reports, err := w.read(ctx, slices.Sorted(maps.Keys(deal(w.force))))
	if err != nil {
		return nil, err
	}
	return merge(w.force, reports)
}

// Close ends all that is in force.
func (w *Worker) Close() error {
	var errs []error
	for _, by := range slices.Sorted(maps.Keys(w.carriers)) {
		if err := w.carriers[by].Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", by, err))
		}
	}
	clear(w.carriers)
	clear(w.force)
	return errors.Join(errs...)
}

// concerned makes and names the carriers for which something changes.
func (w *Worker) concerned(was, is map[string]map[string]rule.Part) ([]string, error) {
	all := maps.Clone(was)
	maps.Copy(all, is)
	var names []string
	for _, by := range slices.Sorted(maps.Keys(all)) {
		if reflect.DeepEqual(was[by], is[by]) {
			continue
		}
		if _, err := w.carrier(by); err != nil {
			return nil, err
		}
		names = append(names, by)
	}
	return names, nil
}

// lasting makes and names the carriers of what the kernel does not end by itself. One that cannot be made cannot have
// left anything.
func (w *Worker) lasting() []string {
	var names []string
	for _, by := range []string{rule.WayNetem, rule.WayTBF} {
		if _, err := w.carrier(by); err == nil {
			names = append(names, by)
		}
	}
	return names
}

func (w *Worker) carrier(by string) (Carrier, error) {
	if c, ok := w.carriers[by]; ok {
		return c, nil
	}
	maker, ok := w.makers[by]
	if !ok {
		return nil, fmt.Errorf("this program has nothing for the way %q", by)
	}
	c, err := maker()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", by, err)
	}
	w.carriers[by] = c
	return c, nil
}

// ended asks the carriers that were concerned what the parts that are over have delivered: they say it once.
func (w *Worker) ended(ctx context.Context, concerned []string, before map[string]rule.Part) (agent.Parts, error) {
	over := maps.Clone(before)
	maps.DeleteFunc(over, func(name string, _ rule.Part) bool {
		_, stays := w.force[name]
		return stays
	})
	reports, err := w.read(ctx, concerned)
	if err != nil {
		return nil, fmt.Errorf("it is done, but what was delivered is not known: %w", err)
	}
	if len(over) == 0 {
		return nil, nil
	}
	return merge(over, reports)
}

func (w *Worker) read(ctx context.Context, carriers []string) (map[string]map[string]rule.Report, error) {
	reports := make(map[string]map[string]rule.Report, len(carriers))
	for _, by := range carriers {
		var err error
		if reports[by], err = w.carriers[by].Read(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", by, err)
		}
	}
	return reports, nil
}

// by names the carrier of a rule.
func by(r rule.Rule) string {
	if r.Act == rule.DNS || r.Act == rule.HTTP {
		return Answer
	}
	return r.Way
}

// deal splits each part among the carriers of its rules, which stay in their order.
func deal(parts map[string]rule.Part) map[string]map[string]rule.Part {
	dealt := make(map[string]map[string]rule.Part)
	for name, p := range parts {
		for _, r := range p {
			c := by(r)
			if dealt[c] == nil {
				dealt[c] = make(map[string]rule.Part)
			}
			dealt[c][name] = append(dealt[c][name], r)
		}
	}
	return dealt
}

// merge undoes what deal does, for what carriers say of the parts.
func merge(parts map[string]rule.Part, reports map[string]map[string]rule.Report) (agent.Parts, error) {
	merged := make(agent.Parts, len(parts))
	for name, p := range parts {
		whole, taken := make(rule.Report, len(p)), make(map[string]int)
		for i, r := range p {
			c := by(r)
			said := reports[c][name]
			if taken[c] >= len(said) {
				return nil, fmt.Errorf("%s: %s says nothing of rule %d", name, c, i+1)
			}
			whole[i] = said[taken[c]]
			taken[c]++
		}
		raw, err := json.Marshal(whole)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		merged[name] = raw
	}
	return merged, nil
}

// decode reads a part and refuses what no carrier could do.
func decode(name string, raw json.RawMessage) (rule.Part, error) {
	var p rule.Part
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, r := range p {
		var err error
		switch {
		case !slices.Contains([]rule.Direction{"", rule.In, rule.Out, rule.Both}, r.Direction):
			err = fmt.Errorf("no direction: %q", r.Direction)
		case !(r.Share >= 0 && r.Share <= 1): // not a number is neither
			err = fmt.Errorf("share %v is not from 0 to 1", r.Share)
		case r.Delay < 0 || r.Jitter < 0:
			err = fmt.Errorf("a delay of %v ± %v", r.Delay, r.Jitter)
		case r.Rate < 0:
			err = fmt.Errorf("a rate of %d bit/s", r.Rate)
		case slices.ContainsFunc(r.Peers, func(a netip.Addr) bool { return !a.IsValid() }):
			err = errors.New("a peer without an address")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: rule %d, %s: %w", name, i+1, r.Act, err)
		}
	}
	return p, nil
}
