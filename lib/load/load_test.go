package load_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/schedule"
)

func TestTemplates(t *testing.T) {
	p := load.Plan{
		Ingress: "http://lb:8080/base/", Seed: 7, Env: map[string]string{"TOKEN": "s3"},
		Requests: []load.Request{
			{Name: "w", Weight: 1, Method: "PUT", Path: "/kv/{{.Key}}?n={{.Seq}}", Body: "{{.Value}}", Headers: map[string]string{"Authorization": "{{.Env.TOKEN}}", "host": "h{{.Seq}}"}},
			{Name: "r", Weight: 3, Method: "GET", Path: "/a%2Fb", Headers: map[string]string{"x-a": "b", "User-Agent": "own"}},
		},
	}
	ts, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ts.Message(load.Turn{Request: 0, Seq: 42, Client: 42}, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, value := load.Key(7, 42), load.Value(7, 42)
	if m.Method != "PUT" || m.URL.String() != "http://lb:8080/base/kv/"+key+"?n=42" || m.Body != value || m.Host != "h42" {
		t.Errorf("%+v, URL %s", m, m.URL)
	}
	if m.Header.Get("Authorization") != "s3" || m.Header.Get("User-Agent") != "tutti" || m.Header.Get("Host") != "" {
		t.Errorf("header %v", m.Header)
	}
	m, err = ts.Message(load.Turn{Request: 1, Seq: 42, Client: 42}, nil)
	if err != nil || m.URL.String() != "http://lb:8080/base/a%2Fb" || m.Header.Get("X-A") != "b" || m.Header.Get("User-Agent") != "own" {
		t.Errorf("%+v, URL %s, %v", m, m.URL, err)
	}
	again, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for seq := range uint64(10_000) {
		i := ts.Turn(seq).Request
		count += i
		if again.Turn(seq).Request != i {
			t.Fatalf("request %d is of another kind the second time", seq)
		}
	}
	if count < 7300 || count > 7700 {
		t.Errorf("%d of 10000 requests are of the kind with weight 3 of 4", count)
	}
}

// Keys and values are unique, the same each time, and differ from seed to seed.
func TestKeysAndValues(t *testing.T) {
	seen := make(map[string]string)
	for _, seed := range []int64{0, 1, -1, math.MaxInt64} {
		for seq := range uint64(20_000) {
			for _, s := range []string{load.Key(seed, seq), load.Value(seed, seq)} {
				who := fmt.Sprintf("seed %d, number %d", seed, seq)
				if other, twice := seen[s]; twice {
					t.Fatalf("%s: %s has it too: %s", who, other, s)
				}
				seen[s] = who
			}
		}
	}
	// A value written by an earlier release must be found by this one.
	if k, v := load.Key(7, 42), load.Value(7, 42); k != "k2b5bccf307d0982e" || v != "vb51c4ca74a84f776" {
		t.Errorf("key %s, value %s of seed 7, number 42", k, v)
	}
}

func TestPlanCheck(t *testing.T) {
	good := load.Plan{
		Schedule: schedule.Constant(1, 0, 1), Timeout: 1, Connections: 1, Requests: []load.Request{{}},
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	users := schedule.Schedule{Stages: []schedule.Stage{{Users: 1, For: 1}}}
	for what, spoil := range map[string]func(*load.Plan){
		"NaN":            func(p *load.Plan) { p.Schedule = schedule.Constant(math.NaN(), 0, 1) },
		"infinite":       func(p *load.Plan) { p.Schedule = schedule.Constant(math.Inf(1), 0, 1) },
		"zero":           func(p *load.Plan) { p.Schedule = schedule.Constant(0, 0, 1) },
		"no time":        func(p *load.Plan) { p.Schedule = schedule.Constant(1, 0, 0) },
		"no stage":       func(p *load.Plan) { p.Schedule.Stages = nil },
		"keys of users":  func(p *load.Plan) { p.Schedule, p.Keys = users, 1 },
		"steps of users": func(p *load.Plan) { p.Schedule, p.Sessions = users, []load.Session{{Steps: 1}} },
		"timeout":        func(p *load.Plan) { p.Timeout = 0 },
		"requests":       func(p *load.Plan) { p.Requests = nil },
		"inflight":       func(p *load.Plan) { p.Connections = 0 },
	} {
		p := good
		spoil(&p)
		if p.Check() == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
