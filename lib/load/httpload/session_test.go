package httpload_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// session makes a plan of one session, with these steps.
func session(t *testing.T, rate float64, d, think time.Duration, h http.HandlerFunc, steps ...load.Request) load.Plan {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return load.Plan{
		Schedule: schedule.Constant(rate, 0, d), Timeout: 5 * time.Second,
		Ingress: "http://ingress", Dial: s.Listener.Addr().String(), Seed: 1, Connections: 10_000, Engine: engine(t),
		Requests: steps, Sessions: []load.Session{{Name: "s", Steps: len(steps), Think: think}},
	}
}

// outcomes runs a plan to its end: every sample, by number, each exactly once.
func outcomes(t *testing.T, p load.Plan) []record.Sample {
	t.Helper()
	got := make([]record.Sample, p.Schedule.Count())
	seen := make([]bool, len(got))
	var mu sync.Mutex
	err := generator(t).Generate(t.Context(), p, func(time.Time) {}, func(x record.Sample) {
		mu.Lock()
		defer mu.Unlock()
		if seen[x.Seq] || x.Due != p.Schedule.Timetable().Due(x.Seq) {
			t.Errorf("sample %+v, twice: %v", x, seen[x.Seq])
		}
		got[x.Seq], seen[x.Seq] = x, true
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, ok := range seen {
		if !ok {
			t.Fatalf("request %d has no sample", n)
		}
	}
	return got
}

// shop is three nodes in turn, whose sessions are in each node's memory or in a store that they share.
func shop(shared bool) http.HandlerFunc {
	var turn atomic.Uint64
	var mu sync.Mutex
	stores := make([]map[string]string, 3)
	for i := range stores {
		stores[i] = make(map[string]string)
		if shared {
			stores[i] = stores[0]
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		store := stores[turn.Add(1)%3]
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/login" {
			id := fmt.Sprint("id", turn.Load())
			store[id] = r.Header.Get("X-User")
			http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/"})
			return
		}
		c, err := r.Cookie("session")
		if err != nil || store[c.Value] == "" {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, store[c.Value])
	}
}

// The experiment that sessions are for: behind a balancer that takes its nodes in turn, a session in a node's memory is
// found again by a third of the steps, and one in a shared store by all.
func TestSessionsInMemoryBreakBehindABalancer(t *testing.T) {
	engines(t, testSessionsInMemoryBreakBehindABalancer)
}

func testSessionsInMemoryBreakBehindABalancer(t *testing.T) {
	for _, shared := range []bool{false, true} {
		p := session(t, 300, 2*time.Second, 100*time.Millisecond, shop(shared),
			load.Request{Name: "login", Method: "POST", Path: "/login", Headers: map[string]string{"X-User": "{{.Key}}"}},
			load.Request{Name: "cart", Path: "/cart"},
			load.Request{Name: "pay", Method: "POST", Path: "/pay"},
		)
		good, due := make([]float64, 3), make([]float64, 3)
		for _, x := range outcomes(t, p) {
			due[x.Request]++
			if x.Class.Good() {
				good[x.Request]++
			} else if x.Class != record.Wrong {
				t.Errorf("%+v", x)
			}
		}
		t.Logf("shared %v: good %v of %v, by step", shared, good, due)
		for i := range due {
			ratio := good[i] / due[i]
			if (shared || i == 0) && ratio != 1 {
				t.Errorf("shared %v: of step %d %.2f are good", shared, i, ratio)
			}
			if !shared && i > 0 && (ratio < 0.2 || ratio > 0.47) {
				t.Errorf("in memory: of step %d %.2f are good, want a third", i, ratio)
			}
		}
	}
}

// Each client has its own cookies and captured values, sees its own key in every step, and takes its steps in order; a
// request of no session has no cookies.
func TestClientsAreApart(t *testing.T) { engines(t, testClientsAreApart) }

func testClientsAreApart(t *testing.T) {
	var mu sync.Mutex
	steps := make(map[string]int)
	h := func(w http.ResponseWriter, r *http.Request) {
		who, step := r.Header.Get("X-Key"), int(r.URL.Path[1]-'0')
		c, _ := r.Cookie("who")
		switch {
		case r.URL.Path == "/alone":
			if len(r.Cookies()) > 0 {
				w.WriteHeader(http.StatusConflict)
			}
			http.SetCookie(w, &http.Cookie{Name: "who", Value: "nobody", Path: "/"})
			return
		case step > 0 && (c == nil || c.Value != who || r.URL.Query().Get("id") != "id-"+who):
			w.WriteHeader(http.StatusConflict)
		}
		mu.Lock()
		if steps[who] != step {
			w.WriteHeader(http.StatusConflict)
		}
		steps[who]++
		late := len(steps) % 7
		mu.Unlock()
		time.Sleep(time.Duration(late) * 5 * time.Millisecond)
		http.SetCookie(w, &http.Cookie{Name: "who", Value: who, Path: "/"})
		fmt.Fprintf(w, `{"id": "id-%s"}`, who)
	}
	key := map[string]string{"X-Key": "{{.Key}}"}
	p := session(t, 400, time.Second, 20*time.Millisecond, h,
		load.Request{Name: "0", Path: "/0", Headers: key, Capture: []load.Capture{{Name: "id", JSON: "$.id"}}},
		load.Request{Name: "1", Path: "/1?id={{.Captured.id}}", Headers: key},
		load.Request{Name: "2", Method: "POST", Path: "/2?id={{.Captured.id}}", Headers: key, Body: "{{.Captured.id}}"},
	)
	p.Requests = append(p.Requests, load.Request{Name: "alone", Path: "/alone"})
	checkClasses(t, classes(outcomes(t, p)), map[record.Class]int{record.OK: int(p.Schedule.Count())})
	if len(steps) < 80 {
		t.Errorf("%d clients", len(steps))
	}
}

// A step that lacks what a failed one should have captured has its class and is never sent; one that
// lacks nothing is sent.
func TestStepsAfterAFailedOne(t *testing.T) { engines(t, testStepsAfterAFailedOne) }

func testStepsAfterAFailedOne(t *testing.T) {
	for name, c := range map[string]struct {
		first func(w http.ResponseWriter)
		want  record.Class
	}{
		"refused by the target": {func(w http.ResponseWriter) { http.Error(w, `{"id": 1}`, http.StatusForbidden) }, record.Wrong},
		"nothing to capture":    {func(w http.ResponseWriter) { fmt.Fprint(w, `{"no": 1}`) }, record.Wrong},
		"reset":                 {hangUp, record.EOF},
		"late":                  {func(w http.ResponseWriter) { time.Sleep(600 * time.Millisecond); fmt.Fprint(w, `{"id": 1}`) }, record.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var needy, free atomic.Int64
			p := session(t, 100, 500*time.Millisecond, 50*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/first":
					c.first(w)
				case "/free":
					free.Add(1)
				default:
					needy.Add(1)
				}
			},
				load.Request{Name: "first", Path: "/first", Capture: []load.Capture{{Name: "id", JSON: "$.id"}}},
				load.Request{Name: "needy", Path: "/needy/{{.Captured.id}}", Capture: []load.Capture{{Name: "next", Header: "X-Next"}}},
				load.Request{Name: "free", Path: "/free"},
				load.Request{Name: "needier", Path: "/", Body: "{{.Captured.next}}"},
			)
			p.Timeout = 300 * time.Millisecond
			var freed int64
			for _, x := range outcomes(t, p) {
				switch want := c.want; {
				case x.Request == 2:
					// After a late step it has what that one left of the time.
					if x.Class != record.OK && !(c.want == record.Timeout && x.Class == record.Timeout) {
						t.Errorf("a step that needs nothing: %+v", x)
					}
					if x.Sent != record.None {
						freed++
					}
				case x.Class != want || x.Done < x.Due || x.Done > x.Due+p.Timeout:
					t.Errorf("step %d: %+v, want %v", x.Request, x, want)
				case x.Request > 0 && (x.Sent != record.None || !x.Traced || len(x.Tried) > 0):
					t.Errorf("step %d, which cannot be sent: %+v", x.Request, x)
				}
			}
			if needy.Load() != 0 || free.Load() != freed || freed == 0 {
				t.Errorf("%d steps were sent without what they need; %d of %d that need nothing", needy.Load(), free.Load(), freed)
			}
		})
	}
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// A step waits for the one before it. The wait counts from when it was due, and is no lag of the generator's.
func TestStepsWaitForOneAnother(t *testing.T) { engines(t, testStepsWaitForOneAnother) }

func testStepsWaitForOneAnother(t *testing.T) {
	const answer = 200 * time.Millisecond
	p := session(t, 50, time.Second, 40*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) { time.Sleep(answer) },
		load.Request{Name: "a", Path: "/a"}, load.Request{Name: "b", Path: "/b"}, load.Request{Name: "c", Path: "/c"})
	ts, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	all := outcomes(t, p)
	done := make(map[uint64]time.Duration) // of the step before, by client
	waited := 0
	for _, x := range all {
		turn := ts.Turn(x.Seq)
		if x.Class != record.OK || x.Request != turn.Request {
			t.Fatalf("%+v", x)
		}
		if turn.Step > 0 && done[turn.Client] > x.Due {
			waited++
			before := done[turn.Client]
			if x.Sent < before || x.Free < before || x.Done < before+answer {
				t.Errorf("the step before ended at %v: %+v", before, x)
			}
			if x.Sent-x.Due > 20*time.Millisecond && x.OwnLag() > (x.Sent-x.Due)/2 {
				t.Errorf("its wait is taken for lag of our own: %+v, lag %v", x, x.OwnLag())
			}
		}
		done[turn.Client] = x.Done
	}
	if waited < len(all)/3 {
		t.Errorf("only %d of %d steps waited", waited, len(all))
	}
}

// A target that never answers holds a client for no longer than its steps' own timeouts.
func TestWaitsAreBounded(t *testing.T) { engines(t, testWaitsAreBounded) }

func testWaitsAreBounded(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() } // until the client goes
	p := session(t, 100, 300*time.Millisecond, 20*time.Millisecond, silent,
		load.Request{Name: "a", Path: "/a"}, load.Request{Name: "b", Path: "/b"}, load.Request{Name: "c", Path: "/c"})
	p.Timeout = 400 * time.Millisecond
	for _, x := range outcomes(t, p) {
		if x.Class != record.Timeout || x.Done != x.Due+p.Timeout {
			t.Errorf("%+v", x)
		}
	}
	// Steps that wait take up no connection.
	p.Connections = 2
	count := classes(outcomes(t, p))
	if count[record.Timeout] < 2 || count[record.Timeout]+count[record.Shed] != int(p.Schedule.Count()) {
		t.Errorf("%v", count)
	}
}

// What a target gives to be captured can spoil its own requests alone: they are wrong, go nowhere else, and are not ours to answer for.
func TestHostileCaptures(t *testing.T) { engines(t, testHostileCaptures) }

func testHostileCaptures(t *testing.T) {
	for name, value := range map[string]string{
		"an escape that is none": "%zz",
		"another host":           "http://other.invalid/",
		"a host before the path": "@other.invalid",
		"a fragment":             "#x",
		"spaces":                 "a b",
		"a long one":             strings.Repeat("x", load.MaxCaptured+1),
		"two requests":           "x\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1",
	} {
		t.Run(name, func(t *testing.T) {
			var strange atomic.Int64
			p := session(t, 100, 200*time.Millisecond, 20*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "ingress" || r.Header.Get("X-Evil") != "" || strings.HasPrefix(r.URL.Path, "/evil") {
					strange.Add(1)
				}
				fmt.Fprint(w, value)
			},
				load.Request{Name: "a", Path: "/a", Capture: []load.Capture{{Name: "v", Match: "(?s).*"}}},
				load.Request{Name: "b", Path: "/{{.Captured.v}}?q={{.Captured.v}}", Headers: map[string]string{"X-V": "{{.Captured.v}}"}, Body: "{{.Captured.v}}"},
			)
			for _, x := range outcomes(t, p) {
				if x.Class != record.OK && x.Class != record.Wrong {
					t.Errorf("%+v", x)
				}
			}
			if strange.Load() > 0 {
				t.Errorf("%d requests are not what the plan says", strange.Load())
			}
		})
	}
}
