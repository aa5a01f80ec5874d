package analysis

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Good makes a value of state OK; a number that is none makes no data instead.
func Good(v float64) Value {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Missing("the metric is not a finite number")
	}
	return Value{V: v, State: OK}
}

// Missing makes a value of state NoData.
func Missing(format string, args ...any) Value {
	return Value{State: NoData, Why: fmt.Sprintf(format, args...)}
}

func seconds(d time.Duration) Value { return Good(d.Seconds()) }

func censored(at time.Duration) Value {
	return Value{V: max(at, 0).Seconds(), State: Censored}
}

// anyRequest selects all requests.
const anyRequest = -1

// Metric answers for one metric. It never fails: what the trial cannot give, and
// what no such metric is, has state NoData and says why. Only measured load counts.
func (t *Trial) Metric(ref Ref) Value {
	spec, ok := SpecOf(ref.Metric)
	switch {
	case !ok:
		return Missing("there is no metric %q", ref.Metric)
	case ref.Phase != Whole && !spec.Phased:
		return Missing("%s has no phases", ref.Metric)
	case len(ref.Args) != len(spec.Args):
		return Missing("%s takes %d arguments, not %d", ref.Metric, len(spec.Args), len(ref.Args))
	}
	for _, l := range []struct{ name, value string }{{"class", ref.Class}, {"fault", ref.Fault}, {"request", ref.Request}} {
		if l.value != "" && !slices.Contains(spec.Labels, l.name) {
			return Missing("%s has no label %q", ref.Metric, l.name)
		}
	}
	switch {
	case spec.Search:
		return t.capacity()
	case t.Rec.Capacity != nil:
		return Missing("the load is a search for capacity, in which each hold has a rate of its own")
	case spec.OfFault:
		return t.faultMetric(ref)
	case spec.OfWrite:
		return t.writeMetric(ref)
	case ref.Metric == "longest_silence":
		return t.longestSilence()
	}
	rs := t.runs(ref.Phase)
	if len(rs) == 0 {
		return Missing("this trial has no phase %s", phaseName(ref.Phase))
	}
	request := anyRequest
	if ref.Request != "" {
		if request = slices.Index(t.Rec.Requests, ref.Request); request < 0 {
			return Missing("there is no request %q", ref.Request)
		}
	}
	sum := t.phase(ref.Phase, request)
	if sum.due == 0 {
		return Missing("no request was due%s", inPhase(ref.Phase))
	}
	if v, ok := sum.percentile(ref.Metric); ok {
		return v
	}
	return t.loadMetric(ref, rs, request, sum)
}

func (t *Trial) loadMetric(ref Ref, rs []run, request int, sum sum) Value {
	switch ref.Metric {
	case "availability":
		return Good(float64(sum.good) / float64(sum.due))
	case "throughput":
		return Good(float64(sum.answered()) / t.length(rs).Seconds())
	case "goodput":
		return Good(float64(sum.good) / t.length(rs).Seconds())
	case "error_rate":
		if ref.Class == "" {
			return Good(float64(sum.due-sum.good) / float64(sum.due))
		}
		class, err := record.ParseClass(ref.Class)
		if err != nil {
			return Missing("%v", err)
		}
		return Good(float64(sum.byClass[class]) / float64(sum.due))
	case "mean":
		if sum.ok.Total() == 0 {
			return Missing("no request was good%s", inPhase(ref.Phase))
		}
		return Good(sum.ok.Sum().Seconds() / float64(sum.ok.Total()))
	case "worst":
		return t.worst(rs, request, ref.Args[0])
	case "available_windows":
		return t.availableWindows(rs, request, ref.Args[0], ref.Args[1])
	case "downtime":
		return t.downtime(rs)
	case "affordable":
		return t.affordable(rs, ref.Args[0])
	case "balance":
		return t.balance(rs)
	case "serving_nodes":
		return t.servingNodes(rs)
	}
	return Missing("%s is not measured by this version", ref.Metric)
}

func phaseName(p Phase) string {
	if p == Whole {
		return "of measured load"
	}
	return string(p)
}

func inPhase(p Phase) string {
	if p == Whole {
		return ""
	}
	return " " + string(p) + " the faults"
}

// A sum is the requests of some bins.
type sum struct {
	due, good uint64
	byClass   map[record.Class]uint64
	ok        *record.Hist // response times of the good ones
}

// answered counts requests with a whole answer, as expected or not.
func (s sum) answered() uint64 {
	return s.byClass[record.OK] + s.byClass[record.Wrong] + s.byClass[record.Slow]
}

func answered(c record.Class) bool {
	return c == record.OK || c == record.Wrong || c == record.Slow
}

func (t *Trial) sum(rs []run, request int) sum {
	s := sum{byClass: make(map[record.Class]uint64), ok: new(record.Hist)}
	for _, r := range rs {
		for _, b := range t.bins[r.from:r.to] {
			if b != nil {
				s.add(b, request)
			}
		}
	}
	return s
}

// phase sums the requests of a phase, once.
func (t *Trial) phase(p Phase, request int) sum {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sumKey{p, request}
	s, ok := t.sums[key]
	if !ok {
		if t.sums == nil {
			t.sums = make(map[sumKey]sum)
		}
		s = t.sum(t.runs(p), request)
		t.sums[key] = s
	}
	return s
}

func (s *sum) add(b *record.Bin, request int) {
	for i := range b.Cells {
		c := &b.Cells[i]
		if request != anyRequest && c.Request != request {
			continue
		}
		s.due += c.Count
		s.byClass[c.Class] += c.Count
		if c.Class.Good() {
			s.good += c.Count
			s.ok.Merge(c.Response)
		}
	}
}

// tenThousandths returns a percentile in parts of ten thousand, 0 for what is none;
// max is all of them.
func tenThousandths(name string) uint64 {
	switch name {
	case "p50":
		return 5000
	case "p90":
		return 9000
	case "p95":
		return 9500
	case "p99":
		return 9900
	case "p999":
		return 9990
	case "p9999":
		return 9999
	case "max":
		return 10000
	}
	return 0
}

// percentile answers for a percentile over all requests, or (ok_) over good ones.
// The q-quantile is the value of rank ⌈q·n⌉. A request that failed never arrived: it ranks
// above all times, so that a percentile above the availability is "never".
func (s sum) percentile(metric string) (Value, bool) {
	n := s.due
	name, alone := strings.CutPrefix(metric, "ok_")
	if alone {
		n = s.good
	}
	q := tenThousandths(name)
	if q == 0 {
		return Value{}, false
	}
	return rank(s.ok, n, s.good, q), true
}

func rank(h *record.Hist, n, good, q uint64) Value {
	if n == 0 {
		return Missing("no request was good")
	}
	k := (q*n + 9999) / 10000
	if k > good {
		return Value{State: Never}
	}
	d, ok := h.Rank(k)
	if !ok {
		return Missing("the recording lacks response times of good requests")
	}
	return seconds(d)
}
