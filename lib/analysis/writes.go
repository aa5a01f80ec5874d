package analysis

import (
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Writes sums what was read back of one request's writes, or of all that are verified for "". ok is false where there is
// none.
func (t *Trial) Writes(request string) (sum record.Writes, ok bool) {
	for _, w := range t.Rec.Writes {
		if request != "" && w.Of != request {
			continue
		}
		if w.Lost > 0 {
			if sum.Lost == 0 || w.First < sum.First {
				sum.First = w.First
			}
			sum.Last = max(sum.Last, w.Last)
		}
		for _, n := range []struct {
			to *uint64
			of uint64
		}{
			{&sum.Acknowledged, w.Acknowledged}, {&sum.Kept, w.Kept}, {&sum.Lost, w.Lost}, {&sum.Unread, w.Unread},
			{&sum.Uncertain, w.Uncertain}, {&sum.Found, w.Found}, {&sum.Duplicated, w.Duplicated}, {&sum.Reads, w.Reads},
		} {
			*n.to += n.of
		}
		sum.Within, sum.Took = max(sum.Within, w.Within), sum.Took+w.Took
		if sum.Problem == "" {
			sum.Problem = w.Problem
		}
		ok = true
	}
	sum.Of = request
	return sum, ok
}

// writeMetric answers for a metric of what was read back.
//
// acknowledged_writes and uncertain_writes are counts of what the load was told. lost_writes and duplicated_writes are counts of
// what reading back found: with some left unread they are lower bounds, and where nothing was found among those that were read there
// is no number: what nobody could look for is not there, and not lost either.
func (t *Trial) writeMetric(ref Ref) Value {
	w, ok := t.Writes(ref.Request)
	switch {
	case !ok && ref.Request != "":
		return Missing("writes of request %q were not read back", ref.Request)
	case !ok:
		return Missing("no writes were read back")
	}
	switch ref.Metric {
	case "acknowledged_writes":
		return Good(float64(w.Acknowledged))
	case "uncertain_writes":
		return Good(float64(w.Uncertain))
	case "lost_writes":
		return found(w, w.Lost)
	case "duplicated_writes":
		return found(w, w.Duplicated)
	}
	return Missing("%s is not measured by this version", ref.Metric)
}

// found is a count of what reading back found.
func found(w record.Writes, n uint64) Value {
	switch {
	case w.Problem != "":
		return Missing("nothing was read back: %s", w.Problem)
	case w.Acknowledged == 0:
		return Missing("no write was acknowledged")
	case w.Unread > 0 && n > 0:
		return Value{V: float64(n), State: Censored}
	case w.Unread > 0:
		return Missing("of %d acknowledged writes %d could not be read back within %v", w.Acknowledged, w.Unread, w.Within.Round(time.Millisecond))
	}
	return Good(float64(n))
}
