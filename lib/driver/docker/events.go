package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	reconnectTries = 8 // with the pauses below, about 6 s
	reconnectFirst = 50 * time.Millisecond
	reconnectMost  = 2 * time.Second
	rememberEvents = 256 // as many as the engine itself keeps
	waitBuffer     = 64
)

// stream follows what the engine says of one trial's containers. There is one per
// cluster, and it is there before the first container.
type stream struct {
	api  api
	args filters.Args
	tell func(events.Message) // called in order, from one goroutine
	say  func(string)

	mu     sync.Mutex
	waits  map[*wait]bool
	broken error // why the stream is over

	cancel context.CancelFunc
	done   chan struct{}
}

// wait collects the events of one container for a caller that is about to do
// something to it.
type wait struct {
	s    *stream
	id   string
	exec string // the command whose end it is for, if it is for one's; guarded by s.mu
	ch   chan events.Message
}

// follow subscribes from an instant on the engine's clock. The caller calls stop.
func follow(ctx context.Context, a api, args filters.Args, since time.Time, tell func(events.Message), say func(string)) *stream {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &stream{
		api: a, args: args, tell: tell, say: say,
		waits: make(map[*wait]bool), cancel: cancel, done: make(chan struct{}),
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.done)
		s.end(s.run(ctx, since, ready))
	}()
	<-ready
	return s
}

// stop ends the stream and waits for it.
func (s *stream) stop() {
	s.cancel()
	<-s.done
}

// run reads the stream and takes it up again when it breaks, within bounds.
func (s *stream) run(ctx context.Context, since time.Time, ready chan<- struct{}) error {
	r := reader{s: s, since: since}
	pause := reconnectFirst
	for try := 0; ; try++ {
		messages, errs := s.api.Events(ctx, events.ListOptions{Since: stamp(r.since), Filters: s.args})
		if ready != nil {
			close(ready)
			ready = nil
		}
		opened := time.Now()
		got, err := r.read(messages, errs)
		if ctx.Err() != nil {
			return errors.New("the target is being removed")
		}
		if got || time.Since(opened) > reconnectMost { // it worked; something on the way ends idle streams
			try, pause = 0, reconnectFirst
		}
		if r.lost.IsZero() {
			r.lost = time.Now()
		}
		if try >= reconnectTries {
			err = fmt.Errorf("the engine's event stream broke and could not be taken up again: %w", err)
			s.say("docker: " + err.Error())
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, reconnectMost)
	}
}

// reader reads a stream that may break. It asks from a second before the last event on, since
// the engine stamps events before it sends them, and drops those that were seen.
type reader struct {
	s     *stream
	since time.Time
	seen  []string
	lost  time.Time // when the stream broke; zero: it has not
}

// read delivers events until the stream breaks, and says whether there were any.
func (r *reader) read(messages <-chan events.Message, errs <-chan error) (got bool, err error) {
	for {
		select {
		case m := <-messages:
			got = true
			if !r.lost.IsZero() {
				r.s.say(fmt.Sprintf("docker: the event stream broke and was taken up again after %v", time.Since(r.lost).Round(time.Millisecond)))
				r.lost = time.Time{}
			}
			if r.isNew(m) {
				r.s.deliver(m)
			}
		case err := <-errs:
			return got, err
		}
	}
}

func (r *reader) isNew(m events.Message) bool {
	key := fmt.Sprint(m.TimeNano, m.Actor.ID, m.Action)
	if slices.Contains(r.seen, key) {
		return false
	}
	if r.seen = append(r.seen, key); len(r.seen) > rememberEvents {
		r.seen = r.seen[1:]
	}
	if from := at(m).Add(-time.Second); from.After(r.since) {
		r.since = from
	}
	return true
}

func (s *stream) deliver(m events.Message) {
	s.mu.Lock()
	for w := range s.waits {
		if w.id != m.Actor.ID || !w.wants(m) {
			continue
		}
		select {
		case w.ch <- m:
		default: // a wait is for a handful of events; whoever gets 64 asked for the wrong ones
		}
	}
	s.mu.Unlock()
	s.tell(m)
}

// wants leaves out the commands that run beside: each healthcheck is one, with three events, and while a stop has its
// grace they would fill the buffer.
func (w *wait) wants(m events.Message) bool {
	switch action, _, _ := strings.Cut(string(m.Action), ": "); events.Action(action) {
	case events.ActionExecCreate, events.ActionExecStart:
		return false
	case events.ActionExecDie:
		return w.exec != "" && m.Actor.Attributes["execID"] == w.exec
	default:
		return true
	}
}

// end wakes everyone who waits.
func (s *stream) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = why
	for w := range s.waits {
		close(w.ch)
	}
	s.waits = nil
}

// wait starts collecting a container's events. The caller calls close.
func (s *stream) wait(id string) (*wait, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	w := &wait{s: s, id: id, ch: make(chan events.Message, waitBuffer)}
	s.waits[w] = true
	return w, nil
}

// ends has it collect the end of a command too. It is called before the command is started.
func (w *wait) ends(exec string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.exec = exec
}

func (w *wait) close() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	delete(w.s.waits, w)
}

// next returns the container's next event.
func (w *wait) next(ctx context.Context) (events.Message, error) {
	select {
	case m, ok := <-w.ch:
		if !ok {
			return events.Message{}, w.s.broken
		}
		return m, nil
	case <-ctx.Done():
		return events.Message{}, ctx.Err()
	}
}

// until returns the container's events up to the first of an action.
func (w *wait) until(ctx context.Context, action events.Action) ([]events.Message, error) {
	var seen []events.Message
	for {
		m, err := w.next(ctx)
		if err != nil {
			return seen, fmt.Errorf("wait for the engine's event %q: %w", action, err)
		}
		seen = append(seen, m)
		if m.Action == action {
			return seen, nil
		}
	}
}

func at(m events.Message) time.Time { return time.Unix(0, m.TimeNano) }

// stamp writes an instant as the engine reads it.
func stamp(t time.Time) string {
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// nodeEvent translates an event of a node's container.
func nodeEvent(m events.Message) (target.NodeEvent, bool) {
	labels := m.Actor.Attributes
	if labels[target.LabelRole] != "node" {
		return target.NodeEvent{}, false
	}
	e := target.NodeEvent{
		At:   at(m),
		Node: labels["com.docker.compose.service"] + "-" + labels["com.docker.compose.container-number"],
	}
	switch action, detail, _ := strings.Cut(string(m.Action), ": "); events.Action(action) {
	case events.ActionStart:
		e.Kind = record.NodeStart
	case events.ActionDie:
		e.Kind, e.Detail = record.NodeDie, "exit code "+labels["exitCode"]
	case events.ActionPause:
		e.Kind = record.NodePause
	case events.ActionUnPause:
		e.Kind = record.NodeUnpause
	case events.ActionOOM:
		e.Kind = record.NodeOOM
	case events.ActionHealthStatus:
		e.Kind, e.Detail = record.NodeHealth, detail
	case events.ActionDestroy:
		e.Kind = record.NodeRemove
	default:
		return target.NodeEvent{}, false
	}
	return e, true
}
