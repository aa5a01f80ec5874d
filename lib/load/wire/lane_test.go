package wire

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// overLane reads an answer to a request with this method, as a lane does.
func overLane(tb testing.TB, method string, from io.Reader) reading {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, "http://x/", nil)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := NewMessage(req)
	if err != nil {
		tb.Fatal(err)
	}
	tr := New(tb.Context(), Options{MaxHeader: testHeader})
	defer tr.Close()
	l := tr.Lane(m)
	c := &conn{nc: reads{from: from}, pool: l.p, epoch: tr.epoch, busy: true, node: l.p.nodeOf("x")}
	c.expires = time.Hour
	l.p.all, l.c = []*conn{c}, c
	l.shot.take(c)
	a, err := l.Do(tb.Context(), time.Now().Add(time.Hour), m, 1<<20)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			tb.Fatalf("error of type %T: %v", err, err)
		}
		return reading{err: err, kind: e.Kind}
	}
	if a.Length < 1<<20 && int(a.Length) != len(a.Body) {
		tb.Errorf("%d bytes are kept of %d", len(a.Body), a.Length)
	}
	got := reading{status: a.Status, header: a.Header(), body: string(a.Body), kept: l.c != nil}
	for name, values := range got.header {
		lower := strings.ToLower(name)
		if string(a.Get(lower)) != values[0] || a.Count(lower) != len(values) {
			tb.Errorf("field %s: %q, %d times; the header has %q", name, a.Get(lower), a.Count(lower), values)
		}
	}
	if a.Get("x-none") != nil || a.Count("x-none") != 0 {
		tb.Error("a field that is not there is found")
	}
	return got
}

// checkLane compares what a lane reads with what the transport does, from the same bytes.
func checkLane(t *testing.T, method string, text []byte) {
	t.Helper()
	want := readAll(t, method, bytes.NewReader(text))
	for how, from := range map[string]io.Reader{"at once": bytes.NewReader(text), "byte by byte": iotest.OneByteReader(bytes.NewReader(text))} {
		got := overLane(t, method, from)
		if (got.err == nil) != (want.err == nil) || got.kind != want.kind && got.kind != EOF && want.kind != EOF {
			t.Errorf("%s %q, %s: %v, by the transport %v", method, text, how, got.err, want.err)
			continue
		}
		if want.err != nil {
			continue
		}
		// What a lane does not need it leaves where it was.
		for _, h := range []http.Header{got.header, want.header} {
			delete(h, "Content-Length")
			delete(h, "Transfer-Encoding")
			delete(h, "Trailer")
		}
		// Bytes that are left over make the connection useless, now or when the next exchange finds them.
		kept := want.left > 0 || got.kept == want.kept
		if got.status != want.status || got.body != want.body || !kept && how == "at once" || !maps.EqualFunc(got.header, want.header, slices.Equal) {
			t.Errorf("%s %q, %s: %+v, by the transport %+v", method, text, how, got, want)
		}
	}
}

// FuzzLane reads the same bytes by a lane, which only glances at what is usual, and by the transport.
func FuzzLane(f *testing.F) {
	chunked := "Transfer-Encoding: chunked"
	for _, seed := range []string{
		head("Content-Length: 2", "X-A: b", "x-a: c") + "ok",
		head("content-length:\t2 ", "Connection: Keep-Alive") + "ok",
		head("Content-Length: 2", "Connection: close") + "ok",
		head("Content-Length: +2") + "ok",
		head("Content-Length: 2", "Content-Length: 3") + "ok",
		head("Content-Length: 99999999999999999999"),
		head("Content-Length: 2", "A b: c") + "ok",
		head("Content-Length: 2", "A: b\x00") + "ok",
		head("Content-Length: 2", ": b") + "ok",
		head("Content-Length: 2") + "ok and more",
		head(chunked, "Trailer: X-B") + "2;x=y\r\nok\r\n0\r\nX-B: 1\r\n\r\n",
		head(chunked) + "2\r\nok\r\n0\r\n\r\n",
		head(chunked, "Content-Length: 7") + "a\r\n0123456789\r\n0\r\n\r\n",
		head("Transfer-Encoding: gzip") + "x",
		"HTTP/1.1 100 Continue\r\n\r\n" + head("Content-Length: 1") + "x",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nb",
		"HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n",
		"HTTP/1.1 204\r\n\r\n",
		"HTTP/1.1 200\nContent-Length: 1\n\nb",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 200 OK\x01\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		head("Content-Length: 5000") + strings.Repeat("x", 5000),
		head() + "until the end",
		"",
	} {
		f.Add(byte(0), []byte(seed))
		f.Add(byte(1), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, which byte, text []byte) {
		checkLane(t, []string{"GET", "HEAD", "POST"}[int(which)%3], text)
	})
}

// A lane keeps its connection while it is good, counts what it did, and takes another one when the peer has closed it.
func TestLaneKeepsAndReplaces(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.WriteString(w, "hello")
	}))
	defer s.Close()
	tr := New(t.Context(), Options{Total: 5 * time.Second})
	defer tr.Close()
	message := func(path string) *Message {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewMessage(req)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	l := tr.Lane(message("/"))
	do := func(path string) {
		t.Helper()
		a, err := l.Do(t.Context(), time.Now().Add(5*time.Second), message(path), 3)
		if err != nil || a.Status != 200 || string(a.Body) != "hel" || a.Length != 5 {
			t.Fatalf("%s: %+v, %v", path, a, err)
		}
	}
	do("/")
	do("/")
	do("/close")
	do("/")
	s.CloseClientConnections()
	time.Sleep(20 * time.Millisecond) // for the end to arrive; longer than a connection is taken to be fresh
	do("/")
	if st := tr.Stats()[0]; st.Opened != 3 || st.Requests != 4 || st.Failed.Total() != 0 {
		t.Errorf("%d connections, %d requests counted, %d failed: want 3, and 4 until the lane is closed", st.Opened, st.Requests, st.Failed.Total())
	}
	l.Close()
	st := tr.Stats()[0]
	if st.Requests != 5 || st.Idle != 1 || st.Nodes[0].Requests != 5 {
		t.Errorf("%+v", st)
	}
	tr.Close()
	if _, err := l.Do(t.Context(), time.Now().Add(time.Second), message("/"), 0); err == nil {
		t.Error("a lane of a closed transport sends")
	}
}

// What a peer closes just when the next request goes out is that request's failure, and told at once, although the end came before the
// read was announced to the poller.
func TestLaneUsedAgainAtOnce(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	l, m := laneTo(t, s.URL, Options{Total: time.Minute})
	for range 5 {
		if _, err := l.Do(t.Context(), time.Now().Add(time.Minute), m, 0); err != nil {
			t.Fatal(err)
		}
		s.CloseClientConnections()
		time.Sleep(20 * time.Millisecond)          // for the end to arrive
		l.c.idleSince = l.c.now() + 30*time.Second // as if it had not been idle at all, however long the scheduler takes
		began := time.Now()
		_, err := l.Do(t.Context(), time.Now().Add(time.Minute), m, 0)
		var e *Error
		if !errors.As(err, &e) || e.Kind != EOF && e.Kind != Reset || time.Since(began) > 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	}
}

// A deadline that was set for an exchange before this one, and passes as this one begins, is not this one's.
func TestLaneOutlivesAnOldDeadline(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	l, m := laneTo(t, s.URL, Options{Total: time.Hour})
	for range 2 {
		if _, err := l.Do(t.Context(), time.Now().Add(time.Hour), m, 0); err != nil {
			t.Fatal(err)
		}
		l.c.armed = l.c.now() + time.Minute // as it was when it was looked at
		if err := l.c.nc.SetDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if st := l.t.Stats()[0]; st.Opened != 1 {
		t.Errorf("%d connections", st.Opened)
	}
}

// Of ten thousand lanes that wait none keeps what a large answer took.
func TestLaneForgetsLargeAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("h", 200<<10))
		_, _ = io.WriteString(w, strings.Repeat("b", 900<<10))
	}))
	defer s.Close()
	l, m := laneTo(t, s.URL, Options{})
	a, err := l.Do(t.Context(), time.Now().Add(10*time.Second), m, 1<<20)
	if err != nil || a.Length != 900<<10 || len(a.Body) != 900<<10 || len(a.Get("x-large")) != 200<<10 {
		t.Fatalf("%v, %d bytes", err, a.Length)
	}
	l.Forget()
	if n := cap(l.answer.head) + cap(l.answer.Body) + cap(l.c.buf); n > 3*keepBuf || a.header != nil {
		t.Errorf("it keeps %d bytes", n)
	}
	if a, err = l.Do(t.Context(), time.Now().Add(10*time.Second), m, 3); err != nil || string(a.Body) != "bbb" || len(a.Get("x-large")) != 200<<10 {
		t.Errorf("the next one: %v, %q", err, a.Body)
	}
}

func laneTo(t *testing.T, url string, o Options) (*Lane, *Message) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMessage(req)
	if err != nil {
		t.Fatal(err)
	}
	tr := New(t.Context(), o)
	t.Cleanup(tr.Close)
	l := tr.Lane(m)
	t.Cleanup(l.Close)
	return l, m
}

// What goes out is what the transport would send.
func TestMessageBytes(t *testing.T) {
	for _, c := range []struct{ method, body, want string }{
		{"GET", "", "GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n"},
		{"POST", "", "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"},
		{"PUT", "four", "PUT /a?b=c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nContent-Length: 4\r\n\r\nfour"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://x/a?b=c", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-A", "1")
		m, err := NewMessage(req)
		if err != nil || string(m.bytes) != c.want || m.Body() != len(c.body) {
			t.Errorf("%q, %d bytes of body, %v; want %q", m.bytes, m.Body(), err, c.want)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-A", "1\r\nX-B: 2")
	if _, err := NewMessage(req); err == nil {
		t.Error("a header that makes two is written down")
	}
}

func BenchmarkGlance(b *testing.B) {
	text := []byte("HTTP/1.1 200 OK\r\nServer: t\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n")
	for b.Loop() {
		if _, ok := glance(text, false); !ok {
			b.Fatal("not usual")
		}
	}
}
