package analysis

import (
	"cmp"
	"slices"
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
			{&sum.Acknowledged, w.Acknowledged},
			{&sum.Kept, w.Kept},
			{&sum.Lost, w.Lost},
			{&sum.Unread, w.Unread},
			{&sum.Uncertain, w.Uncertain},
			{&sum.Found, w.Found},
			{&sum.Duplicated, w.Duplicated},
			{&sum.Reads, w.Reads},
		} {
			*n.to += n.of
		}
		sum.Registers = Together(sum.Registers, w.Registers)
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
	case "stale_reads", "linearizable":
		return registerMetric(ref.Metric, w.Registers)
	case "lost_writes":
		return found(w, w.Lost)
	case "duplicated_writes":
		return found(w, w.Duplicated)
	}
	return Missing("%s is not measured by this version", ref.Metric)
}

// Together sums what was found of the keys of two requests.
func Together(a, b *record.Registers) *record.Registers {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := *a
	sum.Keys += b.Keys
	sum.Reads += b.Reads
	sum.Unjudged += b.Unjudged
	sum.Stale += b.Stale
	sum.Linearizable += b.Linearizable
	sum.Violated += b.Violated
	sum.Unknown += b.Unknown
	sum.Why = cmp.Or(a.Why, b.Why)
	sum.Bad = append(slices.Clone(a.Bad), b.Bad...)
	return &sum
}

// registerMetric answers for what the reads during load say. A share of keys is none while one of them is unknown: it could be either.
func registerMetric(metric string, r *record.Registers) Value {
	switch {
	case r == nil:
		return Missing("no key was both written and read during load")
	case r.Reads == 0:
		return Missing("no read during load had an answer that could be judged")
	case metric == "stale_reads":
		return Good(float64(r.Stale))
	case r.Unknown > 0:
		return Missing("of %d keys %d are unknown (%s), and %d are shown not to be linearizable", r.Keys, r.Unknown, r.Why, r.Violated)
	}
	return Good(float64(r.Linearizable) / float64(r.Keys))
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
