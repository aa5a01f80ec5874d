package analysis

import (
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A HealthCheck is what the balancer's own health check is set to, as the scenario says.
type HealthCheck struct {
	Interval, Timeout time.Duration
	Fails             int

	// SilentDeath says that nothing answers at a dead node's address, as a container's, so that a
	// probe of it takes Timeout to fail. A dead process's address refuses at once.
	SilentDeath bool
}

// silent are the verbs under which a node's address does not answer, whatever the engine; refusing those under which it
// answers that nobody is there; deadly those that end the node, after which it is as [HealthCheck.SilentDeath] says.
func silent() []string   { return []string{"pause", "partition", "blackhole"} }
func refusing() []string { return []string{"refuse", "reset"} }
func deadly() []string   { return []string{"kill", "crash", "stop", "remove", "oom"} }

// floor is what the balancer's own health check must lose of a fault that takes nodes away, where nothing is
// tried twice: rate / nodes × nodes hit × (interval × (fails − ½) + timeout where the death is silent); the rate is that of this very while. On the
// average a node dies in the middle between two probes; the last of the failed ones ends its time. A fault that is over
// sooner loses no more than it lasts.
func (t *Trial) floor(f *record.Fault) Value {
	h := t.Health
	if h == nil || h.Interval <= 0 || h.Fails < 1 {
		return Missing("the scenario does not say what the balancer's health check is set to")
	}
	if why := t.undetectable(f); why != "" {
		return Missing("%s", why)
	}
	slow := slices.Contains(silent(), f.Verb) || slices.Contains(deadly(), f.Verb) && h.SilentDeath
	if !slow && !slices.Contains(deadly(), f.Verb) && !slices.Contains(refusing(), f.Verb) {
		return Missing("%s does not take a node away", f.Verb)
	}
	nodes := 0
	for _, n := range t.Rec.Nodes {
		if n.Balanced && !n.Late {
			nodes++
		}
	}
	hit := min(len(f.Nodes), nodes)
	if hit == nodes {
		return Missing("no node is left")
	}
	blind := time.Duration(float64(h.Interval) * (float64(h.Fails) - 0.5))
	if slow {
		blind += h.Timeout
	}
	force := t.force(f)
	blind = min(blind, force.To-force.From)
	return Good(t.rateFrom(force.From, blind) * float64(hit) / float64(nodes) * blind.Seconds())
}

// rateFrom is how many requests were due per second for a while, to the bins that it touches.
func (t *Trial) rateFrom(from, length time.Duration) float64 {
	r := t.clamp(run{record.IndexOf(from), ceilBin(from + length)})
	s := t.span(r)
	if s.To <= s.From {
		return 0
	}
	return float64(t.sum([]run{r}, anyRequest).due) / (s.To - s.From).Seconds()
}

// lossOverFloor is what was lost beyond the floor; below 0 where the balancer's second tries saved some of that.
func (t *Trial) lossOverFloor(f *record.Fault) Value {
	floor := t.floor(f)
	if floor.State != OK {
		return floor
	}
	lost := t.lostRequests(f)
	if lost.State != OK {
		return lost
	}
	return Good(lost.V - floor.V)
}

// fairShare is the part of its share of the answers from which on a node that came back counts as serving.
const fairShare = 0.8

// rebalanced is from heal to the start of the first 1 s, on the grid of 100 ms, in which every node that the fault
// had hit gave 80 % of its fair share of the answers: all of them by the number of the nodes that ran throughout it.
func (t *Trial) rebalanced(f *record.Fault) Value {
	if f.Heal == nil {
		return Missing("the fault was not undone")
	}
	heal := max(f.Heal.To, 0)
	if t.Rec.For-heal < time.Second {
		return Missing("less than 1 s of load follows the fault's end")
	}
	var nodes []string
	for _, n := range t.Rec.Nodes {
		if n.Balanced {
			nodes = append(nodes, n.Name)
		}
	}
	if len(f.Nodes) == 0 {
		return Missing("the fault hit no node")
	}
	for _, n := range f.Nodes {
		if !slices.Contains(nodes, n) {
			return Missing("%s is not one of the balanced nodes", n)
		}
	}
	downs := make([][]Span, len(nodes))
	for i, n := range nodes {
		downs[i] = t.downs(n)
	}
	named := false
	for i := ceilBin(heal); i+secondBins <= len(t.bins); i++ {
		r := run{i, i + secondBins}
		by, all := t.answersBy(r)
		named = named || len(by) > 0
		live := 0
		for k := range nodes {
			s := t.span(r)
			if !slices.ContainsFunc(downs[k], func(d Span) bool { return d.From < s.To && s.From < d.To }) {
				live++
			}
		}
		back := all > 0 && live > 0
		for _, n := range f.Nodes {
			back = back && float64(by[n])*float64(live) >= fairShare*float64(all)-1e-9
		}
		if back {
			return seconds(time.Duration(i)*record.Grid - heal)
		}
	}
	if !named {
		return Missing("no answer names its node")
	}
	return censored(t.Rec.For - time.Second - heal)
}

// answersBy counts the answers of each node, and all that name one.
func (t *Trial) answersBy(r run) (by map[string]uint64, all uint64) {
	by = make(map[string]uint64)
	for _, b := range t.bins[r.from:r.to] {
		if b == nil {
			continue
		}
		for _, c := range b.Cells {
			if c.Node != "" && answered(c.Class) {
				by[c.Node] += c.Count
				all += c.Count
			}
		}
	}
	return by, all
}

// month is the time that an availability objective is spread over.
const month = 30 * 24 * time.Hour

// affordable is how many times 30 days can afford what this trial lost, at an availability objective:
// (1 − objective) × 30 d / downtime. Downtime below that of one request is not seen: it is "at least".
// Source: the error budget of the SRE book, chapter 3, spent in seconds of whole outage.
func (t *Trial) affordable(rs []run, objective float64) Value {
	if objective < 0 || objective >= 1 {
		return Missing("an objective of %v%% leaves no budget", round9(objective*100))
	}
	budget := (1 - objective) * month.Seconds()
	down := t.downtime(rs)
	if down.State != OK {
		return down
	}
	if least := t.Rec.For.Seconds() / float64(t.phase(Whole, anyRequest).due); down.V < least {
		return Value{V: budget / least, State: Censored}
	}
	return Good(budget / down.V)
}
