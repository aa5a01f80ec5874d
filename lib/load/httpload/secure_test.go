package httpload_test

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A countedServer is a server of net/http's that counts its connections.
type countedServer struct {
	*httptest.Server
	conns, open, most atomic.Int64 // connections made; requests open now, and at most
}

// httptest starts a server that is spoken to so, and makes a plan for it.
func (w speech) httptest(t *testing.T, h http.HandlerFunc, rate float64, d time.Duration) (*countedServer, load.Plan) {
	t.Helper()
	s := new(countedServer)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		open := s.open.Add(1)
		defer s.open.Add(-1)
		for most := s.most.Load(); open > most && !s.most.CompareAndSwap(most, open); most = s.most.Load() {
		}
		if (r.ProtoMajor == 2) != w.two || (r.TLS != nil) != w.tls {
			http.Error(rw, "spoken to by "+r.Proto, http.StatusBadRequest)
			return
		}
		h(rw, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = w.two
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: w.streams}
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(!w.two)
	s.Config.Protocols.SetHTTP2(w.two && w.tls)
	s.Config.Protocols.SetUnencryptedHTTP2(w.two && !w.tls)
	p := load.Plan{
		Schedule: schedule.Constant(rate, 0, d), Timeout: time.Minute, Seed: 1, Connections: 1000, HTTP2: w.two,
		Requests: []load.Request{{Name: "one", Method: "GET", Path: "/{{.Seq}}"}},
	}
	if w.tls {
		s.TLS = certified.Clone()
		s.StartTLS()
		p.Ingress = "https://ingress"
	} else {
		s.Start()
		p.Ingress = "http://ingress"
	}
	p.Dial = s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return s, p
}

func fine(http.ResponseWriter, *http.Request) {}

// In every protocol a request gets there once, as it is, and its answer back.
func TestSpeeches(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			seen := make(map[string]bool)
			s, p := w.httptest(t, func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				key := r.Header.Get("X-Own") + string(body)
				if seen[key] || r.Host != "elsewhere" || r.URL.RawQuery != "b=c" || r.Header.Get("Accept-Encoding") != "" {
					rw.WriteHeader(http.StatusConflict)
				}
				seen[key] = true
				rw.Header().Set("X-Node", "app-1")
				_, _ = io.WriteString(rw, "got "+string(body))
			}, 200, 500*time.Millisecond)
			p.NodeHeader = "x-node"
			headers := map[string]string{"Host": "elsewhere", "x-own": "{{.Seq}}"}
			p.Requests = []load.Request{
				{Name: "a", Method: "GET", Path: "/a?b=c", Headers: headers},
				{Name: "b", Method: "POST", Path: "/a?b=c", Headers: map[string]string{"Host": "elsewhere", "Expect": "100-continue"}, Body: "{{.Value}}", Expect: load.Expect{Contains: "got "}},
				{Name: "c", Method: "HEAD", Path: "/a?b=c", Headers: headers},
			}
			got := run(t, p)
			checkClasses(t, classes(got), map[record.Class]int{record.OK: 100})
			for _, x := range got {
				if x.Node != "app-1" {
					t.Errorf("%+v", x)
				}
			}
			if n := s.conns.Load(); n > 100 || w.two && n > 20 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// What a target says is never taken for what net/http says of a connection: the request was sent, once, and its answer is none.
func TestWordsOfThePeer(t *testing.T) {
	for _, words := range []string{
		"server closed idle connection", "GOAWAY", "server closed idle connection GOAWAY", "readLoopPeekFailLocked: x", "client conn not usable",
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			s := &loadtest.Server{Answer: func(c net.Conn, r *http.Request) error {
				text := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
				if odd := strings.ContainsRune("13579", rune(r.URL.Path[len(r.URL.Path)-1])); odd {
					text = "HTTP/1.1 200 OK\r\nno field, " + words + "\r\n\r\n"
				}
				_, err := io.WriteString(c, text)
				return err
			}}
			p := speech{tls: true}.plan(t, s, 100, 200*time.Millisecond)
			p.Connections = 1
			p.Requests = []load.Request{{Name: "one", Method: "GET", Path: "/{{.Seq}}"}}
			checkClasses(t, classes(run(t, p)), map[record.Class]int{record.OK: 10, record.Wrong: 10})
			if n := len(s.Log()); n != 20 {
				t.Errorf("the server saw %d requests, of 20", n)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	trust := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificates[0].Certificate[0]}))
	stranger := httptest.NewTLSServer(nil)
	other := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: stranger.Certificate().Raw}))
	stranger.Close()
	for name, c := range map[string]struct {
		host string
		tls  *load.TLS
		two  bool // it is spoken to in HTTP/2
		has  []string
		want record.Class
	}{
		"the system's":              {"ingress", nil, false, nil, record.OK},
		"named":                     {"ingress", &load.TLS{CA: trust}, false, nil, record.OK},
		"named with others":         {"ingress", &load.TLS{CA: other + trust}, false, nil, record.OK},
		"a stranger's":              {"ingress", &load.TLS{CA: other}, false, nil, record.Wrong},
		"of another name":           {"elsewhere", nil, false, nil, record.Wrong},
		"of another name, as told":  {"elsewhere", &load.TLS{ServerName: "ingress"}, false, nil, record.OK},
		"any":                       {"elsewhere", &load.TLS{Insecure: true}, false, nil, record.OK},
		"no HTTP/2, and no ALPN":    {"ingress", nil, true, nil, record.Wrong},
		"no HTTP/2 in ALPN":         {"ingress", nil, true, []string{"http/1.1"}, record.Wrong},
		"HTTP/1.1 and more in ALPN": {"ingress", nil, false, []string{"h2", "http/1.1"}, record.OK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := certified.Clone()
			config.NextProtos = c.has
			p := plan(t, serve(t, &loadtest.Server{TLS: config}), 50, 100*time.Millisecond)
			p.Ingress, p.TLS, p.HTTP2 = "https://"+c.host+":443", c.tls, c.two
			checkClasses(t, classes(run(t, p)), map[record.Class]int{c.want: 5})
		})
	}
	// Who is spoken to in HTTP/2 and does not know it answers something, and not in HTTP.
	p := plan(t, serve(t, closes("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")), 50, 100*time.Millisecond)
	p.HTTP2 = true
	for class, n := range classes(run(t, p)) {
		if class != record.Wrong && class != record.EOF && class != record.Reset { // it may close before it is read
			t.Errorf("%d are %v", n, class)
		}
	}
	// And who speaks TLS to a server without it is not understood.
	p = plan(t, serve(t, answers("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")), 50, 100*time.Millisecond)
	p.Ingress, p.Timeout = "https://ingress", 2*time.Second
	if got := classes(run(t, p)); got[record.OK] > 0 {
		t.Errorf("%v", got)
	}
}

// Connections that are too old are not used again, and one for each request is one for each request.
func TestConnections(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			for what, c := range map[string]struct {
				set        func(*load.Plan)
				least, max int64
			}{
				// Bounded, so that a busy machine, on which handshakes take longer than requests are apart, does not make one for each.
				"kept":     {func(p *load.Plan) { p.Connections = 25 }, 1, 60},
				"too old":  {func(p *load.Plan) { p.MaxAge = 100 * time.Millisecond }, 5, 1000},
				"for each": {func(p *load.Plan) { p.NoKeepAlive = true }, 100, 100},
			} {
				s, p := w.httptest(t, fine, 125, 800*time.Millisecond)
				c.set(&p)
				checkClasses(t, classes(run(t, p)), map[record.Class]int{record.OK: 100})
				if n := s.conns.Load(); n < c.least || n > c.max {
					t.Errorf("%s: %d connections, want %d to %d", what, n, c.least, c.max)
				}
			}
		})
	}
}

// The bound is on what is open at once: connections, or streams.
func TestBound(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s, p := w.httptest(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }, 500, 400*time.Millisecond)
			p.Connections = 7
			got := classes(run(t, p))
			if got[record.OK] < 7 || got[record.OK]+got[record.Shed] != 200 || s.most.Load() > 7 {
				t.Errorf("%v, and %d open at once", got, s.most.Load())
			}
			if n := s.conns.Load(); n > 7 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// A server that lets few streams be open gets more connections.
func TestFewStreams(t *testing.T) {
	w := speech{name: "h2c", two: true, streams: 5}
	release := make(chan bool)
	s, p := w.httptest(t, func(http.ResponseWriter, *http.Request) { <-release }, 100, 500*time.Millisecond)
	time.AfterFunc(time.Second, func() { close(release) })
	checkClasses(t, classes(run(t, p)), map[record.Class]int{record.OK: 50})
	if n := s.conns.Load(); n < 5 || n > 50 {
		t.Errorf("%d connections for 50 streams, of which each takes 5", n)
	}
}

// A peer that is no more answers nothing. In HTTP/1.1 a request that gave up takes its connection with it; of HTTP/2 the connection must
// not keep all load for itself.
func TestSilentConnection(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			back, p := w.httptest(t, fine, 50, 4*time.Second)
			silence := newFunnel(t, back.Listener.Addr().String())
			p.Dial, p.Timeout = silence.Addr().String(), time.Second
			time.AfterFunc(500*time.Millisecond, silence.freeze) // what is open then says nothing any more; new ones do
			got := run(t, p)
			n := classes(got)
			late := 0
			for _, x := range got {
				if x.Due > 3*time.Second && x.Class != record.OK {
					late++
				}
			}
			if n[record.Timeout] == 0 || n[record.OK]+n[record.Timeout]+n[record.Unsent] != 200 || late > 15 { // unsent: on a busy machine the generator itself comes too late
				t.Errorf("%v, %d of the last 50 are bad", n, late)
			}
		})
	}
}

// A server that does not take connections in keeps its clients waiting, to their deadlines and no longer; the next ones connect anew.
func TestHandshakeThatHangs(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			back, p := w.httptest(t, fine, 50, 1500*time.Millisecond)
			door := newFunnel(t, back.Listener.Addr().String())
			door.shut.Store(true)
			p.Dial, p.Timeout = door.Addr().String(), 300*time.Millisecond
			time.AfterFunc(600*time.Millisecond, func() { door.shut.Store(false) })
			got := run(t, p)
			n := classes(got)
			if n[record.Timeout] < 10 || n[record.OK] < 15 || n[record.OK]+n[record.Timeout]+n[record.Unsent] != 75 { // unsent: on a busy machine the generator itself comes too late
				t.Errorf("%v", n)
			}
			for _, x := range got {
				if x.Class == record.Timeout && x.Done != x.Due+p.Timeout {
					t.Errorf("due %v, timed out at %v", x.Due, x.Done)
				}
			}
		})
	}
}

// A funnel passes on what comes, until it is frozen: then nothing of the connections that there are.
type funnel struct {
	net.Listener
	shut  atomic.Bool // of a new connection nothing is passed on
	mu    sync.Mutex
	gates []*gate
}

type gate struct{ shut atomic.Bool }

func newFunnel(t *testing.T, to string) *funnel {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &funnel{Listener: l}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			g := new(gate)
			g.shut.Store(f.shut.Load())
			f.mu.Lock()
			f.gates = append(f.gates, g)
			f.mu.Unlock()
			all.Go(func() { g.pass(b, c) })
			all.Go(func() { g.pass(c, b) })
		}
	})
	return f
}

func (f *funnel) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.gates {
		g.shut.Store(true)
	}
}

func (g *gate) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !g.shut.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// After the end nothing is left: no goroutine and no connection.
func TestNothingStays(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, w := range speeches() {
		for _, how := range []loadtest.Break{loadtest.Reset, loadtest.End} {
			s := &loadtest.Server{BreakEvery: 7, Break: how}
			p := w.plan(t, s, 300, 200*time.Millisecond)
			run(t, p)
			_ = s.Close()
		}
		s := &loadtest.Server{Delay: time.Hour}
		p := w.plan(t, s, 100, 100*time.Millisecond)
		p.Timeout = 200 * time.Millisecond
		if n := classes(run(t, p))[record.Timeout]; n < p.Connections {
			t.Errorf("%d timeouts", n)
		}
		_ = s.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for limit := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, and %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// What reads back goes the same way as load, and once.
func TestReadingOverEverySpeech(t *testing.T) {
	for _, w := range speeches() {
		_, p := w.httptest(t, func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, "this is "+r.URL.Path) }, 1, time.Second)
		e := new(httpload.Generator).Reading(t.Context(), p)
		templates, err := p.Templates()
		if err != nil {
			t.Fatal(err)
		}
		m, err := templates.Message(templates.Turn(0), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := e.Exchange(t.Context(), m)
		if err != nil || a.Status != 200 || !strings.HasPrefix(string(a.Body), "this is /0") {
			t.Errorf("%s: %+v, %v", w.name, a, err)
		}
		e.Close()
		if _, err := e.Exchange(t.Context(), m); err == nil {
			t.Errorf("%s: an exchange after the end", w.name)
		}
	}
}

// A target that answers with names and words of half a megabyte is not remembered with all of them.
func TestLongWords(t *testing.T) {
	long := strings.Repeat("n", 500_000)
	for _, w := range []speech{{name: "HTTP 1.1"}, {name: "TLS", tls: true}} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := &loadtest.Server{Answer: func(c net.Conn, r *http.Request) error {
				text := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Node: " + r.URL.Path[1:] + long + "\r\nX-Tried: a" + long + ", b\r\n\r\n"
				if r.Method == http.MethodPut {
					text = "HTTP/1.1 200 OK\r\nno field, " + long + "\r\n\r\n"
				}
				_, err := io.WriteString(c, text)
				return err
			}}
			p := w.plan(t, s, 100, 200*time.Millisecond)
			p.NodeHeader, p.AttemptsHeader = "X-Node", "X-Tried"
			p.Requests = []load.Request{{Name: "one", Method: "GET", Path: "/{{.Seq}}"}, {Name: "bad", Method: "PUT", Path: "/{{.Seq}}"}}
			seen := make(map[record.Class]int)
			for _, x := range run(t, p) {
				seen[x.Class]++
				kept := len(x.Node) + len(x.Error)
				for _, name := range x.Tried {
					kept += len(name)
				}
				if x.Class == record.OK && (len(x.Node) != record.MaxName || len(x.Tried) != 2 || x.Tried[1] != "b") || kept > 1000 {
					t.Fatalf("%d bytes are kept of an answer that is %v, of %d nodes tried", kept, x.Class, len(x.Tried))
				}
			}
			if seen[record.OK] < 1 || seen[record.Wrong] < 1 || seen[record.OK]+seen[record.Wrong] != 20 {
				t.Errorf("classes %v", seen)
			}
		})
	}
}
