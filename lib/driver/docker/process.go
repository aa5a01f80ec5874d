package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	stderrTail   = 4 << 10
	readerStalls = 10 * time.Second // a reader that takes nothing for so long has gone
)

// launch is what it takes to start our own binary in a container of its own.
type launch struct {
	name   string // the container's
	what   string // for messages; "": the name
	config *container.Config
	host   *container.HostConfig
	ends   []endpoint
	create func(context.Context, string, *container.Config, *container.HostConfig, []endpoint) (string, error)
	over   func() // called once nothing of it is left, or nothing was made
}

// launch starts it and attaches to its standard streams. ctx bounds the start only.
func (d *Driver) launch(ctx context.Context, l launch, progress func(string)) (_ *target.Process, err error) {
	started := false
	defer func() {
		if !started {
			l.over()
		}
	}()
	if _, err := d.tuttiImage(ctx, progress); err != nil { // before the time for the start begins
		return nil, err
	}
	if l.what == "" {
		l.what = l.name
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id, _, err := d.createFrom(ctx, func() (imageRef, error) { return d.tuttiImage(ctx, progress) }, func(img imageRef) (string, error) {
		l.config.Image = img.name
		return l.create(ctx, l.name, l.config, l.host, l.ends)
	})
	if err != nil {
		return nil, errors.Join(err, d.removeOwn(ctx, id))
	}
	stream, err := d.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach to %s: %w", l.what, err), d.removeOwn(ctx, id))
	}
	// Asked before the start, so that a process that ends at once is not missed.
	waiting, stopWaiting := context.WithCancel(context.WithoutCancel(ctx))
	exited, failed := d.api.ContainerWait(waiting, id, container.WaitConditionNextExit)
	if err := d.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		stopWaiting()
		stream.Close()
		return nil, errors.Join(fmt.Errorf("start %s: %w", l.what, err), d.removeOwn(ctx, id))
	}
	started = true
	p := newProcess(l.what, stream)
	go func() {
		defer l.over()
		defer stopWaiting()
		p.finish(
			func() error { return exit(exited, failed) },
			func() error { return d.removeOwn(waiting, id) },
		)
	}()
	return p.handle(ctx, func(ctx context.Context) {
		// An error means that it has ended, or that Down will see to it.
		_ = d.api.ContainerKill(ctx, id, "SIGKILL")
	}), nil
}

// exit waits for a container's end.
func exit(exited <-chan container.WaitResponse, failed <-chan error) error {
	select {
	case res := <-exited:
		switch {
		case res.Error != nil:
			return errors.New(res.Error.Message)
		case res.StatusCode != 0:
			return fmt.Errorf("exit code %d", res.StatusCode)
		}
		return nil
	case err := <-failed:
		return fmt.Errorf("wait for its end: %w", err)
	}
}

// ownConfig is what a container with our own binary runs.
func ownConfig(args []string, labels map[string]string) *container.Config {
	return &container.Config{
		Cmd: args, Labels: labels,
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
		OpenStdin: true, StdinOnce: true, // our end closes when we die, and then so does its
	}
}

// ownHost gives our own binary what it needs, and no more. Open files need no limit of
// ours: the Go runtime raises the soft one to the engine's hard one.
func ownHost(memory, pids int64) *container.HostConfig {
	return &container.HostConfig{
		// Its standard output is our data, which the engine must not keep a copy of.
		LogConfig:      container.LogConfig{Type: "none"},
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		CapDrop:        []string{"ALL"},
		ReadonlyRootfs: true,
		SecurityOpt:    []string{"no-new-privileges:true"},
		Resources:      container.Resources{Memory: memory, PidsLimit: ptr(pids)},
	}
}

func (d *Driver) removeOwn(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return d.removeThing(ctx, thing{kind: "container", id: id, name: "of a process of ours"})
}

// process is our own binary with its standard streams attached, in a container of its own or in a node's.
type process struct {
	name    string
	stream  types.HijackedResponse
	out     *io.PipeReader
	in      *io.PipeWriter
	passed  atomic.Int64 // bytes of standard output that were read
	stderr  tail
	demuxed chan struct{} // closed when the stream has ended
	over    chan struct{}
	err     error // of the process; read after over is closed
}

// newProcess takes a stream over. The caller runs finish.
func newProcess(name string, stream types.HijackedResponse) *process {
	p := &process{name: name, stream: stream, demuxed: make(chan struct{}), over: make(chan struct{})}
	p.out, p.in = io.Pipe()
	go p.demux() // finish waits for it
	return p
}

// handle is the process as others see it; kill ends it at once.
func (p *process) handle(ctx context.Context, kill func(context.Context)) *target.Process {
	life := context.WithoutCancel(ctx)
	return &target.Process{Stdin: closeWriter{p.stream}, Stdout: p.out, Wait: p.wait, Kill: func() {
		ctx, cancel := context.WithTimeout(life, callTimeout)
		defer cancel()
		kill(ctx)
		p.out.CloseWithError(errors.New("the process was killed"))
	}}
}

// demux takes the engine's stream apart until it ends.
func (p *process) demux() {
	defer close(p.demuxed)
	_, err := stdcopy.StdCopy(counted{p.in, &p.passed}, &p.stderr, p.stream.Reader)
	p.in.CloseWithError(err) // nil is EOF
}

// finish waits for the end of the process, lets its output be read, and removes it.
func (p *process) finish(end, remove func() error) {
	defer close(p.over)
	p.err = end()
	p.drain(p.demuxed)
	p.stream.Close()
	if err := remove(); err != nil && p.err == nil {
		p.err = err
	}
	if p.err == nil {
		return
	}
	p.err = fmt.Errorf("process %s: %w", p.name, p.err)
	if words := printable(p.stderr.String()); words != "" {
		p.err = fmt.Errorf("%w\n%s", p.err, words)
	}
}

// drain waits until the output has been read, or nobody reads it any more.
func (p *process) drain(demuxed <-chan struct{}) {
	last := int64(-1)
	tick := time.NewTicker(readerStalls)
	defer tick.Stop()
	for {
		select {
		case <-demuxed:
			return
		case <-tick.C:
			now := p.passed.Load()
			if now != last {
				last = now
				continue
			}
			p.out.CloseWithError(errors.New("nobody read the output of the ended process"))
			p.stream.Close()
			<-demuxed
			return
		}
	}
}

func (p *process) wait() error {
	<-p.over
	return p.err
}

// closeWriter is the process's standard input: closing it leaves the output open.
type closeWriter struct{ stream types.HijackedResponse }

func (w closeWriter) Write(b []byte) (int, error) { return w.stream.Conn.Write(b) }
func (w closeWriter) Close() error                { return w.stream.CloseWrite() }

// counted counts what passes.
type counted struct {
	w io.Writer
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if over := len(t.data) - stderrTail; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
