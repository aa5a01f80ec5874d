package agent

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A self is what this process found out about itself while it sent load. One goroutine uses it at a time.
type self struct {
	from    time.Time
	cpu     time.Duration // these are as they were in the beginning
	gcs     int64
	gcPause time.Duration
	machine machine

	seen       int64 // garbage collections whose pauses were looked at
	maxPause   time.Duration
	goroutines int
	files      int
}

// A machine is what the kernel says of the processors: counters since some beginning, and limits. What it does not say is 0.
type machine struct {
	stolen    time.Duration
	throttled time.Duration
	throttles uint64
	cores     float64 // what the control group leaves us; 0: no limit
}

// look begins.
func look() *self {
	s := &self{from: time.Now(), machine: lookAtMachine()}
	s.cpu, _ = usage()
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	s.gcs, s.seen, s.gcPause = gc.NumGC, gc.NumGC, gc.PauseTotal
	s.again()
	return s
}

// again looks at what comes and goes.
func (s *self) again() (gc debug.GCStats) {
	debug.ReadGCStats(&gc)
	for _, pause := range gc.Pause[:min(int64(len(gc.Pause)), gc.NumGC-s.seen)] { // the latest comes first
		s.maxPause = max(s.maxPause, pause)
	}
	s.seen = gc.NumGC
	s.goroutines = max(s.goroutines, runtime.NumGoroutine())
	s.files = max(s.files, openFiles())
	return gc
}

// tell says what was found.
func (s *self) tell(g *record.Generator) {
	gc := s.again()
	cpu, rss := usage()
	now := lookAtMachine()
	g.Took, g.CPU, g.MaxRSS = time.Since(s.from), cpu-s.cpu, rss
	g.Cores = float64(runtime.NumCPU())
	if now.cores > 0 {
		g.Cores = min(g.Cores, now.cores)
	}
	g.GCs, g.GCPause, g.GCMaxPause = uint64(gc.NumGC-s.gcs), gc.PauseTotal-s.gcPause, s.maxPause
	g.Goroutines, g.Files, g.MaxFiles = s.goroutines, s.files, fileLimit()
	g.Stolen = max(now.stolen-s.machine.stolen, 0)
	g.Throttled = max(now.throttled-s.machine.throttled, 0)
	if now.throttles > s.machine.throttles {
		g.Throttles = now.throttles - s.machine.throttles
	}
}
