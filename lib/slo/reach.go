package slo

import (
	"fmt"

	"github.com/tutti-bench/tutti/lib/stats"
)

// Reachable reports whether an objective can pass or fail with so many blocks, and if
// not, or only under an assumption, says why.
func Reachable(o Objective, blocks int) (ok bool, why string) {
	_, constL := Constant(o.Check.L)
	_, constR := Constant(o.Check.R)
	comparison := !constL && !constR
	switch {
	case blocks < 1:
		return false, "no block is asked for"
	case !comparison || o.Check.Op == "==" || o.Check.Op == "!=":
		return true, ""
	case blocks < minT:
		return false, fmt.Sprintf("a comparison over %s has no interval: repeats: %d is the least, %d assumes nothing of the noise",
			plural(blocks, "block"), minT, stats.MinSignedRank)
	case blocks < stats.MinSignedRank:
		return true, fmt.Sprintf("a comparison over %d blocks assumes normal noise, and has no interval where a value never came: from repeats: %d neither",
			blocks, stats.MinSignedRank)
	}
	return true, ""
}

// Unreachable says what the objectives of a run cannot show with so many blocks, a
// sentence each: those that cannot reach a verdict, and whether several gating comparisons leave any of
// them able to fail (Holm).
func Unreachable(objectives []Objective, blocks int) []string {
	var warnings []string
	gating := 0
	for _, o := range objectives {
		if ok, why := Reachable(o, blocks); !ok {
			warnings = append(warnings, o.title()+": "+why)
		}
		_, constL := Constant(o.Check.L)
		_, constR := Constant(o.Check.R)
		if o.gates() && !constL && !constR && o.Check.Op != "==" && o.Check.Op != "!=" {
			gating++
		}
	}
	if gating < 2 || blocks < stats.MinSignedRank {
		return warnings
	}
	need := blocks
	for stats.SignedRankP(need, 0) > judged/float64(gating) {
		need++
	}
	if need > blocks {
		warnings = append(warnings, fmt.Sprintf("%d comparisons gate: over %d blocks no single one can fail (Holm); repeats: %d is the least for that", gating, blocks, need))
	}
	return warnings
}
