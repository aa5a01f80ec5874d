package reports_test

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"golang.org/x/net/html"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/reports"
)

// An element is XML as anybody's parser has it.
type element struct {
	name string
	attr map[string]string
	text string
	kids []*element
}

func parseXML(t *testing.T, data []byte) *element {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	root := &element{}
	stack := []*element{root}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root.kids[0]
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		top := stack[len(stack)-1]
		switch x := tok.(type) {
		case xml.StartElement:
			e := &element{name: x.Name.Local, attr: map[string]string{}}
			for _, a := range x.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			top.kids = append(top.kids, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(x)
		}
	}
}

func (e *element) all(name string) []*element {
	var out []*element
	for _, k := range e.kids {
		if k.name == name {
			out = append(out, k)
		}
		out = append(out, k.all(name)...)
	}
	return out
}

// outcome is what a CI server makes of a case.
func (e *element) outcome() (kind, message string) {
	for _, k := range e.kids {
		switch k.name {
		case "failure", "error", "skipped":
			return k.name, k.attr["message"]
		}
	}
	return "passed", ""
}

// judged is a run with one objective of each verdict, and one that fails with severity warn.
func judged() *tutti.Result {
	r := crash(1)
	for i, v := range []rundir.Verdict{rundir.Pass, rundir.Fail, rundir.Inconclusive, rundir.Invalid, rundir.Fail} {
		r.Run.Objectives[i].Verdict = v
	}
	r.Run.Verdict, r.Run.ExitCode = rundir.Invalid, 13
	return r
}

// TestJUnitPolicy: what each verdict is to a CI server, where it points, and that the sums are those of the cases.
func TestJUnitPolicy(t *testing.T) {
	for _, c := range []struct {
		policy reports.Policy
		want   []string
	}{
		{reports.Policy{}, []string{"passed", "failure", "skipped", "error", "skipped"}},
		{reports.Policy{Inconclusive: reports.Warn, File: "sub/node crash.yaml"}, []string{"passed", "failure", "skipped", "error", "skipped"}},
		{reports.Policy{Inconclusive: reports.Fail}, []string{"passed", "failure", "failure", "error", "skipped"}},
	} {
		r := judged()
		root := parseXML(t, render(t, r, c.policy.JUnit))
		suite := root.all("testsuite")[0]
		sums := map[string]int{}
		for _, e := range suite.all("testcase") {
			kind, message := e.outcome()
			sums["tests"]++
			sums[map[string]string{"failure": "failures", "error": "errors", "skipped": "skipped"}[kind]]++
			i := slices.IndexFunc(r.Run.Objectives, func(o rundir.Objective) bool { return o.Name == e.attr["name"] })
			if i < 0 {
				continue
			}
			line := r.Run.Objectives[i].Line
			if kind != c.want[i] || e.attr["file"] != cmp.Or(c.policy.File, "scenarios/node-crash.yaml") || e.attr["line"] != strconv.Itoa(line) {
				t.Errorf("%+v: objective %d is %s at %s:%s, want %s at line %d", c.policy, i, kind, e.attr["file"], e.attr["line"], c.want[i], line)
			}
			if place := fmt.Sprintf("%s:%d: ", cmp.Or(c.policy.File, "scenarios/node-crash.yaml"), line); kind != "passed" && (!strings.HasPrefix(message, place) || line == 0) {
				t.Errorf("%+v: %q does not begin with %q", c.policy, message, place)
			}
		}
		for _, e := range []*element{root, suite} {
			for _, key := range []string{"tests", "failures", "errors", "skipped"} {
				if e.attr[key] != strconv.Itoa(sums[key]) {
					t.Errorf("%s has %s=%q, its cases come to %d", e.name, key, e.attr[key], sums[key])
				}
			}
		}
	}
}

// TestJUnitRed: a run that is no pass is red in some case, even if no objective says why.
func TestJUnitRed(t *testing.T) {
	for _, c := range []struct {
		verdict rundir.Verdict
		policy  reports.Policy
		want    string
	}{
		{rundir.Invalid, reports.Policy{Invalid: reports.Warn}, "error"},
		{rundir.Fail, reports.Policy{}, "failure"},
		{rundir.Inconclusive, reports.Policy{Inconclusive: reports.Fail}, "failure"},
		{rundir.Errored, reports.Policy{}, "error"},
		{rundir.Interrupted, reports.Policy{}, "error"},
	} {
		r := crash(1)
		r.Run.Objectives, r.Run.Verdict, r.Run.Reasons = nil, c.verdict, []string{"for a reason"}
		red := 0
		for _, e := range parseXML(t, render(t, r, c.policy.JUnit)).all("testcase") {
			if kind, message := e.outcome(); kind == c.want && message == "for a reason" {
				red++
			}
		}
		if red != 1 {
			t.Errorf("%s: %d cases are %s, want one", c.verdict, red, c.want)
		}
	}
}

// TestJUnitHostile: an independent parser finds the hostile text as text, and nothing that it would have opened.
func TestJUnitHostile(t *testing.T) {
	root := parseXML(t, render(t, attacked(), reports.JUnit))
	var walk func(e *element)
	found := 0
	walk = func(e *element) {
		if !slices.Contains([]string{"testsuites", "testsuite", "testcase", "properties", "property", "failure", "error", "skipped", "system-out"}, e.name) {
			t.Errorf("there is a <%s>", e.name)
		}
		for _, s := range append([]string{e.text}, slices.Collect(func(yield func(string) bool) {
			for _, v := range e.attr {
				if !yield(v) {
					return
				}
			}
		})...) {
			if strings.Contains(s, "]]>") && strings.Contains(s, "<script>alert(1)</script>") {
				found++
			}
		}
		for _, k := range e.kids {
			walk(k)
		}
	}
	walk(root)
	if found < 5 {
		t.Errorf("the hostile text is there %d times only", found)
	}
}

// A command is a workflow command as GitHub's runner reads it: from the start of a line, properties up to the second ::.
type command struct {
	name, data string
	props      map[string]string
}

func parseCommand(line string) (command, bool) {
	line = strings.TrimLeft(line, " \t")
	head, ok := strings.CutPrefix(line, "::")
	if !ok {
		return command{}, false
	}
	head, data, ok := strings.Cut(head, "::")
	if !ok {
		return command{}, false
	}
	name, props, _ := strings.Cut(head, " ")
	c := command{name: name, props: map[string]string{}}
	unescape := func(s string, pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			s = strings.ReplaceAll(s, pairs[i], pairs[i+1])
		}
		return s
	}
	c.data = unescape(data, "%0D", "\r", "%0A", "\n", "%25", "%")
	for _, p := range strings.Split(props, ",") {
		k, v, _ := strings.Cut(p, "=")
		c.props[k] = unescape(v, "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	}
	return c, true
}

func annotationsOf(t *testing.T, r *tutti.Result, p reports.Policy) []command {
	t.Helper()
	var b bytes.Buffer
	if err := p.Annotations(&b, r); err != nil {
		t.Fatal(err)
	}
	var out []command
	for line := range strings.Lines(b.String()) {
		c, ok := parseCommand(strings.TrimSuffix(line, "\n"))
		if !ok || !slices.Contains([]string{"error", "warning", "notice"}, c.name) {
			t.Fatalf("no annotation: %q", line)
		}
		out = append(out, c)
	}
	return out
}

// TestAnnotations: worst first, on the scenario's lines, with what was found.
func TestAnnotations(t *testing.T) {
	r := judged()
	r.Run.Verdict = rundir.Fail
	got := annotationsOf(t, r, reports.Policy{File: "sub/a,b:c%25.yaml"})
	want := []struct {
		level string
		line  int
		title string
	}{
		{"error", r.Run.Objectives[1].Line, "failed: "},
		{"error", r.Run.Objectives[3].Line, "invalid: "},
		{"warning", r.Run.Objectives[2].Line, "inconclusive: "},
		{"warning", r.Run.Objectives[4].Line, "failed, severity warn: price"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d annotations, want %d: %v", len(got), len(want), got)
	}
	for i, w := range want {
		c := got[i]
		if c.name != w.level || c.props["line"] != strconv.Itoa(w.line) || !strings.Contains(c.props["title"], w.title) || c.props["file"] != "sub/a,b:c%25.yaml" {
			t.Errorf("annotation %d is %+v, want %+v", i, c, w)
		}
	}
	if o := r.Run.Objectives[1]; !strings.HasPrefix(got[0].data, o.Text+": found ") {
		t.Errorf("it says %q", got[0].data)
	}
	for policy, level := range map[reports.Policy]string{
		{}: "warning", {Inconclusive: reports.Fail}: "error", {Inconclusive: reports.Warn}: "warning", {Inconclusive: reports.Let}: "notice",
	} {
		r := crash(1)
		r.Run.Verdict = rundir.Inconclusive
		r.Run.Objectives[0].Verdict = rundir.Inconclusive
		if got := annotationsOf(t, r, policy); got[0].name != level || got[0].props["file"] != "scenarios/node-crash.yaml" {
			t.Errorf("%+v gives %+v", policy, got[0])
		}
	}
	r = crash(1)
	r.Run.Objectives = r.Run.Objectives[:4] // without the one that is inconclusive
	if got := annotationsOf(t, r, reports.Policy{}); len(got) != 0 {
		t.Errorf("a run that passes has %v", got)
	}
}

// TestWarningsAreNoErrors: whatever becomes of an objective that only warns, a run that passes is green on a CI server, however strict
// that one is, and the warning is told all the same.
func TestWarningsAreNoErrors(t *testing.T) {
	strict := reports.Policy{Inconclusive: reports.Fail, Invalid: reports.Fail}
	for _, c := range []struct {
		verdict rundir.Verdict
		level   string
		title   string
	}{
		{rundir.Fail, "warning", "tutti: failed, severity warn: price"},
		{rundir.Inconclusive, "notice", "tutti: inconclusive, severity warn: price"},
		{rundir.Invalid, "notice", "tutti: invalid, severity warn: price"},
	} {
		r := crash(1)
		r.Run.Objectives[4].Verdict = c.verdict
		if got := annotationsOf(t, r, strict); len(got) != 1 || got[0].name != c.level || got[0].props["title"] != c.title {
			t.Errorf("%s gives %+v", c.verdict, got)
		}
		told := 0
		for _, e := range parseXML(t, render(t, r, strict.JUnit)).all("testcase") {
			kind, message := e.outcome()
			if kind == "failure" || kind == "error" {
				t.Errorf("%s: the case %s is a %s: %s", c.verdict, e.attr["name"], kind, message)
			}
			if kind == "skipped" && e.attr["name"] == "price" {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%s: JUnit tells of it %d times", c.verdict, told)
		}
	}
}

// TestAnnotationsBound: five at most, the last tells of the others; and a run without objectives is told, too.
func TestAnnotationsBound(t *testing.T) {
	for n := 1; n < 9; n++ {
		r := failed()
		one := r.Run.Objectives[0]
		r.Run.Objectives = slices.Repeat([]rundir.Objective{one}, n)
		got := annotationsOf(t, r, reports.Policy{})
		if len(got) != min(n, 5) {
			t.Errorf("%d of %d objectives are annotated", len(got), n)
		}
		if last := got[len(got)-1]; n > 5 && !strings.HasPrefix(last.data, fmt.Sprintf("and %d more", n-4)) {
			t.Errorf("of %d the last one says %q", n, last.data)
		}
	}
	for _, v := range []rundir.Verdict{rundir.Fail, rundir.Inconclusive, rundir.Invalid, rundir.Errored, rundir.Interrupted, ""} {
		r := crash(1)
		r.Run.Objectives, r.Run.Verdict, r.Run.Reasons = nil, v, []string{"for a reason"}
		if got := annotationsOf(t, r, reports.Policy{}); len(got) != 1 || got[0].name != "error" || got[0].data != "for a reason" {
			if v != rundir.Inconclusive || got[0].name != "warning" {
				t.Errorf("verdict %q gives %+v", v, got)
			}
		}
	}
	r := invalid()
	got := annotationsOf(t, r, reports.Policy{Invalid: reports.Warn})
	if got[0].name != "warning" || !strings.Contains(got[1].props["title"], "fault crash has no proof") {
		t.Errorf("invalid, to warn of: %+v", got)
	}
}

// TestAnnotationsHostile: what a target says opens no command of its own, and stays short.
func TestAnnotationsHostile(t *testing.T) {
	r := attacked()
	r.Run.Reasons = []string{strings.Repeat(hostile, 1000)}
	got := annotationsOf(t, r, reports.Policy{})
	if len(got) < 3 {
		t.Fatalf("%d annotations", len(got))
	}
	for _, c := range got {
		if strings.ContainsAny(c.data+c.props["title"]+c.props["file"], "\r\n\x1b") || len(c.data) > 1000 {
			t.Errorf("%.200q", c)
		}
		if len(c.props) > 3 {
			t.Errorf("properties of the target's own: %v", c.props)
		}
	}
}

// TestOpenMetrics reads the file by the format's rules.
func TestOpenMetrics(t *testing.T) {
	sample := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$`)
	read := func(r *tutti.Result) map[string]float64 {
		t.Helper()
		out := string(render(t, r, reports.OpenMetrics))
		if !strings.HasSuffix(out, "\n# EOF\n") {
			t.Error("there is no end")
		}
		values := map[string]float64{}
		family := ""
		done := map[string]bool{}
		for line := range strings.Lines(strings.TrimSuffix(out, "# EOF\n")) {
			line = strings.TrimSuffix(line, "\n")
			if rest, ok := strings.CutPrefix(line, "# "); ok {
				f := strings.Fields(rest)
				if !slices.Contains([]string{"TYPE", "UNIT", "HELP"}, f[0]) {
					t.Errorf("not of the format: %q", line)
				}
				if f[0] == "TYPE" {
					family = f[1]
					if done[family] {
						t.Errorf("%s comes twice", family)
					}
					done[family] = true
				}
				if f[0] == "UNIT" && !strings.HasSuffix(family, "_"+f[2]) {
					t.Errorf("%s has unit %s", family, f[2])
				}
				continue
			}
			m := sample.FindStringSubmatch(line)
			if m == nil || m[1] != family {
				t.Fatalf("not a sample of %s: %q", family, line)
			}
			v, err := strconv.ParseFloat(m[3], 64)
			if err != nil || math.IsNaN(v) {
				t.Errorf("%q", line)
			}
			if _, twice := values[m[1]+m[2]]; twice {
				t.Errorf("%s%s comes twice", m[1], m[2])
			}
			values[m[1]+m[2]] = v
		}
		return values
	}
	r := crash(3)
	got := read(r)
	avail := *r.Run.Arms["cluster"].Metrics["availability"].Value
	for key, want := range map[string]float64{
		`tutti_verdict{scenario="node-crash",tutti_verdict="pass"}`:                                  1,
		`tutti_verdict{scenario="node-crash",tutti_verdict="fail"}`:                                  0,
		`tutti_objective_met{scenario="node-crash",objective="price"}`:                               0,
		`tutti_objective_met{scenario="node-crash",objective="cluster.p95 <= 250ms"}`:                1,
		`tutti_availability_ratio{scenario="node-crash",arm="cluster"}`:                              avail,
		`tutti_p99_seconds{scenario="node-crash",arm="single"}`:                                      math.Inf(1),
		`tutti_recovery_seconds{scenario="node-crash",arm="cluster",of="recovery{fault=\"crash\"}"}`: *r.Run.Arms["cluster"].Metrics[`recovery{fault="crash"}`].Value,
	} {
		v, ok := got[key]
		if !ok || v != want && math.Abs(v-want) > 1e-3*want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
	r.Run.Arms["cluster"].Metrics["availability"] = rundir.Value{State: analysis.NoData}
	if _, ok := read(r)[`tutti_availability_ratio{scenario="node-crash",arm="cluster"}`]; ok {
		t.Error("no data has a number")
	}
	read(attacked())
	read(&tutti.Result{})
}

// TestSummaryRendered: a Markdown engine makes tables of the summary, as many cells in each row as in its head, and what a
// target says is text in them.
func TestSummaryRendered(t *testing.T) {
	engine := goldmark.New(goldmark.WithExtensions(extension.GFM))
	allowed := []string{"html", "head", "body", "h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "strong", "em", "code", "br"}
	for name, of := range cases {
		r := of()
		// The engine leaves raw HTML out; what is ours of it is put back, so that anything else shows as missing.
		md := string(render(t, r, reports.Markdown))
		raw := regexp.MustCompile(`</?[a-zA-Z][^>]*>`).FindAllString(md, -1)
		for _, tag := range raw {
			if !slices.Contains([]string{"<code>", "</code>", "<br>"}, tag) {
				t.Errorf("%s: raw %s", name, tag)
			}
		}
		var b bytes.Buffer
		if err := engine.Convert([]byte(md), &b); err != nil {
			t.Fatal(err)
		}
		page := strings.ReplaceAll(b.String(), "<!-- raw HTML omitted -->", "")
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		tables := 0
		var shown strings.Builder
		for n := range doc.Descendants() {
			if n.Type == html.TextNode {
				shown.WriteString(n.Data)
			}
			if n.Type != html.ElementNode {
				continue
			}
			if !slices.Contains(allowed, n.Data) {
				t.Errorf("%s: the page has <%s>: %.200s", name, n.Data, text(n))
			}
			if n.Data == "table" {
				tables++
				columns := 0
				for row := range n.Descendants() {
					if row.Data != "tr" {
						continue
					}
					cells := 0
					for c := range row.ChildNodes() {
						if c.Data == "td" || c.Data == "th" {
							cells++
						}
					}
					if columns == 0 {
						columns = cells
					}
					if cells != columns {
						t.Errorf("%s: a row of %d cells in a table of %d: %.200s", name, cells, columns, text(row))
					}
				}
			}
		}
		if got := strings.Count(md, "\n| :---") + strings.Count(md, "\n| ---:"); tables != got || tables == 0 && name != "errored" {
			t.Errorf("%s: %d tables of %d became tables", name, tables, got)
		}
		if name == "hostile" {
			for _, want := range []string{"<script>alert(1)</script>|`*a*`]]>&\"'", "::error::no"} {
				if !strings.Contains(shown.String(), want) {
					t.Errorf("%s: the page does not show %s", name, want)
				}
			}
		}
	}
}

// TestSummaryLong: objectives without end are cut after a whole row, and the sections behind them are there.
func TestSummaryLong(t *testing.T) {
	r := crash(1)
	one := objective("cluster.availability >= 98%", ">=", 0.98, slo.Absolute, r.Run.Arms["cluster"].Metrics["availability"], rundir.Pass, "cluster")
	r.Run.Objectives = slices.Repeat([]rundir.Objective{one}, 2000)
	md := string(render(t, r, reports.Markdown))
	if len(md) > 60_000 || !strings.Contains(md, "more, which the HTML report has") || !strings.Contains(md, "### Provenance") {
		t.Errorf("%d bytes, ends in %q", len(md), md[len(md)-300:])
	}
	checkMarkdownTables(t, md)
}

// TestStrips: the arms' strips are of one length, the fault stands where it was, and a second without answers shows.
func TestStrips(t *testing.T) {
	md := string(render(t, crash(3), reports.Markdown))
	strips := regexp.MustCompile(`<code>([▁▂▃▄▅▆▇█×·━\[\]▲]+)</code>`).FindAllStringSubmatch(md, -1)
	if len(strips) != 8 {
		t.Fatalf("%d strips, want availability and p99 with their fault, of two arms", len(strips))
	}
	for _, s := range strips {
		if n := len([]rune(s[1])); n != 30 {
			t.Errorf("30 s have %d columns: %s", n, s[1])
		}
	}
	cluster, single := []rune(strips[0][1]), []rune(strips[4][1])
	if cluster[5] != '█' || single[12] != '▁' || cluster[25] != '█' {
		t.Errorf("answered OK:\n%s\n%s", string(cluster), string(single))
	}
	if force := []rune(strips[1][1]); force[10] != '[' || force[20] != ']' && force[19] != ']' || force[5] != '·' {
		t.Errorf("fault from 10 s to 20 s: %s", string(force))
	}
	if p99 := []rune(strips[6][1]); p99[12] != '×' || p99[5] == '×' {
		t.Errorf("p99 of one node that is dead: %s", string(p99))
	}
}
