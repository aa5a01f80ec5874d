package rundir

import "github.com/tutti-bench/tutti/lib/analysis"

// A Generator is what is known of the load generator in a trial. What could not be found out is 0.
type Generator struct {
	Engine    string   `json:"engine,omitempty"`
	Agents    int      `json:"agents,omitempty"`
	Scheduled uint64   `json:"scheduled"`
	Counted   uint64   `json:"counted"`
	OnTime    *float64 `json:"on_time"`
	Lag       Lag      `json:"lag"`
	OwnLag    Lag      `json:"own_lag"`

	Took       float64 `json:"took"`
	CPU        float64 `json:"cpu"`
	Cores      float64 `json:"cores,omitempty"`
	MaxRSS     uint64  `json:"max_rss"`
	Inflight   int     `json:"inflight"`
	Goroutines int     `json:"goroutines,omitempty"`
	Files      int     `json:"files,omitempty"`
	MaxFiles   int     `json:"max_files,omitempty"`
	GCs        uint64  `json:"gcs"`
	GCPause    float64 `json:"gc_pause"`
	GCMaxPause float64 `json:"gc_max_pause"`
	Stolen     float64 `json:"stolen"`
	Throttled  float64 `json:"throttled"`
	Throttles  uint64  `json:"throttles"`
}

// A Lag is how late requests were, by rank.
type Lag struct {
	P50  *float64 `json:"p50"`
	P99  *float64 `json:"p99"`
	P999 *float64 `json:"p999"`
	Max  *float64 `json:"max"`
}

// An Example is one request in full.
type Example struct {
	Seq      uint64         `json:"seq"`
	Request  string         `json:"request"`
	Due      float64        `json:"due"`
	Sent     *float64       `json:"sent"`
	Done     float64        `json:"done"`
	Response float64        `json:"response"`
	Class    string         `json:"class"`
	Phase    analysis.Phase `json:"phase"`
	Node     string         `json:"node,omitempty"`
	Tried    []string       `json:"tried,omitempty"`
	Status   int            `json:"status,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// A StatusCount is how many bad requests of one class were answered with one status.
type StatusCount struct {
	Class  string `json:"class"`
	Status int    `json:"status"`
	Count  uint64 `json:"count"`
}

func generatorNotes() map[string]string {
	return map[string]string{
		"Trial.generator":        "what is known of the load generator",
		"Trial.failures":         "examples of the bad requests of measured load, at most 50, spread over class, node and phase, by number; none of a search",
		"Trial.slowest":          "the 20 slowest of the answered requests of measured load; none of a search",
		"Trial.statuses":         "the bad requests of measured load that were answered, by class and status",
		"StatusCount.status":     "0: no status of HTTP, or one of too many",
		"Generator.engine":       "what sent the load",
		"Generator.agents":       "how many processes sent it side by side",
		"Generator.counted":      "requests with an outcome",
		"Generator.on_time":      "share of the sent requests of measured load whose own lag was at most 10 ms; null where that is not known",
		"Generator.lag":          "sent − due, whoever is to blame",
		"Generator.own_lag":      "what of it the generator itself added; null in recordings before version 3",
		"Generator.took":         "how long it was looked at: all that follows is of this time",
		"Generator.cpu":          "user and system time",
		"Generator.cores":        "processors that it could use",
		"Generator.max_rss":      "bytes of memory at most",
		"Generator.inflight":     "requests open at once at most",
		"Generator.goroutines":   "at most",
		"Generator.files":        "open descriptors at most",
		"Generator.max_files":    "the limit on them",
		"Generator.gcs":          "garbage collections",
		"Generator.gc_pause":     "the sum of their pauses",
		"Generator.gc_max_pause": "the longest of them",
		"Generator.stolen":       "processor time that the hypervisor gave to others, over all processors",
		"Generator.throttled":    "how long its control group was kept from running",
		"Generator.throttles":    "in how many periods",
		"Example.seq":            "its number in the schedule, warm-up included, from 0",
		"Example.sent":           "null if it did not go out",
		"Example.response":       "done − due",
		"Example.phase":          "before, during, after; empty between them",
		"Example.node":           "who answered",
		"Example.tried":          "the nodes that the balancer tried",
		"Example.error":          "what went wrong, cut; it can hold what the target said",
	}
}
