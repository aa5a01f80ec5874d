package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// A cluster is one running target.
type cluster struct {
	driver    *Driver
	spec      target.Spec
	programs  map[string]program // by service
	dir       string             // everything on the disk but the logs
	launcher  *launcher
	addresses *addresses
	quit      chan struct{} // closed by the first Down
	downs     sync.Mutex    // one Down at a time
	scaling   sync.Mutex    // one Scale at a time

	spawning sync.Mutex
	closing  bool
	alive    map[*child]bool
	children sync.WaitGroup // one for each child, and each health loop

	watching sync.Mutex // events are told one at a time

	mu       sync.Mutex
	replicas map[string][]*replica // by service, then number
	changed  chan struct{}         // closed and replaced at every change of a replica's state
	streams  []io.Closer           // of what Attach has started
}

var (
	_ target.Cluster = (*cluster)(nil)
	_ target.Killer  = (*cluster)(nil)
	_ target.Stopper = (*cluster)(nil)
	_ target.Pauser  = (*cluster)(nil)
	_ target.Scaler  = (*cluster)(nil)
	_ target.Crasher = (*cluster)(nil)
	_ target.Proxier = (*cluster)(nil)
)

// newCluster checks what can be checked before anything starts.
func newCluster(ctx context.Context, d *Driver, s target.Spec) (*cluster, error) {
	programs := make(map[string]program, len(s.Target.Services))
	for name, svc := range s.Target.Services {
		if err := d.check(svc); err != nil {
			return nil, &target.UnavailableError{
				What: fmt.Sprintf("run service %s as a process", name), Err: err, Hint: "it needs Docker",
			}
		}
		p, err := d.program(ctx, svc, s.Progress)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		programs[name] = p
	}
	if s.LogDir != "" {
		if err := os.MkdirAll(s.LogDir, 0o755); err != nil {
			return nil, fmt.Errorf("make the folder for logs: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "tutti-"+clean(s.Run)+"-"+clean(s.Trial)+"-*")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the nodes: %w", err)
	}
	if d.config.Temp != nil {
		if err := d.config.Temp(dir); err != nil {
			return nil, errors.Join(err, os.Remove(dir))
		}
	}
	return &cluster{
		driver:    d,
		spec:      s,
		programs:  programs,
		dir:       dir,
		launcher:  newLauncher(),
		addresses: newAddresses(d.shared, s.Run, s.Trial),
		quit:      make(chan struct{}),
		alive:     make(map[*child]bool),
		replicas:  make(map[string][]*replica),
		changed:   make(chan struct{}),
	}, nil
}

// clean makes a name fit for a folder.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return r
		}
		return '_'
	}, s)
}

// up starts all services in the order of their dependencies and waits until all is well.
func (c *cluster) up(ctx context.Context) error {
	order, err := startOrder(c.spec.Target)
	if err != nil {
		return err
	}
	for _, name := range order {
		if c.spec.Proxied[name] {
			c.spec.Progress(fmt.Sprintf("service %s: a proxy of the harness stands in front of each node, for the faults on its network", name))
		}
	}
	for _, name := range order {
		for n := range c.spec.Replicas(name) {
			if _, err := c.add(ctx, name, n+1); err != nil {
				return err
			}
		}
	}
	if err := c.writeHosts(); err != nil {
		return err
	}
	for _, name := range order {
		svc := c.spec.Target.Services[name]
		for _, dep := range svc.DependsOn {
			if err := c.await(ctx, func() (bool, error) { return c.holds(dep) }); err != nil {
				return fmt.Errorf("service %s waits for %s to be %s: %w", name, dep.Service, dep.Condition, err)
			}
		}
		for _, r := range c.of(name) {
			if err := r.launch(); err != nil {
				return err
			}
		}
	}
	return c.await(ctx, func() (bool, error) {
		for _, name := range order {
			if ok, err := c.well(name); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// startOrder sorts services so that dependencies come first.
func startOrder(t *target.Target) ([]string, error) {
	const open, done = 1, 2
	state := make(map[string]int)
	var order []string
	var visit func(name string, trail []string) error
	visit = func(name string, trail []string) error {
		trail = append(trail, name)
		switch state[name] {
		case done:
			return nil
		case open:
			return fmt.Errorf("services depend on each other in a circle: %s", strings.Join(trail, ", "))
		}
		state[name] = open
		for _, d := range t.Services[name].DependsOn {
			svc, ok := t.Services[d.Service]
			if !ok {
				if d.Required {
					return fmt.Errorf("service %s depends on %s, which is not there", name, d.Service)
				}
				continue
			}
			if d.Condition == target.Healthy && !checked(svc) {
				return fmt.Errorf("service %s waits for %s to be healthy, which has no healthcheck", name, d.Service)
			}
			if err := visit(d.Service, trail); err != nil {
				return err
			}
		}
		state[name] = done
		order = append(order, name)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(t.Services)) {
		if err := visit(name, nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// await waits until a condition on the replicas holds or cannot hold any more.
func (c *cluster) await(ctx context.Context, holds func() (bool, error)) error {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *cluster) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// holds reports whether a dependency's condition holds. A service scaled to nothing holds nobody up.
func (c *cluster) holds(d target.Dependency) (bool, error) {
	for _, r := range c.of(d.Service) {
		s := r.status()
		switch {
		case d.Condition == target.Completed:
			if s.child == nil || !s.child.isDone() {
				return false, nil
			}
			if s.child.state.ExitCode() != 0 {
				return false, r.endedEarly(s.child)
			}
		case s.child != nil && s.child.isDone() && !c.oneShot(d.Service):
			return false, r.endedEarly(s.child)
		case s.child == nil:
			return false, nil
		case s.frontErr != nil:
			return false, r.isNotFronted()
		case d.Condition == target.Healthy && s.health == unhealthy:
			return false, r.isUnhealthy()
		case d.Condition == target.Healthy && (s.health != healthy || !s.fronted):
			return false, nil
		}
	}
	return true, nil
}

// well reports whether every replica of a service is as it should be at the end of Up.
func (c *cluster) well(service string) (bool, error) {
	for _, r := range c.of(service) {
		s := r.status()
		switch {
		case s.child == nil:
			return false, nil
		case s.child.isDone():
			if !c.oneShot(service) || s.child.state.ExitCode() != 0 {
				return false, r.endedEarly(s.child)
			}
		case s.health == unhealthy:
			return false, r.isUnhealthy()
		case s.frontErr != nil:
			return false, r.isNotFronted()
		case s.health == starting || !s.fronted:
			return false, nil
		}
	}
	return true, nil
}

// oneShot reports whether a service is meant to end: another one waits for that.
func (c *cluster) oneShot(service string) bool {
	for _, s := range c.spec.Target.Services {
		for _, d := range s.DependsOn {
			if d.Service == service && d.Condition == target.Completed {
				return true
			}
		}
	}
	return false
}

// of returns a service's replicas by number.
func (c *cluster) of(service string) []*replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.replicas[service])
}

func (c *cluster) all() []*replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*replica
	for _, name := range slices.Sorted(maps.Keys(c.replicas)) {
		all = append(all, c.replicas[name]...)
	}
	return all
}

// Nodes lists the replicas.
func (c *cluster) Nodes() []target.Node {
	all := c.all()
	nodes := make([]target.Node, len(all))
	for i, r := range all {
		nodes[i] = r.node()
	}
	return nodes
}

// find returns the replica that a node names.
func (c *cluster) find(n target.Node) (*replica, error) {
	for _, r := range c.all() {
		if r.name == n.Name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("there is no node %q", n.Name)
}

// tell tells the watcher of an event. Events are told one at a time.
func (c *cluster) tell(at time.Time, node, kind, detail string) {
	c.watching.Lock()
	defer c.watching.Unlock()
	c.spec.Watch(target.NodeEvent{At: at, Node: node, Kind: kind, Detail: detail})
}

// writeHosts rewrites the files that stand in for DNS, one for each node, where
// localhost is the node itself, and one for what Attach starts.
func (c *cluster) writeHosts() error {
	hosts := make(map[string][]string)
	all := c.all()
	for _, r := range all {
		names := []string{r.service.Name, r.name}
		for _, a := range r.service.Networks {
			names = append(names, a.Aliases...)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			hosts[name] = append(hosts[name], r.address)
		}
	}
	if err := writeJSON(c.hostsFile(""), hosts); err != nil {
		return err
	}
	for _, r := range all {
		hosts["localhost"] = []string{r.listens()}
		if err := writeJSON(c.hostsFile(r.name), hosts); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) hostsFile(node string) string {
	return filepath.Join(c.dir, "hosts-"+node+".json")
}

// writeJSON replaces a file as a whole, since nodes read it at any time.
func writeJSON(file string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return fmt.Errorf("write the nodes' host names: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write the nodes' host names: %w", err)
	}
	return nil
}

// Down kills everything and removes it.
func (c *cluster) Down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downWithin)
	defer cancel()
	c.downs.Lock()
	defer c.downs.Unlock()
	c.spawning.Lock()
	if !c.closing {
		c.closing = true
		close(c.quit)
	}
	var errs []error
	for ch := range c.alive {
		// A frozen process dies of SIGKILL as well.
		if err := killGroup(ch.cmd.Process); err != nil {
			errs = append(errs, fmt.Errorf("kill process %d: %w", ch.cmd.Process.Pid, err))
		}
	}
	c.spawning.Unlock()
	ended := make(chan struct{})
	go func() {
		c.children.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return errors.Join(append(errs, fmt.Errorf("processes are left: %s", c.left()))...)
	}
	c.launcher.close()
	for _, r := range c.all() {
		if r.front != nil {
			r.front.close()
		}
		errs = append(errs, r.log.close())
	}
	c.mu.Lock()
	clear(c.replicas)
	for _, s := range c.streams {
		s.Close() // the user may have closed it
	}
	c.streams = nil
	c.mu.Unlock()
	c.addresses.giveAll()
	if err := os.RemoveAll(c.dir); err != nil {
		errs = append(errs, fmt.Errorf("the folder %s is left: %w", c.dir, err))
	}
	return errors.Join(errs...)
}

// left lists the processes that are still there.
func (c *cluster) left() string {
	c.spawning.Lock()
	defer c.spawning.Unlock()
	var pids []string
	for ch := range c.alive {
		pids = append(pids, fmt.Sprint(ch.cmd.Process.Pid))
	}
	return strings.Join(pids, ", ")
}

// environ returns what every child has: not the user's environment, which may hold secrets.
func (c *cluster) environ(folder, hosts string) []string {
	env := []string{"HOME=" + folder, "TMPDIR=" + folder, target.EnvHosts + "=" + hosts}
	for _, name := range []string{"PATH", "SYSTEMROOT"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
