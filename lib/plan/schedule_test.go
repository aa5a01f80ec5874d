package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/schedule"
)

// Connections are for the highest rate, and a user has one.
func TestConnectionsOfStages(t *testing.T) {
	for stages, want := range map[string]int{
		"stages: [{rate: 10/s, for: 30s}, {rate: 10/s, to: 400/s, for: 30s}]":          256 + 500,
		"stages: [{rate: 100/s, swing: 100/s, period: 10s, for: 60s}]":                 256 + 250,
		"stages: [{users: 30, for: 30s}, {users: 70, for: 20s}, {users: 1, for: 10s}]": 70,
	} {
		l := block(t, built(t, strings.Replace(with("rate: 100/s", stages), "for: 60s,", "", 1)), 1)[0].Load
		if l.Connections != want || l.Schedule.For() != time.Minute {
			t.Errorf("%s: %d connections, want %d", stages, l.Connections, want)
		}
	}
}

// Arrivals at random are the same for the arms of a block, and others in another block.
func TestArrivalsOfABlock(t *testing.T) {
	p := built(t, with("rate: 100/s", "rate: 100/s, arrivals: poisson"))
	times := func(n int) []*schedule.Timetable {
		var all []*schedule.Timetable
		for _, tr := range block(t, p, n) {
			all = append(all, tr.Load.Schedule.Timetable())
		}
		return all
	}
	first, second := times(1), times(2)
	same := 0
	for n := range first[0].Count() {
		if first[0].Due(n) != first[1].Due(n) {
			t.Fatalf("request %d is due at %v in one arm, at %v in the other", n, first[0].Due(n), first[1].Due(n))
		}
		if first[0].Due(n) == second[0].Due(n) {
			same++
		}
	}
	if count := first[0].Count(); count != 6200 || second[0].Count() != count || same > 60 {
		t.Errorf("%d and %d requests, %d of them at the same times in the next block", count, second[0].Count(), same)
	}
	if s := block(t, built(t, sound), 1)[0].Load.Schedule; s.Seed != 0 {
		t.Errorf("evenly spread requests have a seed: %+v", s)
	}
}

// Holds of a search may come at random as well.
func TestArrivalsOfASearch(t *testing.T) {
	p := built(t, strings.Replace(sweeping, "  requests:", "  arrivals: poisson\n  requests:", 1))
	if s := block(t, p, 1)[0].Load.Schedule; s.Arrivals != schedule.Poisson || s.Seed == 0 || s.Peak() != 800 {
		t.Errorf("%+v", s)
	}
}
