package process

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

const pieceSize = 32 << 10 // the most bytes that a link reads at once

// A link is one direction of a connection through a proxy: what is read at one end goes through toxiproxy's stages,
// one for each toxic, and is written at the other. toxiproxy's own link is not used: it closes a connection as a
// whole where one end has only finished sending, leaves goroutines behind on one that is cut, and cannot reset
// one that was there before.
type link struct {
	out   chan *stream.StreamChunk // to be written
	meter func(time.Duration, int) // told of every piece: how long it was on its way, and its bytes
	gone  <-chan struct{}          // closed when the connection is cut

	mu      sync.Mutex               // may be held while a stage waits for the writer
	in      chan *stream.StreamChunk // of the first stage; out where there is none
	changed chan struct{}            // closed and replaced when in changes
	closed  bool                     // in is
	stages  []*stage

	count  sync.Mutex // never held while anything is waited for
	read   int64      // bytes
	wrote  int64      // bytes
	pieces []arrival  // that are on their way
}

// A stage is one toxic's place in a link. One that is free lets everything pass, and stays for the next toxic.
type stage struct {
	stub   *toxics.ToxicStub
	buffer int
	key    string // of the toxic; "": free
}

// An arrival is when the bytes up to a number were read.
type arrival struct {
	upTo int64
	at   time.Time
}

func newLink(gone <-chan struct{}, meter func(time.Duration, int)) *link {
	out := make(chan *stream.StreamChunk)
	return &link{out: out, in: out, changed: make(chan struct{}), meter: meter, gone: gone}
}

// openWay is the toxic of a stage without one.
func openWay() *toxics.ToxicWrapper {
	return &toxics.ToxicWrapper{Toxic: new(toxics.NoopToxic), Toxicity: 1}
}

// add puts a toxic in front of the others. What was read before passes it by.
func (l *link) add(key string, w *toxics.ToxicWrapper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for _, s := range l.stages {
		if s.key == "" && s.buffer == w.BufferSize {
			s.key = key
			s.become(w)
			return
		}
	}
	in := make(chan *stream.StreamChunk, w.BufferSize)
	s := &stage{stub: toxics.NewToxicStub(in, l.in), buffer: w.BufferSize, key: key}
	l.stages = append(l.stages, s)
	go s.stub.Run(w) // ends with the link, which its writer waits for
	l.in = in
	close(l.changed)
	l.changed = make(chan struct{})
}

// remove ends a toxic: what it holds back goes on at once.
func (l *link) remove(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.stages {
		if s.key == key {
			s.key = ""
			s.become(openWay())
		}
	}
}

// become gives a stage another toxic. It waits while the link's end takes nothing.
func (s *stage) become(w *toxics.ToxicWrapper) {
	if s.stub.InterruptToxic() {
		go s.stub.Run(w) // ends with the link, which its writer waits for
	}
}

// send reads from a connection until that ends. It returns nil if the other side has finished sending.
func (l *link) send(from io.Reader) error {
	defer l.finish()
	buffer := make([]byte, pieceSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			piece := &stream.StreamChunk{Data: append([]byte(nil), buffer[:n]...), Timestamp: time.Now()}
			l.count.Lock()
			l.read += int64(n)
			l.pieces = append(l.pieces, arrival{l.read, piece.Timestamp})
			l.count.Unlock()
			l.offer(piece)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// offer hands a piece to the first stage, whichever that is by then.
func (l *link) offer(piece *stream.StreamChunk) {
	for {
		l.mu.Lock()
		in, changed := l.in, l.changed
		l.mu.Unlock()
		select {
		case in <- piece:
			return
		case <-changed:
		case <-l.gone: // nobody wants it any more
			return
		}
	}
}

// finish ends the stages once they have let go of what they hold.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.in)
}

// release makes the stages let go of everything at once.
func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.stages {
		s.key = ""
		s.become(openWay())
	}
}

// receive writes to a connection until all stages have ended. An error is told of at once; what comes after it is
// dropped, so that the stages can end.
func (l *link) receive(to *net.TCPConn, failed func()) {
	broken := false
	for piece := range l.out {
		if broken {
			continue
		}
		if _, err := to.Write(piece.Data); err != nil {
			broken = true
			failed()
			continue
		}
		l.passed(len(piece.Data))
	}
	if !broken && to.CloseWrite() != nil {
		failed()
	}
}

// passed tells the meter of the pieces whose last byte was written.
func (l *link) passed(bytes int) {
	now := time.Now()
	l.count.Lock()
	defer l.count.Unlock()
	l.wrote += int64(bytes)
	before := l.wrote - int64(bytes)
	for len(l.pieces) > 0 && l.pieces[0].upTo <= l.wrote {
		p := l.pieces[0]
		l.pieces = l.pieces[1:]
		l.meter(now.Sub(p.at), int(p.upTo-before))
		before = p.upTo
	}
}
