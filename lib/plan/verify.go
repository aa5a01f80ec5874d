package plan

import (
	"fmt"
	"math"
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
	if n := l.Rate.Count(); n > load.MaxVerified {
		return scenario.Errors{p.wrong(s.Verify[0].Line, fmt.Sprintf("verify: %d requests are more than can be remembered: at most %d", n, load.MaxVerified))}
	}
	for _, v := range s.Verify {
		for i, q := range l.Requests {
			if q.Name != v.Of {
				continue
			}
			n := float64(l.Rate.Count()-l.Rate.Warm()) * l.Share(i)
			if need := time.Duration(2 * n / l.ReadRate() * float64(time.Second)); need > v.Within {
				wrong = append(wrong, p.wrong(v.Line, fmt.Sprintf("verify: about %.0f writes of %q cannot be read twice within %v, at %.0f reads per second: it takes %v or more",
					n, v.Of, v.Within, l.ReadRate(), time.Duration(math.Ceil(need.Seconds()))*time.Second)))
			}
		}
	}
	return wrong
}
