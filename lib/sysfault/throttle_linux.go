package sysfault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

// treeDepth is how far below the top a container's control group is looked for.
const treeDepth = 8

// What the limit reaches, by the version of the control groups. Sources: Documentation/admin-guide/cgroup-v1/blkio-controller.rst
// and cgroup-v2.rst ("Writeback") of the kernel.
const (
	reachesV1 = "direct and synchronous I/O and reads that miss the cache; not what is written through the cache (control groups version 1)"
	reachesV2 = "all I/O of the container's that comes to a disk, also what the kernel writes back later, where the file system supports it (control groups version 2)"
)

// NewThrottle makes the worker that limits how fast a container reads and writes disks, by the kernel's own limits for
// control groups. It runs where the machine's tree of control groups is at /sys/fs/cgroup and may be written to. What
// was there before is put back by Close; a helper that is killed leaves its limits until the container ends,
// or until a part with a rate of 0.
func NewThrottle() (agent.Worker, error) { return newThrottle("/sys/fs/cgroup", "/sys/block"), nil }

func newThrottle(tree, blocks string) *throttler {
	t := &throttler{tree: tree, blocks: blocks, groups: make(map[string]*throttled)}
	t.shelf.begin = t.begin
	return t
}

var _ agent.Armer = (*throttler)(nil)

type throttler struct {
	tree, blocks string
	shelf        shelf[task.Brake, task.Braked]
	groups       map[string]*throttled // by container
}

// Set returns when the kernel has the new limits. Of several for one container the lowest counts.
func (t *throttler) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	return t.shelf.set(ctx, parts)
}

// Read says what has passed.
func (t *throttler) Read(context.Context) (agent.Parts, error) { return t.shelf.read() }

// Close puts back what was there before.
func (t *throttler) Close() error { return t.shelf.close() }

// Arm finds the container's control group and the disks.
func (t *throttler) Arm(_ context.Context, name string, part json.RawMessage) error {
	var p task.Brake
	if err := decode(part, &p); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := t.find(p.ID)
	return err
}

// A limit is what a device's reads and writes are limited to, in bytes per second; 0 is not at all.
type limit struct{ read, write uint64 }

// throttled is one container's control group.
type throttled struct {
	dir     string
	v2      bool
	devices []string
	before  map[string]limit
	brakes  []*brake // in force
}

// A brake is one part.
type brake struct {
	of    *throttler
	id    string
	rate  uint64
	began time.Time
	start [2]uint64 // bytes read and written until then
	last  task.Braked
	over  bool
}

func (t *throttler) begin(_ context.Context, p task.Brake) (keeper[task.Braked], error) {
	if p.Rate < 0 {
		return nil, fmt.Errorf("throttle: a rate of %d bytes per second", p.Rate)
	}
	g := t.groups[p.ID]
	if g == nil {
		var err error
		if g, err = t.find(p.ID); err != nil {
			if p.Rate == 0 && errors.Is(err, errNoGroup) { // the limits have gone with it
				return &brake{of: t, id: p.ID, over: true}, nil
			}
			return nil, err
		}
		if g.before, err = g.limits(); err != nil {
			return nil, err
		}
		t.groups[p.ID] = g
	}
	if p.Rate == 0 { // a helper's leavings; the harness's own containers have none by themselves
		clear(g.before)
	}
	b := &brake{of: t, id: p.ID, rate: uint64(p.Rate), began: time.Now()}
	g.brakes = append(g.brakes, b)
	passed, err := g.passed()
	if err == nil {
		b.start = passed
		err = g.apply()
	}
	if err != nil {
		return nil, errors.Join(err, b.end())
	}
	return b, nil
}

var errNoGroup = errors.New("no control group")

// find looks for a container's control group and the machine's disks.
func (t *throttler) find(id string) (*throttled, error) {
	if len(id) < 12 {
		return nil, fmt.Errorf("throttle: %q is no container's id", id)
	}
	g := &throttled{v2: exists(path.Join(t.tree, "cgroup.controllers"))}
	top, file := path.Join(t.tree, "blkio"), "blkio.throttle.write_bps_device"
	if g.v2 {
		top, file = t.tree, "io.max"
	}
	err := filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return nil //nolint:nilerr // a group that ends while we look is not the one
		case strings.Contains(d.Name(), id):
			g.dir = at
			return fs.SkipAll
		case strings.Count(strings.TrimPrefix(at, top), "/") >= treeDepth:
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("throttle: look for the control group of container %.12s: %w", id, err)
	}
	if g.dir == "" {
		return nil, fmt.Errorf("throttle: container %.12s has %w below %s: it does not run, or the tree is not the machine's", id, errNoGroup, top)
	}
	if !exists(path.Join(g.dir, file)) {
		return nil, fmt.Errorf("throttle: the control group of container %.12s has no %s: the kernel or whoever manages the groups has the io controller off", id, file)
	}
	g.devices, err = disks(t.blocks)
	return g, err
}

// disks lists the machine's whole disks by number. Limits cannot be put on partitions.
func disks(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("throttle: list the machine's disks: %w", err)
	}
	var all []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "zram") || strings.HasPrefix(e.Name(), "ram") {
			continue // memory
		}
		size, err := os.ReadFile(path.Join(dir, e.Name(), "size"))
		if err != nil || string(bytes.TrimSpace(size)) == "0" {
			continue // nothing in the drive, or gone
		}
		number, err := os.ReadFile(path.Join(dir, e.Name(), "dev"))
		if err != nil {
			continue
		}
		all = append(all, string(bytes.TrimSpace(number)))
	}
	if len(all) == 0 {
		return nil, errors.New("throttle: this machine shows no disk")
	}
	return all, nil
}

// apply gives the kernel the lowest rate that is wanted, or what was there before if none is.
func (g *throttled) apply() error {
	lowest := uint64(math.MaxUint64)
	for _, b := range g.brakes {
		if b.rate > 0 {
			lowest = min(lowest, b.rate)
		}
	}
	for _, device := range g.devices {
		want := g.before[device]
		if lowest != math.MaxUint64 {
			want = limit{slower(want.read, lowest), slower(want.write, lowest)}
		}
		if err := g.limit(device, want); err != nil {
			return err
		}
	}
	have, err := g.limits()
	if err != nil {
		return err
	}
	for _, device := range g.devices {
		if got := have[device]; lowest != math.MaxUint64 && (got.read == 0 || got.write == 0) {
			return fmt.Errorf("throttle: the kernel has taken the limit for device %s, and does not have it", device)
		}
	}
	return nil
}

// slower is the lower of two rates of which 0 is none.
func slower(have, want uint64) uint64 {
	if have == 0 {
		return want
	}
	return min(have, want)
}

// limit writes one device's limits.
func (g *throttled) limit(device string, l limit) error {
	lines := map[string]string{
		"blkio.throttle.read_bps_device":  fmt.Sprintf("%s %d", device, l.read),
		"blkio.throttle.write_bps_device": fmt.Sprintf("%s %d", device, l.write),
	}
	if g.v2 {
		lines = map[string]string{"io.max": fmt.Sprintf("%s rbps=%s wbps=%s", device, orMax(l.read), orMax(l.write))}
	}
	for file, line := range lines {
		// In one write: the kernel takes each as a command.
		err := os.WriteFile(path.Join(g.dir, file), []byte(line), 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // the container, and its limits with it, or the disk is gone; what has to be there is read back
		}
		if err != nil {
			return fmt.Errorf("throttle: limit device %s: %w", device, err)
		}
	}
	return nil
}

func orMax(rate uint64) string {
	if rate == 0 {
		return "max"
	}
	return strconv.FormatUint(rate, 10)
}

// limits reads all limits of the group.
func (g *throttled) limits() (map[string]limit, error) {
	all := make(map[string]limit)
	if g.v2 { // 8:16 rbps=2097152 wbps=max riops=max wiops=120
		err := g.lines("io.max", func(device string, f []string) {
			l := all[device]
			for _, kv := range f {
				k, v, _ := strings.Cut(kv, "=")
				n, err := strconv.ParseUint(v, 10, 64)
				switch {
				case err != nil: // max
				case k == "rbps":
					l.read = n
				case k == "wbps":
					l.write = n
				}
			}
			all[device] = l
		})
		return all, err
	}
	for file, set := range map[string]func(*limit, uint64){
		"blkio.throttle.read_bps_device":  func(l *limit, n uint64) { l.read = n },
		"blkio.throttle.write_bps_device": func(l *limit, n uint64) { l.write = n },
	} {
		err := g.lines(file, func(device string, f []string) {
			if n, err := strconv.ParseUint(f[0], 10, 64); err == nil {
				l := all[device]
				set(&l, n)
				all[device] = l
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// passed is how many bytes the group has read and written.
func (g *throttled) passed() (total [2]uint64, err error) {
	if g.v2 { // 8:16 rbytes=1459200 wbytes=314773504 rios=…
		err = g.lines("io.stat", func(_ string, f []string) {
			for _, kv := range f {
				k, v, _ := strings.Cut(kv, "=")
				n, err := strconv.ParseUint(v, 10, 64)
				switch {
				case err != nil:
				case k == "rbytes":
					total[0] += n
				case k == "wbytes":
					total[1] += n
				}
			}
		})
		return total, err
	}
	err = g.lines("blkio.throttle.io_service_bytes", func(_ string, f []string) { // 8:16 Read 1459200
		if len(f) != 2 {
			return
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		switch {
		case err != nil:
		case f[0] == "Read":
			total[0] += n
		case f[0] == "Write":
			total[1] += n
		}
	})
	return total, err
}

// lines hands out each line of a file that begins with a device's number. A group that is gone has none.
func (g *throttled) lines(file string, each func(device string, fields []string)) error {
	b, err := os.ReadFile(path.Join(g.dir, file))
	if errors.Is(err, fs.ErrNotExist) && !exists(g.dir) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("throttle: read the control group: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.Contains(f[0], ":") {
			each(f[0], f[1:])
		}
	}
	return nil
}

func (b *brake) read() task.Braked {
	g := b.of.groups[b.id]
	if b.over || g == nil {
		return b.last
	}
	r := task.Braked{Devices: g.devices, Reaches: reachesV1, Held: time.Since(b.began), Read: b.last.Read, Written: b.last.Written}
	if g.v2 {
		r.Reaches = reachesV2
	}
	// A container that has ended has taken its figures with it: then the last ones count.
	if now, err := g.passed(); err == nil && now[0] >= b.start[0] && now[1] >= b.start[1] {
		r.Read, r.Written = max(r.Read, now[0]-b.start[0]), max(r.Written, now[1]-b.start[1])
	}
	b.last = r
	return r
}

func (b *brake) end() error {
	g := b.of.groups[b.id]
	if b.over || g == nil {
		return nil
	}
	b.read()
	b.over = true
	g.brakes = slices.DeleteFunc(g.brakes, func(o *brake) bool { return o == b })
	err := g.apply()
	if len(g.brakes) == 0 {
		delete(b.of.groups, b.id)
	}
	return err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
