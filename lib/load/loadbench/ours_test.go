//go:build linux

package loadbench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// An order is what our generator's process is to do.
type order struct {
	Engine      load.Engine
	Address     string
	Rate        float64 // requests due per second
	For         time.Duration
	Timeout     time.Duration
	Connections int
	CancelAt    time.Duration // from the start of the schedule; 0: never
	Probe       bool          // say who sends, which costs time
	Watch       bool          // look at its memory every second
}

// unreachable is a rate that no generator comes up to, so that all connections are always in use and the loop is closed in effect.
const unreachable = 1e6

// plan is the only place that knows how a plan is written.
func (o order) plan() (p load.Plan, due func(n uint64) time.Duration, count uint64) {
	p = load.Plan{
		Schedule: schedule.Constant(o.Rate, 0, o.For), Timeout: o.Timeout, Connections: o.Connections, Engine: o.Engine,
		Ingress: "http://ingress", Dial: o.Address, Requests: []load.Request{{Name: "one", Method: "GET", Path: "/"}},
	}
	times := p.Schedule.Timetable()
	return p, times.Due, times.Count()
}

// Told is what our generator says of itself.
type told struct {
	Scheduled uint64
	Classes   map[string]uint64 // samples by class
	Vegeta    bool              // vegeta's attacker was at work
	OnTime    uint64            // sent within 10 ms of when they were due, of those in complete bins
	Response  quantiles         // of all requests, by due time
	Lag       quantiles         // sent − due
	Own       quantiles         // the generator's own part of it

	Peak               uint64   // resident memory, bytes
	Memory, Private    []uint64 // the same, now, every second; and of it what is no page of the program's file
	Zero               int64    // Unix time in nanoseconds
	Canceled, Returned int64    // the same
}

func (t told) counted() (n uint64) {
	for _, k := range t.Classes {
		n += k
	}
	return n
}

// good is an error unless all that was scheduled was counted, and answered as it should be. With cancelled, what was open or due at the end
// is as it is.
func (t told) good(cancelled bool) error {
	ok, n, want := t.Classes[record.OK.String()], t.counted(), t.Scheduled
	if cancelled {
		ok, want = ok+t.Classes[record.Unsent.String()], n
	}
	if ok != want || n != want || t.Classes[record.OK.String()] == 0 {
		return fmt.Errorf("of %d requests scheduled %d are counted, as %v", t.Scheduled, n, t.Classes)
	}
	return nil
}

// whole is the error of a run, or what is wrong with what it told.
func (t told) whole(err error) error {
	if err != nil {
		return err
	}
	return t.good(false)
}

// Quantiles by name; -1 is never: that many requests had no end.
type quantiles map[string]time.Duration

// levels in thousandths of a percent.
var levels = []struct {
	name string
	per  uint64 // of 100,000
}{{"p50", 50_000}, {"p95", 95_000}, {"p99", 99_000}, {"p999", 99_900}, {"max", 100_000}}

func rankOf(n, per uint64) uint64 { return max((n*per+99_999)/100_000, 1) }

// quantilesOf are those of n requests of which those in h have an end.
func quantilesOf(h *record.Hist, n uint64) quantiles {
	q := make(quantiles)
	for _, l := range levels {
		d, ok := h.Rank(rankOf(n, l.per))
		if !ok {
			d = -1
		}
		q[l.name] = d
	}
	return q
}

// Sums are what comes of all samples, made as the load agent makes them.
type sums struct {
	binner *record.Binner

	classes              map[string]uint64
	responses, lags, own record.Hist
	onTime               uint64

	stop chan struct{}
	tend sync.WaitGroup
}

func newSums(o order, due func(n uint64) time.Duration, count uint64) *sums {
	s := &sums{classes: make(map[string]uint64), stop: make(chan struct{})}
	s.binner = record.NewBinner(due, count, o.Timeout, func(b record.Bin) {
		for _, c := range b.Cells {
			if c.Class.Good() {
				s.responses.Merge(c.Response)
			}
		}
		s.onTime += b.Lag.Within(10 * time.Millisecond)
		s.lags.Merge(b.Lag)
		s.own.Merge(b.Own)
	})
	s.binner.Watch(func(x *record.Sample) { s.classes[x.Class.String()]++ })
	s.tend.Go(func() {
		t := time.NewTicker(50 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-t.C:
				s.binner.Flush()
			}
		}
	})
	return s
}

// tell fills in what was told, after the last sample. A load that was broken off leaves bins that are not complete.
func (s *sums) tell(t *told, whole bool) {
	close(s.stop)
	s.tend.Wait()
	s.binner.Flush()
	if whole {
		s.binner.Close()
	}
	t.Classes = s.classes
	t.OnTime = s.onTime
	t.Response, t.Lag, t.Own = quantilesOf(&s.responses, t.Scheduled), quantilesOf(&s.lags, t.Scheduled), quantilesOf(&s.own, s.own.Total())
}

// generate is our generator's process: an order from in; the schedule's start, then what came of it, on out.
func generate(in io.Reader, out io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	debug.SetGCPercent(400) // as the load agent does
	debug.SetMemoryLimit(512 << 20)
	enc := json.NewEncoder(out)
	p, due, count := o.plan()
	got := told{Scheduled: count}
	sum := newSums(o, due, count)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var beside sync.WaitGroup
	err := new(httpload.Generator).Generate(ctx, p, func(zero time.Time) {
		got.Zero = zero.UnixNano()
		_ = enc.Encode(got.Zero)
		beside.Go(func() { o.beside(ctx, cancel, zero, &got) })
	}, sum.binner.Put)
	got.Returned = time.Now().UnixNano()
	cancel()
	beside.Wait()
	whole := err == nil
	if o.CancelAt > 0 && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		return err
	}
	sum.tell(&got, whole)
	got.Peak = memory(os.Getpid(), "VmHWM")
	return enc.Encode(got)
}

// beside does what goes on beside the load: to cancel it, to look at memory and at who sends.
func (o order) beside(ctx context.Context, cancel func(), zero time.Time, got *told) {
	var at, look <-chan time.Time
	if o.CancelAt > 0 {
		at = time.After(time.Until(zero.Add(o.CancelAt)))
	}
	if o.Watch {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		look = t.C
	}
	who := time.After(time.Until(zero.Add(min(o.For, time.Second) / 10)))
	for {
		select {
		case <-ctx.Done():
			return
		case <-at:
			got.Canceled = time.Now().UnixNano()
			cancel()
		case <-look:
			got.Memory = append(got.Memory, memory(os.Getpid(), "VmRSS"))
			got.Private = append(got.Private, memory(os.Getpid(), "RssAnon"))
		case <-who:
			if o.Probe {
				buf := make([]byte, 1<<20)
				got.Vegeta = bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("vegeta/v12/lib.(*Attacker)"))
			}
		}
	}
}

// memory reads one of the sizes in a process's status, in bytes; 0 if it has gone.
func memory(pid int, name string) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}
