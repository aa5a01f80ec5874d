package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// A Client is the harness's end of the wire to one agent. It is safe for concurrent
// use. Who dialled it closes it.
type Client struct {
	process   *target.Process
	offset    time.Duration
	uncertain time.Duration

	write sync.Mutex // held for each line that is written

	mu    sync.Mutex
	last  uint64 // ID of the latest command
	calls map[uint64]*call
	err   error // why it ended; set before gone is closed

	hello chan reply
	gone  chan struct{} // closed when the process has ended
}

// A call is a command that waits for replies.
type call struct {
	replies chan reply
	left    chan struct{} // closed when nobody waits any more
}

// pings is how often the clock is asked; the fastest answer counts.
const pings = 16

// Dial takes over an agent's process: it waits for its hello and compares clocks. On
// error the process has ended.
func Dial(ctx context.Context, p *target.Process) (*Client, error) {
	c := &Client{
		process: p, calls: make(map[uint64]*call),
		hello: make(chan reply, 1), gone: make(chan struct{}),
	}
	go c.read() // ends with the process, which Close waits for
	err := c.greet(ctx)
	if err == nil {
		err = c.compareClocks(ctx)
	}
	if err != nil {
		p.Kill()
		_ = c.Close() // its error is that the process was killed
		return nil, fmt.Errorf("talk to the agent: %w", err)
	}
	return c, nil
}

func (c *Client) greet(ctx context.Context) error {
	select {
	case h := <-c.hello:
		if h.Hello != protocol {
			return fmt.Errorf("it speaks version %d of the protocol, this program version %d: both must be the same build", h.Hello, protocol)
		}
		return nil
	case <-c.gone:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for its hello: %w", context.Cause(ctx))
	}
}

func (c *Client) compareClocks(ctx context.Context) error {
	for i := range pings {
		from := time.Now()
		r, err := c.ask(ctx, command{Clock: true})
		if err != nil {
			return err
		}
		rtt := time.Since(from)
		if i > 0 && rtt/2 >= c.uncertain {
			continue
		}
		middle := from.Add(rtt / 2)
		c.uncertain, c.offset = rtt/2, time.Unix(0, r.Clock).Sub(middle.Round(0))
	}
	return nil
}

// Offset is how far the agent's clock is ahead of ours, and by how much that may be
// wrong either way: half of the fastest of several round trips, when the agent was dialled.
func (c *Client) Offset() (offset, uncertainty time.Duration) { return c.offset, c.uncertain }

// Probe asks the agent to probe once from where it is.
func (c *Client) Probe(ctx context.Context, p Probe) error {
	_, err := c.ask(ctx, command{Probe: &p})
	return err
}

// Resolve looks a host name up inside the target's network. Given host:port it returns each
// address with the port to use for it; given a host, addresses alone.
func (c *Client) Resolve(ctx context.Context, host string) ([]string, error) {
	if host == "" {
		return nil, errors.New("agent: resolve: no host name")
	}
	r, err := c.ask(ctx, command{Resolve: host})
	return r.Addresses, err
}

// Fetch has the agent fetch something from where it is. At most 16 of these, of probes and look-ups can be under way at
// once.
func (c *Client) Fetch(ctx context.Context, f Fetch) (Fetched, error) {
	r, err := c.ask(ctx, command{Fetch: &f})
	if err != nil {
		return Fetched{}, err
	}
	if r.Fetched == nil {
		return Fetched{}, errors.New("agent: fetch: no answer")
	}
	return *r.Fetched, nil
}

// ErrLost is in the chain of the error of whatever is asked of an agent whose process has ended.
var ErrLost = errors.New("the load agent was lost")

// A Sent is what came of a load, beside its bins.
type Sent struct {
	record.Generator // what the generator says of itself

	Slowest []record.Example // see [record.Recording]
}

// Load has the agent send a plan's load. It calls started with the zero of the
// schedule, on the agent's clock, and bin with each bin once that is complete, one call at a
// time, in no order.
//
// When ctx is done the load is broken off and the error is ctx's; bins are then missing. Where the plan asks for results, what was written of them then are
// whole results, and closed; where they cannot be written the load is broken off, too.
func (c *Client) Load(ctx context.Context, p load.Plan, started func(zero time.Time), bin func(record.Bin)) (Sent, error) {
	if p.Results == nil {
		return c.load(ctx, p, started, bin, nil)
	}
	w, err := p.Results.Open(p.Part)
	if err != nil {
		return Sent{}, fmt.Errorf("open the file of all requests: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	sent, err := c.load(ctx, p, started, bin, func(chunk []byte) {
		if failed != nil {
			return
		}
		if _, failed = w.Write(chunk); failed != nil {
			cancel(failed)
		}
	})
	if failed = errors.Join(failed, w.Close()); failed != nil {
		sent.Complete = false
		return sent, fmt.Errorf("keep all requests: %w", failed)
	}
	return sent, err
}

func (c *Client) load(ctx context.Context, p load.Plan, started func(time.Time), bin func(record.Bin), chunk func([]byte)) (Sent, error) {
	id, k, err := c.send(command{Load: &p})
	if err != nil {
		return Sent{}, err
	}
	defer c.forget(id, k)
	r, err := c.follow(ctx, id, k, "load", func(r reply) {
		switch {
		case r.Started != 0:
			started(time.Unix(0, r.Started))
		case r.Bin != nil:
			bin(*r.Bin)
		case r.Chunk != nil && chunk != nil:
			chunk(r.Chunk)
		}
	})
	if err != nil {
		return Sent{}, err
	}
	return finish(ctx, r)
}

// follow hands every reply to a command to each, but for the last one, which it returns. When ctx is done it has the command
// broken off.
func (c *Client) follow(ctx context.Context, id uint64, k *call, what string, each func(reply)) (reply, error) {
	stop, limit := ctx.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case r := <-k.replies:
			if r.End {
				return r, nil
			}
			each(r)
		case <-stop:
			stop = nil
			if _, _, err := c.send(command{Cancel: id}); err != nil {
				return reply{}, errors.Join(context.Cause(ctx), err)
			}
			t := time.NewTimer(patience)
			defer t.Stop()
			limit = t.C
		case <-limit:
			return reply{}, fmt.Errorf("agent: %s is not broken off after %v: %w", what, patience, context.Cause(ctx))
		case <-c.gone:
			return reply{}, fmt.Errorf("%w: %w", ErrLost, c.err)
		}
	}
}

// Verify has the agent read back what the latest load wrote, as that load's plan says, and calls progress about once a
// second. It returns what was found, one for each item of the plan's verification; and where writes share keys that the load
// reads, what happened to each key. With a problem nothing is read: the writes are counted, and the problem is kept with the counts.
//
// When ctx is done reading is broken off and the error is ctx's.
func (c *Client) Verify(ctx context.Context, problem string, progress func(Progress)) ([]record.Writes, []record.History, error) {
	id, k, err := c.send(command{Verify: &verifyOrder{Problem: problem}})
	if err != nil {
		return nil, nil, err
	}
	var histories []record.History
	defer c.forget(id, k)
	r, err := c.follow(ctx, id, k, "reading back", func(r reply) {
		if r.Progress != nil {
			progress(*r.Progress)
		}
		histories = append(histories, r.Histories...)
	})
	switch {
	case err != nil:
		return nil, nil, err
	case ctx.Err() != nil:
		return nil, nil, fmt.Errorf("agent: verify: %w", context.Cause(ctx))
	case r.Error != "":
		return nil, nil, fmt.Errorf("agent: verify: %s", r.Error)
	}
	return r.Writes, histories, nil
}

func finish(ctx context.Context, r reply) (Sent, error) {
	g := Sent{Slowest: r.Slowest}
	if r.Done != nil {
		g.Generator = *r.Done
	}
	switch {
	case g.Complete:
		return g, nil
	case ctx.Err() != nil:
		return g, fmt.Errorf("agent: load: %w", context.Cause(ctx))
	case r.Error != "":
		return g, fmt.Errorf("agent: load: %s", r.Error)
	}
	return g, fmt.Errorf("agent: load: %d of %d requests are accounted for", g.Counted, g.Scheduled)
}

// Close asks the agent to end, waits for it, and kills it if that takes over 5 s; it waits as long again for the end of that. It
// returns nil if the agent ended as it should. It may be called twice.
func (c *Client) Close() error {
	c.write.Lock()
	err := c.process.Stdin.Close()
	c.write.Unlock()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	select {
	case <-c.gone:
	case <-time.After(patience):
		c.process.Kill()
		select {
		case <-c.gone:
		case <-time.After(patience): // who waits for us has a target to remove, and the agent's container with it
			return errors.Join(errors.New("the load agent does not end, not even killed"), err)
		}
	}
	if errors.Is(c.err, errEnded) {
		return nil
	}
	return errors.Join(c.err, err)
}

// ask sends a command and returns its one reply.
func (c *Client) ask(ctx context.Context, m command) (reply, error) {
	id, k, err := c.send(m)
	if err != nil {
		return reply{}, err
	}
	defer c.forget(id, k)
	select {
	case r := <-k.replies:
		if r.Error != "" {
			return r, fmt.Errorf("agent: %s", r.Error)
		}
		return r, nil
	case <-c.gone:
		return reply{}, fmt.Errorf("%w: %w", ErrLost, c.err)
	case <-ctx.Done():
		return reply{}, fmt.Errorf("agent: %w", context.Cause(ctx))
	}
}

func (c *Client) send(m command) (uint64, *call, error) {
	k := &call{replies: make(chan reply), left: make(chan struct{})}
	c.mu.Lock()
	c.last++
	m.ID = c.last
	if m.Cancel == 0 {
		c.calls[m.ID] = k
	}
	c.mu.Unlock()
	b, err := json.Marshal(m)
	if err == nil {
		c.write.Lock()
		_, err = c.process.Stdin.Write(append(b, '\n'))
		c.write.Unlock()
	}
	if err == nil {
		return m.ID, k, nil
	}
	c.forget(m.ID, k)
	select { // the process's own words say more than a broken pipe
	case <-c.gone:
		return 0, nil, fmt.Errorf("%w: %w", ErrLost, c.err)
	case <-time.After(patience):
		return 0, nil, fmt.Errorf("agent: write a command: %w", err)
	}
}

func (c *Client) forget(id uint64, k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
	close(k.left)
}

// errEnded is the end of an agent that left with exit code 0.
var errEnded = errors.New("the agent has ended")

// read hands out replies until the process's output ends, then waits for the process.
func (c *Client) read() {
	err := c.readLines()
	if err != nil {
		c.process.Kill()
	}
	// Who reads to the end keeps nobody from writing it.
	_, drainErr := io.Copy(io.Discard, c.process.Stdout)
	kill := time.AfterFunc(patience, c.process.Kill)
	waitErr := c.process.Wait()
	kill.Stop()
	switch {
	case err != nil:
		c.err = err
	case waitErr != nil:
		c.err = fmt.Errorf("the agent has ended: %w", waitErr)
	case drainErr != nil:
		c.err = fmt.Errorf("read from the agent: %w", drainErr)
	default:
		c.err = errEnded
	}
	close(c.gone)
}

func (c *Client) readLines() error {
	lines := bufio.NewScanner(c.process.Stdout)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("what the agent says is not understood: %w", err)
		}
		if r.Hello != 0 {
			select {
			case c.hello <- r:
			default:
				return errors.New("the agent said hello twice")
			}
			continue
		}
		c.mu.Lock()
		k := c.calls[r.ID]
		c.mu.Unlock()
		if k == nil {
			continue // nobody waits for it any more
		}
		select {
		case k.replies <- r:
		case <-k.left:
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read from the agent: %w", err)
	}
	return nil
}
