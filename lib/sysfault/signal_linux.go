package sysfault

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

const (
	// deathWait is how long a process may take to end after SIGKILL. One that waits for a broken disk never does.
	deathWait = 10 * time.Second
	// watchStep is how exactly the end of a watched process is known.
	watchStep = 5 * time.Millisecond
)

// NewSignal makes the worker that ends a container's first process from the outside, as a bug or the kernel would, or
// watches for its end. It runs in the machine's process namespace with CAP_KILL. There is nothing to undo.
func NewSignal() (agent.Worker, error) {
	s := &signaller{proc: "/proc"}
	s.shelf.begin = s.begin
	return s, nil
}

var _ agent.Armer = (*signaller)(nil)

type signaller struct {
	proc  string
	shelf shelf[task.End, task.Ended]
}

// Set returns when each process that a new part ends is dead, and at once for those that are only watched.
func (s *signaller) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	out, err := s.shelf.set(ctx, parts)
	for name := range parts { // the bracket of a death is tighter than that of the work around it
		if e, ok := s.shelf.kept[name].keeper.(*ending); ok && e.ours && !e.told {
			e.told = true
			if r := e.read(); len(parts) == 1 {
				out.From, out.To = r.From, r.To
			}
		}
	}
	return out, err
}

// Read says which processes have ended.
func (s *signaller) Read(context.Context) (agent.Parts, error) { return s.shelf.read() }

// Close ends the watches.
func (s *signaller) Close() error { return s.shelf.close() }

// Arm finds the process.
func (s *signaller) Arm(_ context.Context, name string, part json.RawMessage) error {
	var p task.End
	if err := decode(part, &p); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := initOf(s.proc, p.ID)
	return err
}

// An ending is a process whose end is waited for.
type ending struct {
	pid  int
	fd   int  // of the process; -1 when it is closed
	ours bool // we have ended it
	told bool

	stop chan struct{} // closed to end the watch
	done chan struct{} // closed when the watch is over
	from time.Time     // of the end; read after done is closed
	to   time.Time
	dead bool
}

func (s *signaller) begin(_ context.Context, p task.End) (keeper[task.Ended], error) {
	pid, err := initOf(s.proc, p.ID)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d of container %.12s: %w", pid, p.ID, err)
	}
	// The number may have gone to another process before it was opened. From here on it cannot.
	if again, err := initOf(s.proc, p.ID); err != nil || again != pid {
		return nil, errors.Join(fmt.Errorf("container %.12s has another first process than a moment ago", p.ID), err, unix.Close(fd))
	}
	e := &ending{pid: pid, fd: fd, ours: p.Kill, stop: make(chan struct{}), done: make(chan struct{})}
	if !p.Kill {
		// One that has ended and is still listed, since nobody has asked for its exit code, is known to be dead at once.
		from := time.Now()
		if dead, err := readable(fd, 0); err == nil && dead {
			e.from, e.to, e.dead = from, time.Now(), true
			close(e.done)
			return e, nil
		}
		go e.watch() // ends with the process or with end
		return e, nil
	}
	close(e.done)
	if err := e.kill(); err != nil {
		return nil, errors.Join(fmt.Errorf("end process %d of container %.12s: %w", pid, p.ID, err), e.end())
	}
	return e, nil
}

// kill sends SIGKILL and waits for the end.
func (e *ending) kill() error {
	e.from = time.Now()
	if err := unix.PidfdSendSignal(e.fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("send SIGKILL: %w", err)
	}
	var err error
	if e.dead, err = readable(e.fd, deathWait); err != nil {
		return err
	}
	e.to = time.Now()
	if !e.dead {
		return fmt.Errorf("it is still there %v after SIGKILL: it waits for something that only the kernel can end", deathWait)
	}
	return nil
}

// watch looks until the process has ended.
func (e *ending) watch() {
	defer close(e.done)
	for {
		select {
		case <-e.stop:
			return
		default:
		}
		from := time.Now()
		dead, err := readable(e.fd, watchStep)
		if err != nil {
			return // the kernel is out of memory: then the watch says that it saw no end
		}
		if dead {
			e.from, e.to, e.dead = from, time.Now(), true
			return
		}
	}
}

func (e *ending) read() task.Ended {
	select {
	case <-e.done:
		return task.Ended{PID: e.pid, Dead: e.dead, From: e.from, To: e.to}
	default:
		return task.Ended{PID: e.pid}
	}
}

func (e *ending) end() error {
	if e.fd < 0 {
		return nil
	}
	close(e.stop)
	<-e.done
	fd := e.fd
	e.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close process %d: %w", e.pid, err)
	}
	return nil
}

// readable waits until a file can be read, a process's is when it has ended, and reports whether it can.
func readable(fd int, limit time.Duration) (bool, error) {
	until := time.Now().Add(limit)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		left := max(time.Until(until), 0)
		n, err := unix.Poll(fds, int((left + time.Millisecond - 1).Milliseconds()))
		switch {
		case err == nil:
			return n > 0, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("wait for a process: %w", err)
		}
	}
}

// initOf finds the first process of a container: the one in its control group that is number 1 in its process
// namespace. A container inside the container has one too, but further down.
func initOf(proc, id string) (int, error) {
	if len(id) < 12 {
		return 0, fmt.Errorf("%q is no container's id", id)
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return 0, fmt.Errorf("look for container %.12s: %w", id, err)
	}
	found, depth, inside := 0, 0, 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !inGroup(path.Join(proc, e.Name(), "cgroup"), id) {
			continue // no process, or one that has ended meanwhile, or another's
		}
		inside++
		numbers := namespaceNumbers(path.Join(proc, e.Name(), "status"))
		if len(numbers) < 2 || numbers[len(numbers)-1] != 1 {
			continue
		}
		if found == 0 || len(numbers) < depth {
			found, depth = pid, len(numbers)
		}
	}
	switch {
	case found > 0:
		return found, nil
	case inside > 0:
		return 0, fmt.Errorf("container %.12s: none of its %d processes is the first of a process namespace: does it share another's (pid: in the Compose file)?", id, inside)
	}
	return 0, fmt.Errorf("container %.12s: it has no process: it does not run, or its processes cannot be seen from here", id)
}

// inGroup reports whether a process's control group is the container's, or below it.
func inGroup(file, id string) bool {
	b, err := os.ReadFile(file)
	return err == nil && bytes.Contains(b, []byte(id))
}

// namespaceNumbers are a process's numbers in its process namespaces, ours first.
func namespaceNumbers(file string) []int {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "NSpid:")
		if !ok {
			continue
		}
		var numbers []int
		for _, f := range strings.Fields(rest) {
			n, err := strconv.Atoi(f)
			if err != nil {
				return nil
			}
			numbers = append(numbers, n)
		}
		return numbers
	}
	return nil
}
