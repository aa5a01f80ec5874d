package reports_test

import (
	"bytes"
	"strings"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// A run with an extension says what was seen at each look; others say nothing of looks.
func TestLooks(t *testing.T) {
	text := func(e *rundir.Extension) string {
		var b bytes.Buffer
		if err := reports.Text(&b, &tutti.Result{Run: &rundir.Run{Name: "x", Repeats: 6, Extension: e}}, reports.TextOptions{Width: 80}); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(b.String(), "\u00a0", " ")
	}
	got := text(&rundir.Extension{Most: 12, Why: "every objective is decided", Looks: []rundir.Look{{Blocks: 6, Open: []string{"cluster.p99 <= single.p99\x1b[2J"}}, {Blocks: 9}}})
	for _, want := range []string{"LOOKS", `after 6 blocks: undecided: cluster.p99 <= single.p99\x1b[2J`, "after 9 blocks: every objective is decided", "ended of 6 to 12 blocks: every objective is decided"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	for name, write := range map[string]func(*bytes.Buffer, *tutti.Result) error{
		"HTML":     func(b *bytes.Buffer, r *tutti.Result) error { return reports.HTML(b, r) },
		"Markdown": func(b *bytes.Buffer, r *tutti.Result) error { return reports.Markdown(b, r) },
	} {
		for _, e := range []*rundir.Extension{nil, {Most: 12, Why: "every <b>objective</b> is decided", Looks: []rundir.Look{{Blocks: 6, Open: []string{"cluster.p99 <= 9"}}}}} {
			var b bytes.Buffer
			run := rundir.Run{Name: "x", Repeats: 6, Extension: e, Objectives: []rundir.Objective{{Name: "cluster.p99 <= 9"}}}
			if err := write(&b, &tutti.Result{Run: &run}); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"What was seen at each look", "after 6 blocks: undecided: cluster.p99", "ended of 6 to 12 blocks: every"} {
				if got := strings.ReplaceAll(b.String(), "\u00a0", " "); strings.Contains(got, want) != (e != nil) {
					t.Errorf("%s: %q is there: %v", name, want, e == nil)
				}
			}
			if strings.Contains(b.String(), "<b>objective</b>") {
				t.Errorf("%s: text has become markup", name)
			}
		}
	}
	if strings.Contains(text(nil), "LOOKS") {
		t.Error("a run without an extension tells of looks")
	}
}
