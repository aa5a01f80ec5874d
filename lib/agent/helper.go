package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// A Helper is the harness's end of the wire to one helper. It is safe for concurrent use.
// Who dialled it closes it.
type Helper struct {
	process *target.Process

	turn    chan struct{} // holds one token: one command is under way at a time
	last    uint64        // ID of the latest command; whoever holds the token owns it
	replies chan helperReply

	gone chan struct{} // closed when the process has ended
	err  error         // why; read after gone is closed
	quit sync.Once
}

// DialHelper takes over a helper's process and waits for its greeting. On error the process has ended.
func DialHelper(ctx context.Context, p *target.Process) (*Helper, error) {
	h := &Helper{process: p, turn: make(chan struct{}, 1), replies: make(chan helperReply, 1), gone: make(chan struct{})}
	go h.read() // ends with the process, which Close waits for
	var err error
	select {
	case r := <-h.replies:
		if r.Hello == protocol {
			h.turn <- struct{}{}
			return h, nil
		}
		err = fmt.Errorf("it speaks version %d of the protocol, this program version %d: both must be the same build", r.Hello, protocol)
	case <-h.gone:
		err = h.err
	case <-ctx.Done():
		err = fmt.Errorf("waiting for its greeting: %w", context.Cause(ctx))
	}
	p.Kill()
	_ = h.Close() // its error is that the process was killed
	return nil, fmt.Errorf("talk to the helper: %w", err)
}

// Arm has the helper prepare a part. Nothing of it is in force afterwards.
func (h *Helper) Arm(ctx context.Context, name string, part json.RawMessage) error {
	_, err := h.ask(ctx, helperCommand{Arm: name, Part: part})
	return err
}

// Set makes parts all that the helper keeps up.
func (h *Helper) Set(ctx context.Context, parts Parts) (Outcome, error) {
	if parts == nil {
		parts = Parts{}
	}
	r, err := h.ask(ctx, helperCommand{Set: &parts})
	if r.Outcome == nil {
		return Outcome{}, errors.Join(err, errors.New("helper: no outcome"))
	}
	return *r.Outcome, err
}

// Read says what each part has delivered so far.
func (h *Helper) Read(ctx context.Context) (Parts, error) {
	r, err := h.ask(ctx, helperCommand{Read: true})
	return r.Parts, err
}

// Gone is closed when the helper has ended, whoever ended it.
func (h *Helper) Gone() <-chan struct{} { return h.gone }

// Close ends the helper, and with it all that it keeps up: it waits for it, and kills it if that takes over
// 5 s; it waits as long again for the end of that. It may be called twice. An error says that it did not end as it should.
func (h *Helper) Close() error {
	var err error
	h.quit.Do(func() { err = h.process.Stdin.Close() })
	if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
		err = nil // it has ended already, and why is in h.err
	}
	wait, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-h.gone:
	case <-wait.Done():
		h.process.Kill()
		select {
		case <-h.gone:
		case <-time.After(patience): // who waits for us has a target to remove, and the helper's container with it
			return errors.Join(errors.New("the helper does not end, not even killed"), err)
		}
	}
	if errors.Is(h.err, errHelperEnded) {
		return nil // what Close said of its input does not matter then
	}
	return errors.Join(h.err, err)
}

func (h *Helper) ask(ctx context.Context, c helperCommand) (helperReply, error) {
	select {
	case <-h.turn:
	case <-h.gone:
		return helperReply{}, h.err
	case <-ctx.Done():
		return helperReply{}, fmt.Errorf("helper: %w", context.Cause(ctx))
	}
	defer func() { h.turn <- struct{}{} }()
	h.last++
	c.ID = h.last
	b, err := json.Marshal(c)
	if err != nil {
		return helperReply{}, fmt.Errorf("helper: %w", err)
	}
	if _, err := h.process.Stdin.Write(append(b, '\n')); err != nil {
		return helperReply{}, fmt.Errorf("helper: write a command: %w", err)
	}
	for {
		select {
		case r := <-h.replies:
			if r.ID != c.ID {
				continue // to one that was given up
			}
			if r.Error != "" {
				return r, fmt.Errorf("helper: %s", r.Error)
			}
			return r, nil
		case <-h.gone:
			return helperReply{}, h.err
		case <-ctx.Done():
			return helperReply{}, fmt.Errorf("helper: %w", context.Cause(ctx))
		}
	}
}

// errHelperEnded is the end of a helper that left with exit code 0.
var errHelperEnded = errors.New("the helper has ended")

// read hands out replies until the process's output ends, then waits for the process.
func (h *Helper) read() {
	defer close(h.gone)
	lines := bufio.NewScanner(h.process.Stdout)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var err error
	for err == nil && lines.Scan() {
		var r helperReply
		if err = json.Unmarshal(lines.Bytes(), &r); err != nil {
			err = fmt.Errorf("what the helper says is not understood: %w", err)
			break
		}
		h.pass(r)
	}
	if err = errors.Join(err, lines.Err()); err != nil {
		h.process.Kill()
	}
	_, _ = io.Copy(io.Discard, h.process.Stdout) // who reads to the end keeps nobody from writing it
	waited := h.process.Wait()
	switch {
	case err != nil:
		h.err = err
	case waited != nil:
		h.err = fmt.Errorf("the helper has ended: %w", waited)
	default:
		h.err = errHelperEnded
	}
}

// pass puts a reply where its asker finds it, in place of one that nobody fetched.
func (h *Helper) pass(r helperReply) {
	for {
		select {
		case h.replies <- r:
			return
		default:
		}
		select {
		case <-h.replies:
		default:
		}
	}
}
