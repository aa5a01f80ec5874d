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

// A Server answers HTTP/1.1 on loopback. Its zero value answers 200 at once.
// Set the fields before Start.
type Server struct {
	Delay time.Duration // of each answer

	// FailEvery makes each n-th request an answer with status 500. 0: none.
	FailEvery uint64

	// FreezeFor stops all answers once, from FreezeFrom after the first request on. What
	// would be answered meanwhile is answered at the end.
	FreezeFrom, FreezeFor time.Duration

	// BreakEvery breaks the connection at each n-th of the requests that come on a
	// reused connection, in the way of Break. 0: none.
	BreakEvery uint64
	Break      Break

	// TLS, if set, is what the server speaks HTTP over.
	TLS *tls.Config

	// Answer, if set, writes the answer instead of the server. The connection stays open
	// unless it returns an error.
	Answer func(c net.Conn, r *http.Request) error

	listener net.Listener
	wg       sync.WaitGroup
	end      chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
	first  time.Time
	reused uint64
	log    []Entry
}

// A Break is a way to break a connection.
type Break int

// The ways to break a connection.
const (
	Reset      Break = iota // RST instead of an answer
	End                     // FIN instead of an answer
	ResetInMid              // RST after half an answer
	EndInMid                // FIN after half an answer
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
	Status int      // of the answer; 0 if the connection was broken

	Answered time.Time // when the answer had been written; zero if it was not
}

// Start listens on a free port of 127.0.0.1. The caller closes the server.
func (s *Server) Start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start truth server: %w", err)
	}
	if s.TLS != nil {
		l = tls.NewListener(l, s.TLS)
	}
	s.listener, s.conns, s.end = l, make(map[net.Conn]bool), make(chan struct{})
	s.wg.Go(s.accept)
	return nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the server with all its connections. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.end)
	err := s.listener.Close()
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
	if e.Reused {
		s.reused++
		if s.BreakEvery > 0 && s.reused%s.BreakEvery == 0 {
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
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok && (s.Break == Reset || s.Break == ResetInMid) {
		_ = t.SetLinger(0)
		_ = t.Close() // now, before TLS says farewell
	}
}
