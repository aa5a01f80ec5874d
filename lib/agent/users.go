package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// flushEvery is how often bins of a closed loop are looked at.
const flushEvery = 50 * time.Millisecond

// closedLoop sends what users send, and sums it up. Scheduled is what they have begun.
func (s *server) closedLoop(ctx context.Context, id uint64, p load.Plan) (record.Generator, error) {
	s.wrote = nil
	if err := p.Check(); err != nil {
		return record.Generator{}, err
	}
	first := make([]time.Duration, p.Schedule.Users())
	for user := range first {
		due, ok := p.Schedule.Ready(user, -p.Schedule.Warmup)
		if first[user] = due; !ok {
			first[user] = record.None
		}
	}
	binner := record.NewOpenBinner(first, p.Timeout, func(b record.Bin) { s.out.put(reply{ID: id, Bin: &b}) })
	before, _ := usage()
	flushed := flushing(binner)
	err := s.generator.Generate(ctx, p,
		func(zero time.Time) { s.out.put(reply{ID: id, Started: zero.UnixNano()}) },
		func(x record.Sample) { binner.Add(x) }) // what is refused, Counts tells
	flushed()
	if err == nil {
		binner.Close()
	}
	after, rss := usage()
	begun, told, refused := binner.Counts()
	done := record.Generator{Scheduled: begun, Counted: told, CPU: after - before, MaxRSS: rss}
	if g, ok := s.generator.(load.Gauge); ok {
		done.Inflight = g.Peak()
	}
	if refused > 0 && err == nil {
		err = fmt.Errorf("%d requests were reported twice, or were not the next of their user", refused)
	}
	done.Complete = err == nil && done.Counted == done.Scheduled
	return done, err
}

// flushing emits complete bins until the function that it returns is called, which waits until that has ended.
func flushing(b *record.OpenBinner) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				b.Flush()
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}
