package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/target/compose"
)

const (
	upLimit  = 2 * time.Minute
	settle   = 90 * time.Second // for a quorum to be found, a database to be made
	retry    = 500 * time.Millisecond
	grace    = 30 * time.Second
	execTime = 20 * time.Second
)

// TestParts starts every part with the docker driver and talks to each with its own tools.
func TestParts(t *testing.T) {
	h := start(t)
	t.Run("talk", func(t *testing.T) {
		for name, talk := range map[string]func(*testing.T, *hall){
			"haproxy": haproxy, "nginx": nginx, "redis": redis, "sentinel": sentinel, "postgres": postgres,
			"patroni": patroni, "etcd": etcd, "consul": consul, "zookeeper": zookeeper,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				talk(t, h)
			})
		}
	})
	t.Run("root", h.nobodyIsRoot)
	t.Run("stop", h.allStop)
}

// hall is where the parts play.
type hall struct {
	cluster target.Cluster
}

// start starts the target of testdata, or skips.
func start(t *testing.T) *hall {
	t.Helper()
	lacking := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	exe := filepath.Join(t.TempDir(), "tutti")
	d, err := docker.New(t.Context(), docker.Config{Executable: exe, Host: "test-" + t.Name()})
	if err == nil {
		t.Cleanup(func() { d.Close() })
		_, err = d.Probe(t.Context())
	}
	if err != nil {
		lacking("needs a Docker engine: %v", err)
	}
	for _, p := range parts() {
		id, _, err := engine{}.image(t.Context(), p.image())
		if err != nil {
			t.Fatal(err)
		}
		if id == "" {
			lacking("needs the image %s: make parts", p.image())
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", exe, "../../cmd/tutti")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the harness: %v\n%s", err, out)
	}
	tg, err := compose.Load(t.Context(), compose.Options{Files: []string{"compose.yaml"}, Dir: "testdata"})
	if err != nil {
		t.Fatal(err)
	}
	return &hall{cluster: up(t, d, tg)}
}

// up starts a target. What is left of it when the test ends is an error.
func up(t *testing.T, d *docker.Driver, tg *target.Target) target.Cluster {
	t.Helper()
	run := fmt.Sprintf("t%d-parts", time.Now().UnixNano())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if found, err := d.Sweep(ctx, run); err != nil || found > 0 {
			t.Errorf("the test left %d things on the engine (%v)", found, err)
		}
		if _, err := (engine{}).ask(ctx, "image", "rm", ownImage(t, d, tg)); err != nil {
			t.Logf("the image of our own program stays: %v", err) // another test uses it
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), upLimit)
	defer cancel()
	began := time.Now()
	c, err := d.Up(ctx, target.Spec{Target: tg, Run: run, Trial: "Parts-1", LogDir: t.TempDir(), Progress: func(m string) { t.Log(m) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("all %d nodes run after %.1f s", len(c.Nodes()), time.Since(began).Seconds())
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ownImage is the image that the driver has made of our program.
func ownImage(t *testing.T, d *docker.Driver, tg *target.Target) string {
	t.Helper()
	digests, err := d.Prepare(context.Background(), tg, nil)
	if err != nil {
		t.Error(err)
	}
	return digests["app"]
}

// run runs a command in a node and returns its output.
func (h *hall) run(ctx context.Context, node string, command ...string) (string, error) {
	nodes := h.cluster.Nodes()
	i := slices.IndexFunc(nodes, func(n target.Node) bool { return n.Name == node })
	if i < 0 {
		return "", fmt.Errorf("there is no node %s", node)
	}
	ctx, cancel := context.WithTimeout(ctx, execTime)
	defer cancel()
	x, err := h.cluster.(target.Execer).Exec(ctx, nodes[i], command)
	if err != nil {
		return "", err
	}
	if x.Code != 0 {
		return "", fmt.Errorf("%s: %q ends with %d: %s", node, command, x.Code, x.Output)
	}
	return strings.TrimSpace(x.Output), nil
}

// say sends one line, or several, over TCP from inside a node and returns the answer.
func (h *hall) say(ctx context.Context, node, host, port, text string) (string, error) {
	return h.run(ctx, node, "bash", "-c", `exec 3<>"/dev/tcp/$0/$1" && printf "$2" >&3 && cat <&3`, host, port, text)
}

// get is a GET by HTTP.
func (h *hall) get(ctx context.Context, node, host, port, path string) (head, body string, err error) {
	answer, err := h.say(ctx, node, host, port, "GET "+path+` HTTP/1.0\r\nHost: tutti\r\n\r\n`)
	head, body, _ = strings.Cut(answer, "\r\n\r\n")
	return head, body, err
}

// eventually tries until there is no error, for as long as a program may take to settle.
func eventually(t *testing.T, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	began := time.Now()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			t.Logf("after %.1f s", time.Since(began).Seconds())
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			t.Fatalf("not within %v: %v", settle, last)
		}
	}
}

// says expects text in a command's output, at last.
func (h *hall) says(t *testing.T, want, node string, command ...string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		out, err := h.run(ctx, node, command...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%s: %q says %q, want %q", node, command, out, want)
		}
		return err
	})
}

// version expects what the image's label says of a program from that program.
func (h *hall) version(t *testing.T, name, says string) {
	t.Helper()
	p, err := chosen([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	label := versionLabel(t, p[len(p)-1])
	first, _, _ := strings.Cut(label, ",")
	number := strings.TrimPrefix(first, name+" ")
	if number == first || number == "" || !strings.Contains(says, number) {
		t.Errorf("the image's label says %q, and the program %q", label, says)
	}
}

func versionLabel(t *testing.T, p part) string {
	t.Helper()
	_, labels, err := engine{}.image(t.Context(), p.image())
	if err != nil {
		t.Fatal(err)
	}
	return labels[labelVersion]
}

// balances expects answers of both nodes behind a balancer.
func (h *hall) balances(t *testing.T, balancer string) {
	t.Helper()
	nodes := make(map[string]bool)
	eventually(t, func(ctx context.Context) error {
		for range 4 {
			head, _, err := h.get(ctx, balancer, "127.0.0.1", "8080", "/")
			if err != nil {
				return err
			}
			if !strings.Contains(head, " 200 ") {
				return fmt.Errorf("%s answers %q", balancer, head)
			}
			for line := range strings.Lines(head) {
				if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "X-Node") {
					nodes[strings.TrimSpace(value)] = true
				}
			}
		}
		if len(nodes) != 2 {
			return fmt.Errorf("the nodes that answer through %s are %v, want two", balancer, nodes)
		}
		return nil
	})
}

func haproxy(t *testing.T, h *hall) {
	t.Helper()
	h.balances(t, "haproxy-1")
	says, err := h.run(t.Context(), "haproxy-1", "haproxy", "-v")
	if err != nil {
		t.Error(err)
	}
	h.version(t, "haproxy", says)
}

func nginx(t *testing.T, h *hall) {
	t.Helper()
	h.balances(t, "nginx-1")
	says, err := h.run(t.Context(), "nginx-1", "nginx", "-v")
	if err != nil {
		t.Error(err)
	}
	h.version(t, "nginx", says)
}

func redis(t *testing.T, h *hall) {
	t.Helper()
	h.says(t, "OK", "redis-1", "redis-cli", "SET", "tune", "tuba")
	// From another container: protected mode would refuse that.
	h.says(t, "tuba", "sentinel-1", "redis-cli", "-h", "redis", "GET", "tune")
	says, err := h.run(t.Context(), "redis-1", "redis-cli", "INFO", "server")
	if err != nil {
		t.Error(err)
	}
	h.version(t, "redis", says)
}

func sentinel(t *testing.T, h *hall) {
	t.Helper()
	h.says(t, "6379", "sentinel-1", "redis-cli", "-p", "26379", "SENTINEL", "get-master-addr-by-name", "main")
	h.says(t, "status=ok", "sentinel-1", "redis-cli", "-p", "26379", "INFO", "sentinel")
}

func postgres(t *testing.T, h *hall) {
	t.Helper()
	// By name, so that the password counts.
	const at = "postgresql://shop:secret@postgres/stock"
	h.says(t, "tuba", "postgres-1", "psql", "-At", "-c", "SELECT name FROM item", at)
	if out, err := h.run(t.Context(), "postgres-1", "psql", "-At", "-c", "SELECT 1", "postgresql://shop:wrong@postgres/stock"); err == nil {
		t.Errorf("a wrong password is let in: %s", out)
	}
	says, err := h.run(t.Context(), "postgres-1", "psql", "-At", "-c", "SELECT current_setting('max_connections') || ' ' || version()", at)
	if err != nil || !strings.HasPrefix(says, "20 ") {
		t.Errorf("the flag for max_connections is not in force: %q (%v)", says, err)
	}
	h.version(t, "postgres", says)
}

func patroni(t *testing.T, h *hall) {
	t.Helper()
	type member struct{ Name, Role, State, Host string }
	var leaders, replicas []member
	eventually(t, func(ctx context.Context) error {
		_, body, err := h.get(ctx, "patroni-1", "127.0.0.1", "8008", "/cluster")
		if err != nil {
			return err
		}
		var cluster struct{ Members []member }
		if err := json.Unmarshal([]byte(body), &cluster); err != nil {
			return fmt.Errorf("read %q: %w", body, err)
		}
		leaders, replicas = nil, nil
		for _, m := range cluster.Members {
			switch {
			case m.Role == "leader" && m.State == "running":
				leaders = append(leaders, m)
			case m.State == "streaming":
				replicas = append(replicas, m)
			}
		}
		if len(leaders) != 1 || len(replicas) != 1 {
			return fmt.Errorf("the cluster is %+v, want a leader and a replica that streams", cluster.Members)
		}
		return nil
	})
	at := func(m member) string { return "postgresql://postgres:secret@" + m.Host + "/postgres" }
	if _, err := h.run(t.Context(), "patroni-1", "psql", "-c", "CREATE TABLE item AS SELECT 'tuba' AS name", at(leaders[0])); err != nil {
		t.Fatal(err)
	}
	h.says(t, "tuba", "patroni-1", "psql", "-At", "-c", "SELECT name FROM item", at(replicas[0]))
	says, err := h.run(t.Context(), "patroni-1", "patroni", "--version")
	if err != nil {
		t.Error(err)
	}
	h.version(t, "patroni", says)
	_, config, err := h.get(t.Context(), "patroni-1", "127.0.0.1", "8008", "/config")
	if err != nil || !strings.Contains(strings.ReplaceAll(config, " ", ""), `"ttl":20`) {
		t.Errorf("PATRONI_DCS_TTL is not in force: %s (%v)", config, err)
	}
}

func etcd(t *testing.T, h *hall) {
	t.Helper()
	h.says(t, "OK", "etcd1-1", "etcdctl", "put", "tune", "tuba")
	h.says(t, "tuba", "etcd3-1", "etcdctl", "get", "tune")
	says, err := h.run(t.Context(), "etcd2-1", "etcd", "--version")
	if err != nil {
		t.Error(err)
	}
	h.version(t, "etcd", says)
}

func consul(t *testing.T, h *hall) {
	t.Helper()
	h.says(t, "Success", "consul-1", "consul", "kv", "put", "tune", "tuba")
	h.says(t, "tuba", "consul-3", "consul", "kv", "get", "tune")
	says, err := h.run(t.Context(), "consul-2", "consul", "version")
	if err != nil {
		t.Error(err)
	}
	h.version(t, "consul", says)
}

func zookeeper(t *testing.T, h *hall) {
	t.Helper()
	var says string
	eventually(t, func(ctx context.Context) error {
		var err error
		if says, err = h.say(ctx, "zoo1-1", "127.0.0.1", "2181", "ruok"); err != nil || says != "imok" {
			return fmt.Errorf("ruok is answered by %q (%w)", says, err)
		}
		if says, err = h.say(ctx, "zoo1-1", "127.0.0.1", "2181", "srvr"); err != nil || !strings.Contains(says, "Mode: ") {
			return fmt.Errorf("srvr is answered by %q (%w)", says, err)
		}
		return nil
	})
	h.version(t, "zookeeper", says)
	h.says(t, "Created /tune", "zoo1-1", "zkCli.sh", "-server", "zoo2:2181", "create", "/tune", "tuba")
	h.says(t, "tuba", "zoo1-1", "zkCli.sh", "-server", "zoo3:2181", "get", "/tune")
}

// nobodyIsRoot looks at who runs the first process of every part.
func (h *hall) nobodyIsRoot(t *testing.T) {
	for _, n := range h.parts() {
		out, err := h.run(t.Context(), n.Name, "grep", "^Uid:", "/proc/1/status")
		if f := strings.Fields(out); err != nil || len(f) < 2 || f[1] == "0" {
			t.Errorf("%s runs as %q (%v), want another user than root", n.Name, out, err)
		}
	}
}

// allStop ends every part by its stop signal: a shell in between would swallow it.
func (h *hall) allStop(t *testing.T) {
	stopper := h.cluster.(target.Stopper)
	var all errgroup.Group
	var mu sync.Mutex
	for _, n := range h.parts() {
		all.Go(func() error {
			e, err := stopper.Stop(t.Context(), n, grace)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || strings.Contains(e.Proof, "137") {
				return errors.Join(err, fmt.Errorf("%s ends with %q, not by its signal", n.Name, e.Proof))
			}
			t.Logf("%s: %s after %.1f s", n.Name, e.Proof, e.To.Sub(e.From).Seconds())
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

func (h *hall) parts() []target.Node {
	return slices.DeleteFunc(h.cluster.Nodes(), func(n target.Node) bool { return n.Service == "app" })
}
