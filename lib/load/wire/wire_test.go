package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/load/wire"
)

// Failures reported are those injected, exactly, for every method and every way to break a connection, and the
// server sees no request twice.
func TestFailuresReportedAreThoseInjected(t *testing.T) {
	for _, how := range []struct {
		is   loadtest.Break
		kind wire.Kind
	}{{loadtest.Reset, wire.Reset}, {loadtest.End, wire.EOF}, {loadtest.ResetInMid, wire.Truncated}, {loadtest.EndInMid, wire.Truncated}} {
		for _, r := range []struct{ method, body string }{{"GET", ""}, {"HEAD", ""}, {"POST", "body"}, {"POST", ""}, {"DELETE", ""}, {"PUT", "body"}} {
			if r.method == "HEAD" && how.kind == wire.Truncated {
				continue // has no body that could break
			}
			t.Run(fmt.Sprintf("%s %d bytes %v", r.method, len(r.body), how.kind), func(t *testing.T) {
				t.Parallel()
				s := serve(t, &loadtest.Server{BreakEvery: 10, Break: how.is})
				tr := open(t, wire.Options{})
				var wg sync.WaitGroup
				var reported atomic.Int64
				for w := range 4 {
					wg.Go(func() {
						for i := range 50 {
							err := exchange(t.Context(), tr, r.method, fmt.Sprintf("http://%s/%d-%d", s.Address(), w, i), r.body)
							if err == nil {
								continue
							}
							reported.Add(1)
							if e := is(t, err, how.kind); !e.Reused {
								t.Errorf("not on a reused connection: %v", e.Err)
							}
						}
					})
				}
				wg.Wait()
				broken, seen := int64(0), make(map[string]bool)
				for _, e := range s.Log() {
					if e.Status == 0 {
						broken++
					}
					if seen[e.Path] {
						t.Errorf("the server saw %s twice", e.Path)
					}
					seen[e.Path] = true
					if e.Body != r.body || e.Method != r.method {
						t.Errorf("the server read %s with %q", e.Method, e.Body)
					}
				}
				if broken < 5 || len(seen) != 200 || reported.Load() != broken {
					t.Errorf("%d failures reported; the server saw %d requests and broke %d", reported.Load(), len(seen), broken)
				}
				if a := tr.Stats()[0]; a.Failed.Of(how.kind) != uint64(broken) || a.Failed.Total() != uint64(broken) || a.Requests != 200 {
					t.Errorf("statistics: %d requests, failed %v", a.Requests, a.Failed)
				}
			})
		}
	}
}

// On fresh connections, too.
func TestFailuresOnFreshConnections(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(net.Conn) error
		kind   wire.Kind
	}{
		{"reset", func(c net.Conn) error { return reset(c, "") }, wire.Reset},
		{"reset after the first byte", func(c net.Conn) error { return reset(c, "H") }, wire.Truncated},
		{"reset after the header", func(c net.Conn) error { return reset(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n") }, wire.Truncated},
		{"reset where an end would do", func(c net.Conn) error { return reset(c, "HTTP/1.1 200 OK\r\n\r\nbody") }, wire.Truncated},
		{"reset in a chunk", func(c net.Conn) error {
			return reset(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
		}, wire.Truncated},
		{"end", func(net.Conn) error { return io.EOF }, wire.EOF},
		{"end in the header", func(c net.Conn) error { return writeThen(c, "HTTP/1.1 200 OK\r\n", io.EOF) }, wire.Truncated},
		{"end in the body", func(c net.Conn) error { return writeThen(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", io.EOF) }, wire.Truncated},
		{"garbage", func(c net.Conn) error { return writeThen(c, "ERR unknown command\r\n", nil) }, wire.Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &loadtest.Server{Answer: func(nc net.Conn, _ *http.Request) error { return c.answer(nc) }})
			tr := open(t, wire.Options{})
			for _, method := range []string{"GET", "POST"} {
				for range 5 {
					err := exchange(t.Context(), tr, method, "http://"+s.Address()+"/", strings.Repeat("x", len(method)-3))
					if e := is(t, err, c.kind); e.Reused {
						t.Errorf("on a reused connection: %v", e.Err)
					}
				}
			}
			if n := len(s.Log()); n != 10 {
				t.Errorf("the server saw %d requests, want 10", n)
			}
		})
	}
}

func TestFailuresWithoutAConnection(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	nobody := s.Address()
	_ = s.Close()
	tr := open(t, wire.Options{})
	for _, method := range []string{"GET", "POST"} {
		is(t, exchange(t.Context(), tr, method, "http://"+nobody+"/", ""), wire.Refused)
	}
	is(t, exchange(t.Context(), tr, "GET", "http://no-such-name.invalid/", ""), wire.DNS)
	for name, r := range map[string]*http.Request{
		"scheme":       {Method: "GET", URL: &url.URL{Scheme: "https", Host: "x"}},
		"no URL":       {Method: "GET"},
		"no host":      {Method: "GET", URL: &url.URL{Scheme: "http"}},
		"query":        {Method: "GET", URL: &url.URL{Scheme: "http", Host: "x", RawQuery: "a HTTP/1.1\r\nB: c"}},
		"tunnel":       {Method: "CONNECT", URL: &url.URL{Scheme: "http", Host: "x"}},
		"method":       {Method: "GE T", URL: &url.URL{Scheme: "http", Host: "x"}},
		"header name":  {Method: "GET", URL: &url.URL{Scheme: "http", Host: "x"}, Header: http.Header{"A b": {"c"}}},
		"header value": {Method: "GET", URL: &url.URL{Scheme: "http", Host: "x"}, Header: http.Header{"A": {"c\r\nX: y"}}},
		"host":         {Method: "GET", URL: &url.URL{Scheme: "http", Host: "x"}, Host: "a\nb"},
	} {
		resp, err := tr.RoundTrip(r)
		if resp != nil {
			_ = resp.Body.Close()
		}
		if is(t, err, wire.Invalid); len(tr.Stats()) > 2 {
			t.Errorf("%s: counted at an address", name)
		}
	}
	for _, a := range tr.Stats() {
		if a.Address == nobody && (a.Failed.Of(wire.Refused) != 2 || a.NotOpened != 2 || a.Opened != 0) {
			t.Errorf("statistics: %+v", a)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	e := &wire.Error{Kind: wire.Local, Doing: "connect to", Address: "x:80", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	if want := "connect to x:80: local: socket: too many open files (raise the limit of open files: ulimit -n)"; e.Error() != want {
		t.Errorf("%v, want %v", e, want)
	}
}

func TestDeadlines(t *testing.T) {
	const short = 150 * time.Millisecond
	silent := listen(t) // accepts in the kernel and never answers
	for _, c := range []struct {
		name    string
		options wire.Options
		server  *loadtest.Server
		context time.Duration // 0: none
		doing   string
	}{
		{"total", wire.Options{Total: short}, &loadtest.Server{Delay: time.Minute}, 0, "await the answer of"},
		{"first byte", wire.Options{FirstByte: short}, &loadtest.Server{Delay: time.Minute}, 0, "await the answer of"},
		{"of the context", wire.Options{}, &loadtest.Server{Delay: time.Minute}, short, "await the answer of"},
		{"in the header", wire.Options{Total: short}, answers("HTTP/1.1 200 OK\r\n"), 0, "read the answer of"},
		{"in the body", wire.Options{Total: short}, answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), 0, "read the answer of"},
		{"in the body, of the context", wire.Options{}, answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), short, "read the answer of"},
		{"peer that never accepts", wire.Options{Total: short}, nil, 0, "await the answer of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := silent
			if c.server != nil {
				address = serve(t, c.server).Address()
			}
			tr := open(t, c.options)
			ctx := t.Context()
			if c.context > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.context)
				defer cancel()
			}
			for i := range 2 {
				if i > 0 && c.context > 0 {
					break // that context is over
				}
				begun := time.Now()
				err := exchange(ctx, tr, "GET", "http://"+address+"/", "")
				e := is(t, err, wire.Timeout)
				if took := time.Since(begun); took < short-time.Millisecond || took > short+5*time.Second {
					t.Errorf("after %v", took)
				}
				if e.Doing != c.doing {
					t.Errorf("%q, want %q", e.Doing, c.doing)
				}
			}
		})
	}
}

// A deadline that is set lazily is kept nevertheless: on a connection whose last exchange set an earlier
// one, or a later one, each exchange has its own.
func TestDeadlinesFollowOneAnother(t *testing.T) {
	var delay atomic.Int64
	s := serve(t, &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
		time.Sleep(time.Duration(delay.Load()))
		return writeThen(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", nil)
	}})
	tr := open(t, wire.Options{})
	for i, c := range []struct {
		delay, limit time.Duration
		late         bool
	}{
		{0, 200 * time.Millisecond, false},
		{300 * time.Millisecond, 10 * time.Second, false}, // beyond the deadline that the one before set
		{0, 10 * time.Second, false},
		{time.Second, 100 * time.Millisecond, true}, // before the deadline that the one before set
	} {
		delay.Store(int64(c.delay))
		ctx, cancel := context.WithTimeout(t.Context(), c.limit)
		begun := time.Now()
		err := exchange(ctx, tr, "GET", "http://"+s.Address()+"/", "")
		cancel()
		if (err != nil) != c.late || time.Since(begun) > 4*time.Second {
			t.Errorf("exchange %d: %v after %v", i, err, time.Since(begun))
		}
	}
	if a := tr.Stats()[0]; a.Opened != 1 {
		t.Errorf("%d connections, want 1", a.Opened)
	}
}

// Beyond the limit on connections requests wait, in order, and the time counts against their deadline.
func TestLimitOnConnections(t *testing.T) {
	const conns, requests, delay = 3, 12, 50 * time.Millisecond
	s := serve(t, &loadtest.Server{Delay: delay})
	tr := open(t, wire.Options{MaxConns: conns})
	var wg sync.WaitGroup
	begun := time.Now()
	for range requests {
		wg.Go(func() {
			if err := exchange(t.Context(), tr, "GET", "http://"+s.Address()+"/", ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begun); took < requests/conns*delay {
		t.Errorf("%d requests took %v on %d connections, with %v each", requests, took, conns, delay)
	}
	a := tr.Stats()[0]
	if a.Opened != conns || a.Peak != conns || a.Waited != requests || a.LongestWait < (requests/conns-1)*delay || a.Wait < a.LongestWait {
		t.Errorf("statistics: %+v", a)
	}
	if a.Idle != conns || a.Busy+a.Dialing+a.Waiting != 0 {
		t.Errorf("afterwards: %+v", a)
	}
}

func TestWaitInVain(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: time.Minute})
	tr := open(t, wire.Options{MaxConns: 1, MaxWaiting: 1, Total: time.Second})
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	at := "http://" + s.Address() + "/"
	wg.Go(func() { is(t, exchange(t.Context(), tr, "GET", at, ""), wire.Timeout) })
	until(t, func() bool { return len(s.Log()) == 1 })
	wg.Go(func() {
		if e := is(t, exchange(short, tr, "GET", at, ""), wire.Timeout); !errors.Is(e.Err, wire.ErrLimit) {
			t.Errorf("not because of the limit: %v", e.Err)
		}
	})
	until(t, func() bool { return tr.Stats()[0].Waiting == 1 })
	if e := is(t, exchange(t.Context(), tr, "GET", at, ""), wire.Local); !errors.Is(e.Err, wire.ErrLimit) {
		t.Errorf("not because of the limit: %v", e.Err)
	}
}

// A connection that broke makes room for one who waits.
func TestBrokenConnectionsAreReplaced(t *testing.T) {
	s := serve(t, &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
		time.Sleep(5 * time.Millisecond)
		return reset(c, "")
	}})
	tr := open(t, wire.Options{MaxConns: 2})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { is(t, exchange(t.Context(), tr, "GET", "http://"+s.Address()+"/", ""), wire.Reset) })
	}
	wg.Wait()
	if a := tr.Stats()[0]; a.Opened != 10 || a.Peak != 2 || len(s.Log()) != 10 {
		t.Errorf("the server saw %d; %+v", len(s.Log()), a)
	}
}

func TestConnectionsAge(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	tr := open(t, wire.Options{MaxAge: 100 * time.Millisecond})
	begun := time.Now()
	for time.Since(begun) < 500*time.Millisecond {
		if err := exchange(t.Context(), tr, "GET", "http://"+s.Address()+"/", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if a := tr.Stats()[0]; a.Opened < 4 || a.Closed < a.Opened-1 || a.Requests < 2*a.Opened {
		t.Errorf("statistics: %+v", a)
	}
}

// What the peer closed while nobody used it is known, and costs no request.
func TestPeerClosesIdleConnection(t *testing.T) {
	for _, last := range []string{"", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
		var closed atomic.Int64
		s := serve(t, &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
			if err := writeThen(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", nil); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
			defer closed.Add(1)
			defer c.Close()
			return writeThen(c, last, io.EOF)
		}})
		tr := open(t, wire.Options{})
		for i := range int64(3) {
			if err := exchange(t.Context(), tr, "POST", "http://"+s.Address()+"/", ""); err != nil {
				t.Error(err)
			}
			until(t, func() bool { return closed.Load() == i+1 })
		}
	}
}

// Connections are used again just when that is right.
func TestReuse(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		read         int // bytes of the body; -1: all
		reused       bool
	}{
		{"whole body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", -1, true},
		{"short rest", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", 2, true},
		{"nothing read", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n", 0, true},
		{"rest that does not come", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n12345", 0, false},
		{"long rest", "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + strings.Repeat("x", 500_000), 2, false},
		{"endless chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("5\r\n12345\r\n", 100_000), 2, false},
		{"closed by the peer's word", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", -1, false},
		{"more than announced", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n12345", -1, false},
		{"long header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20_000) + "\r\nContent-Length: 5\r\n\r\n12345", -1, true},
		{"long header, nothing read", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20_000) + "\r\nContent-Length: 5\r\n\r\n12345", 0, true},
		{"long header, more than announced", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20_000) + "\r\nContent-Length: 1\r\n\r\n12345", -1, false},
		{"long header without a body", "HTTP/1.1 204 No Content\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n", -1, true},
		{"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", -1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(c.answer))
			tr := open(t, wire.Options{})
			for range 3 {
				resp, err := tr.RoundTrip(request(t.Context(), "GET", "http://"+s.Address()+"/", ""))
				if err != nil {
					t.Fatal(err)
				}
				if c.read < 0 {
					_, err = io.Copy(io.Discard, resp.Body)
				} else {
					_, err = io.ReadFull(resp.Body, make([]byte, c.read))
				}
				if err != nil {
					t.Error(err)
				}
				_ = resp.Body.Close()
				_ = resp.Body.Close() // again, which must not touch another's connection
				if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("read %d bytes of a closed body: %v", n, err)
				}
			}
			if log := s.Log(); log[1].Reused != c.reused {
				t.Errorf("reused: %v", log[1].Reused)
			}
		})
	}
}

func TestRequestsAsSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 1<<20)
			n, _ := c.Read(buf) // one write of the client's is one read here
			got <- string(buf[:n])
			_ = reset(c, "")
			_ = c.Close()
		}
	}()
	tr := open(t, wire.Options{Dial: l.Addr().String()})
	long := strings.Repeat("x", 40_000)
	for _, c := range []struct {
		method, url, body, want string
		change                  func(*http.Request)
	}{
		{"GET", "http://h/a?b=c#d", "", "GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n", nil},
		{"GET", "http://h:81", "", "GET / HTTP/1.1\r\nHost: h:81\r\n\r\n", nil},
		{"GET", "http://[fe80::1%25eth0]:81/%2f", "", "GET /%2f HTTP/1.1\r\nHost: [fe80::1]:81\r\n\r\n", nil},
		{"GET", "http://b\u00fccher.example/\u00fc?%C3%BC", "", "GET /%C3%BC?%C3%BC HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n\r\n", func(r *http.Request) { r.Host = "" }},
		{"", "http://h/", "", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", nil},
		{"POST", "http://h/", "", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", nil},
		{"POST", "http://h/", "four", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nfour", nil},
		{"GET", "http://h/", "four", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nfour", nil},
		{"PUT", "http://h/", long, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n" + long, nil},
		{"PUT", "http://h/", "four", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nfour", func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader("four"))
		}},
		{"DELETE", "http://h/", "", "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(""))
		}},
		{"GET", "http://h/", "", "GET / HTTP/1.1\r\nHost: other\r\nA: 1\r\nA: 2\r\nB: x y\r\nConnection: close\r\n\r\n", func(r *http.Request) {
			r.Host, r.Close = "other", true
			r.Header = http.Header{"B": {" x y\t"}, "A": {"1", "2"}, "Host": {"no"}, "Content-Length": {"9"}, "Connection": {"x"}}
		}},
	} {
		r := request(t.Context(), c.method, c.url, c.body)
		if c.change != nil {
			c.change(r)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, err := tr.RoundTrip(r)
			if err == nil {
				_ = resp.Body.Close()
			}
		}()
		if text := <-got; text != c.want {
			t.Errorf("sent %.200q, want %.200q", text, c.want)
		}
		<-done
	}
}

func TestLongBodies(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	tr := open(t, wire.Options{})
	at := "http://" + s.Address() + "/"
	long := strings.Repeat("0123456789", 50_000)
	for _, length := range []int64{-1, int64(len(long))} {
		r := request(t.Context(), "POST", at, long)
		r.ContentLength = length
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	for i, e := range s.Log() {
		if e.Body != long || (len(e.Coding) > 0) != (i == 0) {
			t.Errorf("request %d: %d bytes, coding %q", i, len(e.Body), e.Coding)
		}
	}
	broken := errors.New("broken")
	for name, body := range map[string]io.Reader{
		"short":       strings.NewReader("abc"),
		"long":        strings.NewReader("abcdef"),
		"that breaks": io.MultiReader(strings.NewReader("ab"), failing{broken}),
	} {
		r := request(t.Context(), "POST", at, "")
		r.ContentLength, r.Body = 4, io.NopCloser(body)
		resp, err := tr.RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		if e := is(t, err, wire.Invalid); name == "that breaks" && !errors.Is(e.Err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An answer that comes before the request has been read, with the connection's end, is an answer.
func TestAnswerBeforeTheRequestsEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(c, make([]byte, 100))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}()
	tr := open(t, wire.Options{})
	resp, err := tr.RoundTrip(request(t.Context(), "POST", "http://"+l.Addr().String()+"/", strings.Repeat("x", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 413 || string(body) != "no" || err != nil {
		t.Errorf("status %d, body %q, %v", resp.StatusCode, body, err)
	}
}

// From the cancellation on nothing is sent and nothing is open, whoever cancels.
func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name   string
		cancel func(one, all context.CancelFunc, tr *wire.Transport)
	}{
		{"request", func(one, _ context.CancelFunc, _ *wire.Transport) { one() }},
		{"transport's context", func(_, all context.CancelFunc, _ *wire.Transport) { all() }},
		{"transport closed", func(_, _ context.CancelFunc, tr *wire.Transport) { tr.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			soon(t, func() time.Duration {
				hang := serve(t, &loadtest.Server{Delay: time.Minute})
				half := serve(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"))
				outer, all := context.WithCancel(t.Context())
				defer all()
				tr := wire.New(outer, wire.Options{MaxConns: 20})
				defer tr.Close()
				ctx, one := context.WithCancel(t.Context())
				defer one()
				var wg sync.WaitGroup
				for i := range 60 { // 20 hang, 20 wait, 20 are in a body
					address := hang.Address()
					if i >= 40 {
						address = half.Address()
					}
					wg.Go(func() { is(t, exchange(ctx, tr, "GET", "http://"+address+"/", ""), wire.Canceled) })
				}
				until(t, func() bool { return len(hang.Log()) == 20 && len(half.Log()) == 20 })
				begun := time.Now()
				c.cancel(one, all, tr)
				wg.Wait()
				took := time.Since(begun)
				for _, a := range tr.Stats() {
					if a.Busy+a.Waiting != 0 || a.Failed.Of(wire.Canceled) != a.Requests {
						t.Errorf("afterwards: %+v", a)
					}
				}
				if c.name != "request" {
					is(t, exchange(t.Context(), tr, "GET", "http://"+hang.Address()+"/", ""), wire.Canceled)
				}
				return took
			})
		})
	}
}

// Whatever deadlines, cancellations, breaks and limits do to one another: each request has one end, is seen at
// most once, and what was its connection is there for others.
func TestStorm(t *testing.T) {
	const senders, each, conns = 40, 60, 8
	s := serve(t, &loadtest.Server{BreakEvery: 7, Delay: time.Millisecond})
	tr := open(t, wire.Options{MaxConns: conns, MaxWaiting: 25, MaxAge: 40 * time.Millisecond})
	var wg sync.WaitGroup
	var ended [20]atomic.Uint64 // by kind; 0: well
	for i := range senders {
		wg.Go(func() {
			for k := range each {
				ctx, cancel := context.WithCancel(t.Context())
				switch (i + k) % 4 {
				case 0:
					ctx, cancel = context.WithTimeout(ctx, time.Duration(k)*time.Millisecond/2)
				case 1:
					time.AfterFunc(time.Duration(k)*time.Millisecond/4, cancel)
				}
				kind := wire.Kind(0)
				if err := exchange(ctx, tr, "GET", fmt.Sprintf("http://%s/%d-%d", s.Address(), i, k), ""); err != nil {
					if e, ok := errors.AsType[*wire.Error](err); ok {
						kind = e.Kind
					} else {
						t.Errorf("error %T: %v", err, err)
					}
				}
				ended[kind].Add(1)
				cancel()
			}
		})
	}
	wg.Wait()
	until(t, func() bool { return tr.Stats()[0].Dialing == 0 })
	a := tr.Stats()[0]
	if a.Requests != senders*each || a.Busy != 0 || a.Waiting != 0 || a.Idle != len(a.Conns) || a.Peak > conns || uint64(a.Idle) != a.Opened-a.Closed {
		t.Errorf("afterwards: %+v", a)
	}
	for kind := range ended {
		k := wire.Kind(kind)
		n := ended[kind].Load()
		switch k {
		case 0, wire.Timeout, wire.Canceled, wire.Reset, wire.Local:
			if n == 0 {
				t.Errorf("none ended as %v", k)
			}
			if k != 0 && a.Failed.Of(k) != n {
				t.Errorf("%d ended as %v, counted %d", n, k, a.Failed.Of(k))
			}
		default:
			if n > 0 {
				t.Errorf("%d ended as %v", n, k)
			}
		}
	}
	seen := make(map[string]bool)
	for _, e := range s.Log() {
		if seen[e.Path] {
			t.Errorf("the server saw %s twice", e.Path)
		}
		seen[e.Path] = true
	}
}

// soon checks that there is silence within 100 ms. On a machine that is busy with other things it need not be the first time.
func soon(t *testing.T, cancel func() time.Duration) {
	t.Helper()
	var took []time.Duration
	for range 5 {
		took = append(took, cancel())
		if took[len(took)-1] <= 100*time.Millisecond {
			return
		}
	}
	t.Errorf("silence after %v", took)
}

// What Go's own server says is understood.
func TestWithTheStandardServer(t *testing.T) {
	long := strings.Repeat("0123456789", 50_000)
	mux := http.NewServeMux()
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) })
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "ok")
	})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := range 10 {
			_, _ = fmt.Fprint(w, i)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Sum", "45")
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	tr := open(t, wire.Options{})
	standard := &http.Transport{DisableCompression: true}
	defer standard.CloseIdleConnections()
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/length", ""},
		{"HEAD", "/length", ""},
		{"GET", "/long", ""},
		{"HEAD", "/long", ""},
		{"GET", "/empty", ""},
		{"GET", "/none", ""},
		{"POST", "/echo", "body"},
		{"POST", "/echo", ""},
		{"PUT", "/echo", long},
		{"GET", "/hints", ""},
		{"GET", "/chunks", ""},
		{"GET", "/missing", ""},
		{"POST", "/length", "unread"},
	} {
		got, want := answer(t, tr, c.method, s.URL+c.path, c.body), answer(t, standard, c.method, s.URL+c.path, c.body)
		if got != want {
			t.Errorf("%s %s: %.300s, net/http reads %.300s", c.method, c.path, got, want)
		}
	}
	if a := tr.Stats()[0]; a.Opened != 2 || a.Failed.Total() != 0 || a.Requests != 13 { // it closes one, after it answered before a long body's end
		t.Errorf("%+v", a)
	}
}

// answer is all that was read, in words.
func answer(t *testing.T, rt http.RoundTripper, method, u, body string) string {
	t.Helper()
	resp, err := rt.RoundTrip(request(t.Context(), method, u, body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	resp.Header.Del("Date")
	resp.Header.Del("Connection") // net/http takes it away
	return fmt.Sprint(resp.Status, resp.Proto, resp.Header, resp.Trailer, resp.ContentLength, resp.TransferEncoding, resp.Close, err, string(text))
}

func TestCloseOfABodyThatIsRead(t *testing.T) {
	s := serve(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"))
	tr := open(t, wire.Options{})
	resp, err := tr.RoundTrip(request(t.Context(), "GET", "http://"+s.Address()+"/", "")) //nolint:bodyclose // it is closed below
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	begun := time.Now()
	_ = resp.Body.Close()
	if err := <-ended; err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// Under vegeta's own client and attacker nothing changes.
func TestUnderVegeta(t *testing.T) {
	s := serve(t, &loadtest.Server{BreakEvery: 20})
	tr := open(t, wire.Options{})
	attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{Transport: tr}))
	targets := vegeta.NewStaticTargeter(vegeta.Target{Method: "GET", URL: "http://" + s.Address() + "/"})
	failed := 0
	for r := range attacker.Attack(targets, vegeta.Rate{Freq: 400, Per: time.Second}, 500*time.Millisecond, "") {
		if r.Error != "" {
			failed++
		}
	}
	broken := 0
	for _, e := range s.Log() {
		if e.Status == 0 {
			broken++
		}
	}
	if failed != broken || broken == 0 {
		t.Errorf("%d reported, %d broken", failed, broken)
	}
}

// Whatever happened, a closed transport leaves neither a goroutine nor a descriptor.
func TestNothingStays(t *testing.T) {
	settle(t)
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)
	servers := []*loadtest.Server{
		{},
		{BreakEvery: 3},
		{BreakEvery: 3, Break: loadtest.EndInMid},
		{Delay: time.Minute},
		answers("garbage\r\n"),
		answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"),
	}
	for _, s := range servers {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		tr := wire.New(t.Context(), wire.Options{Total: 200 * time.Millisecond, MaxConns: 5})
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				resp, err := tr.RoundTrip(request(t.Context(), "GET", "http://"+s.Address()+"/", ""))
				if err == nil && i%4 > 0 { // one of four bodies is never closed
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		}
		wg.Wait()
		tr.Close()
		tr.Close()
		_ = s.Close()
	}
	until(t, func() bool { return runtime.NumGoroutine() <= goroutines && openFiles(t) <= descriptors })
}

func TestStats(t *testing.T) {
	s := serve(t, &loadtest.Server{BreakEvery: 4})
	tr := open(t, wire.Options{})
	for range 9 { // the 5th on a reused connection breaks, then the 9th is the 4th on the next
		_ = exchange(t.Context(), tr, "GET", "http://"+s.Address()+"/", "")
	}
	all := tr.Stats()
	if len(all) != 1 || all[0].Address != s.Address() {
		t.Fatalf("%+v", all)
	}
	a := all[0]
	if a.Requests != 9 || a.Failed.Total() != 1 || a.Opened != 2 || a.Closed != 1 || a.Idle != 1 || len(a.Nodes) != 1 || len(a.Conns) != 1 {
		t.Fatalf("%+v", a)
	}
	n, c := a.Nodes[0], a.Conns[0]
	const out = uint64(len("GET / HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n"))
	port := uint64(len(s.Address()) - len("127.0.0.1:"))
	if n.Remote != s.Address() || n.Requests != 9 || n.Opened != 2 || n.Closed != 1 || n.Failed.Of(wire.Reset) != 1 || n.Out != 9*(out+port) || n.In != 8*41 {
		t.Errorf("node: %+v", n)
	}
	if c.Remote != s.Address() || c.Local == "" || c.Requests != 4 || c.Busy || c.Out != 4*(out+port) || c.In != 4*41 || time.Since(c.Opened) > time.Minute {
		t.Errorf("connection: %+v", c)
	}
	tr.CloseIdleConnections()
	if a := tr.Stats()[0]; a.Closed != 2 || a.Idle != 0 || len(a.Conns) != 0 {
		t.Errorf("afterwards: %+v", a)
	}
}

// What a transport costs above the system calls.
func BenchmarkRoundTrip(b *testing.B) {
	address := constant(b)
	for name, rt := range map[string]http.RoundTripper{
		"wire":     open(b, wire.Options{}),
		"net/http": &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			u := "http://" + address + "/"
			b.RunParallel(func(pb *testing.PB) {
				r := request(b.Context(), "GET", u, "")
				for pb.Next() {
					resp, err := rt.RoundTrip(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
}

// constant serves one answer as cheaply as it can.
func constant(tb testing.TB) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nX-Node: app-1\r\n\r\nok\n")
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func open(tb testing.TB, o wire.Options) *wire.Transport {
	tb.Helper()
	tr := wire.New(context.Background(), o)
	tb.Cleanup(tr.Close)
	return tr
}

func serve(t *testing.T, s *loadtest.Server) *loadtest.Server {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// listen listens and never accepts.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func answers(text string) *loadtest.Server {
	return &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error { return writeThen(c, text, nil) }}
}

func writeThen(c net.Conn, text string, end error) error {
	_, err := io.WriteString(c, text)
	return errors.Join(err, end)
}

// reset makes the server's closing of the connection a reset.
func reset(c net.Conn, text string) error {
	if text != "" {
		_, _ = io.WriteString(c, text)
		time.Sleep(time.Millisecond) // else the reset overtakes what was written
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	return io.EOF
}

func request(ctx context.Context, method, u, body string) *http.Request {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, u, from)
	if err != nil {
		panic(err)
	}
	return r
}

// exchange does one exchange and reads its whole body.
func exchange(ctx context.Context, rt http.RoundTripper, method, u, body string) error {
	resp, err := rt.RoundTrip(request(ctx, method, u, body))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// is checks the kind of an error, and returns what there is.
func is(t *testing.T, err error, want wire.Kind) wire.Error {
	t.Helper()
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Errorf("error %v, want kind %v", err, want)
		return wire.Error{}
	}
	if e.Kind != want || e.At.IsZero() || e.Err == nil || e.Error() == "" {
		t.Errorf("error %v, want kind %v", err, want)
	}
	return *e
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("not in time")
		}
	}
}

func settle(t *testing.T) {
	t.Helper()
	for last, same := -1, 0; same < 20; time.Sleep(time.Millisecond) {
		if n := runtime.NumGoroutine(); n == last {
			same++
		} else {
			last, same = n, 0
		}
	}
}

// openFiles counts the sockets of the process.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	n := 0
	for _, f := range all {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
