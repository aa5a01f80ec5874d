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
	// some changes a metric of the cluster in its first trials, and what it comes to over all.
	some := func(r *tutti.Result, n int, metric string, over rundir.Value, of rundir.Value) {
		key := metric + `{fault="crash"}`
		r.Run.Arms["cluster"].Metrics[key] = over
		for i := range r.Run.Trials {
			if tr := &r.Run.Trials[i]; tr.Arm == "cluster" && tr.Block <= n {
				tr.Metrics[key] = of
			}
		}
	}
	never := rundir.Value{Unit: analysis.Seconds, State: analysis.Never}
	censored := rundir.Value{Value: ptr(15), Unit: analysis.Seconds, State: analysis.Censored}
	second := rundir.Value{Value: ptr(1), Unit: analysis.Seconds, State: analysis.OK}
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
		{
			"no error in any trial", func(r *tutti.Result) { some(r, 6, "first_error", never, never) },
			[]string{"No request failed from its onset on.", "It was undone"},
			"served again",
		},
		{
			"no error in most trials", func(r *tutti.Result) { some(r, 4, "first_error", never, never) },
			[]string{"In 4 of 6 trials no request failed from its onset on.", "Clients were served again", "fair share", "It cost 42.5 ("},
			"No request",
		},
		{
			"no error in few trials", func(r *tutti.Result) { some(r, 2, "first_error", second, never) },
			[]string{"The first request failed 1.00 s after the onset.", "In 2 of 6 trials no request failed from its onset on.", "Clients were"},
			"No request",
		},
		{
			"a trial that does not count", func(r *tutti.Result) {
				some(r, 1, "first_error", second, never)
				for i := range r.Run.Trials {
					r.Run.Trials[i].Counted = r.Run.Trials[i].Block > 1
				}
			}, []string{"The first request failed 1.00 s after the onset. After "}, "no request failed",
		},
		{
			"tried to the end in all", func(r *tutti.Result) { some(r, 6, "detection", censored, censored) },
			[]string{"The lost node was tried to the end (> 15 s)."},
			"any more",
		},
		{
			"tried to the end in most", func(r *tutti.Result) { some(r, 5, "detection", censored, censored) },
			[]string{"In 5 of 6 trials the lost node was tried to the end (over all trials: > 15 s)."},
			"any more",
		},
		{
			"tried to the end in few", func(r *tutti.Result) { some(r, 1, "detection", second, censored) },
			[]string{"After 1.00 s nothing was tried at the lost node any more. In 1 of 6 trials the lost node was tried to the end."},
			"",
		},
		{
			"back in no trial", func(r *tutti.Result) { some(r, 6, "recovery", censored, censored) },
			[]string{"Clients were not served again as well as before while we looked (> 15 s)."},
			"served again, as",
		},
		{
			"back in few trials", func(r *tutti.Result) { some(r, 4, "recovery", censored, censored) },
			[]string{"In 4 of 6 trials clients were not served again as well as before while we looked (over all trials: > 15 s)."},
			"served again, as",
		},
		{
			"back in most trials", func(r *tutti.Result) {
				some(r, 1, "recovery", second, censored)
				some(r, 2, "failover", second, censored)
			}, []string{
				"Clients were served again, as well as before, 1.00 s after the onset, in 4 of 6 trials while the fault was still on.",
				"In 1 of 6 trials clients were not served again as well as before while we looked.",
			}, "",
		},
		{
			"share back in most trials", func(r *tutti.Result) { some(r, 2, "rebalanced", second, censored) },
			[]string{"it took 1.00 s until", "In 2 of 6 trials what was hit did not get back 80 % of its fair share of the answers while we looked."},
			"",
		},
		{
			"nothing lost beyond the usual", func(r *tutti.Result) {
				r.Run.Arms["cluster"].Metrics[`lost_requests{fault="crash"}`] = rundir.Value{Value: ptr(0), Low: ptr(0), High: ptr(3), Unit: analysis.Number, State: analysis.OK}
			}, []string{"It cost 0 (0 – 3) requests. "}, "looked like",
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
	r := crash(6)
	some(r, 4, "recovery", censored, censored)
	if page := strings.ReplaceAll(string(render(t, r, reports.HTML)), "\u00a0", " "); !strings.Contains(page, "The cluster recovered from crash in 2 of 6 trials (over all trials: &gt; 15 s); the single node") {
		t.Error("the lead of the event times does not say in how many trials the cluster recovered")
	}
	if all := told(t, steady()); len(all) != 0 {
		t.Errorf("a run without a fault tells %q", all)
	}
	if single := told(t, crash(6))[1]; !strings.Contains(single, "and not before the fault was undone") || strings.Contains(single, "must lose") {
		t.Errorf("the single node's story is %s", single)
	}
}
