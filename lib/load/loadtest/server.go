// Package loadtest has a server that tells the truth: it misbehaves in planned
// ways and keeps its own log, so that what a load generator reports can be compared
// with what happened.
package loadtest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Server answers HTTP/1.1, or HTTP/2, on loopback. Its zero value answers 200 at once.
// Set the fields before Start.
type Server struct {
	// HTTP2 makes it speak HTTP/2 alone: over TLS by ALPN, without it by prior knowledge.
	HTTP2 bool

	// Late refuses connections until Open.
	Late bool

	Delay time.Duration // of each answer

	// FailEvery makes each n-th request an answer with status 500. 0: none.
	FailEvery uint64

	// FreezeFor stops all answers once, from FreezeFrom after the first request on. What
	// would be answered meanwhile is answered at the end.
	FreezeFrom, FreezeFor time.Duration

	// BreakEvery breaks the connection at each n-th of the requests that come on a connection as BreakOn says, in the
	// way of Break. 0: none.
	BreakEvery uint64
	BreakOn    On
	Break      Break

	// TLS, if set, is what the server speaks HTTP over.
	TLS *tls.Config

	// Answer, if set, writes the answer instead of the server. The connection stays open
	// unless it returns an error.
	Answer func(c net.Conn, r *http.Request) error

	address  string
	port     *port // of a late server that is not open
	listener net.Listener
	wg       sync.WaitGroup
	end      chan struct{} // closed by Close

	mu      sync.Mutex
	closed  bool
	conns   map[net.Conn]bool
	first   time.Time
	counted uint64 // requests, for BreakEvery
	log     []Entry
}

// A Break is a way to break a connection.
type Break int

// The ways to break a connection.
const (
	Reset      Break = iota // RST instead of an answer
	End                     // FIN instead of an answer
	ResetInMid              // RST after half an answer
	EndInMid                // FIN after half an answer

	// Of HTTP/2. Of these, none touches the connection's other streams but GoAway: it takes no more of them.
	ResetStream      // RST_STREAM instead of an answer
	RefuseStream     // the same, and it says that the request was not looked at
	ResetStreamInMid // RST_STREAM after half an answer
	GoAway           // GOAWAY, of which the request's stream is the first that was not taken
)

// On says which requests are counted for a break.
type On int

// The requests that are counted.
const (
	Reused On = iota // on a connection that had a request before
	Fresh            // the first ones of their connections
	All
)

// An Entry is one request as the server saw it.
type Entry struct {
	At     time.Time // when its header had been read
	Method string
	Path   string
	Host   string
	Header http.Header
	Body   string
	Coding []string // its transfer codings
	Reused bool     // on a connection that had a request before
	Status int      // of the answer; 0 if it was broken, on purpose, or with its connection

	Answered time.Time // when the answer had been written; zero if it was not
}

// Start listens on a free port of 127.0.0.1. The caller closes the server.
func (s *Server) Start() error {
	if s.Break > EndInMid && !s.HTTP2 {
		return errors.New("start truth server: this way to break is one of HTTP/2")
	}
	s.conns, s.end = make(map[net.Conn]bool), make(chan struct{})
	if s.Late {
		// Until it listens there, the system refuses connections to the port, and gives it to nobody else.
		p, err := bind()
		if err != nil {
			return fmt.Errorf("start truth server: %w", err)
		}
		s.port, s.address = p, p.address
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start truth server: %w", err)
	}
	s.address = l.Addr().String()
	s.listen(l)
	return nil
}

// Open lets a late server listen. It may be called twice.
func (s *Server) Open() error {
	s.mu.Lock()
	p := s.port
	s.port = nil
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	l, err := p.listen()
	if err != nil {
		return fmt.Errorf("open truth server: %w", err)
	}
	s.listen(l)
	return nil
}

func (s *Server) listen(l net.Listener) {
	if s.TLS != nil {
		c := s.TLS.Clone()
		if s.HTTP2 {
			c.NextProtos = []string{"h2"}
		}
		l = tls.NewListener(l, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = l.Close()
		return
	}
	s.listener = l
	s.wg.Go(s.accept)
}

// Address is where the server listens.
func (s *Server) Address() string { return s.address }

// Close ends the server with all its connections. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.end)
	var err error
	if s.listener != nil {
		err = s.listener.Close()
	}
	if s.port != nil {
		s.port.close()
	}
	for c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Log returns what the server has seen until now, in order of arrival.
func (s *Server) Log() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Entry(nil), s.log...)
}

// Broken is how many requests were broken until now.
func (s *Server) Broken() int {
	n := 0
	for _, e := range s.Log() {
		if e.Status == 0 {
			n++
		}
	}
	return n
}

// Freeze returns when the planned freeze began and ended, which is known once there was a request.
func (s *Server) Freeze() (from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = s.first.Add(s.FreezeFrom)
	return from, from.Add(s.FreezeFor)
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(c) })
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	if s.HTTP2 {
		s.serveHTTP2(c)
		return
	}
	in := bufio.NewReader(c)
	for n := 0; ; n++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		at := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		number, status := s.note(Entry{
			At: at, Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Header: r.Header, Body: string(body),
			Coding: r.TransferEncoding, Reused: n > 0,
		})
		if status == 0 {
			s.breakOff(c)
			return
		}
		s.wait(at)
		answer := s.Answer
		if answer == nil {
			answer = status.answer
		}
		if answer(c, r) != nil {
			return
		}
		s.answered(number)
	}
}

type code int

func (s code) answer(c net.Conn, r *http.Request) error {
	body := "ok\n"
	if r.Method == http.MethodHead {
		body = ""
	}
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Length: 3\r\n\r\n%s", s, http.StatusText(int(s)), body)
	return err
}

// note logs a request and decides on its fate: a status of 0 breaks the connection.
func (s *Server) note(e Entry) (number int, status code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = e.At
	}
	e.Status = http.StatusOK
	if s.FailEvery > 0 && uint64(len(s.log)+1)%s.FailEvery == 0 {
		e.Status = http.StatusInternalServerError
	}
	if s.BreakOn == All || e.Reused == (s.BreakOn == Reused) {
		s.counted++
		if s.BreakEvery > 0 && s.counted%s.BreakEvery == 0 {
			e.Status = 0
		}
	}
	s.log = append(s.log, e)
	return len(s.log) - 1, code(e.Status)
}

func (s *Server) answered(number int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log[number].Answered = now
}

// wait returns when a request that arrived then may be answered.
func (s *Server) wait(at time.Time) {
	until := at.Add(s.Delay)
	if s.FreezeFor > 0 {
		if from, to := s.Freeze(); !until.Before(from) && until.Before(to) {
			until = to
		}
	}
	left := time.Until(until)
	if left <= 0 {
		return
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.end:
	}
}

func (s *Server) breakOff(c net.Conn) {
	if s.Break == ResetInMid || s.Break == EndInMid {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		time.Sleep(time.Millisecond) // else the reset overtakes what was written
	}
	if s.Break == Reset || s.Break == ResetInMid {
		reset(c)
	}
}

// reset ends a connection at once, before TLS says farewell.
func reset(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
		_ = t.Close()
	}
}
