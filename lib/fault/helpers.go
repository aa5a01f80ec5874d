package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/target"
	"golang.org/x/sync/errgroup"
)

// A Tool is a kind of helper: a worker in a place.
type Tool struct {
	Place  target.Place
	Worker string // by the name that the program's kit has for it
	Volume string // of AtVolume: which
}

// Helpers are the helpers of one trial: one for each node and tool, whatever the number of faults that want
// something of it, so that faults on one node compose. It is safe for concurrent use. Who made it closes it.
type Helpers struct {
	in target.Enterer // nil: the driver has none

	mu     sync.Mutex
	open   map[post]*helper
	closed bool
	lost   chan Loss
}

// A Loss is a helper that has ended by itself, or was killed, while it kept something up.
type Loss struct {
	Node   string
	Tool   Tool
	Faults []string // whose parts it kept up
	Err    error
	// It last answered at Alive, and its end was seen at Seen, both on this machine's clock.
	Alive, Seen time.Time
}

type post struct {
	node string
	tool Tool
}

// A helper is one process beside one node, and what it keeps up.
type helper struct {
	mu    sync.Mutex  // held for each exchange
	id    string      // of the node that it was started in
	node  target.Node // as it was then
	agent *agent.Helper
	parts agent.Parts
	since map[string]time.Time // when each part was last put
	// doubt names parts of which nobody knows whether the kernel still has something: their helper ended, or failed, with
	// them. What makes parts all that is in force ends it.
	doubt map[string]bool
	spoke time.Time // when it last answered
}

// NewHelpers makes the helpers of a trial on a cluster.
func NewHelpers(c target.Cluster) *Helpers {
	in, _ := c.(target.Enterer)
	return &Helpers{in: in, open: make(map[post]*helper), lost: make(chan Loss, 64)}
}

// Lost tells of helpers that ended while they kept something up. What they kept up is over, as far as the kernel
// or the end of their stream ends it.
func (h *Helpers) Lost() <-chan Loss { return h.lost }

// Arm starts the helper that will be needed, and has it prepare a part; nil starts it alone.
func (h *Helpers) Arm(ctx context.Context, n target.Node, t Tool, name string, part any) error {
	one, err := h.at(ctx, n, t)
	if err != nil || part == nil {
		return err
	}
	raw, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	one.mu.Lock()
	a := one.agent
	one.mu.Unlock()
	if a == nil { // it has ended since
		return fmt.Errorf("%s: its helper is gone", n.Name)
	}
	if err := a.Arm(ctx, name, raw); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// Put has a node's helper keep up a part, beside those of other faults.
func (h *Helpers) Put(ctx context.Context, n target.Node, t Tool, name string, part any) (agent.Outcome, error) {
	raw, err := json.Marshal(part)
	if err != nil {
		return agent.Outcome{}, fmt.Errorf("%s: %w", n.Name, err)
	}
	one, err := h.at(ctx, n, t)
	if err != nil {
		return agent.Outcome{}, err
	}
	return one.change(ctx, n, name, raw)
}

// Drop ends a part. What it has delivered is in the outcome's Ended, by its name. A part that was dropped before is no
// error, and then there is no such entry; nor is there one for a part whose helper was lost: then Drop returns
// once a new helper in its place has ended what the kernel has still of it, and of all else that was lost with it.
func (h *Helpers) Drop(ctx context.Context, n target.Node, t Tool, name string) (agent.Outcome, error) {
	h.mu.Lock()
	one := h.open[post{n.Name, t}]
	h.mu.Unlock()
	if one == nil {
		return agent.Outcome{}, nil
	}
	there, alive, in := one.has(name)
	if !there {
		return agent.Outcome{}, nil
	}
	if !alive {
		var err error
		if one, err = h.at(ctx, in, t); err != nil {
			return agent.Outcome{}, fmt.Errorf("end what a lost helper may have left: %w", err)
		}
	}
	return one.change(ctx, n, name, nil)
}

// Died forgets the helpers that have ended with their node, and what they kept up: the node's end has ended it. Those
// that outlive it (in its network, which they hold open; at a volume) stay until [Helpers.Restarted].
func (h *Helpers) Died(node string) {
	of := make(map[post]*helper)
	h.mu.Lock()
	for at, one := range h.open {
		if at.node == node {
			of[at] = one
		}
	}
	h.mu.Unlock()
	for at, one := range of {
		one.mu.Lock()
		if !one.alive() {
			h.forget(at, one)
		}
		one.mu.Unlock() // only now: else another could be started in it meanwhile
	}
}

// held is how long a part has been in force since it was last put.
func (h *Helpers) held(n target.Node, t Tool, name string) (time.Duration, bool) {
	h.mu.Lock()
	one := h.open[post{n.Name, t}]
	h.mu.Unlock()
	if one == nil {
		return 0, false
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	since, ok := one.since[name]
	return time.Since(since), ok
}

// Restarted forgets the helpers of a node that has restarted: they are in what it was, and what they kept up
// is over with it. The next Put starts new ones.
func (h *Helpers) Restarted(node string) error {
	h.mu.Lock()
	var old []*helper
	for at, one := range h.open {
		if at.node == node {
			old = append(old, one)
			delete(h.open, at) // first, so that its end is no loss
		}
	}
	h.mu.Unlock()
	var errs []error
	for _, one := range old {
		one.mu.Lock()
		if one.agent != nil {
			errs = append(errs, one.agent.Close())
		}
		one.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Read says what a part has delivered so far.
func (h *Helpers) Read(ctx context.Context, n target.Node, t Tool, name string) (json.RawMessage, error) {
	h.mu.Lock()
	one := h.open[post{n.Name, t}]
	h.mu.Unlock()
	if one == nil {
		return nil, fmt.Errorf("%s: there is no helper", n.Name)
	}
	one.mu.Lock()
	a := one.agent
	one.mu.Unlock()
	if a == nil {
		return nil, fmt.Errorf("%s: its helper is gone", n.Name)
	}
	parts, err := a.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	return parts[name], nil
}

// Ping asks every helper that keeps something up whether it is there, all at once and for at most limit, so that the Alive
// of a [Loss] is no older than the last ping. A helper that does not answer is not lost for that: it may be frozen with
// its node.
func (h *Helpers) Ping(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h.mu.Lock()
	open := slices.Collect(maps.Values(h.open))
	h.mu.Unlock()
	var all sync.WaitGroup
	for _, one := range open {
		all.Go(func() { one.ping(ctx) })
	}
	all.Wait()
}

// ping leaves alone a helper with which an exchange is under way.
func (o *helper) ping(ctx context.Context) {
	if !o.mu.TryLock() {
		return
	}
	a, idle := o.agent, len(o.parts) == 0
	o.mu.Unlock()
	if a == nil || idle {
		return
	}
	asked := time.Now()
	if _, err := a.Read(ctx); err != nil {
		return
	}
	if o.mu.TryLock() {
		if o.agent == a && o.spoke.Before(asked) {
			o.spoke = asked
		}
		o.mu.Unlock()
	}
}

// Close ends every helper, and with it all that it keeps up.
func (h *Helpers) Close() error {
	h.mu.Lock()
	h.closed = true
	open := slices.Collect(maps.Values(h.open))
	clear(h.open)
	h.mu.Unlock()
	var all errgroup.Group
	errs := make([]error, len(open))
	for i, one := range open {
		all.Go(func() error {
			one.mu.Lock()
			a := one.agent
			one.mu.Unlock()
			if a != nil { // else one was lost, and could not be started again to end what it left
				errs[i] = a.Close()
			}
			return nil // every helper is closed, whatever the others say
		})
	}
	_ = all.Wait() // never an error, see above
	return errors.Join(errs...)
}

// at returns the helper of a node, and starts it where there is none, or none in the node as it is now.
func (h *Helpers) at(ctx context.Context, n target.Node, t Tool) (*helper, error) {
	if h.in == nil {
		return nil, fmt.Errorf("%s: this driver has no helpers", n.Name)
	}
	at := post{n.Name, t}
	one, err := h.hold(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	defer one.mu.Unlock()
	if one.alive() && one.id == n.ID {
		return one, nil
	}
	if one.agent != nil {
		_ = one.agent.Close() // it was in another container of that name, or has ended
	}
	p, err := h.in.Enter(ctx, n, t.Place, t.Volume, "helper", t.Worker)
	if err == nil {
		one.agent, err = agent.DialHelper(ctx, p)
	}
	if one.id == n.ID {
		one.suspect(one.parts) // its end may not have been told yet
	}
	if err != nil {
		one.agent = nil
		if len(one.doubt) == 0 { // else somebody has to end that yet
			h.forget(at, one)
		}
		return nil, fmt.Errorf("start a helper in %s: %w", n.Name, err)
	}
	if one.id != n.ID { // another container: what was lost was lost with it
		one.doubt = nil
	}
	one.id, one.node, one.parts, one.since, one.spoke = n.ID, n, agent.Parts{}, make(map[string]time.Time), time.Now()
	go h.mourn(at, one, one.agent) // ends with the helper
	return one, nil
}

// hold returns a post's helper, or one that is still to be started, with its lock held. One that was taken out while we
// waited for the lock is passed over: nobody would ever end what is started in it.
func (h *Helpers) hold(ctx context.Context, at post) (*helper, error) {
	for {
		h.mu.Lock()
		one := h.open[at]
		if one == nil && !h.closed {
			one = &helper{}
			h.open[at] = one
		}
		h.mu.Unlock()
		if one == nil {
			return nil, errors.New("the trial is over")
		}
		one.mu.Lock()
		h.mu.Lock() // whoever has both takes this one last
		there := h.open[at] == one
		h.mu.Unlock()
		if there {
			return one, nil
		}
		one.mu.Unlock()
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
}

// forget takes a helper out that could not be started, or is of no use any more.
func (h *Helpers) forget(at post, one *helper) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[at] == one {
		delete(h.open, at)
	}
}

// mourn waits for the end of a helper and tells of it if it kept something up.
func (h *Helpers) mourn(at post, one *helper, a *agent.Helper) {
	<-a.Gone()
	h.mu.Lock()
	expected := h.closed || h.open[at] != one
	h.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if expected || one.agent != a || len(one.parts) == 0 {
		return
	}
	l := Loss{Node: at.node, Tool: at.tool, Faults: slices.Sorted(maps.Keys(one.parts)), Err: a.Close(), Alive: one.spoke, Seen: time.Now()}
	one.suspect(one.parts)
	one.parts = agent.Parts{}
	select {
	case h.lost <- l:
	default: // so many are lost that one more changes nothing
	}
}

func (o *helper) alive() bool {
	if o.agent == nil {
		return false
	}
	select {
	case <-o.agent.Gone():
		return false
	default:
		return true
	}
}

// has reports whether a part is in force or may be, whether the helper is there to end it, and in which node.
func (o *helper) has(name string) (there, alive bool, in target.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, put := o.parts[name]
	return put || o.doubt[name], o.alive(), o.node
}

// suspect remembers parts that may be in force without anybody who keeps them up.
func (o *helper) suspect(parts agent.Parts) {
	if o.doubt == nil {
		o.doubt = make(map[string]bool)
	}
	for name := range parts {
		o.doubt[name] = true
	}
}

// change makes the helper keep up another part of one name, or none. What was lost does not come back with it: its
// faults have been told that they are over.
func (o *helper) change(ctx context.Context, n target.Node, name string, part json.RawMessage) (agent.Outcome, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.agent == nil {
		return agent.Outcome{}, fmt.Errorf("%s: its helper is gone", n.Name)
	}
	next := maps.Clone(o.parts)
	if part != nil {
		next[name] = part
	} else {
		delete(next, name)
	}
	if len(o.parts) == 0 && len(o.doubt) > 0 && len(next) > 0 {
		// A worker looks for what one before it has left when nothing is wanted of it: before anything is put beside that.
		if out, err := o.agent.Set(ctx, agent.Parts{}); err != nil {
			return out, fmt.Errorf("%s: end what a lost helper may have left: %w", n.Name, err)
		}
		o.doubt = nil
	}
	out, err := o.agent.Set(ctx, next)
	if err != nil {
		o.suspect(agent.Parts{name: part})
		return out, fmt.Errorf("%s: %w", n.Name, err)
	}
	o.parts, o.doubt, o.spoke = next, nil, time.Now()
	if delete(o.since, name); part != nil {
		o.since[name] = o.spoke
	}
	return out, nil
}
