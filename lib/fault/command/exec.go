// Package command has the fault that is whatever a command inside a node does.
package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
	"golang.org/x/sync/errgroup"
)

const (
	// patience is how long Inject waits for a command to end. One that still runs then counts as begun.
	patience = 10 * time.Second
	maxTail  = 1 << 10 // bytes of output that an error quotes
	maxLine  = 120     // characters of output that a proof quotes
	source   = "command"
)

// Exec runs a command in nodes, and another one to undo it.
type Exec struct {
	Command []string
	Undo    []string // nil: nothing
}

var _ fault.Fault = Exec{}

// ExecKind is the verb exec.
func ExecKind() fault.Kind {
	return fault.Kind{
		Summary: "a command inside the node",
		Needs:   target.CanExec,
		Means:   "the command, run inside the node by the driver",
		Params: []fault.Param{
			{Name: "command", Type: fault.Command, Required: true, Summary: "what to run; exit code 0 is expected, within 10s or by the end of the fault"},
			{Name: "undo", Type: fault.Command, Summary: "what undoes it; default: nothing"},
		},
		New: func(p fault.Params) (fault.Fault, error) {
			f := Exec{Command: p.Words("command"), Undo: p.Words("undo")}
			if len(f.Command) == 0 {
				return nil, errors.New("exec: `command` must say what to run")
			}
			return f, nil
		},
	}
}

// Inject runs the command in every node at once, and returns when it has ended everywhere, or after 10 s: a command
// that still runs then counts as begun. An exit code other than 0 is an error, of the Revert if it comes later.
//
// What the command does begins somewhere between its start and its end, and the effects say no more than that.
// The Revert no longer waits for a command that still runs: what becomes of it is the driver's matter (an engine lets
// it run on), so that a command without an end wants an `undo` that ends it.
func (f Exec) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	x, ok := s.Cluster.(target.Execer)
	if !ok {
		return nil, nil, fmt.Errorf("exec: the driver declares the ability, but %T does not have it", s.Cluster)
	}
	// The commands are the fault's: they may run until the Revert, whoever bounds the Inject.
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	runs := make([]*run, len(nodes))
	for i, n := range nodes {
		r := &run{node: n, began: s.Now(), done: make(chan struct{})}
		runs[i] = r
		running.Go(func() {
			defer close(r.done)
			r.ended, r.err = x.Exec(own, n, f.Command)
		})
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var effects []target.Effect
	var errs []error
	for _, r := range runs {
		e, err := r.effect(wait, s.Now)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.node.Name, err))
			continue
		}
		effects = append(effects, e)
	}
	if ctx.Err() != nil {
		errs = append(errs, fmt.Errorf("exec: it was given up: %w", context.Cause(ctx)))
	}
	return effects, f.undoing(x, s.Now, runs, func() { stop(); running.Wait() }), errors.Join(errs...)
}

// undoing gives up the commands that still run, and runs the undo in every node, once.
func (f Exec) undoing(x target.Execer, clock func() time.Time, runs []*run, stop func()) fault.Revert {
	var mu sync.Mutex // one Revert at a time
	done := make([]target.Effect, len(runs))
	return func(ctx context.Context) ([]target.Effect, error) {
		mu.Lock()
		defer mu.Unlock()
		errs := make([]error, len(runs))
		late := make([]error, len(runs))
		for i, r := range runs {
			late[i] = r.late()
		}
		stop()
		var g errgroup.Group
		for i, r := range runs {
			if !done[i].To.IsZero() {
				continue
			}
			g.Go(func() error {
				done[i], errs[i] = f.undo(ctx, x, clock, r.node)
				return nil // one node's trouble must not stop what is done in the others
			})
		}
		_ = g.Wait() // never an error, see above
		var effects []target.Effect
		for i, e := range done {
			if errs[i] == nil {
				effects = append(effects, e)
			}
			if err := errors.Join(late[i], errs[i]); err != nil {
				errs[i] = fmt.Errorf("%s: %w", runs[i].node.Name, err)
			}
		}
		return effects, errors.Join(errs...)
	}
}

func (f Exec) undo(ctx context.Context, x target.Execer, clock func() time.Time, n target.Node) (target.Effect, error) {
	if len(f.Undo) == 0 {
		now := clock()
		return target.Effect{Node: n, From: now, To: now, Source: source, Proof: "nothing to undo it with"}, nil
	}
	e, err := x.Exec(ctx, n, f.Undo)
	if err != nil {
		return target.Effect{}, fmt.Errorf("run its undo: %w", err)
	}
	if e.Code != 0 {
		return target.Effect{}, fmt.Errorf("its undo ended with %s", failure(e))
	}
	return target.Effect{Node: n, From: e.From, To: e.To, Source: source, Proof: success(e)}, nil
}

// A run is the command in one node.
type run struct {
	node  target.Node
	began time.Time     // on the engine's clock
	done  chan struct{} // closed when it has ended
	told  bool          // its end has been told of

	// Set before done is closed:
	ended target.Executed
	err   error
}

// effect waits for the command's end, and no longer than ctx allows. clock is the engine's.
func (r *run) effect(ctx context.Context, clock func() time.Time) (target.Effect, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		now := clock()
		return target.Effect{
			Node: r.node, From: r.began, To: now, Source: source,
			Proof: fmt.Sprintf("still running after %v", now.Sub(r.began).Round(100*time.Millisecond)),
		}, nil
	}
	r.told = true
	if r.err != nil {
		return target.Effect{}, fmt.Errorf("run the command: %w", r.err)
	}
	if r.ended.Code != 0 {
		return target.Effect{}, fmt.Errorf("the command ended with %s", failure(r.ended))
	}
	return target.Effect{Node: r.node, From: r.ended.From, To: r.ended.To, Source: source, Proof: success(r.ended)}, nil
}

// late is what went wrong with a command that ended after Inject, and before it was given up.
func (r *run) late() error {
	select {
	case <-r.done:
	default:
		r.told = true // what comes now is of our giving it up
		return nil
	}
	if r.told {
		return nil
	}
	r.told = true
	if r.err != nil {
		return fmt.Errorf("run the command: %w", r.err)
	}
	if r.ended.Code != 0 {
		return fmt.Errorf("the command ended with %s", failure(r.ended))
	}
	return nil
}

func success(e target.Executed) string {
	line, _, _ := strings.Cut(printable(e.Output), "\n")
	if line == "" {
		return "exit code 0, it printed nothing"
	}
	if runes := []rune(line); len(runes) > maxLine {
		line = string(runes[:maxLine]) + "…"
	}
	return "exit code 0: " + line
}

func failure(e target.Executed) string {
	out := e.Output
	if cut := len(out) - maxTail; cut > 0 {
		for out = out[cut:]; len(out) > 0 && !utf8.RuneStart(out[0]); { // no half character
			out = out[1:]
		}
	}
	if out = printable(out); out == "" {
		return fmt.Sprintf("exit code %d; it printed nothing", e.Code)
	}
	return fmt.Sprintf("exit code %d; the end of its output:\n%s", e.Code, out)
}

// printable drops what a terminal would obey: a command's output is not to be trusted.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s))
}
