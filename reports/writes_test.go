package reports_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/reports"
)

// What was read back is in every format with the same numbers, and what a target said stays text.
func TestWrites(t *testing.T) {
	r := crash(6)
	for i, tr := range r.Trials {
		w := record.Writes{Of: "write", Read: "GET /kv/{{.Key}}", Within: time.Minute, Acknowledged: 1000, Kept: 1000, Uncertain: 3, Found: 1, Reads: 1003}
		if r.Run.Trials[i].Arm == "cluster" {
			w.Kept, w.Lost, w.First, w.Last = 990, 10, 4*time.Second, 4900*time.Millisecond
			w.Lacks = []record.Lack{{Seq: 7, Due: 4 * time.Second, Read: "/kv/k1", Got: "200 <script>\x1b[2J", Lost: true}}
		}
		w.Registers = &record.Registers{Keys: 20, Reads: 500, Stale: 2, Linearizable: 18, Violated: 1, Unknown: 1, Why: "it took long", Bad: []string{"key 3: a read"}}
		tr.Rec.Writes = []record.Writes{w}
	}
	for name, c := range map[string]struct {
		draw func(b *bytes.Buffer) error
		want []string
	}{
		"HTML": {func(b *bytes.Buffer) error { return reports.HTML(b, r) }, []string{
			"lost 60 of 6,000 acknowledged writes", "lost: due between 4.0", `<td class="n"><b>60</b></td>`, "5,940", "&lt;script&gt;",
		}},
		"Markdown": {func(b *bytes.Buffer) error { return reports.Markdown(b, r) }, []string{
			"### Writes, read back", "| 6,000 | 5,940 | **60** | 0 | 0 | 18 | 6 |", "&#60;script",
		}},
		"JUnit": {func(b *bytes.Buffer) error { return reports.JUnit(b, r) }, []string{
			`<testcase classname="node-crash.writes" name="cluster: write"`, "6,000 acknowledged, 60 lost, 0 duplicated, 18 uncertain (6 of them there)",
		}},
		"text": {func(b *bytes.Buffer) error { return reports.Text(b, r, reports.TextOptions{Width: 120}) }, []string{
			" WRITES, READ BACK", "cluster, write: 6,000 acknowledged, 60 lost, 0 duplicated, 18 uncertain (6 of them there); lost: due between",
			"12 of 3,000 reads", "108 of 120 keys linearizable, 6 shown not to be (key 3: a read, key 3: a read), 6 unknown (it took long)",
		}},
	} {
		var b bytes.Buffer
		if err := c.draw(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if strings.Count(b.String(), "<script") > 2 || name != "HTML" && strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s has what a target said as it is", name)
		}
	}
	for i := range r.Trials { // nobody could look
		r.Trials[i].Rec.Writes[0] = record.Writes{Of: "write", Acknowledged: 1000, Unread: 1000, Problem: "it was not ready again"}
	}
	var b bytes.Buffer
	if err := reports.JUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, `<skipped message="cluster, write: 6,000 acknowledged, 0 lost`) || !strings.Contains(s, "it was not ready again") {
		t.Errorf("nobody could look, and JUnit does not say so:\n%s", s)
	}
}

// The note counts the trials in which something came between, not those in which single writes could not be read.
func TestWritesOfSomeTrials(t *testing.T) {
	r := crash(3)
	cluster := 0
	for i, tr := range r.Trials {
		w := record.Writes{Of: "write", Acknowledged: 1000, Kept: 1000}
		if r.Run.Trials[i].Arm == "cluster" {
			switch cluster++; cluster {
			case 1:
				w.Kept, w.Unread, w.Problem = 0, 1000, "it was not ready again"
			case 2:
				w.Kept, w.Unread = 999, 1
			}
		}
		tr.Rec.Writes = []record.Writes{w}
	}
	if page := plain(t, r); !strings.Contains(page, "in 1 trial not all is known: it was not ready again") {
		t.Error("the page does not say that it is one trial of three")
	}
	if s := string(render(t, r, reports.JUnit)); strings.Count(s, `<skipped message="cluster, write`) != 1 || strings.Contains(s, `<skipped message="single, write`) {
		t.Errorf("JUnit skips other ledgers than the one that is not whole:\n%s", s)
	}
}
