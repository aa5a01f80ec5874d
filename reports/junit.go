package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// The dialect of JUnit XML that CI servers read; there is no official one.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string           `xml:"name,attr"`
	Tests      int              `xml:"tests,attr"`
	Failures   int              `xml:"failures,attr"`
	Errors     int              `xml:"errors,attr"`
	Skipped    int              `xml:"skipped,attr"`
	Time       string           `xml:"time,attr"`
	Timestamp  string           `xml:"timestamp,attr,omitempty"`
	File       string           `xml:"file,attr,omitempty"`
	Properties *junitProperties `xml:"properties"`
	Cases      []junitCase      `xml:"testcase"`
	Out        string           `xml:"system-out,omitempty"`
}

// count sums the cases up.
func (s *junitSuite) count() {
	s.Tests, s.Failures, s.Errors, s.Skipped = len(s.Cases), 0, 0, 0
	for i := range s.Cases {
		switch c := &s.Cases[i]; {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

type junitProperties struct {
	List []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class      string           `xml:"classname,attr"`
	Name       string           `xml:"name,attr"`
	Time       string           `xml:"time,attr"`
	File       string           `xml:"file,attr,omitempty"`
	Line       int              `xml:"line,attr,omitempty"`
	Properties *junitProperties `xml:"properties"`
	Failure    *junitMessage    `xml:"failure"`
	Error      *junitMessage    `xml:"error"`
	Skipped    *junitMessage    `xml:"skipped"`
	Out        string           `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// systemOut is what a CI server shows beside the cases.
func (s *sheet) systemOut() string {
	lines := append([]string{s.sentenceText()}, s.notes()...)
	return strings.Join(append(lines, s.stripLines()...), "\n")
}

// JUnit writes one case for each objective and each check of validity. An objective that failed is a failure, one that is
// invalid an error, one that is inconclusive skipped. Names are stable from run to run: they carry no numbers but the
// scenario's own.
func JUnit(w io.Writer, r *tutti.Result) error { return Policy{}.JUnit(w, r) }

// JUnit writes what the function of this name does; what is inconclusive is a failure where the policy says so.
func (p Policy) JUnit(w io.Writer, r *tutti.Result) error {
	s := newSheet(r)
	from := s.run.Provenance
	took := "0.000"
	if !from.Started.IsZero() && from.Ended.After(from.Started) {
		took = strconv.FormatFloat(from.Ended.Sub(from.Started).Seconds(), 'f', 3, 64)
	}
	suite := junitSuite{
		Name: visible(s.run.Name), Time: took, File: p.file(s.run), Out: visibleLines(s.systemOut()),
		Properties: &junitProperties{[]junitProperty{
			{"verdict", string(s.run.Verdict)},
			{"exit_code", strconv.Itoa(s.run.ExitCode)},
			{"run", visible(s.run.ID)},
			{"engine", visible(from.Engine)},
			{"seed", strconv.FormatInt(from.Seed, 10)},
		}},
	}
	if v := s.run.Variation; v != nil {
		suite.Properties.List = append(suite.Properties.List, junitProperty{"variation", visible(strings.TrimSpace(v.Kind + " " + v.Name))})
	}
	if s.closed() {
		suite.Properties.List = append(suite.Properties.List, junitProperty{"load", "closed loop"})
	}
	if !from.Started.IsZero() {
		suite.Timestamp = from.Started.UTC().Format("2006-01-02T15:04:05")
	}
	suite.Cases = append(suite.Cases, s.runCase(p))
	for i, o := range s.run.Objectives {
		suite.Cases = append(suite.Cases, s.objectiveCase(o, s.objectives.rows[i], p))
	}
	for _, c := range s.checks {
		if c.state != printed {
			suite.Cases = append(suite.Cases, s.checkCase(c, p))
		}
	}
	suite.Cases = append(suite.Cases, s.writeCases(p)...)
	suite.count()
	// What is red as a whole is red in some case, whatever the cases are about.
	why := message(string(s.run.Verdict), strings.Join(s.run.Reasons, "\n"))
	switch first := &suite.Cases[0]; {
	case s.run.Verdict == rundir.Invalid && suite.Errors == 0:
		first.Error = why
	case s.run.Verdict == rundir.Fail && suite.Failures == 0, s.run.Verdict == rundir.Inconclusive && p.Inconclusive == Fail && suite.Failures == 0:
		first.Failure = why
	}
	suite.count()
	all := junitSuites{Name: "tutti", Time: took}
	all.Tests, all.Failures, all.Errors, all.Skipped = suite.Tests, suite.Failures, suite.Errors, suite.Skipped
	all.Suites = []junitSuite{suite}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// runCase is a case of its own for a run that has no judgement at all.
func (s *sheet) runCase(p Policy) junitCase {
	c := junitCase{Class: visible(s.run.Name), Name: "the run came to its end", Time: "0.000", File: p.file(s.run)}
	if s.run.Verdict == rundir.Errored || s.run.Verdict == rundir.Interrupted {
		c.Error = message(string(s.run.Verdict), strings.Join(s.run.Reasons, "\n"))
	}
	return c
}

func message(kind, text string) *junitMessage {
	text = visibleLines(text)
	first, _, _ := strings.Cut(text, "\n")
	if first == "" {
		first = kind
	}
	return &junitMessage{Message: first, Type: kind, Text: text}
}

// visibleLines is visible for text that may have several lines.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// objectiveName is what an objective is called: its text, where it has no name.
func objectiveName(o rundir.Objective) string {
	if o.Name == "" {
		return o.Text
	}
	return o.Name
}

// foundText says in a line what an objective asked and what was found.
func foundText(o rundir.Objective, r row) string {
	found := flat(o.Text) + ": found " + flat(r.cells[2].text)
	if iv := flat(r.cells[3].text); iv != "" {
		found += " (95 % interval " + iv + ")"
	}
	if r.note != "" {
		found += "; " + flat(r.note)
	}
	return found
}

// placed puts a place in the scenario before a message: not every reader shows the attributes that have it.
func placed(file string, line int, message string) string {
	if line <= 0 {
		return message
	}
	return fmt.Sprintf("%s:%d: %s", file, line, message)
}

func (s *sheet) objectiveCase(o rundir.Objective, r row, p Policy) junitCase {
	c := junitCase{
		Class: visible(s.run.Name + ".objectives"), Name: visible(objectiveName(o)), Time: "0.000",
		File: p.file(s.run), Line: o.Line,
	}
	c.Properties = &junitProperties{}
	prop := func(name string, v *float64) {
		if v != nil {
			c.Properties.List = append(c.Properties.List, junitProperty{name, strconv.FormatFloat(*v, 'g', -1, 64)})
		}
	}
	c.Properties.List = []junitProperty{
		{"verdict", string(o.Verdict)},
		{"severity", string(o.Severity)},
		{"form", string(o.Form)},
		{"unit", string(o.Unit)},
		{"state", string(o.State)},
		{"n", strconv.Itoa(o.N)},
	}
	prop("value", o.Value.Value)
	prop("ci_low", o.Low)
	prop("ci_high", o.High)
	prop("limit", o.Limit)
	prop("margin", &o.Margin)
	found := foundText(o, r)
	bad := message(string(o.Verdict), placed(c.File, o.Line, found))
	switch {
	case o.Verdict == rundir.Pass:
		c.Out = visible(found)
	case o.Verdict == rundir.Fail && o.Severity == slo.SeverityWarn:
		bad.Type = "warning"
		c.Skipped = bad
	case o.Verdict == rundir.Fail:
		c.Failure = bad
	case o.Verdict == rundir.Inconclusive && p.Inconclusive == Fail && o.Severity != slo.SeverityWarn:
		c.Failure = bad
	case o.Verdict == rundir.Inconclusive:
		c.Skipped = bad
	case o.Severity == slo.SeverityWarn: // invalid: the run is not, for it
		bad.Type = "warning"
		c.Skipped = bad
	default:
		c.Error = bad
	}
	return c
}

func (s *sheet) checkCase(k check, p Policy) junitCase {
	c := junitCase{Class: visible(s.run.Name + ".validity"), Name: k.name, Time: "0.000", File: p.file(s.run)}
	text := flat("found "+k.found+", bound: "+k.bound) + "\n" + strings.Join(k.detail, "\n")
	switch k.state {
	case broken:
		c.Error = message("invalid", text)
	case unknown:
		c.Skipped = message("unknown", text)
	default:
		c.Out = strings.TrimSpace(visibleLines(text))
	}
	return c
}
