package analysistest

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Crash is a lifelike trial: 30 s at 200/s, latencies around 4 ms with a tail, and app-1 killed at 10 s for
// 10 s. With several replicas the balancer turns away from it after about a second, in which
// its share of requests times out or, told of by the attempts header, is retried; with one replica nobody is left. Block varies the
// noise, as repeated trials do.
func Crash(arm string, replicas, block int) Trial {
	const onset, heal = 10_034 * time.Millisecond, 20_271 * time.Millisecond
	noise := rand.New(rand.NewPCG(uint64(block), uint64(replicas)))
	detect := time.Duration((0.8 + 0.4*noise.Float64()) * float64(time.Second))
	back := heal + time.Duration((0.5+0.5*noise.Float64())*float64(time.Second))
	if replicas == 1 {
		back = heal + 150*time.Millisecond
	}
	typical := 4e6 * math.Exp(0.05*noise.NormFloat64())
	t := Trial{
		Arm: arm, Block: block, Order: 2*block - replicas%2, Seed: int64(block), Rate: 200, Warmup: 2 * time.Second,
		For: 30 * time.Second, Timeout: time.Second, Replicas: replicas, Attempts: true,
		Faults: []record.Fault{Fault("crash", "kill", Node(1), onset, heal)},
		Events: Down(Node(1), "crash", onset, heal),
	}
	t.Events = append(t.Events, record.Event{At: back, Kind: record.NodeHealth, Node: Node(1), Source: "engine", Detail: "healthy"})
	t.Each = func(s *record.Sample, r *rand.Rand) {
		answer := time.Duration(typical * math.Exp(0.35*r.NormFloat64()))
		if r.IntN(200) == 0 {
			answer *= 8
		}
		s.Done = s.Due + answer
		if s.Node != Node(1) || s.Due < onset || s.Due >= back {
			return
		}
		switch {
		case replicas == 1 && s.Due < heal:
			t.Fail(s, record.Wrong, answer)
			s.Tried, s.Traced = []string{Node(1)}, true
		case replicas == 1:
			t.Fail(s, record.Refused, answer)
		case s.Due >= onset+detect:
			s.Node = Node(2 + int(s.Seq/uint64(replicas))%(replicas-1))
			s.Tried = []string{s.Node}
		case r.IntN(3) > 0:
			t.Fail(s, record.Timeout, 0)
		default: // the balancer tries the next node after its own timeout
			s.Node = Node(2 + r.IntN(replicas-1))
			s.Tried = []string{Node(1), s.Node}
			s.Done += 250 * time.Millisecond
		}
	}
	return t
}

// CrashRun is the lifelike trials of a run: blocks with the arms single and cluster,
// in changing order.
func CrashRun(blocks int) []*record.Recording {
	var recs []*record.Recording
	for b := 1; b <= blocks; b++ {
		pair := []*record.Recording{Crash("single", 1, b).Recording(), Crash("cluster", 3, b).Recording()}
		if b%2 == 0 {
			slices.Reverse(pair)
		}
		for i, r := range pair {
			r.Order = 2*b - 1 + i
			recs = append(recs, r)
		}
	}
	return recs
}
