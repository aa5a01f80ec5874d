package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// stateWithin bounds how long a signal may take to show.
	stateWithin = 5 * time.Second
	stateEvery  = time.Millisecond
)

// A replica is one node through all its lives.
type replica struct {
	c       *cluster
	service target.Service
	number  int
	name    string
	address string // with a port where addresses are shared
	hidden  string // the address that it listens on itself, if that is another one
	front   *front // what stands on its address then; else nil
	dir     string // its home and working folder
	log     *nodeLog
	busy    chan struct{} // holds one token while something is done to it

	mu     sync.Mutex
	child  *child // its latest life; nil before the first
	paused bool
	health string
	output string // of the last healthcheck that failed
	over   bool   // its latest life, or it has not begun

	fronted  bool  // proxies stand in front of its ports
	frontErr error // why not
}

// status is what is known of a replica at one moment.
type status struct {
	child  *child
	paused bool
	health string

	fronted  bool // or need not be
	frontErr error
}

// add makes a replica that does not run yet.
func (c *cluster) add(ctx context.Context, service string, number int) (*replica, error) {
	svc := c.spec.Target.Services[service]
	name := target.ReplicaName(service, number)
	r := &replica{c: c, service: svc, number: number, name: name, dir: filepath.Join(c.dir, "node-"+name), busy: make(chan struct{}, 1)}
	if err := os.Mkdir(r.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	var err error
	if r.address, err = c.addresses.take(ctx, svc.Expose); err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	if c.spec.Proxied[service] {
		if r.hidden, err = c.addresses.take(ctx, svc.Expose); err != nil {
			c.addresses.give(r.address)
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		r.front = newFront(ctx, r.address, r.hidden)
	}
	file := ""
	if c.spec.LogDir != "" {
		file = filepath.Join(c.spec.LogDir, name+".log")
	}
	if r.log, err = newLog(file); err != nil {
		c.addresses.give(r.address)
		c.addresses.give(r.hidden)
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	c.mu.Lock()
	c.replicas[service] = append(c.replicas[service], r)
	c.mu.Unlock()
	return r, nil
}

// remove takes a replica that does not run off the list.
func (r *replica) remove() error {
	c := r.c
	c.mu.Lock()
	c.replicas[r.service.Name] = slices.DeleteFunc(c.replicas[r.service.Name], func(o *replica) bool { return o == r })
	c.mu.Unlock()
	if r.front != nil {
		r.front.close()
		c.addresses.give(r.hidden)
	}
	c.addresses.give(r.address)
	return errors.Join(r.log.close(), os.RemoveAll(r.dir), os.Remove(c.hostsFile(r.name)), c.writeHosts())
}

// listens is the address that the node itself listens on.
func (r *replica) listens() string {
	if r.front != nil {
		return r.hidden
	}
	return r.address
}

// env is the environment of the node's program and of its healthcheck.
func (r *replica) env() []string {
	env := r.c.environ(r.dir, r.c.hostsFile(r.name))
	vars := maps.Clone(r.service.Environment)
	if vars == nil {
		vars = make(map[string]string)
	}
	maps.Copy(vars, r.c.spec.Env)
	vars[target.EnvNode] = r.name
	vars[target.EnvListen] = r.listens()
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, k+"="+vars[k]) // the last one counts
	}
	return env
}

// launch starts the node's program.
func (r *replica) launch() error {
	args := slices.Clone(r.service.Command)
	if len(r.service.Entrypoint) > 1 {
		args = slices.Concat(r.service.Entrypoint[1:], args)
	}
	cmd := command(r.c.programs[r.service.Name].path, args)
	cmd.Dir, cmd.Env = r.dir, r.env()
	if _, err := r.c.spawn(cmd, r.log, r.started, r.ended); err != nil {
		return fmt.Errorf("start node %s: %w", r.name, err)
	}
	return nil
}

func (r *replica) started(ch *child) error {
	if err := r.c.register(ch); err != nil {
		return err
	}
	r.mu.Lock()
	r.child, r.paused, r.health, r.output, r.over = ch, false, "", "", false
	r.fronted, r.frontErr = r.front == nil, nil
	if r.front != nil {
		r.c.children.Add(1) // as below
		go func() {
			defer r.c.children.Done()
			r.watchPorts(ch)
		}()
	}
	if checked(r.service) {
		r.health = starting
		r.c.children.Add(1) // Down waits for it; the child holds the count above zero
		go func() {
			defer r.c.children.Done()
			r.checkHealth(ch)
		}()
	}
	r.mu.Unlock()
	r.c.tell(time.Now(), r.name, record.NodeStart, fmt.Sprintf("process %d", ch.cmd.Process.Pid))
	r.c.notify()
	return nil
}

func (r *replica) ended(ch *child) {
	r.mu.Lock()
	r.paused, r.over = false, true
	if r.front != nil {
		_ = r.front.serves(nil) // to open nothing cannot fail
	}
	r.mu.Unlock()
	r.c.tell(ch.ended, r.name, record.NodeDie, ended(ch.state))
}

func (r *replica) status() status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return status{child: r.child, paused: r.paused, health: r.health, fronted: r.fronted, frontErr: r.frontErr}
}

// node describes the replica as it is.
func (r *replica) node() target.Node {
	n := target.Node{
		Name:    r.name,
		Service: r.service.Name,
		Replica: r.number,
		Host:    r.name,
		Address: r.address, Addresses: []string{r.address},
		Image: r.c.programs[r.service.Name].digest,
		Zone:  r.service.Labels[target.LabelZone],
	}
	if ch := r.status().child; ch != nil {
		n.ID = strconv.Itoa(ch.cmd.Process.Pid)
	}
	return n
}

func (r *replica) endedEarly(ch *child) error {
	what := fmt.Sprintf("node %s ended early: %s", r.name, ended(ch.state))
	if text := r.log.end(); text != "" {
		return fmt.Errorf("%s; the end of its log:\n%s", what, text)
	}
	return fmt.Errorf("%s; it printed nothing", what)
}

func (r *replica) isUnhealthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Errorf("node %s is unhealthy: its healthcheck says: %s", r.name, r.output)
}

func (r *replica) isNotFronted() error {
	return fmt.Errorf("node %s: %w", r.name, r.status().frontErr)
}

// hold reserves the replica for one action at a time. The returned func releases it.
func (c *cluster) hold(ctx context.Context, n target.Node) (*replica, func(), error) {
	r, err := c.find(n)
	if err != nil {
		return nil, nil, err
	}
	select {
	case r.busy <- struct{}{}:
		return r, func() { <-r.busy }, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// holdRunning is hold for a node that must run.
func (c *cluster) holdRunning(ctx context.Context, n target.Node) (*replica, *child, func(), error) {
	r, release, err := c.hold(ctx, n)
	if err != nil {
		return nil, nil, nil, err
	}
	ch := r.status().child
	if ch == nil || ch.isDone() {
		release()
		return nil, nil, nil, errors.New("it does not run")
	}
	return r, ch, release, nil
}

// Kill ends a node by SIGKILL.
func (c *cluster) Kill(ctx context.Context, n target.Node) (target.Effect, error) {
	r, ch, release, err := c.holdRunning(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("kill %s: %w", n.Name, err)
	}
	defer release()
	from := time.Now()
	if err := c.kill(ch); err != nil {
		return target.Effect{}, fmt.Errorf("kill %s: %w", n.Name, err)
	}
	if err := awaitEnd(ch); err != nil { // whatever ctx says: what comes next has to know what the node is
		return target.Effect{}, fmt.Errorf("kill %s: %w", n.Name, err)
	}
	if ctx.Err() != nil {
		return target.Effect{}, fmt.Errorf("kill %s: %w", n.Name, context.Cause(ctx))
	}
	if !wasKilled(ch.state) {
		return target.Effect{}, fmt.Errorf("kill %s: it ended before it was killed: %s", n.Name, ended(ch.state))
	}
	return target.Effect{Node: r.node(), From: from, To: ch.ended, Source: "wait status", Proof: ended(ch.state)}, nil
}

// awaitEnd waits for the end of a child that was killed.
func awaitEnd(ch *child) error {
	timer := time.NewTimer(stateWithin)
	defer timer.Stop()
	select {
	case <-ch.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("it is not dead %v after it was killed", stateWithin)
	}
}

// Start starts a dead node again at its address.
func (c *cluster) Start(ctx context.Context, n target.Node) (target.Effect, error) {
	r, release, err := c.hold(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("start %s: %w", n.Name, err)
	}
	defer release()
	if ch := r.status().child; ch != nil && !ch.isDone() {
		return target.Effect{}, fmt.Errorf("start %s: it runs already", n.Name)
	}
	from := time.Now()
	if err := r.launch(); err != nil {
		return target.Effect{}, err
	}
	return target.Effect{Node: r.node(), From: from, To: time.Now(), Source: "process start", Proof: "process " + r.node().ID}, nil
}

// Crash ends a node by SIGKILL, as Kill does: a process has no other host to live on. The service's restart policy is not
// honoured here.
func (c *cluster) Crash(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.Kill(ctx, n)
}

// Revive starts a node unless it runs.
func (c *cluster) Revive(ctx context.Context, n target.Node) (target.Effect, error) {
	r, err := c.find(n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("revive %s: %w", n.Name, err)
	}
	if ch := r.status().child; ch != nil && !ch.isDone() {
		now := time.Now()
		return target.Effect{Node: r.node(), From: now, To: now, Source: "process state", Proof: "process " + r.node().ID + " runs already"}, nil
	}
	return c.Start(ctx, n)
}

// Stop sends the stop signal and, after grace, SIGKILL.
func (c *cluster) Stop(ctx context.Context, n target.Node, grace time.Duration) (target.Effect, error) {
	r, ch, release, err := c.holdRunning(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("stop %s: %w", n.Name, err)
	}
	defer release()
	if grace < 0 {
		grace = r.service.StopGrace
	}
	return r.stop(ctx, ch, grace)
}

func (r *replica) stop(ctx context.Context, ch *child, grace time.Duration) (target.Effect, error) {
	from := time.Now()
	if err := stopOne(ch.cmd.Process, r.service.StopSignal); err != nil {
		return target.Effect{}, fmt.Errorf("stop %s: %w", r.name, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	late := ""
	select {
	case <-ch.done:
	case <-timer.C:
		late = fmt.Sprintf(" after a grace of %s", grace)
	case <-ctx.Done(): // it has its signal: what comes next has to know what the node is
		late = " when it was given up"
	}
	if late != "" {
		if err := r.c.kill(ch); err != nil {
			return target.Effect{}, fmt.Errorf("stop %s: %w", r.name, err)
		}
		if err := awaitEnd(ch); err != nil {
			return target.Effect{}, fmt.Errorf("stop %s: %w", r.name, err)
		}
	}
	if ctx.Err() != nil {
		return target.Effect{}, fmt.Errorf("stop %s: %w", r.name, context.Cause(ctx))
	}
	return target.Effect{Node: r.node(), From: from, To: ch.ended, Source: "wait status", Proof: ended(ch.state) + late}, nil
}

// Pause freezes a node.
func (c *cluster) Pause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.freeze(ctx, n, true)
}

// Unpause lets a frozen node go on. One that has died meanwhile, or restarted, is not frozen any more: that is told, and
// no error.
func (c *cluster) Unpause(ctx context.Context, n target.Node) (target.Effect, error) {
	e, err := c.freeze(ctx, n, false)
	if err == nil {
		return e, nil
	}
	r, there := c.find(n)
	if there != nil {
		return target.Effect{}, err
	}
	if ch := r.status().child; ch != nil && !ch.isDone() && !errors.Is(err, errNothingToDo) {
		return target.Effect{}, err
	}
	now := time.Now()
	return target.Effect{Node: r.node(), From: now, To: now, Source: "process state", Proof: "it was not frozen any more"}, nil
}

var errNothingToDo = errors.New("there is nothing to do")

func (c *cluster) freeze(ctx context.Context, n target.Node, want bool) (target.Effect, error) {
	verb, kind, signal := "pause", record.NodePause, freezeGroup
	if !want {
		verb, kind, signal = "unpause", record.NodeUnpause, thawGroup
	}
	r, ch, release, err := c.holdRunning(ctx, n)
	if err != nil {
		return target.Effect{}, fmt.Errorf("%s %s: %w", verb, n.Name, err)
	}
	defer release()
	if r.status().paused == want {
		return target.Effect{}, fmt.Errorf("%s %s: %w", verb, n.Name, errNothingToDo)
	}
	from := time.Now()
	if err := signal(ch.cmd.Process); err != nil {
		return target.Effect{}, fmt.Errorf("%s %s: %w", verb, n.Name, err)
	}
	r.mu.Lock()
	r.paused = want // it has its signal, whatever comes
	r.mu.Unlock()
	proof, err := awaitFrozen(context.WithoutCancel(ctx), ch, want)
	if err != nil {
		return target.Effect{}, fmt.Errorf("%s %s: %w", verb, n.Name, err)
	}
	to := time.Now()
	c.tell(to, r.name, kind, proof)
	if ctx.Err() != nil {
		return target.Effect{}, fmt.Errorf("%s %s: %w", verb, n.Name, context.Cause(ctx))
	}
	return target.Effect{Node: r.node(), From: from, To: to, Source: "process state", Proof: proof}, nil
}

// awaitFrozen waits until the system says that a process is stopped, or is not.
func awaitFrozen(ctx context.Context, ch *child, want bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stateWithin)
	defer cancel()
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		is, proof, err := frozen(ch.cmd.Process.Pid)
		if err != nil {
			return "", err
		}
		if is == want {
			return proof, nil
		}
		select {
		case <-tick.C:
		case <-ch.done:
			return "", fmt.Errorf("it ended: %s", ended(ch.state))
		case <-ctx.Done():
			return "", fmt.Errorf("it does not show: %s: %w", proof, context.Cause(ctx))
		}
	}
}

// Scale adds replicas, or stops and removes the highest ones.
func (c *cluster) Scale(ctx context.Context, service string, n int) ([]target.Effect, error) {
	what := fmt.Sprintf("scale %s to %d", service, n)
	if _, ok := c.spec.Target.Services[service]; !ok || n < 0 {
		return nil, fmt.Errorf("%s: there is no such service or number", what)
	}
	c.scaling.Lock()
	defer c.scaling.Unlock()
	var effects []target.Effect
	for {
		now := c.of(service)
		if len(now) == n {
			return effects, nil
		}
		change := c.grow
		if len(now) > n {
			change = c.shrink
		}
		e, err := change(ctx, service, now)
		if err != nil {
			return effects, fmt.Errorf("%s: %w", what, err)
		}
		effects = append(effects, e)
	}
}

func (c *cluster) grow(ctx context.Context, service string, now []*replica) (target.Effect, error) {
	from := time.Now()
	r, err := c.add(ctx, service, len(now)+1)
	if err != nil {
		return target.Effect{}, err
	}
	if err = c.writeHosts(); err == nil {
		err = r.launch()
	}
	if err != nil {
		return target.Effect{}, errors.Join(err, r.remove())
	}
	return target.Effect{Node: r.node(), From: from, To: time.Now(), Source: "process start", Proof: "process " + r.node().ID}, nil
}

func (c *cluster) shrink(ctx context.Context, _ string, now []*replica) (target.Effect, error) {
	last := now[len(now)-1]
	r, release, err := c.hold(ctx, last.node())
	if err != nil {
		return target.Effect{}, err
	}
	defer release()
	from := time.Now()
	e := target.Effect{Node: r.node(), From: from, To: from, Source: "wait status", Proof: "it did not run"}
	if ch := r.status().child; ch != nil && !ch.isDone() {
		if e, err = r.stop(ctx, ch, r.service.StopGrace); err != nil {
			return target.Effect{}, err
		}
	}
	if err := r.remove(); err != nil {
		return target.Effect{}, err
	}
	c.tell(time.Now(), r.name, record.NodeRemove, "scaled away")
	return e, nil
}
