package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// maxAnnotations bounds what one run says on a job's page. GitHub shows ten of a kind for a step and drops the others
// without a word, so that other tools' would go.
const maxAnnotations = 5

// maxMessage bounds one annotation's text, in bytes.
const maxMessage = 1000

// An Annotation is a message that GitHub shows at a line of a file.
type Annotation struct {
	Level   string // error, warning, notice
	File    string // below the repository's root
	Line    int    // 0: of none
	Column  int    // 0: of none
	Title   string
	Message string

	rank int // worst first
}

// String is the workflow command for it, one line. Text in it is text, however hostile, and a long message is cut.
func (a Annotation) String() string {
	place := ""
	if a.Line > 0 {
		place = fmt.Sprintf(",line=%d", a.Line)
		if a.Column > 0 {
			place += fmt.Sprintf(",col=%d", a.Column)
		}
	}
	return fmt.Sprintf("::%s file=%s%s,title=%s::%s\n", a.Level, commandProperty(flat(a.File)), place, commandProperty(flat(a.Title)), commandData(clipped(flat(a.Message), maxMessage)))
}

// FewAnnotations are the first five of them, the last of which tells of those left out.
func FewAnnotations(all []Annotation) []Annotation {
	if len(all) <= maxAnnotations {
		return all
	}
	few := append([]Annotation(nil), all[:maxAnnotations]...)
	last := &few[maxAnnotations-1]
	last.Line, last.Column, last.Title = 0, 0, "tutti: and more"
	last.Message = fmt.Sprintf("and %d more", len(all)-maxAnnotations+1)
	return few
}

// Annotations writes workflow commands, which GitHub shows at lines of the scenario: what failed, what is invalid, what is
// inconclusive, worst first, five at most. A run that passes gives nothing.
func (p Policy) Annotations(w io.Writer, r *tutti.Result) error {
	s := newSheet(r)
	var b bytes.Buffer
	for _, a := range FewAnnotations(s.annotations(p)) {
		b.WriteString(a.String())
	}
	_, err := w.Write(b.Bytes())
	return err
}

// clipped cuts a text to so many bytes.
func clipped(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// annotations are all there is to say, worst first.
func (s *sheet) annotations(p Policy) []Annotation {
	var all []Annotation
	add := func(rank int, level string, line int, title, message string) {
		all = append(all, Annotation{Level: level, File: p.file(s.run), Line: line, Title: "tutti: " + title, Message: message, rank: rank})
	}
	v, reasons := s.run.Verdict, strings.Join(s.run.Reasons, "; ")
	if v == rundir.Errored || v == rundir.Interrupted {
		add(0, "error", 0, string(v), reasons)
	}
	invalid := levelOf(p.Invalid, "error")
	if v == rundir.Invalid {
		add(1, invalid, 0, "invalid, nothing was decided", reasons)
		for _, f := range s.unproven() {
			add(2, invalid, f.Line, "fault "+f.Name+" has no proof", cmp.Or(f.Problem, "its effect could not be shown in block "+fmt.Sprint(f.Block)+", "+f.Arm))
		}
	}
	for i, o := range s.run.Objectives {
		found, name := foundText(o, s.objectives.rows[i]), objectiveName(o)
		warn := o.Severity == slo.SeverityWarn
		switch {
		case o.Verdict == rundir.Fail && !warn:
			add(3, "error", o.Line, "failed: "+name, found)
		case o.Verdict == rundir.Invalid && !warn:
			add(4, invalid, o.Line, "invalid: "+name, found)
		case o.Verdict == rundir.Inconclusive && !warn:
			add(5, levelOf(p.Inconclusive, "warning"), o.Line, "inconclusive: "+name, found)
		case o.Verdict == rundir.Fail:
			add(6, "warning", o.Line, "failed, severity warn: "+name, found)
		case o.Verdict == rundir.Inconclusive:
			add(7, "notice", o.Line, "inconclusive, severity warn: "+name, found)
		case o.Verdict == rundir.Invalid:
			add(7, "notice", o.Line, "invalid, severity warn: "+name, found)
		}
	}
	if len(all) == 0 && v != rundir.Pass {
		add(5, levelOf(p.Of(v), "error"), 0, verdictWord(v), reasons)
	}
	slices.SortStableFunc(all, func(a, b Annotation) int { return a.rank - b.rank })
	return all
}

// unproven are the faults without proof of effect, the first of each name.
func (s *sheet) unproven() []rundir.Fault {
	var out []rundir.Fault
	for _, f := range s.run.Faults {
		if !f.Proven && !slices.ContainsFunc(out, func(o rundir.Fault) bool { return o.Name == f.Name }) {
			out = append(out, f)
		}
	}
	return out
}

// levelOf is how loud a stance is.
func levelOf(s Stance, undecided string) string {
	switch s {
	case Fail:
		return "error"
	case Warn:
		return "warning"
	case Let:
		return "notice"
	case Undecided:
	}
	return undecided
}

// What would end a command's data, or one of its properties, is written as the runner reads it.
var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func commandData(s string) string     { return dataEscapes.Replace(s) }
func commandProperty(s string) string { return propertyEscapes.Replace(s) }
