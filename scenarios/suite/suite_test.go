package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/cmd"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
)

// TestMain runs the tests in the module's root, as the program is.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// fake is a program that stands for tutti: run --out DIR … takes the next verdict from the file beside it.
const fake = `#!/bin/sh
set -eu
here=$(dirname "$0")
echo "$@" >> "$here/calls"
test "$1 $2" = "run --out"
v=$(head -n 1 "$here/verdicts")
tail -n +2 "$here/verdicts" > "$here/rest"
mv "$here/rest" "$here/verdicts"
test "$v" != none || { echo "tutti: no such engine" >&2; exit 30; }
test ! -e "$3/plan.json" || exit 20
mkdir -p "$3/trials"
echo '{"schema":"tutti.run/v1"}' > "$3/plan.json"
echo '{"schema":"tutti.run/v1","verdict":"'$v'","reasons":["said '$v'"]}' > "$3/run.json"
test "$v" = pass
`

// bench is a suite with a fake tutti that gives these verdicts in turn.
func bench(t *testing.T, verdicts ...string) (*suite, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tutti"), fake)
	if err := os.Chmod(filepath.Join(dir, "tutti"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "verdicts"), strings.Join(verdicts, "\n")+"\n")
	var out bytes.Buffer
	return &suite{
		dir: dir, tutti: filepath.Join(dir, "tutti"), program: "p", kit: cmd.Builtin().Kit,
		until: time.Now().Add(time.Hour), out: &out,
	}, &out
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// calls counts how often the fake tutti was run.
func calls(t *testing.T, s *suite) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

func control(t *testing.T, s *suite, repeats int) *job {
	t.Helper()
	j, err := s.job(t.Context(), "scenarios/defects/control.yaml", "control", repeats)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// What is finished is not run again, until the program, the scenario, its target or the blocks are another.
func TestResume(t *testing.T) {
	s, out := bench(t, "pass", "fail", "inconclusive", "pass", "pass")
	j := control(t, s, 0)
	if o := s.do(t.Context(), j); o.Run == nil || o.Run.Verdict != rundir.Pass || calls(t, s) != 1 {
		t.Fatalf("the first run: %+v after %d calls", o, calls(t, s))
	}
	if o := s.do(t.Context(), control(t, s, 0)); !o.judged() || calls(t, s) != 1 {
		t.Errorf("it was run again, or not read: %+v", o)
	}
	if !strings.Contains(out.String(), "finished before") {
		t.Errorf("nothing says that it was finished before: %s", out)
	}
	for what, change := range map[string]func(*suite, *job){
		"the program":  func(s *suite, _ *job) { s.program = "q" },
		"the blocks":   func(_ *suite, j *job) { j.repeats = 3 },
		"the scenario": func(_ *suite, j *job) { j.scenario.Source = append(j.scenario.Source, "# more"...) },
		"the target": func(_ *suite, j *job) {
			svc := j.targets["mended"].Services["app"]
			svc.Command = append(svc.Command, "--leak=1")
			j.targets["mended"].Services["app"] = svc
		},
	} {
		before := calls(t, s)
		program := s.program
		j := control(t, s, 0)
		change(s, j)
		if s.finished(j) != nil {
			t.Errorf("it counts as finished although %s is another", what)
		}
		if o := s.do(t.Context(), j); !o.judged() || calls(t, s) != before+1 {
			t.Errorf("%s is another: %+v after %d calls", what, o, calls(t, s)-before)
		}
		s.program = program
	}
	s.program = "p"
	j = control(t, s, 3)
	s, _ = bench(t, "pass")
	if o := s.do(t.Context(), j); !o.judged() {
		t.Fatalf("%+v", o)
	}
	if j := control(t, s, 1); s.finished(j) == nil {
		t.Error("three blocks do not do for one")
	}
	if j := control(t, s, 6); s.finished(j) != nil || s.kept(j) == nil {
		t.Error("three blocks of six are finished, or forgotten")
	}
}

// An invalid run is done again, at most twice, and that is kept.
func TestInvalidIsRunAgain(t *testing.T) {
	s, out := bench(t, "invalid", "invalid", "pass")
	o := s.do(t.Context(), control(t, s, 0))
	if !o.judged() || len(o.Spoiled) != 2 || calls(t, s) != 3 {
		t.Fatalf("%+v after %d calls", o, calls(t, s))
	}
	if again := s.finished(o.job); again == nil || len(again.Spoiled) != 2 || again.Spoiled[0] != "said invalid" {
		t.Errorf("what is kept says %+v", again)
	}
	if !strings.Contains(out.String(), "2 invalid before") {
		t.Errorf("the line does not say it: %s", out)
	}

	s, _ = bench(t, "invalid", "invalid", "invalid", "pass")
	o = s.do(t.Context(), control(t, s, 0))
	if o.judged() || !o.broken() || calls(t, s) != 3 {
		t.Errorf("after three invalid runs: %+v, %d calls", o, calls(t, s))
	}
	if s.finished(o.job) != nil {
		t.Error("an invalid run counts as finished")
	}
}

// What leaves no run.json, is interrupted or in error is not finished, and is not repeated at once.
func TestBrokenRuns(t *testing.T) {
	for _, v := range []string{"none", "error", "interrupted"} {
		s, _ := bench(t, v, "pass")
		o := s.do(t.Context(), control(t, s, 0))
		if !o.broken() || calls(t, s) != 1 || s.finished(o.job) != nil {
			t.Errorf("%s: %+v after %d calls", v, o, calls(t, s))
		}
		if v == "none" && !strings.Contains(scenarioTable([]*outcome{o}, nil), "- control: it could not be run: tutti: no such engine (exit status 30)") {
			t.Errorf("the table does not say why:\n%s", scenarioTable([]*outcome{o}, nil))
		}
		if o = s.do(t.Context(), control(t, s, 0)); !o.judged() {
			t.Errorf("the next one after %s: %+v", v, o)
		}
	}
}

// A folder that was cut off before its plan was written makes room, one with anything else in it does not.
func TestClear(t *testing.T) {
	s, _ := bench(t)
	j := control(t, s, 0)
	for _, c := range []struct {
		has  string
		stay bool
	}{{"trials", false}, {"plan.json", false}, {"diary", true}} {
		if err := os.MkdirAll(filepath.Join(s.folder(j), c.has), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.clear(j); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.folder(j)); (err == nil) != c.stay {
			t.Errorf("with %s in it, the folder stays: %v", c.has, err == nil)
		}
	}
}

// Nothing is begun that would end after the limit or lacks an image, and both are told.
func TestNotRun(t *testing.T) {
	s, out := bench(t, "pass")
	s.until = time.Now().Add(time.Second)
	if o := s.do(t.Context(), control(t, s, 0)); o.Run != nil || !strings.Contains(o.Skipped, "after the limit") {
		t.Errorf("%+v", o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := s.do(ctx, control(t, s, 0)); !strings.Contains(o.Skipped, "interrupted") {
		t.Errorf("%+v", o)
	}
	if calls(t, s) != 0 {
		t.Error("it was run")
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > lineWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestTail(t *testing.T) {
	var last tail
	for range 100 {
		if n, err := last.Write([]byte("a line\n")); n != 7 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = last.Write([]byte("tutti: why\n  what to do\n"))
	if got := last.text(); len(got) > maxTail || !strings.HasSuffix(got, "a line tutti: why what to do") || !strings.HasPrefix(got, "a line a line") {
		t.Errorf("tail %q", got)
	}
}

func TestReferences(t *testing.T) {
	targets := map[string]*target.Target{
		"a": {Services: map[string]target.Service{"x": {Image: target.Image{Kind: target.ImageRef, Ref: "redis:7"}}, "y": {Image: target.Image{Kind: target.ImageTutti}}}},
		"b": {Services: map[string]target.Service{"x": {Image: target.Image{Kind: target.ImageRef, Ref: "redis:7"}}, "z": {Image: target.Image{Kind: target.ImageRef, Ref: "etcd:3"}}}},
	}
	if got := strings.Join(references(targets), " "); got != "etcd:3 redis:7" {
		t.Errorf("references %s", got)
	}
}

func TestChoose(t *testing.T) {
	s, _ := bench(t)
	jobs := []*job{control(t, s, 0)}
	for _, names := range [][]string{nil, {"control"}} {
		if c, err := choose(names, jobs); err != nil || !c["control"] {
			t.Errorf("%q chose %v, %v", names, c, err)
		}
	}
	if _, err := choose([]string{"contorl"}, jobs); err == nil || !strings.Contains(err.Error(), "there are control") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{nil, {"all"}, {"defects", "more"}, {"defects", "-repeats", "-1"}, {"scenarios", "-limit", "0s"}} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// The hash is of what the program is made of: the same twice, and it reads this module's sources.
func TestSources(t *testing.T) {
	a, err := sources(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := sources(t.Context(), "."); err != nil || a != b || len(a) != 64 {
		t.Errorf("%s and then %s, %v", a, b, err)
	}
}

// Every defect has its scenario, every objective its expectation, and there is a control.
func TestExpectations(t *testing.T) {
	list, err := readExpectations("scenarios/defects/expect.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := bench(t)
	named := make(map[string]bool)
	defects, controls := 0, 0
	for _, e := range list {
		named[e.Name] = true
		if e.Defect == "" {
			controls++
		} else {
			defects++
		}
		j, err := s.job(t.Context(), "scenarios/defects/"+e.Name+".yaml", e.Name, 0)
		if err != nil {
			t.Error(err)
			continue
		}
		r := &rundir.Run{Verdict: e.Verdict}
		for _, o := range j.scenario.Objectives {
			v := rundir.Pass
			for _, f := range e.Fails {
				if f == o.Name {
					v = rundir.Fail
				}
			}
			r.Objectives = append(r.Objectives, rundir.Objective{Name: o.Name, Verdict: v})
			if strings.HasPrefix(o.Name, "mended") && v == rundir.Fail {
				t.Errorf("%s: %s is to fail", e.Name, o.Name)
			}
		}
		if err := e.check(r); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if j.scenario.Hypothesis == "" {
			t.Errorf("%s claims nothing", e.Name)
		}
	}
	if defects < 12 || controls != 1 {
		t.Errorf("%d defects and %d controls", defects, controls)
	}
	files, err := filepath.Glob("scenarios/defects/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if n := strings.TrimSuffix(filepath.Base(f), ".yaml"); n != "expect" && !named[n] {
			t.Errorf("%s: nothing is expected of it", f)
		}
	}
}

func TestExpectationsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"- {name: a, verdict: fail, fails: [x], because: y}": "because",
		"- {name: a, fails: [x]}":                            "wants a name, a verdict",
		"- {name: a, verdict: fail}":                         "wants a name, a verdict",
		"- {name: a, verdict: fail, holds: [x]}":             "does not come from",
		"- {name: a, verdict: pass, fails: [x]}":             "does not come from",
	} {
		file := filepath.Join(t.TempDir(), "expect.yaml")
		write(t, file, text)
		if _, err := readExpectations(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A run has found a defect only for the reason that was planted.
func TestCheck(t *testing.T) {
	e := expectation{Name: "x", Defect: "d", Verdict: rundir.Fail, Fails: []string{"flawed.a"}, Holds: []string{"mended.a"}}
	obj := func(name string, v rundir.Verdict) rundir.Objective { return rundir.Objective{Name: name, Verdict: v} }
	for _, c := range []struct {
		what, want string
		run        rundir.Run
	}{
		{"as planted", "", rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("flawed.a", rundir.Fail), obj("mended.a", rundir.Pass)}}},
		{"the mended one fails too", "mended.a: fail instead of pass", rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("flawed.a", rundir.Fail), obj("mended.a", rundir.Fail)}}},
		{"only the mended one fails", "flawed.a: pass instead of fail", rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("flawed.a", rundir.Pass), obj("mended.a", rundir.Fail)}}},
		{"invalid", "the verdict is invalid instead of fail", rundir.Run{Verdict: rundir.Invalid, Objectives: []rundir.Objective{obj("flawed.a", rundir.Fail), obj("mended.a", rundir.Pass)}}},
		{"not judged", "flawed.a: inconclusive", rundir.Run{Verdict: rundir.Inconclusive, Objectives: []rundir.Objective{obj("flawed.a", rundir.Inconclusive), obj("mended.a", rundir.Pass)}}},
		{"an objective is gone", "no objective mended.a", rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("flawed.a", rundir.Fail)}}},
		{"one more", "nothing is expected of b", rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("flawed.a", rundir.Fail), obj("mended.a", rundir.Pass), obj("b", rundir.Pass)}}},
		{"nothing", "the verdict is", rundir.Run{}},
	} {
		err := e.check(&c.run)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		word := e.word(&outcome{Run: &c.run})
		if c.want == "" && word != "found" || c.want != "" && word == "found" {
			t.Errorf("%s is told as %q", c.what, word)
		}
	}
}

func ptr(v float64) *float64 { return &v }

func TestShow(t *testing.T) {
	ok := analysis.OK
	for want, v := range map[string]rundir.Value{
		"99.41 %":              {Value: ptr(0.99417), State: ok, Unit: analysis.Ratio},
		"99.99 %":              {Value: ptr(0.999999), State: ok, Unit: analysis.Ratio},
		"100 %":                {Value: ptr(1), State: ok, Unit: analysis.Ratio},
		"996 ms":               {Value: ptr(0.9961), State: ok, Unit: analysis.Seconds},
		"2.9 s [1.2 s, 4.0 s]": {Value: ptr(2.91), Low: ptr(1.2), High: ptr(4), State: ok, Unit: analysis.Seconds},
		"never":                {State: analysis.Never, Unit: analysis.Seconds},
		"not within 7.9 s":     {Value: ptr(7.94), State: analysis.Censored, Unit: analysis.Seconds},
		"no data":              {State: analysis.NoData},
		"12":                   {Value: ptr(12), State: ok, Unit: "1"},
	} {
		if got := show(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func shown(t *testing.T, s *suite, r *rundir.Run) *outcome {
	t.Helper()
	return &outcome{job: control(t, s, 0), Run: r}
}

// The table says what was found, what is false, what has few blocks, and what was not run and why.
func TestScenarioTable(t *testing.T) {
	s, _ := bench(t)
	v := func(x float64, u analysis.Unit) rundir.Value {
		return rundir.Value{Value: ptr(x), State: analysis.OK, Unit: u}
	}
	r := &rundir.Run{
		Verdict: rundir.Fail, ArmOrder: []string{"single", "cluster", "small"},
		Arms: map[string]rundir.Arm{
			"small":  {Metrics: map[string]rundir.Value{"capacity": v(146.25, analysis.PerSecond)}},
			"single": {Metrics: map[string]rundir.Value{"availability": v(0.721, analysis.Ratio), `recovery{fault="a"}`: v(2, analysis.Seconds), `recovery{fault="b"}`: {State: analysis.Never, Unit: analysis.Seconds}}},
			"cluster": {Metrics: map[string]rundir.Value{
				"availability": v(0.9, analysis.Ratio), `recovery{fault="a"}`: v(0.5, analysis.Seconds), `recovery{fault="b"}`: v(3, analysis.Seconds),
				`lost_writes{request="put"}`: v(4, "1"),
			}},
		},
		Objectives: []rundir.Objective{
			{Name: "cluster.availability >= 99%", Verdict: rundir.Fail, Severity: slo.SeverityFail, Value: v(0.9, analysis.Ratio)},
			{Name: "cluster.p99 <= 1s", Verdict: rundir.Fail, Severity: slo.SeverityWarn},
		},
		Trials:     []rundir.Trial{{Block: 1, Counted: true}, {Block: 1, Counted: true}, {Block: 2}},
		Provenance: rundir.Provenance{Tutti: "v1", Engine: "docker", Started: time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC), Host: map[string]string{"cpus": "2", "memory": "4194304 kB", "load average at start": "0.25"}},
	}
	bad := shown(t, s, r)
	bad.Spoiled = []string{"the generator lagged"}
	skipped := shown(t, s, nil)
	skipped.Skipped = "not run: the engine does not have redis:7|<b>"
	got := scenarioTable([]*outcome{bad, skipped}, nil)
	for _, want := range []string{
		"| [control](control.yaml) | A node that dies",
		"| mended | 1, few | single 72.1 %<br>cluster 90 %<br>small 146/s | single never<br>cluster 3.0 s | cluster 4 | **false**: `cluster.availability >= 99%`, found 90 % | 2026-11-23, docker, 2 cores, 4 GiB, load 0.25 |",
		"| mended | – | – | – | – | not run | – |",
		"- control: the engine does not have redis:7\\|&lt;b&gt;",
		"- control was run 2 times; before, it was invalid: the generator lagged",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "p99") {
		t.Errorf("a warning is told as a false claim:\n%s", got)
	}
	// A row outlives the runs' folders, until its claim is another one or a run of it failed.
	before := tableMarks().rows("x\n" + tableMarks().begin + "\n" + scenarioTable([]*outcome{bad}, nil) + tableMarks().end + "\n| [y](y.yaml) | | |\n")
	if len(before) != 1 {
		t.Fatalf("rows %q", before)
	}
	if got := scenarioTable([]*outcome{skipped}, before); !strings.Contains(got, "found 90 % | 2026-11-23") || strings.Contains(got, "redis:7") {
		t.Errorf("what was found earlier is forgotten:\n%s", got)
	}
	failed := shown(t, s, nil)
	failed.Failed = "no such engine"
	other := shown(t, s, nil)
	other.Skipped, other.job.scenario.Hypothesis = "not run: why", "Another."
	unrun := scenarioTable([]*outcome{skipped}, nil)
	for _, got := range []string{
		scenarioTable([]*outcome{failed}, before), scenarioTable([]*outcome{other}, before),
		scenarioTable([]*outcome{skipped}, tableMarks().rows(tableMarks().begin+"\n"+unrun+tableMarks().end)),
	} {
		if strings.Contains(got, "found 90 %") || !strings.Contains(got, "| not run | – |") || !strings.Contains(got, "- control: ") {
			t.Errorf("a row of something else is kept:\n%s", got)
		}
	}
}

func TestDefectTable(t *testing.T) {
	s, _ := bench(t)
	e := expectation{Name: "x", Defect: "a | b", Verdict: rundir.Fail, Fails: []string{"f"}, Holds: []string{"h"}}
	c := expectation{Name: "control", Runs: 2, Verdict: rundir.Pass, Holds: []string{"h"}}
	obj := func(name string, v rundir.Verdict, x float64) rundir.Objective {
		return rundir.Objective{Name: name, Verdict: v, Value: rundir.Value{Value: ptr(x), State: analysis.OK, Unit: analysis.Ratio}}
	}
	found := shown(t, s, &rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("f", rundir.Fail, .5), obj("h", rundir.Pass, 1)}})
	clean := shown(t, s, &rundir.Run{Verdict: rundir.Pass, Objectives: []rundir.Objective{obj("h", rundir.Pass, 1)}})
	dirty := shown(t, s, &rundir.Run{Verdict: rundir.Fail, Objectives: []rundir.Objective{obj("h", rundir.Fail, .9)}})
	results := []result{{e, []*outcome{found}}, {c, []*outcome{clean, dirty}}}
	if got := summary(results); got != "found 1 of 1, the control clean 1 of 2" {
		t.Errorf("summary %q", got)
	}
	table := defectTable(results)
	for _, want := range []string{
		"**Found 1 of 1, the control clean 1 of 2.**",
		"[x](x.yaml): a \\| b", "| `f` 50 % | `h` 100 % | found |",
		"| – | `h` 100 %, 90 % | clean 1 of 2 |",
		"- control: the verdict is fail instead of pass; h: fail instead of pass, found 90 %",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	all := map[string]bool{"x": true, "control": true}
	if err := verdictOf(results, all); err == nil || !strings.Contains(err.Error(), "control") || strings.Contains(err.Error(), "x,") {
		t.Errorf("the error is %v", err)
	}
	if err := verdictOf(results, map[string]bool{"x": true}); err != nil {
		t.Errorf("what was not chosen is an error: %v", err)
	}
	unrun := result{e, []*outcome{{job: found.job, Skipped: "not run: why"}}}
	if err := verdictOf([]result{unrun}, all); err == nil || err.Error() != "not run, or without a verdict: x" {
		t.Errorf("what was not run: %v", err)
	}
	if got := defectTable([]result{unrun}); !strings.Contains(got, "- x: not run: why") || !strings.Contains(got, "Found 0 of 1, the control clean 0 of 0; 1 not run or not judged.") {
		t.Errorf("what was not run is not told:\n%s", got)
	}
	missed := result{e, []*outcome{dirty}}
	if missed.said() != "**missed**" || missed.good() != 0 {
		t.Errorf("missed is told as %q", missed.said())
	}
}

func TestBetween(t *testing.T) {
	doc := "a\n" + tableMarks().begin + "\nold\n" + tableMarks().end + "\nz\n"
	got, err := tableMarks().between([]byte(doc), "new\n\n")
	if want := "a\n" + tableMarks().begin + "\nnew\n" + tableMarks().end + "\nz\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"a", tableMarks().begin, tableMarks().end + tableMarks().begin, doc + doc} {
		if _, err := tableMarks().between([]byte(bad), "x"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// The READMEs have their marks.
func TestMarks(t *testing.T) {
	for _, f := range []string{"scenarios/README.md", "scenarios/defects/README.md"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tableMarks().between(b, "x"); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// What is kept beside a run's folder can be read again, and a broken one is no finished run.
func TestKept(t *testing.T) {
	s, _ := bench(t, "pass")
	j := control(t, s, 0)
	o := s.do(t.Context(), j)
	b, err := os.ReadFile(s.folder(j) + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var kept outcome
	if err := json.Unmarshal(b, &kept); err != nil || kept.Key != o.Key {
		t.Errorf("kept %s, %v", b, err)
	}
	write(t, s.folder(j)+".json", "{")
	if s.finished(j) != nil {
		t.Error("half a file is a finished run")
	}
}

// What the self-test of its gate ran with nothing broken counts as a job's run, if it is of the same.
func TestRunOfTheGate(t *testing.T) {
	s, _ := bench(t)
	j := control(t, s, 1)
	dir := filepath.Join(s.dir, gatesFolder, j.name)
	asIs := filepath.Join(dir, "as-is")
	if err := os.MkdirAll(filepath.Join(asIs, "trials"), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := s.key(j)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "key"), key)
	write(t, filepath.Join(dir, "selftest.json"), `{"schema":"tutti.selftest/v1","blocks":1}`)
	write(t, filepath.Join(asIs, "plan.json"), `{"schema":"tutti.run/v1"}`)
	for verdict, counts := range map[string]bool{"pass": true, "fail": true, "invalid": false} {
		write(t, filepath.Join(asIs, "run.json"), `{"schema":"tutti.run/v1","verdict":"`+verdict+`"}`)
		if got := s.finished(j) != nil; got != counts {
			t.Errorf("%s: it counts as finished: %v", verdict, got)
		}
	}
	write(t, filepath.Join(asIs, "run.json"), `{"schema":"tutti.run/v1","verdict":"pass"}`)
	if s.finished(control(t, s, 2)) != nil {
		t.Error("one block does for two")
	}
	write(t, filepath.Join(dir, "key"), "of another program")
	if s.finished(j) != nil {
		t.Error("a run of another program counts")
	}
}
