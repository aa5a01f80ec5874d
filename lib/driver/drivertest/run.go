package drivertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// A run is one target under test.
type run struct {
	t       *conformance
	driver  target.Driver
	spec    target.Spec
	cluster target.Cluster

	asker *target.Process
	lines *bufio.Scanner

	mu     sync.Mutex
	events []target.NodeEvent
}

// An event is what of a NodeEvent is compared; an empty detail fits all.
type event struct{ node, kind, detail string }

// An answer is what the node program says of one request.
type answer struct {
	Status int
	Body   string
	Error  string
}

// newRun prepares a target; change may alter the spec.
func (t *conformance) newRun(tg *target.Target, change func(*target.Spec)) *run {
	t.Helper()
	r := &run{t: t, driver: t.suite.New(t.T)}
	r.spec = target.Spec{
		Target:   tg,
		Env:      map[string]string{"SUITE": "from the spec"},
		Run:      strings.ToLower(fmt.Sprintf("suite-%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), time.Now().UnixNano())),
		Trial:    "arm-1",
		LogDir:   t.TempDir(),
		Progress: func(text string) { t.Log(text) },
		Watch: func(e target.NodeEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		},
	}
	if change != nil {
		change(&r.spec)
	}
	digests, err := r.driver.Prepare(t.within(), tg, r.spec.Progress)
	if err != nil {
		t.Fatal(err)
	}
	for name := range tg.Services {
		if digests[name] == "" {
			t.Errorf("the image of %s has no digest", name)
		}
	}
	return r
}

func (r *run) up(ctx context.Context) error {
	c, err := r.driver.Up(ctx, r.spec)
	if err == nil {
		r.cluster = c
		r.t.Cleanup(r.down)
	}
	return err
}

// start starts a target and takes it down when the test ends.
func (t *conformance) start(tg *target.Target, change func(*target.Spec)) *run {
	t.Helper()
	r := t.newRun(tg, change)
	if err := r.up(t.within()); err != nil {
		t.Fatal(err)
	}
	p, err := r.cluster.Attach(t.within(), "ask")
	if err != nil {
		t.Fatal(err)
	}
	r.asker, r.lines = p, bufio.NewScanner(p.Stdout)
	return r
}

func (r *run) down() {
	r.t.Helper()
	if err := r.cluster.Down(context.Background()); err != nil {
		r.t.Errorf("take down: %v", err)
	}
	r.nothingLeft()
}

func (r *run) nothingLeft() {
	r.t.Helper()
	if left := r.t.suite.Leftovers(r.t.T, r.spec.Run); len(left) > 0 {
		r.t.Errorf("left behind: %q", left)
	}
}

// can reports whether the driver declares an ability, and fails if the cluster differs.
func (r *run) can(a target.Ability, implemented bool) bool {
	r.t.Helper()
	facts, err := r.driver.Probe(r.t.within())
	if err != nil {
		r.t.Fatal(err)
	}
	if !facts.Abilities.Has(a) {
		r.t.Logf("the driver does not declare to %s", a)
		return false
	}
	if !implemented {
		r.t.Fatalf("the driver declares to %s, and the cluster cannot", a)
	}
	return true
}

// ask asks for a URL from inside the target's network, over a new connection.
func (r *run) ask(url string) answer {
	r.t.Helper()
	if _, err := fmt.Fprintln(r.asker.Stdin, url); err != nil {
		r.t.Fatalf("ask for %s: %v", url, err)
	}
	if !r.lines.Scan() {
		r.t.Fatalf("ask for %s: no line came back: %v", url, r.lines.Err())
	}
	var a answer
	if err := json.Unmarshal(r.lines.Bytes(), &a); err != nil {
		r.t.Fatalf("ask for %s: %v: %q", url, err, r.lines.Text())
	}
	return a
}

func (r *run) get(n target.Node, path string) answer {
	r.t.Helper()
	return r.ask("http://" + n.Host + ":8080" + path)
}

// answers waits until a node answers by its name: a node that has just been started
// need not be ready.
func (r *run) answers(n target.Node) {
	r.t.Helper()
	var a answer
	if !r.eventually(func() bool {
		a = r.get(n, "/")
		return a.Body == n.Name
	}) {
		r.t.Fatalf("%s does not answer: %+v", n.Name, a)
	}
}

// silent checks that nothing answers at a node's name.
func (r *run) silent(n target.Node) {
	r.t.Helper()
	if a := r.get(n, "/"); a.Error == "" {
		r.t.Errorf("%s answers: %+v", n.Name, a)
	}
}

// happened checks an effect.
func (r *run) happened(e target.Effect, err error, n target.Node, address string) {
	r.t.Helper()
	switch {
	case err != nil:
		r.t.Fatal(err)
	case e.Node.Name != n.Name || e.Node.Address != address:
		r.t.Errorf("the effect is on %s at %s, want %s at %s", e.Node.Name, e.Node.Address, n.Name, address)
	case e.Proof == "" || e.Source == "":
		r.t.Errorf("the effect has no proof: %+v", e)
	case e.From.IsZero() || e.To.Before(e.From):
		r.t.Errorf("the effect lies between %v and %v", e.From, e.To)
	}
}

// told checks that the watcher is told of these kinds of events of a node, in this order,
// others between them or not. What is told may come a little after the act.
func (r *run) told(n target.Node, kinds ...string) {
	r.t.Helper()
	var got []string
	if !r.eventually(func() bool {
		got = nil
		rest := kinds
		for _, e := range r.seen() {
			if e.Node != n.Name {
				continue
			}
			got = append(got, e.Kind)
			if len(rest) > 0 && e.Kind == rest[0] {
				rest = rest[1:]
			}
		}
		return len(rest) == 0
	}) {
		r.t.Errorf("of %s is told %q, want %q in it", n.Name, got, kinds)
	}
	r.inOrder()
}

// eventually tries until ok or until the step's time is over.
func (r *run) eventually(ok func() bool) bool {
	r.t.Helper()
	ctx := r.t.within()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (r *run) seen() []target.NodeEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// inOrder checks that no node's events go back in time.
func (r *run) inOrder() {
	r.t.Helper()
	last := make(map[string]target.NodeEvent)
	for _, e := range r.seen() {
		if e.At.Before(last[e.Node].At) {
			r.t.Errorf("%s of %s is told after a later %s", e.Kind, e.Node, last[e.Node].Kind)
		}
		last[e.Node] = e
	}
}

// before checks that one event is told before another one.
func (r *run) before(first, second event) {
	r.t.Helper()
	index := func(want event) int {
		return slices.IndexFunc(r.seen(), func(e target.NodeEvent) bool {
			return e.Node == want.node && e.Kind == want.kind && (want.detail == "" || e.Detail == want.detail)
		})
	}
	i, j := index(first), index(second)
	if i < 0 || j < 0 || i > j {
		r.t.Errorf("%+v is event %d and %+v is event %d", first, i, second, j)
	}
}
