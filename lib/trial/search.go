package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
)

// How long a search waits for its target to get over a hold.
const (
	settleLimit = 30 * time.Second
	calmProbes  = 3                      // in a row
	calmSpare   = 100 * time.Millisecond // over twice what a probe takes at rest: a period of the kernel's CPU limits
)

// maxDoubts is how many holds of a search may be tried again because their answer cannot be told.
const maxDoubts = 2

// unspoiled is the share of its requests that the generator may spoil in a hold that is judged.
const unspoiled = 0.001

// search looks for the highest rate whose hold meets the condition: one load after the other on the same target, each with bins of its own.
func (r *run) search(ctx context.Context, agents agent.Group, dial string) error {
	c, client := r.Plan.Capacity, agents[0]
	s := load.Search{From: c.From, To: c.To}
	quick, err := r.atRest(ctx, client, dial)
	if err != nil {
		return notReady(ctx, err)
	}
	for doubts := 0; ; {
		rate, more := s.Next()
		if !more {
			break
		}
		h := record.Hold{Rate: rate, Warmup: plan.LeadIn, For: c.Hold}
		if len(r.rec.Holds) == 0 {
			h.Warmup = r.Plan.Load.Schedule.Warmup
		} else if h.Settled, h.Why, err = r.settle(ctx, client, dial, quick); err != nil {
			return err
		} else if h.Why != "" {
			h.At, h.Answer = r.since(time.Now(), client), record.Unknown
			r.rec.Holds = append(r.rec.Holds, h)
			break
		}
		if err := r.hold(ctx, agents, dial, &h); err != nil {
			return err
		}
		r.rec.Holds = append(r.rec.Holds, h)
		if h.Answer != record.Unknown {
			s.Tell(rate, h.Answer == record.Met)
			continue
		}
		// A moment of the machine's can be to blame. A second one is no chance.
		if n := len(r.rec.Holds); doubts == maxDoubts || n > 1 && r.rec.Holds[n-2].Answer == record.Unknown {
			s.Stop()
		}
		doubts++
	}
	r.rec.Generator.Complete = true
	return nil
}

// since gives a moment of this machine's clock as an offset from zero.
func (r *run) since(t time.Time, client *agent.Client) time.Duration {
	offset, _ := client.Offset()
	return t.Add(offset).Sub(r.rec.Zero)
}

// hold sends the load of one rate and judges it.
func (r *run) hold(ctx context.Context, agents agent.Group, dial string, h *record.Hold) error {
	p := r.Plan.Load
	p.Dial = dial
	p.Schedule.Warmup, p.Schedule.Stages = h.Warmup, []schedule.Stage{{Rate: h.Rate, For: h.For}}
	// Each hold has keys and values of its own: a target may take each once.
	p.Seed += int64(len(r.rec.Holds)) << 32
	limit := h.Warmup + h.For + p.Timeout + drainSpare
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the load agent did not end within %v", limit))
	defer cancel()
	r.Hooks.stage("holding " + perSecond(h.Rate))
	if r.Hooks.Hold != nil {
		r.Hooks.Hold(*h)
	}
	offset, _ := agents[0].Offset()
	started := func(at time.Time) { // at is on the engine's clock
		if r.rec.Zero.IsZero() {
			r.rec.Zero = at
			r.watch.start(at)
		}
		h.At = at.Sub(r.rec.Zero)
		if r.Hooks.Started != nil {
			r.Hooks.Started(at.Add(-offset))
		}
	}
	found, err := agents.Load(ctx, p, started, func(b record.Bin) {
		b.TakeExamples() // what fails beyond the capacity is no finding
		h.Bins = append(h.Bins, r.watch.bin(b))
	})
	h.Generator = found.Generator
	r.rec.Generator.Then(found.Generator)
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("send the load at %s: %w", perSecond(h.Rate), err)
		}
		return err
	}
	r.judge(h)
	if r.Hooks.Hold != nil {
		r.Hooks.Hold(*h)
	}
	return nil
}

// judge measures a hold and says whether it met the condition.
func (r *run) judge(h *record.Hold) {
	with := &record.Recording{Header: r.rec.Header}
	cursor := 0
	events, _ := r.watch.since(&cursor)
	for _, e := range events {
		with.Events = append(with.Events, event(e, r.rec.Zero))
	}
	slices.SortStableFunc(with.Events, func(a, b record.Event) int { return int(a.At - b.At) })
	t := analysis.HoldTrial(with, h)
	h.Offered, h.P99 = t.Offered(), record.None
	h.Achieved = t.Metric(analysis.Ref{Metric: "throughput"}).V
	h.Goodput = t.Metric(analysis.Ref{Metric: "goodput"}).V
	h.Availability = t.Metric(analysis.Ref{Metric: "availability"}).V
	if p := t.Metric(analysis.Ref{Metric: "p99"}); p.State == analysis.OK {
		h.P99 = time.Duration(p.V * float64(time.Second))
	}
	while := r.Plan.Capacity.While
	met, punctual := while.Holds(t), while.Holds(t.Unlagged())
	switch own := t.OwnShare(); {
	case own > unspoiled:
		h.Answer, h.Why = record.Unknown, fmt.Sprintf("the load generator itself spoiled %.2g %% of the requests (unsent or local)", 100*own)
	case met != punctual:
		h.Answer, h.Why = record.Unknown, "the load generator's own lag decides it: "+found(t, while.Metrics())
	case !met:
		h.Answer, h.Why = record.Unmet, found(t, while.Metrics())
	case h.Offered*(1+load.Resolution) < h.Rate:
		h.Answer, h.Why = record.Unknown, fmt.Sprintf("the load generator offered %s only", perSecond(h.Offered))
	default:
		h.Answer = record.Met
	}
}

// atRest is how long a probe takes while nothing else is going on: the median of some.
func (r *run) atRest(ctx context.Context, client *agent.Client, dial string) (time.Duration, error) {
	var took []time.Duration
	for range 5 {
		from := time.Now()
		if err := client.Probe(ctx, r.probe(dial)); err != nil {
			return 0, err
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// settle waits until every node runs and the target answers probes as it does at rest, so that the backlog of a hold that was too much
// does not spoil the next one. It returns how long that took, and why the next hold is not to be tried: the target did not settle.
func (r *run) settle(ctx context.Context, client *agent.Client, dial string, quick time.Duration) (took time.Duration, why string, err error) {
	r.Hooks.stage("letting the target settle")
	began := time.Now()
	sleepUntil(ctx, began.Add(plan.Settle))
	for calm := 0; calm < calmProbes; {
		if took = time.Since(began); took >= settleLimit {
			why = fmt.Sprintf("it was not tried: %v after the hold before it the target had not settled", settleLimit)
			if down := r.down(); down != "" {
				why = fmt.Sprintf("it was not tried: %v after the hold before it %s was not running", settleLimit, down)
			}
			return took, why, nil
		}
		from := time.Now()
		err := client.Probe(ctx, r.probe(dial))
		if errors.Is(err, agent.ErrLost) {
			return 0, "", err
		}
		calm++
		if err != nil || time.Since(from) > 2*quick+calmSpare || r.down() != "" {
			calm = 0
		}
		if !sleepUntil(ctx, from.Add(probeEvery)) {
			return 0, "", context.Cause(ctx)
		}
	}
	return time.Since(began), "", nil
}

// down is a node that does not run now, by the engine's events; "" if all do.
func (r *run) down() string {
	cursor := 0
	events, _ := r.watch.since(&cursor)
	state := make(map[string]bool)
	for _, e := range events {
		switch e.Kind {
		case record.NodeDie, record.NodeRemove, record.NodePause:
			state[e.Node] = true
		case record.NodeStart, record.NodeUnpause:
			state[e.Node] = false
		}
	}
	for _, n := range r.watch.known() {
		if state[n.Name] {
			return n.Name
		}
	}
	return ""
}

// found says what a hold has of the metrics that its condition is about, each once.
func found(t *analysis.Trial, of []slo.Metric) string {
	var parts []string
	for _, m := range of {
		if part := m.Ref.String() + " " + reading(t.Metric(m.Ref), m.Ref); !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

func reading(v analysis.Value, of analysis.Ref) string {
	spec, _ := analysis.SpecOf(of.Metric)
	digits := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	switch {
	case v.State == analysis.Never:
		return "never"
	case v.State != analysis.OK:
		return "no data"
	case spec.Unit == analysis.Ratio:
		return digits(100*v.V) + "%"
	case spec.Unit == analysis.PerSecond:
		return perSecond(v.V)
	case spec.Unit == analysis.Seconds && v.V < 1:
		return digits(1000*v.V) + "ms"
	case spec.Unit == analysis.Seconds:
		return digits(v.V) + "s"
	}
	return digits(v.V)
}

// perSecond writes a rate as scenarios do.
func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'g', 4, 64) + "/s" }
