package record_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/record"
)

// Examples of failures are bounded in each bin and in all, are the first of their kind, and do not depend on the order of the outcomes.
func TestFailures(t *testing.T) {
	const n = 4000
	due := rate(1000, 500)
	samples := make([]record.Sample, n)
	for i := range samples {
		s := record.Sample{Seq: uint64(i), Class: record.OK, Sent: due(uint64(i)), Free: record.None, Done: due(uint64(i)) + 5*time.Millisecond, Node: fmt.Sprint("app-", i%3)}
		switch {
		case i%7 == 0:
			s.Class, s.Status, s.Error = record.Wrong, 500+i%4, "status is not expected"
		case i%50 == 1:
			s.Class, s.Node, s.Error = record.Refused, "", fmt.Sprintf("dial tcp 10.0.0.9:%d->10.0.0.1:80: connect: connection refused", 30_000+i)
		}
		samples[i] = s
	}
	examples := func(order []int) []record.Example {
		var all []record.Example
		b := record.NewBinner(due, n, time.Second, func(b record.Bin) {
			some := b.TakeExamples()
			if len(some) > 4 || b.Index < 0 && len(some) > 0 {
				t.Errorf("%d examples in bin %d", len(some), b.Index)
			}
			if len(b.TakeExamples()) > 0 {
				t.Error("examples can be taken twice")
			}
			all = append(all, some...)
		})
		for _, i := range order {
			b.Put(samples[i])
		}
		b.Close()
		return record.Spread(all, record.MaxFailures, func(e *record.Example) string { return e.Class.String() + e.Node })
	}
	r := rand.New(rand.NewPCG(1, 2))
	got := examples(r.Perm(n))
	if again := examples(r.Perm(n)); !reflect.DeepEqual(got, again) {
		t.Errorf("another order gives\n%+v, not\n%+v", again, got)
	}
	kinds := make(map[string]int)
	for _, e := range got {
		kinds[e.Class.String()+e.Node]++
		if s := samples[e.Seq]; e.Class != s.Class || e.Node != s.Node || e.Status != s.Status || e.Due != due(e.Seq) || e.Due < 0 || e.Sent != s.Sent || e.Done != s.Done {
			t.Errorf("%+v is not %+v", e, s)
		}
		if e.Class == record.Refused && e.Error != "dial tcp 10.0.0.9:*->10.0.0.1:80: connect: connection refused" {
			t.Errorf("error %q", e.Error)
		}
	}
	if len(got) != record.MaxFailures || len(kinds) != 4 || slices.Min([]int{kinds["wrongapp-0"], kinds["wrongapp-1"], kinds["wrongapp-2"], kinds["refused"]}) < 12 {
		t.Errorf("%d examples: %v", len(got), kinds)
	}
	if !slices.IsSortedFunc(got, func(a, b record.Example) int { return int(a.Seq) - int(b.Seq) }) {
		t.Error("not in the order of their numbers")
	}
}

func TestSlowest(t *testing.T) {
	const n = 3000
	due := rate(1000, 100)
	r := rand.New(rand.NewPCG(3, 4))
	took := make([]time.Duration, n)
	b := record.NewBinner(due, n, time.Second, func(record.Bin) {})
	for _, i := range r.Perm(n) {
		took[i] = time.Duration(r.IntN(400)) * time.Millisecond
		s := record.Sample{Seq: uint64(i), Class: record.OK, Sent: due(uint64(i)), Free: record.None, Done: due(uint64(i)) + took[i]}
		if i%10 == 0 { // given up: nobody answered
			s.Class, s.Done = record.Timeout, due(uint64(i))+time.Second
			took[i] = 0
		}
		if i < 100 {
			took[i] = 0
		}
		b.Put(s)
	}
	b.Close()
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return int(took[y] - took[x]) })
	got := b.Slowest()
	if len(got) != record.MaxSlowest {
		t.Fatalf("%d slowest", len(got))
	}
	for i, e := range got {
		if e.Seq != uint64(order[i]) || e.Response() != took[order[i]] {
			t.Errorf("slowest %d is %d, %v, want %d, %v", i, e.Seq, e.Response(), order[i], took[order[i]])
		}
	}
}

func TestCleanError(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"read tcp 127.0.0.1:45678->127.0.0.1:80: read: connection reset by peer": "read tcp 127.0.0.1:*->127.0.0.1:80: read: connection reset by peer",
		"read tcp [::1]:45678->[::1]:80: i/o timeout":                            "read tcp [::1]:*->[::1]:80: i/o timeout",
		"dial tcp 10.0.0.1:8080: connect: connection refused":                    "dial tcp 10.0.0.1:8080: connect: connection refused",
		"two\r\nlines\tand \x1b[31mred\x00":                                      "two lines and [31mred",
		"bad \xff bytes":                                                         "bad ? bytes",
		"turned \u202e round \u2028 and":                                         "turned round and",
	} {
		if got := record.CleanError(text); got != want {
			t.Errorf("%q is cleaned to %q, want %q", text, got, want)
		}
	}
}

func FuzzCleanError(f *testing.F) {
	f.Add("read tcp 127.0.0.1:45678->127.0.0.1:80: \x1b\xff")
	f.Add(strings.Repeat("ä", 400))
	f.Fuzz(func(t *testing.T, text string) {
		got := record.CleanError(text)
		if len(got) > 300 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q", got)
		}
		if again := record.CleanError(got); again != got {
			t.Errorf("%q is cleaned again to %q", got, again)
		}
	})
}

// What was recorded by earlier versions is still read.
func TestReadEarlierVersions(t *testing.T) {
	for version := 1; version < record.Version; version++ {
		text := fmt.Sprintf(`{"header":{"version":%d,"requests":["GET /"]}}`, version) + "\n" +
			`{"bin":{"i":0,"due":1,"good":1,"gf":0,"gl":0,"gg":-9223372036854775808,"cells":[{"r":0,"n":"app-1","c":"ok","k":1,"f":0,"l":0}],"lag":{"sum":5,"min":5,"max":5,"b":[5,1]}}}` + "\n" +
			`{"generator":{"scheduled":1,"counted":1,"cpu":7,"max_rss":9,"inflight":1,"complete":true}}` + "\n"
		r, err := record.Read(zip(t, text))
		if err != nil || r.Version != version || len(r.Bins) != 1 || r.Bins[0].Own.Total() != 0 || r.Generator.CPU != 7 || r.Generator.Check(r.Bins) != nil {
			t.Errorf("version %d: %+v, %v", version, r, err)
		}
	}
}

func TestGeneratorsAreAdded(t *testing.T) {
	a := record.Generator{
		Scheduled: 10, Counted: 9, CPU: 5, MaxRSS: 100, Inflight: 3, Engine: "turbo", Agents: 1, Took: 50, Cores: 2, GCs: 1, GCPause: 4, GCMaxPause: 4,
		Goroutines: 7, Files: 20, MaxFiles: 1000, Stolen: 6, Throttled: 8, Throttles: 2, Complete: true,
	}
	b := record.Generator{
		Scheduled: 1, Counted: 1, CPU: 1, MaxRSS: 200, Inflight: 1, Engine: "turbo", Agents: 1, Took: 60, Cores: 2, GCs: 2, GCPause: 2, GCMaxPause: 1,
		Goroutines: 9, Files: 10, MaxFiles: 100, Stolen: 7, Throttled: 1, Throttles: 1, Complete: true,
	}
	beside, then := a, a
	beside.Beside(b)
	then.Then(b)
	want := record.Generator{
		Scheduled: 11, Counted: 10, CPU: 6, MaxRSS: 300, Inflight: 4, Engine: "turbo", Agents: 2, Took: 60, Cores: 2, GCs: 3, GCPause: 6, GCMaxPause: 4,
		Goroutines: 9, Files: 20, MaxFiles: 100, Stolen: 7, Throttled: 8, Throttles: 2, Complete: true,
	}
	if beside != want {
		t.Errorf("beside: %+v", beside)
	}
	want.MaxRSS, want.Inflight, want.Agents, want.Took, want.Stolen, want.Throttled, want.Throttles = 200, 3, 1, 110, 13, 9, 3
	if then != want {
		t.Errorf("then: %+v", then)
	}
	b.Complete = false
	if beside.Beside(b); beside.Complete {
		t.Error("complete, with one that is not")
	}
}

// What the examples and the slowest are comes back from the disk.
func TestExamplesRoundTrip(t *testing.T) {
	r := recording(t)
	r.Failures = []record.Example{{Seq: 3, Due: 5, Sent: record.None, Done: 9, Class: record.Refused, Error: "<b>", Tried: []string{"x"}, Status: 503, Request: 1}}
	r.Slowest = []record.Example{{Seq: 4, Due: 5, Sent: 6, Done: 9, Class: record.OK, Node: "app-1"}}
	back, err := record.Read(bytes.NewReader(write(t, r)))
	if err != nil || !reflect.DeepEqual(r, back) {
		t.Errorf("wrote %+v\nread  %+v, %v", r, back, err)
	}
}
