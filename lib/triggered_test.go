package tutti_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	tutti "github.com/tutti-bench/tutti/lib"
)

// triggered has faults whose times are known when they come, and one that draws others.
const triggered = `version: 1
name: triggered
hypothesis: Three are more than one.
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app, node_header: X-Node}
arms:
  three: {scale: {app: 3}}
load: {rate: 10/s, for: 60s, warmup: 1s, timeout: 1s, requests: [GET /]}
faults:
  - {name: crash, at: 5s, kill: {service: app, replica: 1}, for: 5s}
  - {name: second, after: {fault: crash, event: healed, delay: 2s}, kill: {service: app, replica: 2}, for: 5s}
  - {name: third, when: "availability < 90%", kill: {service: app, replica: 3}, for: 1s}
  - {name: nemesis, at: 30s, for: 20s, random: {verbs: [{kill: {service: app}}], every: 10s, for: 2s..4s}}
objectives:
  - three.availability >= 1%
repeats: 1
`

// When a trigger came is not in the scenario, nor is what a random fault drew: the recordings are its own all the same,
// and the drawn faults have their metrics. What was done is in the journal.
func TestTriggered(t *testing.T) {
	b := newBench(t, triggered)
	synctest.Test(t, func(t *testing.T) {
		res, err := b.run(t.Context(), t)
		if err != nil {
			t.Fatal(err)
		}
		if res.Run.Verdict != "pass" || len(res.Run.Faults) != 5 {
			t.Fatalf("verdict %s with %d faults: %q", res.Run.Verdict, len(res.Run.Faults), res.Run.Reasons)
		}
		for _, name := range []string{"second", "third", "nemesis-1", "nemesis-2"} {
			if _, ok := res.Run.Arms["three"].Metrics[`lost_requests{fault="`+name+`"}`]; !ok {
				t.Errorf("there are no metrics of %s", name)
			}
		}
		if _, err := tutti.Judge(res.Dir, b.opts.Kit); err != nil {
			t.Errorf("judged again: %v", err)
		}
		journal, err := os.ReadFile(filepath.Join(res.Dir, "trials", "three-1", "faults.journal.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		in := make(map[string]bool)
		for line := range strings.Lines(string(journal)) {
			var l struct{ Fault, Step string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			switch l.Step {
			case "injected":
				in[l.Fault] = true
			case "reverted":
				in[l.Fault] = false
			}
		}
		for name, force := range in {
			if force {
				t.Errorf("%s is in force, says the journal", name)
			}
		}
		if len(in) != 5 {
			t.Errorf("the journal has %v", in)
		}
	})
}
