package reports

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// What of the load generator is worth a line where there is little room: none of it is judged, since its lag is.
const (
	punctual  = 10 * time.Millisecond // its own lag, and a pause of its garbage collection
	crowded   = 0.8                   // of its processors, or of its descriptors
	disturbed = 0.01                  // of its time, stolen or throttled
)

// generators is what is known of the load generators of all trials.
type generators struct {
	own    record.Hist // lag
	known  int         // trials that say something
	busy   float64     // processors used, in the trial with the highest share of them
	cores  float64     // of that trial
	gcs    uint64
	worst  record.Generator // the highest of each number
	stolen float64          // the highest share of a trial's processor time
	halted float64          // the highest share of a trial that a control group was throttled
}

func (s *sheet) generators() *generators {
	g := new(generators)
	s.each(func(_ rundir.Trial, a *analysis.Trial) {
		if a == nil {
			return
		}
		for _, b := range measured(a) {
			g.own.Merge(b.Own)
		}
		if a.Rec.Generator.Took > 0 {
			g.add(&a.Rec.Generator)
		}
	})
	return g
}

func (g *generators) add(o *record.Generator) {
	g.known++
	g.gcs += o.GCs
	w, took := &g.worst, o.Took.Seconds()
	if busy := o.CPU.Seconds() / took; o.Cores > 0 && (g.cores == 0 || busy/o.Cores > g.busy/g.cores) {
		g.busy, g.cores = busy, o.Cores
	}
	if o.MaxFiles > 0 && (w.MaxFiles == 0 || float64(o.Files)/float64(o.MaxFiles) > float64(w.Files)/float64(w.MaxFiles)) {
		w.Files, w.MaxFiles = o.Files, o.MaxFiles
	}
	w.GCMaxPause, w.Stolen, w.Throttled = max(w.GCMaxPause, o.GCMaxPause), max(w.Stolen, o.Stolen), max(w.Throttled, o.Throttled)
	w.MaxRSS, w.Goroutines, w.Inflight = max(w.MaxRSS, o.MaxRSS), max(w.Goroutines, o.Goroutines), max(w.Inflight, o.Inflight)
	if o.Cores > 0 {
		g.stolen = max(g.stolen, o.Stolen.Seconds()/took/o.Cores)
	}
	g.halted = max(g.halted, o.Throttled.Seconds()/took)
}

// late is the share of the requests that the generator came to more than 10 ms late.
func (g *generators) late() float64 {
	n := g.own.Total()
	if n == 0 {
		return 0
	}
	return float64(n-g.own.Within(punctual)) / float64(n)
}

func (g *generators) lag() string {
	parts := ""
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50 ", 0.5}, {"p99 ", 0.99}, {"p99.9 ", 0.999}, {"at most ", 1}} {
		if d, ok := g.own.Quantile(q.q); ok {
			if parts != "" {
				parts += ", "
			}
			parts += q.name + duration(d)
		}
	}
	return parts
}

func processors(n float64) string { return strconv.FormatFloat(n, 'f', 2, 64) }

// checkGenerator prints what the load generator found out about itself.
func (s *sheet) checkGenerator() []check {
	g := s.generators()
	printedOr := func(name, found, means string, known bool) check {
		if !known {
			found = "no data"
		}
		return check{name: name, bound: "printed, not judged", state: printed, found: found, means: means}
	}
	w := &g.worst
	return []check{
		printedOr("Requests that the generator came to within 10"+nb+"ms", fmt.Sprintf("%s; %s", percent(1-g.late()), g.lag()),
			"What of the send lag the generator added itself, and did not owe to a target that held its connections.", g.own.Total() > 0),
		printedOr("Processors that the generator used", fmt.Sprintf("%s of %s; %s, the longest pause %s", processors(g.busy), strconv.FormatFloat(g.cores, 'g', 3, 64),
			plural(int(g.gcs), "garbage collection", "garbage collections"), duration(w.GCMaxPause)),
			"In the trial that used most of what it could have. Collections are those of all trials.", g.known > 0 && g.cores > 0),
		printedOr("Descriptors that the generator had open", fmt.Sprintf("%s of %s", count(uint64(w.Files)), count(uint64(w.MaxFiles))),
			fmt.Sprintf("At most; and %s, %s of memory.", plural(w.Goroutines, "goroutine", "goroutines"), megabytes(w.MaxRSS)), w.MaxFiles > 0),
		printedOr("Processor time taken from the generator", fmt.Sprintf("stolen %s, throttled %s", duration(w.Stolen), duration(w.Throttled)),
			"By the hypervisor from the whole machine, and by its own control group; at most, in a trial. It explains lag, and lag is what is judged.", g.known > 0),
	}
}

func megabytes(n uint64) string { return count((n+1<<19)>>20) + nb + "MiB" }

// generatorLines say what of the load generator is out of the ordinary.
func (s *sheet) generatorLines() []string {
	g := s.generators()
	var lines []string
	say := func(off bool, format string, args ...any) {
		if off {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	w := &g.worst
	d, _ := g.own.Quantile(0.999)
	say(d > punctual, "it came to %s of the requests more than 10 ms late: %s", percent(g.late()), g.lag())
	say(g.cores > 0 && g.busy > crowded*g.cores, "it used %s of its %s processors", processors(g.busy), strconv.FormatFloat(g.cores, 'g', 3, 64))
	say(w.GCMaxPause > punctual, "its garbage collection stopped it for %s at once", duration(w.GCMaxPause))
	say(w.MaxFiles > 0 && float64(w.Files) > crowded*float64(w.MaxFiles), "it had %s of %s descriptors open", count(uint64(w.Files)), count(uint64(w.MaxFiles)))
	say(g.stolen > disturbed, "the hypervisor gave %s of its machine’s processor time to others", duration(w.Stolen))
	say(g.halted > disturbed, "its control group kept it from running for %s", duration(w.Throttled))
	return lines
}

// generator tells on a terminal what may have disturbed the load; nothing else of it.
func (t *terminal) generator(s *sheet) {
	lines := s.generatorLines()
	t.listed(" LOAD GENERATOR", lines, len(lines))
}
