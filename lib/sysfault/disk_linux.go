package sysfault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

const (
	// volumePlace is where the volume is, for whoever runs at one.
	volumePlace = "/volume"
	// fillerName is our file in it, while it has a name.
	fillerName = ".tutti-disk-full"
	// topUpEvery is how soon what the service has freed is taken again.
	topUpEvery = 100 * time.Millisecond
	// diskSlack is what a file system may be bigger than it was asked to be: whole pages, and what it needs itself.
	diskSlack = 1 << 20
	// diskStep is the first and biggest piece that is asked for.
	diskStep = 16 << 20
	// diskOwn is the memory that this program may need itself, where the volume is made of memory too.
	diskOwn = 8 << 20
)

// NewDisk makes the worker that fills a volume and keeps it full. Its file has lost its name before it grows, so that
// it is gone with us, whatever ends us. It refuses a volume that is bigger than the part says it may be: the
// machine's own disk is never filled. It runs where the volume is at /volume, with CAP_DAC_OVERRIDE. Where the volume is
// made of memory and the helper's control group is limited, the limit has to leave room for it.
func NewDisk() (agent.Worker, error) { return newDisk(volumePlace), nil }

func newDisk(dir string) *disk {
	d := &disk{dir: dir}
	d.shelf.begin = d.begin
	return d
}

var _ agent.Armer = (*disk)(nil)

type disk struct {
	dir   string
	shelf shelf[task.Full, task.Fullness]
	flood *flood // nil: the volume is not filled
	users int    // parts that want it filled
}

// A tap is one part's share in the flood: a volume cannot be filled twice.
type tap struct {
	disk  *disk
	flood *flood
	shut  bool
}

func (t *tap) read() task.Fullness { return t.flood.read() }

func (t *tap) end() error {
	if t.shut {
		return nil
	}
	t.shut = true
	if t.disk.users--; t.disk.users > 0 {
		return nil
	}
	t.disk.flood = nil
	return t.flood.end()
}

// Set returns when a write has been refused for want of space.
func (d *disk) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	return d.shelf.set(ctx, parts)
}

// Read says how full it is.
func (d *disk) Read(context.Context) (agent.Parts, error) { return d.shelf.read() }

// Close frees what was filled.
func (d *disk) Close() error { return d.shelf.close() }

// Arm checks that the volume may be filled.
func (d *disk) Arm(_ context.Context, name string, part json.RawMessage) error {
	var p task.Full
	if err := decode(part, &p); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := d.bounded(p.Bound)
	return err
}

// bounded asks the volume for its size, and refuses one that is bigger than it may be.
func (d *disk) bounded(bound int64) (unix.Statfs_t, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return s, fmt.Errorf("disk: ask the volume for its size: %w", err)
	}
	size := int64(s.Blocks) * s.Bsize
	if size == 0 {
		return s, errors.New("disk: the volume has no size of its own: filling it would fill the machine's memory or disk")
	}
	if bound <= 0 || size > bound+diskSlack {
		return s, fmt.Errorf("disk: the volume has %d KiB and was to have %d KiB: it is not the one that was made for this, and filling it could fill the machine's disk", size>>10, bound>>10)
	}
	if s.Type == unix.TMPFS_MAGIC {
		return s, roomFor(int64(s.Bavail) * s.Bsize)
	}
	return s, nil
}

// roomFor refuses to take more memory than this program may have.
func roomFor(n int64) error {
	g, err := groupOf("", "memory")
	if err != nil {
		return nil //nolint:nilerr // no group that can be seen, no limit that we could hit
	}
	limit, ok, err := g.memoryLimit()
	if err != nil || !ok {
		return err
	}
	used, err := g.memoryUsed()
	if err != nil {
		return err
	}
	if used+n+diskOwn > limit {
		return fmt.Errorf("disk: the volume is made of memory and has %d KiB free, but this helper may use %d KiB and uses %d KiB", n>>10, limit>>10, used>>10)
	}
	return nil
}

// A flood is our file, and what keeps the volume full.
type flood struct {
	dir  string
	file *os.File
	size int64

	mu     sync.Mutex
	report task.Fullness
	failed error

	stop chan struct{}
	quit sync.Once
	gone sync.WaitGroup
}

func (d *disk) begin(_ context.Context, p task.Full) (keeper[task.Fullness], error) {
	s, err := d.bounded(p.Bound)
	if err != nil {
		return nil, err
	}
	if d.flood != nil {
		d.users++
		return &tap{disk: d, flood: d.flood}, nil
	}
	path := filepath.Join(d.dir, fillerName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("disk: make our file in the volume: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return nil, errors.Join(fmt.Errorf("disk: take our file's name away: %w", err), f.Close())
	}
	one := &flood{
		dir: d.dir, file: f, stop: make(chan struct{}),
		report: task.Fullness{Size: int64(s.Blocks) * s.Bsize, FreeBefore: int64(s.Bavail) * s.Bsize},
	}
	if err := one.fill(p.Bound + diskSlack); err != nil {
		return nil, errors.Join(fmt.Errorf("disk: %w", err), one.end())
	}
	most := p.Bound + diskSlack
	one.gone.Go(func() { one.keep(most) })
	d.flood, d.users = one, 1
	return &tap{disk: d, flood: one}, nil
}

// fill takes all that is free, in ever smaller pieces, until not one more byte can be written.
func (f *flood) fill(most int64) error {
	for step := int64(diskStep); step > 0; {
		if f.size >= most {
			return fmt.Errorf("%d KiB are written and the volume is not full: it is bigger than it said", f.size>>10)
		}
		step = min(step, most-f.size)
		err := f.more(step)
		switch {
		case err == nil:
			f.size += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
			if step == 0 {
				f.look(1)
				return nil
			}
		default:
			return fmt.Errorf("write to the volume: %w", err)
		}
	}
	return nil
}

// more adds n bytes to the file, by fallocate where the file system has it.
func (f *flood) more(n int64) error {
	fd := int(f.file.Fd())
	err := unix.Fallocate(fd, 0, f.size, n)
	if err == nil || errors.Is(err, unix.ENOSPC) {
		return err
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINTR) {
		return err
	}
	zeros := make([]byte, min(n, 1<<20))
	for at := f.size; at < f.size+n; {
		wrote, err := unix.Pwrite(fd, zeros[:min(int64(len(zeros)), f.size+n-at)], at)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		at += int64(max(wrote, 0))
	}
	return nil
}

// look takes down how full the volume is, and that it refused n writes.
func (f *flood) look(n uint64) {
	var s unix.Statfs_t
	err := unix.Statfs(f.dir, &s)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Ours = f.size
	f.report.NoSpace += n
	if err == nil {
		f.report.FreeAfter = int64(s.Bavail) * s.Bsize
	}
}

// keep takes what comes free until it is told to stop.
func (f *flood) keep(most int64) {
	tick := time.NewTicker(topUpEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-f.stop:
			return
		}
		before := f.size
		if err := f.fill(most); err != nil {
			f.mu.Lock()
			f.failed = err
			f.mu.Unlock()
			return
		}
		if f.size > before {
			f.mu.Lock()
			f.report.TopUps++
			f.mu.Unlock()
		}
	}
}

func (f *flood) read() task.Fullness {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report
}

func (f *flood) end() error {
	var err error
	f.quit.Do(func() {
		close(f.stop)
		f.gone.Wait()
		err = errors.Join(f.failed, f.file.Close())
	})
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	return nil
}
