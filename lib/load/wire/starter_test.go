package wire

import (
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load/loadtest"
)

// A connection goes to the first who waits, and not to the one on whose account it was made. That one must not be left with nothing when
// the first one's own connection comes to nothing.
func TestStarterOfAnothersConnection(t *testing.T) {
	s := new(loadtest.Server)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	tr := New(t.Context(), Options{Total: 10 * time.Second})
	defer tr.Close()
	connect, first, fail := tr.connect, make(chan bool), make(chan bool)
	var dials atomic.Int32
	tr.connect = func(address string, within time.Duration) (net.Conn, error) {
		if dials.Add(1) == 1 {
			close(first)
			<-fail
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return connect(address, within)
	}
	ended := make(chan error)
	send := func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/", nil)
		if err == nil {
			r.Close = true // so that nobody inherits its connection
			var resp *http.Response
			if resp, err = tr.RoundTrip(r); err == nil {
				err = resp.Body.Close()
			}
		}
		ended <- err
	}
	begun := time.Now()
	go send()
	<-first
	go send()
	if err := <-ended; err != nil { // by the second's connection
		t.Fatal(err)
	}
	close(fail)
	err := <-ended
	if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Kind == Timeout) || time.Since(begun) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}
