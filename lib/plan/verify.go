package plan

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// checkVerify finds writes that cannot be read back: more than can be remembered, or than can be read twice in their time.
func (p *Plan) checkVerify() scenario.Errors {
	s := p.Scenario
	if len(s.Verify) == 0 {
		return nil
	}
	l := p.load(s.Arms[0], 0)
	var wrong scenario.Errors
	if n := l.Schedule.Count(); n > load.MaxVerified {
		return scenario.Errors{p.wrong(s.Verify[0].Line, fmt.Sprintf("verify: %d requests are more than can be remembered: at most %d", n, load.MaxVerified))}
	}
	wrong = append(wrong, p.checkHistories(l)...)
	for _, v := range s.Verify {
		for i, q := range l.Requests {
			if q.Name != v.Of {
				continue
			}
			n := float64(l.Schedule.Count()-l.Schedule.Warm()) * l.Share(i)
			if l.Keys > 0 {
				n = min(n, float64(l.Keys)) // of each key the last one
			}
			if need := time.Duration(2 * n / l.ReadRate() * float64(time.Second)); need > v.Within {
				wrong = append(wrong, p.wrong(v.Line, fmt.Sprintf("verify: about %.0f writes of %q cannot be read twice within %v, at %.0f reads per second: it takes %v or more",
					n, v.Of, v.Within, l.ReadRate(), time.Duration(math.Ceil(need.Seconds()))*time.Second)))
			}
		}
	}
	return wrong
}

// checkHistories finds keys of which more would happen than is kept to be judged.
func (p *Plan) checkHistories(l load.Plan) scenario.Errors {
	var wrong scenario.Errors
	all := 0.0
	for i, v := range p.Scenario.Verify {
		read := l.Judged(l.Verify[i])
		if read < 0 {
			continue // nothing is judged
		}
		write := slices.IndexFunc(l.Requests, func(q load.Request) bool { return q.Name == v.Of })
		ops := float64(l.Schedule.Count()) * (l.Share(write) + l.Share(read))
		all += ops
		if each := ops / float64(l.Keys); each > load.MeanOps {
			wrong = append(wrong, p.wrong(v.Line, fmt.Sprintf("verify: about %.0f writes and reads of %q would share a key, and at most %d of one can be judged: it takes keys: %.0f or more, or less load",
				each, v.Of, load.MeanOps, math.Ceil(ops/load.MeanOps))))
		}
	}
	if all > load.MaxAllOps {
		wrong = append(wrong, p.wrong(p.Scenario.Verify[0].Line, fmt.Sprintf("verify: about %.0f writes and reads of shared keys are more than can be judged: at most %d", all, load.MaxAllOps)))
	}
	return wrong
}
