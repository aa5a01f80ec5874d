package answer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"golang.org/x/net/dns/dnsmessage"
)

const port = 8080

// node serves HTTP on all of the node's addresses.
func node(t *testing.T, h http.Handler) *http.Server {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	must(t, err)
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// client is a client in the peer's namespace that keeps its connections.
func client(t *testing.T, p *peer) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: p.dial, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 5 * time.Second}
}

func url(path string) string { return fmt.Sprintf("http://%s:%d%s", nodeAddress, port, path) }

// get returns an answer's status and body.
func get(c *http.Client, url string) (int, string, error) {
	r, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

// raw sends a request over a connection and reads one answer.
func raw(c net.Conn, request string) (*http.Response, error) {
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	method, _, _ := strings.Cut(request, " ")
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	return r, err
}

func web(r rule.Rule) map[string]rule.Part {
	r.Act, r.Ports = rule.HTTP, []uint16{port}
	if r.Share == 0 {
		r.Share = 1
	}
	return map[string]rule.Part{"fault": {r}}
}

func hello(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "hello from "+r.URL.Path)
}

const simple = "GET / HTTP/1.1\r\nHost: app\r\n\r\n"

func TestStatus(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	node(t, http.HandlerFunc(hello))
	a := carrier(t)
	before, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
	must(t, err)
	defer before.Close()
	if r, err := raw(before, simple); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	must(t, a.Prepare(t.Context(), web(rule.Rule{Status: 503, Path: "/a"})["fault"]))
	if r, err := raw(before, simple); err != nil || r.StatusCode != 200 {
		t.Fatal("prepared, and it does something already:", r, err)
	}
	set(t, a, web(rule.Rule{Status: 503, Path: "/a"}))
	if r, err := raw(before, simple); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a connection from before: want a reset, got %v, %v", r, err)
	}
	c := client(t, p)
	for _, host := range []string{nodeAddress, "[" + nodeAddress6 + "]"} {
		for path, want := range map[string]int{"/": 200, "/a": 503, "/a/": 503, "/a/b?c": 503, "/ab": 200, "/b/../a": 503} {
			status, body, err := get(c, fmt.Sprintf("http://%s:%d%s", host, port, path))
			if err != nil || status != want || (status == 200) != strings.HasPrefix(body, "hello from ") {
				t.Errorf("%s%s: want %d, got %d, %q, %v", host, path, want, status, body, err)
			}
		}
	}
	// The node's own look at itself stays what it is.
	if status, _, err := get(&http.Client{}, url("/a")); err != nil || status != 200 {
		t.Errorf("from the node itself: %d, %v", status, err)
	}
	during, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
	must(t, err)
	defer during.Close()
	if r, err := raw(during, simple); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	d := end(t, a, "fault")
	if d.Packets != 8 || d.Hit != 8 || d.Passed != 0 || d.Resets != 4 { // before, during, and the client's two
		t.Errorf("want 8 requests hit and 4 resets, got %+v", d)
	}
	if r, err := raw(during, simple); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a connection through the proxy: want a reset, got %v, %v", r, err)
	}
	if status, _, err := get(c, url("/a")); err != nil || status != 200 {
		t.Errorf("afterwards: %d, %v", status, err)
	}
}

func TestShareAndDelay(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	node(t, http.HandlerFunc(hello))
	a := carrier(t)
	const n = 200
	run := func(r rule.Rule) (statuses []int, d rule.Delivered) {
		set(t, a, web(r))
		c := client(t, p)
		for range n {
			status, _, err := get(c, url("/"))
			must(t, err)
			statuses = append(statuses, status)
		}
		return statuses, end(t, a, "fault")
	}
	one, d := run(rule.Rule{Status: 500, Share: 0.3, Seed: 1})
	hit := uint64(0)
	for _, s := range one {
		if s == 500 {
			hit++
		}
	}
	if d.Packets != n || d.Hit != hit || hit < 30 || hit > 95 { // 60 ± 5.4 standard deviations
		t.Errorf("want 30 %% of %d, got %d and %+v", n, hit, d)
	}
	if again, _ := run(rule.Rule{Status: 500, Share: 0.3, Seed: 1}); !slices.Equal(one, again) {
		t.Error("the same seed gave other draws")
	}
	if other, _ := run(rule.Rule{Status: 500, Share: 0.3, Seed: 2}); slices.Equal(one, other) {
		t.Error("another seed gave the same draws")
	}
	const delay = 60 * time.Millisecond
	set(t, a, web(rule.Rule{Delay: delay, Status: 418}))
	began := time.Now()
	if status, _, err := get(client(t, p), url("/")); err != nil || status != 418 || time.Since(began) < delay {
		t.Errorf("want 418 after %v, got %d after %v, %v", delay, status, time.Since(began), err)
	}
	if d := end(t, a, "fault"); d.Hit != 1 || d.Delay == nil || d.Delay.Count != 1 || d.Delay.Min < delay {
		t.Errorf("want one held for %v, got %+v %+v", delay, d, d.Delay)
	}
	set(t, a, web(rule.Rule{Delay: delay}))
	began = time.Now()
	if status, body, err := get(client(t, p), url("/x")); err != nil || status != 200 || body != "hello from /x" || time.Since(began) < delay {
		t.Errorf("want the node's answer after %v, got %d %q after %v, %v", delay, status, body, time.Since(began), err)
	}
}

func TestCut(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	const size = 300_000
	node(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			w.Header().Set("Content-Length", fmt.Sprint(size))
			_, _ = w.Write(make([]byte, size))
		case "/stream":
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "second")
		}
	}))
	a := carrier(t)
	set(t, a, web(rule.Rule{Cut: true}))
	c := client(t, p)
	for path, want := range map[string]int{"/long": size / 2, "/stream": 0} {
		status, body, err := get(c, url(path))
		if status != 200 || !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != want {
			t.Errorf("%s: want the headers and %d bytes, got %d, %d bytes, %v", path, want, status, len(body), err)
		}
	}
	one, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
	must(t, err)
	defer one.Close()
	if r, err := raw(one, "GET /empty HTTP/1.1\r\nHost: app\r\n\r\n"); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("no body to cut: want no answer, got %v, %v", r, err)
	}
	if d := end(t, a, "fault"); d.Packets != 3 || d.Hit != 3 {
		t.Errorf("want 3 cut, got %+v", d)
	}
}

// What a rule is not about reaches the node, and comes back, as it would without us.
func TestTransparent(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	next := make(chan struct{})
	node(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-next
			_, _ = io.WriteString(w, "second")
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
		case "/upgrade":
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(c, rw)
		case "/none":
			w.Header()["Date"] = nil
			w.Header()["Content-Type"] = nil
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<html>")
		case "/close":
			w.Header().Set("Connection", "close")
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		default:
			r.RemoteAddr = ""
			_ = r.Header.Write(w)
			_, _ = fmt.Fprint(w, r.Method, " ", r.RequestURI, " ", r.Host, " ", r.ContentLength, "\n")
			_, _ = io.Copy(w, r.Body)
		}
	}))
	a := carrier(t)
	dial := func() net.Conn {
		c, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	requests := []string{
		"GET /x/%2f//y/../z?a=1;b=%zz&c HTTP/1.1\r\nHost: app.example:99\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
		"GET //double HTTP/1.1\r\nHost: app\r\nUser-Agent: me\r\nAccept-Encoding: br\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: app\r\n\r\n",
		"HEAD /head HTTP/1.1\r\nHost: app\r\n\r\n",
		"POST /post HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\nbody",
		"POST /post HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n",
		"PUT /chunks HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"GET /trailer HTTP/1.1\r\nHost: app\r\nTE: trailers\r\n\r\n",
		"GET /none HTTP/1.1\r\nHost: app\r\n\r\n",
		"GET /close HTTP/1.1\r\nHost: app\r\n\r\n",
		"GET /304 HTTP/1.1\r\nHost: app\r\n\r\n",
		"GET /early HTTP/1.1\r\nHost: app\r\n\r\n",
		"GET /old HTTP/1.0\r\nHost: app\r\n\r\n",
	}
	look := func(request string) string {
		r, err := raw(dial(), request)
		if err != nil {
			return err.Error()
		}
		if r.Header.Get("Date") != "" {
			r.Header.Set("Date", "now")
		}
		b, _ := io.ReadAll(r.Body)
		return fmt.Sprint(r.Proto, r.Status, r.Header, r.ContentLength, r.TransferEncoding, r.Close, string(b), r.Trailer)
	}
	direct := make([]string, len(requests))
	for i, r := range requests {
		direct[i] = look(r)
	}
	set(t, a, web(rule.Rule{Status: 500, Path: "/nowhere"}))
	for i, r := range requests {
		if got := look(r); got != direct[i] {
			t.Errorf("%q\n  without us %s\n  with us    %s", r, direct[i], got)
		}
	}

	c := client(t, p)
	r, err := c.Get(url("/stream"))
	must(t, err)
	defer r.Body.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(r.Body, b); err != nil || string(b) != "first" {
		t.Errorf("a stream's beginning: %q, %v", b, err)
	}
	close(next)
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != "second" {
		t.Errorf("a stream's rest: %q, %v", rest, err)
	}

	up := dial()
	if r, err := raw(up, "GET /upgrade HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil || r.StatusCode != 101 {
		t.Fatalf("upgrade: %v, %v", r, err)
	}
	_, err = io.WriteString(up, "bytes")
	must(t, err)
	if _, err := io.ReadFull(up, b); err != nil || string(b) != "bytes" {
		t.Errorf("after the upgrade: %q, %v", b, err)
	}
	if d := end(t, a, "fault"); d.Packets != 0 || d.Passed != 0 {
		t.Errorf("nothing is below the path, but %+v", d)
	}
	if _, err := up.Read(b); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an upgraded connection at the end: want a reset, got %v", err)
	}
}

// A connection that the node closes between two requests is closed to the client.
func TestNodeCloses(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	s := node(t, http.HandlerFunc(hello))
	a := carrier(t)
	set(t, a, web(rule.Rule{Status: 500, Path: "/nowhere"}))
	c, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
	must(t, err)
	defer c.Close()
	for range 3 {
		if r, err := raw(c, simple); err != nil || r.StatusCode != 200 {
			t.Fatal(r, err)
		}
	}
	must(t, s.Close())
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("want the end, got %v", err)
	}
	again, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
	if err == nil {
		_ = again.SetDeadline(time.Now().Add(3 * time.Second))
		_, err = again.Read(make([]byte, 1))
		_ = again.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("nobody listens: want a reset, got %v", err)
	}
}

// What is not HTTP/1 is passed through as it is.
func TestPassed(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	must(t, err)
	defer l.Close()
	var greets atomic.Bool
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if greets.Load() {
					_, _ = io.WriteString(c, "220 hello\r\n")
				}
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	a := carrier(t)
	set(t, a, web(rule.Rule{Status: 500}))
	dial := func() net.Conn {
		c, err := p.dial(t.Context(), "tcp", fmt.Sprintf("%s:%d", nodeAddress, port))
		must(t, err)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	words := []string{
		"\x16\x03\x01\x02\x00", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "PING\r\n", "no newline", "GET /\r\n",
		"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n", strings.Repeat("x", 40_000),
	}
	for _, w := range words {
		c := dial()
		_, err := io.WriteString(c, w)
		must(t, err)
		must(t, c.(*net.TCPConn).CloseWrite())
		if b, err := io.ReadAll(c); err != nil || string(b) != w {
			t.Errorf("%.20q: came back as %.20q, %v", w, b, err)
		}
		_ = c.Close()
	}
	greets.Store(true)
	c := dial()
	b := make([]byte, 11)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "220 hello\r\n" {
		t.Errorf("the node speaks first: %q, %v", b, err)
	}
	_ = c.Close()
	greets.Store(false)
	_ = dial().Close() // a check that says nothing
	if d := end(t, a, "fault"); d.Packets != 0 || d.Hit != 0 || d.Passed != uint64(len(words))+1 {
		t.Errorf("want %d passed, got %+v", len(words)+1, d)
	}
}

// Many clients at once, while faults come and go.
func TestManyClients(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	node(t, http.HandlerFunc(hello))
	a := carrier(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var fine, hit, broken atomic.Int64
	done := make(chan struct{})
	const clients = 8
	for range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			c := client(t, p)
			for ctx.Err() == nil {
				switch status, _, err := get(c, url("/")); {
				case err != nil:
					broken.Add(1)
				case status == 500:
					hit.Add(1)
				default:
					fine.Add(1)
				}
			}
		}()
	}
	const rounds = 10
	var said uint64
	for range rounds {
		set(t, a, web(rule.Rule{Status: 500, Share: 0.5}))
		time.Sleep(30 * time.Millisecond)
		said += end(t, a, "fault").Hit
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	for range clients {
		<-done
	}
	if fine.Load() == 0 || hit.Load() == 0 || uint64(hit.Load()) > said || broken.Load() > 4*clients*rounds {
		t.Errorf("%d fine, %d hit of %d that were said to be, %d broken", fine.Load(), hit.Load(), said, broken.Load())
	}
}

// asHelper is set in the environment of the process that TestKilled kills.
const asHelper = "TUTTI_TEST_HELPER"

// When the process that keeps the faults up is killed, the node is what it was.
func TestKilled(t *testing.T) {
	if os.Getenv(asHelper) != "" {
		a := carrier(t)
		set(t, a, map[string]rule.Part{
			"dns": {{Act: rule.DNS, Mode: rule.DNSRefused}}, "http": web(rule.Rule{Status: 503})["fault"],
		})
		_, _ = os.Stdout.WriteString("!")
		select {}
	}
	if !apart(t) {
		return
	}
	p := neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	node(t, http.HandlerFunc(hello))
	helper := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	helper.Env = append(os.Environ(), asHelper+"=1")
	out, err := helper.StdoutPipe()
	must(t, err)
	must(t, helper.Start())
	_, err = io.ReadFull(out, make([]byte, 1))
	must(t, err)
	c := client(t, p)
	if status, _, err := get(c, url("/")); err != nil || status != 503 {
		t.Errorf("before: %d, %v", status, err)
	}
	if code, _, err := ask("udp", dockerAddress); err != nil || code != dnsmessage.RCodeRefused {
		t.Errorf("before: %v, %v", code, err)
	}
	must(t, helper.Process.Kill())
	_ = helper.Wait()
	for began := time.Now(); ; { // the kernel takes the table away a moment after the process
		status, _, err := get(client(t, p), url("/"))
		_, said, err2 := ask("udp", dockerAddress)
		if err == nil && status == 200 && err2 == nil && said == truth {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("it did not heal: %d, %v; %q, %v", status, err, said, err2)
		}
	}
}

func TestRefusedRules(t *testing.T) {
	a := carrier(t)
	for _, r := range []rule.Rule{
		{Act: rule.Drop},
		{Act: rule.DNS},
		{Act: rule.DNS, Mode: "loud"},
		{Act: rule.DNS, Mode: rule.DNSSlow},
		{Act: rule.DNS, Mode: rule.DNSRefused, Delay: time.Second},
		{Act: rule.DNS, Mode: rule.DNSSilent, Ports: []uint16{53}},
		{Act: rule.HTTP, Share: 1, Status: 500},
		{Act: rule.HTTP, Ports: []uint16{0}, Share: 1, Status: 500},
		{Act: rule.HTTP, Ports: []uint16{80}, Status: 500},
		{Act: rule.HTTP, Ports: []uint16{80}, Share: 1},
		{Act: rule.HTTP, Ports: []uint16{80}, Share: 1, Status: 101},
		{Act: rule.HTTP, Ports: []uint16{80}, Share: 1, Status: 600},
		{Act: rule.HTTP, Ports: []uint16{80}, Share: 1, Cut: true, Status: 500},
		{Act: rule.HTTP, Ports: []uint16{80}, Share: 1, Status: 500, Path: "a"},
		{Act: rule.HTTP, Ports: []uint16{80}, Share: 1, Status: 500, Direction: rule.Out},
	} {
		if err := a.Prepare(t.Context(), rule.Part{r}); err == nil {
			t.Errorf("prepared: %+v", r)
		}
		if err := a.Set(t.Context(), map[string]rule.Part{"x": {r}}); err == nil {
			t.Errorf("in force: %+v", r)
		}
	}
}
