package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Parts are what a helper keeps up, by the names of the faults that want it. What a part is, its worker knows.
type Parts map[string]json.RawMessage

// A Worker does what a helper is for, in the place where it runs. One goroutine calls it.
type Worker interface {
	// Set makes parts all that is in force: what is new begins, what is missing ends, what has changed
	// changes. It returns once that can be observed. On error what was in force before is, as far as it could.
	Set(ctx context.Context, parts Parts) (Outcome, error)
	// Read says what each part in force has delivered so far.
	Read(ctx context.Context) (Parts, error)
	// Close ends everything.
	io.Closer
}

// An Armer is a [Worker] that can prepare a part, so that Set takes no time: nothing of it is in force afterwards.
// A part that cannot work is an error.
type Armer interface {
	Arm(ctx context.Context, name string, part json.RawMessage) error
}

// An Outcome is what a [Worker] did and when. It happened between From and To, on the clock of its kernel.
type Outcome struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Ended Parts     `json:"ended,omitempty"` // what the parts that ended with it have delivered
}

// A Maker makes the worker of a helper.
type Maker func() (Worker, error)

// A helperCommand goes to a helper; one field besides ID is set.
type helperCommand struct {
	ID   uint64          `json:"id"`
	Arm  string          `json:"arm,omitempty"` // a part's name
	Part json.RawMessage `json:"part,omitempty"`
	Set  *Parts          `json:"set,omitempty"`
	Read bool            `json:"read,omitempty"`
}

// A helperReply answers one command. The first line of a helper is a greeting, with Hello alone.
type helperReply struct {
	Hello   int      `json:"hello,omitempty"`
	ID      uint64   `json:"id,omitempty"`
	Outcome *Outcome `json:"outcome,omitempty"`
	Parts   Parts    `json:"parts,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// Help is a helper's life: it does what the harness asks on in, with w, and closes w when in ends, when ctx is
// done, or when age is over. A command that is under way then is cancelled. It returns nil when in ended.
func Help(ctx context.Context, in io.Reader, out io.Writer, w Worker, age time.Duration) (err error) {
	defer func() { err = errors.Join(err, w.Close()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, age, fmt.Errorf("the helper is older than %v", age))
	defer cancel()
	e := json.NewEncoder(out)
	if err := e.Encode(helperReply{Hello: protocol}); err != nil {
		return fmt.Errorf("helper: greet the harness: %w", err)
	}
	commands, ended := make(chan helperCommand), make(chan error, 1)
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // a Read of in cannot be interrupted: the program exits after us
		ended <- listen(ctx, in, commands)
		stop(errors.New("the harness has gone")) // nobody waits for what is under way
	}()
	for {
		select {
		case c := <-commands:
			if err := e.Encode(answer(work, w, c)); err != nil {
				return fmt.Errorf("helper: answer the harness: %w", err)
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("helper: %w", context.Cause(ctx))
		}
	}
}

func listen(ctx context.Context, in io.Reader, commands chan<- helperCommand) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		var c helperCommand
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("helper: command from the harness: %w", err)
		}
		select {
		case commands <- c:
		case <-ctx.Done():
			return fmt.Errorf("helper: %w", context.Cause(ctx))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("helper: commands from the harness: %w", err)
	}
	return nil
}

func answer(ctx context.Context, w Worker, c helperCommand) helperReply {
	r := helperReply{ID: c.ID}
	var err error
	switch {
	case c.Set != nil:
		var o Outcome
		o, err = w.Set(ctx, *c.Set)
		r.Outcome = &o
	case c.Read:
		r.Parts, err = w.Read(ctx)
	case c.Arm != "":
		if a, ok := w.(Armer); ok {
			err = a.Arm(ctx, c.Arm, c.Part)
		}
	default:
		err = errors.New("the helper does not know this command")
	}
	r.Error = text(err)
	return r
}
