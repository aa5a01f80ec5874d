package plan

import (
	"fmt"
	"math"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// checkVerify finds writes that cannot be read back: more than can be remembered, or than can be read in their time.
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
	weights := 0.0
	for _, q := range l.Requests {
		weights += q.Weight
	}
	for _, v := range s.Verify {
		for _, q := range l.Requests {
			if q.Name != v.Of {
				continue
			}
			n := float64(l.Rate.Count()-l.Rate.Warm()) * q.Weight / weights
			if need := time.Duration(n / l.ReadRate() * float64(time.Second)); need > v.Within {
				round := time.Duration(math.Ceil(need.Seconds()*1.5)) * time.Second
				wrong = append(wrong, p.wrong(v.Line, fmt.Sprintf("verify: %.0f writes of %q are not read within %v: at %.0f reads per second they take %v; give it within: %v or more",
					n, v.Of, v.Within, l.ReadRate(), need.Round(time.Second), round)))
			}
		}
	}
	return wrong
}
