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

// JUnit writes one case for each objective and each check of validity. Names are
// stable from run to run: they carry no numbers but the scenario's own.
func JUnit(w io.Writer, r *tutti.Result) error {
	s := newSheet(r)
	p := s.run.Provenance
	took := "0.000"
	if !p.Started.IsZero() && p.Ended.After(p.Started) {
		took = strconv.FormatFloat(p.Ended.Sub(p.Started).Seconds(), 'f', 3, 64)
	}
	suite := junitSuite{
		Name: visible(s.run.Name), Time: took, File: visible(p.Scenario), Out: visible(s.sentenceText()),
		Properties: &junitProperties{[]junitProperty{
			{"verdict", string(s.run.Verdict)},
			{"exit_code", strconv.Itoa(s.run.ExitCode)},
			{"run", visible(s.run.ID)},
			{"engine", visible(p.Engine)},
			{"seed", strconv.FormatInt(p.Seed, 10)},
		}},
	}
	if !p.Started.IsZero() {
		suite.Timestamp = p.Started.UTC().Format("2006-01-02T15:04:05")
	}
	if c := s.runCase(); c != nil {
		suite.Cases = append(suite.Cases, *c)
	}
	for i, o := range s.run.Objectives {
		suite.Cases = append(suite.Cases, s.objectiveCase(o, s.objectives.rows[i]))
	}
	for _, c := range s.checks {
		if c.state != printed {
			suite.Cases = append(suite.Cases, s.checkCase(c))
		}
	}
	suite.Cases = append(suite.Cases, s.writeCases()...)
	all := junitSuites{Name: "tutti", Time: took}
	for i := range suite.Cases {
		c := &suite.Cases[i]
		suite.Tests++
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Error != nil:
			suite.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
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
func (s *sheet) runCase() *junitCase {
	c := &junitCase{Class: visible(s.run.Name), Name: "the run came to its end", Time: "0.000", File: visible(s.run.Provenance.Scenario)}
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

func (s *sheet) objectiveCase(o rundir.Objective, r row) junitCase {
	name := o.Name
	if name == "" {
		name = o.Text
	}
	c := junitCase{
		Class: visible(s.run.Name + ".objectives"), Name: visible(name), Time: "0.000",
		File: visible(s.run.Provenance.Scenario), Line: o.Line,
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
	found := o.Text + ": found " + flat(r.cells[2].text)
	if iv := flat(r.cells[3].text); iv != "" {
		found += " (95 % interval " + iv + ")"
	}
	if r.note != "" {
		found += "; " + flat(r.note)
	}
	switch o.Verdict {
	case rundir.Pass:
	case rundir.Fail:
		if o.Severity == slo.SeverityWarn {
			c.Skipped = message("warning", found)
			break
		}
		c.Failure = message("fail", found)
	case rundir.Inconclusive:
		c.Skipped = message("inconclusive", found)
	default:
		c.Error = message(string(o.Verdict), found)
	}
	if o.Verdict == rundir.Pass {
		c.Out = visible(found)
	}
	return c
}

func (s *sheet) checkCase(k check) junitCase {
	c := junitCase{Class: visible(s.run.Name + ".validity"), Name: k.name, Time: "0.000", File: visible(s.run.Provenance.Scenario)}
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
