package resource

import (
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	fillDefault = 0.8
	// memoryTolerance is by how much of the limit less may be in use at the least than was asked: what the service gives back
	// between two looks of the helper.
	memoryTolerance = 0.05
)

// MemoryKind is the verb memory.
func MemoryKind() fault.Kind {
	return fault.Kind{
		Summary: "memory taken inside the service's control group",
		Needs:   target.CanEnterNode,
		Params: []fault.Param{{
			Name: "fill", Type: fault.Share,
			Summary: "share of the service's memory limit that is in use then, what the service uses itself included; always a margin below the limit; default 80%",
		}},
		Means:  "a helper that holds memory in the service's control group",
		Places: []target.Place{target.InNode},
		Check: func(_ fault.Params, s target.Service, _ *target.Spec) error {
			return needsMemoryLimit("memory", s)
		},
		New: func(p fault.Params) (fault.Fault, error) {
			return fault.Helped{
				Tool:  fault.Tool{Place: target.InNode, Worker: task.Fill},
				Parts: same(task.Filling{Share: p.Number("fill", fillDefault)}),
				What:  "the memory is taken",
				Prove: proving(filled),
			}, nil
		},
	}
}

func filled(r task.Filled, _ time.Duration) (asked, delivered string, short bool) {
	if r.Limit <= 0 {
		return "memory in use", "a limit that is not known", true
	}
	asked = fmt.Sprintf("%s (%s of %s) in use", bytes(r.Want), percent(float64(r.Want)/float64(r.Limit)), bytes(r.Limit))
	if r.Most == 0 {
		return asked, fmt.Sprintf("nothing was taken: the service, or another fault, used that much already (%s before)", bytes(r.Before)), true
	}
	delivered = fmt.Sprintf("%s before, %s at the least while in force, %s at its end, of which ours %s",
		bytes(r.Before), bytes(r.Least), bytes(r.Used), bytes(r.Ours))
	return asked, delivered, float64(r.Least) < float64(r.Want)-memoryTolerance*float64(r.Limit)
}
