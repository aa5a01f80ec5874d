package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/target"
)

// role makes the test's own program play an agent, good or bad.
const role = "TUTTI_TEST_AGENT"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "good":
		if err := agent.Serve(context.Background(), os.Stdin, os.Stdout, new(httpload.Generator)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "silent":
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "stranger":
		fmt.Println("hello, world")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "newer":
		fmt.Println(`{"hello": 999}`)
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "endless line":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				os.Exit(1)
			}
		}
	case "broken":
		fmt.Fprintln(os.Stderr, "no such plan")
		os.Exit(3)
	}
}

func TestLoad(t *testing.T) {
	s := serve(t, &loadtest.Server{FailEvery: 10, Delay: 5 * time.Millisecond})
	c := dial(t, start(t, "good"))
	p := plan(s, 500, time.Second)
	p.Schedule.Warmup = 200 * time.Millisecond
	var zero time.Time
	before := time.Now()
	bins := make(map[int]record.Bin)
	g, err := c.Load(t.Context(), p, func(z time.Time) { zero = z }, func(b record.Bin) { bins[b.Index] = b })
	if err != nil {
		t.Fatal(err)
	}
	if !g.Complete || g.Scheduled != 600 || g.Counted != 600 || g.CPU <= 0 || g.MaxRSS == 0 || g.Inflight < 1 {
		t.Errorf("generator: %+v", g)
	}
	if g.Engine != "attack" || g.Agents != 1 || g.Cores <= 0 || g.Took < 1200*time.Millisecond || g.Goroutines < 3 ||
		runtime.GOOS == "linux" && (g.Files < 4 || g.MaxFiles < g.Files) || g.GCs == 0 != (g.GCPause == 0) || g.GCMaxPause > g.GCPause {
		t.Errorf("the generator about itself: %+v", g)
	}
	if zero.Before(before) || zero.After(time.Now()) {
		t.Errorf("zero %v is not between %v and now", zero, before)
	}
	if len(bins) != 12 {
		t.Errorf("%d bins, want 12", len(bins))
	}
	due, good, class := uint64(0), uint64(0), make(map[record.Class]uint64)
	for i, b := range bins {
		if i < -2 || i > 9 || b.Due != 50 {
			t.Errorf("bin %d has %d requests due", i, b.Due)
		}
		due, good = due+b.Due, good+b.Good
		for _, cell := range b.Cells {
			class[cell.Class] += cell.Count
		}
	}
	if due != 600 || good != 540 || class[record.OK] != 540 || class[record.Wrong] != 60 {
		t.Errorf("%d due, %d good, %v", due, good, class)
	}
	if n := len(s.Log()); n != 600 {
		t.Errorf("the server saw %d requests", n)
	}
	checkClose(t, c)
}

func TestLoadTwiceAndAtOnce(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	c := dial(t, start(t, "good"))
	started := make(chan bool)
	first := make(chan error)
	p := plan(s, 100, 300*time.Millisecond)
	go func() {
		_, err := c.Load(t.Context(), p, func(time.Time) { close(started) }, func(record.Bin) {})
		first <- err
	}()
	<-started
	if _, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err == nil || !strings.Contains(err.Error(), "another load") {
		t.Errorf("a second load at the same time: %v", err)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
	if g, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err != nil || !g.Complete {
		t.Errorf("a second load after the first: %+v, %v", g, err)
	}
	checkClose(t, c)
}

func TestLoadIsBrokenOff(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: time.Minute})
	c := dial(t, start(t, "good"))
	p := plan(s, 100, time.Minute)
	p.Timeout = 30 * time.Second
	ctx, cancel := context.WithCancel(t.Context())
	g, err := c.Load(ctx, p, func(time.Time) { time.AfterFunc(100*time.Millisecond, cancel) }, func(record.Bin) {})
	if !errors.Is(err, context.Canceled) || g.Complete || g.Scheduled != 6000 || g.Counted >= 6000 {
		t.Errorf("%+v, %v", g, err)
	}
	n := len(s.Log())
	time.Sleep(50 * time.Millisecond)
	if now := len(s.Log()); now != n {
		t.Errorf("%d requests arrived after the end", now-n)
	}
	if err := c.Probe(t.Context(), agent.Probe{URL: "http://x", Dial: s.Address()}); err != nil {
		t.Errorf("the agent is of no more use: %v", err)
	}
	checkClose(t, c)
}

func TestLoadThatCannotBeSent(t *testing.T) {
	c := dial(t, start(t, "good"))
	p := plan(serve(t, new(loadtest.Server)), 100, time.Second)
	for what, spoil := range map[string]func(*load.Plan){
		"rate":     func(p *load.Plan) { p.Schedule = schedule.Constant(0, 0, time.Second) },
		"template": func(p *load.Plan) { p.Requests = []load.Request{{Path: "/{{"}} },
	} {
		p := p
		spoil(&p)
		if _, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	checkClose(t, c)
}

func TestCloseDuringLoad(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: time.Minute})
	c := dial(t, start(t, "good"))
	p := plan(s, 100, time.Minute)
	closed := make(chan error)
	_, err := c.Load(t.Context(), p, func(time.Time) { go func() { closed <- c.Close() }() }, func(record.Bin) {})
	if err == nil {
		t.Error("a load that was broken off has no error")
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestProbe(t *testing.T) {
	ok := serve(t, &loadtest.Server{})
	bad := serve(t, &loadtest.Server{FailEvery: 1})
	frozen := serve(t, &loadtest.Server{Delay: time.Minute})
	gone := serve(t, &loadtest.Server{})
	_ = gone.Close()
	verbose := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("header"))
		w.Header().Set("X-Words", strings.Repeat("w", size))
	}))
	defer verbose.Close()
	prior := serve(t, &loadtest.Server{HTTP2: true})
	encrypted := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 && r.URL.Path == "/two" {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
	}))
	encrypted.EnableHTTP2 = true
	encrypted.StartTLS()
	defer encrypted.Close()
	trust := &load.TLS{CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encrypted.Certificate().Raw}))}
	c := dial(t, start(t, "good"))
	for _, x := range []struct {
		what  string
		probe agent.Probe
		want  string
	}{
		{"connect", agent.Probe{URL: "http://" + ok.Address()}, ""},
		{"get", agent.Probe{URL: "http://" + ok.Address() + "/", Path: "/ready?x=1"}, ""},
		{"pinned", agent.Probe{URL: "http://no-such-name.invalid", Dial: ok.Address(), Path: "/"}, ""},
		{"status", agent.Probe{URL: "http://" + bad.Address(), Path: "/"}, "status 500"},
		{"frozen", agent.Probe{URL: "http://" + frozen.Address(), Path: "/", Timeout: 50 * time.Millisecond}, "deadline"},
		{"frozen, connect", agent.Probe{URL: "http://" + frozen.Address()}, ""},
		{"nobody", agent.Probe{URL: "http://" + gone.Address()}, "refused"},
		{"header", agent.Probe{URL: verbose.URL, Path: "/?header=50000"}, ""},
		{"header without end", agent.Probe{URL: verbose.URL, Path: "/?header=1000000"}, "exceeded"},
		{"no host", agent.Probe{URL: "/"}, "want one such as"},
		{"HTTP/2 by prior knowledge", agent.Probe{URL: "http://" + prior.Address() + "/", Path: "/", HTTP2: true}, ""},
		{"HTTP/1.1 where HTTP/2 is", agent.Probe{URL: "http://" + prior.Address() + "/", Path: "/"}, "probe: GET"},
		{"TLS", agent.Probe{URL: encrypted.URL, Path: "/", TLS: trust}, ""},
		{"TLS and HTTP/2", agent.Probe{URL: encrypted.URL, Path: "/two", TLS: trust, HTTP2: true}, ""},
		{"TLS and not HTTP/2", agent.Probe{URL: encrypted.URL, Path: "/two", TLS: trust}, "status 505"},
		{"stranger's certificate", agent.Probe{URL: encrypted.URL, Path: "/"}, "certificate"},
		{"any certificate", agent.Probe{URL: encrypted.URL, Path: "/", TLS: &load.TLS{Insecure: true}}, ""},
		{"other name", agent.Probe{URL: encrypted.URL, Path: "/", TLS: &load.TLS{CA: trust.CA, ServerName: "a.example"}}, "a.example"},
		{"no such name", agent.Probe{URL: "http://no-such-name.invalid"}, "no-such-name"},
	} {
		err := c.Probe(t.Context(), x.probe)
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v, want %q", x.what, err, x.want)
		}
	}
	if log := ok.Log(); len(log) != 2 || log[0].Path != "/ready?x=1" {
		t.Errorf("the server saw %+v", log)
	}
	checkClose(t, c)
}

// What a URL has to say comes back as it is, however bad its status, and cut where it is endless.
func TestFetch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not \xff me"))
		case "/moved":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/endless":
			for block := make([]byte, 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/verbose":
			w.Header().Set("X-Words", strings.Repeat("w", 1e6))
		case "/silent":
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	c := dial(t, start(t, "good"))
	fetch := func(path string) (agent.Fetched, error) {
		return c.Fetch(t.Context(), agent.Fetch{URL: s.URL + path, Timeout: 2 * time.Second})
	}
	if f, err := fetch("/bad"); err != nil || f.Status != 503 || string(f.Body) != "not \xff me" {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := fetch("/moved"); err != nil || f.Status != 302 {
		t.Errorf("a redirect was followed: %+v, %v", f, err)
	}
	if f, err := fetch("/endless"); err != nil || len(f.Body) != agent.MaxFetched {
		t.Errorf("%d bytes of an endless answer, %v", len(f.Body), err)
	}
	if f, err := fetch("/verbose"); err == nil || !strings.Contains(err.Error(), "exceeded") {
		t.Errorf("a header of a million bytes: %d, %v", f.Status, err)
	}
	if f, err := fetch("/silent"); err == nil {
		t.Errorf("%+v of one that says nothing", f)
	}
	if _, err := c.Fetch(t.Context(), agent.Fetch{URL: "http://:1/"}); err == nil || !strings.Contains(err.Error(), "names no host") {
		t.Errorf("without a host: %v", err)
	}
	checkClose(t, c)
}

func TestResolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts.json")
	if err := os.WriteFile(file, []byte(`{"lb": ["127.9.1.2", "127.9.1.3"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	c := dial(t, start(t, "good", target.EnvHosts+"="+file))
	for host, want := range map[string][]string{
		"lb":        {"127.9.1.2", "127.9.1.3"},
		"lb:80":     {"127.9.1.2:80", "127.9.1.3:80"},
		"127.0.0.1": {"127.0.0.1"},
	} {
		if got, err := c.Resolve(t.Context(), host); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", host, got, err, want)
		}
	}
	for _, host := range []string{"", "no-such-name.invalid"} {
		if got, err := c.Resolve(t.Context(), host); err == nil {
			t.Errorf("%q: %q", host, got)
		}
	}
	checkClose(t, c)
}

// Both ends have the same clock here, so the offset must lie within its own uncertainty.
func TestOffset(t *testing.T) {
	c := dial(t, start(t, "good"))
	offset, within := c.Offset()
	if within <= 0 || offset.Abs() > within+time.Microsecond {
		t.Errorf("offset %v ± %v", offset, within)
	}
	checkClose(t, c)
}

func TestBadAgents(t *testing.T) {
	for who, want := range map[string]string{
		"silent":       "hello",
		"stranger":     "not understood",
		"newer":        "version 999",
		"endless line": "too long",
		"broken":       "no such plan",
	} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if who == "silent" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
			}
			p := start(t, who)
			_, err := agent.Dial(ctx, p.Process)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if !p.ended.Load() {
				t.Error("the process still runs")
			}
		})
	}
}

// Whatever is asked of an agent that dies, or has died, tells of its loss.
func TestAgentDies(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	p := start(t, "good")
	lost := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, agent.ErrLost) || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := dial(t, p)
	_, err := c.Load(t.Context(), plan(s, 100, time.Minute), func(time.Time) { p.Kill() }, func(record.Bin) {})
	lost("during a load", err)
	lost("before a probe", c.Probe(t.Context(), agent.Probe{URL: "http://x"}))
	if err := c.Close(); err == nil {
		t.Error("close: no error")
	}
	p = start(t, "good")
	c = dial(t, p)
	deadly := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p.Kill()
		<-r.Context().Done()
	}))
	defer deadly.Close()
	lost("during a probe", c.Probe(t.Context(), agent.Probe{URL: deadly.URL, Path: "/"}))
	_ = c.Close() // it was killed
}

// burst emits all of a schedule at once.
type burst struct{ emitted, released, ended chan struct{} }

func (g burst) Generate(ctx context.Context, p load.Plan, started func(time.Time), emit func(record.Sample)) error {
	defer close(g.ended)
	started(time.Now())
	for n := range p.Schedule.Count() {
		emit(record.Sample{Seq: n, Sent: record.None, Free: record.None, Class: record.Timeout})
	}
	close(g.emitted)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.released:
		return nil
	}
}

// A generator that tells of requests wrongly, or not of all, has not run its schedule.
func TestLoadIsAccountedFor(t *testing.T) {
	for want, samples := range map[string][]uint64{
		"":                  {0, 1, 2, 3, 4},
		"4 of 5 scheduled":  {0, 1, 2, 4},
		"1 requests were r": {0, 1, 2, 3, 4, 4},
		"2 requests were r": {0, 1, 2, 3, 4, 9, 5},
	} {
		p := load.Plan{Schedule: schedule.Constant(10, 0, 500*time.Millisecond), Timeout: time.Second, Requests: []load.Request{{Path: "/"}}, Connections: 1}
		command, err := json.Marshal(map[string]any{"id": 7, "load": p})
		if err != nil {
			t.Fatal(err)
		}
		in, toAgent := io.Pipe()
		fromAgent, out := io.Pipe()
		served := make(chan error, 1)
		go func() { served <- agent.Serve(t.Context(), in, out, liar(samples)) }()
		go func() { _, _ = toAgent.Write(append(command, '\n')) }()
		var r struct {
			End   bool
			Error string
			Done  record.Generator
		}
		for d := json.NewDecoder(fromAgent); !r.End; {
			if err := d.Decode(&r); err != nil {
				t.Fatal(err)
			}
		}
		if r.Done.Complete != (want == "") || !strings.HasPrefix(r.Error, want) || (want == "") != (r.Error == "") {
			t.Errorf("%v: %q, %+v", samples, r.Error, r.Done)
		}
		_ = toAgent.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// liar tells of requests as it likes.
type liar []uint64

func (l liar) Generate(_ context.Context, _ load.Plan, started func(time.Time), emit func(record.Sample)) error {
	started(time.Now())
	for _, n := range l {
		emit(record.Sample{Seq: n, Class: record.OK})
	}
	return nil
}

// A harness that does not read must neither slow the load nor go unnoticed.
func TestServeWithSlowHarness(t *testing.T) {
	for _, c := range []struct {
		bins int
		fail bool
	}{{1000, false}, {20000, true}} {
		in, toAgent := io.Pipe()
		fromAgent, out := io.Pipe()
		g := burst{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		served := make(chan error, 1)
		go func() {
			served <- agent.Serve(t.Context(), in, out, g)
			_ = out.Close()
		}()
		p := load.Plan{
			Schedule: schedule.Constant(10, 0, time.Duration(c.bins)*record.Grid),
			Timeout:  time.Second,
			Requests: []load.Request{{Path: "/"}}, Connections: 1,
		}
		if err := json.NewEncoder(toAgent).Encode(map[string]any{"id": 7, "load": p}); err != nil {
			t.Fatal(err)
		}
		<-g.emitted // though nobody has read a line
		if !c.fail {
			close(g.released)
		}
		<-g.ended // of itself, or broken off
		bins := 0
		read := make(chan bool)
		go func() {
			defer close(read)
			for d := json.NewDecoder(fromAgent); ; {
				var r struct {
					Bin *record.Bin
					End bool
				}
				if d.Decode(&r) != nil {
					return
				}
				if r.Bin != nil {
					bins++
				}
				if r.End {
					_ = toAgent.Close()
				}
			}
		}()
		err := <-served
		<-read
		if c.fail && (err == nil || !strings.Contains(err.Error(), "does not read")) {
			t.Errorf("%d bins: %v", c.bins, err)
		}
		if !c.fail && (err != nil || bins != c.bins) {
			t.Errorf("%d of %d bins arrived, %v", bins, c.bins, err)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	for _, in := range []string{"x\n", "{\"id\": \"no\"}\n", strings.Repeat("x", 17<<20)} {
		var out bytes.Buffer
		if err := agent.Serve(t.Context(), strings.NewReader(in), &out, burst{}); err == nil {
			t.Errorf("%.20q: no error", in)
		}
	}
	var out bytes.Buffer
	if err := agent.Serve(t.Context(), strings.NewReader("{\"id\": 1}\n{\"id\": 2, \"stop\": true}\n"), &out, burst{}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "does not know") {
		t.Errorf("an unknown command was answered by %s", out.String())
	}
}

func TestServeEndsWithContext(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := agent.Serve(ctx, in, io.Discard, burst{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The generator's memory must not depend on how many requests it sent.
func TestMemoryAtTenTimesTheRate(t *testing.T) {
	if raced {
		t.Skip("the race detector's own memory is many times what is measured")
	}
	s := serve(t, &loadtest.Server{Delay: 2 * time.Millisecond})
	rss := func(rate float64) uint64 {
		c := dial(t, start(t, "good"))
		p := plan(s, rate, 1500*time.Millisecond)
		p.Connections = 32 // memory goes with what is in flight, and that with who else uses this machine
		g, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {})
		if err != nil || !g.Complete {
			t.Fatalf("%v/s: %+v, %v", rate, g, err)
		}
		checkClose(t, c)
		t.Logf("%v/s: %d requests, %.1f MiB, %v CPU, %d in flight", rate, g.Counted, float64(g.MaxRSS)/(1<<20), g.CPU, g.Inflight)
		return g.MaxRSS
	}
	slow, fast := rss(200), rss(2000)
	if fast > slow+slow/5+(4<<20) { // 4 MiB: the stacks and buffers of 32 requests instead of two or three
		t.Errorf("%d bytes at 200/s, %d at 2000/s", slow, fast)
	}
}

// process is a child with the means of a driver's process.
type process struct {
	*target.Process
	ended atomic.Bool
}

func start(t *testing.T, who string, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), role+"="+who), env...)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := new(process)
	kill := func() { _ = cmd.Process.Kill() }
	t.Cleanup(kill)
	p.Process = &target.Process{Stdin: stdin, Stdout: stdout, Kill: kill, Wait: func() error {
		err := cmd.Wait()
		p.ended.Store(true)
		if err != nil {
			return fmt.Errorf("%w: %s", err, stderr)
		}
		return nil
	}}
	return p
}

func dial(t *testing.T, p *process) *agent.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := agent.Dial(ctx, p.Process)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func checkClose(t *testing.T, c *agent.Client) {
	t.Helper()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func serve(t *testing.T, s *loadtest.Server) *loadtest.Server {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func plan(s *loadtest.Server, rate float64, d time.Duration) load.Plan {
	return load.Plan{
		Schedule: schedule.Constant(rate, 0, d), Timeout: 10 * time.Second,
		Ingress: "http://ingress:80", Dial: s.Address(), Seed: 1, Connections: 10_000,
		Requests: []load.Request{{Name: "one", Method: "GET", Path: "/"}},
	}
}
