package tutti

import (
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// punctual is how late a generator may come to a request for that to count as on time.
const punctual = 10 * time.Millisecond

// generator is what is known of a trial's load generator as run.json has it.
func generator(t *analysis.Trial) *rundir.Generator {
	g, own := t.Rec.Generator, t.OwnLag()
	out := &rundir.Generator{
		Engine: g.Engine, Agents: g.Agents, Scheduled: g.Scheduled, Counted: g.Counted, Lag: lag(t.Lag()), OwnLag: lag(own),
		Took: g.Took.Seconds(), CPU: g.CPU.Seconds(), Cores: g.Cores, MaxRSS: g.MaxRSS, Inflight: g.Inflight, Goroutines: g.Goroutines,
		Files: g.Files, MaxFiles: g.MaxFiles, GCs: g.GCs, GCPause: g.GCPause.Seconds(), GCMaxPause: g.GCMaxPause.Seconds(),
		Stolen: g.Stolen.Seconds(), Throttled: g.Throttled.Seconds(), Throttles: g.Throttles,
	}
	if n := own.Total(); n > 0 {
		out.OnTime = finite(float64(own.Within(punctual)) / float64(n))
	}
	return out
}

func lag(h *record.Hist) rundir.Lag {
	rank := func(q float64) *float64 {
		d, ok := h.Quantile(q)
		if !ok {
			return nil
		}
		return finite(d.Seconds())
	}
	return rundir.Lag{P50: rank(0.5), P99: rank(0.99), P999: rank(0.999), Max: rank(1)}
}

// statuses counts bad answers by class and status, whatever the phase.
func statuses(t *analysis.Trial) []rundir.StatusCount {
	var out []rundir.StatusCount
	for _, s := range t.Statuses() {
		n := len(out)
		if n > 0 && out[n-1].Class == s.Class.String() && out[n-1].Status == s.Status {
			out[n-1].Count += s.Count
			continue
		}
		out = append(out, rundir.StatusCount{Class: s.Class.String(), Status: s.Status, Count: s.Count})
	}
	return out
}

// examples are requests as run.json has them.
func examples(t *analysis.Trial, of []record.Example) []rundir.Example {
	var out []rundir.Example
	for i := range of {
		e := &of[i]
		x := rundir.Example{
			Seq: e.Seq, Due: e.Due.Seconds(), Done: e.Done.Seconds(), Response: e.Response().Seconds(), Class: e.Class.String(),
			Phase: t.PhaseAt(e.Due), Node: e.Node, Tried: e.Tried, Status: e.Status, Error: e.Error,
		}
		if e.Request >= 0 && e.Request < len(t.Rec.Requests) {
			x.Request = t.Rec.Requests[e.Request]
		}
		if e.Sent != record.None {
			x.Sent = finite(e.Sent.Seconds())
		}
		out = append(out, x)
	}
	return out
}
