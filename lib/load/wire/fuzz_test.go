package wire

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// FuzzAgainstNetHTTP reads the same bytes here and with net/http: either both read the same, or both refuse.
// What is refused here alone must be one of the differences that we want, each with its reason.
func FuzzAgainstNetHTTP(f *testing.F) {
	chunked := "Transfer-Encoding: chunked"
	for _, seed := range []string{
		head("Content-Length: 2", "X-A: b", "x-a: c") + "ok",
		head(chunked, "Trailer: X-B") + "2;x=y\r\nok\r\n0\r\nX-B: 1\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n" + head("Content-Length: 1", "Connection: close") + "x",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nbody",
		"HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n",
		"HTTP/1.1 204\r\n\r\n",
		head(chunked, "Content-Length: 7") + "a\r\n0123456789\r\n0\r\n\r\n",
		head("Content-Length: 3", "Content-Length: 3") + "abc",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		head("X-A: a", " folded"),
		head("Pragma: no-cache", "Content-Length: 0"),
		"HTTP/1.1  200 OK\r\nA b: c\r\n\r\n",
	} {
		f.Add(byte(0), []byte(seed))
		f.Add(byte(1), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, which byte, text []byte) {
		if len(text) > 3000 { // net/http bounds a trailer by its buffer
			return
		}
		method := []string{"GET", "HEAD", "POST"}[int(which)%3]
		got := readAll(t, method, bytes.NewReader(text))
		want := standard(t, method, text)
		switch {
		case got.err != nil && want.err != nil:
		case want.err != nil:
			if !allowed(looser, text) {
				t.Errorf("%s %q: read %+v, net/http refuses: %v", method, text, got, want.err)
			}
		case got.err != nil:
			if !allowed(stricter, text) {
				t.Errorf("%s %q: refused: %v, net/http reads %+v", method, text, got.err, want)
			}
		default:
			delete(got.header, "Connection") // net/http takes it away, but only if it is "close"
			delete(want.header, "Connection")
			if got.status != want.status || got.proto != want.proto || got.phrase != want.phrase ||
				got.length != want.length || got.closes != want.closes || !slices.Equal(got.coding, want.coding) {
				t.Errorf("%s %q: read %+v, net/http %+v", method, text, got, want)
			}
			if !maps.EqualFunc(got.header, want.header, slices.Equal) || !maps.EqualFunc(got.trailer, want.trailer, slices.Equal) {
				t.Errorf("%s %q: header %q, trailer %q; net/http %q, %q", method, text, got.header, got.trailer, want.header, want.trailer)
			}
			if got.body != want.body {
				t.Errorf("%s %q: body %q, net/http %q", method, text, got.body, want.body)
			}
		}
	})
}

// A difference is what only one of the two refuses.
type difference struct {
	because string
	is      *regexp.Regexp
}

// Refused here, and read by net/http.
var stricter = []difference{
	{"folded lines are obsolete and a way to smuggle (RFC 9112, 5.2)", regexp.MustCompile(`\n[ \t]`)},
	{"a space in a field's name, or before its colon (5.1)", regexp.MustCompile(`(?m)^[^:\n]*[ \t][^:\n]*:`)},
	{"more than one space before the status (4)", regexp.MustCompile(`HTTP/1\.\d  `)},
	{"a version that is not 1.x, whose framing is anyone's guess", regexp.MustCompile(`HTTP/[^1]`)},
	{"a status below 100 (4)", regexp.MustCompile(`HTTP/1\.\d 0`)},
	{"a signed status", regexp.MustCompile(`HTTP/1\.\d [+-]`)},
	{"a control character in the reason or in a value", regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f]`)},
	{"a coding in an answer of version 1.0 (6.1)", regexp.MustCompile(`(?i)HTTP/1\.0[^\n]*\n(.*\n)*transfer-encoding`)},
	{"a line of the trailer that ends in LF alone, as none in a chunked body may (7.1)", regexp.MustCompile(`(?s)\n0+[ \t;\r].*[^\r]\n`)},
	{"more than five interim answers", regexp.MustCompile(`(HTTP/1\.\d 1(.*\n)*){6}`)},
}

// Read here, and refused by net/http.
var looser = []difference{}

func allowed(differences []difference, text []byte) bool {
	return slices.ContainsFunc(differences, func(d difference) bool { return d.is.Match(text) })
}

// standard reads with net/http, interim answers aside.
func standard(t *testing.T, method string, text []byte) reading {
	t.Helper()
	in := bufio.NewReaderSize(bytes.NewReader(text), 64<<10)
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		resp, err := http.ReadResponse(in, req)
		if err != nil {
			return reading{err: err}
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			_ = resp.Body.Close()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		// These are what net/http adds or leaves, and no reading.
		if h := resp.Header; len(h["Pragma"]) > 0 && h["Pragma"][0] == "no-cache" && !strings.Contains(strings.ToLower(string(text)), "cache-control") {
			delete(h, "Cache-Control")
		}
		for _, h := range []http.Header{resp.Header, resp.Trailer} {
			for _, values := range h {
				for i, v := range values {
					values[i] = strings.TrimRight(v, " \t")
				}
			}
		}
		return reading{
			status: resp.StatusCode, proto: resp.Proto, phrase: resp.Status, header: resp.Header, body: string(body),
			trailer: resp.Trailer, length: resp.ContentLength, closes: resp.Close, coding: resp.TransferEncoding, err: err,
		}
	}
}
