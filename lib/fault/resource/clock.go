package resource

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

// clockTolerance is how far what a process reads may be from what was asked: the time between two readings of the clock, on
// a machine that is busy.
const clockTolerance = 10 * time.Millisecond

// ClockKind is the verb clock. It reaches every program that asks the C library or Go for the time, static ones
// too; what the kernel itself stamps or waits for (files, timers and locks with an absolute time) keeps to
// the true time. On processors other than amd64 and arm64 the driver cannot trace, and plan refuses it.
func ClockKind() fault.Kind {
	return fault.Kind{
		Summary: "the wall clock of the service's processes is wrong; the monotonic clocks are not touched",
		Needs:   target.CanTrace,
		Params: []fault.Param{{
			Name: "skew", Type: fault.SignedDuration, Required: true,
			Summary: "by how much it is ahead (5m) or behind (-5m)",
		}},
		Means:  "a helper that has the vDSO of each process of the node answer with the skew (ptrace)",
		Places: []target.Place{target.InProcesses},
		Check: func(_ fault.Params, s target.Service, _ *target.Spec) error {
			return needsOwnProcesses("clock", s)
		},
		New: func(p fault.Params) (fault.Fault, error) {
			skew := p.Duration("skew", 0)
			if skew == 0 {
				return nil, errors.New("clock: `skew` must say by how much the clock is wrong")
			}
			return fault.Helped{
				Tool:  fault.Tool{Place: target.InProcesses, Worker: task.Clock},
				Parts: same(task.Skew{Offset: skew}),
				What:  "the clock is wrong by " + skew.String(),
				Prove: proving(skewed),
			}, nil
		},
	}
}

func skewed(r task.Skewed, _ time.Duration) (asked, delivered string, short bool) {
	asked = r.Asked.String()
	delivered = fmt.Sprintf("%v in the process furthest from it, of %d; they stood still for it for %v at the most",
		r.Seen, r.Processes, r.Stopped.Round(time.Microsecond))
	if len(r.Missed) > 0 {
		delivered += "; not in " + strings.Join(r.Missed, ", ")
	}
	return asked, delivered, r.Processes == 0 || len(r.Missed) > 0 || (r.Seen-r.Asked).Abs() > clockTolerance
}
