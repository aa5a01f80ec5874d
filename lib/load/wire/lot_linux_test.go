package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load/loadtest"
)

// A parkable is a lane that parks, to a server that the test plays.
type parkable struct {
	*Lane

	message *Message
	ready   chan struct{}
	peer    net.Conn
}

// newParkable makes one, and has its connection made by an exchange that does not park.
func newParkable(t *testing.T, patience time.Duration) *parkable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &parkable{ready: make(chan struct{}, 1)}
	p.Lane, p.message = laneTo(t, "http://"+l.Addr().String(), Options{Patience: patience})
	accepted := make(chan error, 1)
	go func() {
		var err error
		if p.peer, err = l.Accept(); err == nil {
			err = p.respond()
		}
		accepted <- err
	}()
	if _, err := p.Do(t.Context(), time.Now().Add(time.Minute), p.message, 10); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.peer.Close() })
	p.Park(func() { p.ready <- struct{}{} })
	return p
}

// respond is the server's part of an exchange.
func (p *parkable) respond() error {
	if err := p.hear(); err != nil {
		return err
	}
	_, err := io.WriteString(p.peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	return err
}

// hear is a request's arrival.
func (p *parkable) hear() error {
	_, err := http.ReadRequest(bufio.NewReader(p.peer))
	return err
}

// do begins an exchange, which is to be parked.
func (p *parkable) do(t *testing.T, ctx context.Context, timeout time.Duration) { //nolint:revive // the test comes first
	t.Helper()
	if a, err := p.Do(ctx, time.Now().Add(timeout), p.message, 10); !errors.Is(err, ErrParked) {
		t.Fatalf("%+v, %v, want it to be parked", a, err)
	}
}

// resumed ends it, once it is called.
func (p *parkable) resumed(t *testing.T, ctx context.Context) (*Answer, error) { //nolint:revive // as above
	t.Helper()
	select {
	case <-p.ready:
	case <-time.After(20 * time.Second):
		t.Fatal("it is not called")
	}
	return p.Resume(ctx)
}

// An answer that is long in coming is waited for without a goroutine, and ends as any other: on the same connection, time after time.
func TestParkedLane(t *testing.T) {
	for name, patience := range map[string]time.Duration{"after a while": 30 * time.Millisecond, "at once": -1} {
		t.Run(name, func(t *testing.T) {
			p := newParkable(t, patience)
			for range 5 {
				p.do(t, t.Context(), time.Minute)
				select {
				case <-p.ready:
					t.Fatal("it is called with nothing to do")
				case <-time.After(2 * tick):
				}
				if err := p.respond(); err != nil {
					t.Fatal(err)
				}
				a, err := p.resumed(t, t.Context())
				if err != nil || a.Status != http.StatusOK || string(a.Body) != "ok" {
					t.Fatalf("%+v, %v", a, err)
				}
			}
			if st := p.t.Stats()[0]; st.Opened != 1 {
				t.Errorf("%d connections", st.Opened)
			}
			p.Close()
			if st := p.t.Stats()[0]; st.Requests != 6 || st.Failed.Total() != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// What ends a parked exchange is told as it would be had somebody waited.
func TestParkedLaneFails(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration
		end     func(p *parkable) error
		kind    Kind
	}{
		"deadline": {time.Second, func(*parkable) error { return nil }, Timeout},
		"end":      {time.Minute, func(p *parkable) error { return p.peer.Close() }, EOF},
		"reset": {time.Minute, func(p *parkable) error {
			tcp, _ := p.peer.(*net.TCPConn)
			return errors.Join(tcp.SetLinger(0), tcp.Close())
		}, Reset},
		"in mid-answer": {time.Minute, func(p *parkable) error {
			_, err := io.WriteString(p.peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			return errors.Join(err, p.peer.Close())
		}, Truncated},
		"transport": {time.Minute, func(p *parkable) error { p.t.Close(); return nil }, Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParkable(t, -1)
			p.do(t, t.Context(), c.timeout)
			if err := errors.Join(p.hear(), c.end(p)); err != nil {
				t.Fatal(err)
			}
			_, err := p.resumed(t, t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Kind != c.kind || !e.Reused {
				t.Errorf("%v, want one of kind %v", err, c.kind)
			}
		})
	}
}

// Those who are parked when the transport's context ends are called, and nobody is parked after it.
func TestLotEnds(t *testing.T) {
	p := newParkable(t, -1)
	p.do(t, t.Context(), time.Minute)
	p.t.Close()
	if _, err := p.resumed(t, t.Context()); err == nil {
		t.Error("no error")
	}
	if p.t.parking().park(&p.shot) {
		t.Error("it is parked where nobody is called")
	}
	late := New(t.Context(), Options{})
	late.Close()
	if late.parking() != nil {
		t.Error("a closed transport has a new lot")
	}
}

// Who is told to go too late, when the next exchange has begun or after it, waits on for its own answer.
func TestNudgeOfAnotherExchange(t *testing.T) {
	p := newParkable(t, time.Hour)
	nudge := func() {
		if err := p.c.nc.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		nudge()
		heard := make(chan error, 1)
		go func() {
			err := p.hear()
			nudge()
			time.Sleep(5 * time.Millisecond)
			nudge()
			_, more := io.WriteString(p.peer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			heard <- errors.Join(err, more)
		}()
		if a, err := p.Do(t.Context(), time.Now().Add(time.Minute), p.message, 10); err != nil || string(a.Body) != "ok" {
			t.Fatalf("%+v, %v", a, err)
		}
		if err := <-heard; err != nil {
			t.Fatal(err)
		}
	}
}

// A lane without a lot keeps its goroutine.
func TestLaneThatDoesNotPark(t *testing.T) {
	p := newParkable(t, -1)
	p.shot.close()
	go func() {
		time.Sleep(3 * tick)
		_ = p.respond()
	}()
	if a, err := p.Do(t.Context(), time.Now().Add(time.Minute), p.message, 10); err != nil || string(a.Body) != "ok" {
		t.Errorf("%+v, %v", a, err)
	}
}

// Many are parked at once, and all called at once, none twice.
func TestFullLot(t *testing.T) {
	const lanes = 500
	release := make(chan struct{})
	s := &loadtest.Server{Answer: func(c net.Conn, _ *http.Request) error {
		<-release
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err
	}}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMessage(req)
	if err != nil {
		t.Fatal(err)
	}
	tr := New(t.Context(), Options{Patience: -1})
	defer tr.Close()
	ended := make(chan error, 2*lanes)
	for range lanes {
		lane := tr.Lane(m)
		lane.Park(func() {
			a, err := lane.Resume(t.Context())
			if err == nil && string(a.Body) != "ok" {
				err = errors.New("another body")
			}
			lane.Close()
			ended <- err
		})
		if _, err := lane.Do(t.Context(), time.Now().Add(time.Minute), m, 10); !errors.Is(err, ErrParked) {
			t.Fatal(err)
		}
		if len(ended) > 0 {
			t.Fatal(<-ended)
		}
	}
	close(release)
	for range lanes {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	time.Sleep(3 * tick)
	if n := len(ended); n > 0 {
		t.Errorf("%d were called twice", n)
	}
	if n := len(tr.lot.all); n > 0 || len(tr.lot.free) != len(tr.lot.parked) {
		t.Errorf("%d are still in it, %d of %d places free", n, len(tr.lot.free), len(tr.lot.parked))
	}
}
