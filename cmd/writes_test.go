package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/load"
)

const storeScenario = `
version: 1
name: writes
target:
  compose: compose.yaml
  ingress: http://app:8080
  ready: {path: /healthz, within: 5s}
  nodes: app
load:
  rate: 200/s
  for: 3s
  warmup: 500ms
  timeout: 1s
  requests:
    - {name: write, PUT: "/kv/{{.Key}}", body: "{{.Value}}"}
    - {name: read, GET: "/healthz"}
verify: [{of: write, read: "GET /kv/{{.Key}}", body: "{{.Value}}", within: 2s}]
%s
objectives:
  - target.lost_writes <= 0
  - target.duplicated_writes == 0
  - target.acknowledged_writes >= 100
repeats: 1
`

// stored runs a scenario against one node that keeps what is written, and returns the trial, the node's log, and the exit code.
func stored(t *testing.T, flags, faults string) (*tutti.Result, string, int) {
	t.Helper()
	return kept(t, storeScenario, flags, faults)
}

// kept is stored with a scenario of the caller's.
func kept(t *testing.T, text, flags, faults string) (*tutti.Result, string, int) {
	t.Helper()
	dir := t.TempDir()
	quoted := []string{"--delay=1ms", fmt.Sprintf("%q", "--store="+filepath.Join(dir, "store"))}
	flags = strings.Join(append(quoted, strings.Fields(flags)...), ", ")
	write(t, filepath.Join(dir, "compose.yaml"), fmt.Sprintf(truthCompose, flags))
	write(t, filepath.Join(dir, "writes.yaml"), fmt.Sprintf(text, faults))
	out := filepath.Join(dir, "run")
	c := exec.Command(binary(t), "run", "--engine", "process", "--out", out, filepath.Join(dir, "writes.yaml"))
	b, err := c.CombinedOutput()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", b)
		}
	})
	res, openErr := tutti.Open(out)
	if openErr != nil || len(res.Trials) == 0 || len(res.Trials[0].Rec.Writes) == 0 {
		t.Fatalf("nothing was read back: %v; tutti run: %v\n%s", openErr, err, b)
	}
	log, err := os.ReadFile(filepath.Join(out, "trials", "target-1", "logs", "app-1.log"))
	if err != nil {
		t.Fatal(err)
	}
	return res, string(log), c.ProcessState.ExitCode()
}

var loggedKey = regexp.MustCompile(`msg="?([a-z ]+)"? key=(\S+)`)

// logged are the keys of which the node's log says something.
func logged(log, what string) map[string]bool {
	keys := make(map[string]bool)
	for _, m := range loggedKey.FindAllStringSubmatch(log, -1) {
		if m[1] == what {
			keys[m[2]] = true
		}
	}
	return keys
}

func count(t *testing.T, tr *analysis.Trial, metric string) int {
	t.Helper()
	v := tr.Metric(analysis.Ref{Metric: metric})
	if v.State != analysis.OK {
		t.Errorf("%s is %s: %s", metric, v.State, v.Why)
	}
	return int(v.V)
}

// measuredKeys are the keys of a trial's writes in measured load.
func measuredKeys(tr *analysis.Trial) map[string]bool {
	r := tr.Rec
	keys := make(map[string]bool)
	for seq := r.Schedule.Warm(); seq < r.Schedule.Count(); seq++ {
		keys[load.Key(r.Seed, seq)] = true
	}
	return keys
}

// both counts the keys that are in all sets.
func both(sets ...map[string]bool) int {
	n := 0
next:
	for k := range sets[0] {
		for _, s := range sets[1:] {
			if !s[k] {
				continue next
			}
		}
		n++
	}
	return n
}

// Writes that a node acknowledges and loses are found, all of them and no others.
func TestWrites(t *testing.T) {
	t.Run("a node that forgets every tenth", func(t *testing.T) {
		t.Parallel()
		res, log, exit := stored(t, "--store-forget=10", "")
		tr := res.Trials[0]
		want := both(logged(log, "forgotten on purpose"), measuredKeys(tr))
		if got := count(t, tr, "lost_writes"); got != want || want < 10 || exit != 10 {
			t.Errorf("%d writes are lost, the node forgot %d; exit code %d, want 10", got, want, exit)
		}
		w, _ := tr.Writes("write")
		if len(tr.Rec.Writes[0].Lacks) != 8 || w.Kept+w.Lost != w.Acknowledged || w.Uncertain != 0 {
			t.Errorf("%+v", tr.Rec.Writes)
		}
		for _, l := range tr.Rec.Writes[0].Lacks {
			if !l.Lost || l.Got != "404 no such key" || !logged(log, "forgotten on purpose")[strings.TrimPrefix(l.Read, "/kv/")] {
				t.Errorf("not forgotten: %+v", l)
			}
		}
	})
	t.Run("a node that keeps every tenth twice", func(t *testing.T) {
		t.Parallel()
		res, log, exit := stored(t, "--store-twice=10", "")
		tr := res.Trials[0]
		want := both(logged(log, "doubled on purpose"), measuredKeys(tr))
		if got := count(t, tr, "duplicated_writes"); got != want || want < 10 || count(t, tr, "lost_writes") != 0 || exit != 10 {
			t.Errorf("%d writes are duplicated, the node doubled %d; exit code %d, want 10", got, want, exit)
		}
	})
	t.Run("a node that acknowledges before it keeps, killed", func(t *testing.T) {
		t.Parallel()
		res, log, exit := stored(t, "--store-late=200ms", "faults: [{at: 1s, kill: app, for: 500ms}]")
		tr := res.Trials[0]
		acknowledged, kept := logged(log, "acknowledged"), logged(log, "kept")
		for k := range kept {
			delete(acknowledged, k)
		}
		want := both(acknowledged, measuredKeys(tr))
		// What it answered while it was killed may not have arrived.
		got, uncertain := count(t, tr, "lost_writes"), count(t, tr, "uncertain_writes")
		if got > want || got+uncertain < want || want < 5 || exit != 10 {
			t.Errorf("%d writes are lost (%d uncertain), the node lost %d; exit code %d, want 10", got, uncertain, want, exit)
		}
		w, _ := tr.Writes("write")
		if onset := tr.Rec.Faults[0].Onset; w.First < onset.From-500*time.Millisecond || w.Last > onset.To {
			t.Errorf("lost from %v to %v, the node was killed at %v", w.First, w.Last, onset.From)
		}
	})
	t.Run("a node that keeps before it acknowledges, killed", func(t *testing.T) {
		t.Parallel()
		res, _, exit := stored(t, "", "faults: [{at: 1s, kill: app, for: 500ms}]")
		tr := res.Trials[0]
		if count(t, tr, "lost_writes") != 0 || count(t, tr, "duplicated_writes") != 0 || count(t, tr, "acknowledged_writes") < 200 || exit != 0 {
			t.Errorf("%+v, exit code %d", tr.Rec.Writes, exit)
		}
	})
	t.Run("a node that is not there any more", func(t *testing.T) {
		t.Parallel()
		res, _, exit := stored(t, "--store-forget=10 --freeze-at=3s --freeze-for=1m", "")
		for _, m := range []string{"lost_writes", "duplicated_writes"} {
			if v := res.Trials[0].Metric(analysis.Ref{Metric: m}); v.State != analysis.NoData || v.Why == "" {
				t.Errorf("%s is %v %s, and nobody could look", m, v.V, v.State)
			}
		}
		if exit != 12 || count(t, res.Trials[0], "acknowledged_writes") < 100 {
			t.Errorf("exit code %d, want 12: no data is inconclusive", exit)
		}
	})
}

const keysScenario = `
version: 1
name: registers
target:
  compose: compose.yaml
  ingress: http://app:8080
  ready: {path: /healthz, within: 5s}
  nodes: app
load:
  rate: 300/s
  for: 3s
  warmup: 500ms
  timeout: 1s
  keys: 20
  requests:
    - {name: write, PUT: "/kv/{{.Key}}", body: "{{.Value}}"}
    - {name: read, weight: 2, GET: "/kv/{{.Key}}", expect: {status: [200, 404]}}
verify: [{of: write, read: "GET /kv/{{.Key}}", body: "{{.Value}}", within: 3s}]
%s
objectives:
  - target.lost_writes <= 0
  - target.stale_reads <= 0
  - target.linearizable >= 100%%
repeats: 1
`

// Where writes share keys the reads during load are judged: those of a true store are in order whatever happens to it, and those of
// a copy that lags behind are not, though nothing is lost in the end.
func TestRegisters(t *testing.T) {
	t.Run("a store that is killed", func(t *testing.T) {
		t.Parallel()
		res, _, exit := kept(t, keysScenario, "--jitter=3ms", "faults: [{at: 1s, kill: app, for: 500ms}]")
		tr := res.Trials[0]
		k := tr.Rec.Writes[0].Registers
		if exit != 0 || k == nil || k.Keys != 20 || k.Linearizable != 20 || k.Stale != 0 || k.Reads < 300 || count(t, tr, "lost_writes") != 0 {
			t.Errorf("%+v, exit code %d, want 0", k, exit)
		}
	})
	t.Run("reads from a copy that is half a second behind", func(t *testing.T) {
		t.Parallel()
		res, _, exit := kept(t, keysScenario, "--store-stale=500ms", "")
		tr := res.Trials[0]
		k := tr.Rec.Writes[0].Registers
		if exit != 10 || k == nil || k.Violated < 15 || k.Stale < 100 || len(k.Bad) == 0 || count(t, tr, "lost_writes") != 0 {
			t.Errorf("%+v, exit code %d, want 10", k, exit)
		}
		if v := tr.Metric(analysis.Ref{Metric: "linearizable"}); v.State != analysis.OK || v.V > 0.25 {
			t.Errorf("linearizable is %+v", v)
		}
		if k != nil && count(t, tr, "stale_reads") != int(k.Stale) {
			t.Errorf("%d stale reads, %+v", count(t, tr, "stale_reads"), k)
		}
	})
	t.Run("a store that forgets the last writes", func(t *testing.T) {
		t.Parallel()
		res, log, exit := kept(t, keysScenario, "--store-late=400ms", "faults: [{at: 2900ms, kill: app}]")
		tr := res.Trials[0]
		lost, forgotten := count(t, tr, "lost_writes"), lastForgotten(log)
		if uncertain := count(t, tr, "uncertain_writes"); exit != 10 || lost == 0 || lost > forgotten || lost+uncertain < forgotten {
			t.Errorf("%d keys lost their last write (%d uncertain), the node lost it of %d; exit code %d, want 10", lost, uncertain, forgotten, exit)
		}
	})
}

// lastForgotten counts the keys whose last acknowledged write the node never kept, by its log.
func lastForgotten(log string) int {
	last := make(map[string]string)
	kept := make(map[string]bool)
	for _, m := range loggedValue.FindAllStringSubmatch(log, -1) {
		if m[1] == "acknowledged" {
			last[m[2]] = m[3]
		}
		if m[1] == "kept" {
			kept[m[3]] = true
		}
	}
	n := 0
	for _, value := range last {
		if !kept[value] {
			n++
		}
	}
	return n
}

var loggedValue = regexp.MustCompile(`msg="?([a-z ]+)"? key=(\S+) value=(\S+)`)
