package sysfault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

const (
	// scanEvery is how soon a program that has just been started is found. Until then it reads the true time.
	scanEvery = 200 * time.Millisecond
	// mostPasses is how often all processes are looked at, until none is found that is not as it should be: while we change one,
	// another may start a third.
	mostPasses = 5
)

// NewClock makes the worker that skews the wall clock of a node's processes: it changes the vDSO of each, the code of the
// kernel's that every program reads clocks with, static ones too, so that clock_gettime, gettimeofday and time ask
// the kernel and add the skew to CLOCK_REALTIME and CLOCK_REALTIME_COARSE. Monotonic clocks are as they were; reading any of them
// costs a system call while it lasts. What the kernel stamps and waits for keeps the true time: files, and timers and
// locks with an absolute time. A program that asks the kernel past the vDSO reads the true time too.
//
// It runs in the node's process namespace with CAP_SYS_PTRACE. A process stands still while it is changed. Children inherit
// the skew; programs that are started meanwhile get it within a fifth of a second. A helper that is killed leaves it;
// another one's Close, or any Set, undoes it or makes it its own.
func NewClock() (agent.Worker, error) {
	i, err := processor()
	if err != nil {
		return nil, err
	}
	v, err := ownVDSO(i)
	if err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	return &clock{vdso: v, list: nodeProcesses}, nil
}

type clock struct {
	vdso *vdso
	list func() ([]process, error) // of the processes to skew

	mu      sync.Mutex // held while processes are changed
	parts   map[string]timed
	skew    time.Duration
	changed map[process]bool
	missed  map[process]error
	seen    time.Duration // the worst
	stood   time.Duration // the longest

	stop chan struct{} // of the scan; nil: there is none
	gone sync.WaitGroup
}

// timed is one part, and how it is written.
type timed struct {
	task.Skew
	raw string
}

// Set returns when each process of the node has the sum of all skews.
func (c *clock) Set(_ context.Context, parts agent.Parts) (agent.Outcome, error) {
	out := agent.Outcome{From: time.Now(), Ended: agent.Parts{}}
	next, sum := make(map[string]timed, len(parts)), time.Duration(0)
	for name, raw := range parts {
		p := timed{raw: string(raw)}
		if err := decode(raw, &p.Skew); err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		next[name] = p
		sum += p.Offset
	}
	c.rest()
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.skew
	for name, p := range c.parts {
		if next[name].raw == p.raw {
			continue
		}
		report, err := json.Marshal(c.report())
		if err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		out.Ended[name] = report
	}
	if sum != before {
		c.changed, c.missed, c.seen, c.stood = make(map[process]bool), make(map[process]error), sum, 0
	}
	err := c.pass(sum)
	if err == nil && sum != 0 && len(c.changed) == 0 {
		err = errors.New("clock: no process of the node could be changed: " + why(c.missed))
	}
	if err == nil && sum == 0 && len(c.missed) > 0 {
		err = errors.New("clock: not every process has its time back: " + why(c.missed))
	}
	if err != nil && sum != 0 {
		err = errors.Join(err, c.pass(before))
		sum = before
	} else {
		c.parts = next
	}
	c.skew = sum
	if sum != 0 {
		c.scan()
	}
	out.To = time.Now()
	return out, err
}

// Read says what is in force.
func (c *clock) Read(context.Context) (agent.Parts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reports := make(agent.Parts, len(c.parts))
	for name := range c.parts {
		raw, err := json.Marshal(c.report())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		reports[name] = raw
	}
	return reports, nil
}

// Close gives all processes their time back, those too that another helper has left.
func (c *clock) Close() error {
	c.rest()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed, c.skew = make(map[process]error), 0
	clear(c.parts)
	if err := c.pass(0); err != nil {
		return err
	}
	if len(c.missed) > 0 {
		return errors.New("clock: not every process has its time back: " + why(c.missed))
	}
	return nil
}

// scan looks for new programs until rest. The lock is held.
func (c *clock) scan() {
	c.stop = make(chan struct{})
	stop := c.stop
	c.gone.Go(func() {
		tick := time.NewTicker(scanEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			c.mu.Lock()
			_ = c.pass(c.skew) // whom it missed is in the report; a list that cannot be had now can be the next time
			c.mu.Unlock()
		}
	})
}

// rest ends the scan.
func (c *clock) rest() {
	if c.stop == nil {
		return
	}
	close(c.stop)
	c.gone.Wait()
	c.stop = nil
}

// pass makes every process's clock wrong by skew. Whom it cannot change is in missed.
func (c *clock) pass(skew time.Duration) error {
	if c.changed == nil {
		c.changed = make(map[process]bool)
	}
	if c.missed == nil {
		c.missed = make(map[process]error)
	}
	for range mostPasses {
		all, err := c.list()
		if err != nil {
			return fmt.Errorf("clock: %w", err)
		}
		again := false
		for _, p := range all {
			did, err := c.change(p, skew)
			switch {
			case errors.Is(err, os.ErrProcessDone):
				delete(c.missed, p)
			case err != nil:
				c.missed[p] = err
			case did:
				again = true
				fallthrough
			default:
				delete(c.missed, p)
				if skew != 0 {
					c.changed[p] = true
				}
			}
		}
		maps.DeleteFunc(c.missed, func(p process, _ error) bool { return !slices.Contains(all, p) }) // they have ended
		if !again {
			return nil
		}
	}
	return nil
}

// change makes one process's clock wrong by skew, and reports whether there was something to do.
func (c *clock) change(p process, skew time.Duration) (bool, error) {
	if ok, _, err := c.as(p, skew); ok || err != nil {
		return false, err
	}
	edits, err := c.vdso.edits(skew)
	if err != nil {
		return false, err
	}
	var image []byte
	stood, err := traced(p.pid, func(t *tracing) error {
		at, err := vdsoOf(p.pid) // again: it may have become another program
		if err != nil {
			return err
		}
		if image, err = at.read(p.pid); err != nil {
			return err
		}
		switch state, _, err := c.vdso.state(image); {
		case err != nil:
			return err
		case state == vdsoForeign:
			return errForeign
		}
		if err := t.leave(func(pc uint64) bool { return busy(edits, int64(pc-at.start)) }); err != nil {
			return err
		}
		for _, e := range edits {
			if err := t.write(at.start+uint64(e.at), e.data); err != nil {
				return err
			}
		}
		image, err = at.read(p.pid)
		return err
	})
	c.stood = max(c.stood, stood)
	if err != nil {
		return false, err
	}
	if ok, err := c.vdso.whole(image, skew); err != nil || !ok {
		return false, errors.Join(errors.New("what was written to its vDSO is not there"), err)
	}
	if skew == 0 {
		return true, nil
	}
	seen, err := c.vdso.skewOf(image)
	if err != nil {
		return true, fmt.Errorf("it is changed, and what it reads could not be seen: %w", err)
	}
	if (seen-skew).Abs() > (c.seen-skew).Abs() || c.seen == skew {
		c.seen = seen
	}
	return true, nil
}

var errForeign = errors.New("its vDSO is not the kernel's for this program's kind: it is a 32-bit program, or a debugger has changed it")

// as reports whether a process's clock is as it should be. No thread stands still for that.
func (c *clock) as(p process, skew time.Duration) (bool, []byte, error) {
	at, err := vdsoOf(p.pid)
	if err != nil {
		if errors.Is(err, errNoVDSO) && skew == 0 {
			return true, nil, nil
		}
		return false, nil, err
	}
	image, err := at.read(p.pid)
	if err != nil {
		return false, nil, err
	}
	if state, _, err := c.vdso.state(image); err != nil || state == vdsoForeign {
		if skew == 0 && err == nil {
			return true, nil, nil // we have not changed it
		}
		return false, nil, errors.Join(errForeign, err)
	}
	ok, err := c.vdso.whole(image, skew)
	return ok, image, err
}

// skewOf runs the clock of an image in this process, and says how far it is from the true time. The stubs need
// nothing of what else is mapped beside a vDSO.
func (v *vdso) skewOf(image []byte) (time.Duration, error) {
	code, err := unix.Mmap(-1, 0, len(image), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, fmt.Errorf("map a copy: %w", err)
	}
	defer func() { _ = unix.Munmap(code) }() // it cannot fail for what was mapped
	copy(code, image)
	if err := unix.Mprotect(code, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return 0, fmt.Errorf("make a copy run: %w", err)
	}
	entry := uintptr(unsafe.Pointer(&code[v.entry[v.isa.stubs[0].name]]))
	var t unix.Timespec
	before := time.Now().Round(0)
	if e := callC(entry, unix.CLOCK_REALTIME, unsafe.Pointer(&t)); int32(e) != 0 {
		return 0, fmt.Errorf("it answers with error %d", -int32(e))
	}
	after := time.Now().Round(0)
	return time.Unix(t.Unix()).Sub(before.Add(after.Sub(before) / 2)), nil
}

func (c *clock) report() task.Skewed {
	r := task.Skewed{Asked: c.skew, Processes: len(c.changed), Seen: c.seen, Stopped: c.stood}
	for p, err := range c.missed {
		r.Missed = append(r.Missed, fmt.Sprintf("%v: %v", p, err))
	}
	slices.Sort(r.Missed)
	return r
}

// why says whom a pass has missed.
func why(missed map[process]error) string {
	if len(missed) == 0 {
		return "there is none"
	}
	var all []string
	for p, err := range missed {
		all = append(all, fmt.Sprintf("%v: %v", p, err))
	}
	slices.Sort(all)
	return all[0] + fmt.Sprintf(" (1 of %d)", len(all))
}
