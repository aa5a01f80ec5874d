package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/netfault/table"
	"golang.org/x/sys/unix"
)

// A Queue carries out rules of the way nfqueue in one network namespace. Who made it closes it.
type Queue struct {
	loop   *loop
	table  *table.Table
	target target // how this kernel's rules queue packets

	slots    []*slot
	prepared map[place]int // how many slots the parts that were prepared need together
	copies   bool          // whether there are tables and chains that copy packets

	parts  map[string]part
	ended  map[string]rule.Report
	number uint16 // the last queue's
	index  uint64 // of the last rule, for its chance
	closed bool
}

// A place is where a rule's packets are queued: one act, one direction.
type place struct {
	act  rule.Act
	side string
}

// A slot is a chain at a hook, for one rule at a time. It stays when the rule goes: with a hook the kernel would drop all
// that waits in queues.
type slot struct {
	place
	chain *nftables.Chain
	used  bool
}

// A part is what is in force of one fault.
type part struct {
	rules rule.Part
	each  []*carried
}

// carried is one rule in force.
type carried struct {
	flow  *flow
	slots []*slot
}

var (
	_ netfault.Carrier  = (*Queue)(nil)
	_ netfault.Preparer = (*Queue)(nil)
)

const (
	tableName = "tutti-queue"
	firstName = 0x7475 // queue numbers of ours are from here on, far from those that programs take
	// queueLength is the kernel's limit for each queue: above ours, which counts what it lets through.
	queueLength = 2 * most
)

// New makes a queue for the network namespace of the calling thread. An error says what the kernel lacks.
func New() (*Queue, error) {
	t, err := table.Open(tableName)
	if err != nil {
		return nil, err
	}
	q := &Queue{
		table: t, parts: make(map[string]part), number: firstName - 1, prepared: make(map[place]int),
	}
	if q.target, err = choose(t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	socket, err := connect()
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if q.loop, err = start(socket); err != nil {
		_ = unix.Close(socket)
		return nil, errors.Join(err, t.Close())
	}
	number, err := q.bind(minimum, 0) // so that a kernel without queues says so now
	if err == nil {
		err = q.unbind(number)
	}
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// Prepare makes the chains that a part needs, beside those of all parts that were prepared before it. A rule that cannot be
// carried out is an error.
func (q *Queue) Prepare(_ context.Context, p rule.Part) error {
	if err := q.able(p); err != nil {
		return err
	}
	known := len(q.slots)
	for _, r := range p {
		for _, s := range sides(r.Direction) {
			at := place{r.Act, s.name}
			q.prepared[at]++
			if q.count(at) < q.prepared[at] {
				q.addSlot(at, s)
			}
		}
	}
	if len(q.slots) == known {
		return nil
	}
	if err := q.table.Flush(); err != nil {
		q.slots = q.slots[:known]
		return err
	}
	return nil
}

// able refuses what cannot be carried out.
func (q *Queue) able(p rule.Part) error {
	for i, r := range p {
		err := check(r)
		if err == nil && r.Act == rule.Duplicate && !q.copies {
			err = q.openCopies()
		}
		if err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return nil
}

// Set makes parts all that is in force. A part whose rules are the same goes on; one whose rules have changed ends and begins
// anew.
func (q *Queue) Set(_ context.Context, parts map[string]rule.Part) error {
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if err := q.able(parts[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	next, begun, err := q.begin(parts)
	if err != nil {
		return errors.Join(err, q.giveUp(begun))
	}
	var over []string
	for name, old := range q.parts {
		if p, ok := next[name]; !ok || p.each[0].flow != old.each[0].flow {
			over = append(over, name)
		}
	}
	slices.Sort(over)
	if err := q.swap(begun, over); err != nil {
		return errors.Join(err, q.giveUp(begun))
	}
	q.ended = make(map[string]rule.Report, len(over))
	var errs []error
	for _, name := range over {
		report, err := q.end(q.parts[name])
		q.ended[name] = report
		errs = append(errs, err)
	}
	q.parts = next
	return errors.Join(errs...)
}

// swap puts the rules of what has begun into force and takes away those of parts that are over, both at once.
func (q *Queue) swap(begun []*carried, over []string) error {
	known := len(q.slots)
	err := q.lead(begun)
	for _, name := range over {
		for _, c := range q.parts[name].each {
			for _, s := range c.slots {
				q.table.Conn.FlushChain(s.chain)
			}
		}
	}
	if err = errors.Join(err, q.table.Flush()); err != nil {
		for _, c := range begun {
			c.leave()
		}
		q.slots = q.slots[:known]
		return err
	}
	for _, name := range over {
		for _, c := range q.parts[name].each {
			c.leave()
		}
	}
	return nil
}

func (c *carried) leave() {
	for _, s := range c.slots {
		s.used = false
	}
}

// begin makes the queues of new parts, to which no rule leads yet.
func (q *Queue) begin(parts map[string]rule.Part) (next map[string]part, begun []*carried, err error) {
	next = make(map[string]part, len(parts))
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		rules := parts[name]
		if old, ok := q.parts[name]; ok && reflect.DeepEqual(old.rules, rules) {
			next[name] = old
			continue
		}
		if len(rules) == 0 {
			return nil, begun, fmt.Errorf("%s: there is no rule in it", name)
		}
		p := part{rules: rules}
		for i, r := range rules {
			c, err := q.one(r)
			if err != nil {
				return nil, begun, fmt.Errorf("%s: rule %d: %w", name, i+1, err)
			}
			begun = append(begun, c)
			p.each = append(p.each, c)
		}
		next[name] = p
	}
	return next, begun, nil
}

func (q *Queue) one(r rule.Rule) (*carried, error) {
	bytes, flags := uint32(minimum), uint32(cfgFailOpen)
	switch r.Act {
	case rule.Delay:
		flags |= cfgSegments
	case rule.Corrupt:
		bytes = 0xffff
	default: // nothing of the packet is looked at, and segments count as packets
	}
	number, err := q.bind(bytes, flags)
	if err != nil {
		return nil, err
	}
	q.index++
	c := &carried{}
	err = q.loop.do(func() error {
		c.flow = q.loop.add(number, r, q.index)
		return nil
	})
	return c, err
}

// minimum is how much of each packet we want where we look at none of it, in bytes: with it comes the packet's length.
const minimum = 8

// bind takes the next queue that nobody has.
func (q *Queue) bind(bytes, flags uint32) (uint16, error) {
	var last error
	for range 1000 {
		if q.number++; q.number < firstName {
			q.number = firstName // after 65,535
		}
		number := q.number
		err := q.loop.do(func() error {
			return q.loop.ask(func(seq uint32) []byte { return bind(seq, number, bytes, queueLength, flags) })
		})
		switch {
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EPERM): // somebody has it
			last = err
		case err != nil:
			return 0, fmt.Errorf("ask the kernel for a packet queue (NFQUEUE): %w", err)
		default:
			return number, nil
		}
	}
	return 0, fmt.Errorf("ask the kernel for a packet queue (NFQUEUE): a thousand are taken: %w", last)
}

func (q *Queue) unbind(number uint16) error {
	err := q.loop.do(func() error {
		return q.loop.ask(func(seq uint32) []byte { return unbind(seq, number) })
	})
	if err != nil {
		return fmt.Errorf("give a packet queue back: %w", err)
	}
	return nil
}

// end lets go what a part holds, whose rules the kernel does not have any more, and says what came of it.
func (q *Queue) end(p part) (rule.Report, error) {
	var report rule.Report
	var errs []error
	for _, c := range p.each {
		err := q.loop.do(func() error { return q.loop.finish(c.flow) })
		errs = append(errs, err)
		report = append(report, c.flow.report())
		if err == nil {
			errs = append(errs, q.unbind(c.flow.number))
		}
	}
	return report, errors.Join(errs...)
}

// giveUp ends what has begun and is in no rule of the kernel.
func (q *Queue) giveUp(begun []*carried) error {
	var errs []error
	for _, c := range begun {
		err := q.loop.do(func() error { return q.loop.finish(c.flow) })
		if err == nil {
			err = q.unbind(c.flow.number)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Read says what each part has delivered so far, and what those have that the last Set has ended.
func (q *Queue) Read(context.Context) (map[string]rule.Report, error) {
	reports := make(map[string]rule.Report, len(q.parts)+len(q.ended))
	err := q.loop.do(func() error {
		for name, p := range q.parts {
			for _, c := range p.each {
				reports[name] = append(reports[name], c.flow.report())
			}
		}
		return nil
	})
	for name, r := range q.ended {
		if _, again := reports[name]; !again { // one that has changed has begun anew
			reports[name] = r
		}
	}
	return reports, err
}

// Close ends everything; what is held is let go. It may be called twice.
func (q *Queue) Close() error {
	if q.closed {
		return nil
	}
	q.closed = true
	err := q.Set(context.Background(), nil) // first: with the chains the kernel would drop what is held
	return errors.Join(err, q.loop.close(), q.table.Close())
}

// check refuses what the way cannot do.
func check(r rule.Rule) error {
	if err := r.Emulates(); err != nil {
		return err
	}
	for _, p := range r.Peers {
		if !p.IsValid() {
			return errors.New("a peer has no address")
		}
	}
	switch r.Direction {
	case "", rule.In, rule.Out, rule.Both:
		return nil
	}
	return fmt.Errorf("direction %q: it is in, out or both", r.Direction)
}
