package process

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"time"
)

// drainWithin bounds how long the output of a dead process is waited for: something that
// left its process group could hold the pipe open.
const drainWithin = time.Second

// A child is one process that the cluster has started.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	// Set before done is closed:
	state *os.ProcessState
	ended time.Time
}

// command is a command without a context: what ends a child is the cluster, by its group.
func command(path string, args []string) *exec.Cmd {
	return &exec.Cmd{Path: path, Args: append([]string{path}, args...)}
}

// spawn starts a command in a group of its own. Its standard error goes to output, and its
// standard output too unless the command has one. started is called before anything else can be told of
// the child, and its error ends it; ended is called when it and its group are dead and before done is
// closed. Both may be nil.
func (c *cluster) spawn(cmd *exec.Cmd, output io.Writer, started func(*child) error, ended func(*child)) (*child, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = w
	if cmd.Stdout == nil {
		cmd.Stdout = w
	}
	ch := &child{cmd: cmd, done: make(chan struct{})}
	c.spawning.Lock()
	if c.closing {
		err = errors.New("the cluster is down")
	} else {
		err = c.launcher.start(cmd)
	}
	if err != nil {
		c.spawning.Unlock()
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	c.alive[ch] = true
	c.children.Add(1)
	c.spawning.Unlock()
	w.Close() // the child has its own
	if started != nil {
		if err = started(ch); err != nil {
			err = errors.Join(err, killGroup(cmd.Process))
			ended = nil // nobody was told of its start
		}
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(output, r) // ends with the pipe; outputs never fail
	}()
	go func() {
		defer c.children.Done()
		_ = cmd.Wait() // what it returns is in the state
		ch.state, ch.ended = cmd.ProcessState, time.Now()
		_ = killGroup(cmd.Process) // whatever it has left behind
		_ = r.SetReadDeadline(time.Now().Add(drainWithin))
		<-copied
		r.Close()
		c.spawning.Lock()
		delete(c.alive, ch)
		c.spawning.Unlock()
		if ended != nil {
			ended(ch)
		}
		close(ch.done)
		c.notify()
	}()
	if err != nil {
		<-ch.done
		return nil, err
	}
	return ch, nil
}

// isDone reports whether the child has ended.
func (ch *child) isDone() bool {
	select {
	case <-ch.done:
		return true
	default:
		return false
	}
}

// kill kills a child and its group, unless it has ended: its id may be another's by now.
func (c *cluster) kill(ch *child) error {
	c.spawning.Lock()
	defer c.spawning.Unlock()
	if !c.alive[ch] {
		return nil
	}
	return killGroup(ch.cmd.Process)
}

// register tells the user of a child that lives on. Healthchecks are not told of: they
// end by themselves, and there is no end to them.
func (c *cluster) register(ch *child) error {
	if register := c.driver.config.Register; register != nil {
		return register(ch.cmd.Process.Pid)
	}
	return nil
}
