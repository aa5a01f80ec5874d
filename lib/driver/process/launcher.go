package process

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

// A launcher starts children, all from one thread that lives as long as the cluster.
// On Linux a child is asked to die with its parent, and the kernel takes the thread
// that forked for the parent: from a thread that Go gives back, nodes would die at random.
type launcher struct {
	mu     sync.Mutex
	closed bool
	jobs   chan func()
	done   chan struct{}
}

func newLauncher() *launcher {
	l := &launcher{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // all children are dead by then
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

// start starts a command in a process group of its own.
func (l *launcher) start(cmd *exec.Cmd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the cluster is down")
	}
	setAttributes(cmd)
	result := make(chan error, 1)
	l.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// close ends the thread. No child may be alive.
func (l *launcher) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.jobs)
		<-l.done
	}
}
