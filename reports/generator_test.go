package reports_test

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/reports"
)

// What is out of the ordinary about the load generator is told on a terminal, and nothing else is.
func TestGeneratorOnATerminal(t *testing.T) {
	const head = "LOAD GENERATOR"
	fixture := analysistest.Trial{Arm: "cluster", For: 5 * time.Second}
	if out := terminal(t, runOf([]*record.Recording{fixture.Recording()})); strings.Contains(out, head) || strings.Contains(out, "one by one") {
		t.Errorf("nothing was wrong:\n%s", out)
	}
	for want, spoil := range map[string]func(g *record.Generator){
		"it used 1.80 of its 2 processors":                  func(g *record.Generator) { g.CPU = g.Took * 18 / 10 },
		"collection stopped it for 25.0 ms":                 func(g *record.Generator) { g.GCMaxPause = 25 * time.Millisecond },
		"it had 1,000 of 1,024 descriptors open":            func(g *record.Generator) { g.Files = 1000 },
		"hypervisor gave 1.50 s of its machine’s processor": func(g *record.Generator) { g.Stolen = 1500 * time.Millisecond },
		"its control group kept it from running for 2.00 s": func(g *record.Generator) { g.Throttled = 2 * time.Second },
	} {
		rec := fixture.Recording()
		spoil(&rec.Generator)
		out := strings.Join(strings.Fields(terminal(t, runOf([]*record.Recording{rec}))), " ")
		if !strings.Contains(out, head) || !strings.Contains(out, want) {
			t.Errorf("not told: %s\n%s", want, out)
		}
	}
	late := fixture
	late.Each = func(s *record.Sample, _ *rand.Rand) {
		if s.Seq >= 490 {
			s.Late, s.Sent, s.Done = 30*time.Millisecond, s.Due+30*time.Millisecond, s.Due+35*time.Millisecond
		}
	}
	out := strings.Join(strings.Fields(terminal(t, runOf([]*record.Recording{late.Recording()}))), " ")
	if !strings.Contains(out, "it came to 2 % of the requests more than 10 ms late: p50 0 ms, p99 30.0 ms") {
		t.Errorf("lag is not told:\n%s", out)
	}
}

// Examples are drawn, whatever a target has put into them.
func TestExamples(t *testing.T) {
	fixture := analysistest.Trial{Arm: "cluster", For: 5 * time.Second, Each: func(s *record.Sample, _ *rand.Rand) {
		switch s.Seq {
		case 42:
			s.Class, s.Status, s.Error, s.Tried = record.Wrong, 503, "<script>alert(1)</script>\x1b[31m", []string{"app-1", "app-2"}
		case 77:
			s.Done = s.Due + 777*time.Millisecond
		}
	}}
	r := runOf([]*record.Recording{fixture.Recording()})
	page := string(render(t, r, reports.HTML))
	for _, want := range []string{"t-examples", "status 503; &lt;script&gt;alert(1)&lt;/script&gt; [31m; tried app-1, app-2", "777\u00a0ms"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "\x1b") {
		t.Error("a target's text is markup")
	}
	if out := terminal(t, r); !strings.Contains(out, " 1 failed request, one by one, in run.json") {
		t.Errorf("not counted:\n%s", out)
	}
}

func terminal(t *testing.T, r *tutti.Result) string {
	t.Helper()
	return string(render(t, r, func(w io.Writer, r *tutti.Result) error { return reports.Text(w, r, reports.TextOptions{}) }))
}
