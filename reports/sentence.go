package reports

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A piece is a part of the sentence: plain, a number, an interval, or an arm.
type piece struct {
	text   string
	strong bool
	iv     bool
	code   bool
	arm    *arm
}

// A teller builds the sentence. Its grammar is fixed: under what, who, how well, how
// soon, against whom, at what price, on what evidence, and what decided the verdict.
type teller struct {
	*sheet
	out []piece
}

func (t *teller) say(s string) {
	if s != "" {
		t.out = append(t.out, piece{text: s})
	}
}
func (t *teller) number(s string) { t.out = append(t.out, piece{text: s, strong: true}) }
func (t *teller) of(a *arm)       { t.out = append(t.out, piece{text: a.Name, arm: a}) }
func (t *teller) within(s ...string) {
	var parts []string
	for _, p := range s {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 {
		t.out = append(t.out, piece{text: " "}, piece{text: "(" + strings.Join(parts, ", ") + ")", iv: true})
	}
}

func (s *sheet) makeSentence() []piece {
	t := &teller{sheet: s}
	switch s.run.Verdict {
	case rundir.Errored:
		t.say("The run could not be carried out: " + s.firstReason("no reason was given") + ".")
		return t.out
	case rundir.Interrupted:
		t.say("The run was interrupted, so nothing is judged")
		if r := s.firstReason(""); r != "" {
			t.say(": " + r)
		}
		t.say(". ")
	case rundir.Invalid:
		t.say("This measurement is not to be trusted. " + s.because("A check on it failed") + ". ")
	case rundir.Pass, rundir.Fail, rundir.Inconclusive: // said at the end
	}
	t.measured()
	t.price()
	t.validity()
	t.decided()
	return t.out
}

func (s *sheet) firstReason(otherwise string) string {
	reasons := s.reasons()
	if len(reasons) == 0 {
		return otherwise
	}
	r := strings.TrimSuffix(reasons[0], ".")
	if more := len(reasons) - 1; more > 0 {
		r += fmt.Sprintf(" (and %s)", plural(more, "more reason", "more reasons"))
	}
	return r
}

// reasons are the run's, without the one that only says the verdict again.
func (s *sheet) reasons() []string {
	if s.run.Verdict != rundir.Interrupted {
		return s.run.Reasons
	}
	return slices.DeleteFunc(slices.Clone(s.run.Reasons), func(r string) bool { return r == "the run was interrupted" })
}

// because is the first reason as a sentence: "In block 2, cluster, fault …".
func (s *sheet) because(otherwise string) string {
	r := s.firstReason(otherwise)
	where, what, ok := strings.Cut(r, ": ")
	if ok && blockName.MatchString(where) {
		return "In " + where + ", " + what
	}
	for _, o := range s.run.Objectives {
		switch {
		case !ok:
		case where == o.Name && where != o.Text:
			return "In the objective “" + where + "”, " + what
		case where == o.Text:
			return "In the objective " + where + ", " + what
		}
	}
	return upper(r)
}

var blockName = regexp.MustCompile(`^(block|trial) \d+(, [^ ,:]+)?$`)

// measured says under what, who, how well, how soon, and the same of the baseline.
func (t *teller) measured() {
	if t.searches() {
		t.carried()
		return
	}
	m := measure{ref: analysis.Ref{Metric: "availability"}}
	if t.subject == nil || t.value(t.subject, m.phase, m.ref).State == analysis.NoData {
		if len(t.countedBlocks()) > 0 {
			t.say("No valid trial gives a number. ")
		}
		return
	}
	if t.run.Verdict == rundir.Invalid {
		t.say("Measured all the same: " + lower(t.underWhat()) + ", ")
	} else {
		t.say(t.underWhat() + ", ")
	}
	t.who(t.subject)
	t.say(" answered ")
	t.metric(t.subject, m, " of requests", true)
	if len(t.faults) == 1 {
		m := measure{ref: analysis.Ref{Metric: "recovery", Fault: t.faults[0]}}
		switch v := t.value(t.subject, m.phase, m.ref); v.State {
		case analysis.OK:
			t.say(" and recovered in ")
			t.metric(t.subject, m, "", true)
		case analysis.Censored, analysis.Never:
			t.say(" and did not recover while we looked")
		case analysis.NoData:
		}
	}
	for _, a := range t.arms {
		if a == t.subject || t.value(a, m.phase, m.ref).State == analysis.NoData {
			continue
		}
		t.say("; ")
		t.who(a)
		t.say(" answered ")
		t.metric(a, m, "", false)
	}
	t.say(". ")
}

// maxCarried is how many arms of a search the sentence names: the subject, the smallest and the largest.
const maxCarried = 3

// carried says what each arm of a search carried, and under which condition.
func (t *teller) carried() {
	arms := t.sized()
	known := func(a *arm) bool { return t.value(a, analysis.Whole, capacityRef()).State != analysis.NoData }
	arms = slices.DeleteFunc(slices.Clone(arms), func(a *arm) bool { return !known(a) })
	if len(arms) == 0 {
		if len(t.countedBlocks()) > 0 {
			t.say("No capacity was found. ")
		}
		return
	}
	if len(arms) > maxCarried {
		few := []*arm{arms[0]}
		if s := t.subject; s != arms[0] && s != arms[len(arms)-1] && known(s) {
			few = append(few, s)
		}
		arms = append(few, arms[len(arms)-1])
	}
	if t.run.Verdict == rundir.Invalid {
		t.say("Measured all the same: while ")
	} else {
		t.say("While ")
	}
	t.out = append(t.out, piece{text: t.run.Load.Capacity.While, code: true})
	t.say(", ")
	for i, a := range arms {
		if i > 0 {
			t.say("; ")
		}
		t.who(a)
		if i == 0 {
			t.say(" carried ")
		} else {
			t.say(" ")
		}
		t.metric(a, measure{ref: capacityRef()}, "", true)
	}
	t.say(". ")
}

func (t *teller) who(a *arm) {
	n := nouns[a.Name]
	t.say(n[0])
	t.of(a)
	t.say(n[1])
}

// metric says a value and what it is of, with its interval and, if asked, the objective it is held against.
func (t *teller) metric(a *arm, m measure, of string, objective bool) {
	r := read(t.value(a, m.phase, m.ref), slo.Absolute)
	limit := ""
	if o, ok := t.objectiveOn(a, m); ok && objective {
		limit = "objective " + limitText(o)
	}
	t.number(r.String())
	t.say(of)
	t.within(r.iv, limit)
}

// participles say what a verb did to its nodes.
var participles = map[string]string{
	"kill": "killed", "crash": "crashed", "stop": "stopped", "remove": "removed", "restart": "restarted",
	"rolling-restart": "restarted one by one", "pause": "paused", "stutter": "frozen on and off",
	"oom": "killed for memory", "partition": "partitioned", "blackhole": "unreachable", "refuse": "refusing connections",
	"reset": "resetting connections", "latency": "delayed", "loss": "losing packets", "cpu": "short of CPU time", "memory": "short of memory", "bandwidth": "short of bandwidth",
	"dns": "without a name service", "disk-full": "with a full disk", "disk-slow": "with a slow disk", "clock": "with a wrong clock",
}

// underWhat says what the faults did to the subject.
func (s *sheet) underWhat() string {
	var faults []rundir.Fault
	seen := make(map[string]bool)
	for _, f := range s.run.Faults {
		if s.subject != nil && f.Arm == s.subject.Name && !seen[f.Name] {
			seen[f.Name] = true
			faults = append(faults, f)
		}
	}
	switch {
	case len(faults) == 0 && len(s.faults) == 0:
		return "Without a fault"
	case len(faults) == 0:
		return "Without a fault of its own"
	case len(faults) > 3:
		return "Under " + plural(len(faults), "fault", "faults")
	}
	var parts []string
	for _, f := range faults {
		parts = append(parts, s.whatHappened(f))
	}
	return "With " + list(parts)
}

// whatHappened is "1 of 3 app nodes killed for 15 s".
func (s *sheet) whatHappened(f rundir.Fault) string {
	did, ok := participles[f.Verb]
	if !ok {
		did = "under " + f.Verb
	}
	if f.For > 0 {
		did += " for " + seconds(f.For.Seconds()) + s.measuredLength(f)
	} else if f.Verb != "restart" && f.Verb != "rolling-restart" {
		did += " to the end of load"
	}
	if len(f.Nodes) == 0 {
		return "nodes " + did
	}
	service := serviceOf(f.Nodes[0])
	of := s.replicas(f.Arm, service)
	alike := !slices.ContainsFunc(f.Nodes, func(node string) bool { return serviceOf(node) != service })
	if !alike || of < len(f.Nodes) {
		return list(f.Nodes) + " " + did
	}
	if of == 1 {
		return "the one " + service + " node " + did
	}
	return fmt.Sprintf("%d of %d %s nodes %s", len(f.Nodes), of, service, did)
}

// serviceOf is the service that a node is a replica of: app of app-1.
func serviceOf(node string) string {
	if i := strings.LastIndexByte(node, '-'); i > 0 {
		return node[:i]
	}
	return node
}

// overrun is how much longer than planned a fault can last without a word: starting a node again takes time.
const overrun = 1.1

// measuredLength says how long a fault really lasted over all trials, where that was more than planned, or where it
// was over before its time.
func (s *sheet) measuredLength(of rundir.Fault) string {
	low, high, early := math.Inf(1), 0.0, false
	for _, f := range s.run.Faults {
		early = early || f.Name == of.Name && unplanned(f.Ended)
		if f.Name == of.Name && f.Onset != nil && f.Heal != nil {
			d := (f.Heal.To - f.Onset.To).Seconds()
			low, high = min(low, d), max(high, d)
		}
	}
	planned := of.For.Seconds()
	if high <= overrun*planned && !(early && low*overrun < planned) {
		return ""
	}
	if a, b := seconds(low), seconds(high); a != b {
		return " (measured: " + a + " to " + b + ")"
	}
	return " (measured: " + seconds(high) + ")"
}

// replicas is how many nodes of a service an arm had, as its recordings say.
func (s *sheet) replicas(arm, service string) int {
	for _, t := range s.result.Trials {
		if t == nil || t.Rec == nil || t.Rec.Arm != arm {
			continue
		}
		n := 0
		for _, node := range t.Rec.Nodes {
			if node.Service == service {
				n++
			}
		}
		return n
	}
	return s.run.Arms[arm].Scale[service]
}

// price says what the subject costs when nothing is broken.
func (t *teller) price() {
	v, r, ok := t.priceOf()
	if !ok || r == "" {
		return // without an interval it can be chance alone
	}
	if t.noPrice() {
		t.say("Price: no difference shown in median latency")
		if v < manifold {
			r += nb + "%"
		} else {
			r = "×" + nb + r
		}
	} else {
		t.say("Price: median latency ")
		t.number(percentChange(v))
	}
	t.within(r)
	if len(t.faults) > 0 {
		t.say(" before the fault. ")
	} else {
		t.say(" against ")
		t.of(t.baseline)
		t.say(". ")
	}
}

// validity says what the evidence is.
func (t *teller) validity() {
	n := len(t.countedBlocks())
	dropped := len(t.droppedBlocks())
	few := t.tooFew()
	switch {
	case n == 0:
		t.say("No block is valid.")
	case dropped == 0 && n < t.run.Repeats:
		t.say(fmt.Sprintf("%s of %d asked for%s.", t.evidence(), t.run.Repeats, few))
	case dropped == 0 && t.run.Verdict == rundir.Invalid:
		t.say(t.evidence() + few + ".") // "valid" beside that verdict would only confuse
	case dropped == 0 && n == 1:
		t.say(t.evidence() + ", valid" + few + ".")
	case dropped == 0:
		t.say(t.evidence() + ", all valid" + few + ".")
	case n >= t.run.Repeats && t.run.Verdict != rundir.Invalid:
		t.say(t.evidence() + ", all valid, after " + numberWord(dropped) + " " + was(dropped) + " replaced" + few + ".")
	default:
		t.say(fmt.Sprintf("%d of %s not valid%s.", dropped, plural(n+dropped, "block is", "blocks are"), few))
	}
}

// tooFew says why there is no interval, if there is none.
func (s *sheet) tooFew() string {
	v := s.value(s.subject, analysis.Whole, s.measures()[0].ref)
	n := len(s.countedBlocks())
	if v.State == analysis.NoData || v.Low != nil || v.High != nil || n >= fewest {
		return ""
	}
	if len(s.droppedBlocks()) > 0 {
		return fmt.Sprintf("; the rest is too little for an interval, which takes %d", fewest)
	}
	return fmt.Sprintf(": too few for an interval, which takes %d", fewest)
}

// fewest is the number of trials from which on there are intervals.
const fewest = 3

func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// droppedBlocks are those with a trial that does not count.
func (s *sheet) droppedBlocks() []int {
	var blocks []int
	seen := make(map[int]bool)
	for _, t := range s.run.Trials {
		if !t.Counted && !seen[t.Block] {
			seen[t.Block] = true
			blocks = append(blocks, t.Block)
		}
	}
	sort.Ints(blocks)
	return blocks
}

// decided names the objective that a run failed or could not decide.
func (t *teller) decided() {
	if t.run.Verdict != rundir.Fail && t.run.Verdict != rundir.Inconclusive {
		return
	}
	var those []rundir.Objective
	for _, o := range t.run.Objectives {
		if o.Verdict == t.run.Verdict && o.Severity != slo.SeverityWarn {
			those = append(those, o)
		}
	}
	if len(those) > 0 {
		o := those[0]
		if t.run.Verdict == rundir.Fail {
			t.say(" Failed: ")
		} else {
			t.say(" Undecided: ")
		}
		t.out = append(t.out, piece{text: o.Text, code: true})
		t.found(o)
		t.say(".")
		switch more := len(those) - 1; {
		case more > 0 && t.run.Verdict == rundir.Fail:
			t.say(" " + plural(more, "more objective", "more objectives") + " failed.")
		case more > 0:
			t.say(" " + plural(more, "more objective is", "more objectives are") + " undecided.")
		}
		return
	}
	if len(t.run.Reasons) > 0 {
		t.say(" " + upper(strings.TrimSuffix(t.run.Reasons[0], ".")) + ".")
	}
}

// found says what an objective found, or why it found nothing, and what would decide it.
func (t *teller) found(o rundir.Objective) {
	r := read(o.Value, o.Form)
	if r.state == analysis.NoData {
		t.say(", no data")
		if o.Reason != "" {
			t.say(": " + lower(strings.TrimSuffix(o.Reason, ".")))
		}
		return
	}
	t.say(", found ")
	t.number(r.String())
	t.within(r.iv)
	if o.MoreBlocks > 0 {
		t.say("; about " + plural(o.MoreBlocks, "more block", "more blocks") + " would decide")
	}
}

// lower makes the first letter small, if the word is an ordinary one.
func lower(s string) string {
	r := []rune(s)
	if len(r) < 2 || !unicode.IsUpper(r[0]) || !unicode.IsLower(r[1]) {
		return s
	}
	return strings.ToLower(string(r[:1])) + string(r[1:])
}

// sentenceText is the sentence without looks.
func (s *sheet) sentenceText() string {
	var b strings.Builder
	for _, p := range s.sentence {
		b.WriteString(p.text)
	}
	return strings.TrimSpace(b.String())
}
