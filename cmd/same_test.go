package cmd_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
)

const sameCompose = `
services:
  app:
    image: tutti
    command: [target, node, --delay=10ms, "--slow-share=${SHARE}", "--slow-delay=${SLOW:-0s}"]
    healthcheck:
      test: ["CMD", "/tutti", "target", "check", "http://127.0.0.1:8080/healthz"]
      interval: 1s
      start_period: 10s
      start_interval: 100ms
`

const sameScenario = `
version: 1
name: same
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {path: /healthz}, nodes: app, node_header: X-Node}
arms:
  a: {env: {SHARE: "0"}}
  b: {env: {SHARE: "%d", SLOW: %s}}
baseline: a
load: {rate: 100/s, for: 3s, warmup: 500ms, timeout: 1s, requests: [GET /]}
objectives: [{check: b.p90 <= a.p90, margin: 10%%}]
repeats: 8
`

func same(t *testing.T, share int, slow string) *rundir.Run {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "compose.yaml"), sameCompose)
	write(t, filepath.Join(dir, "same.yaml"), fmt.Sprintf(sameScenario, share, slow))
	out := filepath.Join(dir, "run")
	b, err := exec.Command(binary(t), "run", "--engine", "process", "--out", out, filepath.Join(dir, "same.yaml")).CombinedOutput()
	res, oerr := tutti.Open(out)
	if oerr != nil {
		t.Fatalf("tutti run: %v, %v\n%s", err, oerr, b)
	}
	o := res.Run.Objectives[0]
	t.Logf("%s: %s over %d blocks: %s", res.Run.Verdict, o.Text, o.N, o.Reason)
	return res.Run
}

// Two equal arms over 8 blocks do not fail on a margin of 10 %; with 40 % of one's requests delayed by 30 ms they do. By
// chance alone two equal arms fail in 2 of 100 runs (lib/slo simulates it), hence [measured].
func TestSameAndSlower(t *testing.T) {
	t.Run("A/A", func(t *testing.T) {
		measured(t, func(p *probe) {
			if r := same(t, 0, "0s"); r.Verdict == rundir.Fail {
				p.errorf("verdict %s on equal arms: %q", r.Verdict, r.Reasons)
			}
		})
	})
	t.Run("40 % slower by 30 ms", func(t *testing.T) {
		measured(t, func(p *probe) {
			if r := same(t, 40, "30ms"); r.Verdict != rundir.Fail || r.ExitCode != 10 {
				p.errorf("verdict %s, exit code %d, want fail and 10: %q", r.Verdict, r.ExitCode, r.Reasons)
			}
		})
	})
}
