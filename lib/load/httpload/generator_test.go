package httpload_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// No retries, ever: what the server broke is what the generator reports, for every method and every
// way to break a connection, and the server sees no request twice.
func TestFailuresReportedAreThoseInjected(t *testing.T) {
	engines(t, testFailuresReportedAreThoseInjected)
}

func testFailuresReportedAreThoseInjected(t *testing.T) {
	for _, how := range []struct {
		is    loadtest.Break
		class record.Class
	}{
		{loadtest.Reset, record.Reset},
		{loadtest.End, record.EOF},
		{loadtest.ResetInMid, record.Truncated},
		{loadtest.EndInMid, record.Truncated},
	} {
		for _, r := range []load.Request{
			{Method: "GET"},
			{Method: "HEAD"},
			{Method: "DELETE"},
			{Method: "OPTIONS"},
			{Method: "POST", Body: "{{.Value}}"},
			{Method: "POST", Headers: map[string]string{"Idempotency-Key": "{{.Key}}"}},
			{Method: "PUT"},
		} {
			if r.Method == "HEAD" && how.class == record.Truncated {
				continue // has no body that could break
			}
			for _, over := range []*tls.Config{nil, certified} {
				t.Run(fmt.Sprintf("%s %d bytes %v, TLS %v", r.Method, len(r.Body), how.is, over != nil), func(t *testing.T) {
					s := serve(t, &loadtest.Server{BreakEvery: 10, Break: how.is, TLS: over})
					r.Path = "/{{.Seq}}"
					p := plan(t, s, 1000, 150*time.Millisecond)
					p.Requests = []load.Request{r}
					p.Connections = 16 // so that, however slow handshakes are, most requests come on a used one
					if over != nil {
						p.Ingress = "https://ingress:443"
					}
					got := classes(run(t, p))
					broken, log := 0, s.Log()
					seen := make(map[string]bool)
					for _, e := range log {
						if e.Status == 0 {
							broken++
						}
						if seen[e.Path] {
							t.Errorf("the server saw %s twice", e.Path)
						}
						seen[e.Path] = true
					}
					if broken < 2 || len(log) != 150 {
						t.Fatalf("the server saw %d requests and broke %d: nothing to compare with", len(log), broken)
					}
					checkClasses(t, got, map[record.Class]int{how.class: broken, record.OK: 150 - broken})
				})
			}
		}
	}
}

// The trick against replays must not show on the wire.
func TestRequestOnTheWire(t *testing.T) { engines(t, testRequestOnTheWire) }

func testRequestOnTheWire(t *testing.T) {
	type row struct {
		method, body, length string
		over                 *tls.Config
	}
	rows := []row{
		{"GET", "", "", nil},
		{"HEAD", "", "", nil},
		{"DELETE", "", "", nil},
		{"OPTIONS", "", "", nil},
		{"POST", "", "0", nil},
		{"PUT", "", "0", nil},
		{"PATCH", "", "0", nil},
		{"POST", "four", "4", nil},
		{"GET", "four", "4", nil},
	}
	for _, r := range rows {
		r.over = certified
		rows = append(rows, r)
	}
	for _, c := range rows {
		s := serve(t, &loadtest.Server{TLS: c.over})
		p := plan(t, s, 100, 30*time.Millisecond)
		if c.over != nil {
			p.Ingress = "https://ingress:443"
		}
		p.Requests = []load.Request{{
			Method: c.method, Path: "/a?b=c", Body: c.body,
			Headers: map[string]string{"x-own": "{{.Seq}}", "Host": "elsewhere"},
		}}
		checkClasses(t, classes(run(t, p)), map[record.Class]int{record.OK: 3})
		seen := make(map[string]bool) // each once; on a busy machine they may overtake one another
		for _, e := range s.Log() {
			h := e.Header
			own := h.Get("X-Own")
			if !slices.Contains([]string{"0", "1", "2"}, own) || seen[own] {
				t.Errorf("%s: x-own is %q, seen %v", c.method, own, seen)
			}
			seen[own] = true
			if e.Method != c.method || e.Path != "/a?b=c" || e.Body != c.body || len(e.Coding) > 0 || h.Get("Content-Length") != c.length {
				t.Errorf("%s with %q: the server read %+v", c.method, c.body, e)
			}
			if e.Host != "elsewhere" || h.Get("X-Vegeta-Seq") != "" || h.Get("Accept-Encoding") != "" {
				t.Errorf("%s: host %s, headers %v", c.method, e.Host, h)
			}
		}
	}
}

// A user may ask for connections to be closed, which lanes do not do: then each request has one of its own.
func TestConnectionClose(t *testing.T) { engines(t, testConnectionClose) }

func testConnectionClose(t *testing.T) {
	for _, path := range []string{"/", "/{{.Seq}}"} {
		s := serve(t, new(loadtest.Server))
		p := plan(t, s, 100, 100*time.Millisecond)
		p.Requests[0].Path, p.Requests[0].Headers = path, map[string]string{"Connection": "close"}
		checkClasses(t, classes(run(t, p)), map[record.Class]int{record.OK: 10})
		for _, e := range s.Log() {
			if e.Reused || e.Header.Get("Connection") != "close" {
				t.Errorf("%s: reused is %v, header %v", path, e.Reused, e.Header)
			}
		}
	}
}

func TestClasses(t *testing.T) { engines(t, testClasses) }

func testClasses(t *testing.T) {
	body := "ok\n"
	for _, c := range []struct {
		name   string
		server *loadtest.Server // nil: nobody listens
		expect load.Expect
		want   record.Class
	}{
		{"as expected", &loadtest.Server{}, load.Expect{Status: []int{200, 201}, Body: &body, Contains: "k"}, record.OK},
		{"other status", &loadtest.Server{}, load.Expect{Status: []int{204}}, record.Wrong},
		{"5xx", &loadtest.Server{FailEvery: 1}, load.Expect{}, record.Wrong},
		{"other body", &loadtest.Server{}, load.Expect{Body: new(string)}, record.Wrong},
		{"body without it", &loadtest.Server{}, load.Expect{Contains: "no"}, record.Wrong},
		{"other header", &loadtest.Server{}, load.Expect{Header: map[string]string{"X-A": "b"}}, record.Wrong},
		{"redirect", answers("HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n"), load.Expect{}, record.OK},
		{"within", &loadtest.Server{Delay: 50 * time.Millisecond}, load.Expect{Within: 20 * time.Millisecond}, record.Slow},
		{"wrong goes before slow", &loadtest.Server{Delay: 50 * time.Millisecond}, load.Expect{Within: 20 * time.Millisecond, Contains: "no"}, record.Wrong},
		{"slow answer", &loadtest.Server{Delay: time.Minute}, load.Expect{}, record.Timeout},
		{"slow body", answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), load.Expect{}, record.Timeout},
		{"upgrade", answers("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), load.Expect{}, record.Wrong},
		{"upgrade, wanted", answers("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), load.Expect{Status: []int{101}}, record.Wrong},
		{"not HTTP", answers("SSH-2.0-x\r\n\r\n"), load.Expect{}, record.Wrong},
		{"broken chunks", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), load.Expect{}, record.Wrong},
		{"closed in the header", closes("HTTP/1.1 200 O"), load.Expect{}, record.Truncated},
		{"closed in the body", closes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), load.Expect{}, record.Truncated},
		{"closed at the body's end", closes("HTTP/1.1 200 OK\r\n\r\nok\n"), load.Expect{Body: &body}, record.OK},
		{"closed before", closes(""), load.Expect{}, record.EOF},
		{"nobody listens", nil, load.Expect{}, record.Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.server
			if s == nil {
				s = new(loadtest.Server)
			}
			serve(t, s)
			if c.server == nil {
				_ = s.Close()
			}
			p := plan(t, s, 50, 100*time.Millisecond)
			p.Timeout = 300 * time.Millisecond
			p.Requests[0].Expect = c.expect
			got := run(t, p)
			checkClasses(t, classes(got), map[record.Class]int{c.want: 5})
			for _, x := range got {
				if x.Sent == record.None || x.Sent < x.Due || x.Done < x.Sent || x.Done > x.Due+p.Timeout {
					t.Errorf("due %v, sent %v, done %v", x.Due, x.Sent, x.Done)
				}
				if x.Class == record.Timeout && x.Done != x.Due+p.Timeout {
					t.Errorf("timeout of the request due at %v is done at %v", x.Due, x.Done)
				}
			}
		})
	}
}

func TestNameThatDoesNotResolve(t *testing.T) { engines(t, testNameThatDoesNotResolve) }

func testNameThatDoesNotResolve(t *testing.T) {
	p := plan(t, serve(t, new(loadtest.Server)), 50, 60*time.Millisecond)
	p.Ingress, p.Dial = "http://no-such-name.invalid:80", ""
	p.Timeout = 5 * time.Second
	checkClasses(t, classes(run(t, p)), map[record.Class]int{record.DNS: 3})
}

// Requests beyond the connections wait for one, to their deadlines, and none is sent beside them.
func TestConnectionsBound(t *testing.T) { engines(t, testConnectionsBound) }

func testConnectionsBound(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: time.Minute})
	// A connection comes free half a second before the time of who waits for it is up, which a busy machine may need.
	const connections = 50
	p := plan(t, s, 100, time.Second)
	p.Timeout, p.Connections = 2*time.Second, connections
	g := generator(t)
	got := generate(t, g, p)
	count := classes(got)
	if count[record.Timeout] < connections || count[record.Timeout]+count[record.Shed] != 100 {
		t.Errorf("%v: want timeouts and requests that were shed, 100 in all", count)
	}
	if g.Peak() != connections {
		t.Errorf("peak %d, want %d", g.Peak(), connections)
	}
	for _, x := range got {
		if x.Done != x.Due+p.Timeout {
			t.Errorf("due %v, done %v", x.Due, x.Done)
		}
		if x.Class == record.Shed && x.Sent != record.None {
			t.Errorf("shed request due at %v: sent %v", x.Due, x.Sent)
		}
		if x.Seq >= connections && (x.Sent == record.None || x.Sent < 1900*time.Millisecond || x.OwnLag() > time.Second) {
			t.Errorf("due %v, sent %v, lag %v: want it to wait for the first ones to time out, and no lag", x.Due, x.Sent, x.OwnLag())
		}
	}
}

// Of a thousand requests that are due at once, those that no connection came free for in time are shed: it is the target that held them all.
func TestShed(t *testing.T) { engines(t, testShed) }

func testShed(t *testing.T) {
	const connections = 7
	p := plan(t, serve(t, &loadtest.Server{Delay: time.Minute}), 1e6, time.Millisecond)
	p.Timeout, p.Connections = 2*time.Second, connections
	got := run(t, p)
	count := classes(got)
	if count[record.Shed] < 900 || count[record.Timeout] < connections || count[record.Shed]+count[record.Timeout] != 1000 {
		t.Errorf("%v: want at least %d timeouts, and nearly all of 1000 shed", count, connections)
	}
	for _, x := range got {
		if x.Done != x.Due+p.Timeout || x.Class == record.Shed && x.Sent != record.None {
			t.Errorf("%v: due %v, sent %v, done %v", x.Class, x.Due, x.Sent, x.Done)
		}
	}
}

func TestNodeAndAttempts(t *testing.T) { engines(t, testNodeAndAttempts) }

func testNodeAndAttempts(t *testing.T) {
	many := "a"
	for range 40 {
		many += ", a"
	}
	for _, c := range []struct {
		headers string
		node    string
		tried   []string
		traced  bool
	}{
		{"X-Node: app-1\r\nX-Up: 10.0.0.1:80, 10.0.0.2:80 : app-1\r\nX-Up: app-3\r\n", "app-1", []string{"10.0.0.1:80", "10.0.0.2:80", "app-1", "app-3"}, true},
		{"X-Node: app-1\r\nX-Up: \r\n", "app-1", []string{}, true},
		{"X-Node: app-1\r\nX-Up: -\r\n", "app-1", []string{}, true},
		{"X-Node: app-1\r\nX-Up: [::1]:80\r\n", "app-1", []string{"[::1]:80"}, true},
		{"X-Node: app-1\r\n", "app-1", []string{"app-1"}, false},
		{"", "", nil, false},
		{"X-Up: " + many + "\r\n", "", slices.Repeat([]string{"a"}, 16), true},
	} {
		p := plan(t, serve(t, answers("HTTP/1.1 200 OK\r\n"+c.headers+"Content-Length: 0\r\n\r\n")), 50, 20*time.Millisecond)
		p.NodeHeader, p.AttemptsHeader = "x-node", "X-Up"
		for _, x := range run(t, p) {
			if x.Node != c.node || !slices.Equal(x.Tried, c.tried) || x.Traced != c.traced {
				t.Errorf("%q: node %q, tried %q, traced %v", c.headers, x.Node, x.Tried, x.Traced)
			}
		}
		p.AttemptsHeader = ""
		for _, x := range run(t, p) {
			if x.Node != c.node || x.Tried != nil || x.Traced {
				t.Errorf("%q without an attempts header in the plan: node %q, tried %q, traced %v", c.headers, x.Node, x.Tried, x.Traced)
			}
		}
	}
}

func TestRequestsByWeight(t *testing.T) { engines(t, testRequestsByWeight) }

func testRequestsByWeight(t *testing.T) {
	s := serve(t, &loadtest.Server{})
	p := plan(t, s, 2000, 500*time.Millisecond)
	p.Requests = []load.Request{
		{Name: "a", Weight: 3, Method: "GET", Path: "/a/{{.Seq}}"},
		{Name: "b", Method: "GET", Path: "/b/{{.Seq}}"},
	}
	count := make(map[int]int)
	of := make(map[uint64]int)
	for _, x := range run(t, p) {
		count[x.Request]++
		of[x.Seq] = x.Request
	}
	if count[1] < 150 || count[1] > 350 {
		t.Errorf("%d of 1000 requests are of the kind with a quarter of the weight", count[1])
	}
	for _, e := range s.Log() {
		var kind rune
		var seq uint64
		if _, err := fmt.Sscanf(e.Path, "/%c/%d", &kind, &seq); err != nil || int(kind-'a') != of[seq] {
			t.Errorf("server saw %s, the sample says request %d (%v)", e.Path, of[seq], err)
		}
	}
}

func TestCancel(t *testing.T) { engines(t, testCancel) }

func testCancel(t *testing.T) {
	s := serve(t, &loadtest.Server{Delay: time.Minute})
	p := plan(t, s, 200, time.Minute)
	p.Timeout = 30 * time.Second
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var got []record.Sample
	var zero time.Time
	time.AfterFunc(300*time.Millisecond, cancel)
	err := generator(t).Generate(ctx, p, func(z time.Time) { zero = z }, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, x)
	})
	ended := time.Since(zero)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if ended > 5*time.Second {
		t.Errorf("ended %v after zero: it waited for answers", ended)
	}
	if len(got) == 0 || len(got) > 1000 {
		t.Errorf("%d samples", len(got))
	}
	checkClasses(t, classes(got), map[record.Class]int{record.Unsent: len(got)})
	n := len(s.Log())
	time.Sleep(100 * time.Millisecond)
	if now := len(s.Log()); now != n {
		t.Errorf("%d requests arrived after the end", now-n)
	}
}

func TestBadPlans(t *testing.T) {
	good := plan(t, serve(t, new(loadtest.Server)), 10, time.Second)
	for what, spoil := range map[string]func(*load.Plan){
		"no rate":         func(p *load.Plan) { p.Schedule = schedule.Constant(0, 0, time.Second) },
		"no requests":     func(p *load.Plan) { p.Requests = nil },
		"ingress":         func(p *load.Plan) { p.Ingress = "lb:8080" },
		"template":        func(p *load.Plan) { p.Requests[0].Path = "/{{" },
		"unknown field":   func(p *load.Plan) { p.Requests[0].Body = "{{.Sequence}}" },
		"unknown env":     func(p *load.Plan) { p.Requests[0].Body = "{{.Env.NONE}}" },
		"method":          func(p *load.Plan) { p.Requests[0].Method = "GE T" },
		"path":            func(p *load.Plan) { p.Requests[0].Path = "x" },
		"weight":          func(p *load.Plan) { p.Requests[0].Weight = -1 },
		"redirects":       func(p *load.Plan) { p.Redirects = load.MaxRedirects + 1 },
		"certificates":    func(p *load.Plan) { p.TLS = &load.TLS{CA: "none"} },
		"in-flight bound": func(p *load.Plan) { p.Connections = 0 },
		"engine":          func(p *load.Plan) { p.Engine = "turbot" },
	} {
		p := good
		p.Requests = slices.Clone(p.Requests)
		spoil(&p)
		err := new(httpload.Generator).Generate(t.Context(), p, func(time.Time) { t.Errorf("%s: started", what) }, func(record.Sample) {})
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// What keeps a request from being sent is neither silent nor the target's fault.
func TestTemplateThatFailsLater(t *testing.T) { engines(t, testTemplateThatFailsLater) }

func testTemplateThatFailsLater(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	p := plan(t, s, 100, 100*time.Millisecond)
	p.Requests[0].Path = `/{{if eq .Seq 4}}{{index "" 5}}{{end}}`
	p.Requests[0].Headers = map[string]string{"X-A": "{{if eq .Seq 7}}\n{{end}}"}
	var mu sync.Mutex
	var got []record.Sample
	err := new(httpload.Generator).Generate(t.Context(), p, func(time.Time) {}, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, x)
	})
	if err == nil {
		t.Error("no error")
	}
	checkClasses(t, classes(got), map[record.Class]int{record.OK: 8, record.Unsent: 2})
}

// parked is turbo that parks every request whose answer is not there at once.
const parked = load.Turbo + ", parked"

func allEngines() []load.Engine { return []load.Engine{load.Attack, load.Turbo, parked} }

// engines runs a test with each engine: plans get theirs from the name of the test that they are made in, and so do generators.
func engines(t *testing.T, test func(*testing.T)) {
	t.Helper()
	for _, e := range allEngines() {
		t.Run(string(e), test)
	}
}

// generator is what a test runs with.
func generator(t *testing.T) *httpload.Generator {
	t.Helper()
	if strings.Contains(t.Name(), strings.ReplaceAll("/"+string(parked), " ", "_")) {
		return httpload.Parking()
	}
	return new(httpload.Generator)
}

// engine is the one that a test runs with.
func engine(t *testing.T) load.Engine {
	t.Helper()
	if strings.Contains(t.Name(), "/"+string(load.Turbo)) {
		return load.Turbo
	}
	return load.Attack
}

func serve(t *testing.T, s *loadtest.Server) *loadtest.Server {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// answers makes a server that writes this and keeps the connection open.
func answers(text string) *loadtest.Server {
	return &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
		_, err := io.WriteString(c, text)
		return err
	}}
}

// closes makes a server that writes this and closes the connection.
func closes(text string) *loadtest.Server {
	return &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
		_, err := io.WriteString(c, text)
		return errors.Join(err, io.EOF)
	}}
}

func plan(t *testing.T, s *loadtest.Server, rate float64, d time.Duration) load.Plan {
	t.Helper()
	return load.Plan{
		Engine:   engine(t),
		Schedule: schedule.Constant(rate, 0, d), Timeout: 10 * time.Second,
		Ingress: "http://ingress:80", Dial: s.Address(), Seed: 1, Connections: 10_000,
		Requests: []load.Request{{Name: "one", Method: "GET", Path: "/"}},
	}
}

func run(t *testing.T, p load.Plan) []record.Sample {
	t.Helper()
	return generate(t, generator(t), p)
}

// generate runs a plan to its end, and checks that every request of the schedule has exactly
// one sample with its own due time.
func generate(t *testing.T, g *httpload.Generator, p load.Plan) []record.Sample {
	t.Helper()
	return generateWith(t, g, p, func(int) {})
}

// generateWith does that, and says after each request how many have ended.
func generateWith(t *testing.T, g *httpload.Generator, p load.Plan, each func(ended int)) []record.Sample {
	t.Helper()
	var mu sync.Mutex
	got := make(map[uint64]record.Sample)
	err := g.Generate(t.Context(), p, func(time.Time) {}, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := got[x.Seq]; twice || x.Due != p.Schedule.Timetable().Due(x.Seq) || x.Free != record.None && p.Connections > 1000 {
			t.Errorf("sample %+v, twice: %v", x, twice)
		}
		got[x.Seq] = x
		each(len(got))
	})
	if err != nil {
		t.Fatal(err)
	}
	if uint64(len(got)) != p.Schedule.Count() {
		t.Fatalf("%d samples, want %d", len(got), p.Schedule.Count())
	}
	all := make([]record.Sample, 0, len(got))
	for _, x := range got {
		all = append(all, x)
	}
	return all
}

func classes(all []record.Sample) map[record.Class]int {
	n := make(map[record.Class]int)
	for _, x := range all {
		n[x.Class]++
	}
	return n
}

func checkClasses(t *testing.T, got, want map[record.Class]int) {
	t.Helper()
	for _, c := range record.Classes() {
		if got[c] != want[c] {
			t.Errorf("%d requests are %v, want %d", got[c], c, want[c])
		}
	}
}
