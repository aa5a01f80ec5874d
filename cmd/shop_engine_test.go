package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
)

const shopScenario = `
version: 1
name: shop
target:
  compose: [%[1]s/compose.yaml, %[1]s/compose.haproxy.yaml]
  ingress: http://lb:8080
  ready: {path: /readyz, within: 60s}
  nodes: app
  node_header: X-Node
load:
  rate: 50/s
  for: 20s
  warmup: 2s
  timeout: 2s
  requests:
    - {name: catalogue, GET: /, expect: {status: 200, contains: Catalogue}}
    - {name: order, POST: /orders, headers: {Idempotency-Key: "{{.Key}}"}, json: {product: 7, quantity: 1}, expect: {status: 201}}
faults: [{name: crash, at: 3s, kill: {service: app, replica: 1}, for: 4s}]
objectives:
  - target.availability >= 95%%
  - target.recovery{fault="crash"} <= 8s
repeats: 1
`

// Three nodes of the real shop, behind a real balancer and with real stores, outlive one of them, and it comes back.
func TestShopOutlivesANode(t *testing.T) {
	needEngine(t)
	needImages(t, "localhost/tutti/shop:parts", "localhost/tutti/haproxy:parts", "localhost/tutti/redis:parts", "localhost/tutti/postgres:parts")
	shop, err := filepath.Abs("../targets/shop")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "shop.yaml"), fmt.Sprintf(shopScenario, shop))
	out := filepath.Join(dir, "run")
	c := exec.Command(binary(t), "run", "--engine", "docker", "--out", out, filepath.Join(dir, "shop.yaml"))
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("tutti run: %v\n%s", err, b)
	}
	res, err := tutti.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	answered := func(from, to time.Duration) (nodes []string) {
		for _, s := range res.Trials[0].Seconds() {
			for node, n := range s.ByNode {
				if s.Start >= from && s.Start < to && n > 0 && !slices.Contains(nodes, node) {
					nodes = append(nodes, node)
				}
			}
		}
		slices.Sort(nodes)
		return nodes
	}
	all := []string{"app-1", "app-2", "app-3"}
	if got := answered(0, 3*time.Second); !slices.Equal(got, all) {
		t.Errorf("before the crash %v answered, want all three", got)
	}
	if got := answered(5*time.Second, 7*time.Second); !slices.Equal(got, all[1:]) {
		t.Errorf("while app-1 was dead %v answered, want the other two", got)
	}
	if got := answered(15*time.Second, 20*time.Second); !slices.Equal(got, all) {
		t.Errorf("at the end %v answered, want all three again", got)
	}
}

// needImages skips the test where an image has not been made. In CI that is a failure.
func needImages(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", name).CombinedOutput(); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("there is no image %s, and CI is set (make parts): %s", name, out)
			}
			t.Skipf("there is no image %s: make parts", name)
		}
	}
}
