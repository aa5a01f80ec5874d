package load_test

import (
	"fmt"
	"math"
	"testing"
	"testing/quick"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

func TestConstant(t *testing.T) {
	for _, c := range []struct {
		rate        load.Constant
		warm, count uint64
	}{
		{load.Constant{PerSecond: 100, For: time.Second}, 0, 100},
		{load.Constant{PerSecond: 100, Warmup: 5 * time.Second, For: time.Second}, 500, 600},
		{load.Constant{PerSecond: 0.5, For: 3 * time.Second}, 0, 2}, // due at 0 and 2 s
		{load.Constant{PerSecond: 3, Warmup: 500 * time.Millisecond, For: time.Second}, 2, 5},
		{load.Constant{PerSecond: 1000.0 / 3, For: 3 * time.Second}, 0, 1000},
		{load.Constant{PerSecond: 5000.0 / 60, For: time.Minute}, 0, 5000},
		{load.Constant{PerSecond: 0.1, For: 100 * time.Millisecond}, 0, 1},
		{load.Constant{PerSecond: 1e6, For: time.Minute}, 0, 60_000_000},
	} {
		if c.rate.Warm() != c.warm || c.rate.Count() != c.count {
			t.Errorf("%+v: %d warm of %d, want %d of %d", c.rate, c.rate.Warm(), c.rate.Count(), c.warm, c.count)
		}
	}
}

// For any rate the schedule rises, its measured part is exactly what is due in [0, For), and no
// request is off by more than a nanosecond or so from its place.
func TestConstantSchedule(t *testing.T) {
	property := func(rate uint16, milli uint16, warmup, measured uint16) bool {
		c := load.Constant{
			PerSecond: float64(rate) + float64(milli%1000)/1000 + 0.1,
			Warmup:    time.Duration(warmup) * time.Millisecond,
			For:       time.Duration(measured)*time.Millisecond + time.Millisecond,
		}
		warm, count := c.Warm(), c.Count()
		if c.Due(warm) != 0 || c.Due(count-1) >= c.For || warm > 0 && c.Due(warm-1) >= 0 {
			return false
		}
		if warm > 0 && c.Due(0) < -c.Warmup-time.Duration(1e9/c.PerSecond)-1 {
			return false
		}
		step := max(count/1000, 1)
		last := c.Due(0)
		for n := step; n < count; n += step {
			due := c.Due(n)
			exact := (float64(n) - float64(warm)) / c.PerSecond * 1e9
			if due < last || math.Abs(float64(due)-exact) > 2 {
				return false
			}
			last = due
		}
		return c.Due(count) >= c.For-2 // rounding down takes at most a nanosecond
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

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
		Rate: load.Constant{PerSecond: 1, For: 1}, Timeout: 1, Connections: 1, Requests: []load.Request{{}},
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(*load.Plan){
		"NaN":      func(p *load.Plan) { p.Rate.PerSecond = math.NaN() },
		"infinite": func(p *load.Plan) { p.Rate.PerSecond = math.Inf(1) },
		"zero":     func(p *load.Plan) { p.Rate.PerSecond = 0 },
		"no time":  func(p *load.Plan) { p.Rate.For = 0 },
		"timeout":  func(p *load.Plan) { p.Timeout = 0 },
		"requests": func(p *load.Plan) { p.Requests = nil },
		"inflight": func(p *load.Plan) { p.Connections = 0 },
	} {
		p := good
		spoil(&p)
		if p.Check() == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
