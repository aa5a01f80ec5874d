// Package drivertest is what every driver must be able to do, as tests. A driver's
// own tests call [Run] with a way to make one.
package drivertest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// A Suite says how to test one driver.
type Suite struct {
	// New returns a driver whose image "tutti" is the program that [Build] has built.
	New func(t *testing.T) target.Driver
	// Leftovers lists what is still there of a run: processes, containers, networks,
	// volumes, folders. It is asked after Down.
	Leftovers func(t *testing.T, run string) []string
	// Within bounds each step; zero is a minute.
	Within time.Duration
	// Parallel runs the tests side by side, as many as -parallel says; each has targets of its own.
	Parallel bool
	// NoRestartPolicy says that the driver does not honour a service's restart policy.
	NoRestartPolicy bool
}

// Build builds the suite's node program for an operating system ("linux" for
// containers, [runtime.GOOS] for processes) and returns its path. It is static.
func Build(t testing.TB, goos string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "node")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", out, "github.com/tutti-bench/tutti/lib/driver/drivertest/node")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the node program: %v\n%s", err, text)
	}
	return out
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if s.Within == 0 {
		s.Within = time.Minute
	}
	t.Setenv("SECRET_OF_THE_USER", "leaked")
	for _, c := range []struct {
		name string
		test func(*conformance)
	}{
		{"Up", testUp},
		{"Kill", testKill},
		{"Stop", testStop},
		{"Pause", testPause},
		{"Scale", testScale},
		{"Attach", testAttach},
		{"Order", testOrder},
		{"Crash", testCrash},
		{"Sick", testSick},
		{"Cancel", testCancel},
		{"Down", testDown},
		{"SideBySide", testSideBySide},
		{"Enter", testEnter},
		{"EnterDying", testEnterDying},
		{"Remove", testRemove},
		{"Revive", testRevive},
		{"RestartPolicy", testRestartPolicy},
		{"Flapping", testFlapping},
		{"Exec", testExec},
		{"Limit", testLimit},
		{"Bounded", testBounded},
		{"Scratch", testScratch},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s.Parallel {
				t.Parallel()
			}
			c.test(&conformance{T: t, suite: s})
		})
	}
}

// A conformance is one test of one driver.
type conformance struct {
	*testing.T
	suite Suite
}

// service returns a service that runs the node program.
func service(name string, scale int, command ...string) target.Service {
	return target.Service{
		Name:      name,
		Image:     target.Image{Kind: target.ImageTutti, Pull: "missing"},
		Command:   command,
		Networks:  map[string]target.Attachment{"default": {}},
		Scale:     scale,
		StopGrace: 10 * time.Second,
		Expose:    []string{"8080"},
		Healthcheck: &target.Healthcheck{
			Test:     []string{"CMD", "/tutti", "check"},
			Interval: 300 * time.Millisecond, Timeout: 5 * time.Second, Retries: 50,
		},
	}
}

// bare is a service without healthcheck.
func bare(name string, command ...string) target.Service {
	s := service(name, 1, command...)
	s.Healthcheck = nil
	return s
}

func (t *conformance) system(services ...target.Service) *target.Target {
	t.Helper()
	tg := &target.Target{
		Name:     "suite",
		Dir:      t.TempDir(),
		Services: make(map[string]target.Service),
		Networks: map[string]target.Network{"default": {Name: "default"}},
		Volumes:  make(map[string]target.Volume),
	}
	for _, s := range services {
		tg.Services[s.Name] = s
	}
	return tg
}

// within returns a context for one step.
func (t *conformance) within() context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), t.suite.Within)
	t.Cleanup(cancel)
	return ctx
}

func testUp(t *conformance) {
	r := t.start(t.system(service("app", 3, "serve"), service("db", 1, "serve")), nil)
	nodes := r.cluster.Nodes()
	var names, addresses []string
	for _, n := range nodes {
		names, addresses = append(names, n.Name), append(addresses, n.Address)
		if n.Host == "" || n.Address == "" || n.ID == "" || n.Image == "" || n.Service == "" || n.Replica == 0 {
			t.Errorf("node %s is not told in full: %+v", n.Name, n)
		}
		r.answers(n)
	}
	if want := []string{"app-1", "app-2", "app-3", "db-1"}; !slices.Equal(names, want) {
		t.Errorf("nodes are %q, want %q", names, want)
	}
	slices.Sort(addresses)
	if len(slices.Compact(addresses)) != len(nodes) {
		t.Errorf("nodes share addresses: %q", addresses)
	}
	if got := r.get(nodes[0], "/env/SUITE").Body; got != "from the spec" {
		t.Errorf("the spec's environment does not arrive: %q", got)
	}
	if got := r.get(nodes[0], "/env/SECRET_OF_THE_USER").Body; got != "" {
		t.Errorf("the user's environment leaks into nodes: %q", got)
	}
	if got := r.ask("http://app:8080/"); !strings.HasPrefix(got.Body, "app-") {
		t.Errorf("a service's name leads to none of its nodes: %+v", got)
	}
	for _, n := range nodes {
		r.told(n, record.NodeStart, record.NodeHealth)
	}
	r.down()
	if logs, err := os.ReadFile(filepath.Join(r.spec.LogDir, "app-2.log")); err != nil || !strings.Contains(string(logs), "listening on") {
		t.Errorf("the log of app-2 is not kept: %q, %v", logs, err)
	}
}

func testKill(t *conformance) {
	r := t.start(t.system(service("app", 2, "serve")), nil)
	k, ok := r.cluster.(target.Killer)
	if !r.can(target.CanKill, ok) {
		return
	}
	nodes := r.cluster.Nodes()
	e, err := k.Kill(t.within(), nodes[1])
	r.happened(e, err, nodes[1], nodes[1].Address)
	r.silent(nodes[1])
	r.answers(nodes[0])
	r.told(nodes[1], record.NodeStart, record.NodeDie)
	if len(r.cluster.Nodes()) != 2 {
		t.Error("a killed node is not listed")
	}
	if _, err := k.Kill(t.within(), nodes[1]); err == nil {
		t.Error("a dead node can be killed")
	}
	e, err = k.Start(t.within(), nodes[1])
	r.happened(e, err, nodes[1], nodes[1].Address)
	r.answers(e.Node)
	r.told(nodes[1], record.NodeStart, record.NodeDie, record.NodeStart)
	if _, err := k.Kill(t.within(), target.Node{Name: "nobody-1", Service: "nobody", Replica: 1}); err == nil {
		t.Error("a node that is not there can be killed")
	}
}

func testStop(t *conformance) {
	r := t.start(t.system(service("app", 1, "serve"), service("deaf", 1, "serve", "--deaf")), nil)
	stop, ok := r.cluster.(target.Stopper)
	if !r.can(target.CanStop, ok) {
		return
	}
	nodes := r.cluster.Nodes()
	e, err := stop.Stop(t.within(), nodes[0], -1)
	r.happened(e, err, nodes[0], nodes[0].Address)
	if e.To.Sub(e.From) >= 10*time.Second {
		t.Errorf("a node that obeys its signal took its whole grace: %v", e.To.Sub(e.From))
	}
	r.silent(nodes[0])
	e, err = stop.Start(t.within(), nodes[0])
	r.happened(e, err, nodes[0], nodes[0].Address)
	r.answers(e.Node)

	const grace = 500 * time.Millisecond
	e, err = stop.Stop(t.within(), nodes[1], grace)
	r.happened(e, err, nodes[1], nodes[1].Address)
	if e.To.Sub(e.From) < grace {
		t.Errorf("a deaf node was given %v, want its grace of %v", e.To.Sub(e.From), grace)
	}
	r.silent(nodes[1])
	r.told(nodes[1], record.NodeStart, record.NodeDie)
}

func testPause(t *conformance) {
	r := t.start(t.system(service("app", 2, "serve")), nil)
	p, ok := r.cluster.(target.Pauser)
	if !r.can(target.CanPause, ok) {
		return
	}
	n := r.cluster.Nodes()[0]
	for range 2 {
		e, err := p.Pause(t.within(), n)
		r.happened(e, err, n, n.Address)
		r.silent(n)
		e, err = p.Unpause(t.within(), n)
		r.happened(e, err, n, n.Address)
		r.answers(n)
	}
	// A node that restarted while it was frozen is not frozen any more, and whoever wants to thaw it must not fail for that.
	e, err := p.Unpause(t.within(), n)
	r.happened(e, err, n, n.Address)
	r.answers(n)
	r.told(n, record.NodePause, record.NodeUnpause, record.NodePause, record.NodeUnpause)
	e, err = p.Pause(t.within(), n)
	r.happened(e, err, n, n.Address) // Down must do with a frozen node
}

func testScale(t *conformance) {
	r := t.start(t.system(service("app", 1, "serve")), func(spec *target.Spec) { spec.MaxScale = map[string]int{"app": 3} })
	scale, ok := r.cluster.(target.Scaler)
	if !r.can(target.CanScale, ok) {
		return
	}
	first := r.cluster.Nodes()[0]
	effects, err := scale.Scale(t.within(), "app", 3)
	if err != nil || len(effects) != 2 {
		t.Fatalf("scale up: %d effects, %v", len(effects), err)
	}
	nodes := r.cluster.Nodes()
	if len(nodes) != 3 {
		t.Fatalf("%d nodes, want 3", len(nodes))
	}
	for i, e := range effects {
		r.happened(e, nil, nodes[i+1], nodes[i+1].Address)
		r.answers(nodes[i+1])
	}
	effects, err = scale.Scale(t.within(), "app", 1)
	if err != nil || len(effects) != 2 || effects[0].Node.Name != "app-3" || effects[1].Node.Name != "app-2" {
		t.Fatalf("scale down: %+v, %v", effects, err)
	}
	if nodes := r.cluster.Nodes(); len(nodes) != 1 || nodes[0].Address != first.Address {
		t.Errorf("nodes after scaling down: %+v", nodes)
	}
	r.answers(first)
	if e, err := scale.Scale(t.within(), "app", 1); err != nil || len(e) != 0 {
		t.Errorf("scaling to what is there: %v, %v", e, err)
	}
	r.told(effects[0].Node, record.NodeStart, record.NodeDie, record.NodeRemove)
}

func testAttach(t *conformance) {
	r := t.start(t.system(bare("app", "serve")), nil)
	p, err := r.cluster.Attach(t.within(), "echo")
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("0123456789abcdef", 1<<14) // more than a pipe holds
	wrote := make(chan error, 1)
	go func(in io.WriteCloser) {
		_, err := io.WriteString(in, big)
		wrote <- errors.Join(err, in.Close())
	}(p.Stdin)
	got, err := io.ReadAll(p.Stdout)
	if err := <-wrote; err != nil {
		t.Errorf("write to an attached process: %v", err)
	}
	if err != nil || string(got) != big {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(big), err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the process did not end well on the end of its input: %v", err)
	}
	p, err = r.cluster.Attach(t.within(), "crash")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "out of coolant") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a process that fails does not say why, or not in safe text: %q", err)
	}
	p, err = r.cluster.Attach(t.within(), "echo")
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p.Kill()
	if err := p.Wait(); err == nil {
		t.Error("a killed process ended well")
	}
}

func testOrder(t *conformance) {
	app := service("app", 1, "serve")
	app.DependsOn = []target.Dependency{
		{Service: "job", Condition: target.Completed, Required: true},
		{Service: "last", Condition: target.Healthy, Required: true},
	}
	r := t.start(t.system(app, bare("job", "once"), service("last", 1, "serve")), nil)
	r.before(event{"job-1", record.NodeDie, ""}, event{"app-1", record.NodeStart, ""})
	r.before(event{"last-1", record.NodeHealth, "healthy"}, event{"app-1", record.NodeStart, ""})
}

func testCrash(t *conformance) {
	r := t.newRun(t.system(service("app", 2, "serve"), bare("reactor", "crash")), nil)
	err := r.up(t.within())
	if err == nil {
		t.Fatal("a target with a service that crashes is up")
	}
	for _, want := range []string{"reactor-1", "out of coolant"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a terminal would obey the error: %q", err)
	}
	r.nothingLeft()
}

func testSick(t *conformance) {
	sick := service("app", 1, "serve", "--sick")
	sick.Healthcheck.Retries = 2
	r := t.newRun(t.system(sick), nil)
	if err := r.up(t.within()); err == nil || !strings.Contains(err.Error(), "app-1") {
		t.Errorf("a target with a sick node is up, or nobody says which: %v", err)
	}
	r.nothingLeft()
}

func testCancel(t *conformance) {
	ctx, cancel := context.WithCancelCause(t.within())
	defer cancel(nil)
	enough := errors.New("the user has had enough")
	sick := service("app", 2, "serve", "--sick")
	sick.Healthcheck.Retries = 1 << 20
	r := t.newRun(t.system(sick), func(spec *target.Spec) {
		tell := spec.Watch
		spec.Watch = func(e target.NodeEvent) {
			tell(e)
			if e.Kind == record.NodeStart {
				cancel(enough)
			}
		}
	})
	if err := r.up(ctx); !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
		t.Errorf("the start was cancelled and says: %v", err)
	}
	r.nothingLeft()
}

func testDown(t *conformance) {
	r := t.start(t.system(service("app", 2, "serve", "--deaf")), nil)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for range 2 {
		if err := r.cluster.Down(cancelled); err != nil {
			t.Errorf("take down under a context that is over: %v", err)
		}
		r.nothingLeft()
	}
	if _, err := r.cluster.Attach(t.within(), "echo"); err == nil {
		t.Error("a process can be attached to a target that is down")
	}
}

func testSideBySide(t *conformance) {
	a := t.start(t.system(service("app", 2, "serve")), nil)
	b := t.start(t.system(service("app", 2, "serve")), nil)
	n := a.cluster.Nodes()[0]
	if k, ok := a.cluster.(target.Killer); a.can(target.CanKill, ok) {
		if _, err := k.Kill(t.within(), n); err != nil {
			t.Fatal(err)
		}
		a.silent(n)
	}
	b.answers(b.cluster.Nodes()[0])
	a.down()
	for _, n := range b.cluster.Nodes() {
		b.answers(n)
	}
}
