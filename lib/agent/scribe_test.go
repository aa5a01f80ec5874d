package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// paper is what results are written to.
type paper struct {
	bytes.Buffer

	closed int
	limit  int // of bytes; 0: none
}

var errFull = errors.New("there is no room left")

func (p *paper) Write(b []byte) (int, error) {
	if p.limit > 0 && p.Len()+len(b) > p.limit {
		return 0, errFull
	}
	return p.Buffer.Write(b)
}

func (p *paper) Close() error { p.closed++; return nil }

// read decodes results with vegeta's own library.
func (p *paper) read(t *testing.T) []vegeta.Result {
	t.Helper()
	if p.closed != 1 {
		t.Errorf("closed %d times", p.closed)
	}
	decode := vegeta.DecoderFor(bytes.NewReader(p.Bytes()))
	if decode == nil {
		t.Fatalf("vegeta does not know what these %d bytes are", p.Len())
	}
	var all []vegeta.Result
	for {
		var r vegeta.Result
		switch err := decode.Decode(&r); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("after %d results: %v", len(all), err)
		}
		all = append(all, r)
	}
}

// Every request is written down once, as vegeta reads it: by its due time, its response time and its class.
func TestResults(t *testing.T) {
	s := serve(t, &loadtest.Server{FailEvery: 10, Delay: 2 * time.Millisecond})
	for _, format := range load.Formats() {
		t.Run(string(format), func(t *testing.T) {
			sheets := make([]paper, 2)
			group := agent.Group{inside(t, new(httpload.Generator)), inside(t, new(httpload.Generator))}
			p := plan(s, 1000, 900*time.Millisecond)
			p.Requests = append(p.Requests, load.Request{Name: "two", Method: "POST", Path: "/two?n={{.Seq}}", Body: "abc"})
			p.Results = &load.Results{Format: format, Attack: "cluster", Open: func(part load.Part) (io.WriteCloser, error) { return &sheets[part.Index], nil }}
			var zero time.Time
			due, good := uint64(0), uint64(0)
			sent, err := group.Load(t.Context(), p, func(at time.Time) { zero = at }, func(b record.Bin) { due, good = due+b.Due, good+b.Good })
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[uint64]bool)
			right := uint64(0)
			for i := range sheets {
				for _, r := range sheets[i].read(t) {
					if seen[r.Seq] || r.Seq%2 != uint64(i) || r.Attack != "cluster" || r.Latency <= 0 || r.Latency > 10*time.Second {
						t.Fatalf("result %+v", r)
					}
					if d := r.Timestamp.Sub(zero.Add(p.Schedule.Timetable().Due(r.Seq))).Abs(); d > 5*time.Millisecond {
						t.Fatalf("request %d is dated %v off its due time", r.Seq, d)
					}
					seen[r.Seq] = true
					if r.Code != 200 && r.Code != 500 || (r.Code == 200) != (r.Error == "") {
						t.Errorf("code %d, error %q", r.Code, r.Error)
					}
					if r.Error == "" {
						right++
					} else if !strings.HasPrefix(r.Error, "wrong") {
						t.Errorf("error %q", r.Error)
					}
					want := "GET http://ingress:80/"
					if r.Method == "POST" {
						want = "POST http://ingress:80/two?n={{.Seq}}"
					}
					if got := r.Method + " " + r.URL; got != want {
						t.Errorf("%s, want %s", got, want)
					}
				}
			}
			if uint64(len(seen)) != due || due != sent.Counted || right != good || good == due {
				t.Errorf("%d results of %d requests, %d of %d good ones", len(seen), due, right, good)
			}
			if err := group.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was written of a load that was broken off can be read, and is closed.
func TestResultsBrokenOff(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	c := dial(t, start(t, "good"))
	sheet := new(paper)
	p := plan(s, 2000, time.Minute)
	p.Results = &load.Results{Format: load.VegetaGob, Open: func(load.Part) (io.WriteCloser, error) { return sheet, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Load(ctx, p, func(time.Time) { time.AfterFunc(300*time.Millisecond, cancel) }, func(record.Bin) {})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(sheet.read(t)); n < 10 {
		t.Errorf("%d results", n)
	}
	checkClose(t, c)
}

// Where results cannot be kept the load ends with the reason.
func TestResultsThatCannotBeKept(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	c := dial(t, start(t, "good"))
	sheet := &paper{limit: 100_000}
	p := plan(s, 2000, time.Minute)
	p.Results = &load.Results{Format: load.VegetaJSON, Open: func(load.Part) (io.WriteCloser, error) { return sheet, nil }}
	sent, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {})
	if !errors.Is(err, errFull) || sent.Complete {
		t.Errorf("%v, %+v", err, sent.Generator)
	}
	if n := len(sheet.read(t)); n < 10 {
		t.Errorf("%d results", n)
	}
	p.Results.Open = func(load.Part) (io.WriteCloser, error) { return nil, errFull }
	if _, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); !errors.Is(err, errFull) {
		t.Error(err)
	}
	p.Results.Format = "vegeta-xml"
	p.Results.Open = func(load.Part) (io.WriteCloser, error) { return new(paper), nil }
	if _, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err == nil || !strings.Contains(err.Error(), "vegeta-xml") {
		t.Error(err)
	}
	checkClose(t, c)
}

// slowWriter sends at once what it writes down slowly.
type slowWriter struct{ burst }

func (slowWriter) Write(load.Plan, time.Time, io.Writer) (func(*record.Sample) error, error) {
	return func(*record.Sample) error { time.Sleep(time.Millisecond); return nil }, nil
}

// What cannot be written down as fast as it comes breaks the load off, and never slows it.
func TestResultsTooFast(t *testing.T) {
	g := slowWriter{burst{make(chan struct{}), make(chan struct{}), make(chan struct{})}}
	c := inside(t, g)
	p := load.Plan{
		Schedule: schedule.Constant(100_000, 0, 2*time.Second), Timeout: time.Second, Requests: []load.Request{{Path: "/"}}, Connections: 1,
		Results: &load.Results{Format: load.VegetaCSV, Open: func(load.Part) (io.WriteCloser, error) { return new(paper), nil }},
	}
	failed := make(chan error, 1)
	from := time.Now()
	go func() {
		_, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {})
		failed <- err
	}()
	<-g.emitted
	if took := time.Since(from); took > 20*time.Second { // 200 s, if they waited
		t.Errorf("the load took %v", took)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "cannot be written down as fast as they are sent") {
		t.Error(err)
	}
	_ = c.Close()
}

// A generator that cannot write does not begin.
func TestResultsOfNoWriter(t *testing.T) {
	c := inside(t, burst{make(chan struct{}), make(chan struct{}), make(chan struct{})})
	p := load.Plan{
		Schedule: schedule.Constant(10, 0, time.Second), Timeout: time.Second, Requests: []load.Request{{Path: "/"}}, Connections: 1,
		Results: &load.Results{Format: load.VegetaCSV, Open: func(load.Part) (io.WriteCloser, error) { return new(paper), nil }},
	}
	if _, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err == nil || !strings.Contains(err.Error(), "cannot write its requests down") {
		t.Error(err)
	}
	checkClose(t, c)
}
