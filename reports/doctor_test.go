package reports_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/clipperhouse/displaywidth"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/reports"
)

// A check-up names every verb with its way or its lack, every primitive with its measure or its fix, within the width.
func TestDoctor(t *testing.T) {
	c := &tutti.Checkup{
		Why: "an engine answers",
		Facts: target.Facts{
			Driver: "docker", Details: map[string]string{"kernel": "6.1 \x1b[31mred", "os": strings.Repeat("long ", 40)},
			Primitives: map[string]target.Primitive{
				"netem":    {Why: "add a netem qdisc: no such file or directory", Serves: "nfqueue serves for latency; else: modprobe sch_netem"},
				"nftables": {OK: true, Measure: "asked to lose 50 %, lost 50.3 %"},
			},
		},
		Verbs: []tutti.VerbCheckup{
			{Verb: "kill", Way: fault.Way{Means: "SIGKILL by the driver"}},
			{Verb: "latency", Way: fault.Way{Name: "nfqueue", Means: "queued to a helper that holds them for as long as it takes, and a little longer"}},
			{Verb: "bandwidth", Lack: &fault.LackError{Ways: []fault.LackingWay{{Way: "tbf", Lacks: []string{"tbf (no such file)"}, Fixes: []string{"modprobe sch_tbf"}}}}},
		},
	}
	for _, width := range []int{60, 80, 120} {
		var b bytes.Buffer
		if err := reports.Doctor(&b, c, reports.TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(b.String(), "\n") {
			if w := (displaywidth.Options{}).String(l); w > width {
				t.Errorf("%d columns of %d: %s", w, width, l)
			}
		}
		flat := strings.Join(strings.Fields(b.String()), " ")
		for _, part := range []string{
			"docker (an engine answers)", "kill yes SIGKILL by the driver", "latency yes nfqueue: queued", "bandwidth no tbf (no such file) → modprobe sch_tbf",
			"netem no add a netem qdisc: no such file or directory", "modprobe sch_netem", "nftables yes asked to lose 50 %, lost 50.3 %",
		} {
			if width >= 80 && !strings.Contains(flat, part) {
				t.Errorf("%d columns: it does not say %q:\n%s", width, part, b.String())
			}
		}
		if strings.Contains(b.String(), "\x1b") {
			t.Error("the engine's words steer the terminal")
		}
	}
}
