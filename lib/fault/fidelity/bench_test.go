package fidelity_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/cmd"
	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// program builds tutti once, static, for the engine's image of it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tutti-fidelity-")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "tutti")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", exe, "github.com/tutti-bench/tutti/cmd/tutti")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if msg, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, msg)
	}
	return exe, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if exe, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(exe))
	}
	os.Exit(code)
}

// A bench is a target of meters, and a client beside it: this program, which reaches the nodes by the engine's bridge.
type bench struct {
	*testing.T
	driver  *docker.Driver
	cluster target.Cluster
	helpers *fault.Helpers
	facts   target.Facts
	kinds   fault.Kinds
	count   int
}

// newBench starts n meters, or skips.
func newBench(t *testing.T, n int) *bench {
	t.Helper()
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, kinds: cmd.Builtin().Faults}
	b.driver, err = docker.New(t.Context(), docker.Config{Executable: exe, Host: "fidelity"})
	if err == nil {
		t.Cleanup(func() { b.driver.Close() })
		b.facts, err = b.driver.Probe(t.Context())
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs a Docker engine: %v", err)
		}
		t.Skipf("needs a Docker engine: %v", err)
	}
	meter, err := filepath.Abs("meter")
	if err != nil {
		t.Fatal(err)
	}
	run := fmt.Sprintf("fidelity-%d", time.Now().UnixNano())
	b.probe(run)
	spec := target.Spec{
		Target: &target.Target{
			Name: "meters", Dir: filepath.Dir(meter),
			Networks: map[string]target.Network{"default": {Name: "default"}},
			Volumes:  map[string]target.Volume{"data": {Name: "data"}},
			Services: map[string]target.Service{"app": {
				Name: "app", Image: target.Image{Kind: target.ImageGo, Ref: meter}, Scale: n, Command: []string{"serve"},
				Networks: map[string]target.Attachment{"default": {}}, StopGrace: time.Second, MemoryLimit: 256 << 20,
				Mounts: []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}},
			}},
		},
		Run: run, Trial: "bench-1", Watch: func(target.NodeEvent) {}, Progress: func(m string) { t.Log(m) },
		Places:  map[string][]target.Place{"app": {target.InNetwork, target.InMachine, target.InNode, target.InProcesses, target.AtVolume, target.InDisk}},
		Bounded: map[string]int64{"data": 16 << 20},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if b.helpers != nil {
			_ = b.helpers.Close()
		}
		if b.cluster != nil {
			if err := b.cluster.Down(ctx); err != nil {
				t.Error(err)
			}
		}
		if found, err := b.driver.Sweep(ctx, run); err != nil || found > 0 {
			t.Errorf("the run left %d things on the engine: %v", found, err)
		}
		if _, err := b.driver.Prune(ctx); err != nil {
			t.Log(err)
		}
	})
	if _, err := b.driver.Prepare(t.Context(), spec.Target, spec.Progress); err != nil {
		t.Fatal(err)
	}
	if b.cluster, err = b.driver.Up(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	b.helpers = fault.NewHelpers(b.cluster)
	for _, n := range b.cluster.Nodes() {
		b.answers(n)
	}
	return b
}

// probe asks what the kernel can do where helpers run.
func (b *bench) probe(run string) {
	b.Helper()
	s, ok := any(b.driver).(target.Scratcher)
	if !ok {
		b.Fatal("the driver has no scratch place")
	}
	p, err := s.Scratch(b.Context(), run, target.InNetwork, "helper", "probe")
	if err != nil {
		b.Fatal(err)
	}
	h, err := agent.DialHelper(b.Context(), p)
	if err != nil {
		b.Fatal(err)
	}
	parts, err := h.Read(b.Context())
	if err = errors.Join(err, h.Close()); err != nil {
		b.Fatal(err)
	}
	b.facts.Primitives = make(map[string]target.Primitive)
	for name, raw := range parts {
		var p target.Primitive
		if err := json.Unmarshal(raw, &p); err != nil {
			b.Fatal(err)
		}
		b.facts.Primitives[name] = p
	}
}

// answers waits until a node's meter serves.
func (b *bench) answers(n target.Node) {
	b.Helper()
	for range 100 {
		if c, err := net.DialTimeout("tcp", n.Address+":8080", time.Second); err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatalf("%s (%s) never answered: is the engine's bridge reachable from here?", n.Name, n.Address)
}

// An injected fault is one in force.
type injected struct {
	*bench
	verb    string
	way     fault.Way
	effects []target.Effect
	revert  fault.Revert
}

// warmup lies between arming and firing, as in a trial: what arming and the fault before have stirred up is over by then.
const warmup = time.Second

// inject arms a verb and fires it at nodes.
func (b *bench) inject(verb string, p fault.Params, nodes ...target.Node) (*injected, error) {
	kind, ok := b.kinds[verb]
	if !ok {
		return nil, fmt.Errorf("no verb %s", verb)
	}
	w, err := kind.On(b.facts, p) // as the plan does
	if err != nil {
		return nil, err
	}
	f, err := kind.New(p)
	if err != nil {
		return nil, err
	}
	b.count++
	s := &fault.Site{
		Cluster: b.cluster, Name: fmt.Sprintf("%s-%d", verb, b.count), Way: w.Name, Helpers: b.helpers,
		Ready: func(context.Context) error { return nil }, Rand: rand.New(rand.NewPCG(uint64(b.count), 7)),
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if kind.Choose != nil {
		chosen, err := kind.Choose(p, b.cluster.Nodes())
		if err != nil {
			return nil, err
		}
		if chosen != nil {
			nodes = chosen
		}
	}
	if a, ok := f.(fault.Armer); ok {
		if err := a.Arm(ctx, s, nodes); err != nil {
			return nil, fmt.Errorf("arm: %w", err)
		}
	}
	time.Sleep(warmup)
	in := &injected{bench: b, verb: verb, way: w}
	in.effects, in.revert, err = f.Inject(ctx, s, nodes)
	if err != nil && in.revert != nil {
		_, _ = in.revert(context.WithoutCancel(ctx))
	}
	return in, err
}

// end undoes the fault and returns what its own proof says.
func (i *injected) end() []target.Effect {
	i.Helper()
	if i.revert == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	effects, err := i.revert(ctx)
	if err != nil {
		i.Errorf("undo %s: %v", i.verb, err)
	}
	return effects
}

// bracket is how wide the instant is in which a fault began at all of its nodes.
func (i *injected) bracket() time.Duration {
	var from, to time.Time
	for _, e := range i.effects {
		if from.IsZero() || e.From.Before(from) {
			from = e.From
		}
		if e.To.After(to) {
			to = e.To
		}
	}
	return to.Sub(from)
}

// A trip is one UDP packet there and back.
type trip struct {
	seq   uint32
	took  time.Duration
	whole bool // came back as it was sent
}

// trips sends n packets, rate a second, to a node's echo and returns those that came back, in their order.
func trips(ctx context.Context, address string, n int, rate float64) ([]trip, error) {
	c, err := net.Dial("udp", address+":9000")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if u, ok := c.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(8 << 20)
	}
	const size = 64
	sent := make([]time.Time, n)
	var mu sync.Mutex
	back := make(chan []trip, 1)
	go func() {
		var all []trip
		b := make([]byte, 1500)
		for {
			got, err := c.Read(b)
			now := time.Now()
			if errors.Is(err, syscall.ECONNREFUSED) {
				continue // an ICMP of a fault: the next one may come through
			}
			if err != nil {
				back <- all
				return
			}
			if got < 4 {
				continue
			}
			seq := binary.BigEndian.Uint32(b)
			if int(seq) >= n {
				continue
			}
			mu.Lock()
			at := sent[seq]
			mu.Unlock()
			all = append(all, trip{seq, now.Sub(at), got == size && strings.Count(string(b[4:size]), "x") == size-4})
		}
	}()
	b := []byte(strings.Repeat("x", size))
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if d := time.Until(due); d > 0 {
			time.Sleep(d)
		}
		binary.BigEndian.PutUint32(b, uint32(i))
		mu.Lock()
		sent[i] = time.Now()
		mu.Unlock()
		_, _ = c.Write(b) // refused by an ICMP of a fault: it counts as lost
		if ctx.Err() != nil {
			break
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	return <-back, ctx.Err()
}

// A spread sums durations up.
type spread struct {
	n                  int
	p50, p99, mean, sd time.Duration
}

func spreadOf(all []trip) spread {
	if len(all) == 0 {
		return spread{}
	}
	d := make([]time.Duration, len(all))
	var sum, squares float64
	for i, t := range all {
		d[i] = t.took
		sum += t.took.Seconds()
	}
	mean := sum / float64(len(d))
	for _, x := range d {
		squares += (x.Seconds() - mean) * (x.Seconds() - mean)
	}
	slices.Sort(d)
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return spread{
		n: len(d), p50: d[len(d)/2], p99: d[len(d)*99/100], mean: seconds(mean), sd: seconds(math.Sqrt(squares / float64(max(1, len(d)-1)))),
	}
}

// upload sends bytes to a node for a while and returns the rate at which they arrived, in bits of payload per second.
func upload(address string, d time.Duration) (float64, error) {
	c, err := net.DialTimeout("tcp", address+":9001", 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	end := time.Now().Add(d)
	b := make([]byte, 16<<10)
	_ = c.SetWriteDeadline(end)
	for time.Now().Before(end) {
		if _, err := c.Write(b); err != nil {
			break
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	var f struct {
		Bytes int64         `json:"bytes"`
		In    time.Duration `json:"in"`
	}
	if err := json.NewDecoder(c).Decode(&f); err != nil {
		return 0, err
	}
	return float64(f.Bytes) * 8 / f.In.Seconds(), nil
}

// download reads from a node for a while, the first second left out.
func download(address string, d time.Duration) (float64, error) {
	c, err := net.DialTimeout("tcp", address+":9002", 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	_ = c.SetReadDeadline(began.Add(d))
	b := make([]byte, 64<<10)
	var got int64
	var from, last time.Time
	for {
		n, err := c.Read(b)
		if now := time.Now(); n > 0 && now.Sub(began) > time.Second {
			if from.IsZero() {
				from = now
			} else {
				got += int64(n)
			}
			last = now
		}
		if err != nil {
			break
		}
	}
	return float64(got) * 8 / last.Sub(from).Seconds(), nil
}

// get asks a node's meter, on a connection of its own.
func get(n target.Node, path string, timeout time.Duration) (int, string, error) {
	c := &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + n.Address + ":8080" + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, strings.TrimSpace(string(b)), err
}

// outcome names what became of a connection as reports do.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "EOF"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

func numCPU() int { return runtime.NumCPU() }
