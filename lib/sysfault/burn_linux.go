package sysfault

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

// burnPeriod is the length of a duty cycle. A quota has the same period by default, so that what the burner uses and
// what is left for the service change as fast as the kernel shares it out.
const burnPeriod = 100 * time.Millisecond

// NewBurn makes the worker that uses CPU beside a service, in its control group: a thread for each core that the
// group may run on, with the default policy and priority, so that the kernel shares what there is between the
// service and us. A thread that got less than it asked for by the end of a period asks for the rest no more. It runs inside
// the node and needs no capability. All of it ends with the process.
func NewBurn() (agent.Worker, error) {
	b := &burner{}
	b.shelf.begin = b.begin
	return b, nil
}

type burner struct{ shelf shelf[task.Load, task.Burnt] }

// Set returns when every thread of a new part runs.
func (b *burner) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	return b.shelf.set(ctx, parts)
}

// Read says what has been burnt.
func (b *burner) Read(context.Context) (agent.Parts, error) { return b.shelf.read() }

// Close ends all threads.
func (b *burner) Close() error { return b.shelf.close() }

// A burn is the threads of one part.
type burn struct {
	asked float64
	cores float64
	began time.Time
	stop  chan struct{}
	quit  sync.Once
	gone  sync.WaitGroup
	used  []atomic.Int64 // CPU time in nanoseconds, by thread
	held  time.Duration  // when it has ended
}

func (b *burner) begin(_ context.Context, p task.Load) (keeper[task.Burnt], error) {
	if !(p.Share > 0 && p.Share <= 1) {
		return nil, fmt.Errorf("burn: a share of %v of the CPU: it must be above 0 and at most 1", p.Share)
	}
	var online unix.CPUSet
	if err := unix.SchedGetaffinity(0, &online); err != nil {
		return nil, fmt.Errorf("burn: ask which cores this node may use: %w", err)
	}
	n := max(online.Count(), 1)
	g, err := groupOf("", "cpu")
	if err != nil {
		return nil, fmt.Errorf("burn: %w", err)
	}
	cores, err := g.cores(n)
	if err != nil {
		return nil, fmt.Errorf("burn: %w", err)
	}
	threads := n
	for _, other := range b.shelf.kept {
		if o, ok := other.keeper.(*burn); ok {
			threads += len(o.used)
		}
	}
	runtime.GOMAXPROCS(threads + 2) // those that burn must not keep the commands waiting
	one := &burn{asked: p.Share, cores: cores, stop: make(chan struct{}), used: make([]atomic.Int64, n)}
	var run sync.WaitGroup
	run.Add(n)
	errs := make([]error, n)
	for i := range n {
		one.gone.Go(func() { one.thread(i, p.Share*cores/float64(n), &run, &errs[i]) })
	}
	run.Wait()
	one.began = time.Now()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(fmt.Errorf("burn: %w", err), one.end())
	}
	return one, nil
}

// thread uses a share of one core's time until it is told to stop. It counts its CPU time, not the clock's, so that it
// asks for more as long as others hold it back.
func (b *burn) thread(i int, share float64, run *sync.WaitGroup, failed *error) {
	runtime.LockOSThread() // never unlocked: the thread ends with us
	zero, err := threadTime()
	*failed = err
	run.Done()
	if err != nil {
		return
	}
	quota := time.Duration(share * float64(burnPeriod))
	for period := time.Now(); ; period = next(period) {
		start := b.used[i].Load()
		for time.Since(period) < burnPeriod {
			spin()
			now, err := threadTime()
			if err != nil {
				return // it worked before: the kernel has taken it away, and what is reported is what was burnt
			}
			b.used[i].Store(int64(now - zero))
			if int64(now-zero)-start >= int64(quota) {
				break
			}
			select {
			case <-b.stop:
				return
			default:
			}
		}
		rest := time.NewTimer(burnPeriod - time.Since(period))
		select {
		case <-rest.C:
		case <-b.stop:
			rest.Stop()
			return
		}
	}
}

// next is when the next period begins: on the grid, so that no wake-up that is late makes less of it, unless a whole
// period was missed.
func next(period time.Time) time.Time {
	period = period.Add(burnPeriod)
	if now := time.Now(); now.Sub(period) > burnPeriod {
		return now
	}
	return period
}

// spin takes some microseconds of a core.
func spin() {
	x := 1.1
	for range 2000 {
		x = math.Sqrt(x + 1)
	}
	runtime.KeepAlive(x)
}

// threadTime is the CPU time of the calling thread.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read a thread's CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

func (b *burn) read() task.Burnt {
	r := task.Burnt{Held: b.held, Cores: b.cores, Asked: b.asked}
	if r.Held == 0 {
		r.Held = time.Since(b.began)
	}
	for i := range b.used {
		r.CPU += time.Duration(b.used[i].Load())
	}
	if all := r.Held.Seconds() * r.Cores; all > 0 {
		r.Delivered = r.CPU.Seconds() / all
	}
	return r
}

func (b *burn) end() error {
	b.quit.Do(func() {
		close(b.stop)
		b.gone.Wait()
		b.held = time.Since(b.began)
	})
	return nil
}
