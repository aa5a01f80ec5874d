package httpload

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A connection that the peer closes between being taken and being used takes no request with it: nothing goes out on it, and the
// request goes over another.
func TestConnectionThatEndsAsItIsTaken(t *testing.T) {
	seen := make(chan bool, 100)
	back := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen <- true }))
	defer back.Close()
	to, err := url.Parse(back.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newSecure(t.Context(), load.Plan{Ingress: back.URL, Timeout: 10 * time.Second, Connections: 1})
	defer s.close()
	const rounds = 5
	for range rounds {
		l, _, err := s.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { // it waits for the only connection that there may be
			m := load.Message{Method: http.MethodGet, URL: to}
			resp, trip, err := s.carry(t.Context(), time.Now().Add(10*time.Second), m)
			if err == nil {
				err = resp.Body.Close()
			}
			trip.end()
			ended <- err
		}()
		wait(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting.Len() == 1 })
		back.CloseClientConnections()
		wait(t, func() bool { return l.cc.Err() != nil })
		s.mu.Lock()
		s.answer(s.first(), grant{l: l}) // as if it had been whole when it was looked at
		s.mu.Unlock()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if n := len(seen); n != rounds {
		t.Errorf("the server saw %d requests, of %d", n, rounds)
	}
}

func wait(t *testing.T, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it does not come")
		}
	}
}

// What net/http wrote for a connection that had ended did not go out, whatever its hooks tell.
func TestWrittenForNobody(t *testing.T) {
	const closed = "http: server closed idle connection"
	for _, c := range []struct {
		text          string
		two, answered bool
		sent          bool
	}{
		{closed, false, false, false},
		{"net/http: HTTP/1.x transport connection broken: readLoopPeekFailLocked: reset", false, false, false},
		{"net/http: HTTP/1.x transport connection broken: write: broken pipe", false, false, true},
		{"malformed MIME header line: " + closed, false, true, true},
		{`http2: server sent GOAWAY and closed the connection; debug="` + closed + `"`, true, false, true},
	} {
		w := &watched{on: &link{two: c.two}}
		w.trace().WroteHeaderField("x", nil)
		if c.answered {
			w.trace().GotFirstResponseByte()
		}
		if w.sent(errors.New(c.text)) != c.sent {
			t.Errorf("%s: sent is %v", c.text, !c.sent)
		}
	}
	if new(watched).sent(errors.New("anything")) {
		t.Error("sent, and not written")
	}
}

// Where no other connection is to be had, the peer's end is an end, and no answer that is not HTTP.
func TestClassOfAnEndWhileIdle(t *testing.T) {
	for text, want := range map[string]record.Class{
		"http: server closed idle connection":                            record.EOF,
		"readLoopPeekFailLocked: remote error: tls: unknown certificate": record.Wrong,
		"GOAWAY": record.Wrong, // that is a word of the peer's, without HTTP/2
	} {
		if class := new(watched).class(errors.New(text)); class != want {
			t.Errorf("%s: %v, want %v", text, class, want)
		}
	}
}
