package cmd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
)

const etcdScenario = `
version: 1
name: etcd
target:
  compose: %s
  ingress: http://gateway:8080
  ready: {path: /readyz, within: 60s}
  nodes: etcd
  node_header: X-Node
load:
  rate: 50/s
  for: 16s
  warmup: 1s
  timeout: 2s
  requests:
    - {name: write, weight: 3, PUT: "/kv/{{.Key}}", body: "{{.Value}}"}
    - {name: read, GET: /kv/ready}
verify: [{of: write, read: "GET /kv/{{.Key}}", body: "{{.Value}}", within: 10s}]
faults:
  - name: dies
    at: 4s
    kill: {service: etcd, role: {get: "http://:2379/metrics", contains: "etcd_server_is_leader 1"}}
objectives: [target.lost_writes <= 0]
repeats: 1
`

// A real store outlives its leader, and the whole chain shows it: the role finds the member that leads, another one leads
// while it is dead, clients are served by it, and nothing that was acknowledged is lost.
func TestStoresOutliveTheLeaderOfEtcd(t *testing.T) {
	needEngine(t)
	needImages(t, "localhost/tutti/etcd:parts", "localhost/tutti/stores:parts")
	compose, err := filepath.Abs("../targets/stores/etcd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etcd.yaml"), fmt.Sprintf(etcdScenario, compose))
	out := filepath.Join(dir, "run")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary(t), "run", "--engine", "docker", "--out", out, filepath.Join(dir, "etcd.yaml"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // it takes its containers with it
	c.WaitDelay = 30 * time.Second
	said, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("tutti run: %v\n%s", err, said)
	}
	res, err := tutti.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	tr := res.Trials[0]
	f := tr.Rec.Faults[0]
	if len(f.Nodes) != 1 || f.Onset == nil {
		t.Fatalf("the fault hit %v", f.Nodes)
	}
	// Answers name the leader: first the one that dies, then another.
	led := make(map[string]uint64)
	for _, s := range tr.Seconds() {
		for node, n := range s.ByNode {
			if s.Start > f.Onset.To+5*time.Second && n > 0 {
				led[node] += n
			}
		}
	}
	if len(led) != 1 || led[f.Nodes[0]] > 0 {
		t.Errorf("5 s after %v died, answers name as leader %v", f.Nodes, led)
	}
	during := tr.Metric(analysis.Ref{Metric: "availability", Phase: analysis.During})
	if during.State != analysis.OK || during.V < 0.5 {
		t.Errorf("availability with the leader dead is %v (%s): nobody followed", during.V, during.State)
	}
	if count(t, tr, "lost_writes") != 0 || count(t, tr, "acknowledged_writes") < 300 {
		t.Errorf("%+v", tr.Rec.Writes)
	}
	if t.Failed() {
		t.Logf("%s", said)
	}
}
