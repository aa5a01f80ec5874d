package load_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// sessions makes a plan of one request and of sessions with these many steps, all of weight 1.
func sessions(rate float64, think time.Duration, alone bool, steps ...int) load.Plan {
	p := load.Plan{Schedule: schedule.Constant(rate, 0, time.Minute), Ingress: "http://lb", Seed: 7}
	for k, n := range steps {
		p.Sessions = append(p.Sessions, load.Session{Name: fmt.Sprint("s", k), First: len(p.Requests), Steps: n, Think: think})
		for i := range n {
			p.Requests = append(p.Requests, load.Request{Name: fmt.Sprint("s", k, " step ", i), Path: "/"})
		}
	}
	if alone {
		p.Requests = append(p.Requests, load.Request{Name: "alone", Path: "/"})
	}
	return p
}

// Clients are as many as the mean rate wants: whose turn a number is does not depend on when it is due.
func TestSessionsUnderARampAreThoseOfItsMean(t *testing.T) {
	flat := sessions(300, 500*time.Millisecond, true, 4, 2)
	ramp := flat
	ramp.Schedule.Stages = []schedule.Stage{{Rate: 100, To: 500, For: time.Minute}}
	a, b := templates(t, flat), templates(t, ramp)
	for seq := range flat.Schedule.Count() {
		if x, y := a.Turn(seq), b.Turn(seq); x != y {
			t.Fatalf("number %d is %+v, under a ramp %+v", seq, x, y)
		}
	}
}

func templates(t *testing.T, p load.Plan) *load.Templates {
	t.Helper()
	ts, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// Whatever the mix: every client takes its steps once, in order, from the first one on, and is named by it.
func TestClientsTakeTheirStepsInOrder(t *testing.T) {
	for name, p := range map[string]load.Plan{
		"one":                sessions(300, time.Second, false, 4),
		"one, and a request": sessions(300, time.Second, true, 4),
		"three":              sessions(300, time.Second, true, 4, 1, 7),
		"slow":               sessions(3, time.Second, true, 4, 2),
		"slower than think":  sessions(0.5, time.Second, false, 3),
		"no think":           sessions(100, 0, true, 5),
		"odd row":            sessions(17, time.Second, false, 2),
		"fast":               sessions(5000, 2*time.Second, true, 3),
	} {
		t.Run(name, func(t *testing.T) {
			ts := templates(t, p)
			type state struct{ step, steps, first int }
			open := make(map[uint64]state)
			whole, early := 0, 0
			for seq := range p.Schedule.Count() {
				turn := ts.Turn(seq)
				if turn.Seq != seq {
					t.Fatalf("turn %d has the number %d", seq, turn.Seq)
				}
				if turn.Steps == 0 {
					if turn.Client != seq || p.Requests[turn.Request].Name != "alone" {
						t.Fatalf("%+v: a request of no session", turn)
					}
					continue
				}
				was, known := open[turn.Client]
				switch {
				case turn.Step == 0:
					if known || turn.Client != seq {
						t.Fatalf("%+v: a client begins that is not its first request", turn)
					}
					was = state{0, turn.Steps, turn.Request}
				case !known || turn.Step != was.step+1 || turn.Steps != was.steps || turn.Request != was.first+turn.Step || turn.Step >= turn.Steps:
					t.Fatalf("%+v after %+v (known: %v)", turn, was, known)
				}
				was.step = turn.Step
				open[turn.Client] = was
				if turn.Step < turn.Steps-1 {
					continue
				}
				for _, s := range p.Sessions {
					if s.First == was.first && s.Steps == was.steps {
						whole++
					} else if s.First == was.first {
						early++
					}
				}
			}
			if whole == 0 || early > len(open)/2 {
				t.Errorf("of %d clients %d took all steps, %d left early", len(open), whole, early)
			}
		})
	}
}

// Weights are kept among what begins, steps are equally frequent as soon as the first client can have taken
// all of them, and they are about `think` apart.
func TestSharesAndSpacing(t *testing.T) {
	p := sessions(300, 500*time.Millisecond, true, 4, 2)
	p.Sessions[1].Weight = 3
	p.Requests[6].Weight = 10
	ts := templates(t, p) // of 20 requests 4 are the first session's, 6 the second's
	count := make([]int, len(p.Requests))
	last := make(map[uint64]time.Duration)
	sum, gaps, least := time.Duration(0), 0, time.Hour
	for seq := range p.Schedule.Count() {
		turn := ts.Turn(seq)
		due := p.Schedule.Timetable().Due(seq)
		if due >= 2*time.Second && due < 4*time.Second { // the session lasts 1.5 s, and a row may be a stretch late
			count[turn.Request]++
		}
		if turn.Step > 0 {
			gap := due - last[turn.Client]
			sum, gaps, least = sum+gap, gaps+1, min(least, gap)
		}
		last[turn.Client] = due
	}
	n := 600.0
	for i, want := range []float64{1, 1, 1, 1, 3, 3, 10} {
		if got := float64(count[i]) / n * 20; math.Abs(got-want) > 0.2*want {
			t.Errorf("request %d has %.2f of 20, want %v", i, got, want)
		}
	}
	if mean := sum / time.Duration(gaps); mean < 480*time.Millisecond || mean > 520*time.Millisecond {
		t.Errorf("steps are %v apart on average, want 500ms", mean)
	}
	if least < 100*time.Millisecond {
		t.Errorf("two steps of a client are %v apart", least)
	}
}

// A balancer that takes its nodes in turn must not meet a client at the same node each time by accident.
func TestClientsAreNotStickyByAccident(t *testing.T) {
	for _, rate := range []float64{30, 100, 299, 300, 301, 1200} {
		for _, alone := range []float64{0, 1, 45} { // with 45, one number of 16 is a session's
			for _, nodes := range []uint64{2, 3, 5} {
				p := sessions(rate*(1+alone/3), time.Second, alone > 0, 3)
				if alone > 0 {
					p.Requests[3].Weight = alone
				}
				ts := templates(t, p)
				at := make(map[uint64]uint64)
				same, all := 0.0, 0.0
				perNode, steps := make([]float64, nodes), 0.0
				for seq := range p.Schedule.Count() {
					turn := ts.Turn(seq)
					if turn.Steps == 0 {
						continue
					}
					node := seq % nodes
					perNode[node]++
					steps++
					if before, known := at[turn.Client]; known {
						all++
						if before == node {
							same++
						}
					}
					at[turn.Client] = node
				}
				if want := 1 / float64(nodes); math.Abs(same/all-want) > 0.1 {
					t.Errorf("rate %v, %d nodes in turn, alone %v: %.2f of the steps meet the node of the step before, want %.2f", rate, nodes, alone, same/all, want)
				}
				for i, n := range perNode {
					if share := n / steps * float64(nodes); share < 0.8 || share > 1.2 {
						t.Errorf("rate %v, %d nodes in turn, alone %v: node %d has %.2f of its share of the steps", rate, nodes, alone, i, share)
					}
				}
			}
		}
	}
}

// With one seed it is the same each time, and with another it is not.
func TestTurnsDependOnTheSeed(t *testing.T) {
	p := sessions(100, time.Second, true, 3)
	a, b := templates(t, p), templates(t, p)
	p.Seed++
	other := templates(t, p)
	differ := 0
	for seq := range p.Schedule.Count() {
		if a.Turn(seq) != b.Turn(seq) {
			t.Fatalf("number %d is another turn the second time", seq)
		}
		if a.Turn(seq) != other.Turn(seq) {
			differ++
		}
	}
	if differ < int(p.Schedule.Count()/2) {
		t.Errorf("another seed changes %d of %d turns", differ, p.Schedule.Count())
	}
}

// All steps of a client have one key and one value, those of a request of its number; .Seq is the step's own.
func TestStepsShareTheirKey(t *testing.T) {
	p := sessions(100, time.Second, false, 3)
	for i := range p.Requests {
		p.Requests[i].Path, p.Requests[i].Body = "/{{.Key}}/{{.Seq}}/{{.Captured.id}}", "{{.Value}}"
	}
	p.Requests[0].Path, p.Requests[0].Capture = "/{{.Key}}/{{.Seq}}/", []load.Capture{{Name: "id", JSON: "$.id"}}
	ts := templates(t, p)
	seen := make(map[string]uint64)
	for seq := range uint64(1000) {
		turn := ts.Turn(seq)
		m, err := ts.Message(turn, map[string]string{"id": "x"})
		if err != nil {
			t.Fatal(err)
		}
		id := "x"
		if turn.Step == 0 {
			id = ""
		}
		key := load.Key(7, turn.Client)
		if want := fmt.Sprintf("/%s/%d/%s", key, seq, id); m.URL.Path != want || m.Body != load.Value(7, turn.Client) {
			t.Fatalf("%+v: path %s, body %s, want %s", turn, m.URL.Path, m.Body, want)
		}
		if other, twice := seen[key]; twice && other != turn.Client {
			t.Fatalf("clients %d and %d have the same key", other, turn.Client)
		}
		seen[key] = turn.Client
	}
	if _, err := ts.Message(load.Turn{Request: 1}, nil); err == nil {
		t.Error("a captured value that is lacking is no error")
	}
}

func TestBadSessions(t *testing.T) {
	good := sessions(100, time.Second, true, 3)
	for what, c := range map[string]struct {
		spoil func(*load.Plan)
		want  string
	}{
		"no steps":        {func(p *load.Plan) { p.Sessions[0].Steps = 0 }, "no requests of the plan"},
		"beyond the end":  {func(p *load.Plan) { p.Sessions[0].Steps = 5 }, "no requests of the plan"},
		"before":          {func(p *load.Plan) { p.Sessions[0].First = -1 }, "no requests of the plan"},
		"far beyond":      {func(p *load.Plan) { p.Sessions[0].First = math.MaxInt }, "no requests of the plan"},
		"twice":           {func(p *load.Plan) { p.Sessions = append(p.Sessions, p.Sessions[0]) }, "two sessions"},
		"weight":          {func(p *load.Plan) { p.Sessions[0].Weight = -1 }, "above 0"},
		"think":           {func(p *load.Plan) { p.Sessions[0].Think = -1 }, "below 0"},
		"think for ever":  {func(p *load.Plan) { p.Sessions[0].Think = 40 * time.Second }, "from its first step to its last"},
		"hardly anything": {func(p *load.Plan) { p.Sessions[0].Weight = 1e-12 }, "from its first step to its last"},
		"capture alone":   {func(p *load.Plan) { p.Requests[3].Capture = []load.Capture{{Name: "a", JSON: "$.a"}} }, "belongs to no session"},
		"capture":         {func(p *load.Plan) { p.Requests[0].Capture = []load.Capture{{Name: "a", JSON: "a"}} }, "begins with $"},
		"own capture": {func(p *load.Plan) {
			p.Requests[0].Capture, p.Requests[0].Path = []load.Capture{{Name: "a", JSON: "$.a"}}, "/{{.Captured.a}}"
		}, "no step before it"},
		"captured by a later step": {func(p *load.Plan) {
			p.Requests[2].Capture, p.Requests[1].Path = []load.Capture{{Name: "a", JSON: "$.a"}}, "/{{.Captured.a}}"
		}, "no step before it"},
		"captured elsewhere": {func(p *load.Plan) {
			p.Requests[2].Capture, p.Requests[3].Body = []load.Capture{{Name: "a", JSON: "$.a"}}, "{{.Captured.a}}"
		}, "no step before it"},
	} {
		p := good
		p.Requests, p.Sessions = append([]load.Request(nil), p.Requests...), append([]load.Session(nil), p.Sessions...)
		c.spoil(&p)
		if _, err := p.Templates(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	p := good
	p.Sessions = []load.Session{{Name: "s", Steps: 3, Think: 40 * time.Second}}
	_, err := p.Templates()
	if u, ok := errors.AsType[*load.UnreachedError](err); !ok || u.Lasts < 79*time.Second || u.Lasts > 81*time.Second || u.Load != time.Minute {
		t.Errorf("%v", err)
	}
}

func BenchmarkTurn(b *testing.B) {
	for name, p := range map[string]load.Plan{
		"requests": sessions(300, 0, true), "session": sessions(300, time.Second, false, 4), "mixed": sessions(300, time.Second, true, 4, 3, 2),
	} {
		b.Run(name, func(b *testing.B) {
			ts, err := p.Templates()
			if err != nil {
				b.Fatal(err)
			}
			for i := range b.N {
				ts.Turn(uint64(i) % p.Schedule.Count())
			}
		})
	}
}
