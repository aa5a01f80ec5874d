package sysfault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

const (
	oomStep = 1 << 20          // bytes that are taken before looking for a kill
	oomWait = 20 * time.Second // for the kernel to kill somebody
	// oomMost is how much may be taken over limit and swap: what the kernel drops of the service's file cache and
	// moves about.
	oomMost = 64 << 20
	// oomAfter is how long we look for who was killed after the kernel has counted it.
	oomAfter = time.Second
)

// NewOOM makes the worker that has the kernel kill a service's process for want of memory: it offers the node's
// processes to the kernel first (oom_score_adj 1000, which needs no right over processes of the same user), and takes memory
// that counts as nobody's until the kernel has killed one. Everything is given back at once then.
// It runs inside the node and needs no capability. Where the kernel kills the node's first process, this one
// dies with it, and what it took is free.
func NewOOM() (agent.Worker, error) { return newOOM(nodeProcesses), nil }

func newOOM(list func() ([]process, error)) *oomer {
	frugal()
	o := &oomer{list: list}
	o.shelf.begin = o.begin
	return o
}

type oomer struct {
	list  func() ([]process, error) // of the node's processes
	shelf shelf[task.Kill, task.Killed]
}

// Set returns when the kernel has killed for each new part, if the node survives that.
func (o *oomer) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	return o.shelf.set(ctx, parts)
}

// Read says who was killed.
func (o *oomer) Read(context.Context) (agent.Parts, error) { return o.shelf.read() }

// Close has nothing to undo.
func (o *oomer) Close() error { return o.shelf.close() }

// A killing has happened.
type killing struct{ report task.Killed }

func (k killing) read() task.Killed { return k.report }
func (k killing) end() error        { return nil }

func (o *oomer) begin(ctx context.Context, _ task.Kill) (keeper[task.Killed], error) {
	g, err := groupOf("", "memory")
	if err != nil {
		return nil, fmt.Errorf("oom: %w", err)
	}
	limit, ok, err := g.memoryLimit()
	if err != nil {
		return nil, fmt.Errorf("oom: %w", err)
	}
	if !ok {
		return nil, errors.New("oom: this node has no memory limit: filling it would fill the machine")
	}
	if off, err := g.field("memory.oom_control", "oom_kill_disable"); err == nil && off == 1 {
		return nil, errors.New("oom: the node's OOM killer is switched off (oom_kill_disable): it would hang instead")
	}
	before, err := g.kills()
	if err != nil {
		return nil, fmt.Errorf("oom: %w", err)
	}
	all, err := o.list()
	if err != nil {
		return nil, fmt.Errorf("oom: %w", err)
	}
	spareSelf()
	r := task.Killed{Limit: limit}
	old := make(map[process]string, len(all))
	for _, p := range all {
		was, err := os.ReadFile(scoreOf(p))
		if err == nil {
			err = os.WriteFile(scoreOf(p), []byte(firstChoice), 0)
		}
		switch {
		case err == nil:
			old[p] = strings.TrimSpace(string(was))
		case !ended(err):
			r.Spared = append(r.Spared, fmt.Sprintf("%v: %v", p, err))
		}
	}
	if len(all) > 0 && len(r.Spared) == len(all) {
		o.restore(old)
		return nil, fmt.Errorf("oom: none of the node's processes can be offered to the kernel, the first is %s", r.Spared[0])
	}
	if err := squeeze(ctx, g, limit, before, &r); err != nil {
		o.restore(old)
		return nil, fmt.Errorf("oom: %w", err)
	}
	r.Left = o.restore(old)
	r.Who = o.missing(all)
	return killing{r}, nil
}

// spareSelf takes this process out of the kernel's choice. While a victim ends, the kernel may no longer see it and
// still want its memory: then it kills the next one, and on a busy machine that is us. Who may not do that (it takes
// CAP_SYS_RESOURCE) is last in the choice, and may be killed after the others.
func spareSelf() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) }

// firstChoice is the oom_score_adj of who is killed first.
const firstChoice = "1000"

func scoreOf(p process) string { return fmt.Sprintf("/proc/%d/oom_score_adj", p.pid) }

// ended reports whether an error says that a process is not there any more.
func ended(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// restore gives those that live the place in the kernel's choice back that they had, and names those that it could not. What
// they have started meanwhile has inherited ours, and gets the lowest pid's, which is the likeliest to have started it.
func (o *oomer) restore(old map[process]string) (left []string) {
	now, err := o.list()
	if err != nil {
		return []string{err.Error()}
	}
	first := process{}
	for p := range old {
		if first.pid == 0 || p.pid < first.pid {
			first = p
		}
	}
	for _, p := range now {
		was, ok := old[p]
		if !ok {
			has, err := os.ReadFile(scoreOf(p))
			if err != nil || strings.TrimSpace(string(has)) != firstChoice || first.pid == 0 {
				continue
			}
			was = old[first]
		}
		if err := os.WriteFile(scoreOf(p), []byte(was), 0); err != nil && !ended(err) {
			left = append(left, fmt.Sprintf("%v: %v", p, err))
		}
	}
	return left
}

// squeeze takes memory until the kernel has killed somebody, then gives it back.
func squeeze(ctx context.Context, g group, limit int64, before uint64, r *task.Killed) (err error) {
	swap, err := g.swapLimit(limit)
	if err != nil {
		return err
	}
	have, err := swapTotal()
	if err != nil {
		return err
	}
	most := limit + min(swap, have) + oomMost
	h, err := newHoard()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	for until := time.Now().Add(oomWait); ; {
		kills, err := g.kills()
		if err != nil {
			return err
		}
		if kills > before {
			r.Kills = kills - before
			return nil
		}
		if used, err := g.memoryUsed(); err == nil {
			r.Used = max(r.Used, used)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if h.size+oomStep > most {
			return fmt.Errorf("%d KiB are taken and the kernel has killed nobody: the limit is %d KiB", h.size>>10, limit>>10)
		}
		if time.Now().After(until) {
			return fmt.Errorf("the kernel has killed nobody in %v, with %d KiB taken of a limit of %d KiB", oomWait, h.size>>10, limit>>10)
		}
		if err := h.grow(oomStep); err != nil {
			// Where only we are left and cannot be killed, the kernel refuses us once it has killed the others.
			if kills, counted := g.kills(); counted == nil && kills > before {
				r.Kills = kills - before
				return nil
			}
			return err
		}
	}
}

// missing waits until one of the processes is gone, and names those that are.
func (o *oomer) missing(before []process) []string {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(oomAfter); ; <-look.C {
		now, err := o.list()
		if err != nil {
			return nil
		}
		var who []string
		for _, p := range before {
			if !slices.Contains(now, p) {
				who = append(who, p.String())
			}
		}
		if len(who) > 0 || time.Now().After(until) {
			return who
		}
	}
}

// swapTotal is the machine's swap in bytes.
func swapTotal() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("ask for the machine's swap: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "SwapTotal: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, nil
}
