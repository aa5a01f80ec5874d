package reports

import (
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// comparison is the subject over, or less, the baseline.
func (s *sheet) comparison(phase analysis.Phase, ref analysis.Ref) rundir.Value {
	if o, ok := s.priceObjective(); ok && phase == s.pricePhase() && ref.String() == "p50" {
		return o.Value
	}
	return rundir.Value{State: analysis.NoData}
}

// compared is the cell of a comparison.
func (s *sheet) compared(phase analysis.Phase, ref analysis.Ref) cell {
	v := s.comparison(phase, ref)
	if v.State == analysis.NoData {
		return cell{}
	}
	return read(v, slo.Ratio).cell(false)
}
