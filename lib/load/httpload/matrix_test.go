package httpload_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
)

// A speech is a way to talk with the server.
type speech struct {
	name     string
	tls, two bool
	streams  int // that a connection may take; 0: net/http's default
}

func speeches() []speech {
	return []speech{{name: "HTTP 1.1"}, {name: "TLS", tls: true}, {name: "HTTP 2", tls: true, two: true}, {name: "h2c", two: true}}
}

// plan starts a truth server that is spoken to so, and makes a plan for it.
func (w speech) plan(t *testing.T, s *loadtest.Server, rate float64, d time.Duration) load.Plan {
	t.Helper()
	s.HTTP2 = w.two
	if w.tls {
		s.TLS = certified
	}
	p := plan(t, serve(t, s), rate, d)
	p.HTTP2, p.Connections = w.two, 8
	p.Timeout = 5 * time.Minute // on a busy machine everything can stand still for a while
	if w.tls {
		p.Ingress = "https://ingress:443"
	}
	return p
}

// A failing is one cell of the matrix: how the server fails, and what that is to be called.
type failing struct {
	name  string
	on    loadtest.On
	how   loadtest.Break
	class record.Class

	single bool // a connection for each request
	alone  bool // one request at a time, so that the end of a connection of HTTP/2 is the end of one request
	two    bool // of HTTP/2 alone
	late   bool // nobody listens for a while
}

func failings() []failing {
	return []failing{
		{name: "reset on reused", how: loadtest.Reset, class: record.Reset, alone: true},
		{name: "reset on fresh", on: loadtest.Fresh, how: loadtest.Reset, class: record.Reset, single: true},
		{name: "FIN", how: loadtest.End, class: record.EOF, alone: true},
		{name: "FIN on fresh", on: loadtest.Fresh, how: loadtest.End, class: record.EOF, single: true},
		{name: "mid-body reset", on: loadtest.All, how: loadtest.ResetInMid, class: record.Truncated, alone: true},
		{name: "truncated", on: loadtest.All, how: loadtest.EndInMid, class: record.Truncated, alone: true},
		{name: "refused", late: true, class: record.Refused, single: true},
		{name: "stream reset", how: loadtest.ResetStream, class: record.Reset, two: true},
		{name: "stream refused", how: loadtest.RefuseStream, class: record.Reset, two: true},
		{name: "stream refused on fresh", on: loadtest.Fresh, how: loadtest.RefuseStream, class: record.Reset, two: true, single: true},
		{name: "stream reset in mid-body", on: loadtest.All, how: loadtest.ResetStreamInMid, class: record.Truncated, two: true},
		{name: "GOAWAY", how: loadtest.GoAway, class: record.EOF, two: true},
		{name: "GOAWAY on fresh", on: loadtest.Fresh, how: loadtest.GoAway, class: record.EOF, two: true, single: true},
	}
}

// The failures that are reported are those that were made, each of its class and counted once, and no request is sent
// twice: whatever the engine, the protocol, the method and the way to fail.
func TestFailureTruth(t *testing.T) {
	requests := []load.Request{{Method: "GET"}, {Method: "POST", Body: "{{.Value}}"}}
	for _, engine := range allEngines() {
		for _, how := range speeches() {
			for _, f := range failings() {
				for _, r := range requests {
					if f.two && !how.two {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%s/%s", engine, how.name, r.Method, f.name), func(t *testing.T) {
						t.Parallel()
						f.check(t, how, r)
					})
				}
			}
		}
	}
}

func (f failing) check(t *testing.T, how speech, r load.Request) {
	t.Helper()
	s := &loadtest.Server{BreakEvery: 5, BreakOn: f.on, Break: f.how}
	if f.late {
		s.BreakEvery, s.Late = 0, true
	}
	rate, d := 500.0, 300*time.Millisecond
	if f.single { // handshakes are dear
		rate, d = 200, 400*time.Millisecond
	}
	p := how.plan(t, s, rate, d)
	r.Name, r.Path = "one", "/{{.Seq}}"
	p.Requests, p.NoKeepAlive = []load.Request{r}, f.single
	if f.alone && how.two {
		p.Connections = 1
	}
	got := make(map[record.Class]int)
	for _, x := range generateWith(t, generator(t), p, func(ended int) {
		if ended == 20 && s.Open() != nil {
			t.Error("the server does not open")
		}
	}) {
		got[x.Class]++
	}
	// A request that GOAWAY came before ends before the server has read it, and the log has it before it has its fate.
	sent := int(p.Schedule.Count()) - got[record.Shed]
	if f.late {
		sent -= got[f.class]
	}
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		if n := len(s.Log()); n >= sent && n-s.Broken() == got[record.OK] {
			break
		}
	}
	log, broken := s.Log(), s.Broken()
	seen := make(map[string]bool)
	for _, e := range log {
		if seen[e.Path] {
			t.Errorf("the server saw %s twice", e.Path)
		}
		seen[e.Path] = true
		if e.Method != r.Method || e.Status != 0 && (e.Body == "") != (r.Body == "") {
			t.Errorf("the server read %s with %q", e.Method, e.Body)
		}
	}
	shed := got[record.Shed] // found no connection, and was not sent
	want := map[record.Class]int{record.OK: len(log) - broken, f.class: broken, record.Shed: shed}
	if f.late {
		want[f.class] = int(p.Schedule.Count()) - len(log) - shed
	}
	if want[f.class] < 1 || want[record.OK] < 5 {
		t.Fatalf("the server saw %d requests and broke %d, %d were shed: nothing to compare with", len(log), broken, shed)
	}
	checkClasses(t, got, want)
	if n := want[record.OK] + want[f.class] + shed; n != int(p.Schedule.Count()) {
		t.Errorf("%d requests have an end, of %d", n, p.Schedule.Count())
	}
}
