package reports

import (
	"fmt"
	"sort"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// A piece is a part of the sentence: plain, a number, an interval, or an arm.
type piece struct {
	text   string
	strong bool
	iv     bool
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
		t.say("The run was interrupted, so nothing is judged: " + s.firstReason("no reason was given") + ". ")
	case rundir.Invalid:
		t.say("This measurement is not to be trusted: " + s.firstReason("a check on it failed") + ". ")
	case rundir.Pass, rundir.Fail, rundir.Inconclusive: // said at the end
	}
	t.measured()
	t.price()
	t.validity()
	t.decided()
	return t.out
}

func (s *sheet) firstReason(otherwise string) string {
	if len(s.run.Reasons) == 0 {
		return otherwise
	}
	r := strings.TrimSuffix(s.run.Reasons[0], ".")
	if more := len(s.run.Reasons) - 1; more > 0 {
		r += fmt.Sprintf(" (and %s)", plural(more, "more reason", "more reasons"))
	}
	return r
}

// measured says under what, who, how well, how soon, and the same of the baseline.
func (t *teller) measured() {
	m := measure{ref: analysis.Ref{Metric: "availability"}}
	if t.subject == nil || t.value(t.subject, m.phase, m.ref).State == analysis.NoData {
		t.say("No valid trial gives a number. ")
		return
	}
	t.say(t.underWhat() + ", ")
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

// nouns are arms' names that want words around them to be read aloud.
var nouns = map[string][2]string{
	"cluster": {"the ", ""}, "single": {"the ", " node"}, "target": {"the ", ""}, "baseline": {"the ", ""},
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
	"reset": "resetting connections", "latency": "delayed", "loss": "losing packets", "cpu": "short of CPU time",
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
		did += " for " + seconds(f.For.Seconds())
	} else if f.Verb != "restart" && f.Verb != "rolling-restart" {
		did += " to the end of load"
	}
	if len(f.Nodes) == 0 {
		return "nodes " + did
	}
	service := f.Nodes[0]
	if i := strings.LastIndexByte(service, '-'); i > 0 {
		service = service[:i]
	}
	of := s.replicas(f.Arm, service)
	if of < len(f.Nodes) {
		return list(f.Nodes) + " " + did
	}
	if of == 1 {
		return "the one " + service + " node " + did
	}
	return fmt.Sprintf("%d of %d %s nodes %s", len(f.Nodes), of, service, did)
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
	if !ok {
		return
	}
	t.say("Price: median latency ")
	t.number(percentChange(v))
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
	dropped := t.droppedBlocks()
	switch {
	case n == 0:
		t.say("No block is valid.")
	case len(dropped) == 0 && n < t.run.Repeats:
		t.say(fmt.Sprintf("%s of %d.", upper(t.evidence()), t.run.Repeats))
	case len(dropped) == 0 && t.run.Verdict == rundir.Invalid:
		t.say(upper(t.evidence()) + ".")
	case len(dropped) == 0:
		all := ", all valid."
		if n == 1 {
			all = ", valid."
		}
		t.say(upper(t.evidence()) + all)
	case n >= t.run.Repeats:
		t.say(upper(t.evidence()) + ", all valid, after " + numberWord(len(dropped)) + " " + was(len(dropped)) + " replaced.")
	default:
		t.say(fmt.Sprintf("%s; %s not valid.", upper(t.evidence()), plural(len(dropped), "block is", "blocks are")))
	}
}

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
	for _, o := range t.run.Objectives {
		if o.Verdict != t.run.Verdict || o.Severity == slo.SeverityWarn {
			continue
		}
		r := read(o.Value, o.Form)
		if t.run.Verdict == rundir.Fail {
			t.say(" Failed: ")
		} else {
			t.say(" Undecided: ")
		}
		t.say(o.Text + ", found ")
		t.number(r.String())
		t.within(r.iv)
		if o.MoreBlocks > 0 {
			t.say("; about " + plural(o.MoreBlocks, "more block", "more blocks") + " would decide")
		}
		t.say(".")
		return
	}
	if len(t.run.Reasons) > 0 {
		t.say(" " + upper(strings.TrimSuffix(t.run.Reasons[0], ".")) + ".")
	}
}

// sentenceText is the sentence without looks.
func (s *sheet) sentenceText() string {
	var b strings.Builder
	for _, p := range s.sentence {
		b.WriteString(p.text)
	}
	return strings.TrimSpace(b.String())
}
