// Package analysistest makes recordings whose every number is known beforehand, for
// tests of what reads recordings.
package analysistest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// A Trial describes a synthetic recording. The zero value is 20 s at 100/s to three nodes that answer
// each request after 5 ms, in turn.
type Trial struct {
	Arm     string // default "target"
	Block   int    // default 1
	Order   int
	Seed    int64
	Rate    float64 // per second, default 100
	Warmup  time.Duration
	For     time.Duration    // default 20 s
	Stages  []schedule.Stage // instead of Rate and For
	Timeout time.Duration    // default 1 s

	Requests []string // default "GET /"; they take turns
	Nodes    []record.Node
	Replicas int  // nodes app-1 … where Nodes is nil; default 3
	Attempts bool // requests tell which nodes were tried

	Latency time.Duration // of each answer, default 5 ms
	Faults  []record.Fault
	Events  []record.Event

	// Each, if set, changes a request from what it would be: sent when due, class ok, answered by
	// the next node. r is seeded by Seed.
	Each func(s *record.Sample, r *rand.Rand)
}

// Node names the n-th replica of app, n from 1.
func Node(n int) string { return fmt.Sprintf("app-%d", n) }

// Fault makes a proven fault of a node, in force over [onset, heal). A heal of
// [record.None] is a fault that was never undone.
func Fault(name, verb, node string, onset, heal time.Duration) record.Fault {
	f := record.Fault{
		Name: name, Verb: verb, At: onset, Nodes: []string{node}, Means: "synthetic",
		Onset: &record.Edge{From: onset, To: onset, Source: "engine"},
		Proof: []record.Proof{{Node: node, What: "engine event " + verb, OK: true}},
		Ended: record.EndedLoad,
	}
	if heal != record.None {
		f.For = heal - onset
		f.Heal = &record.Edge{From: heal, To: heal, Source: "engine"}
		f.Ended = record.EndedFor
	}
	return f
}

// Down makes the engine's events of a node that dies at from and starts again at to;
// [record.None]: it does not.
func Down(node, fault string, from, to time.Duration) []record.Event {
	events := []record.Event{{At: from, Kind: record.NodeDie, Node: node, Fault: fault, Source: "engine", Detail: "exit code 137"}}
	if to != record.None {
		events = append(events, record.Event{At: to, Kind: record.NodeStart, Node: node, Fault: fault, Source: "engine"})
	}
	return events
}

// Fail makes a request bad: nobody answered, and it was given up after d. With
// [record.Timeout] d is ignored: it is the deadline.
func (t Trial) Fail(s *record.Sample, class record.Class, d time.Duration) {
	if class == record.Timeout {
		d = t.withDefaults().Timeout
	}
	s.Class, s.Node, s.Done = class, "", s.Due+d
	s.Traced = false
}

func (t Trial) withDefaults() Trial {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.For, 20*time.Second)
	def(&t.Timeout, time.Second)
	def(&t.Latency, 5*time.Millisecond)
	if t.Arm == "" {
		t.Arm = "target"
	}
	if t.Stages != nil {
		t.For = t.schedule().For()
	}
	t.Block = max(t.Block, 1)
	t.Order = max(t.Order, 1)
	if t.Rate == 0 {
		t.Rate = 100
	}
	if t.Requests == nil {
		t.Requests = []string{"GET /"}
	}
	if t.Replicas == 0 {
		t.Replicas = 3
	}
	if t.Nodes == nil {
		for i := range t.Replicas {
			t.Nodes = append(t.Nodes, record.Node{Name: Node(i + 1), Service: "app", Balanced: true})
		}
	}
	return t
}

// schedule is when requests are due.
func (t Trial) schedule() schedule.Schedule {
	if t.Stages != nil {
		return schedule.Schedule{Warmup: t.Warmup, Stages: t.Stages}
	}
	return schedule.Constant(t.Rate, t.Warmup, t.For)
}

// Recording makes the recording. The same Trial gives the same recording.
func (t Trial) Recording() *record.Recording {
	t = t.withDefaults()
	rec := &record.Recording{Header: record.Header{
		Version: record.Version, Run: "synthetic", Arm: t.Arm, Block: t.Block, Order: t.Order, Seed: t.Seed,
		Zero: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(t.Order) * 2 * time.Minute), Warmup: t.Warmup, For: t.For,
		Timeout: t.Timeout, Schedule: t.schedule(), Requests: t.Requests, Nodes: t.Nodes, Attempts: t.Attempts,
	}, Events: slices.Clone(t.Events), Faults: slices.Clone(t.Faults)}
	times := t.schedule().Timetable()
	due, count := times.Due, times.Count()
	b := record.NewBinner(due, count, t.Timeout, func(bin record.Bin) {
		rec.Failures = append(rec.Failures, bin.TakeExamples()...)
		rec.Bins = append(rec.Bins, bin)
	})
	r := rand.New(rand.NewPCG(uint64(t.Seed), 0x7075747469))
	for n := range count {
		node := ""
		if len(t.Nodes) > 0 {
			node = t.Nodes[n%uint64(len(t.Nodes))].Name
		}
		s := record.Sample{
			Seq: n, Request: int(n % uint64(len(t.Requests))), Due: due(n), Sent: due(n), Free: record.None,
			Done: due(n) + t.Latency, Class: record.OK, Node: node, Traced: t.Attempts,
		}
		if t.Attempts {
			s.Tried = []string{node}
		}
		if t.Each != nil {
			t.Each(&s, r)
		}
		b.Add(s)
	}
	b.Close()
	rec.Slowest = b.Slowest()
	rec.Failures = record.Spread(rec.Failures, record.MaxFailures, func(e *record.Example) string { return e.Class.String() + " " + e.Node })
	rec.Generator = record.Generator{
		Scheduled: count, Counted: count, CPU: t.For / 20, MaxRSS: 30 << 20, Inflight: 1024, Complete: true,
		Engine: "attack", Agents: 1, Took: t.Warmup + t.For + t.Timeout, Cores: 2, GCs: 12, GCPause: 3 * time.Millisecond, GCMaxPause: time.Millisecond / 2,
		Goroutines: 300, Files: 120, MaxFiles: 1024,
	}
	rec.Sort()
	return rec
}
