package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/process"
	"github.com/tutti-bench/tutti/lib/target"
)

// web is a node that answers over HTTP with its name, or so many bytes, and echoes on another port if it has an address of
// its own.
func web() {
	address := os.Getenv(target.EnvListen)
	if _, _, err := net.SplitHostPort(address); err != nil {
		go echo(net.JoinHostPort(address, "9090"))
		address = net.JoinHostPort(address, "8080")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv(target.EnvNode)) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(10 * time.Second):
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", big)) })
	fmt.Println(http.ListenAndServe(address, mux))
}

const big = 60 << 10

func echo(address string) {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			c.Close()
		}()
	}
}

// A proxied is a target of web nodes with proxies in front of them, and a client with one connection that it keeps.
type proxied struct {
	*testing.T
	cluster target.Cluster
	proxy   target.Proxier
	client  *http.Client
}

func newProxied(t *testing.T, c process.Config, nodes int) *proxied {
	t.Helper()
	tg := waiting(nodes)
	app := tg.Services["app"]
	app.Command = []string{"web"}
	if !c.SharedAddress {
		app.Expose = []string{"8080", "9090"}
	}
	tg.Services["app"] = app
	s := spec(tg, "")
	s.Proxied = map[string]bool{"app": true}
	cluster, err := process.New(c).Up(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := cluster.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &proxied{t, cluster, cluster.(target.Proxier), &http.Client{Transport: transport, Timeout: 5 * time.Second}}
}

func port(n target.Node, port string) string {
	if _, _, err := net.SplitHostPort(n.Address); err == nil {
		return n.Address
	}
	return net.JoinHostPort(n.Address, port)
}

// get asks a node over the connection that is kept, if there is one, and says how long it took.
func (p *proxied) get(n target.Node, path string) (string, time.Duration, error) {
	began := time.Now()
	r, err := p.client.Get("http://" + port(n, "8080") + path)
	if err != nil {
		return "", 0, err
	}
	b, err := io.ReadAll(r.Body)
	r.Body.Close()
	return string(b), time.Since(began), err
}

func (p *proxied) answers(n target.Node) time.Duration {
	p.Helper()
	var last error
	for range 500 {
		body, took, err := p.get(n, "/")
		if err == nil && body == n.Name {
			return took
		}
		last = err
		time.Sleep(10 * time.Millisecond)
	}
	p.Fatalf("%s does not answer: %v", n.Name, last)
	return 0
}

func (p *proxied) refuses(n target.Node) {
	p.Helper()
	c, err := net.DialTimeout("tcp4", port(n, "8080"), time.Second)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		p.Errorf("%s does not refuse: %v", n.Name, err)
	}
}

func (p *proxied) set(n target.Node, fault string, toxics ...target.Toxic) target.Effect {
	p.Helper()
	e, err := p.proxy.Proxy(p.Context(), n, fault, toxics)
	if err != nil {
		p.Fatal(err)
	}
	if e.Node.Name != n.Name || e.Proof == "" || e.Source == "" || e.To.Before(e.From) || e.From.IsZero() {
		p.Errorf("effect %+v", e)
	}
	return e
}

func latency(stream string, ms int) target.Toxic {
	return target.Toxic{Type: "latency", Stream: stream, Attributes: map[string]any{"latency": ms, "jitter": 0}}
}

// both runs a test with an address for each node, and with one for all.
func both(t *testing.T, test func(t *testing.T, c process.Config)) {
	t.Helper()
	t.Run("addresses", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("only Linux gives every node an address of its own")
		}
		test(t, process.Config{})
	})
	t.Run("ports", func(t *testing.T) { test(t, process.Config{SharedAddress: true}) })
}

// Delays act on the connection that there is and on new ones, add up, leave other nodes alone, outlive the node, and end.
func TestProxyLatency(t *testing.T) {
	both(t, func(t *testing.T, c process.Config) {
		t.Helper()
		p := newProxied(t, c, 2)
		n, other := p.cluster.Nodes()[0], p.cluster.Nodes()[1]
		p.answers(n)
		p.set(n, "a", latency("upstream", 150))
		if took := p.answers(n); took < 150*time.Millisecond {
			t.Errorf("with a delay of 150ms it took %v", took)
		}
		p.set(n, "b", latency("downstream", 100), latency("upstream", 100))
		if took := p.answers(n); took < 350*time.Millisecond {
			t.Errorf("with delays of 350ms it took %v", took)
		}
		p.client.CloseIdleConnections()
		if took := p.answers(n); took < 350*time.Millisecond {
			t.Errorf("a new connection with delays of 350ms took %v", took)
		}
		if took := p.answers(other); took >= 350*time.Millisecond {
			t.Errorf("the other node took %v", took)
		}
		if _, err := p.cluster.(target.Killer).Kill(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		p.refuses(n)
		if _, err := p.cluster.(target.Killer).Start(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if took := p.answers(n); took < 350*time.Millisecond {
			t.Errorf("after a restart it took %v", took)
		}
		e := p.set(n, "a")
		if !strings.Contains(e.Asked, "to the node delay 150ms") || !strings.Contains(e.Delivered, "at the median of") || e.Short {
			t.Errorf("asked %q, delivered %q, short %v", e.Asked, e.Delivered, e.Short)
		}
		if took := p.answers(n); took < 200*time.Millisecond {
			t.Errorf("with what is left, 200ms, it took %v", took)
		}
		p.set(n, "b")
		fast := slices.ContainsFunc(make([]int, 20), func(int) bool { return p.answers(n) < 100*time.Millisecond })
		if !fast {
			t.Error("without delays it is slow")
		}
		if e := p.set(n, "b"); e.Asked != "" || !strings.Contains(e.Proof, "over before") {
			t.Errorf("ended twice: %+v", e)
		}
	})
}

// What a client sees of a node that is down, and of one whose connections are reset.
func TestProxyRefuses(t *testing.T) {
	both(t, func(t *testing.T, c process.Config) {
		t.Helper()
		p := newProxied(t, c, 1)
		n := p.cluster.Nodes()[0]
		for _, how := range []struct {
			toxic target.Toxic
			end   error
		}{
			{target.Toxic{Type: "down"}, io.EOF},
			{target.Toxic{Type: "reset_peer", Attributes: map[string]any{"timeout": 0}}, syscall.ECONNRESET},
		} {
			p.answers(n)
			conn, err := net.Dial("tcp4", port(n, "8080"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprint(conn, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				ended <- err
			}()
			time.Sleep(50 * time.Millisecond) // until it has passed
			e := p.set(n, "f", how.toxic)
			if err := <-ended; !errors.Is(err, how.end) {
				t.Errorf("%s: the connection ends with %v, want %v (%s)", how.toxic.Type, err, how.end, e.Proof)
			}
			conn.Close()
			p.refuses(n)
			p.set(n, "f", how.toxic) // renewed, it is one fault
			if _, err := p.cluster.(target.Killer).Kill(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if _, err := p.cluster.(target.Killer).Start(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			p.refuses(n) // a restart does not end it
			if e := p.set(n, "f"); !strings.Contains(e.Delivered, "2 connections") || e.Short {
				t.Errorf("%s: delivered %q", how.toxic.Type, e.Delivered)
			}
			p.answers(n)
		}
	})
}

// All connections to a node share its bandwidth.
func TestProxyBandwidth(t *testing.T) {
	p := newProxied(t, process.Config{SharedAddress: true}, 1)
	n := p.cluster.Nodes()[0]
	p.set(n, "f", target.Toxic{Type: "bandwidth", Stream: "downstream", Attributes: map[string]any{"rate": 100}})
	began := time.Now()
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() {
			body, _, err := p.get(n, "/big")
			if err == nil && len(body) != big {
				err = fmt.Errorf("%d bytes came", len(body))
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if took, want := time.Since(began), 2*big/100*time.Millisecond; took < want {
		t.Errorf("two answers of %d bytes at 100 KB/s took %v, want %v", big, took, want)
	}
	if e := p.set(n, "f"); !strings.Contains(e.Asked, "100 KB/s") || e.Short {
		t.Errorf("asked %q, delivered %q, short %v", e.Asked, e.Delivered, e.Short)
	}
	// What is held back when it ends goes on at once.
	p.set(n, "f", target.Toxic{Type: "bandwidth", Stream: "downstream", Attributes: map[string]any{"rate": 1}})
	go func() {
		body, _, err := p.get(n, "/big")
		if err == nil && len(body) != big {
			err = fmt.Errorf("%d bytes came", len(body))
		}
		errs <- err
	}()
	time.Sleep(100 * time.Millisecond)
	p.set(n, "f")
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

// A proxy adds nothing to a protocol: both directions end by themselves, on every port.
func TestProxyHalfClose(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux gives every node an address of its own, with several ports")
	}
	p := newProxied(t, process.Config{}, 1)
	n := p.cluster.Nodes()[0]
	p.set(n, "f", latency("upstream", 20), latency("downstream", 20))
	c, err := net.Dial("tcp4", port(n, "9090"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := strings.Repeat("0123456789abcdef", 1<<14)
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || string(got) != text {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(text), err)
	}
}

// What is asked for and cannot be had changes nothing.
func TestProxyRefusals(t *testing.T) {
	p := newProxied(t, process.Config{SharedAddress: true}, 1)
	n := p.cluster.Nodes()[0]
	for want, toxic := range map[string]target.Toxic{
		"no such toxic":   {Type: "slicer", Stream: "upstream"},
		"neither":         {Type: "latency", Attributes: map[string]any{"latency": 1}},
		"below zero":      latency("upstream", -1),
		"unknown field":   {Type: "latency", Stream: "upstream", Attributes: map[string]any{"delay": 1}},
		"rate of nothing": {Type: "bandwidth", Stream: "upstream"},
		"port":            {Type: "down", Attributes: map[string]any{"port": 80}},
	} {
		if _, err := p.proxy.Proxy(t.Context(), n, "f", []target.Toxic{toxic}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), n.Name) {
			t.Errorf("%+v: %v", toxic, err)
		}
		p.answers(n)
	}
	if _, err := p.cluster.(target.Killer).Kill(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := p.proxy.Proxy(t.Context(), n, "f", []target.Toxic{{Type: "down"}}); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("on a dead node: %v", err)
	}
	p.set(n, "f") // there is nothing to end, and that is no error

	c, err := process.New(process.Config{}).Up(t.Context(), spec(waiting(1), ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Down(context.Background()) }()
	if _, err := c.(target.Proxier).Proxy(t.Context(), c.Nodes()[0], "f", []target.Toxic{{Type: "down"}}); err == nil || !strings.Contains(err.Error(), "no proxy") {
		t.Errorf("without a proxy: %v", err)
	}
}

// Down leaves no goroutine, whatever is on its way.
func TestProxyLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("target", func(t *testing.T) {
		p := newProxied(t, process.Config{SharedAddress: true}, 2)
		n := p.cluster.Nodes()[0]
		p.set(n, "slow", latency("downstream", 5000))
		p.set(n, "narrow", target.Toxic{Type: "bandwidth", Stream: "downstream", Attributes: map[string]any{"rate": 1}})
		for range 3 {
			go func() { _, _, _ = p.get(n, "/big") }()
		}
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		if err := p.cluster.Down(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it waited for what was held back: %v", took)
		}
	})
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, there were %d\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}
