package process

import (
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// throttleStep is the longest that the bytes that go out at once may take.
const throttleStep = 20 * time.Millisecond

// A throttle stands for toxiproxy's bandwidth toxic, which lets bytes through at a rate: that one does so for each connection
// by itself, where a node's link is one for all of them, and loses what it holds when it is ended while the other side
// takes nothing.
type throttle struct {
	Rate int64 `json:"rate"` // KB/s, which are 1,000 bytes

	mu  sync.Mutex
	due time.Time // when all that was let in is through
}

var _ toxics.Toxic = (*throttle)(nil)

// reserve returns when so many bytes are through.
func (t *throttle) reserve(bytes int) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); t.due.Before(now) {
		t.due = now // what was not used is not saved up
	}
	t.due = t.due.Add(time.Duration(bytes) * time.Millisecond / time.Duration(t.Rate))
	return t.due
}

// Pipe lets bytes through until the stub ends or is interrupted.
func (t *throttle) Pipe(stub *toxics.ToxicStub) {
	step := max(int(t.Rate*throttleStep.Milliseconds()), 1)
	for {
		select {
		case <-stub.Interrupt:
			return
		case piece := <-stub.Input:
			if piece == nil {
				stub.Close()
				return
			}
			if !t.through(stub, piece, step) {
				return
			}
		}
	}
}

// through lets one piece through, a step at a time. It returns false if it was interrupted: then all of it goes at once.
func (t *throttle) through(stub *toxics.ToxicStub, piece *stream.StreamChunk, step int) bool {
	for len(piece.Data) > 0 {
		part := *piece
		part.Data = piece.Data[:min(step, len(piece.Data))]
		wait := time.NewTimer(time.Until(t.reserve(len(part.Data))))
		select {
		case <-wait.C:
		case <-stub.Interrupt:
			wait.Stop()
			stub.Output <- piece
			return false
		}
		stub.Output <- &part
		piece.Data = piece.Data[len(part.Data):]
	}
	return true
}
