package loadtest_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tutti-bench/tutti/lib/load/loadtest"
)

// A GOAWAY names the last stream that was taken, and promises an answer to all before it. So a request whose turn it is to be broken,
// and which is complete only after a later one was taken, is answered like the others.
func TestGoAwayPromisesNothingThatIsNotKept(t *testing.T) {
	s := &loadtest.Server{HTTP2: true, BreakEvery: 2, BreakOn: loadtest.All, Break: loadtest.GoAway}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	frames := http2.NewFramer(c, c)
	write := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(frames.WriteSettings())
	var header bytes.Buffer
	encoder := hpack.NewEncoder(&header)
	for _, id := range []uint32{3, 5} {
		header.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"}} {
			write(encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		write(frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header.Bytes(), EndHeaders: true}))
	}
	write(frames.WriteData(5, true, []byte("later")))
	write(frames.WriteData(3, true, []byte("earlier")))
	for ended := make(map[uint32]bool); !ended[3] || !ended[5]; {
		f, err := frames.ReadFrame()
		if err != nil {
			t.Fatalf("%v; ended: %v", err, ended)
		}
		if f, ok := f.(*http2.DataFrame); ok && f.StreamEnded() {
			ended[f.StreamID] = true
		}
	}
	if n := s.Broken(); n != 0 || len(s.Log()) != 2 {
		t.Errorf("%d requests are broken, of %d", n, len(s.Log()))
	}
}
