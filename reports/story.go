package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A story is what one fault did to one arm, told from its proof to its last consequence.
type story struct {
	fault string
	arm   *arm
	text  string
}

// maxStories bounds them; the table of event times has the same numbers of every fault.
const maxStories = 8

// stories tells the faults of the arm that the report is about first.
func (s *sheet) stories() (out []story, more int) {
	arms := slices.Clone(s.arms)
	slices.SortStableFunc(arms, func(a, b *arm) int {
		switch {
		case a == s.subject && b != s.subject:
			return -1
		case b == s.subject && a != s.subject:
			return 1
		}
		return 0
	})
	for _, a := range arms {
		for _, f := range s.faults {
			text := s.story(a, f)
			switch {
			case text == "":
			case len(out) == maxStories:
				more++
			default:
				out = append(out, story{f, a, text})
			}
		}
	}
	return out, more
}

// told is a number of the story with its interval.
func (s *sheet) told(a *arm, metric, fault string) (string, rundir.Value) {
	v := s.value(a, analysis.Whole, analysis.Ref{Metric: metric, Fault: fault})
	r := read(v, slo.Absolute)
	return r.String() + within(r.iv), v
}

// story is the measured chain: proven, first error, last try at the lost node, served again, healed, rebalanced; and its price.
func (s *sheet) story(a *arm, fault string) string {
	var of []rundir.Fault
	for _, f := range s.run.Faults {
		if f.Name == fault && f.Arm == a.Name && s.counts(f) {
			of = append(of, f)
		}
	}
	if len(of) == 0 || of[0].Onset == nil {
		return ""
	}
	parts := []string{s.proven(of)}
	parts = append(parts, s.chain(a, fault, of)...)
	if cost := s.cost(a, fault, of); cost != "" {
		parts = append(parts, cost)
	}
	return strings.Join(parts, " ")
}

// counts tells a fault of a trial that counts.
func (s *sheet) counts(f rundir.Fault) bool {
	return slices.ContainsFunc(s.run.Trials, func(t rundir.Trial) bool { return t.Arm == f.Arm && t.Block == f.Block && t.Counted })
}

// proven says what was done to whom, and how that is known.
func (s *sheet) proven(of []rundir.Fault) string {
	f := of[0]
	out := fmt.Sprintf("%s (%s) hit %s", upper(f.Verb), f.Means, hitNodes(of))
	n := 0
	for _, f := range of {
		if f.Proven {
			n++
		}
	}
	proof := ""
	for _, p := range f.Proof {
		if p.OK && proof == "" {
			proof = p.What
			if p.Asked != "" {
				proof = set(p)
			}
		}
	}
	where := plural(len(of), "trial", "trials")
	switch {
	case n == len(of) && len(of) == 1:
		out += ", proven"
	case n == len(of):
		out += ", proven in all of " + where
	default:
		out += fmt.Sprintf(", proven in %d of %s", n, where)
	}
	if proof != "" {
		out += " (such as: " + proof + ")"
	}
	return out + "."
}

// hitNodes are the nodes of a fault; they can be others in each trial.
func hitNodes(of []rundir.Fault) string {
	var nodes []string
	alike := true
	for _, f := range of {
		alike = alike && slices.Equal(f.Nodes, of[0].Nodes)
		for _, n := range f.Nodes {
			if !slices.Contains(nodes, n) {
				nodes = append(nodes, n)
			}
		}
	}
	slices.Sort(nodes)
	names := list(nodes)
	if len(nodes) > 4 {
		names = fmt.Sprintf("%s and %d more", strings.Join(nodes[:3], ", "), len(nodes)-3)
	}
	switch {
	case alike:
		return names
	case !slices.ContainsFunc(of, func(f rundir.Fault) bool { return len(f.Nodes) != 1 }):
		return "one node in each trial (of " + names + ")"
	}
	return "nodes that differ by trial (of " + names + ")"
}

// outcomes counts in how many of an arm's trials that count an event came and in how many it did not. An estimate over them tells of one
// of the two only.
type outcomes struct{ came, of int }

func (s *sheet) outcomes(a *arm, metric, fault string) (o outcomes) {
	key := analysis.Ref{Metric: metric, Fault: fault}.String()
	for _, t := range s.run.Trials {
		v, ok := t.Metrics[key]
		if !ok || t.Arm != a.Name || !t.Counted || v.State == analysis.NoData {
			continue
		}
		o.of++
		if v.State == analysis.OK {
			o.came++
		}
	}
	return o
}

// mixed tells an event that came in some trials and not in others.
func (o outcomes) mixed() bool { return o.came > 0 && o.came < o.of }

// missed says in how many trials it did not come: "In 2 of 6 trials".
func (o outcomes) missed() string {
	return fmt.Sprintf("In %d of %s", o.of-o.came, plural(o.of, "trial", "trials"))
}

// chain says what followed, in its order.
func (s *sheet) chain(a *arm, fault string, of []rundir.Fault) []string {
	var out []string
	text, first := s.told(a, "first_error", fault)
	failed := s.outcomes(a, "first_error", fault)
	none := first.State == analysis.Never && !failed.mixed()
	if first.State == analysis.OK {
		out = append(out, "The first request failed "+text+" after the onset.")
	}
	switch {
	case none:
		out = append(out, "No request failed from its onset on.")
	case failed.mixed():
		out = append(out, failed.missed()+" no request failed from its onset on.")
	}
	out = append(out, s.tried(a, fault)...)
	if !none {
		out = append(out, s.served(a, fault)...)
	}
	low, high := healed(of)
	switch {
	case high == 0:
		out = append(out, "It was not undone before load ended.")
	case low == high:
		out = append(out, "It was undone after "+seconds(round3(high))+".")
	default:
		out = append(out, "It was undone after "+seconds(round3(low))+" to "+seconds(round3(high))+".")
	}
	if high > 0 {
		out = append(out, s.shared(a, fault, first.State == analysis.OK || failed.mixed())...)
	}
	return out
}

// tried says how long the lost node was tried.
func (s *sheet) tried(a *arm, fault string) (out []string) {
	text, v := s.told(a, "detection", fault)
	noticed := s.outcomes(a, "detection", fault)
	if v.State == analysis.OK {
		out = append(out, "After "+text+" nothing was tried at the lost node any more.")
	}
	switch {
	case v.State == analysis.NoData:
	case noticed.mixed():
		out = append(out, noticed.missed()+" the lost node was tried to the end"+over(v, text)+".")
	case v.State != analysis.OK:
		out = append(out, "The lost node was tried to the end ("+text+").")
	}
	return out
}

// over is the estimate over all trials, where no sentence before it has it.
func over(v rundir.Value, text string) string {
	if v.State == analysis.OK {
		return ""
	}
	return " (over all trials: " + text + ")"
}

// served says when clients were served again, and whether the fault was still on.
func (s *sheet) served(a *arm, fault string) (out []string) {
	text, v := s.told(a, "recovery", fault)
	back := s.outcomes(a, "recovery", fault)
	if v.State == analysis.OK {
		out = append(out, "Clients were served again, as well as before, "+text+" after the onset"+s.meanwhile(a, fault)+".")
	}
	switch {
	case v.State == analysis.NoData:
	case back.mixed():
		out = append(out, back.missed()+" clients were not served again as well as before while we looked"+over(v, text)+".")
	case v.State != analysis.OK:
		out = append(out, "Clients were not served again as well as before while we looked ("+text+").")
	}
	return out
}

// meanwhile says whether the fault was still on when clients were served again.
func (s *sheet) meanwhile(a *arm, fault string) string {
	_, v := s.told(a, "failover", fault)
	switch o := s.outcomes(a, "failover", fault); {
	case v.State == analysis.NoData:
	case o.mixed():
		return fmt.Sprintf(", in %d of %s while the fault was still on", o.came, plural(o.of, "trial", "trials"))
	case v.State == analysis.OK:
		return ", while the fault was still on"
	case v.State == analysis.Censored:
		return ", and not before the fault was undone"
	}
	return ""
}

// shared says when what was hit had its share of the load again; failed is whether requests had failed.
func (s *sheet) shared(a *arm, fault string, failed bool) (out []string) {
	text, v := s.told(a, "rebalanced", fault)
	back := s.outcomes(a, "rebalanced", fault)
	if v.State == analysis.OK {
		switch {
		case v.Value != nil && *v.Value > 0:
			out = append(out, "From then on it took "+text+" until what was hit had 80"+nb+"% of its fair share of the answers again.")
		case failed:
			out = append(out, "What was hit had 80"+nb+"% of its fair share of the answers again at once.")
		}
	}
	switch {
	case v.State == analysis.NoData:
	case back.mixed():
		out = append(out, back.missed()+" what was hit did not get back 80"+nb+"% of its fair share of the answers while we looked"+over(v, text)+".")
	case v.State != analysis.OK:
		out = append(out, "What was hit did not get back 80"+nb+"% of its fair share of the answers while we looked ("+text+").")
	}
	return out
}

// healed is the shortest and the longest time from onset to heal; 0, 0 if a fault was not undone.
func healed(of []rundir.Fault) (low, high float64) {
	for i, f := range of {
		if f.Onset == nil || f.Heal == nil {
			return 0, 0
		}
		d := (f.Heal.To - f.Onset.To).Seconds()
		if i == 0 || d < low {
			low = d
		}
		high = max(high, d)
	}
	return low, high
}

// cost says what was lost, how it looked, what the balancer's own health check must lose, and what a month can afford.
func (s *sheet) cost(a *arm, fault string, of []rundir.Fault) string {
	text, lost := s.told(a, "lost_requests", fault)
	if lost.State != analysis.OK {
		return ""
	}
	out := "It cost " + text + " requests"
	if lost.Value != nil && *lost.Value == 0 && lost.High == nil {
		out = "It cost no request"
	}
	if looks := signature(sumOf(of)); looks != "no bad request" && lost.Value != nil && *lost.Value > 0 {
		out += ", which from outside looked like: " + looks
		if len(of) > 1 {
			out += " in all trials together"
		}
	}
	out += "."
	floorText, floor := s.told(a, "floor", fault)
	over := s.value(a, analysis.Whole, analysis.Ref{Metric: "loss_over_floor", Fault: fault})
	if floor.State == analysis.OK && over.State == analysis.OK && over.Value != nil {
		out += " The balancer’s own health check, as it is set, must lose " + floorText + " where nothing is tried twice" + beyondFloor(over)
	}
	if len(s.faults) == 1 {
		out += s.affords(a)
	}
	return out
}

// beyondFloor says how what was lost compares with what had to be.
func beyondFloor(over rundir.Value) string {
	lost, low, high := *over.Value, over.Low, over.High
	r := read(over, slo.Absolute)
	switch {
	case low != nil && high != nil && *low < 0 && *high > 0:
		return "; what was lost is not shown to differ from that by more than the noise (" + r.num + "; " + r.iv + ")."
	case lost == 0:
		return ", and as many were lost."
	case lost > 0:
		return "; " + r.String() + within(r.iv) + " more than that were lost."
	}
	turned := rundir.Value{Unit: over.Unit, State: over.State, Value: turn(&lost), Low: turn(high), High: turn(low)}
	r = read(turned, slo.Absolute)
	return "; second tries or luck saved " + r.String() + within(r.iv) + " of them."
}

func turn(v *float64) *float64 {
	if v == nil {
		return nil
	}
	t := -*v
	return &t
}

// affords says how often a month can have that.
func (s *sheet) affords(a *arm) string {
	v := s.value(a, analysis.Whole, affordable())
	if v.State == analysis.NoData {
		return ""
	}
	r, of := read(v, slo.Absolute), s.value(a, analysis.Whole, analysis.Ref{Metric: "downtime"})
	if of.Value == nil || *of.Value == 0 {
		return ""
	}
	down := read(of, slo.Absolute)
	return fmt.Sprintf(" In downtime that is %s%s: at 99.9"+nb+"%% availability 30 days can afford %s such faults%s.", down, within(down.iv), r, within(r.iv))
}

// affordable is the metric at the objective that reports print where nobody asked for another.
func affordable() analysis.Ref {
	return analysis.Ref{Metric: "affordable", Args: []float64{0.999}}
}

func sumOf(of []rundir.Fault) map[string]uint64 {
	sum := make(map[string]uint64)
	for _, f := range of {
		for class, n := range f.Signature {
			sum[class] += n
		}
	}
	return sum
}

func (s *sheet) storiesHTML() string {
	all, more := s.stories()
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("<h3>What each fault did</h3>\n")
	for _, y := range all {
		b.WriteString(`<p class="story"><b>` + esc(y.fault) + "</b>, " + armHTML(y.arm) + ": " + together(y.text) + "</p>\n")
	}
	if more > 0 {
		b.WriteString(`<p class="note">` + plural(more, "more is", "more are") + " in the table of event times only.</p>\n")
	}
	return b.String()
}
