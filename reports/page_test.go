package reports_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clipperhouse/displaywidth"
	"golang.org/x/net/html"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(text(c))
	}
	return b.String()
}

// elements parses a page into its elements, in order.
func elements(t *testing.T, page []byte) []*html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var out []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			out = append(out, n)
		}
	}
	return out
}

// finding is what a figure of the page says in numbers, with plain spaces.
func finding(t *testing.T, r *tutti.Result, figure string) string {
	t.Helper()
	return findingIn(t, elements(t, render(t, r, reports.HTML)), figure)
}

func findingIn(t *testing.T, es []*html.Node, figure string) string {
	t.Helper()
	return captionOf(t, es, figure, func(e *html.Node) bool { return e.Data == "strong" })
}

// reading is how a figure of the page is read.
func reading(t *testing.T, r *tutti.Result, figure string) string {
	t.Helper()
	return captionOf(t, elements(t, render(t, r, reports.HTML)), figure, func(e *html.Node) bool { return attr(e, "class") == "what" })
}

func captionOf(t *testing.T, es []*html.Node, figure string, part func(*html.Node) bool) string {
	t.Helper()
	for _, e := range es {
		if e.Parent.Data == "figcaption" && part(e) && attr(e.Parent.Parent, "id") == figure {
			return strings.ReplaceAll(text(e), "\u00a0", " ")
		}
	}
	t.Fatalf("there is no figure %s", figure)
	return ""
}

// TestPage checks what holds for every page, whatever the run.
func TestPage(t *testing.T) {
	for name, of := range cases {
		t.Run(name, func(t *testing.T) {
			es := elements(t, render(t, of(), reports.HTML))
			checkIDs(t, es)
			checkSafe(t, es)
			checkHeadings(t, es)
			checkTables(t, es)
			checkFigures(t, es)
		})
	}
}

// checkIDs: every id once, every reference has its target.
func checkIDs(t *testing.T, es []*html.Node) {
	t.Helper()
	ids := make(map[string]bool)
	for _, e := range es {
		if id := attr(e, "id"); id != "" {
			if ids[id] {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
		}
	}
	for _, e := range es {
		if h := attr(e, "href"); strings.HasPrefix(h, "#") && !ids[h[1:]] {
			t.Errorf("link to %s, which is not there", h)
		}
		for _, id := range strings.Fields(attr(e, "aria-labelledby")) {
			if !ids[id] {
				t.Errorf("<%s> is labelled by %q, which is not there", e.Data, id)
			}
		}
	}
}

// checkSafe: nothing runs but our own script, nothing is fetched, the policy allows the style sheet and that script and nothing else.
func checkSafe(t *testing.T, es []*html.Node) {
	t.Helper()
	known := regexp.MustCompile(`^(html|head|meta|title|style|body|a|header|div|span|script|h[1-3]|p|main|section|dl|dt|dd|nav|ul|ol|li|table|caption|thead|tbody|tr|th|td|figure|figcaption|strong|em|b|br|code|details|summary|footer|svg|path|rect|circle|text|desc)$`)
	policy, style, script, scripts := "", "", "", 0
	for _, e := range es {
		if !known.MatchString(e.Data) {
			t.Errorf("element <%s>", e.Data)
		}
		for _, a := range e.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || a.Key == "src" || strings.Contains(a.Key, ":") {
				t.Errorf("<%s %s=%q>", e.Data, a.Key, a.Val)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("link to %q", a.Val)
			}
		}
		if attr(e, "http-equiv") == "Content-Security-Policy" {
			policy = attr(e, "content")
		}
		if e.Data == "script" {
			scripts++
			if attr(e, "type") == "" {
				script = text(e)
			} else if attr(e, "type") != "application/json" || attr(e, "id") != "run-data" {
				t.Errorf("<script type=%q>", attr(e, "type"))
			}
		}
		if e.Data == "style" {
			style = text(e)
		}
	}
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style sheet fetches something")
	}
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	want := "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) + "; base-uri 'none'; form-action 'none'"
	if ours, err := os.ReadFile("page.js"); err != nil || strings.TrimSpace(string(ours)) != script || scripts != 2 {
		t.Errorf("%d scripts, of which one is %.60q (%v)", scripts, script, err)
	}
	for _, no := range []string{"fetch(", "XMLHttpRequest", "eval(", "Function(", "innerHTML", "http:", "import", "WebSocket", "localStorage"} {
		if strings.Contains(strings.ReplaceAll(script, "http://www.w3.org/2000/svg", ""), no) {
			t.Errorf("the script has %s", no)
		}
	}
	if policy != want {
		t.Errorf("policy %q, want %q", policy, want)
	}
}

// checkHeadings: landmarks, a language, one h1, no level left out.
func checkHeadings(t *testing.T, es []*html.Node) {
	t.Helper()
	count := make(map[string]int)
	last := 0
	for _, e := range es {
		if e.Parent.Data != "svg" {
			count[e.Data]++
		}
		if len(e.Data) == 2 && e.Data[0] == 'h' && e.Data[1] >= '1' && e.Data[1] <= '6' {
			level := int(e.Data[1] - '0')
			if level > last+1 {
				t.Errorf("<%s> after h%d", e.Data, last)
			}
			last = level
			if strings.TrimSpace(text(e)) == "" {
				t.Errorf("<%s> is empty", e.Data)
			}
		}
		if e.Data == "html" && attr(e, "lang") != "en" {
			t.Error("no language")
		}
	}
	for _, one := range []string{"h1", "main", "nav", "footer", "title", "style"} {
		if count[one] != 1 {
			t.Errorf("%d <%s>", count[one], one)
		}
	}
}

// checkTables: each has a caption, scopes and a region that can be focused; rows fit their heads.
func checkTables(t *testing.T, es []*html.Node) {
	t.Helper()
	for _, e := range es {
		switch e.Data {
		case "th":
			if s := attr(e, "scope"); s != "col" && s != "row" && s != "rowgroup" {
				t.Errorf("<th scope=%q> %s", s, text(e))
			}
		case "table":
			p := e.Parent
			if attr(p, "role") != "region" || attr(p, "tabindex") != "0" || attr(p, "aria-labelledby") == "" {
				t.Error("a table outside a region that scrolls")
			}
			if e.FirstChild.Data != "caption" {
				t.Error("a table without a caption")
			}
			head := 0
			for n := range e.Descendants() {
				if n.Data != "tr" || n.Type != html.ElementNode {
					continue
				}
				cells := 0
				for c := n.FirstChild; c != nil; c = c.NextSibling {
					span, err := strconv.Atoi(attr(c, "colspan"))
					if err != nil {
						span = 1
					}
					cells += span
				}
				if head == 0 {
					head = cells
				}
				if cells != head {
					t.Errorf("a row of %d cells under a head of %d: %s", cells, head, text(n))
				}
			}
		}
	}
}

// checkFigures: two drawings each, with words for who cannot see them, and finite coordinates.
func checkFigures(t *testing.T, es []*html.Node) {
	t.Helper()
	for _, e := range es {
		if e.Data != "figure" {
			continue
		}
		drawings, tables, finding, reading := 0, 0, "", ""
		for n := range e.Descendants() {
			if n.Data == "svg" && attr(n, "role") == "img" {
				drawings++
				if desc := text(n.FirstChild.NextSibling); n.FirstChild.Data != "title" || len(desc) < 20 || !strings.ContainsAny(desc, "0123456789") {
					t.Errorf("figure %s has a drawing without a title, or without numbers in its description %.80q", attr(e, "id"), desc)
				}
			}
			switch {
			case n.Data == "table":
				tables++
			case n.Data == "strong":
				finding = text(n)
			case attr(n, "class") == "what":
				reading = text(n)
			}
			for _, a := range n.Attr {
				if n.Data == "path" && a.Key == "d" && strings.ContainsAny(a.Val, "NI") {
					t.Errorf("a path has %.80q", a.Val)
				}
			}
			if attr(n, "class") == "broke" {
				t.Error(text(n))
			}
		}
		if drawings != 2 || tables == 0 || len(finding) < 10 || len(reading) < 20 {
			t.Errorf("figure %s has %d drawings, %d tables, the finding %q and is read so: %q", attr(e, "id"), drawings, tables, finding, reading)
		}
	}
}

// TestScriptFinds: what the script looks for is on the page; without it nothing is missing, since all of it stands there already.
func TestScriptFinds(t *testing.T) {
	for _, of := range []func() *tutti.Result{func() *tutti.Result { return crash(3) }, arms, steady} {
		seen := make(map[string]int)
		for _, e := range elements(t, render(t, of(), reports.HTML)) {
			if id := attr(e, "id"); id == "main" || id == "run-data" || id == "save" || id == "t-f1" || id == "f1" {
				seen[id]++
			}
			if e.Data == "svg" && attr(e, "data-s") != "" {
				seen["axis"]++
				for _, k := range []string{"data-x0", "data-x1", "data-s"} {
					if v, err := strconv.ParseFloat(attr(e, k), 64); err != nil || v <= 0 {
						t.Errorf("%s=%q", k, attr(e, k))
					}
				}
			}
			if e.Data == "button" || e.Data == "input" {
				t.Errorf("<%s> does nothing without the script", e.Data)
			}
			if attr(e, "class") == "arms" {
				seen["arms"] += len(kids(e, "span"))
			}
		}
		if seen["main"] != 1 || seen["run-data"] != 1 || seen["save"] != 1 || seen["t-f1"] != 1 || seen["f1"] != 1 || seen["axis"] != 8 || seen["arms"] == 0 {
			t.Errorf("the page has %v", seen)
		}
	}
}

// TestHostile: what a target says stays text, in every format.
func TestHostile(t *testing.T) {
	r := attacked()
	for ext, draw := range formats {
		out := string(render(t, r, draw))
		steers := func(c rune) bool {
			return c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 || c == 0x202e || c == 0x200b || c&0xfffe == 0xfffe || c >= 0xe0000 && c <= 0xe007f
		}
		if i := strings.IndexFunc(out, steers); i >= 0 {
			t.Errorf("%s: a character that steers: %q", ext, out[max(i-20, 0):min(i+20, len(out))])
		}
		if !strings.Contains(out, "alert(1)") {
			t.Errorf("%s: the text is not shown at all", ext)
		}
		if n := strings.Count(out, "<script"); ext == "html" && n != 2 || ext != "html" && ext != "txt" && n > 0 {
			t.Errorf("%s: has <script %d times", ext, n)
		}
	}
	md := string(render(t, r, reports.Markdown))
	for _, line := range strings.Split(md, "\n") {
		if strings.Contains(line, "*a*") || strings.Contains(line, "`") || strings.HasPrefix(line, "::") || strings.HasPrefix(line, "next") {
			t.Errorf("markdown: %.200q", line)
		}
	}
	checkMarkdownTables(t, md)
	checkXML(t, render(t, r, reports.JUnit))
}

func checkMarkdownTables(t *testing.T, md string) {
	t.Helper()
	columns := 0
	for _, line := range strings.Split(md, "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(line, "|")
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("markdown: %d bars in a table of %d: %.120q", n, columns, line)
		}
	}
}

func checkXML(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("JUnit is no XML: %v", err)
		}
	}
}

// TestTextWidth: no line is wider than the terminal, at any width, with names that are wide.
func TestTextWidth(t *testing.T) {
	r := crash(3)
	wide := attacked()
	wide.Run.Name, wide.Run.Arms["集群"] = "节点崩溃节点崩溃节点崩溃节点崩溃节点崩溃节点崩溃", wide.Run.Arms[hostile]
	for _, res := range []*tutti.Result{r, wide} {
		for _, width := range []int{32, 40, 59, 60, 72, 80, 100, 120} {
			for _, color := range []bool{false, true} {
				var b bytes.Buffer
				if err := reports.Text(&b, res, reports.TextOptions{Width: width, Color: color}); err != nil {
					t.Fatal(err)
				}
				out := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(b.String(), "")
				if !color && out != b.String() {
					t.Error("colour where none was asked for")
				}
				for _, line := range strings.Split(out, "\n") {
					if n := (displaywidth.Options{}).String(line); n > width {
						t.Errorf("%d columns, allowed are %d: %s", n, width, line)
					}
				}
			}
		}
	}
}

// TestJUnitCases: one case for each objective and check, told as its verdict wants.
func TestJUnitCases(t *testing.T) {
	type result struct {
		Cases []struct {
			Name    string  `xml:"name,attr"`
			File    string  `xml:"file,attr"`
			Line    int     `xml:"line,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	r := crash(1)
	for i, v := range []rundir.Verdict{rundir.Pass, rundir.Fail, rundir.Inconclusive, rundir.Invalid} {
		r.Run.Objectives[i].Verdict = v
	}
	r.Run.Objectives = r.Run.Objectives[:4]
	var got result
	if err := xml.Unmarshal(render(t, r, reports.JUnit), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		r.Run.Objectives[0].Text: "pass", r.Run.Objectives[1].Text: "failure", r.Run.Objectives[2].Text: "skipped", r.Run.Objectives[3].Text: "error",
		"Fault took effect, with proof": "pass", "the run came to its end": "pass",
	}
	for _, c := range got.Cases {
		kind := "pass"
		switch {
		case c.Failure != nil:
			kind = "failure"
		case c.Error != nil:
			kind = "error"
		case c.Skipped != nil:
			kind = "skipped"
		}
		if w, ok := want[c.Name]; ok {
			if kind != w {
				t.Errorf("%s is %s, want %s", c.Name, kind, w)
			}
			delete(want, c.Name)
		}
		if strings.HasPrefix(c.Name, "cluster.") && (c.Line == 0 || c.File != "scenarios/node-crash.yaml") {
			t.Errorf("%s points at %s:%d", c.Name, c.File, c.Line)
		}
	}
	for name := range want {
		t.Errorf("no case %q", name)
	}
}

// TestManyReasons: a run of many blocks that all broke still has its tables in the summary.
func TestManyReasons(t *testing.T) {
	r := invalid()
	for b := range 400 {
		r.Run.Reasons = append(r.Run.Reasons, fmt.Sprintf("block %d: %s", b+4, strings.Repeat("the recording is missing, ", 8)))
	}
	md := string(render(t, r, reports.Markdown))
	for _, want := range []string{"and 382 more", "### Objectives", "### Trials", "### Provenance"} {
		if !strings.Contains(md, want) {
			t.Errorf("the summary lacks %q", want)
		}
	}
	if n := strings.Count(md, "\n- block"); n > 20 {
		t.Errorf("the summary lists %d reasons", n)
	}
}

// TestSize: two minutes at 2,000/s with two arms and six blocks stay under a megabyte, a summary under 60 kB.
func TestSize(t *testing.T) {
	var recs []*record.Recording
	for b := 1; b <= 6; b++ {
		for _, arm := range []string{"single", "cluster"} {
			tr := analysistest.Trial{Arm: arm, Block: b, Seed: int64(b), Rate: 100, For: 120 * time.Second, Timeout: time.Second}
			recs = append(recs, tr.Recording())
		}
	}
	r := runOf(recs)
	r.Run.Baseline = "single"
	for range 400 {
		r.Run.Objectives = append(r.Run.Objectives, objective("cluster.availability >= 98%", ">=", 0.98, "absolute", r.Run.Arms["cluster"].Metrics["availability"], rundir.Pass, "cluster"))
	}
	if n := len(render(t, r, reports.HTML)); n > 1_000_000 {
		t.Errorf("the page has %d bytes", n)
	}
	if n := len(render(t, r, reports.Markdown)); n > 60_000 {
		t.Errorf("the summary has %d bytes", n)
	}
}
