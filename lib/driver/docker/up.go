package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	pollFirst = 50 * time.Millisecond
	pollMost  = 500 * time.Millisecond

	// restartLimit is how long a replica that its restart policy brings back may take to be ready: the
	// engine's pauses between tries double from 100 ms up to a minute.
	restartLimit = time.Minute
)

// cluster is one running target.
type cluster struct {
	d       *Driver
	spec    target.Spec
	project string
	nets    map[string]*subnet // by the target's name for them
	events  *stream
	logs    *logs
	gate    chan struct{} // bounds the engine calls in flight
	running sync.WaitGroup

	mu       sync.Mutex
	replicas map[string]*replica // by name
	agents   int                 // attached processes so far
	helpers  int                 // helpers so far
	free     []int               // agents' places given back
	downing  bool
	downMu   sync.Mutex
	gone     bool            // Down succeeded; guarded by downMu
	tested   map[string]bool // replicas whose healthcheck we have seen succeed, see early
	warned   map[string]bool
	skew     time.Duration
	frozen   map[string]*freezes // by container

	keeper    *agent.Helper // keeps the bounded volumes mounted; nil: there are none
	crashTurn chan struct{} // holds one token: whoever has it owns crasher
	crasher   *agent.Helper // ends nodes' processes; nil: not needed yet
}

// replica is one node and the service that it belongs to.
type replica struct {
	node    target.Node
	service target.Service
}

// check refuses what this driver cannot run, before anything is made.
func check(t *target.Target) error {
	for _, name := range sortedKeys(t.Services) {
		s := t.Services[name]
		for _, dep := range s.DependsOn {
			if _, ok := t.Services[dep.Service]; !ok && dep.Required {
				return fmt.Errorf("service %s depends on %s, which is not there", name, dep.Service)
			}
		}
		for n := range s.Networks {
			if _, ok := t.Networks[n]; !ok {
				return fmt.Errorf("service %s: network %s is not declared", name, n)
			}
		}
		if _, err := restartPolicy(s); err != nil {
			return err
		}
		for _, m := range s.Mounts {
			if !slices.Contains([]string{"volume", "bind", "tmpfs"}, m.Kind) {
				return fmt.Errorf("service %s: mount of kind %q at %s is not supported", name, m.Kind, m.Target)
			}
		}
	}
	return acyclic(t)
}

// acyclic refuses depends_on in a circle: each would wait for the other.
func acyclic(t *target.Target) error {
	const visiting, done = 1, 2
	state := make(map[string]int)
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case visiting:
			return fmt.Errorf("service %s depends on itself through depends_on", name)
		case done:
			return nil
		}
		state[name] = visiting
		for _, dep := range t.Services[name].DependsOn {
			if err := visit(dep.Service); err != nil {
				return err
			}
		}
		state[name] = done
		return nil
	}
	for _, name := range sortedKeys(t.Services) {
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}

// Up starts a target.
func (d *Driver) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	if s.Progress == nil {
		s.Progress = func(string) {}
	}
	if s.Watch == nil {
		s.Watch = func(target.NodeEvent) {}
	}
	if s.Run == "" || s.Trial == "" {
		return nil, errors.New("start the target: a run and a trial are needed, to label what is made")
	}
	if _, err := d.info(ctx); err != nil {
		return nil, err
	}
	if err := check(s.Target); err != nil {
		return nil, err
	}
	c := &cluster{
		d: d, spec: s, project: projectName(s.Run, s.Trial),
		nets: make(map[string]*subnet), replicas: make(map[string]*replica), tested: make(map[string]bool),
		gate: make(chan struct{}, atOnce), warned: make(map[string]bool), crashTurn: make(chan struct{}, 1),
	}
	c.crashTurn <- struct{}{}
	if err := c.up(ctx); err != nil {
		if left := c.Down(ctx); left != nil {
			err = errors.Join(err, target.ErrLeft, left)
		}
		return nil, err
	}
	return c, nil
}

// projectName is a valid Compose project: lower case, digits, - and _.
func projectName(run, trial string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, "tutti-"+run+"-"+trial)
}

func (c *cluster) up(ctx context.Context) error {
	var err error
	if c.logs, err = openLogs(c.d.api, c.spec.LogDir, c.spec.Progress); err != nil {
		return err
	}
	for _, note := range c.notes() {
		c.spec.Progress(note)
	}
	now, err := c.engineTime(ctx)
	if err != nil {
		return err
	}
	// Subscribed before the first container: no event of ours is missed.
	c.events = follow(ctx, c.d.api, c.filter("container"), now.Add(-time.Second), c.tell, c.spec.Progress)
	if err := c.makeNetworks(ctx); err != nil {
		return err
	}
	if err := c.makeVolumes(ctx); err != nil {
		return err
	}
	if err := c.makeTools(ctx); err != nil {
		return err
	}
	if err := c.createAll(ctx); err != nil {
		return err
	}
	if err := c.startAll(ctx); err != nil {
		return err
	}
	return c.armCrash(ctx)
}

// filter selects what belongs to this trial; kind "" selects everything.
func (c *cluster) filter(kind string) filters.Args {
	args := filters.NewArgs(
		filters.Arg("label", target.LabelRun+"="+c.spec.Run),
		filters.Arg("label", target.LabelTrial+"="+c.spec.Trial))
	if kind != "" {
		args.Add("type", kind)
	}
	return args
}

// isDown reports whether Down has begun.
func (c *cluster) isDown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.downing
}

// tell passes on what happens to nodes, until Down begins: what that does is no news.
func (c *cluster) tell(m events.Message) {
	e, ok := nodeEvent(m)
	if !ok || c.isDown() {
		return
	}
	switch e.Kind {
	case record.NodeStart:
		c.logs.started(e.Node, m.Actor.ID)
	case record.NodeDie:
		c.logs.ended(e.Node, e.At)
	case record.NodePause, record.NodeUnpause:
		if c.isEcho(m.Actor.ID, e.Kind) {
			return
		}
	}
	c.spec.Watch(e)
}

// engineTime reads the engine's clock, and keeps how far ours is from it. On a local
// engine that is nothing; a remote one, or a virtual machine, has its own.
func (c *cluster) engineTime(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sent := time.Now()
	info, err := c.d.api.Info(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the engine for its time: %w", err)
	}
	now, err := time.Parse(time.RFC3339Nano, info.SystemTime)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the engine for its time: %w", err)
	}
	got := time.Now()
	// Its clock was read between sent and got, so the skew lies between now−got and
	// now−sent. The lower one keeps [cluster.before] a lower bound.
	if low, high := now.Sub(got), now.Sub(sent); low > 0 || high < 0 {
		c.skew = low
	}
	return now, nil
}

// before is a moment on the engine's clock that is not later than this one.
func (c *cluster) before() time.Time { return time.Now().Add(c.skew).Round(0) }

// whole makes a context for a call that makes something. It is not cut short by a
// Ctrl-C: the engine would finish it all the same, after we have looked for what is there.
func whole(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
}

// createAll makes every container, not started.
func (c *cluster) createAll(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, name := range sortedKeys(c.spec.Target.Services) {
		s := c.spec.Target.Services[name]
		for n := 1; n <= c.spec.Replicas(name); n++ {
			all.Go(func() error { _, err := c.createReplica(ctx, s, n); return err })
		}
	}
	return all.Wait()
}

// enter takes one of the places for engine calls.
func (c *cluster) enter(ctx context.Context) (leave func(), err error) {
	select {
	case c.gate <- struct{}{}:
		return func() { <-c.gate }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cluster) createReplica(ctx context.Context, s target.Service, n int) (*replica, error) {
	leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	host, err := c.nodeHost(s)
	if err != nil {
		return nil, err
	}
	name := replicaName(s.Name, n)
	ends := c.endpointsOf(s, n)
	id, img, err := c.d.createFrom(ctx, func() (imageRef, error) {
		img, err := c.d.image(ctx, s, c.spec.Progress)
		if err != nil {
			err = fmt.Errorf("service %s: %w", s.Name, err)
		}
		return img, err
	}, func(img imageRef) (string, error) {
		return c.create(ctx, c.project+"-"+name, c.nodeConfig(s, n, img), host, ends)
	})
	if err != nil {
		return nil, err
	}
	if err := c.putFiles(ctx, id, s.Files); err != nil {
		return nil, fmt.Errorf("service %s: %w", s.Name, err)
	}
	r := &replica{service: s, node: target.Node{
		Name: name, Service: s.Name, Replica: n, Host: name, ID: id,
		Image: img.digest, Zone: s.Labels[target.LabelZone],
	}}
	if h := c.hostname(s); h != "" {
		r.node.Host = h
	}
	for _, e := range ends {
		r.node.Addresses = append(r.node.Addresses, e.address)
	}
	if len(ends) > 0 {
		r.node.Address = ends[0].address
	}
	c.mu.Lock()
	c.replicas[name] = r
	c.mu.Unlock()
	return r, nil
}

// startAll starts the services as their depends_on allow, and returns when every
// replica runs and is healthy.
func (c *cluster) startAll(up context.Context) error {
	services := c.spec.Target.Services
	started := make(map[string]chan struct{})
	for name := range services {
		started[name] = make(chan struct{})
	}
	all, ctx := errgroup.WithContext(up)
	for name, s := range services {
		all.Go(func() error {
			for _, dep := range s.DependsOn {
				if err := c.awaitDependency(ctx, s, dep, started[dep.Service]); err != nil {
					return err
				}
			}
			if err := c.startService(ctx, s); err != nil {
				return err
			}
			close(started[name])
			return c.awaitService(ctx, name, c.final(name))
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	// A replica without a healthcheck may have ended while others became healthy.
	for _, n := range c.Nodes() {
		r := &replica{node: n, service: c.spec.Target.Services[n.Service]}
		if err := c.await(up, r, c.final(n.Service)); err != nil {
			return err
		}
	}
	return nil
}

// final is the condition that Up leaves a service in: one that others need completed
// need not run any more.
func (c *cluster) final(service string) string {
	for _, s := range c.spec.Target.Services {
		for _, dep := range s.DependsOn {
			if dep.Service == service && dep.Condition == target.Completed {
				return target.Completed
			}
		}
	}
	return ready
}

// ready is Up's own condition: running, and healthy if there is a healthcheck.
const ready = "ready"

func (c *cluster) awaitDependency(ctx context.Context, s target.Service, dep target.Dependency, started <-chan struct{}) error {
	if _, ok := c.spec.Target.Services[dep.Service]; !ok {
		c.spec.Progress(fmt.Sprintf("%s: its optional dependency %s is not there", s.Name, dep.Service))
		return nil
	}
	select {
	case <-started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if dep.Condition == "" || dep.Condition == target.Started {
		return nil
	}
	err := c.awaitService(ctx, dep.Service, dep.Condition)
	if err != nil && !dep.Required && ctx.Err() == nil {
		c.spec.Progress(fmt.Sprintf("%s: its optional dependency is not met: %v", s.Name, err))
		return nil
	}
	return err
}

// of lists a service's replicas, by number.
func (c *cluster) of(service string) []*replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*replica
	for _, r := range c.replicas {
		if r.node.Service == service {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *replica) int { return a.node.Replica - b.node.Replica })
	return list
}

func (c *cluster) startService(ctx context.Context, s target.Service) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, r := range c.of(s.Name) {
		all.Go(func() error {
			leave, err := c.enter(ctx)
			if err != nil {
				return err
			}
			defer leave()
			ctx, cancel := whole(ctx)
			defer cancel()
			if err := c.d.api.ContainerStart(ctx, r.node.ID, container.StartOptions{}); err != nil {
				return fmt.Errorf("start %s: %w", r.node.Name, err)
			}
			return nil
		})
	}
	return all.Wait()
}

func (c *cluster) awaitService(ctx context.Context, service, condition string) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, r := range c.of(service) {
		all.Go(func() error { return c.await(ctx, r, condition) })
	}
	return all.Wait()
}

// await polls a container until a condition holds, or can no longer.
func (c *cluster) await(ctx context.Context, r *replica, condition string) error {
	pause := pollFirst
	var restarting time.Time // since when it is known to
	for {
		got, err := c.d.api.ContainerInspect(ctx, r.node.ID)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", r.node.Name, err)
		}
		held, problem := holds(got.State, condition)
		if got.State.Restarting && restarting.IsZero() {
			restarting = time.Now()
		}
		if !held && !restarting.IsZero() && time.Since(restarting) > restartLimit {
			problem = fmt.Sprintf("is not ready %v after it began to restart; it ended with exit code %d, for the %dth time", restartLimit, got.State.ExitCode, got.RestartCount)
		}
		if problem != "" {
			return fmt.Errorf("%s %s%s", r.node.Name, problem, c.lastWords(ctx, r.node.ID))
		}
		if held || c.early(ctx, r, got.State) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w%s", r.node.Name, ctx.Err(), c.lastWords(context.WithoutCancel(ctx), r.node.ID))
		}
		pause = min(2*pause, pollMost)
	}
}

// holds says whether a condition holds, or why it never will.
func holds(s *container.State, condition string) (held bool, problem string) {
	ended := s.Status == container.StateExited || s.Status == container.StateDead
	switch {
	case condition == target.Completed:
		if ended && s.ExitCode != 0 {
			return false, fmt.Sprintf("ended with exit code %d, and had to complete", s.ExitCode)
		}
		return ended, ""
	case s.Restarting: // the engine calls it running, too
		return false, ""
	case ended:
		return false, fmt.Sprintf("ended with exit code %d before it was ready", s.ExitCode)
	case !s.Running:
		return false, ""
	case s.Health == nil || s.Health.Status == container.NoHealthcheck:
		if condition == target.Healthy {
			return false, "has no healthcheck, and another service waits for it to be healthy"
		}
		return true, ""
	case s.Health.Status == container.Unhealthy:
		problem = "is unhealthy"
		if n := len(s.Health.Log); n > 0 {
			problem += fmt.Sprintf(": its healthcheck ended with exit code %d: %s", s.Health.Log[n-1].ExitCode, printable(strings.TrimSpace(s.Health.Log[n-1].Output)))
		}
		return false, problem
	}
	return s.Health.Status == container.Healthy, ""
}
