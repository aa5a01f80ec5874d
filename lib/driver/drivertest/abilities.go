package drivertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// A place is what the node program says of where it runs.
type place struct {
	Capabilities string
	Namespaces   map[string]string
	Groups       string
	Processes    int
	Volume       bool
	CgroupsFor   string
}

// entries are the places, the ability that each one takes, and the capabilities that it gives: none but these. In the node
// they are the node's own.
var entries = []struct {
	place        target.Place
	needs        target.Ability
	capabilities string
}{
	{target.InNetwork, target.CanEnterNetwork, "0000000000001000"},
	{target.InMachine, target.CanCrash, "0000000000000020"},
	{target.InProcesses, target.CanTrace, "0000000000080000"},
	{target.AtVolume, target.CanMount, "0000000000000002"},
	{target.InDisk, target.CanThrottle, "0000000000000000"},
	{target.InNode, target.CanEnterNode, ""},
}

// needs skips the test of a driver that does not declare an ability, before a target is started that it need not be able to run.
func (t *conformance) needs(a target.Ability) {
	t.Helper()
	facts, err := t.suite.New(t.T).Probe(t.within())
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Abilities.Has(a) {
		t.Skipf("the driver does not declare to %s", a)
	}
}

// entered starts a target whose nodes our program will be in.
func (t *conformance) entered() *run {
	t.Helper()
	t.needs(target.CanEnterNetwork)
	app := service("app", 1, "serve")
	app.Mounts = []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}}
	tg := t.system(app)
	tg.Volumes["data"] = target.Volume{Name: "data"}
	return t.start(tg, func(spec *target.Spec) {
		spec.Places = make(map[string][]target.Place)
		for _, e := range entries {
			spec.Places["app"] = append(spec.Places["app"], e.place)
		}
	})
}

// where starts the node program in a place of a node and reads what it says.
func (r *run) where(in target.Enterer, n target.Node, p target.Place) (*target.Process, place) {
	r.t.Helper()
	proc, err := in.Enter(r.t.within(), n, p, "data", "where")
	if err != nil {
		r.t.Fatal(err)
	}
	return proc, r.t.read(proc)
}

func (t *conformance) read(p *target.Process) (at place) {
	t.Helper()
	line, err := bufio.NewReader(p.Stdout).ReadBytes('\n')
	if err != nil {
		p.Kill()
		t.Fatalf("%v; it ended with %v", err, p.Wait())
	}
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	return at
}

func testEnter(t *conformance) {
	r := t.entered()
	in, ok := r.cluster.(target.Enterer)
	n := r.cluster.Nodes()[0]
	for _, e := range entries {
		if !r.can(e.needs, ok) {
			continue
		}
		p, at := r.where(in, n, e.place)
		if want := e.capabilities; want != "" && at.Capabilities != want {
			t.Errorf("%s: it has the capabilities %s, want %s", e.place, at.Capabilities, want)
		}
		r.isAt(n, e.place, at)
		if err := p.Stdin.Close(); err != nil {
			t.Errorf("%s: end its input: %v", e.place, err)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("%s: at the end of its input: %v", e.place, err)
		}
	}
	if !r.can(target.CanEnterNetwork|target.CanEnterNode, ok) {
		return
	}
	for _, p := range []target.Place{target.InNetwork, target.InNode} {
		proc, _ := r.where(in, n, p)
		proc.Kill()
		proc.Kill()
		if err := proc.Wait(); err == nil {
			t.Errorf("%s: a killed process ended well", p)
		}
	}
	if now := (place{}); !r.eventually(func() bool { return r.see(n, &now) == 1 }) {
		t.Errorf("in the node there are %d processes left", now.Processes)
	}
	r.answers(n)
	r.told(n, record.NodeStart)
	if slices.ContainsFunc(r.seen(), func(e target.NodeEvent) bool { return e.Kind == record.NodeDie }) {
		t.Errorf("a helper's end is told as a node's: %+v", r.seen())
	}
}

// see asks the node itself where it is, and returns how many processes it sees.
func (r *run) see(n target.Node, at *place) int {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.get(n, "/where").Body), at); err != nil {
		r.t.Fatal(err)
	}
	return at.Processes
}

// isAt checks that a process is where it should be.
func (r *run) isAt(n target.Node, p target.Place, at place) {
	r.t.Helper()
	var node place
	r.see(n, &node)
	shared := map[target.Place][]string{
		target.InNetwork: {"net"}, target.InProcesses: {"pid"}, target.InNode: {"net", "pid", "mnt", "ipc", "uts"},
	}[p]
	for _, kind := range []string{"net", "pid", "mnt"} {
		if got, want := at.Namespaces[kind] == node.Namespaces[kind], slices.Contains(shared, kind); got != want {
			r.t.Errorf("%s: it shares the node's namespace %s: %v, want %v", p, kind, got, want)
		}
	}
	switch p {
	case target.InNode:
		if at.Groups != node.Groups || at.Capabilities != node.Capabilities {
			r.t.Errorf("in the node it is in the groups\n%swith the capabilities %s, the node in\n%swith %s", at.Groups, at.Capabilities, node.Groups, node.Capabilities)
		}
	case target.InMachine:
		if at.Processes < 3 {
			r.t.Errorf("in the machine it sees %d processes", at.Processes)
		}
	case target.AtVolume:
		if got := r.get(n, "/file/data/from-helper"); got.Body != "hello" {
			r.t.Errorf("what it wrote to the volume is not the node's: %+v", got)
		}
	default: // the namespaces tell, and for InDisk the control groups
	}
	if got, want := at.CgroupsFor != "", p == target.InDisk; got != want && (want || p != target.InNode) {
		r.t.Errorf("%s: it can write the control groups: %q", p, at.CgroupsFor)
	}
}

// What is inside a node ends with it, and everything ends in Down.
func testEnterDying(t *conformance) {
	r := t.entered()
	in, ok := r.cluster.(target.Enterer)
	k, killer := r.cluster.(target.Killer)
	if !r.can(target.CanEnterNetwork, ok) || !r.can(target.CanKill, killer) {
		return
	}
	n := r.cluster.Nodes()[0]
	var inside []*target.Process
	for _, e := range entries {
		if (e.place == target.InNode || e.place == target.InProcesses) && r.can(e.needs, ok) {
			p, _ := r.where(in, n, e.place)
			inside = append(inside, p)
		}
	}
	beside, _ := r.where(in, n, target.InNetwork)
	if _, err := k.Kill(t.within(), n); err != nil {
		t.Fatal(err)
	}
	for _, p := range inside {
		if err := p.Wait(); err == nil {
			t.Error("a process in a node that was killed ended well")
		}
	}
	if p, err := in.Enter(t.within(), n, target.InNetwork, "", "where"); err == nil {
		p.Kill()
		t.Error("a dead node can be entered")
	}
	if _, err := k.Start(t.within(), n); err != nil {
		t.Fatal(err)
	}
	r.answers(n)
	again, at := r.where(in, n, target.InNetwork)
	r.isAt(n, target.InNetwork, at)
	r.down()
	for _, p := range []*target.Process{beside, again} {
		if err := p.Wait(); err == nil {
			t.Error("a helper that was taken down ended well")
		}
	}
	if _, err := in.Enter(t.within(), n, target.InNetwork, "", "where"); err == nil {
		t.Error("a node of a target that is down can be entered")
	}
}

func testRemove(t *conformance) {
	t.needs(target.CanRemove)
	app := service("app", 2, "serve")
	app.Mounts = []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}}
	tg := t.system(app)
	tg.Volumes["data"] = target.Volume{Name: "data"}
	r := t.start(tg, nil)
	rm, ok := r.cluster.(target.Remover)
	if !r.can(target.CanRemove, ok) {
		return
	}
	n := r.cluster.Nodes()[0]
	x, executes := r.cluster.(target.Execer)
	if r.can(target.CanExec, executes) {
		for _, path := range []string{"/data/kept", "/tmp/lost"} {
			if got, err := x.Exec(t.within(), n, []string{"/tutti", "write", path, "10"}); err != nil || got.Code != 0 {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
	for range 2 {
		e, err := rm.Remove(t.within(), n)
		r.happened(e, err, n, n.Address)
		r.silent(n)
		if _, err := rm.Remove(t.within(), n); err == nil {
			t.Error("what is gone can be removed")
		}
		if len(r.cluster.Nodes()) != 2 {
			t.Errorf("a removed node is not listed: %+v", r.cluster.Nodes())
		}
		e, err = rm.Recreate(t.within(), n)
		r.happened(e, err, n, n.Address)
		if e.Node.ID == n.ID || e.Node.Image != n.Image || !slices.Equal(e.Node.Addresses, n.Addresses) {
			t.Errorf("anew it is %+v, it was %+v", e.Node, n)
		}
		if _, err := rm.Recreate(t.within(), n); err == nil {
			t.Error("what is there can be made anew")
		}
		n = e.Node
		r.answers(n)
	}
	if executes {
		if got := r.get(n, "/file/data/kept"); len(got.Body) != 10 {
			t.Errorf("the named volume is not what it was: %+v", got)
		}
		if got := r.get(n, "/file/tmp/lost"); got.Status == 200 {
			t.Error("the old writable layer is there")
		}
	}
	if now := r.cluster.Nodes()[0]; now.ID != n.ID {
		t.Errorf("listed is %s, the effect says %s", now.ID, n.ID)
	}
	r.told(n, record.NodeStart, record.NodeDie, record.NodeRemove, record.NodeStart, record.NodeDie, record.NodeRemove, record.NodeStart)
}

func testRevive(t *conformance) {
	r := t.start(t.system(service("app", 2, "serve")), nil)
	c, ok := r.cluster.(target.Crasher)
	if !r.can(target.CanCrash, ok) {
		return
	}
	n := r.cluster.Nodes()[0]
	for range 2 {
		e, err := c.Crash(t.within(), n)
		r.happened(e, err, n, n.Address)
		r.silent(n)
		e, err = c.Revive(t.within(), n)
		r.happened(e, err, n, n.Address)
		r.answers(n)
	}
	if e, err := c.Revive(t.within(), n); err != nil || e.Proof == "" {
		t.Errorf("revive one that runs: %+v, %v", e, err)
	}
	r.told(n, record.NodeStart, record.NodeDie, record.NodeStart, record.NodeDie, record.NodeStart)
	r.answers(r.cluster.Nodes()[1])
}

// A restart policy acts on a crash, and on nothing that we do ourselves.
func testRestartPolicy(t *conformance) {
	if t.suite.NoRestartPolicy {
		t.Skip("the driver honours no restart policy, and says so")
	}
	app := service("app", 1, "serve")
	app.Restart = "always"
	r := t.start(t.system(app), nil)
	c, ok := r.cluster.(target.Crasher)
	if !r.can(target.CanCrash, ok) {
		return
	}
	n := r.cluster.Nodes()[0]
	e, err := c.Crash(t.within(), n)
	r.happened(e, err, n, n.Address)
	r.told(n, record.NodeStart, record.NodeDie, record.NodeStart) // nobody has called Revive
	r.answers(n)
	e, err = c.Revive(t.within(), n)
	r.happened(e, err, n, n.Address)
	k, kills := r.cluster.(target.Killer)
	p, pauses := r.cluster.(target.Pauser)
	if !r.can(target.CanKill, kills) {
		return
	}
	for _, paused := range []bool{false, true} {
		if paused && r.can(target.CanPause, pauses) {
			if _, err := p.Pause(t.within(), n); err != nil {
				t.Fatal(err)
			}
		}
		e, err = k.Kill(t.within(), n)
		r.happened(e, err, n, n.Address)
		starts := len(r.kinds(n, record.NodeStart))
		for range 10 { // a policy's first pause is 100 ms
			<-time.After(100 * time.Millisecond)
			r.silent(n)
		}
		if now := len(r.kinds(n, record.NodeStart)); now != starts {
			t.Fatalf("its restart policy has brought back a killed node (paused before: %v)", paused)
		}
		e, err = k.Start(t.within(), n)
		r.happened(e, err, n, n.Address)
		r.answers(n)
	}
	// The policy is in force again after our start.
	if _, err := c.Crash(t.within(), n); err != nil {
		t.Fatal(err)
	}
	starts := len(r.kinds(n, record.NodeStart))
	if !r.eventually(func() bool { return len(r.kinds(n, record.NodeStart)) > starts }) {
		t.Error("after a kill and a start, the restart policy does not act any more")
	}
}

// A node that ends again and again is waited for, can be killed or stopped between two lives, and stays dead then.
func testFlapping(t *conformance) {
	if t.suite.NoRestartPolicy {
		t.Skip("the driver honours no restart policy, and says so")
	}
	facts, err := t.suite.New(t.T).Probe(t.within())
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Abilities.Has(target.CanCrash | target.CanKill) {
		t.Logf("the driver does not declare to %s", target.CanCrash)
		return
	}
	app, dead, never := service("app", 1, "flap", "2"), service("dead", 1, "flap", "2"), bare("never", "flap", "1000")
	app.Restart, dead.Restart, never.Restart = "on-failure:5", "on-failure:1", "always"
	failed := t.newRun(t.system(dead), nil)
	if err := failed.up(t.within()); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("its only retry has failed: %v", err)
	}
	failed.nothingLeft()
	r := t.start(t.system(app, never), nil)
	nodes := r.cluster.Nodes()
	r.answers(nodes[0])
	r.told(nodes[0], record.NodeStart, record.NodeDie, record.NodeStart, record.NodeDie, record.NodeStart)
	n, k, c := nodes[1], r.cluster.(target.Killer), r.cluster.(target.Crasher)
	ends := func(times int) {
		deaths := times + len(r.kinds(n, record.NodeDie))
		if !r.eventually(func() bool { return len(r.kinds(n, record.NodeDie)) >= deaths }) {
			t.Fatalf("%s does not end %d times more", n.Name, times)
		}
	}
	ends(1) // from then on the pauses between its lives are longer than the lives
	e, err := c.Revive(t.within(), n)
	r.happened(e, err, n, n.Address)
	t.Logf("revive: %s", e.Proof)
	ends(1)
	e, err = k.Kill(t.within(), n)
	r.happened(e, err, n, n.Address)
	t.Logf("kill: %s", e.Proof)
	stays := func() {
		starts := len(r.kinds(n, record.NodeStart))
		<-time.After(2 * time.Second)
		if now := len(r.kinds(n, record.NodeStart)); now != starts {
			t.Errorf("it was ended, and has been started %d times since", now-starts)
		}
		e, err = k.Start(t.within(), n)
		r.happened(e, err, n, n.Address)
	}
	stays()
	if s, ok := r.cluster.(target.Stopper); ok {
		ends(3)
		e, err = s.Stop(t.within(), n, -1)
		r.happened(e, err, n, n.Address)
		t.Logf("stop: %s", e.Proof)
		stays()
	}
	ends(1) // Down takes it away while its policy is about to act
}

func (r *run) kinds(n target.Node, kind string) (found []target.NodeEvent) {
	for _, e := range r.seen() {
		if e.Node == n.Name && e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func testExec(t *conformance) {
	r := t.start(t.system(service("app", 1, "serve")), nil)
	x, ok := r.cluster.(target.Execer)
	if !r.can(target.CanExec, ok) {
		return
	}
	n := r.cluster.Nodes()[0]
	got, err := x.Exec(t.within(), n, []string{"/tutti", "crash"})
	if err != nil || got.Code != 3 || !strings.Contains(got.Output, "out of coolant") {
		t.Errorf("a command that fails: %+v, %v", got, err)
	}
	if got.From.IsZero() || got.To.Before(got.From) || got.To.Sub(got.From) > 4*time.Second { // it ends at once
		t.Errorf("it ran from %v to %v", got.From, got.To)
	}
	got, err = x.Exec(t.within(), n, []string{"/tutti", "flood", "100000"})
	if err != nil || got.Code != 0 || len(got.Output) != 64<<10 {
		t.Errorf("a command that says much: code %d, %d bytes, %v", got.Code, len(got.Output), err)
	}
	if got, err := x.Exec(t.within(), n, []string{"/no/such/program"}); err == nil {
		t.Errorf("a command that is not there: %+v", got)
	}
	ctx, cancel := context.WithTimeoutCause(t.within(), 300*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := x.Exec(ctx, n, []string{"/tutti", "burn", "5s"}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("a command that takes too long: %v", err)
	}
	r.answers(n)
}

func testLimit(t *conformance) {
	limited := service("limited", 1, "serve")
	limited.CPUs = 1.5
	r := t.start(t.system(service("app", 1, "serve"), limited), nil)
	l, ok := r.cluster.(target.Limiter)
	x, executes := r.cluster.(target.Execer)
	if !r.can(target.CanLimit, ok) || !r.can(target.CanExec, executes) {
		return
	}
	for _, n := range r.cluster.Nodes() {
		e, err := l.Limit(t.within(), n, 0.2)
		r.happened(e, err, n, n.Address)
		if got := r.burn(l, x, n); got.Throttled == 0 || got.Time == 0 || got.Used > 400*time.Millisecond {
			t.Errorf("%s: with a fifth of a core it was throttled %+v", n.Name, got)
		}
		for range 2 {
			e, err = l.Limit(t.within(), n, 0)
			r.happened(e, err, n, n.Address)
		}
		if got := r.burn(l, x, n); 2*got.Throttled > got.Periods {
			t.Errorf("%s: without it, it was throttled %+v", n.Name, got)
		}
		if _, err := l.Limit(t.within(), n, 1e6); err == nil {
			t.Errorf("%s: it was given a million cores", n.Name)
		}
	}
}

// burn uses a node's CPU for half a second and returns how it was throttled meanwhile.
func (r *run) burn(l target.Limiter, x target.Execer, n target.Node) target.Throttling {
	r.t.Helper()
	before, err := l.Throttled(r.t.within(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	if got, err := x.Exec(r.t.within(), n, []string{"/tutti", "burn", "500ms"}); err != nil || got.Code != 0 {
		r.t.Fatalf("%+v, %v", got, err)
	}
	after, err := l.Throttled(r.t.within(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return target.Throttling{
		Periods: after.Periods - before.Periods, Throttled: after.Throttled - before.Throttled,
		Time: after.Time - before.Time, Used: after.Used - before.Used,
	}
}

// A volume with a size is full at that size, and outlives its node.
func testBounded(t *conformance) {
	facts, err := t.suite.New(t.T).Probe(t.within())
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Abilities.Has(target.CanBound | target.CanExec | target.CanKill) {
		t.Logf("the driver does not declare to %s", target.CanBound)
		return
	}
	const size = 4 << 20
	app := service("app", 1, "serve")
	app.Mounts = []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}}
	tg := t.system(app)
	tg.Volumes["data"] = target.Volume{Name: "data"}
	r := t.start(tg, func(spec *target.Spec) { spec.Bounded = map[string]int64{"data": size} })
	n := r.cluster.Nodes()[0]
	x, k := r.cluster.(target.Execer), r.cluster.(target.Killer)
	write := func(name string, bytes int) target.Executed {
		got, err := x.Exec(t.within(), n, []string{"/tutti", "write", "/data/" + name, fmt.Sprint(bytes)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := write("fits", size/2); got.Code != 0 {
		t.Errorf("half of it: %+v", got)
	}
	if got := write("not", size); got.Code == 0 || !strings.Contains(got.Output, "no space left") {
		t.Errorf("more than is left: %+v", got)
	}
	if _, err := k.Kill(t.within(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Start(t.within(), n); err != nil {
		t.Fatal(err)
	}
	r.answers(n)
	if got := write("not", size); got.Code == 0 || !strings.Contains(got.Output, "no space left") {
		t.Errorf("after a restart of its only node, what it held is gone: %+v", got)
	}
}

func testScratch(t *conformance) {
	d := t.suite.New(t.T)
	facts, err := d.Probe(t.within())
	if err != nil {
		t.Fatal(err)
	}
	s, ok := d.(target.Scratcher)
	if !ok {
		t.Log("the driver has no scratch places")
		return
	}
	run := strings.ToLower(fmt.Sprintf("suite-scratch-%d", time.Now().UnixNano()))
	for _, e := range entries {
		if !facts.Abilities.Has(e.needs) {
			continue
		}
		p, err := s.Scratch(t.within(), run, e.place, "where")
		if err != nil {
			t.Errorf("%s: %v", e.place, err)
			continue
		}
		if left := t.suite.Leftovers(t.T, run); len(left) == 0 {
			t.Errorf("%s: it does not carry its run", e.place)
		}
		if at := t.read(p); e.capabilities != "" && at.Capabilities != e.capabilities {
			t.Errorf("%s: it has the capabilities %s, want %s", e.place, at.Capabilities, e.capabilities)
		}
		if err := errors.Join(p.Stdin.Close(), p.Wait()); err != nil {
			t.Errorf("%s: at the end of its input: %v", e.place, err)
		}
		_, _ = io.Copy(io.Discard, p.Stdout)
		if left := t.suite.Leftovers(t.T, run); len(left) > 0 {
			t.Errorf("%s: left behind: %q", e.place, left)
		}
	}
}
