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
	agentMemory  = 1 << 30
	agentPids    = 4096
	stderrTail   = 4 << 10
	readerStalls = 10 * time.Second // a reader that takes nothing for so long has gone
)

// Attach starts our own binary in a container on the target's networks. ctx bounds
// the start only: the process ends by itself, when its Stdin is closed, by Kill, or in Down. If
// the harness dies, the engine closes its standard input.
func (c *cluster) Attach(ctx context.Context, args ...string) (*target.Process, error) {
	p, err := c.attach(ctx, args)
	if err != nil {
		return nil, fmt.Errorf("attach a process to the target: %w", err)
	}
	return p, nil
}

func (c *cluster) attach(ctx context.Context, args []string) (*target.Process, error) {
	img, err := c.d.tuttiImage(ctx, c.spec.Progress)
	if err != nil {
		return nil, err
	}
	place, err := c.takePlace()
	if err != nil {
		return nil, err
	}
	started := false
	defer func() {
		if !started {
			c.givePlace(place)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name := fmt.Sprintf("tutti-agent-%d", place+1) // no service's, most likely
	id, err := c.create(ctx, c.project+"-"+name, c.agentConfig(img, args), agentHost(), c.agentEndpoints(place, name))
	if err != nil {
		return nil, errors.Join(err, c.removeAgent(ctx, id))
	}
	stream, err := c.d.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach to %s: %w", name, err), c.removeAgent(ctx, id))
	}
	// Asked before the start, so that a process that ends at once is not missed.
	waiting, stopWaiting := context.WithCancel(context.WithoutCancel(ctx))
	exited, failed := c.d.api.ContainerWait(waiting, id, container.WaitConditionNextExit)
	if err := c.d.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		stopWaiting()
		stream.Close()
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), c.removeAgent(ctx, id))
	}
	started = true
	p := &process{c: c, id: id, name: name, place: place, stream: stream, over: make(chan struct{})}
	p.out, p.in = io.Pipe()
	demuxed := make(chan struct{})
	go p.demux(demuxed)
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer stopWaiting()
		p.finish(waiting, exited, failed, demuxed)
	}()
	return &target.Process{Stdin: closeWriter{stream}, Stdout: p.out, Wait: p.wait, Kill: p.kill}, nil
}

// takePlace reserves one of the addresses for attached processes.
func (c *cluster) takePlace() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.downing {
		return 0, errors.New("the target has been taken down")
	}
	if n := len(c.free); n > 0 {
		place := c.free[n-1]
		c.free = c.free[:n-1]
		return place, nil
	}
	limit := agentAddresses
	for _, s := range c.nets {
		limit = min(limit, len(s.agents))
	}
	if c.agents >= limit {
		return 0, fmt.Errorf("%d processes are attached already, and there is no address for more", limit)
	}
	c.agents++
	return c.agents - 1, nil
}

func (c *cluster) givePlace(place int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, place)
}

func (c *cluster) agentEndpoints(place int, name string) []endpoint {
	var ends []endpoint
	// The one that clients come in by first: it gets the default route.
	for _, first := range []bool{true, false} {
		for _, n := range sortedKeys(c.nets) {
			if s := c.nets[n]; c.ingressOn(n) == first {
				ends = append(ends, endpoint{net: s, address: s.agents[place].String(), aliases: []string{name}})
			}
		}
	}
	return ends
}

func (c *cluster) agentConfig(img imageRef, args []string) *container.Config {
	return &container.Config{
		Image: img.name, Cmd: args, Labels: c.labels("agent"),
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
		OpenStdin: true, StdinOnce: true, // our end closes when we die, and then so does its
	}
}

// agentHost gives a process what load needs, and no more. Open files need no limit of
// ours: the Go runtime raises the soft one to the engine's hard one.
func agentHost() *container.HostConfig {
	return &container.HostConfig{
		// Its standard output is our data, which the engine must not keep a copy of.
		LogConfig:      container.LogConfig{Type: "none"},
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		CapDrop:        []string{"ALL"},
		ReadonlyRootfs: true,
		SecurityOpt:    []string{"no-new-privileges:true"},
		Resources:      container.Resources{Memory: agentMemory, PidsLimit: ptr(int64(agentPids))},
	}
}

func (c *cluster) removeAgent(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return c.d.removeThing(ctx, thing{kind: "container", id: id, name: "of an attached process"})
}

// process is one attached process.
type process struct {
	c      *cluster
	id     string
	name   string
	place  int
	stream types.HijackedResponse
	out    *io.PipeReader
	in     *io.PipeWriter
	passed atomic.Int64 // bytes of standard output that were read
	stderr tail
	over   chan struct{}
	err    error // of the process; read after over is closed
}

// demux takes the engine's stream apart until it ends.
func (p *process) demux(done chan<- struct{}) {
	defer close(done)
	_, err := stdcopy.StdCopy(counted{p.in, &p.passed}, &p.stderr, p.stream.Reader)
	p.in.CloseWithError(err) // nil is EOF
}

// finish waits for the end of the process, lets its output be read, and removes it.
func (p *process) finish(ctx context.Context, exited <-chan container.WaitResponse, failed <-chan error, demuxed <-chan struct{}) {
	defer close(p.over)
	select {
	case res := <-exited:
		switch {
		case res.Error != nil:
			p.err = errors.New(res.Error.Message)
		case res.StatusCode != 0:
			p.err = fmt.Errorf("exit code %d", res.StatusCode)
		}
	case err := <-failed:
		p.err = fmt.Errorf("wait for its end: %w", err)
	}
	p.drain(demuxed)
	p.stream.Close()
	if err := p.c.removeAgent(ctx, p.id); err != nil && p.err == nil {
		p.err = err
	}
	p.c.givePlace(p.place)
	if p.err == nil {
		return
	}
	p.err = fmt.Errorf("attached process %s: %w", p.name, p.err)
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

func (p *process) kill() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	// An error means that it has ended, or that Down will see to it.
	_ = p.c.d.api.ContainerKill(ctx, p.id, "SIGKILL")
	p.out.CloseWithError(errors.New("the process was killed"))
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
