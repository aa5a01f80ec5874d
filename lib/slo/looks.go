package slo

import (
	"fmt"
	"math"

	"github.com/tutti-bench/tutti/lib/stats"
)

// looks are those of a planned extension that have been taken, the last one now. Its bounds hold at all of them together. nil is
// none: the number of blocks was fixed beforehand.
type looks struct {
	least, most int
	sizes       []int                  // the last one is the number of blocks there are
	last        map[float64]stats.Look // the last one by its error, once it is known: a call takes milliseconds
}

// looks are taken at so many blocks that count. A run that ended between two looks has taken one there: the error that it may
// spend depends on how many blocks there are, and not on when it was planned to look.
func (in Input) looks(blocks int) *looks {
	if in.Most <= in.Repeats || blocks < max(in.Repeats, stats.MinSignedRank) {
		return nil
	}
	l := &looks{least: in.Repeats, most: max(in.Most, blocks), last: make(map[float64]stats.Look)}
	for _, n := range stats.LookSizes(in.Repeats, in.Most) {
		if n < blocks {
			l.sizes = append(l.sizes, n)
		}
	}
	l.sizes = append(l.sizes, blocks)
	return l
}

// at reports whether n values are judged by these looks.
func (l *looks) at(n int) bool { return l != nil && l.sizes[len(l.sizes)-1] == n }

// bounds are those of the last look, each missing the centre at this look or an earlier one with probability alpha at most.
func (l *looks) bounds(xs []float64, alpha float64) (low, high float64, ok bool) {
	if !l.at(len(xs)) {
		return math.Inf(-1), math.Inf(1), false
	}
	last, known := l.last[alpha]
	if !known {
		taken := stats.Looks(l.sizes, l.most, alpha)
		last = taken[len(taken)-1]
		l.last[alpha] = last
	}
	return stats.LookBounds(xs, last)
}

// next is the number of blocks at the look after n.
func (l *looks) next(n int) int {
	for _, size := range stats.LookSizes(l.least, l.most) {
		if size > n {
			return size
		}
	}
	return l.most
}

// note says what the interval of an estimate is, if it has one.
func (l *looks) note(interval bool) string {
	s := fmt.Sprintf("over all looks of %d..%d", l.least, l.most)
	if !interval {
		s += ": no two-sided interval yet"
	}
	return s
}

// Widest is the largest number of blocks that an extension from least may go on to: beyond, no objective could pass or fail at its first look.
func Widest(least int) int { return stats.Widest(least, judged) }

// Looks are the numbers of valid blocks after which a planned extension from least to most may end.
func Looks(least, most int) []int { return stats.LookSizes(least, most) }

// Decided reports whether every objective that gates has passed or failed, so that a planned extension may end.
func (v Verdict) Decided() bool { return len(v.Open()) == 0 && len(v.Findings) > 0 }

// Open are the titles of the objectives that gate and have neither passed nor failed.
func (v Verdict) Open() []string {
	var open []string
	for _, f := range v.Findings {
		if f.Objective.gates() && f.Outcome != Pass && f.Outcome != Fail {
			open = append(open, f.Objective.title())
		}
	}
	return open
}
