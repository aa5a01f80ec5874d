package reports

import (
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A check is a question to the measurement itself. A broken one can make a run
// invalid; none can make it pass.
type check struct {
	name   string // stable: JUnit follows it through time
	found  string
	bound  string
	state  checkState
	detail []string // what is broken, one line each
	means  string   // what the number is for
}

type checkState int

const (
	holds   checkState = iota
	broken             // in a trial that counts, or in so many that the run is invalid
	mended             // broken in a block that was taken out
	printed            // for the reader; judged by nobody
	unknown            // there is nothing to check
)

// own is the share of a trial's requests that the generator may spoil.
const own = 0.001

// trials pairs what run.json says of each trial with its recording, which may be missing.
func (s *sheet) each(f func(t rundir.Trial, a *analysis.Trial)) {
	for i, t := range s.run.Trials {
		var a *analysis.Trial
		if i < len(s.result.Trials) && s.result.Trials[i] != nil && s.result.Trials[i].Rec != nil {
			a = s.result.Trials[i]
		}
		f(t, a)
	}
}

func trialName(t rundir.Trial) string { return fmt.Sprintf("block %d, %s", t.Block, t.Arm) }

func (s *sheet) makeChecks() []check {
	all := []check{
		s.checkRecordings(), s.checkSchedule(), s.checkOwn(), s.checkTrials(), s.checkProof(),
		s.checkDecides(), s.checkEdges(), s.checkLag(), s.checkExcused(), s.checkBlocks(),
	}
	all = append(all, s.checkGenerator()...)
	if s.searches() {
		all = append(all, s.checkHolds())
	}
	return all
}

// A tally counts trials that meet a check and collects those that do not.
type tally struct {
	of, ok  int
	state   checkState
	details []string
}

func (y *tally) see(t rundir.Trial, ok bool, detail string) {
	y.of++
	if ok {
		y.ok++
		return
	}
	y.details = append(y.details, trialName(t)+": "+detail)
	if t.Counted {
		y.state = broken
	} else if y.state == holds {
		y.state = mended
	}
}

// check ends a tally. Whatever is broken is broken for good if the run is invalid.
func (y *tally) check(s *sheet, name, bound string) check {
	c := check{
		name: name, bound: bound, state: y.state, detail: y.details,
		found: fmt.Sprintf("%s of %s", count(uint64(y.ok)), plural(y.of, "trial", "trials")),
	}
	switch {
	case y.of == 0:
		c.found, c.state = "nothing to check", unknown
	case c.state == mended && s.run.Verdict == rundir.Invalid:
		c.state = broken
	}
	return c
}

func (s *sheet) checkRecordings() check {
	var y tally
	s.each(func(t rundir.Trial, a *analysis.Trial) { y.see(t, a != nil, "no recording") })
	return y.check(s, "Every trial has its recording", "every trial")
}

func (s *sheet) checkSchedule() check {
	var y tally
	s.each(func(t rundir.Trial, a *analysis.Trial) {
		if a != nil {
			g := a.Rec.Generator
			why := fmt.Sprintf("%s of %s requests have an outcome", count(g.Counted), count(g.Scheduled))
			whole := g.Complete && g.Counted == g.Scheduled
			if whole && a.Rec.Capacity == nil {
				if err := g.Check(a.Rec.Bins); err != nil {
					whole, why = false, err.Error()
				}
			}
			y.see(t, whole, why)
		}
	})
	return y.check(s, "Whole schedule sent, every request accounted for", "every trial")
}

func (s *sheet) checkOwn() check {
	var y tally
	var spoiled, due uint64
	s.each(func(t rundir.Trial, a *analysis.Trial) {
		if a == nil {
			return
		}
		var k, n uint64
		for _, b := range measured(a) {
			n += b.Due
			for i := range b.Cells {
				if b.Cells[i].Class.Own() {
					k += b.Cells[i].Count
				}
			}
		}
		spoiled, due = spoiled+k, due+n
		y.see(t, float64(k) <= own*float64(n), fmt.Sprintf("%s of %s requests", count(k), count(n)))
	})
	c := y.check(s, "Requests that the generator itself spoiled", "0.1"+nb+"% of a trial")
	if y.of > 0 {
		c.found = count(spoiled) + " of " + count(due)
	}
	return c
}

// measured are the bins of measured load; of a search those of the holds that count.
func measured(a *analysis.Trial) []*record.Bin {
	bins := measuredOf(a.Rec.Bins, a.Rec.For)
	for i := range a.Rec.Holds {
		if h := &a.Rec.Holds[i]; h.Answer == record.Met || h.Answer == record.Unmet {
			bins = append(bins, measuredOf(h.Bins, h.For)...)
		}
	}
	return bins
}

func measuredOf(of []record.Bin, length time.Duration) []*record.Bin {
	var bins []*record.Bin
	for i := range of {
		if b := &of[i]; b.Index >= 0 && b.Start() < length {
			bins = append(bins, b)
		}
	}
	return bins
}

// checkHolds counts the holds of searches that the generator is to blame for.
func (s *sheet) checkHolds() check {
	of, unknown := 0, 0
	for _, t := range s.run.Trials {
		for _, h := range t.Holds {
			of++
			if h.Answer == record.Unknown {
				unknown++
			}
		}
	}
	return check{
		name: "Holds whose answer cannot be told", bound: "printed, not judged", state: printed,
		found: count(uint64(unknown)) + " of " + count(uint64(of)),
		means: "The load generator could not offer the rate, or its own lag decides whether the condition was met. Such a hold is tried once more; then the search ends with what it has.",
	}
}

func (s *sheet) checkTrials() check {
	var y tally
	s.each(func(t rundir.Trial, _ *analysis.Trial) { y.see(t, t.Valid, strings.Join(t.Problems, "; ")) })
	return y.check(s, "Trial valid", "every trial that counts")
}

func (s *sheet) checkProof() check {
	var y tally
	for _, f := range s.run.Faults {
		t := rundir.Trial{Arm: f.Arm, Block: f.Block, Order: f.Order}
		for _, o := range s.run.Trials {
			if o.Order == f.Order && o.Arm == f.Arm && o.Block == f.Block {
				t = o
			}
		}
		why := f.Problem
		if why == "" {
			why = "no proof of effect"
		}
		for _, p := range f.Proof {
			if !p.OK && p.Asked != "" && f.Problem == "" {
				why = p.Node + ": " + against(p)
				break
			}
		}
		y.see(t, f.Proven, fmt.Sprintf("fault %s: %s", f.Name, why))
	}
	c := y.check(s, "Fault took effect, with proof", "every fault of every trial")
	if y.of > 0 {
		c.found = fmt.Sprintf("%s of %s", count(uint64(y.ok)), plural(y.of, "fault", "faults"))
	}
	return c
}

func (s *sheet) checkEdges() check {
	onset, heal, n := time.Duration(0), time.Duration(0), 0
	for _, f := range s.run.Faults {
		if f.Onset != nil {
			onset, n = max(onset, f.Onset.To-f.Onset.From), n+1
		}
		if f.Heal != nil {
			heal = max(heal, f.Heal.To-f.Heal.From)
		}
	}
	c := check{
		name: "Width of the faults’ edges", bound: "printed, not judged", state: printed, found: "no fault",
		means: "How closely the moments are known at which a fault took effect and was gone. Times are counted from the last moment at which it can have taken effect.",
	}
	if n > 0 {
		c.found = "onset " + duration(onset) + ", end " + duration(heal) + " at most"
	}
	return c
}

func duration(d time.Duration) string {
	sc := scaleOf(analysis.Seconds, slo.Absolute, d.Seconds())
	return join(sc.format(d.Seconds(), sc.decimals(d.Seconds())), sc.unit)
}

func (s *sheet) checkLag() check {
	var lag record.Hist
	s.each(func(_ rundir.Trial, a *analysis.Trial) {
		if a != nil {
			for _, b := range measured(a) {
				lag.Merge(b.Lag)
			}
		}
	})
	c := check{
		name: "Send lag, p99.9 (sent − due)", bound: "printed, not judged", state: printed, found: "no data",
		means: "One request in a thousand left the generator later than this after it was due. It counts as latency; where it could decide an objective, the check above breaks.",
	}
	if n := lag.Total(); n > 0 {
		if d, ok := lag.Rank((n*999 + 999) / 1000); ok {
			c.found = duration(d)
		}
	}
	return c
}

// checkDecides tells objectives that the judge could not judge since the generator's own
// lag, put in or taken out, decides them.
func (s *sheet) checkDecides() check {
	c := check{
		name: "The generator’s own lag decides no objective", bound: "every objective", state: holds,
		means: "Judged again with the lag taken out of every latency, each objective has the same verdict.",
	}
	for _, o := range s.run.Objectives {
		switch {
		case o.Verdict != rundir.Invalid:
		case o.Severity == slo.SeverityWarn: // nothing of the run's verdict depends on it
			c.detail = append(c.detail, o.Text+" (severity warn)")
		default:
			c.state = broken
			c.detail, c.means = append(c.detail, o.Text), ""
		}
	}
	n := len(s.run.Objectives)
	c.found = fmt.Sprintf("%d of %s", n-len(c.detail), plural(n, "objective", "objectives"))
	if n == 0 {
		c.found, c.state, c.means = "nothing to check", unknown, ""
	}
	return c
}

func (s *sheet) checkExcused() check {
	var n, bad uint64
	s.each(func(_ rundir.Trial, a *analysis.Trial) {
		if a != nil {
			for _, b := range measured(a) {
				n += b.Excused
				bad += b.Due - b.Good
			}
		}
	})
	return check{
		means: "Bad ones that the generator was late with by more than a tenth of their timeout (slow ones: of their response time): what its lag could have spoiled at most.",
		name:  "Bad requests that a punctual generator might have saved",
		bound: "printed, not judged", state: printed, found: count(n) + " of " + count(bad),
	}
}

func (s *sheet) checkBlocks() check {
	dropped := s.droppedBlocks()
	n := len(s.countedBlocks())
	c := check{
		name: "Blocks that count", bound: fmt.Sprintf("%d asked for", s.run.Repeats),
		found: count(uint64(n)),
	}
	if len(dropped) > 0 {
		names := make([]string, len(dropped))
		for i, b := range dropped {
			names[i] = fmt.Sprint(b)
		}
		c.found += "; left out: " + list(names)
		c.detail = []string{"left out: block " + list(names)}
		c.state = mended
	}
	if n < s.run.Repeats {
		c.state = broken
		c.detail = append(c.detail, fmt.Sprintf("%s of %d asked for", plural(n, "block counts", "blocks count"), s.run.Repeats))
	}
	return c
}

func (s *sheet) trustTable() table {
	t := table{
		id: "t-trust", class: "tr", caption: "Checks on the measurement itself. They can make a run invalid; none can make it pass.",
		head: []column{left("Check"), num("Found"), left("Bound"), left("State")},
	}
	for _, c := range s.checks {
		r := row{cells: []cell{text(c.name), text(c.found), quiet(c.bound), c.cell()}}
		if len(c.detail) > 0 {
			r.note = strings.Join(c.detail[:min(len(c.detail), 6)], "; ")
			if more := len(c.detail) - 6; more > 0 {
				r.note += "; and " + count(uint64(more)) + " more"
			}
		}
		if r.note == "" {
			r.note = c.means
		}
		t.rows = append(t.rows, r)
	}
	return t
}

func (c check) cell() cell {
	switch c.state {
	case holds:
		return cell{verdict: rundir.Pass, word: "holds"}
	case mended:
		return cell{verdict: rundir.Inconclusive, word: "left out"}
	case broken:
		return cell{verdict: rundir.Invalid, word: "broken"}
	case printed:
		return quiet("for the reader")
	case unknown:
	}
	return quiet("not known")
}

// trustLead answers the section's question.
func (s *sheet) trustLead() string {
	var bad, out []string
	for _, c := range s.checks {
		if c.state == broken {
			bad = append(bad, c.name)
		}
		if c.state == mended {
			out = append(out, c.name)
		}
	}
	switch {
	case s.run.Verdict == rundir.Invalid:
		return "No. " + s.because("A check is broken") + "."
	case s.run.Verdict == rundir.Errored || s.run.Verdict == rundir.Interrupted:
		return "It is not complete: the run did not come to its end."
	case len(bad) > 0:
		return "Not all of it: see the broken checks below."
	case len(out) > 0:
		return "Yes. What broke a check was left out, with its whole block, and nothing was judged on it."
	}
	return "Yes. Every check holds in every trial."
}
