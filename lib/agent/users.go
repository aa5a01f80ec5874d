package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// closedLoop sends what users send, and sums it up. Scheduled is what they have begun.
func (s *server) closedLoop(ctx context.Context, id uint64, p load.Plan) (Sent, error) {
	s.wrote = nil
	if err := p.Check(); err != nil {
		return Sent{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	scribe, err := newScribe(s, id, p, cancel)
	if err != nil {
		return Sent{}, err
	}
	first := make([]time.Duration, p.Schedule.Users())
	for user := range first {
		due, ok := p.Schedule.Ready(user, -p.Schedule.Warmup)
		if first[user] = due; !ok {
			first[user] = record.None
		}
	}
	var account record.Account
	binner := record.NewOpenBinner(first, p.Timeout, func(b record.Bin) {
		account.Add(&b)
		s.out.put(reply{ID: id, Bin: &b})
	})
	self := look()
	tended := tend(binner, self)
	var noting sync.Mutex
	err = s.generator.Generate(ctx, p, s.begun(id, p, scribe, cancel), func(x record.Sample) {
		if binner.Add(x) && scribe != nil { // what is refused, Counts tells
			noting.Lock()
			scribe.note(&x)
			noting.Unlock()
		}
	})
	tended()
	binner.Flush()
	err = scribe.ended(err)
	if err == nil {
		binner.Close()
	}
	begun, told, refused := binner.Counts()
	done := Sent{Generator: record.Generator{Scheduled: begun, Counted: told, Agents: 1}, Slowest: binner.Slowest()}
	s.tellOf(&done, self)
	if refused > 0 && err == nil {
		err = fmt.Errorf("%d requests were reported twice, or were not the next of their user", refused)
	}
	if err == nil {
		err = account.Check(done.Generator)
	}
	done.Complete = err == nil
	return done, err
}
