package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Leader asks every so often who leads a store whose answers do not say so.
type Leader struct {
	name atomic.Pointer[string]
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Follow starts asking; one question may take as long as the pause between two. An error leaves the leader unknown.
// [Leader.Close] ends it, and so does ctx.
func Follow(ctx context.Context, every time.Duration, ask func(context.Context) (string, error)) *Leader {
	ctx, stop := context.WithCancel(ctx)
	l := &Leader{stop: stop}
	l.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			once, cancel := context.WithTimeout(ctx, every)
			name, err := ask(once)
			cancel()
			if err != nil {
				name = ""
			}
			l.name.Store(&name)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return l
}

// Name is who led when last asked, "" if that is not known.
func (l *Leader) Name() string {
	if name := l.name.Load(); name != nil {
		return *name
	}
	return ""
}

// Close ends the asking.
func (l *Leader) Close() {
	l.stop()
	l.wg.Wait()
}
