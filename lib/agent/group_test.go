package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/load/loadtest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// overheard is a generator of which every sample is heard.
type overheard struct {
	httpload.Generator

	mu   *sync.Mutex
	told *[]record.Sample
}

func (o *overheard) Generate(ctx context.Context, p load.Plan, started func(time.Time), emit func(record.Sample)) error {
	return o.Generator.Generate(ctx, p, started, func(s record.Sample) {
		o.mu.Lock()
		*o.told = append(*o.told, s)
		o.mu.Unlock()
		emit(s)
	})
}

// inside is an agent in this process.
func inside(t *testing.T, g load.Generator) *agent.Client {
	t.Helper()
	in, toAgent := io.Pipe()
	fromAgent, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Serve(ctx, in, out, g)
		_ = out.Close()
	}()
	return dial(t, &process{Process: &target.Process{Stdin: toAgent, Stdout: fromAgent, Kill: cancel, Wait: sync.OnceValue(func() error { return <-ended })}})
}

// Several agents send what one would: the server sees each number once, and the bins are those of one Binner that is told of all.
func TestGroup(t *testing.T) {
	for _, engine := range []load.Engine{load.Attack, load.Turbo} {
		t.Run(string(engine), func(t *testing.T) { testGroup(t, engine) })
	}
}

func testGroup(t *testing.T, engine load.Engine) {
	t.Helper()
	const agents = 3
	s := serve(t, &loadtest.Server{FailEvery: 13, Delay: 3 * time.Millisecond})
	var mu sync.Mutex
	var told []record.Sample
	var group agent.Group
	for range agents {
		group = append(group, inside(t, &overheard{mu: &mu, told: &told}))
	}
	p := plan(s, 500, time.Second)
	p.Schedule.Warmup, p.Connections, p.Engine = 203*time.Millisecond, 100, engine
	p.Requests = []load.Request{{Name: "one", Method: "GET", Path: "/{{.Seq}}"}, {Name: "two", Method: "GET", Path: "/{{.Seq}}"}}
	var bins []record.Bin
	begun := 0
	var zero time.Time
	sent, err := group.Load(t.Context(), p, func(at time.Time) { begun, zero = begun+1, at }, func(b record.Bin) { bins = append(bins, b) })
	if err != nil {
		t.Fatal(err)
	}
	count := p.Schedule.Count()
	if g := sent.Generator; !g.Complete || g.Scheduled != count || g.Counted != count || g.Agents != agents || g.Engine != string(engine) || g.Took < time.Second {
		t.Errorf("%+v", g)
	}
	if begun != 1 || zero.Before(time.Now().Add(-5*time.Second)) || zero.After(time.Now()) {
		t.Errorf("begun %d times, zero %v", begun, zero)
	}
	seen := make(map[string]int)
	for _, e := range s.Log() {
		seen[e.Path]++
	}
	for n := range count {
		if seen["/"+strconv.FormatUint(n, 10)] != 1 {
			t.Errorf("the server saw number %d %d times", n, seen["/"+strconv.FormatUint(n, 10)])
		}
	}
	if len(seen) != int(count) {
		t.Errorf("the server saw %d numbers of %d", len(seen), count)
	}
	var want []record.Bin
	one := record.NewBinner(p.Schedule.Timetable().Due, count, p.Timeout, func(b record.Bin) { want = append(want, b) })
	for _, x := range told {
		one.Add(x)
	}
	one.Close()
	if got, want := inOrder(t, bins), inOrder(t, want); !slices.Equal(got, want) {
		t.Errorf("bins\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := fmt.Sprint(sent.Slowest), fmt.Sprint(one.Slowest()); got != want {
		t.Errorf("slowest\n%s\nwant\n%s", got, want)
	}
	if err := group.Close(); err != nil {
		t.Error(err)
	}
}

func inOrder(t *testing.T, bins []record.Bin) []string {
	t.Helper()
	slices.SortFunc(bins, func(a, b record.Bin) int { return a.Index - b.Index })
	var all []string
	for i := range bins {
		b, err := json.Marshal(&bins[i])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// The death of one agent ends the load of all, and says whose it was.
func TestGroupLosesOne(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	var group agent.Group
	var processes []*process
	for range 3 {
		p := start(t, "good")
		processes = append(processes, p)
		group = append(group, dial(t, p))
	}
	from := time.Now()
	p := plan(s, 100, time.Minute)
	sent, err := group.Load(t.Context(), p, func(time.Time) { processes[1].Kill() }, func(record.Bin) {})
	if !errors.Is(err, agent.ErrLost) || !strings.Contains(err.Error(), "agent 2 of 3") || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	if sent.Complete || sent.Counted >= sent.Scheduled && sent.Scheduled > 0 {
		t.Errorf("%+v", sent.Generator)
	}
	if took := time.Since(from); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	n := len(s.Log())
	time.Sleep(100 * time.Millisecond)
	if now := len(s.Log()); now != n {
		t.Errorf("%d requests arrived after the end", now-n)
	}
	if err := group.Close(); err == nil {
		t.Error("close: no error of the one that was killed")
	}
}

func TestGroupIsBrokenOff(t *testing.T) {
	s := serve(t, new(loadtest.Server))
	group := agent.Group{inside(t, new(httpload.Generator)), inside(t, new(httpload.Generator))}
	ctx, cancel := context.WithCancel(t.Context())
	sent, err := group.Load(ctx, plan(s, 100, time.Minute), func(time.Time) { time.AfterFunc(100*time.Millisecond, cancel) }, func(record.Bin) {})
	if !errors.Is(err, context.Canceled) || sent.Complete {
		t.Errorf("%v, %+v", err, sent.Generator)
	}
	if err := group.Close(); err != nil {
		t.Error(err)
	}
	p := plan(s, 100, time.Second)
	p.Connections = 1
	if _, err := group.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err == nil || !strings.Contains(err.Error(), "1 connections cannot be shared out") {
		t.Errorf("%v", err)
	}
}
