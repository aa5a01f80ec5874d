package reports_test

import (
	"strings"
	"testing"

	"golang.org/x/net/html"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

// told are the page's paragraphs about faults.
func told(t *testing.T, r *tutti.Result) (out []string) {
	t.Helper()
	for _, e := range elements(t, render(t, r, reports.HTML)) {
		if e.Type == html.ElementNode && attr(e, "class") == "story" {
			out = append(out, strings.Join(strings.Fields(strings.ReplaceAll(text(e), "\u00a0", " ")), " "))
		}
	}
	return out
}

// TestStories: the chain of a fault, in words and in its order, and what it cost.
func TestStories(t *testing.T) {
	metric := func(arm, key string, value, low, high float64) func(*tutti.Result) {
		return func(r *tutti.Result) {
			r.Run.Arms[arm].Metrics[key] = rundir.Value{Value: &value, Low: &low, High: &high, Unit: analysis.Number, State: analysis.OK}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*tutti.Result)
		want   []string // of the cluster's, in this order
		never  string
	}{
		{"the usual", func(*tutti.Result) {}, []string{
			"crash, cluster: Kill (synthetic) hit app-1, proven in all of 6 trials (such as: engine event kill).",
			"The first request failed 23.5 ms (", "nothing was tried at the lost node any more", "Clients were served again, as well as before, 0.999 s (",
			"while the fault was still on", "It was undone after 10.2 s", "80 % of its fair share", "It cost 42.5 (", "255 timeout in all trials together",
			"must lose 66.7 (", "saved 24.2 (19.7 – 28.7) of them", "In downtime that is 212 ms", "30 days can afford 12,272 such faults",
		}, ""},
		{
			"more than the floor", metric("cluster", `loss_over_floor{fault="crash"}`, 12, 3, 20),
			[]string{"12 (3 – 20) more than that were lost."},
			"saved",
		},
		{
			"within the noise", metric("cluster", `loss_over_floor{fault="crash"}`, -4, -12, 3),
			[]string{"is not shown to differ from that by more than the noise (−4; −12 – 3)"},
			"saved",
		},
		{
			"another node in each trial", func(r *tutti.Result) {
				for i := range r.Run.Faults {
					if f := &r.Run.Faults[i]; f.Arm == "cluster" && f.Block%2 == 0 {
						f.Nodes = []string{"app-3"}
					}
				}
			}, []string{"hit one node in each trial (of app-1 and app-3)"}, "hit app-1 and",
		},
		{
			"without proof", func(r *tutti.Result) {
				for i := range r.Run.Faults {
					r.Run.Faults[i].Proven = r.Run.Faults[i].Block != 2
				}
			}, []string{"proven in 5 of 6 trials"}, "in all of 6",
		},
		{
			"never undone", func(r *tutti.Result) {
				for i := range r.Run.Faults {
					r.Run.Faults[i].Heal = nil
				}
			}, []string{"It was not undone before load ended."}, "fair share",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := crash(6)
			c.change(r)
			all := told(t, r)
			if len(all) != 2 || !strings.HasPrefix(all[1], "crash, single: ") {
				t.Fatalf("%d stories: %.200q", len(all), all)
			}
			rest := all[0]
			for _, want := range c.want {
				at := strings.Index(rest, want)
				if at < 0 {
					t.Fatalf("no %q, in its place, in %s", want, all[0])
				}
				rest = rest[at+len(want):]
			}
			if c.never != "" && strings.Contains(all[0], c.never) {
				t.Errorf("%q in %s", c.never, all[0])
			}
		})
	}
	if all := told(t, steady()); len(all) != 0 {
		t.Errorf("a run without a fault tells %q", all)
	}
	if single := told(t, crash(6))[1]; !strings.Contains(single, "and not before the fault was undone") || strings.Contains(single, "must lose") {
		t.Errorf("the single node's story is %s", single)
	}
}
