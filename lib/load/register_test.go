package load_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A value says whose it is.
func TestClientOf(t *testing.T) {
	for range 10_000 {
		seed, client := int64(rand.Uint64()), rand.Uint64()
		if got, ok := load.ClientOf(seed, load.Value(seed, client)); !ok || got != client {
			t.Fatalf("seed %d: %d comes back as %d, %v", seed, client, got, ok)
		}
	}
	for _, bad := range []string{"", "v", "k0123456789abcdef", "v0123456789abcde", "v0123456789abcdeg", "v0123456789abcdef0"} {
		if c, ok := load.ClientOf(1, bad); ok {
			t.Errorf("%q is the value of %d", bad, c)
		}
	}
}

// Bounded keys are all used, evenly, and are the same for who writes and who reads.
func TestKeys(t *testing.T) {
	count := make(map[uint64]int)
	for seq := range uint64(100_000) {
		count[load.KeyOf(7, seq, 50)]++
	}
	for key := range uint64(50) {
		if n := count[key]; n < 1800 || n > 2200 {
			t.Errorf("key %d has %d of 100,000 requests", key, n)
		}
	}
	p := load.Plan{Ingress: "http://lb", Seed: 7, Keys: 50, Requests: []load.Request{{Method: "PUT", Path: "/kv/{{.Key}}", Body: "{{.Value}}"}}}
	ts, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ts.Message(ts.Turn(42), nil)
	if want := load.Key(7, load.KeyOf(7, 42, 50)); err != nil || m.URL.Path != "/kv/"+want || m.Body != load.Value(7, 42) {
		t.Errorf("%+v, %v, want key %s", m, err, want)
	}
}

// What an answer holds is read out of whatever stands around it.
func TestSee(t *testing.T) {
	p := load.Plan{Seed: 7, Keys: 3, Schedule: schedule.Constant(10, 0, time.Second)}
	mine, other, beyond := load.Value(7, 4), load.Value(7, 5), load.Value(7, 10)
	for _, c := range []struct {
		status int
		body   string
		want   record.Saw
	}{
		{200, mine, record.Saw{State: record.SawValue, Client: 4}},
		{200, `{"v": "` + mine + `"}`, record.Saw{State: record.SawValue, Client: 4}},
		{200, mine + "," + mine, record.Saw{State: record.SawValue, Client: 4}},
		{200, mine + "," + other, record.Saw{State: record.SawMany}},
		{200, beyond, record.Saw{State: record.SawStrange}},
		{200, "", record.Saw{State: record.SawAbsent}},
		{200, "null", record.Saw{State: record.SawAbsent}},
		{404, mine, record.Saw{State: record.SawAbsent}},
		{410, "", record.Saw{State: record.SawAbsent}},
		{500, mine, record.Saw{}},
		{400, mine, record.Saw{}},
	} {
		if got := p.See(c.status, c.body); got != c.want {
			t.Errorf("%d %s: %+v, want %+v", c.status, c.body, got, c.want)
		}
	}
}
