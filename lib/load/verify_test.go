package load_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A ledger has what was set last, of measured load alone, whoever sets it at the same time.
func TestLedger(t *testing.T) {
	c := schedule.Constant(100, 500*time.Millisecond, 10*time.Second)
	l := load.NewLedger(c)
	if from, to := l.Range(); from != 50 || to != 1050 {
		t.Fatalf("from %d to %d", from, to)
	}
	outcome := func(seq uint64) load.Outcome { return load.Outcome(seq * 7 % 4) }
	var all sync.WaitGroup
	for k := range uint64(4) {
		all.Go(func() {
			for seq := k; seq < 1200; seq += 4 {
				l.Set(seq, load.Settled)
				l.Set(seq, outcome(seq))
			}
		})
	}
	all.Wait()
	for seq := range uint64(1200) {
		want := outcome(seq)
		if seq < 50 || seq >= 1050 {
			want = load.Unwritten
		}
		if got := l.At(seq); got != want {
			t.Fatalf("number %d is %v, want %v", seq, got, want)
		}
	}
}

// Every class says something of a write, and only an answer as expected says that it was done.
func TestOutcomeOf(t *testing.T) {
	acknowledged, uncertain := "ok slow", "wrong timeout reset eof truncated"
	for _, c := range record.Classes() {
		want := load.Unwritten
		switch {
		case strings.Contains(acknowledged, c.String()):
			want = load.Acknowledged
		case strings.Contains(uncertain, c.String()):
			want = load.Uncertain
		}
		if got := load.OutcomeOf(record.Sample{Class: c}); got != want {
			t.Errorf("%s is %v, want %v", c, got, want)
		}
		if got := load.OutcomeOf(record.Sample{Class: c, Sent: record.None}); got != load.Unwritten {
			t.Errorf("%s that never went out is %v", c, got)
		}
	}
}

func TestCopies(t *testing.T) {
	for _, c := range []struct {
		whole      bool
		body, want string
		copies     int
	}{
		{false, `{"v": "x1"}`, "x1", 1},
		{false, `["x1", "x1"]`, "x1", 2},
		{false, "x2", "x1", 0},
		{false, "", "x1", 0},
		{true, "x1", "x1", 1},
		{true, "x1\n", "x1", 0},
		{true, "x1,x1", "x1", 2},
		{true, "x2", "x1", 0},
	} {
		v := load.Verify{Whole: c.whole}
		if got := v.Copies(c.body, c.want); got != c.copies {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// What is asked for and expected is that of the write.
func TestReadbacks(t *testing.T) {
	p := load.Plan{
		Ingress: "http://lb:8080", Seed: 7, Env: map[string]string{"T": "a"},
		Verify: []load.Verify{{Of: "w", Read: load.Request{Method: "GET", Path: "/kv/{{.Key}}", Headers: map[string]string{"X-T": "{{.Env.T}}"}}, Want: "<{{.Value}}>"}},
	}
	r, err := p.Readbacks()
	if err != nil {
		t.Fatal(err)
	}
	seq := rand.Uint64N(1 << 40)
	m, err := r.Message(0, load.Turn{Seq: seq, Client: seq})
	if err != nil || m.URL.RequestURI() != "/kv/"+load.Key(7, seq) || m.Header.Get("X-T") != "a" {
		t.Errorf("%+v, %v", m, err)
	}
	if want, err := r.Want(0, load.Turn{Seq: 1, Client: seq}); err != nil || want != "<"+load.Value(7, seq)+">" {
		t.Errorf("%s, %v", want, err)
	}
	for what, spoil := range map[string]func(v *load.Verify){
		"empty":       func(v *load.Verify) { v.Want = "" },
		"comes empty": func(v *load.Verify) { v.Want = `{{if eq .Env.T "b"}}x{{end}}` },
		"unknown":     func(v *load.Verify) { v.Want = "{{.Env.X}}" },
		"no template": func(v *load.Verify) { v.Want = "{{" },
		"path":        func(v *load.Verify) { v.Read.Path = "x" },
	} {
		bad := p
		bad.Verify = []load.Verify{p.Verify[0]}
		spoil(&bad.Verify[0])
		if _, err := bad.Readbacks(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := (load.Plan{}).Readbacks(); err == nil {
		t.Error("nothing to verify: no error")
	}
}
