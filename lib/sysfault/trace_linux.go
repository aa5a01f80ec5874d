package sysfault

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopWait is how long a process's threads may take to stand still. One that waits for a broken disk, or is frozen, does not.
	stopWait = time.Second
	// stopLook is between two looks whether they do.
	stopLook = 50 * time.Microsecond
	// mostSteps is how many instructions a thread is led on, one by one, to leave what is about to change.
	mostSteps = 256
	// eventStop is how a thread stands still that we have asked to: PTRACE_EVENT_STOP.
	eventStop = 128
)

// A tracing is a process whose threads stand still. All of it is done by one thread of ours: the kernel lets go of everything when
// that thread ends.
type tracing struct {
	pid     int
	threads map[int]int // and the signal that each was about to get, 0 for none
}

// traced stops a process, does something to it, and lets it go on. It says for how long it stood still.
func traced(pid int, do func(*tracing) error) (stood time.Duration, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: so the thread ends with the goroutine, whatever happened
		t := &tracing{pid: pid, threads: make(map[int]int)}
		began := time.Now()
		if err = t.stop(); err == nil {
			err = do(t)
		}
		err = errors.Join(err, t.release())
		stood = time.Since(began)
	}()
	<-done
	return stood, err
}

// stop makes all threads stand still, those too that begin meanwhile.
func (t *tracing) stop() error {
	until := time.Now().Add(stopWait)
	for {
		entries, err := os.ReadDir(path.Join("/proc", strconv.Itoa(t.pid), "task"))
		if err != nil {
			return os.ErrProcessDone
		}
		var begun []int
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if _, have := t.threads[tid]; err != nil || have {
				continue
			}
			if err := unix.PtraceSeize(tid); err != nil {
				if errors.Is(err, unix.ESRCH) {
					continue // it has ended
				}
				return fmt.Errorf("trace thread %d: %w (does something trace it already?)", tid, err)
			}
			begun = append(begun, tid)
			t.threads[tid] = 0
			if err := unix.PtraceInterrupt(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stop thread %d: %w", tid, err)
			}
		}
		for _, tid := range begun { // all are asked by now, so that they come to a stand together
			if err := t.await(tid, until); err != nil {
				return err
			}
		}
		if len(begun) == 0 {
			if len(t.threads) == 0 {
				return os.ErrProcessDone
			}
			return nil
		}
	}
}

// await waits until a thread stands still, or has ended.
func (t *tracing) await(tid int, until time.Time) error {
	for {
		var s unix.WaitStatus
		got, err := unix.Wait4(tid, &s, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD), got == tid && (s.Exited() || s.Signaled()):
			delete(t.threads, tid)
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for thread %d: %w", tid, err)
		case got == tid && s.Stopped():
			if uint32(s)>>16 != eventStop { // it was about to get a signal, which it gets when it goes on
				t.threads[tid] = int(s.StopSignal())
			}
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("thread %d does not stand still within %v: it waits for something that only the kernel can end, or is frozen", tid, stopWait)
		}
		// On this very thread: while the process stands still, nothing of ours should wait for another to run.
		_, _ = unix.Ppoll(nil, &unix.Timespec{Nsec: int64(stopLook)}, nil) // however it ends, we look again
	}
}

// release lets all threads go on.
func (t *tracing) release() error {
	var errs []error
	for tid, signal := range t.threads {
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
		if errno != 0 && errno != unix.ESRCH { // ended, or never stood still: our thread's end lets go of it
			errs = append(errs, fmt.Errorf("let thread %d go: %w", tid, errno))
		}
	}
	return errors.Join(errs...)
}

// leave leads each thread on that is where busy says, until it is not.
func (t *tracing) leave(busy func(pc uint64) bool) error {
	for tid := range t.threads {
		for step := 0; ; step++ {
			pc, err := programCounter(tid)
			if errors.Is(err, unix.ESRCH) {
				break
			}
			if err != nil {
				return fmt.Errorf("ask thread %d where it is: %w", tid, err)
			}
			if !busy(pc) {
				break
			}
			if step == mostSteps {
				return fmt.Errorf("thread %d does not leave the clock's code", tid)
			}
			if err := t.step(tid); err != nil {
				return err
			}
		}
	}
	return nil
}

// step leads a thread on by one instruction. A signal that it was about to get stays for later.
func (t *tracing) step(tid int) error {
	if err := unix.PtraceSingleStep(tid); err != nil {
		return fmt.Errorf("lead thread %d on: %w", tid, err)
	}
	signal := t.threads[tid]
	if err := t.await(tid, time.Now().Add(stopWait)); err != nil {
		return err
	}
	if now, ok := t.threads[tid]; ok && (now == int(unix.SIGTRAP) || now == 0) {
		t.threads[tid] = signal
	}
	return nil
}

// write changes the process's memory.
func (t *tracing) write(at uint64, data []byte) error {
	for tid := range t.threads {
		n, err := unix.PtracePokeData(tid, uintptr(at), data)
		if err != nil || n < len(data) {
			return fmt.Errorf("write to its memory: %d of %d bytes: %w", n, len(data), err)
		}
		return nil
	}
	return os.ErrProcessDone
}
