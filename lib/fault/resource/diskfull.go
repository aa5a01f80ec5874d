package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

const sizeDefault = 64 << 20

// DiskFull fills a volume of a service and keeps it full. The volume has a size of its own from the start: the
// machine's disk is never filled.
type DiskFull struct {
	params fault.Params // the volume's name may come in by Check
}

var (
	_ fault.Fault   = DiskFull{}
	_ fault.Armer   = DiskFull{}
	_ fault.Renewer = DiskFull{}
)

// DiskFullKind is the verb disk-full.
func DiskFullKind() fault.Kind {
	return fault.Kind{
		Summary: "a volume is full",
		Needs:   target.CanMount | target.CanBound,
		Params: []fault.Param{
			{Name: "volume", Type: fault.Text, Summary: "its name in the Compose file; default: the service's only named volume"},
			{Name: "size", Type: fault.Size, Summary: "how big the volume is, from the start of the trial on; default 64MiB"},
		},
		Means:  "a helper that fills the volume, which is made of memory and has a size of its own",
		Places: []target.Place{target.AtVolume},
		Check:  boundVolume,
		New:    func(p fault.Params) (fault.Fault, error) { return DiskFull{params: p}, nil },
	}
}

// boundVolume finds the volume that is meant, writes it into the parameters where they do not name it, and asks for its size.
func boundVolume(p fault.Params, s target.Service, spec *target.Spec) error {
	has, name := namedVolumes(s), p.Text("volume", "")
	switch {
	case len(has) == 0:
		return fmt.Errorf("disk-full: service %s has no named volume to write to; what it writes elsewhere is on the machine's disk, which is never filled", s.Name)
	case name == "" && len(has) > 1:
		return fmt.Errorf("disk-full: service %s has several volumes (%s): say which by `volume`", s.Name, strings.Join(has, ", "))
	case name == "":
		name = has[0]
		p["volume"] = name
	case !slices.Contains(has, name):
		return fmt.Errorf("disk-full: service %s has no volume %q that it can write to; it has %s", s.Name, name, strings.Join(has, ", "))
	}
	size := p.Amount("size", sizeDefault)
	if size <= 0 {
		return fmt.Errorf("disk-full: volume %s: a size of %d bytes", name, size)
	}
	if other := spec.Bounded[name]; other != 0 && other != size {
		return fmt.Errorf("disk-full: volume %s is to have %s, and %s for another fault: it has one size", name, bytes(size), bytes(other))
	}
	if spec.Bounded == nil {
		spec.Bounded = make(map[string]int64)
	}
	spec.Bounded[name] = size
	return nil
}

// Arm starts the helpers, and they see whether the volume is the one that was made for this.
func (f DiskFull) Arm(ctx context.Context, s *fault.Site, nodes []target.Node) error {
	h, err := f.helped()
	if err != nil {
		return err
	}
	return h.Arm(ctx, s, nodes)
}

// Inject returns when a write has been refused for want of space.
func (f DiskFull) Inject(ctx context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	h, err := f.helped()
	if err != nil {
		return nil, nil, err
	}
	return h.Inject(ctx, s, nodes)
}

// Renew fills the volume again, if it was not full all the time: the helper outlives the node.
func (f DiskFull) Renew(ctx context.Context, s *fault.Site, n target.Node) ([]target.Effect, error) {
	h, err := f.helped()
	if err != nil {
		return nil, err
	}
	return h.Renew(ctx, s, n)
}

func (f DiskFull) helped() (fault.Helped, error) {
	volume := f.params.Text("volume", "")
	if volume == "" {
		return fault.Helped{}, errors.New("disk-full: which volume is not known")
	}
	return fault.Helped{
		Tool:  fault.Tool{Place: target.AtVolume, Worker: task.Disk, Volume: volume},
		Parts: same(task.Full{Bound: f.params.Amount("size", sizeDefault)}),
		What:  "volume " + volume + " refuses writes: ENOSPC",
		Prove: proving(full),
	}, nil
}

func full(r task.Fullness, _ time.Duration) (asked, delivered string, short bool) {
	asked = fmt.Sprintf("no space on %s", bytes(r.Size))
	delivered = fmt.Sprintf("%s free before, %s at the end, %s of it ours; %d writes of ours refused (ENOSPC), what came free was taken %d times",
		bytes(r.FreeBefore), bytes(r.FreeAfter), bytes(r.Ours), r.NoSpace, r.TopUps)
	return asked, delivered, r.NoSpace == 0
}
