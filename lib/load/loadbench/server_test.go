//go:build linux

package loadbench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Orders are what the server is to do until it is asked what it saw. Times are from the first request on.
type orders struct {
	Sample     bool          // count by time, for a rate
	Arrivals   int           // how many arrivals to stamp
	Delay      time.Duration // of every answer
	StallAt    time.Duration
	StallFor   time.Duration // what arrives in [StallAt, StallAt + StallFor) is answered at its end
	ResetEvery uint64        // each such request on a connection that has served one is answered with a reset
}

// Seen is what became of them.
type seen struct {
	Count    uint64
	Resets   uint64
	Conns    int64   // that brought a request
	Samples  []count // every 50 ms
	Arrivals []int64 // Unix time in nanoseconds, in no order
}

type count struct {
	At int64 // nanoseconds
	N  uint64
}

// A command is one line to the server. Its answer is a seen.
type command struct {
	Begin *orders `json:",omitempty"` // else end
}

// A phase is what the server does under one order. Connections find it anew with each request.
type phase struct {
	orders

	count, resets, reused atomic.Uint64
	conns                 atomic.Int64
	first                 atomic.Int64
	stamped               atomic.Int64
	arrivals              []atomic.Int64
	stop                  chan struct{}
	sampling              sync.WaitGroup
	samples               []count
}

// A server answers every request with the same 200, as cheaply as it can be done: one goroutine a connection, which looks for the end of
// a header and for nothing else.
type server struct {
	now   atomic.Pointer[phase]
	began time.Time
}

var (
	headerEnd = []byte("\r\n\r\n")
	answer    = []byte("HTTP/1.1 200 OK\r\nServer: t\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!")
)

// serveTruth is the server's process: its address on out, then commands from in until that ends.
func serveTruth(in io.Reader, out io.Writer) error {
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	s := &server{began: time.Now()}
	s.now.Store(&phase{stop: make(chan struct{})})
	go s.accept(l)
	enc, dec := json.NewEncoder(out), json.NewDecoder(in)
	if err := enc.Encode(l.Addr().String()); err != nil {
		return err
	}
	for {
		var c command
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		next := &phase{stop: make(chan struct{})}
		if c.Begin != nil {
			next.orders, next.arrivals = *c.Begin, make([]atomic.Int64, c.Begin.Arrivals)
		}
		if next.Sample {
			next.sampling.Go(func() { s.sample(next) })
		}
		if err := enc.Encode(s.now.Swap(next).end()); err != nil {
			return err
		}
	}
}

func (s *server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go s.serve(c)
	}
}

func (s *server) serve(c net.Conn) {
	// With no time to linger a close is a reset: for those who asked for one. To others it means nothing, since they have gone
	// first, but that no port stays taken for a minute, of which there are not enough for many programs with 10,000 connections each.
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	defer c.Close()
	buf, n := make([]byte, 4096), 0
	var last *phase
	for {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		for n += m; ; {
			i := bytes.Index(buf[:n], headerEnd)
			if i < 0 {
				break
			}
			n = copy(buf, buf[i+len(headerEnd):n])
			p := s.now.Load()
			if !s.arrived(p, p == last) {
				return
			}
			last = p
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
		if n == len(buf) {
			return
		}
	}
}

// arrived takes note of a request and waits as long as its answer is to wait. It reports whether there is to be one.
func (s *server) arrived(p *phase, reused bool) bool {
	p.count.Add(1)
	if !reused {
		p.conns.Add(1)
	}
	if len(p.arrivals) > 0 || p.StallFor > 0 {
		at := int64(time.Since(s.began))
		first := p.first.Load()
		if first == 0 && p.first.CompareAndSwap(0, at) {
			first = at
		} else if first == 0 {
			first = p.first.Load()
		}
		if i := p.stamped.Add(1) - 1; i < int64(len(p.arrivals)) {
			p.arrivals[i].Store(s.began.UnixNano() + at)
		}
		from := first + int64(p.StallAt)
		if to := from + int64(p.StallFor); at >= from && at < to {
			time.Sleep(time.Duration(to - at))
		}
	}
	if p.Delay > 0 {
		time.Sleep(p.Delay)
	}
	if p.ResetEvery > 0 && reused && p.reused.Add(1)%p.ResetEvery == 0 {
		p.resets.Add(1)
		return false
	}
	return true
}

func (s *server) sample(p *phase) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.samples = append(p.samples, count{int64(time.Since(s.began)), p.count.Load()})
		}
	}
}

// end says what was seen. Requests that are still open are no longer counted in it.
func (p *phase) end() seen {
	close(p.stop)
	p.sampling.Wait()
	got := seen{Count: p.count.Load(), Resets: p.resets.Load(), Conns: p.conns.Load(), Samples: p.samples}
	for i := range p.arrivals {
		if at := p.arrivals[i].Load(); at > 0 {
			got.Arrivals = append(got.Arrivals, at)
		}
	}
	return got
}

// A truth is the server as its parent has it.
type truth struct {
	address string
	pid     int

	enc *json.Encoder
	dec *json.Decoder
}

// newTruth starts the server. It ends with the test, and if this process dies, with that.
func newTruth(t *testing.T) *truth {
	t.Helper()
	cmd := exec.Command(self(t))
	cmd.Env, cmd.Stderr = append(os.Environ(), roleVar+"="+roleServer), os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	s := &truth{pid: cmd.Process.Pid, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	if err := s.dec.Decode(&s.address); err != nil {
		t.Fatalf("the server has no address: %v", err)
	}
	return s
}

func (s *truth) url() string { return "http://" + s.address + "/" }

// while has the server follow orders while f runs, and returns what it saw.
func (s *truth) while(o orders, f func() error) (seen, error) {
	if _, err := s.tell(command{&o}); err != nil {
		return seen{}, err
	}
	err := f()
	got, serr := s.tell(command{})
	return got, errors.Join(err, serr)
}

func (s *truth) tell(c command) (got seen, err error) {
	if err = s.enc.Encode(c); err == nil {
		err = s.dec.Decode(&got)
	}
	if err != nil {
		err = fmt.Errorf("the server: %w", err)
	}
	return got, err
}

func TestServer(t *testing.T) {
	s := newTruth(t)
	conns := make([]net.Conn, 2)
	for i := range conns {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	// ask sends on one of them and says how long the answer took; less than nothing if there was none.
	ask := func(i int) time.Duration {
		began := time.Now()
		_, err := io.WriteString(conns[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		buf := make([]byte, len(answer))
		if err == nil {
			_, err = io.ReadFull(conns[i], buf)
		}
		if err != nil || !bytes.Equal(buf, answer) {
			return -1
		}
		return time.Since(began)
	}
	began := time.Now().UnixNano()
	var took []time.Duration
	got, err := s.while(orders{Arrivals: 3, StallFor: 50 * time.Millisecond, Sample: true}, func() error {
		for range 3 {
			took = append(took, ask(0))
		}
		took = append(took, ask(1))
		time.Sleep(120 * time.Millisecond)
		return nil
	})
	switch {
	case err != nil || got.Count != 4 || got.Conns != 2 || got.Resets != 0:
		t.Errorf("%+v, %v", got, err)
	case took[0] < 49*time.Millisecond || slices.Min(took) < 0:
		t.Errorf("a stall of 50 ms, and answers took %v", took)
	case len(got.Arrivals) != 3 || slices.Min(got.Arrivals) < began || got.Arrivals[1]-got.Arrivals[0] < int64(49*time.Millisecond):
		t.Errorf("arrivals %v, from %d on", got.Arrivals, began)
	case len(got.Samples) == 0 || got.Samples[len(got.Samples)-1].N != 4:
		t.Errorf("samples %v", got.Samples)
	}
	got, err = s.while(orders{ResetEvery: 2, Delay: 20 * time.Millisecond}, func() error {
		took = []time.Duration{ask(0), ask(0), ask(1), ask(0)}
		return nil
	})
	if err != nil || got.Count != 4 || got.Resets != 1 || took[2] < 20*time.Millisecond || took[1] < 0 || took[3] >= 0 {
		t.Errorf("%+v, %v; answers took %v, and the last one should not be there", got, err, took)
	}
}
