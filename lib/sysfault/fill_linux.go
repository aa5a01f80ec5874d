package sysfault

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

const (
	fillStep  = 4 << 20               // bytes that are taken before looking again
	fillEvery = 50 * time.Millisecond // between looks at what the service uses
	fillWait  = 30 * time.Second      // for what was asked to be in use
)

// margin is what a filling leaves free below the limit, whatever is asked for: 2 % and at least 4 MiB, so that the service's next
// allocation finds some.
func margin(limit int64) int64 { return max(limit/50, 4<<20) }

// A hoard is memory that counts as the control group's and as no process's: a file without a name and in no process's address
// space. The kernel's choice of whom to kill goes by what processes have mapped (oom_badness of mm/oom_kill.c), so it
// is never us for the hoard's sake. It is given back with the process.
type hoard struct {
	fd   int
	size int64
}

func newHoard() (*hoard, error) {
	fd, err := unix.MemfdCreate("tutti-memory-fault", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file of memory: %w", err)
	}
	return &hoard{fd: fd}, nil
}

// grow takes n bytes. The kernel zeroes the pages: they are really there.
func (h *hoard) grow(n int64) error {
	for {
		err := unix.Fallocate(h.fd, 0, h.size, n)
		if errors.Is(err, unix.EINTR) {
			continue // what there is of it stays, and is not taken twice
		}
		if err != nil {
			return fmt.Errorf("take %d KiB of memory: %w", n>>10, err)
		}
		h.size += n
		return nil
	}
}

// shrink gives n bytes back.
func (h *hoard) shrink(n int64) error {
	size := max(h.size-n, 0)
	if err := unix.Ftruncate(h.fd, size); err != nil {
		return fmt.Errorf("give %d KiB of memory back: %w", n>>10, err)
	}
	h.size = size
	return nil
}

func (h *hoard) close() error {
	if h.fd < 0 {
		return nil
	}
	fd := h.fd
	h.fd, h.size = -1, 0
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("give the memory back: %w", err)
	}
	return nil
}

// NewFill makes the worker that takes memory in a service's control group until so much of its limit is in use, and
// takes or gives back as the service's own use changes. It never takes what would bring the group nearer to its
// limit than a margin. It runs inside the node and needs no capability. All of it ends with the process.
func NewFill() (agent.Worker, error) {
	frugal()
	f := &filler{}
	f.shelf.begin = f.begin
	return f, nil
}

// frugal keeps this program's own memory small: it counts against the node's limit.
func frugal() {
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(8 << 20)
}

type filler struct {
	shelf shelf[task.Filling, task.Filled]
}

// Set returns when what new parts ask for is in use. Of several parts the one that asks for most is reached.
func (f *filler) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	return f.shelf.set(ctx, parts)
}

// Read says what is in use.
func (f *filler) Read(context.Context) (agent.Parts, error) { return f.shelf.read() }

// Close gives all memory back.
func (f *filler) Close() error { return f.shelf.close() }

// A filling is the memory of one part.
type filling struct {
	group group
	hoard *hoard

	mu     sync.Mutex
	report task.Filled
	failed error // why it is not kept up any more

	stop chan struct{}
	quit sync.Once
	gone sync.WaitGroup
}

func (f *filler) begin(ctx context.Context, p task.Filling) (keeper[task.Filled], error) {
	if !(p.Share > 0 && p.Share <= 1) {
		return nil, fmt.Errorf("fill: a share of %v of the memory: it must be above 0 and at most 1", p.Share)
	}
	one, err := newFilling(p.Share)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	for until := time.Now().Add(fillWait); one.report.Used < one.report.Want; {
		if err := errors.Join(context.Cause(ctx), one.adjust()); err != nil {
			return nil, errors.Join(fmt.Errorf("fill: %w", err), one.end())
		}
		if time.Now().After(until) {
			return nil, errors.Join(fmt.Errorf("fill: %d KiB of %d KiB are in use after %v: the kernel moves out what we take (swap?)",
				one.report.Used>>10, one.report.Want>>10, fillWait), one.end())
		}
	}
	one.report.Least = one.report.Used
	one.gone.Go(one.keep)
	return one, nil
}

func newFilling(share float64) (*filling, error) {
	g, err := groupOf("", "memory")
	if err != nil {
		return nil, err
	}
	limit, ok, err := g.memoryLimit()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("this node has no memory limit: filling it would fill the machine")
	}
	used, err := g.memoryUsed()
	if err != nil {
		return nil, err
	}
	h, err := newHoard()
	if err != nil {
		return nil, err
	}
	want := min(int64(share*float64(limit)), limit-margin(limit))
	return &filling{
		group: g, hoard: h, stop: make(chan struct{}),
		report: task.Filled{Limit: limit, Before: used, Want: want, Used: used},
	}, nil
}

// adjust looks what is in use, and takes or gives back one step of the difference.
func (f *filling) adjust() error {
	used, err := f.group.memoryUsed()
	if err != nil {
		return err
	}
	want := f.report.Want
	switch size := f.hoard.size; {
	case used < want:
		// Whole pages at most: what is less than one is never reached.
		if n := min(want-used, fillStep) &^ 4095; n > 0 {
			err = f.hoard.grow(n)
		} else {
			used = want
		}
	case used > want && size > 0:
		err = f.hoard.shrink(min(used-want, size))
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Used, f.report.Ours = used, f.hoard.size
	f.report.Most = max(f.report.Most, f.report.Ours)
	if f.report.Least > 0 {
		f.report.Least = min(f.report.Least, used)
	}
	return nil
}

// keep follows what the service uses until it is told to stop.
func (f *filling) keep() {
	look := time.NewTicker(fillEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-f.stop:
			return
		}
		if err := f.adjust(); err != nil {
			f.mu.Lock()
			f.failed = err
			f.mu.Unlock()
			return
		}
	}
}

func (f *filling) read() task.Filled {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report
}

func (f *filling) end() error {
	var err error
	f.quit.Do(func() {
		close(f.stop)
		f.gone.Wait()
		err = errors.Join(f.failed, f.hoard.close())
	})
	return err
}
