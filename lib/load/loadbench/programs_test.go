//go:build linux

package loadbench_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A bench is a server and those who send to it.
type bench struct {
	*testing.T
	*truth
	vegeta   string // the program; "": there is none
	hey, wrk string
}

// A cost is what a process took, as the kernel says.
type cost struct {
	cpu  time.Duration // user and system
	peak uint64        // resident memory, bytes
	wall time.Duration
}

// spare is how much longer than planned a program may take to start and to end.
const spare = 20 * time.Second

// maxSaid is what is kept of a program's complaints, in bytes.
const maxSaid = 200

// run runs a program, calls began once it runs, and gives read what it says. The peak of memory is looked at every 20 ms, since what wait4
// says of it holds the peak of who started the program, too.
func (b *bench) run(within time.Duration, cmd func(context.Context) *exec.Cmd, began func(pid int), read func(io.Reader) error) (cost, error) {
	ctx, cancel := context.WithTimeout(b.Context(), within+spare)
	defer cancel()
	c := cmd(ctx)
	var trouble bytes.Buffer
	c.Stderr = &trouble
	out, err := c.StdoutPipe()
	if err != nil {
		return cost{}, err
	}
	from := time.Now()
	if err := c.Start(); err != nil {
		return cost{}, err
	}
	var got cost
	done := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				got.peak = max(got.peak, memory(c.Process.Pid, "VmHWM"))
			}
		}
	}()
	if began != nil {
		began(c.Process.Pid)
	}
	rerr := read(out)
	_, _ = io.Copy(io.Discard, out)
	err = c.Wait()
	close(done)
	<-over
	got.wall = time.Since(from)
	if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	if err != nil {
		said := strings.TrimSpace(trouble.String())
		if len(said) > maxSaid { // where all its goroutines are
			b.Logf("%s: %v: %s", filepath.Base(c.Path), err, said[:min(len(said), 100*maxSaid)])
			said, _, _ = strings.Cut(said, "\n")
		}
		if ctx.Err() != nil {
			err = errors.New("it did not end")
		}
		return got, fmt.Errorf("%s, after %v: %w: %s", filepath.Base(c.Path), got.wall.Round(10*time.Millisecond), err, said)
	}
	return got, rerr
}

// program runs a program of others and returns what it printed.
func (b *bench) program(within time.Duration, began func(pid int), stdin string, name string, args ...string) (cost, string, error) {
	var said []byte
	c, err := b.run(within, func(ctx context.Context) *exec.Cmd {
		c := exec.CommandContext(ctx, name, args...)
		c.Stdin = strings.NewReader(stdin)
		return c
	}, began, func(r io.Reader) (err error) {
		said, err = io.ReadAll(r)
		return err
	})
	return c, string(said), err
}

// ours runs our generator. It calls began once its schedule has a start, from a goroutine of its own.
func (b *bench) ours(o order, began func(pid int, zero time.Time)) (told, cost, error) {
	o.Address = b.address
	text, err := json.Marshal(o)
	if err != nil {
		return told{}, cost{}, err
	}
	var got told
	var pid int
	c, err := b.run(o.For+o.Timeout, func(ctx context.Context) *exec.Cmd {
		c := exec.CommandContext(ctx, self(b.T))
		c.Env, c.Stdin = append(os.Environ(), roleVar+"="+roleGenerate), bytes.NewReader(text)
		// One that hangs says where.
		c.Cancel, c.WaitDelay = func() error { return c.Process.Signal(syscall.SIGQUIT) }, 5*time.Second
		return c
	}, func(p int) { pid = p }, func(r io.Reader) error {
		d := json.NewDecoder(r)
		var zero int64
		if err := d.Decode(&zero); err != nil {
			return fmt.Errorf("no start: %w", err)
		}
		if began != nil {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				began(pid, time.Unix(0, zero))
			}()
			defer func() { <-ended }()
		}
		return d.Decode(&got)
	})
	c.peak = max(c.peak, got.Peak)
	return got, c, err
}

var targets = regexp.MustCompile(`(\d+) requests in`)

// wrkAttack returns how many requests wrk says that it had answered, how many connections failed it, and its errors of status.
func (b *bench) wrkAttack(d time.Duration, connections int) (c cost, requests, failed uint64, err error) {
	c, said, err := b.program(d, nil, "", b.wrk, "-t2", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(max(int(d.Seconds()), 1))+"s", "--latency", b.url())
	if err != nil {
		return c, 0, 0, err
	}
	m := targets.FindStringSubmatch(said)
	if m == nil {
		return c, 0, 0, fmt.Errorf("wrk says %q", said)
	}
	requests, _ = strconv.ParseUint(m[1], 10, 64)
	// Socket errors: connect 0, read 51, write 0, timeout 0
	if m := socketErrors.FindStringSubmatch(said); m != nil {
		for _, n := range m[1:] {
			k, _ := strconv.ParseUint(n, 10, 64)
			failed += k
		}
	}
	return c, requests, failed, nil
}

var socketErrors = regexp.MustCompile(`connect (\d+), read (\d+), write (\d+), timeout (\d+)`)

// heyAttack sends with hey, at a rate for each of its workers; 0: as fast as it goes.
func (b *bench) heyAttack(d time.Duration, workers int, perWorker float64) (c cost, failed uint64, err error) {
	args := []string{"-z", d.String(), "-c", strconv.Itoa(workers)}
	if perWorker > 0 {
		args = append(args, "-q", strconv.FormatFloat(perWorker, 'f', -1, 64))
	}
	c, said, err := b.program(d, nil, "", b.hey, append(args, b.url())...)
	if _, errs, ok := strings.Cut(said, "Error distribution:"); ok {
		for _, m := range heyErrors.FindAllStringSubmatch(errs, -1) {
			k, _ := strconv.ParseUint(m[1], 10, 64)
			failed += k
		}
	}
	return c, failed, err
}

var heyErrors = regexp.MustCompile(`(?m)^\s*\[(\d+)\]`)

// vegetaAttack sends with vegeta's own program. Its results go to a file, or nowhere.
func (b *bench) vegetaAttack(d time.Duration, file string, began func(pid int), args ...string) (cost, error) {
	if file == "" {
		file = os.DevNull
	}
	c, _, err := b.program(d, began, "GET "+b.url()+"\n", b.vegeta, append([]string{"attack", "-duration=" + d.String(), "-output=" + file}, args...)...)
	return c, err
}

// vegetaResults reads such a file: quantiles of the latencies that vegeta measured, without its own estimate between, and how many it calls failed.
func (b *bench) vegetaResults(file string) (q quantiles, failed uint64, err error) {
	_, said, err := b.program(0, nil, "", b.vegeta, "encode", "-to=csv", file)
	if err != nil {
		return nil, 0, err
	}
	rows, err := csv.NewReader(strings.NewReader(said)).ReadAll()
	if err != nil {
		return nil, 0, err
	}
	var h record.Hist
	for _, r := range rows {
		ns, err := strconv.ParseInt(r[2], 10, 64)
		if err != nil {
			return nil, 0, err
		}
		h.Add(time.Duration(ns))
		if r[1] != "200" {
			failed++
		}
	}
	return quantilesOf(&h, h.Total()), failed, nil
}
