package agent

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

const (
	chunkSize  = 64 << 10 // bytes of results in one reply, about
	maxChunks  = 32 << 20 // bytes of them that wait for the harness; over it the load is broken off
	batchSize  = 512      // samples that are handed to the scribe together
	maxBatches = 64       // that wait for it
)

// A scribe writes down what becomes of every request, beside the load: who tells it never waits. What it sends are whole results, so that what arrived
// is a file that can be read, however it ends.
type scribe struct {
	id    uint64
	out   *outbox
	fail  func(error) // told once of what makes the results useless
	write func(*record.Sample) error
	chunk bytes.Buffer

	batch   []record.Sample
	batches chan []record.Sample
	spare   chan []record.Sample
	done    chan struct{}
	failed  atomic.Bool // nothing more is written
	err     error       // set before done is closed
}

var errScribe = errors.New("the requests cannot be written down as fast as they are sent; without --record, or at a lower rate, they need not be")

// newScribe makes a scribe that is not yet begun. nil where none is asked for.
func newScribe(s *server, id uint64, p load.Plan, fail func(error)) (*scribe, error) {
	if p.Results == nil {
		return nil, nil
	}
	if _, ok := s.generator.(load.Writer); !ok {
		return nil, errors.New("this generator cannot write its requests down")
	}
	return &scribe{
		id: id, out: s.out, fail: fail, batches: make(chan []record.Sample, maxBatches), spare: make(chan []record.Sample, maxBatches), done: make(chan struct{}),
	}, nil
}

// begin starts it, before the first sample. The caller calls end.
func (c *scribe) begin(g load.Generator, p load.Plan, zero time.Time) error {
	write, err := g.(load.Writer).Write(p, zero, &c.chunk)
	if err != nil {
		return err
	}
	c.write = write
	go c.work()
	return nil
}

// note takes a sample. One goroutine calls it at a time.
func (c *scribe) note(s *record.Sample) {
	if c.write == nil || c.failed.Load() {
		return
	}
	if c.batch == nil {
		select {
		case c.batch = <-c.spare:
		default:
			c.batch = make([]record.Sample, 0, batchSize)
		}
	}
	if c.batch = append(c.batch, *s); len(c.batch) < batchSize {
		return
	}
	select {
	case c.batches <- c.batch:
		c.batch = nil
	default:
		c.failed.Store(true)
		c.fail(errScribe)
	}
}

// end waits until everything is written that was told, and returns what went wrong. No sample may come any more.
func (c *scribe) end() error {
	if c.write == nil {
		return nil
	}
	if !c.failed.Load() && len(c.batch) > 0 {
		c.batches <- c.batch // where that has failed meanwhile, it is taken out all the same
	}
	close(c.batches)
	<-c.done
	if c.err == nil && c.failed.Load() {
		c.err = errScribe
	}
	return c.err
}

// ended is what a load came to that has ended with err: what went wrong with the results led to that. A nil scribe has nothing to say.
func (c *scribe) ended(err error) error {
	if c == nil {
		return err
	}
	if own := c.end(); own != nil {
		return own
	}
	return err
}

func (c *scribe) work() {
	defer close(c.done)
	for batch := range c.batches {
		if !c.failed.Load() {
			if c.err = c.put(batch); c.err != nil {
				c.failed.Store(true)
				c.fail(c.err)
			}
		}
		clear(batch)
		select {
		case c.spare <- batch[:0]:
		default:
		}
	}
	if !c.failed.Load() {
		c.err = c.send()
	}
}

func (c *scribe) put(batch []record.Sample) error {
	for i := range batch {
		if c.failed.Load() {
			return errScribe
		}
		if err := c.write(&batch[i]); err != nil {
			return fmt.Errorf("write a request down: %w", err)
		}
		if c.chunk.Len() >= chunkSize {
			if err := c.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *scribe) send() error {
	if c.chunk.Len() == 0 {
		return nil
	}
	chunk := slices.Clone(c.chunk.Bytes())
	c.chunk.Reset()
	if !c.out.room(len(chunk)) {
		return errScribe
	}
	c.out.put(reply{ID: c.id, Chunk: chunk})
	return nil
}
