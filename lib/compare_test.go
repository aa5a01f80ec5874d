package tutti_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
)

// releases are two arms whose answers take so long.
const releases = `version: 1
name: releases
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app, env: {DB_PASSWORD: hunter22}}
arms:
  one: {scale: {app: 1}}
  two: {scale: {app: 2}}
baseline: one
load: {rate: 10/s, for: 5s, warmup: 1s, timeout: 500ms, requests: [GET /]}
objectives:
  - two.p50 <= 400ms
  - {check: two.p90 <= 3 * one.p90}
  - {check: two.availability >= 99%, severity: warn}
repeats: 6
`

// slowed is how long answers take: a little more in each block, and times factor for arm two.
func slowed(all, two float64) func(target.Spec) time.Duration {
	return func(s target.Spec) time.Duration {
		arm, block, _ := strings.Cut(s.Trial, "-")
		d := all * (20 + 0.4*float64(block[0]-'1'))
		if arm == "two" {
			d *= two
		}
		return time.Duration(d * float64(time.Millisecond))
	}
}

// releaseRun runs releases into a folder of its own.
func releaseRun(t *testing.T, text string, takes func(target.Spec) time.Duration, change func(*tutti.Options)) *tutti.Result {
	t.Helper()
	b := newBench(t, text)
	b.Takes = takes
	if change != nil {
		change(&b.opts)
	}
	var res *tutti.Result
	synctest.Test(t, func(t *testing.T) {
		var err error
		if res, err = b.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
	})
	return res
}

func compared2(t *testing.T, was, now *tutti.Result) *tutti.Comparison {
	t.Helper()
	c, err := tutti.Compare(was.Dir, now.Dir, newBench(t, releases).opts.Kit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Errorf("it has no JSON: %v", err)
	}
	return c
}

func row(t *testing.T, c *tutti.Comparison, subject string) tutti.ComparedRow {
	t.Helper()
	for _, r := range c.Rows {
		if r.Subject == subject {
			return r
		}
	}
	t.Fatalf("there is no %s among %d rows", subject, len(c.Rows))
	return tutti.ComparedRow{}
}

// Two runs of one scenario are compared by what their objectives are about, and by the metrics of each arm.
func TestCompare(t *testing.T) {
	was := releaseRun(t, releases, slowed(1, 1), nil)
	for name, c := range map[string]struct {
		takes   func(target.Spec) time.Duration
		verdict rundir.Verdict
		code    int
		p50, p9 rundir.Verdict // of two.p50, and of two.p90 over one.p90
		by      float64
		better  bool
	}{
		"the same":       {slowed(1, 1), rundir.Pass, 0, rundir.Pass, rundir.Pass, 1, false},
		"all slower":     {slowed(1.5, 1), rundir.Fail, 11, rundir.Fail, rundir.Pass, 1.5, false},
		"two is slower":  {slowed(1, 1.5), rundir.Fail, 11, rundir.Fail, rundir.Fail, 1.5, false},
		"all are faster": {slowed(0.5, 1), rundir.Pass, 0, rundir.Pass, rundir.Pass, 0.5, true},
		"about a tenth":  {slowed(1.1, 1), rundir.Inconclusive, 12, rundir.Inconclusive, rundir.Pass, 1.1, false},
		"within a tenth": {slowed(1.02, 1), rundir.Pass, 0, rundir.Pass, rundir.Pass, 1.02, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := releaseRun(t, releases, c.takes, nil)
			got := compared2(t, was, now)
			p50, ratio := row(t, got, "two.p50"), row(t, got, "two.p90 over 3 * one.p90")
			if got.Verdict != c.verdict || got.ExitCode != c.code || p50.Verdict != c.p50 || ratio.Verdict != c.p9 || p50.Better != c.better {
				t.Errorf("%s (exit code %d) because %q; two.p50 %s (better %v), the ratio %s", got.Verdict, got.ExitCode, got.Reasons, p50.Verdict, p50.Better, ratio.Verdict)
			}
			if p50.By.Value == nil || math.Abs(*p50.By.Value/c.by-1) > 0.03 || p50.By.Low == nil || *p50.By.Low > *p50.By.Value {
				t.Errorf("two.p50 changed by %+v, want %v", p50.By, c.by)
			}
			if r := row(t, got, "one.ok_p99"); r.Gates || r.Was.Value == nil {
				t.Errorf("a metric without an objective: %+v", r)
			}
			if len(got.Moved) > 0 || row(t, got, "two.availability").Gates {
				t.Errorf("moved %v, an objective that warns gates", got.Moved)
			}
		})
	}
}

// On another machine times say nothing; what compares arms inside each run does.
func TestCompareMachines(t *testing.T) {
	was := releaseRun(t, releases, slowed(1, 1), nil)
	now := releaseRun(t, releases, slowed(3, 1), func(o *tutti.Options) { o.About.Version = "v1" })
	c := compared2(t, was, now)
	if len(c.Moved) != 1 || c.Moved[0] != "tutti is v0 and v1" {
		t.Errorf("moved %v", c.Moved)
	}
	if c.Verdict != rundir.Pass || slices.ContainsFunc(c.Rows, func(r tutti.ComparedRow) bool { return r.Subject == "two.p50" }) {
		t.Errorf("%s because %q, rows %+v", c.Verdict, c.Reasons, c.Rows)
	}
	if r := row(t, c, "two.ok_p50 over one.ok_p50"); r.Verdict != rundir.Pass || r.Gates {
		t.Errorf("%+v", r)
	}
	worse := releaseRun(t, releases, slowed(3, 1.5), func(o *tutti.Options) { o.About.Version = "v1" })
	if c := compared2(t, was, worse); c.Verdict != rundir.Fail || c.ExitCode != 11 {
		t.Errorf("%s because %q", c.Verdict, c.Reasons)
	}
	absolute := strings.Replace(releases, "  - {check: two.p90 <= 3 * one.p90}\n", "", 1)
	was = releaseRun(t, absolute, slowed(1, 1), nil)
	now = releaseRun(t, absolute, slowed(1, 1), func(o *tutti.Options) { o.About.Version = "v1" })
	if c := compared2(t, was, now); c.Verdict != rundir.Inconclusive || c.ExitCode != 12 || !strings.Contains(c.Reasons[0], "the machines differ") {
		t.Errorf("%s because %q", c.Verdict, c.Reasons)
	}
}

// marginTexts are objectives about things of every scale.
const marginTexts = `version: 1
name: margins
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app, node_header: X-Node, health_check: {interval: 500ms, timeout: 250ms, fails: 2}}
arms:
  one: {scale: {app: 1}}
  two: {scale: {app: 2}}
baseline: one
load: {rate: 10/s, for: 10s, warmup: 1s, timeout: 500ms, requests: [GET /]}
faults: [{name: crash, at: 3050ms, kill: app, for: 2s}]
objectives:
  - two.ok_p50 <= 400ms
  - two.ok_p90 <= 3 * one.ok_p90 + 50ms
  - two.ok_p90 - one.ok_p90 <= 1s
  - two.goodput - one.goodput >= 0/s
  - two.ok_p90 / one.ok_p90 <= 3
  - two.ok_p50 + two.recovery <= 9s
  - two.availability >= 85%
  - two.availability / one.availability >= 1
  - two.error_rate <= one.error_rate
  - two.balance >= 0.4
  - two.serving_nodes >= 2
  - two.lost_requests <= 50
  - two.lost_requests <= one.lost_requests
  - two.loss_over_floor <= 50
repeats: 6
`

// What a measure may be worse where nobody says otherwise is in keeping with what it is: no second of what takes milliseconds.
func TestUsualMargins(t *testing.T) {
	res := releaseRun(t, marginTexts, slowed(1, 1), nil)
	b, err := tutti.MeasuredOf(res.Dir, newBench(t, releases).opts.Kit)
	if err != nil {
		t.Fatal(err)
	}
	of := func(subject string) rundir.Measure {
		i := slices.IndexFunc(b.Measures, func(m rundir.Measure) bool { return m.Subject == subject })
		if i < 0 {
			t.Fatalf("there is no measure %s", subject)
		}
		return b.Measures[i]
	}
	for subject, want := range map[string]struct {
		relative bool
		margin   float64
		floor    float64
	}{
		"two.ok_p50": {true, 0.1, 1e-6},
		"two.ok_p90 less (3 * one.ok_p90 + 0.05s)": {false, 0.0092, 0},
		"two.ok_p90 - one.ok_p90":                  {false, 0, 0},
		"two.goodput - one.goodput":                {false, 0.1, 0},
		"two.ok_p90 / one.ok_p90":                  {true, 0.1, 0},
		`two.ok_p50 + two.recovery{fault="crash"}`: {true, 0.1, 0.1 + 1e-6},
		"two.availability":                         {false, 0.01, 0},
		"two.availability / one.availability":      {false, 0.01, 0},
		"two.error_rate less one.error_rate":       {false, 0.01, 0},
		"two.balance":                              {false, 0.01, 0},
		"two.serving_nodes":                        {false, 0.2, 0},
		`two.lost_requests{fault="crash"}`:         {false, 1, 0},
		`two.lost_requests{fault="crash"} less one.lost_requests{fault="crash"}`: {false, 1, 0},
		`two.loss_over_floor{fault="crash"}`:                                     {false, 1, 0},
	} {
		m := of(subject)
		if m.Relative != want.relative || math.Abs(m.Margin-want.margin) > 0.05*want.margin || math.Abs(m.Floor-want.floor) > 1e-9 {
			t.Errorf("%s: relative %v, margin %v, floor %v; want %+v (%+v)", subject, m.Relative, m.Margin, m.Floor, want, m.Values)
		}
	}
}

// A gate that adds a time to what it allows notices what one without notices.
func TestCompareDifference(t *testing.T) {
	text := strings.Replace(releases, "two.p90 <= 3 * one.p90", "two.p90 <= 3 * one.p90 + 50ms", 1)
	was := releaseRun(t, text, slowed(1, 1), nil)
	for name, c := range map[string]struct {
		takes func(target.Spec) time.Duration
		want  rundir.Verdict
	}{"the same": {slowed(1, 1), rundir.Pass}, "two is slower": {slowed(1, 15), rundir.Fail}} {
		got := compared2(t, was, releaseRun(t, text, c.takes, nil))
		if r := row(t, got, "two.p90 less (3 * one.p90 + 0.05s)"); r.Verdict != c.want {
			t.Errorf("%s: %s because %s", name, r.Verdict, r.Reason)
		}
	}
}

// Seconds and rates of two machines are not compared, not even as differences between arms.
func TestCompareMachinesDifferences(t *testing.T) {
	was := releaseRun(t, marginTexts, slowed(1, 1), nil)
	now := releaseRun(t, marginTexts, slowed(3, 1), func(o *tutti.Options) { o.About.Version = "v1" })
	c := compared2(t, was, now)
	for _, r := range c.Rows {
		if r.Of != slo.Ratio && r.Was.Unit != analysis.Ratio && r.Was.Unit != analysis.Number {
			t.Errorf("%s is compared, in %s (%s)", r.Subject, r.Was.Unit, r.Of)
		}
	}
	row(t, c, "two.error_rate less one.error_rate")
	row(t, c, "two.ok_p50 over one.ok_p50")
}

// Of two objectives about one thing the one that gates is held against the baseline, wherever it stands.
func TestCompareGateAfterWarning(t *testing.T) {
	gate, warning := "  - two.p50 <= 400ms\n", "  - {check: two.p50 <= 300ms, severity: warn}\n"
	for _, both := range []string{warning + gate, gate + warning} {
		text := strings.Replace(releases, gate, both, 1)
		c := compared2(t, releaseRun(t, text, slowed(1, 1), nil), releaseRun(t, text, slowed(2, 1), nil))
		if r := row(t, c, "two.p50"); !r.Gates || r.Verdict != rundir.Fail || c.ExitCode != 11 {
			t.Errorf("%s: gates %v, %s; the comparison ends with %d because %q", both, r.Gates, r.Verdict, c.ExitCode, c.Reasons)
		}
	}
}

// What is only known to be at most something is no number to compare, and none to plan by.
func TestCompareAtMost(t *testing.T) {
	const fault = "faults: [{name: crash, at: 3050ms, kill: {service: app, pick: all}, for: "
	text := strings.NewReplacer("one: {scale: {app: 1}}", "one: {"+fault+"26s}]}", "two: {scale: {app: 2}}", "two: {"+fault+"2s}]}", "for: 5s", "for: 30s",
		"two.p90 <= 3 * one.p90", "two.recovery <= one.recovery").Replace(releases)
	res := releaseRun(t, text, slowed(1, 1), nil)
	o := res.Run.Objectives[1]
	if b := o.PerBlock[0]; o.Verdict != rundir.Pass || b.State != analysis.NoData || b.Value == nil || *b.Value > 0.5 {
		t.Errorf("%s because %s, first block %+v", o.Verdict, o.Reason, b)
	}
	r := row(t, compared2(t, res, res), `two.recovery{fault="crash"} over one.recovery{fault="crash"}`)
	if r.Verdict != rundir.Inconclusive || !strings.Contains(r.Reason, "it is at most 0.") {
		t.Errorf("%s because %s", r.Verdict, r.Reason)
	}
	p, err := tutti.PowerOf(res.Dir, newBench(t, releases).opts.Kit, nil)
	if err != nil {
		t.Fatal(err)
	}
	if why := p.Rows[1].Why; !strings.Contains(why, "in block 1 is at most 0.") {
		t.Errorf("noise of it: %q", why)
	}
}

// What is no longer the same experiment is refused, and said; what is not to be trusted compares to nothing.
func TestCompareRefused(t *testing.T) {
	kit := newBench(t, releases).opts.Kit
	was := releaseRun(t, releases, slowed(1, 1), nil)
	for name, c := range map[string]struct{ old, new, want string }{
		"rate":    {"rate: 10/s", "rate: 20/s", "load.rate is 10/s and 20/s"},
		"stages":  {"rate: 10/s, for: 5s", "stages: [{rate: 10/s, for: 2s}, {rate: 10/s, to: 20/s, for: 3s}]", "load.stages is nothing and 10/s for 2s, then 10/s to 20/s over 3s"},
		"request": {"GET /", "GET /other", "load.requests.GET /other is nothing and"},
		"scale":   {"two: {scale: {app: 2}}", "two: {scale: {app: 3}}", "arms.two.scale.app is 2 and 3"},
		"fault":   {"repeats: 6", "repeats: 6\nfaults: [{name: crash, at: 1s, kill: app, for: 1s}]", "arms.one.faults.crash is nothing and crash: kill at 1s for 1s"},
	} {
		now := releaseRun(t, strings.Replace(releases, c.old, c.new, 1), slowed(1, 1), nil)
		_, err := tutti.Compare(was.Dir, now.Dir, kit)
		var usage *tutti.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// Objectives, repeats and the seed are no part of the experiment; an objective that is gone is told of.
	now := releaseRun(t, strings.NewReplacer("repeats: 6", "repeats: 7\nseed: 5", "3 * one.p90", "4 * one.p90").Replace(releases), slowed(1, 1), nil)
	c := compared2(t, was, now)
	says(t, "reasons", c.Reasons, "two.p90 over 3 * one.p90: no objective")
	if c.Verdict != rundir.Inconclusive {
		t.Errorf("%s because %q", c.Verdict, c.Reasons)
	}
	few := releaseRun(t, releases, slowed(1, 1), func(o *tutti.Options) { o.MaxTime = 30 * time.Second })
	if c := compared2(t, was, few); c.Verdict != rundir.Invalid || c.ExitCode != 13 {
		t.Errorf("with an invalid run: %s because %q", c.Verdict, c.Reasons)
	}
	if _, err := tutti.MeasuredOf(few.Dir, kit); !errors.Is(err, tutti.ErrUntrusted) {
		t.Errorf("measures of an invalid run: %v", err)
	}
	if _, err := tutti.Compare(was.Dir, filepath.Join(was.Dir, "nothing"), kit); err == nil || !strings.Contains(err.Error(), "no run and no baseline file") {
		t.Errorf("error %v", err)
	}
}

// A baseline file is what a run has measured; a run that is held against it has a say for each objective, and 11 is for what became worse.
func TestBaseline(t *testing.T) {
	kit := newBench(t, releases).opts.Kit
	was := releaseRun(t, releases, slowed(1, 1), nil)
	b, err := tutti.MeasuredOf(was.Dir, kit)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "base.json")
	if err := rundir.SaveBaseline(file, b); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "hunter22") {
		t.Errorf("the file has the password, or %v", err)
	}
	kept, err := rundir.LoadBaseline(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text    string
		takes   func(target.Spec) time.Duration
		verdict rundir.Verdict
		code    int
		reason  string
	}{
		"the same":   {releases, slowed(1, 1), rundir.Pass, 0, "nothing is worse than in the baseline base.json"},
		"slower":     {releases, slowed(1.5, 1), rundir.Fail, 11, "regression: two.p50 is 1.5 times what it was"},
		"undecided":  {releases, slowed(1.1, 1), rundir.Inconclusive, 12, "baseline: two.p50 is 1.1 times what it was"},
		"and failed": {strings.Replace(releases, "400ms", "25ms", 1), slowed(1.5, 1), rundir.Fail, 10, "beyond the limit of 25 ms"},
	} {
		t.Run(name, func(t *testing.T) {
			res := releaseRun(t, c.text, c.takes, func(o *tutti.Options) { o.Against = &tutti.Against{File: "base.json", Baseline: kept} })
			verdict(t, res.Run, c.verdict, c.code)
			says(t, "reasons", res.Run.Reasons, c.reason)
			again, err := tutti.Judge(res.Dir, kit)
			if err != nil {
				t.Fatal(err)
			}
			verdict(t, again.Run, c.verdict, c.code)
			n := 0
			for _, o := range again.Run.Objectives {
				if o.Regression {
					n++
				}
			}
			if n != 2 {
				t.Errorf("%d objectives are held against the baseline, want 2", n)
			}
		})
	}

	// Somebody's own margin counts, and is kept.
	kept.Measures[0].Margin = 0.7
	kept.Measures[1].Margin = 0.7
	res := releaseRun(t, releases, slowed(1.5, 1), func(o *tutti.Options) { o.Against = &tutti.Against{File: "base.json", Baseline: kept} })
	verdict(t, res.Run, rundir.Pass, 0)
	fresh, err := tutti.MeasuredOf(res.Dir, kit)
	if err != nil {
		t.Fatal(err)
	}
	tutti.KeepMargins(kept, fresh)
	if fresh.Measures[0].Margin != 0.7 || len(fresh.Measures) != len(kept.Measures) {
		t.Errorf("measures %+v", fresh.Measures[0])
	}

	// On another machine only what compares arms has a say, and that is told; where nothing is left it is undecided.
	for name, c := range map[string]struct {
		text    string
		takes   func(target.Spec) time.Duration
		verdict rundir.Verdict
		code    int
	}{
		"slower alike": {releases, slowed(3, 1), rundir.Pass, 0},
		"two slower":   {releases, slowed(3, 1.9), rundir.Fail, 11},
		"nothing left": {strings.Replace(releases, "  - {check: two.p90 <= 3 * one.p90}\n", "", 1), slowed(1, 1), rundir.Inconclusive, 12},
	} {
		res := releaseRun(t, c.text, c.takes, func(o *tutti.Options) {
			o.About.Version = "v1"
			o.Against = &tutti.Against{File: "base.json", Baseline: kept}
			if name == "nothing left" {
				only := *kept
				only.Measures = slices.DeleteFunc(slices.Clone(kept.Measures), func(m rundir.Measure) bool { return m.Form != slo.Absolute })
				o.Against.Baseline = &only
			}
		})
		verdict(t, res.Run, c.verdict, c.code)
		last := res.Run.Objectives[len(res.Run.Objectives)-1]
		if !last.Regression || !strings.Contains(last.Reason, "base.json was measured on another machine (tutti is v0 and v1)") || (last.Severity == slo.SeverityWarn) == (name == "nothing left") {
			t.Errorf("%s: the last objective is %+v", name, last)
		}
	}

	other := newBench(t, strings.Replace(releases, "rate: 10/s", "rate: 20/s", 1))
	other.opts.Against = &tutti.Against{File: "base.json", Baseline: kept}
	_, err = tutti.Prepare(t.Context(), other.parse(t), other.opts)
	var usage *tutti.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "--baseline base.json: it is about another experiment: load.rate is 10/s and 20/s") || other.opened != 0 {
		t.Errorf("error %v", err)
	}
}

// A regression stands at the line that its objective has in this run's scenario, whatever line the baseline's had; at none where no objective is
// about it any more.
func TestBaselineLine(t *testing.T) {
	was := releaseRun(t, releases, slowed(1, 1), nil)
	b, err := tutti.MeasuredOf(was.Dir, newBench(t, releases).opts.Kit)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want map[string]int
	}{
		"moved": {strings.Replace(releases, "objectives:", "# a line\nobjectives:\n  - one.p50 <= 400ms", 1), map[string]int{"two.p50": 12, "two.p90 over 3 * one.p90": 13}},
		"gone":  {strings.Replace(releases, "  - two.p50 <= 400ms\n", "", 1), map[string]int{"two.p50": 0, "two.p90 over 3 * one.p90": 10}},
	} {
		t.Run(name, func(t *testing.T) {
			res := releaseRun(t, c.text, slowed(1.5, 1), func(o *tutti.Options) { o.Against = &tutti.Against{File: "base.json", Baseline: b} })
			verdict(t, res.Run, rundir.Fail, 11)
			got := make(map[string]int)
			for _, o := range res.Run.Objectives {
				if o.Regression {
					got[o.Subject] = o.Line
				}
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("lines %v, want %v", got, c.want)
			}
		})
	}
}

// A baseline that cannot be read, or says nonsense, is refused.
func TestBaselineBroken(t *testing.T) {
	for text, want := range map[string]string{
		`{"schema": "tutti.run/v1"}`: `schema is "tutti.run/v1"`, `{`: "unexpected end",
		`{"schema": "tutti.baseline/v1", "measures": [{"subject": "a.p50", "margin": -1}]}`: "margin of a.p50 is -1",
	} {
		file := filepath.Join(t.TempDir(), "base.json")
		write(t, file, text)
		if _, err := rundir.LoadBaseline(file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
