package trial

import (
	"fmt"
	"net"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// maxEvents bounds what a restless engine can make us keep.
const maxEvents = 10_000

// maxStrangers is how many names that fit no replica are told; a name can be as long as
// [maxShown] before it is cut.
const maxStrangers, maxShown = 4, 60

// A watch collects what happens beside the requests: node events on the engine's clock, and the
// names that nodes give themselves. Safe for concurrent use.
type watch struct {
	hooks Hooks

	mu        sync.Mutex
	zero      time.Time
	raw       []target.NodeEvent // in the order told
	more      chan struct{}      // closed when there is another one
	dropped   int
	replicas  map[string]string // any name of a replica → its name
	strangers map[string]bool   // names in headers that fit no replica
	nodes     []target.Node     // all that were ever known, the latest last
}

func newWatch(h Hooks) *watch {
	return &watch{hooks: h, more: make(chan struct{}), replicas: make(map[string]string), strangers: make(map[string]bool)}
}

// node is told by the driver what happens to nodes.
func (w *watch) node(e target.NodeEvent) {
	w.mu.Lock()
	if len(w.raw) >= maxEvents {
		w.dropped++
		w.mu.Unlock()
		return
	}
	w.raw = append(w.raw, e)
	close(w.more)
	w.more = make(chan struct{})
	zero := w.zero
	w.mu.Unlock()
	if !zero.IsZero() && w.hooks.Event != nil {
		w.hooks.Event(event(e, zero))
	}
}

// since returns what happened to nodes since cursor, moves that behind it, and says when there is more.
func (w *watch) since(cursor *int) ([]target.NodeEvent, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.raw[*cursor:]
	*cursor = len(w.raw)
	return events, w.more
}

func event(e target.NodeEvent, zero time.Time) record.Event {
	return record.Event{At: e.At.Sub(zero), Kind: e.Kind, Node: e.Node, Source: "engine", Detail: e.Detail}
}

// start tells when zero was, on the engine's clock.
func (w *watch) start(zero time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.zero = zero
}

// know learns the names of replicas.
func (w *watch) know(nodes []target.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = append(w.nodes, nodes...)
	for _, n := range nodes {
		for _, name := range n.Names() {
			w.replicas[name] = n.Name
		}
	}
}

// known returns every node told of so far.
func (w *watch) known() []target.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes)
}

// bin gives the nodes of a bin their names, and shows it to the live view.
func (w *watch) bin(b record.Bin) record.Bin {
	w.rename(&b)
	if w.hooks.Bin != nil {
		w.hooks.Bin(b)
	}
	return b
}

func (w *watch) rename(b *record.Bin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.Rename(func(name string) string {
		if known, ok := w.replica(name); ok {
			delete(w.strangers, name)
			return known
		}
		if len(w.strangers) <= maxStrangers {
			w.strangers[name] = true
		}
		return name
	})
}

// renameExample gives the nodes of an example their names; what is no replica's the bins have told.
func (w *watch) renameExample(e *record.Example) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := func(n string) string {
		if known, ok := w.replica(n); ok {
			return known
		}
		return n
	}
	if e.Node != "" {
		e.Node = name(e.Node)
	}
	for i := range e.Tried {
		e.Tried[i] = name(e.Tried[i])
	}
}

// replica finds the replica that a header means: its name, its host name, its address; a port is
// ignored.
func (w *watch) replica(name string) (string, bool) {
	if known, ok := w.replicas[name]; ok {
		return known, true
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		known, ok := w.replicas[host]
		return known, ok
	}
	return "", false
}

// finish puts what was watched into the recording.
func (w *watch) finish(r *record.Recording) {
	for i := range r.Bins { // names learnt since: a replica added while load ran
		w.rename(&r.Bins[i])
	}
	for _, examples := range [][]record.Example{r.Failures, r.Slowest} {
		for i := range examples {
			w.renameExample(&examples[i])
		}
	}
	for i := range r.Holds {
		for k := range r.Holds[i].Bins {
			w.rename(&r.Holds[i].Bins[k])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.zero.IsZero() {
		for _, e := range w.raw {
			r.Events = append(r.Events, event(e, w.zero))
		}
	}
	if w.dropped > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("%d events of nodes were dropped, after the first %d", w.dropped, maxEvents))
	}
	if len(w.strangers) > 0 {
		r.Problems = append(r.Problems, w.complaint())
	}
}

func (w *watch) complaint() string {
	var strange, known []string
	for s := range w.strangers {
		if len(s) > maxShown {
			s = s[:maxShown] + "…"
		}
		strange = append(strange, fmt.Sprintf("%q", s))
	}
	for k := range w.replicas {
		known = append(known, k)
	}
	sort.Strings(strange)
	sort.Strings(known)
	if len(strange) > maxStrangers {
		strange = append(strange[:maxStrangers], "…")
	}
	return fmt.Sprintf("node_header or attempts_header names %s, which is no replica: expected one of %s",
		strings.Join(strange, ", "), strings.Join(known, ", "))
}
