package wire_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load/wire"
)

// conforming is what is held to HTTP/1.1 here, by nothing but what every transport can do.
func conforming(t *testing.T) http.RoundTripper {
	t.Helper()
	return open(t, wire.Options{MaxHeader: 16 << 10, Total: time.Minute})
}

// A conformance is what a server writes, byte for byte, and what is to be made of it.
type conformance struct {
	name   string
	method string // "": GET
	answer string
	ends   bool // the server closes the connection after it

	status  int
	body    string
	header  http.Header // of those that are looked at
	trailer http.Header
	kept    bool      // the connection serves the next request
	more    bool      // follows than the answer, which is known if it has come by then: written at once alone
	kind    wire.Kind // of the error instead
}

// What a server may say, and what it may not (RFC 9112). Each is written at once, and byte by byte.
func TestConformance(t *testing.T) {
	const whole = "Content-Length: 2\r\n\r\nok"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	long := strings.Repeat("x", 20<<10)
	rows := []conformance{
		{name: "a length", answer: "HTTP/1.1 200 OK\r\n" + whole, status: 200, body: "ok", kept: true},
		{name: "a length of 0", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, kept: true},
		{name: "a length, and the end before", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", ends: true, kind: wire.Truncated},
		{name: "a length with zeros before it", answer: "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok", status: 200, body: "ok", kept: true},
		{name: "the same length in two lines", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + whole, status: 200, body: "ok", kept: true},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + whole, kind: wire.Protocol},
		{name: "a length that is none", answer: "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", kind: wire.Protocol},
		{name: "a length with a sign", answer: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", kind: wire.Protocol},
		{name: "more than the length", answer: "HTTP/1.1 200 OK\r\n" + whole + "!", status: 200, body: "ok", more: true},
		{name: "an answer that nobody asked for after it", answer: "HTTP/1.1 200 OK\r\n" + whole + "HTTP/1.1 200 OK\r\n" + whole, status: 200, body: "ok", more: true},
		{name: "the connection's last answer", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\n" + whole, status: 200, body: "ok"},
		{name: "and in a list, in any case", answer: "HTTP/1.1 200 OK\r\nconnection: Foo, CLOSE\r\n" + whole, status: 200, body: "ok"},
		{name: "lines that end in LF", answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", status: 200, body: "ok", kept: true},
		{name: "an error", answer: "HTTP/1.1 503 Service Unavailable\r\n" + whole, status: 503, body: "ok", kept: true},
		{name: "a status that nobody knows", answer: "HTTP/1.1 299 \r\n" + whole, status: 299, body: "ok", kept: true},
		{name: "compressed, as it is", answer: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + whole, status: 200, body: "ok", kept: true, header: http.Header{"Content-Encoding": {"gzip"}}},
		{name: "cookies, each in its line", answer: "HTTP/1.1 200 OK\r\nSet-Cookie: a=b, c\r\nset-cookie: d=e\r\n" + whole, status: 200, body: "ok", kept: true, header: http.Header{"Set-Cookie": {"a=b, c", "d=e"}}},
		{name: "spaces around a value", answer: "HTTP/1.1 200 OK\r\nX-A:\t b  c \t\r\n" + whole, status: 200, body: "ok", kept: true, header: http.Header{"X-A": {"b  c"}}},
		{name: "nothing in a value", answer: "HTTP/1.1 200 OK\r\nX-A:\r\n" + whole, status: 200, body: "ok", kept: true, header: http.Header{"X-A": {""}}},

		{name: "chunks", answer: chunked + "\r\n2\r\nok\r\n3\r\n, k\r\n0\r\n\r\n", status: 200, body: "ok, k", kept: true},
		{name: "no chunk but the last", answer: chunked + "\r\n0\r\n\r\n", status: 200, kept: true},
		{name: "chunks with extensions", answer: chunked + "\r\n2;a=b;c=\"d;e\"\r\nok\r\n0;end\r\n\r\n", status: 200, body: "ok", kept: true},
		{name: "chunk sizes with zeros before them, and in capitals", answer: chunked + "\r\n0000A\r\n0123456789\r\n000\r\n\r\n", status: 200, body: "0123456789", kept: true},
		{name: "chunks that look like an end", answer: chunked + "\r\n7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n", status: 200, body: "0\r\n\r\n0\r", kept: true},
		{name: "chunks and a length", answer: chunked + "Content-Length: 2\r\n\r\n3\r\nabc\r\n0\r\n\r\n", status: 200, body: "abc"},
		{name: "chunks of the connection's last answer", answer: chunked + "Connection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 200, body: "ok"},
		{name: "chunks without their end", answer: chunked + "\r\n2\r\nok\r\n", ends: true, kind: wire.Truncated},
		{name: "half a chunk", answer: chunked + "\r\n5\r\nok", ends: true, kind: wire.Truncated},
		{name: "a last chunk without the empty line", answer: chunked + "\r\n0\r\n", ends: true, kind: wire.Truncated},
		{name: "a chunk size that is none", answer: chunked + "\r\nxyz\r\nok\r\n0\r\n\r\n", kind: wire.Protocol},
		{name: "a chunk size below 0", answer: chunked + "\r\n-2\r\nok\r\n0\r\n\r\n", kind: wire.Protocol},
		{name: "a chunk size beyond all", answer: chunked + "\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n", kind: wire.Protocol},
		{name: "a chunk longer than its size", answer: chunked + "\r\n1\r\nok\r\n0\r\n\r\n", kind: wire.Protocol},
		{name: "a chunk extension without end", answer: chunked + "\r\n2;" + long, kind: wire.Protocol},
		{name: "another coding", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: br\r\n\r\nok", kind: wire.Protocol},
		{name: "chunks in HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", kind: wire.Protocol},

		{name: "a trailer", answer: chunked + "Trailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n", status: 200, body: "ok", kept: true, trailer: http.Header{"X-Sum": {"7"}}},
		{name: "a trailer of several", answer: chunked + "\r\n0\r\nX-A: 1\r\nX-A: 2\r\nX-B: 3\r\n\r\n", status: 200, kept: true, trailer: http.Header{"X-A": {"1", "2"}, "X-B": {"3"}}},
		{name: "a trailer that is no field", answer: chunked + "\r\n0\r\nno field\r\n\r\n", kind: wire.Protocol},
		{name: "a trailer without end", answer: chunked + "\r\n0\r\nX-A: 1\r\n", ends: true, kind: wire.Truncated},
		{name: "a trailer that is too long", answer: chunked + "\r\n0\r\nX-A: " + long + long, kind: wire.Protocol},

		{name: "100 before", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + whole, status: 200, body: "ok", kept: true},
		{name: "100 with a length, which has no body", answer: "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n" + whole, status: 200, body: "ok", kept: true},
		{name: "103, whose fields are not the answer's", answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n" + whole, status: 200, body: "ok", kept: true, header: http.Header{"Link": nil}},
		{name: "100 and no more", answer: "HTTP/1.1 100 Continue\r\n\r\n", ends: true, kind: wire.Truncated},
		{name: "100 without end", answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), kind: wire.Protocol},
		{name: "100 after", answer: "HTTP/1.1 200 OK\r\n" + whole + "HTTP/1.1 100 Continue\r\n\r\n", status: 200, body: "ok", more: true},

		{name: "HEAD with a length", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", status: 200, kept: true},
		{name: "HEAD in chunks", method: "HEAD", answer: chunked + "\r\n", status: 200, kept: true},
		{name: "HEAD of no known length", method: "HEAD", answer: "HTTP/1.1 200 OK\r\n\r\n", status: 200, kept: true},
		{name: "HEAD with a body all the same", method: "HEAD", answer: "HTTP/1.1 200 OK\r\n" + whole, status: 200, more: true},
		{name: "HEAD after 100", method: "HEAD", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", status: 200, kept: true},
		{name: "HEAD of an error", method: "HEAD", answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 200\r\n\r\n", status: 404, kept: true},

		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, kept: true},
		{name: "204 with a length", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", status: 204, kept: true},
		{name: "204 with a body all the same", answer: "HTTP/1.1 204 No Content\r\n" + whole, status: 204, more: true},
		{name: "304 with a length", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 200\r\n\r\n", status: 304, kept: true},
		{name: "304 in chunks", answer: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", status: 304, kept: true},
		{name: "304 of no known length", answer: "HTTP/1.1 304 Not Modified\r\n\r\n", status: 304, kept: true},
		{name: "205 with no length is read to the end", answer: "HTTP/1.1 205 Reset Content\r\n\r\n", ends: true, status: 205},

		{name: "until the end", answer: "HTTP/1.1 200 OK\r\n\r\nok", ends: true, status: 200, body: "ok"},
		{name: "until the end, and nothing", answer: "HTTP/1.1 200 OK\r\n\r\n", ends: true, status: 200},
		{name: "until the end, whatever is said of the connection", answer: "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nok", ends: true, status: 200, body: "ok"},
		{name: "until the end, in HTTP/1.0", answer: "HTTP/1.0 200 OK\r\n\r\nok", ends: true, status: 200, body: "ok"},
		{name: "a length in HTTP/1.0", answer: "HTTP/1.0 200 OK\r\n" + whole, ends: true, status: 200, body: "ok"},
		{name: "kept alive in HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + whole, status: 200, body: "ok", kept: true},

		{name: "a header that is too long", answer: "HTTP/1.1 200 OK\r\nX-A: " + long + "\r\n" + whole, kind: wire.Protocol},
		{name: "a header of too many fields", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 3000) + whole, kind: wire.Protocol},
		{name: "a header without end", answer: "HTTP/1.1 200 OK\r\nX-A: " + long + long, kind: wire.Protocol},
		{name: "a status line without end", answer: "HTTP/1.1 200 " + long + long, kind: wire.Protocol},
		{name: "half a header", answer: "HTTP/1.1 200 OK\r\nX-A: b", ends: true, kind: wire.Truncated},
		{name: "a folded field", answer: "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n" + whole, kind: wire.Protocol},
		{name: "a space before the colon", answer: "HTTP/1.1 200 OK\r\nX-A : b\r\n" + whole, kind: wire.Protocol},
		{name: "a field without a name", answer: "HTTP/1.1 200 OK\r\n: b\r\n" + whole, kind: wire.Protocol},
		{name: "a field without a colon", answer: "HTTP/1.1 200 OK\r\nX-A\r\n" + whole, kind: wire.Protocol},
		{name: "CR alone in a field", answer: "HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\n" + whole, kind: wire.Protocol},
		{name: "NUL in a field", answer: "HTTP/1.1 200 OK\r\nX-A: \x00\r\n" + whole, kind: wire.Protocol},

		{name: "nothing", ends: true, kind: wire.EOF},
		{name: "an empty line", answer: "\r\n", ends: true, kind: wire.Protocol},
		{name: "noise", answer: "\x00\xff\x17\x03\r\n\r\n", kind: wire.Protocol},
		{name: "TLS", answer: "\x15\x03\x01\x00\x02\x02\x16", kind: wire.Protocol},
		{name: "HTTP/2", answer: "\x00\x00\x00\x04\x00\x00\x00\x00\x00", kind: wire.Protocol},
		{name: "another protocol", answer: "220 mail ESMTP\r\n", kind: wire.Protocol},
		{name: "a page without a header", answer: "<html>hello</html>\r\n\r\n", kind: wire.Protocol},
		{name: "a request", answer: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", kind: wire.Protocol},
		{name: "a version that is none", answer: "HTTP/1.x 200 OK\r\n" + whole, kind: wire.Protocol},
		{name: "a version to come", answer: "HTTP/3.0 200 OK\r\n" + whole, kind: wire.Protocol},
		{name: "a status that is none", answer: "HTTP/1.1 OK\r\n" + whole, kind: wire.Protocol},
		{name: "a status of four digits", answer: "HTTP/1.1 2000 OK\r\n" + whole, kind: wire.Protocol},
		{name: "a status below all", answer: "HTTP/1.1 099 OK\r\n" + whole, kind: wire.Protocol},
		{name: "the beginning of an answer", answer: "HTTP/1.", ends: true, kind: wire.Truncated},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{len(row.answer), 1} {
				if piece != 1 || len(row.answer) < 1000 && !row.more {
					row.check(t, piece)
				}
			}
		})
	}
}

func (c conformance) check(t *testing.T, piece int) {
	t.Helper()
	rt := conforming(t)
	at := "http://" + c.serve(t, piece)
	method := c.method
	if method == "" {
		method = http.MethodGet
	}
	got, err := whole(rt, request(t.Context(), method, at+"/", ""))
	if c.kind != 0 {
		is(t, err, c.kind)
		return
	}
	if err != nil {
		t.Errorf("in pieces of %d: %v", piece, err)
		return
	}
	if got.status != c.status || got.body != c.body {
		t.Errorf("in pieces of %d: %d %q, want %d %q", piece, got.status, got.body, c.status, c.body)
	}
	for name, want := range c.header {
		if !slices.Equal(got.header[name], want) {
			t.Errorf("in pieces of %d: %s: %q, want %q", piece, name, got.header[name], want)
		}
	}
	if !maps.EqualFunc(got.trailer, c.trailer, slices.Equal) {
		t.Errorf("in pieces of %d: trailer %v, want %v", piece, got.trailer, c.trailer)
	}
	next, err := whole(rt, request(t.Context(), http.MethodGet, at+"/again", ""))
	if err != nil || next.body != map[bool]string{true: "2", false: "1"}[c.kept] {
		t.Errorf("in pieces of %d: the next request is number %s on its connection (%v), kept: %v", piece, next.body, err, c.kept)
	}
}

// A read is what was read of a whole answer.
type read struct {
	status          int
	body            string
	header, trailer http.Header
}

// whole does an exchange and reads all of it.
func whole(rt http.RoundTripper, r *http.Request) (read, error) {
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return read{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return read{resp.StatusCode, string(body), resp.Header, resp.Trailer}, errors.Join(err, resp.Body.Close())
}

// serve writes the answer in pieces of that many bytes to every request, but to /again, which is told its number on the connection.
func (c conformance) serve(t *testing.T, piece int) (address string) {
	t.Helper()
	return scripted(t, func(nc net.Conn, r *http.Request, n int) bool {
		if r.URL.Path == "/again" {
			_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
			return true
		}
		for text := c.answer; text != ""; {
			k := min(piece, len(text))
			if _, err := io.WriteString(nc, text[:k]); err != nil {
				return false
			}
			text = text[k:]
		}
		return !c.ends
	})
}

// scripted serves connections by what answers their n-th request, from 1, and says whether there may be another.
func scripted(t *testing.T, answer func(nc net.Conn, r *http.Request, n int) bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	end := make(chan struct{})
	t.Cleanup(func() { close(end); _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				<-end
				_ = nc.Close()
			})
			all.Go(func() {
				in := bufio.NewReader(nc)
				for n := 1; ; n++ {
					r, err := http.ReadRequest(in)
					if err != nil || !answer(nc, r, n) {
						_ = nc.Close()
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// An answer that comes while nobody waits for one, such as the 408 of a server that is tired of waiting, is not the next request's.
func TestAnswerThatNobodyAskedFor(t *testing.T) {
	said := make(chan bool)
	at := scripted(t, func(nc net.Conn, r *http.Request, n int) bool {
		_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
		if r.URL.Path == "/first" {
			go func() {
				time.Sleep(20 * time.Millisecond)
				_, _ = io.WriteString(nc, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
				close(said)
			}()
		}
		return true
	})
	rt := conforming(t)
	for _, path := range []string{"/first", "/second"} {
		got, err := whole(rt, request(t.Context(), http.MethodGet, "http://"+at+path, ""))
		if err != nil || got.status != http.StatusOK || got.body != "1" {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
		<-said
	}
}

// What a server reads of a request with Expect: 100-continue: its header, and its body whether or not it says 100. One that
// refuses at once is heard.
func TestExpectContinue(t *testing.T) {
	for name, answer := range map[string]string{
		"says 100":  "HTTP/1.1 100 Continue\r\n\r\n",
		"says none": "",
		"refuses":   "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	} {
		at := scripted(t, func(nc net.Conn, r *http.Request, _ int) bool {
			_, _ = io.WriteString(nc, answer)
			if strings.Contains(answer, "417") {
				return false
			}
			body, err := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nX-Expect: %s\r\nContent-Length: %d\r\n\r\n%s", r.Header.Get("Expect"), len(body), body)
			return err == nil
		})
		r := request(t.Context(), http.MethodPost, "http://"+at+"/", "hello")
		r.Header.Set("Expect", "100-continue")
		got, err := whole(conforming(t), r)
		switch {
		case err != nil:
			// The server closed with the body unread, which is a reset; it may overtake the answer.
			if e, ok := errors.AsType[*wire.Error](err); name != "refuses" || !ok || e.Kind != wire.Reset {
				t.Errorf("%s: %v", name, err)
			}
		case name == "refuses":
			if got.status != http.StatusExpectationFailed {
				t.Errorf("%s: %+v", name, got)
			}
		case got.status != http.StatusOK || got.body != "hello" || got.header.Get("X-Expect") != "100-continue":
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// An endless header, or trailer, or line of chunks, is given up at the limit and not at the deadline.
func TestEndlessAnswers(t *testing.T) {
	for name, begin := range map[string]string{
		"header":       "HTTP/1.1 200 OK\r\n",
		"trailer":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
		"interim ones": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := scripted(t, func(nc net.Conn, _ *http.Request, _ int) bool {
				more := "X-A: " + strconv.Itoa(1<<30) + "\r\n"
				if begin == "" {
					more = "HTTP/1.1 102 Processing\r\n\r\n"
				}
				_, err := io.WriteString(nc, begin)
				for err == nil {
					_, err = io.WriteString(nc, more)
				}
				return false
			})
			begun := time.Now()
			_, err := whole(conforming(t), request(t.Context(), http.MethodGet, "http://"+at+"/", ""))
			is(t, err, wire.Protocol)
			if time.Since(begun) > 30*time.Second {
				t.Errorf("given up after %v", time.Since(begun))
			}
		})
	}
}
