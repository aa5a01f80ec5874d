package cmd_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Every family of faults at once, each on a node of its own, from the first second to the end.
const leaseScenario = `
version: 1
name: lease
target: {compose: compose.yaml, ingress: "http://lb:8080", nodes: app, node_header: X-Node}
load: {rate: 60/s, for: 8s, warmup: 500ms, timeout: 2s, requests: [GET /]}
faults:
  - {name: f1, at: 1s, blackhole: {service: app, replica: 1}}
  - {name: f2, at: 1s, latency: {service: app, replica: 2, delay: 400ms}}
  - {name: f3, at: 1s, refuse: {service: app, replica: 3}}
  - {name: f4, at: 1s, bandwidth: {service: app, replica: 4, rate: 1mbit}}
  - {name: f5, at: 1s, pause: {service: app, replica: 5}}
objectives: [target.availability >= 1%]
repeats: 1
`

const leaseCompose = `
services:
  lb:
    image: tutti
    command: [target, balancer, --to=http://app:8080, --check=/healthz]
  app:
    image: tutti
    command: [target, node]
    scale: 6
`

// A leased is a container of the run.
type leased struct {
	ID, Name, Role, Address string
	Of                      string // the container whose network it shares
}

// leases lists a run's containers, by the label that its cache folder stands for.
func leases(t *testing.T, cache string) []leased {
	t.Helper()
	label := hostLabel(t, cache)
	if label == "" {
		return nil
	}
	ids, err := exec.Command("docker", "ps", "-q", "--no-trunc", "--filter", label).Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.Fields(string(ids))) == 0 {
		return nil
	}
	out, _ := exec.Command("docker", append([]string{"inspect"}, strings.Fields(string(ids))...)...).Output() // one may have gone meanwhile
	var all []struct {
		ID, Name   string
		Config     struct{ Labels map[string]string }
		HostConfig struct{ NetworkMode string }

		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("docker inspect: %v: %s", err, out)
	}
	var found []leased
	for _, c := range all {
		l := leased{ID: c.ID, Name: c.Name, Role: c.Config.Labels["bench.tutti.role"]}
		l.Of, _ = strings.CutPrefix(c.HostConfig.NetworkMode, "container:")
		for _, n := range c.NetworkSettings.Networks {
			l.Address = n.IPAddress
		}
		found = append(found, l)
	}
	return found
}

// hostLabel is the label that is on all that runs with this cache folder make; "" before there is one.
func hostLabel(t *testing.T, cache string) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile(filepath.Join(cache, "host-id-"+filepath.Base(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return "label=bench.tutti.host=" + strings.TrimSpace(string(id))
}

// connects reports whether a node accepts a connection as one without a fault does.
func connects(address string) bool {
	c, err := net.DialTimeout("tcp", address+":8080", 250*time.Millisecond)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// Whoever is killed, and whenever, a fault ends: those of the kernel and of streams within a second, the others within 15 s, and nothing is left.
// TUTTI_LEASES says how often; `make leases` has 200.
func TestLeases(t *testing.T) {
	needEngine(t)
	n, err := strconv.Atoi(os.Getenv("TUTTI_LEASES"))
	if err != nil {
		n = 3
	}
	var tally leaseTally
	lanes := min(3, (n+9)/10) // beside each other, where there are many: what is killed is one's own
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for i := lane; i < n && !tally.hopeless(); i += lanes {
				lease(t, i+1, []string{"harness", "helper", "agent"}[i/lanes%3], &tally)
			}
		})
	}
	all.Wait()
	t.Logf("%d kills, %d of them in the middle of a fault; the slowest end of a network fault %v after the kill, of all things %v",
		tally.kills, tally.inForce, tally.network.Round(time.Millisecond), tally.all.Round(10*time.Millisecond))
}

// A leaseTally is what became of all kills.
type leaseTally struct {
	mu                     sync.Mutex
	kills, inForce, failed int
	network, all           time.Duration
}

// add counts one kill: how long a network fault outlived it, negative if none was in force, and everything else.
func (l *leaseTally) add(network, all time.Duration, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills++
	if network >= 0 {
		l.inForce++
	}
	if failed {
		l.failed++
	}
	l.network, l.all = max(l.network, network), max(l.all, all)
}

// hopeless reports whether going on would only say the same again.
func (l *leaseTally) hopeless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed > 5
}

func lease(t *testing.T, number int, victim string, tally *leaseTally) {
	t.Helper()
	dir, cache := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "compose.yaml"), leaseCompose)
	write(t, filepath.Join(dir, "lease.yaml"), leaseScenario)
	h := &harness{out: filepath.Join(dir, "run"), cache: cache, lines: new(lines)}
	h.Cmd = exec.Command(binary(t), "run", "--engine", "docker", "--out", h.out, filepath.Join(dir, "lease.yaml"))
	h.Env = append(os.Environ(), "TUTTI_CACHE="+cache)
	h.Stdout, h.Stderr = h.lines, h.lines
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Process.Kill() })
	h.await(t, "warm-up")
	time.Sleep(time.Duration(rand.Int64N(int64(6 * time.Second)))) // from before the faults to well into them
	before := leases(t, cache)
	faulty := make(map[string]leased) // nodes with a network fault, by their container
	for _, l := range before {
		for _, r := range []string{"app-1", "app-2", "app-3"} {
			if l.Role == "node" && strings.HasSuffix(l.Name, r) {
				faulty[l.ID] = l
			}
		}
	}
	hit := 0
	for _, l := range faulty {
		if !connects(l.Address) {
			hit++
		}
	}
	struck, ended := strike(t, h, victim, before)
	if struck == "" {
		t.Logf("kill %d: there was no %s to kill", number, victim)
	}
	network := time.Duration(-1)
	if hit > 0 && struck != "" {
		network = heal(t, number, victim, struck, ended, faulty)
	}
	_ = h.Wait()
	if victim != "harness" { // it ends by itself, whatever it says
		ended = time.Now()
	}
	for len(onEngine(t.Context(), t, cache))+len(children(t, cache)) > 0 && time.Since(ended) < 15*time.Second {
		time.Sleep(100 * time.Millisecond)
	}
	left := append(onEngine(t.Context(), t, cache), children(t, cache)...)
	if len(left) > 0 {
		t.Errorf("kill %d (%s): left after 15 s: %q", number, struck, left)
	}
	tally.add(network, time.Since(ended), len(left) > 0)
	told, _ := os.ReadFile(filepath.Join(h.out, "run.json"))                                                           // there is none where the harness was killed
	lost := strings.Contains(string(told), record.EndedLost) || strings.Contains(string(told), "the helper has ended") // the latter where it was being undone
	if victim == "helper" && network >= 0 && !lost {
		t.Errorf("kill %d: nobody tells that %s was lost\n%s", number, struck, h.lines)
	}
	t.Logf("kill %d: %s, %d nodes unreachable; the run ended with %d", number, victim, hit, h.ProcessState.ExitCode())
}

// strike kills one of those that keep faults up, and says which.
func strike(t *testing.T, h *harness, victim string, all []leased) (struck string, at time.Time) {
	t.Helper()
	if victim == "harness" {
		at = time.Now()
		if err := h.Process.Signal(syscall.SIGKILL); err != nil {
			return "", time.Now()
		}
		return "the harness", at
	}
	var of []leased
	for _, l := range all {
		if l.Role == victim {
			of = append(of, l)
		}
	}
	if len(of) == 0 {
		return "", time.Now()
	}
	l := of[rand.IntN(len(of))]
	at = time.Now()
	if out, err := exec.Command("docker", "kill", l.ID).CombinedOutput(); err != nil {
		t.Logf("docker kill %s: %s", l.Name, out)
		return "", time.Now()
	}
	return l.Of + l.Name, at
}

// heal waits until the network faults have ended that must have ended: all of them where the harness was killed, the
// helper's own where that was. A node that is gone has none. It returns how long after the kill the slowest ended.
func heal(t *testing.T, number int, victim, struck string, at time.Time, faulty map[string]leased) time.Duration {
	t.Helper()
	const bound = time.Second
	slowest := make(chan time.Duration, len(faulty))
	for id, l := range faulty {
		if victim == "agent" || victim == "helper" && !strings.HasPrefix(struck, id) {
			slowest <- 0
			continue
		}
		go func() {
			took := time.Duration(0)
			for healed := connects(l.Address); !healed; healed = connects(l.Address) {
				if took = time.Since(at); took < bound {
					continue
				}
				if out, err := exec.Command("docker", "inspect", "-f", "{{.State.Running}}", id).Output(); err != nil || strings.TrimSpace(string(out)) != "true" {
					took = 0 // it is gone
				} else if !connects(l.Address) {
					t.Errorf("kill %d (%s): the fault of %s is still in force after %v", number, struck, l.Name, took)
				}
				break
			}
			slowest <- took
		}()
	}
	var worst time.Duration
	for range faulty {
		worst = max(worst, <-slowest)
	}
	return worst
}
