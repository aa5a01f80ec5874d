package docker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/tutti-bench/tutti/lib/target"
)

// execOutput is how much of a command's output is kept.
const execOutput = 64 << 10

// What an engine says of a command that it could not start: it is not there, or is no program.
const notProgram, notFound = 126, 127

// Exec runs a command inside a node, as its service's user. When ctx is done before the command is, its streams are
// closed: the engine can end a command in no other way, so that one which neither reads nor writes goes on until its node
// ends.
func (c *cluster) Exec(ctx context.Context, n target.Node, command []string) (target.Executed, error) {
	x, err := c.exec(ctx, n, command)
	if err != nil {
		return target.Executed{}, fmt.Errorf("run %q in %s: %w", command, n.Name, err)
	}
	return x, nil
}

func (c *cluster) exec(ctx context.Context, n target.Node, command []string) (target.Executed, error) {
	r, err := c.find(n)
	if err != nil {
		return target.Executed{}, err
	}
	w, err := c.events.wait(r.node.ID)
	if err != nil {
		return target.Executed{}, err
	}
	defer w.close()
	made, err := c.d.api.ContainerExecCreate(ctx, r.node.ID, container.ExecOptions{AttachStdout: true, AttachStderr: true, Cmd: command})
	if err != nil {
		return target.Executed{}, err
	}
	w.ends(made.ID)
	x := target.Executed{From: c.before()}
	stream, err := c.d.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return target.Executed{}, err
	}
	var out capped
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, err = stdcopy.StdCopy(&out, &out, stream.Reader)
	}()
	select {
	case <-read:
		stream.Close()
	case <-ctx.Done():
		stream.Close()
		<-read
		return target.Executed{}, fmt.Errorf("it has not ended: %w; it wrote %q", context.Cause(ctx), printable(out.String()))
	}
	if err != nil {
		return target.Executed{}, fmt.Errorf("read its output: %w", err)
	}
	got, err := c.execResult(ctx, made.ID)
	if err != nil {
		return target.Executed{}, err
	}
	x.Code, x.Output = got.ExitCode, out.String()
	if got.Pid == 0 && (got.ExitCode == notProgram || got.ExitCode == notFound) {
		return target.Executed{}, errors.New(printable(x.Output))
	}
	x.To = c.execDied(ctx, w)
	if x.From.After(x.To) {
		x.From = x.To
	}
	return x, nil
}

// execResult waits until the engine knows how a command has ended whose output has: a command may close it before.
func (c *cluster) execResult(ctx context.Context, id string) (container.ExecInspect, error) {
	for {
		got, err := c.d.api.ContainerExecInspect(ctx, id)
		if err != nil {
			return got, fmt.Errorf("ask the engine for its end: %w", err)
		}
		if !got.Running {
			return got, nil
		}
		select {
		case <-time.After(testPoll):
		case <-ctx.Done():
			return got, fmt.Errorf("it has not ended: %w", context.Cause(ctx))
		}
	}
}

// execDied is when the engine saw the end of a command. It has seen it by now; the event may be a moment behind. Without
// one, the end is now.
func (c *cluster) execDied(ctx context.Context, w *wait) time.Time {
	ctx, cancel := context.WithTimeout(ctx, execEnd)
	defer cancel()
	for {
		m, err := w.next(ctx)
		if err != nil {
			return c.before()
		}
		if m.Action == events.ActionExecDie { // of another command none is collected
			return at(m)
		}
	}
}

// capped keeps the beginning of what is written to it.
type capped struct {
	mu   sync.Mutex
	data []byte
}

func (c *capped) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = append(c.data, b[:min(len(b), execOutput-len(c.data))]...)
	return len(b), nil
}

func (c *capped) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.data)
}
