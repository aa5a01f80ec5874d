package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// A kernel is what remains of a node's helpers when they are lost: what they have put there.
type kernel struct {
	mu    sync.Mutex
	holds map[string]string // by part
	log   []string
	fail  string // a part that cannot be put
}

// worker puts parts into a kernel, and leaves them there when it is killed.
type worker struct{ k *kernel }

func (w worker) Arm(_ context.Context, name string, _ json.RawMessage) error {
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	w.k.log = append(w.k.log, "arm "+name)
	return nil
}

func (w worker) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	w.k.log = append(w.k.log, fmt.Sprintf("set %d", len(parts)))
	out := agent.Outcome{From: time.Now(), Ended: agent.Parts{}}
	next := make(map[string]string)
	for name, p := range parts {
		next[name] = string(p)
		if name == w.k.fail {
			w.k.holds[name] = "half"
			return out, errors.New("no room for it")
		}
	}
	for name := range w.k.holds {
		if _, ok := next[name]; !ok {
			out.Ended[name] = json.RawMessage(`"done"`)
		}
	}
	w.k.holds = next
	out.To = time.Now()
	return out, nil
}

func (w worker) Read(context.Context) (agent.Parts, error) { return nil, nil }
func (w worker) Close() error                              { return nil }

// machine is a cluster whose nodes have a kernel each.
type machine struct {
	target.Cluster
	mu      sync.Mutex
	kernels map[string]*kernel
	running map[string]*target.Process
	starts  int
	down    bool
}

func newMachine() *machine {
	return &machine{kernels: make(map[string]*kernel), running: make(map[string]*target.Process)}
}

func (m *machine) kernel(node string) *kernel {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kernels[node] == nil {
		m.kernels[node] = &kernel{holds: make(map[string]string)}
	}
	return m.kernels[node]
}

func (m *machine) Enter(_ context.Context, n target.Node, _ target.Place, _ string, _ ...string) (*target.Process, error) {
	k := m.kernel(n.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errors.New("it does not run")
	}
	m.starts++
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := agent.Help(ctx, inR, outW, worker{k}, time.Hour)
		_ = outW.Close()
		_ = inR.Close()
		ended <- err
	}()
	p := &target.Process{Stdin: inW, Stdout: outR, Kill: cancel, Wait: sync.OnceValue(func() error { return <-ended })}
	m.running[n.Name] = p
	return p, nil
}

// lose kills the helper of a node and waits until that is told.
func (m *machine) lose(t *testing.T, h *fault.Helpers, node string) fault.Loss {
	t.Helper()
	m.mu.Lock()
	m.running[node].Kill()
	m.mu.Unlock()
	select {
	case l := <-h.Lost():
		return l
	case <-time.After(5 * time.Second):
		t.Fatal("the loss was not told")
	}
	return fault.Loss{}
}

// holding is what is in a node's kernel.
func (m *machine) holding(node string) string {
	k := m.kernel(node)
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	for name, p := range k.holds {
		all = append(all, name+"="+p)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func slow() fault.Helped {
	return fault.Helped{
		Tool: fault.Tool{Place: target.InNetwork, Worker: "w"},
		Parts: func(s *fault.Site, nodes []target.Node) (map[string]any, error) {
			parts := make(map[string]any)
			for _, n := range nodes {
				parts[n.Name] = 1
			}
			return parts, nil
		},
		Prove: func(_ any, report json.RawMessage, _ time.Duration) (string, string, bool) {
			return "it", string(report), false
		},
		What: "slow",
	}
}

func site(m *machine, h *fault.Helpers, name string) *fault.Site {
	return &fault.Site{Cluster: m, Name: name, Helpers: h}
}

// Two faults on one node are both in force, and each ends by itself with its own report.
func TestHelpedCompose(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	nodes := []target.Node{{Name: "app-1"}, {Name: "app-2"}}
	f := slow()
	if err := f.Arm(t.Context(), site(m, h, "a"), nodes); err != nil {
		t.Fatal(err)
	}
	_, undoA, err := f.Inject(t.Context(), site(m, h, "a"), nodes)
	if err != nil {
		t.Fatal(err)
	}
	_, undoB, err := f.Inject(t.Context(), site(m, h, "b"), nodes[:1])
	if err != nil {
		t.Fatal(err)
	}
	if got := m.holding("app-1"); got != "a=1 b=1" || m.starts != 2 {
		t.Errorf("app-1 has %q, %d helpers were started", got, m.starts)
	}
	effects, err := undoA(t.Context())
	if err != nil || len(effects) != 2 || effects[0].Delivered != `"done"` {
		t.Errorf("effects %+v: %v", effects, err)
	}
	if got := m.holding("app-1"); got != "b=1" {
		t.Errorf("app-1 has %q", got)
	}
	if effects, err := undoA(t.Context()); err != nil || len(effects) != 0 {
		t.Errorf("undone twice: %+v, %v", effects, err)
	}
	if _, err := undoB(t.Context()); err != nil || m.holding("app-1") != "" {
		t.Errorf("app-1 has %q: %v", m.holding("app-1"), err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// A helper that is lost is told of with what it kept up. Undoing starts another, which ends what was left, once; what
// was lost does not come back.
func TestHelperLost(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	defer func() { _ = h.Close() }()
	nodes := []target.Node{{Name: "app-1"}}
	f := slow()
	var undo []fault.Revert
	began := time.Now()
	for _, name := range []string{"a", "b"} {
		_, u, err := f.Inject(t.Context(), site(m, h, name), nodes)
		if err != nil {
			t.Fatal(err)
		}
		undo = append(undo, u)
	}
	l := m.lose(t, h, "app-1")
	if l.Node != "app-1" || !slices.Equal(l.Faults, []string{"a", "b"}) || l.Err == nil {
		t.Errorf("loss %+v", l)
	}
	if l.Alive.Before(began) || l.Seen.Before(l.Alive) {
		t.Errorf("alive at %v, seen at %v", l.Alive, l.Seen)
	}
	if got := m.holding("app-1"); got != "a=1 b=1" {
		t.Fatalf("the kernel has %q: this test shows nothing", got)
	}
	m.down = true
	if _, err := undo[0](t.Context()); err == nil || !strings.Contains(err.Error(), "lost helper may have left") {
		t.Errorf("error %v", err)
	}
	m.down = false
	effects, err := undo[0](t.Context()) // the second attempt still knows that there is something to do
	if err != nil || len(effects) != 1 || effects[0].Delivered != "\"done\"" {
		t.Errorf("effects %+v: %v", effects, err)
	}
	if got := m.holding("app-1"); got != "" {
		t.Errorf("the kernel still has %q", got)
	}
	starts := m.starts
	if _, err := undo[1](t.Context()); err != nil || m.starts != starts {
		t.Errorf("%d helpers more: %v", m.starts-starts, err)
	}
}

// What a lost helper has left is ended before the next one puts something else there: workers look for it only when
// nothing is wanted of them.
func TestLeftBesideAnother(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	defer func() { _ = h.Close() }()
	nodes := []target.Node{{Name: "app-1"}}
	if _, _, err := slow().Inject(t.Context(), site(m, h, "a"), nodes); err != nil {
		t.Fatal(err)
	}
	m.lose(t, h, "app-1")
	k := m.kernel("app-1")
	k.log = nil
	if _, _, err := slow().Inject(t.Context(), site(m, h, "b"), nodes); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(k.log, ", "); got != "set 0, set 1" || m.holding("app-1") != "b=1" {
		t.Errorf("app-1 has %q after %s", m.holding("app-1"), got)
	}
}

// A part that could not be put whole is ended like one that was.
func TestHalfPut(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	defer func() { _ = h.Close() }()
	m.kernel("app-1").fail = "a"
	_, undo, err := slow().Inject(t.Context(), site(m, h, "a"), []target.Node{{Name: "app-1"}})
	if err == nil || m.holding("app-1") != "a=half" {
		t.Fatalf("%q: %v", m.holding("app-1"), err)
	}
	if _, err := undo(t.Context()); err != nil || m.holding("app-1") != "" {
		t.Errorf("%q stays: %v", m.holding("app-1"), err)
	}
}

// late is a machine whose first helper fails to start, when it is told to.
type late struct {
	*machine
	calls          atomic.Int32
	entering, fail chan struct{}
}

func (l *late) Enter(ctx context.Context, n target.Node, p target.Place, volume string, args ...string) (*target.Process, error) {
	if l.calls.Add(1) == 1 {
		close(l.entering)
		<-l.fail
		return nil, errors.New("it does not run")
	}
	return l.machine.Enter(ctx, n, p, volume, args...)
}

// A helper that is started after another fault's could not be is known like any: it is there for the next fault, and ended.
func TestStartedAfterAnotherFailed(t *testing.T) {
	l := &late{machine: newMachine(), entering: make(chan struct{}), fail: make(chan struct{})}
	h := fault.NewHelpers(l)
	defer func() { _ = h.Close() }()
	node, tool := target.Node{Name: "app-1"}, fault.Tool{Place: target.InNetwork, Worker: "bench"}
	failed, put := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := h.Put(t.Context(), node, tool, "a", 1)
		failed <- err
	}()
	<-l.entering
	go func() {
		_, err := h.Put(t.Context(), node, tool, "b", 1)
		put <- err
	}()
	time.Sleep(50 * time.Millisecond) // by then it waits for the first
	close(l.fail)
	if err := <-failed; err == nil {
		t.Error("the first was started")
	}
	if err := <-put; err != nil || l.holding("app-1") != "b=1" {
		t.Fatalf("%q: %v", l.holding("app-1"), err)
	}
	if _, err := h.Drop(t.Context(), node, tool, "b"); err != nil || l.holding("app-1") != "" {
		t.Errorf("%q stays: %v", l.holding("app-1"), err)
	}
}

// The end of a helper with its node is no loss, and there is nothing to undo; a node that comes back gets a new helper.
func TestHelperOfDeadNode(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	defer func() { _ = h.Close() }()
	node := target.Node{Name: "app-1"}
	f := slow()
	_, undo, err := f.Inject(t.Context(), site(m, h, "a"), []target.Node{node})
	if err != nil {
		t.Fatal(err)
	}
	m.lose(t, h, "app-1") // its node's end is not known yet
	m.down = true
	h.Died("app-1")
	if effects, err := undo(t.Context()); err != nil || len(effects) != 0 {
		t.Errorf("effects %+v: %v", effects, err)
	}
	m.down = false
	if err := h.Restarted("app-1"); err != nil {
		t.Error(err)
	}
	m.kernel("app-1").holds = map[string]string{}
	effects, err := f.Renew(t.Context(), site(m, h, "a"), node)
	if err != nil || len(effects) != 1 || m.holding("app-1") != "a=1" {
		t.Errorf("%q, effects %+v: %v", m.holding("app-1"), effects, err)
	}
	h.Died("app-1") // its helper lives: it stays
	if _, err := undo(t.Context()); err != nil || m.holding("app-1") != "" {
		t.Errorf("%q stays: %v", m.holding("app-1"), err)
	}
}

// What a part is proven by is what its helper has counted since it was put there last.
func TestHeldSinceRenewal(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	defer func() { _ = h.Close() }()
	var held time.Duration
	f := slow()
	f.Prove = func(_ any, _ json.RawMessage, d time.Duration) (string, string, bool) {
		held = d
		return "it", fmt.Sprint(d), false
	}
	node := target.Node{Name: "app-1"}
	_, undo, err := f.Inject(t.Context(), site(m, h, "a"), []target.Node{node})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := h.Restarted("app-1"); err != nil {
		t.Error(err)
	}
	renewed := time.Now()
	if _, err := f.Renew(t.Context(), site(m, h, "a"), node); err != nil {
		t.Fatal(err)
	}
	if _, err := undo(t.Context()); err != nil || held <= 0 || held > time.Since(renewed) {
		t.Errorf("held for %v: %v", held, err)
	}
}

// A loss is dated by the last ping that was answered, not by the fault's onset.
func TestPing(t *testing.T) {
	m := newMachine()
	h := fault.NewHelpers(m)
	defer func() { _ = h.Close() }()
	if _, _, err := slow().Inject(t.Context(), site(m, h, "a"), []target.Node{{Name: "app-1"}}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	asked := time.Now()
	h.Ping(t.Context(), time.Minute)
	if l := m.lose(t, h, "app-1"); l.Alive.Before(asked) || l.Alive.After(l.Seen) {
		t.Errorf("alive at %v, asked at %v, its end seen at %v", l.Alive, asked, l.Seen)
	}
	h.Ping(t.Context(), time.Minute) // of one that is gone nobody waits for an answer
}
