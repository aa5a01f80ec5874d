package record

import "time"

// Generator is what the load generator says of itself at the end of a trial. What came late, and by how much, is in the bins.
type Generator struct {
	Scheduled uint64        `json:"scheduled"` // of a closed loop what was begun
	Counted   uint64        `json:"counted"`   // requests with an outcome; must equal Scheduled
	CPU       time.Duration `json:"cpu"`       // user and system time
	MaxRSS    uint64        `json:"max_rss"`   // bytes
	Inflight  int           `json:"inflight"`
	Complete  bool          `json:"complete"` // the whole schedule was run

	// From version 3 on. What could not be found out is 0.
	Engine string        `json:"engine,omitempty"` // what sent the load
	Agents int           `json:"agents,omitempty"` // how many processes did
	Took   time.Duration `json:"took,omitempty"`   // from the first look at all this to the last: what CPU and Stolen are part of
	Cores  float64       `json:"cores,omitempty"`  // processors that it could use

	GCs        uint64        `json:"gcs,omitempty"`          // garbage collections
	GCPause    time.Duration `json:"gc_pause,omitempty"`     // the sum of their pauses
	GCMaxPause time.Duration `json:"gc_max_pause,omitempty"` // the longest of them
	Goroutines int           `json:"goroutines,omitempty"`   // the most that were seen
	Files      int           `json:"files,omitempty"`        // the most open descriptors that were seen
	MaxFiles   int           `json:"max_files,omitempty"`    // the limit on them

	Stolen    time.Duration `json:"stolen,omitempty"`    // processor time that the hypervisor gave to others, over all processors
	Throttled time.Duration `json:"throttled,omitempty"` // how long its own control group was kept from running
	Throttles uint64        `json:"throttles,omitempty"` // in how many periods
}

// Then adds what the generator says of itself after another load of the same trial, one after the other.
func (g *Generator) Then(o Generator) {
	g.add(o)
	g.MaxRSS, g.Inflight, g.Agents = max(g.MaxRSS, o.MaxRSS), max(g.Inflight, o.Inflight), max(g.Agents, o.Agents)
	g.Took, g.Stolen, g.Throttled, g.Throttles = g.Took+o.Took, g.Stolen+o.Stolen, g.Throttled+o.Throttled, g.Throttles+o.Throttles
}

// Beside adds what another generator on the same machine says of itself, which sent its part of the same load at the same time. What was
// stolen all of them see; of what they were throttled the most is kept, since their control groups can be one.
func (g *Generator) Beside(o Generator) {
	g.add(o)
	g.MaxRSS, g.Inflight, g.Agents = g.MaxRSS+o.MaxRSS, g.Inflight+o.Inflight, g.Agents+o.Agents
	g.Took, g.Stolen = max(g.Took, o.Took), max(g.Stolen, o.Stolen)
	g.Throttled, g.Throttles = max(g.Throttled, o.Throttled), max(g.Throttles, o.Throttles)
	g.Complete = g.Complete && o.Complete
}

func (g *Generator) add(o Generator) {
	g.Scheduled, g.Counted, g.CPU = g.Scheduled+o.Scheduled, g.Counted+o.Counted, g.CPU+o.CPU
	g.GCs, g.GCPause, g.GCMaxPause = g.GCs+o.GCs, g.GCPause+o.GCPause, max(g.GCMaxPause, o.GCMaxPause)
	g.Cores, g.Goroutines, g.Files = max(g.Cores, o.Cores), max(g.Goroutines, o.Goroutines), max(g.Files, o.Files)
	if o.MaxFiles > 0 && (g.MaxFiles == 0 || o.MaxFiles < g.MaxFiles) {
		g.MaxFiles = o.MaxFiles
	}
	if g.Engine == "" {
		g.Engine = o.Engine
	}
}
