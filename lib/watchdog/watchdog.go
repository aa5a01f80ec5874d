// Package watchdog removes what a run has started when its harness dies. The dog is
// a process of its own, since nothing else survives a SIGKILL: it holds a pipe from the
// harness, and the end of that pipe without a release means that nobody else will clean up.
// The package also knows which runs are alive, by locks that die with their holder.
package watchdog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	readyTimeout   = 15 * time.Second // a loaded machine takes seconds to start a process
	releaseTimeout = 10 * time.Second
	cleanTimeout   = 60 * time.Second

	// Something that an engine was creating when the harness died appears only
	// later: one empty sweep proves nothing.
	quietSweeps = 3
	quietFor    = 3 * time.Second
	sweepPause  = time.Second
	retryPause  = 250 * time.Millisecond
)

// An Order is what a dog is told when it starts.
type Order struct {
	Run    string `json:"run"`    // id of the run
	Driver string `json:"driver"` // whose things it removes: docker, process
	// Env is added to the dog's environment, so that it finds the same engine.
	Env map[string]string `json:"env,omitempty"`
}

// A Sweeper removes once what carries a run's label, and returns how many things it
// found. An error is tried again.
type Sweeper func(ctx context.Context, o Order) (found int, err error)

// line is one message to the dog. Exactly one field is set.
type line struct {
	Order   *Order   `json:"order,omitempty"`
	Process *process `json:"process,omitempty"`
	Temp    string   `json:"temp,omitempty"`
	Release bool     `json:"release,omitempty"`
}

// process is a process to kill, with the time of its start: a number alone
// may be another's by then.
type process struct {
	Pid   int    `json:"pid"`
	Start string `json:"start"`
}

// reply is the dog's only answer.
type reply struct {
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// A Dog is a running watchdog, as its harness sees it.
type Dog struct {
	mu    sync.Mutex
	stdin io.WriteCloser
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; read after ended is closed
}

// Start starts a dog, exe with args, in a session of its own, and returns when it is
// ready. That program must call [Serve]. ctx bounds the start only: the dog outlives
// this process, and ends by Release or when it has cleaned up.
func Start(ctx context.Context, exe string, args []string, o Order) (*Dog, error) {
	if o.Run == "" {
		return nil, errors.New("start the watchdog: no run given")
	}
	cmd := exec.Command(exe, args...) //nolint:noctx // it must outlive every context
	cmd.Dir = os.TempDir()            // it must not keep a folder of the user's busy
	cmd.Env = os.Environ()
	for k, v := range o.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.SysProcAttr = detached()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	d := &Dog{stdin: stdin, cmd: cmd, ended: make(chan struct{})}
	answer := make(chan error, 1)
	go func() {
		defer close(d.ended)
		answer <- readReply(stdout)
		d.err = cmd.Wait()
	}()
	err = d.send(line{Order: &o})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		_ = cmd.Process.Kill() // nothing has been started that it would have to remove
		<-d.ended
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return d, nil
}

func readReply(r io.Reader) error {
	var got reply
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		return fmt.Errorf("it ended before it was ready: %w", err)
	}
	if !got.Ready {
		return errors.New(got.Error)
	}
	return nil
}

// Pid makes the dog kill a process that we have just started, and its process group if it
// leads one. An error means that the dog does not know it: the caller must not leave
// the process running unattended. A process that has ended already is no error.
func (d *Dog) Pid(pid int) error {
	start, err := startTime(pid)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("register process %d with the watchdog: %w", pid, err)
	}
	return d.send(line{Process: &process{Pid: pid, Start: start}})
}

// Temp makes the dog remove a folder. Its name must begin with "tutti-".
func (d *Dog) Temp(dir string) error {
	if err := removable(dir); err != nil {
		return fmt.Errorf("register a folder with the watchdog: %w", err)
	}
	return d.send(line{Temp: dir})
}

// Release ends the dog: the harness has cleaned up itself.
func (d *Dog) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	err := d.send(line{Release: true})
	d.mu.Lock()
	d.stdin.Close()
	d.mu.Unlock()
	select {
	case <-d.ended:
	case <-ctx.Done():
		_ = d.cmd.Process.Kill()
		<-d.ended
		return fmt.Errorf("release the watchdog: it did not end: %w", ctx.Err())
	}
	if err = errors.Join(err, d.err); err != nil {
		return fmt.Errorf("release the watchdog: %w", err)
	}
	return nil
}

// send writes one line. It is shorter than a pipe's atomic write, so the dog never
// sees half of one.
func (d *Dog) send(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.stdin.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("tell the watchdog: %w (has it been killed?)", err)
	}
	return nil
}

// Serve is the dog. It reads from in until the harness releases it, which returns nil at once,
// or dies; then it kills what was registered and sweeps until quiet. A driver without
// anything to sweep has a nil Sweeper. An error says what could not be removed.
func Serve(in io.Reader, out io.Writer, sweepers map[string]Sweeper) error {
	// The whole foreground group gets a terminal's Ctrl-C, and a closed terminal's hang-up.
	signal.Ignore(endings()...)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	o, err := readOrder(lines, sweepers)
	if err != nil {
		_ = json.NewEncoder(out).Encode(reply{Error: err.Error()})
		return err
	}
	if err := json.NewEncoder(out).Encode(reply{Ready: true}); err != nil {
		return fmt.Errorf("answer the harness: %w", err)
	}
	var left remains
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue // the end of a harness that died while it wrote
		}
		switch {
		case l.Release:
			return nil
		case l.Process != nil:
			left.add(*l.Process)
		case l.Temp != "":
			left.temps = append(left.temps, l.Temp)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	return clean(ctx, o, left, sweepers[o.Driver])
}

func readOrder(lines *bufio.Scanner, sweepers map[string]Sweeper) (Order, error) {
	var first line
	if !lines.Scan() {
		return Order{}, errors.New("the watchdog got no order")
	}
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil || first.Order == nil {
		return Order{}, fmt.Errorf("the watchdog got no order but %q", lines.Bytes())
	}
	if _, ok := sweepers[first.Order.Driver]; !ok {
		return Order{}, fmt.Errorf("the watchdog cannot clean up after driver %q", first.Order.Driver)
	}
	return *first.Order, nil
}

// remains are what the harness registered, apart from what carries a label.
type remains struct {
	processes []process
	temps     []string
}

// add keeps a process, and forgets those that have ended: a long run starts many.
func (r *remains) add(p process) {
	const many = 256
	if len(r.processes) >= many {
		alive := r.processes[:0]
		for _, q := range r.processes {
			if runs(q) {
				alive = append(alive, q)
			}
		}
		r.processes = alive
	}
	r.processes = append(r.processes, p)
}

func clean(ctx context.Context, o Order, left remains, sweep Sweeper) error {
	var errs []error
	errs = append(errs, killAll(ctx, left.processes))
	if sweep != nil {
		errs = append(errs, sweepUntilQuiet(ctx, o, sweep))
	}
	for _, dir := range left.temps {
		err := removable(dir)
		if err == nil {
			err = os.RemoveAll(dir)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up after run %s: %w", o.Run, err)
	}
	forget(o.Run)
	return nil
}

// killAll kills processes until they are gone.
func killAll(ctx context.Context, all []process) error {
	for _, p := range all {
		if runs(p) {
			kill(p.Pid)
		}
	}
	for _, p := range all {
		for runs(p) {
			select {
			case <-time.After(retryPause):
				kill(p.Pid)
			case <-ctx.Done():
				return fmt.Errorf("process %d does not end: %w", p.Pid, ctx.Err())
			}
		}
	}
	return nil
}

// runs reports whether a registered process is still there, and still the same.
func runs(p process) bool {
	start, err := startTime(p.Pid)
	return err == nil && start == p.Start
}

// sweepUntilQuiet sweeps until enough sweeps in a row, over long enough, have found nothing.
func sweepUntilQuiet(ctx context.Context, o Order, sweep Sweeper) error {
	var last error
	var since time.Time // of the first empty sweep in a row
	for empty := 0; ; {
		found, err := sweep(ctx, o)
		pause := sweepPause
		switch {
		case err != nil || found > 0:
			last, empty, pause = err, 0, retryPause
		default:
			if empty++; empty == 1 {
				since = time.Now()
			}
			if empty >= quietSweeps && time.Since(since) >= quietFor {
				return nil
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("sweeping took longer than %v", cleanTimeout), last)
		}
	}
}

// removable refuses folders that are no temporary ones of ours.
func removable(dir string) error {
	if !filepath.IsAbs(dir) || !strings.HasPrefix(filepath.Base(dir), "tutti-") {
		return fmt.Errorf("%s is no temporary folder of ours: its name must begin with tutti-", dir)
	}
	return nil
}
