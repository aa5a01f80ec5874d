package wire

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// reads is a connection from which these bytes come, and then an end.
type reads struct {
	net.Conn
	from io.Reader
}

func (r reads) Read(p []byte) (int, error)  { return r.from.Read(p) }
func (r reads) SetDeadline(time.Time) error { return nil }
func (r reads) Close() error                { return nil }
func (r reads) Write(p []byte) (int, error) { return len(p), nil }
func (r reads) RemoteAddr() net.Addr        { return &net.TCPAddr{} }
func (r reads) LocalAddr() net.Addr         { return &net.TCPAddr{} }

// A reading is what was read from some bytes.
type reading struct {
	status        int
	proto, phrase string // the phrase with its status
	header        http.Header
	body          string
	trailer       http.Header
	length        int64
	closes        bool
	coding        []string
	kept          bool // the connection, for another exchange
	left          int  // bytes not read
	err           error
	kind          Kind // of err, as it is reported
}

const testHeader = 64 << 10

// readAll reads an answer to a request with this method, and its whole body.
func readAll(tb testing.TB, method string, from io.Reader) reading {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, "http://x/", nil)
	if err != nil {
		tb.Fatal(err)
	}
	tr := New(tb.Context(), Options{})
	defer tr.Close()
	p := newPool(tr, "x:80")
	c := &conn{nc: reads{from: from}, pool: p, epoch: tr.epoch, limit: time.Hour, busy: true, node: p.nodeOf("x")}
	c.expires = time.Hour
	p.all = []*conn{c}
	a, err := c.receive(req, testHeader)
	if err != nil {
		return reading{err: err, kind: c.failure(req.Context(), doingRead, err, c.in > 0).Kind}
	}
	r := &a.resp
	got := reading{
		status: r.StatusCode, proto: r.Proto, phrase: r.Status, header: r.Header,
		length: r.ContentLength, closes: r.Close, coding: r.TransferEncoding,
	}
	b := &a.body
	b.resp, b.of, b.c = r, c, c
	var text []byte
	if b.form == none {
		b.end(io.EOF)
	} else {
		text, err = io.ReadAll(b)
	}
	got.body, got.trailer, got.err = string(text), r.Trailer, err
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			tb.Errorf("error of type %T: %v", err, err)
		} else {
			got.kind = e.Kind
		}
	}
	got.kept, got.left = len(p.idle) == 1, c.w-c.r
	return got
}

func head(fields ...string) string {
	return "HTTP/1.1 200 OK\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// Each answer must read the same however its bytes are cut.
func TestAnswers(t *testing.T) {
	h := func(kv ...string) http.Header {
		m := make(http.Header)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = append(m[kv[i]], kv[i+1])
		}
		return m
	}
	chunked := "Transfer-Encoding: chunked"
	long := strings.Repeat("x", 100_000)
	ok := func(body string, kept bool, header http.Header) reading {
		return reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: header, body: body, length: int64(len(body)), closes: !kept, kept: kept}
	}
	inChunks := func(body string, header, trailer http.Header) reading {
		return reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: header, body: body, length: -1, kept: true, coding: []string{"chunked"}, trailer: trailer}
	}
	bad := func(k Kind) reading { return reading{kind: k} }
	for _, c := range []struct {
		name, method, bytes string
		want                reading
	}{
		{"length", "", head("Content-Length: 2", "X-A: b") + "ok", ok("ok", true, h("Content-Length", "2", "X-A", "b"))},
		{"length 0", "", head("Content-Length: 0"), ok("", true, h("Content-Length", "0"))},
		{"length with zeros before it", "", head("Content-Length: 002") + "ok", ok("ok", true, h("Content-Length", "002"))},
		{"lengths that agree", "", head("Content-Length: 2", "content-length: 2") + "ok", ok("ok", true, h("Content-Length", "2"))},
		{"lengths that differ", "", head("Content-Length: 2", "Content-Length: 3") + "okk", bad(Protocol)},
		{"list of lengths", "", head("Content-Length: 2, 2") + "ok", bad(Protocol)},
		{"signed length", "", head("Content-Length: +2") + "ok", bad(Protocol)},
		{"negative length", "", head("Content-Length: -2") + "ok", bad(Protocol)},
		{"hexadecimal length", "", head("Content-Length: 0x2") + "ok", bad(Protocol)},
		{"empty length", "", head("Content-Length:") + "ok", bad(Protocol)},
		{"length beyond 63 bits", "", head("Content-Length: 9223372036854775808") + "ok", bad(Protocol)},
		{"long body", "", head("Content-Length: 100000") + long, ok(long, true, h("Content-Length", "100000"))},
		{"body too short", "", head("Content-Length: 3") + "ok", bad(Truncated)},
		{"body too long", "", head("Content-Length: 2") + "ok!", func() reading {
			r := ok("ok", true, h("Content-Length", "2"))
			r.kept, r.left = false, 1
			return r
		}()},

		{"until closed", "", head("X-A: b") + "ok", reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: h("X-A", "b"), body: "ok", length: -1, closes: true}},
		{"until closed, empty", "", "HTTP/1.1 200 OK\r\n\r\n", reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: h(), length: -1, closes: true}},

		{"no reason", "", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", reading{status: 200, proto: "HTTP/1.1", phrase: "200 ", header: h("Content-Length", "0"), kept: true}},
		{"neither reason nor space", "", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", reading{status: 200, proto: "HTTP/1.1", phrase: "200", header: h("Content-Length", "0"), kept: true}},
		{"reason of several words", "", "HTTP/1.1 404 Not \xc3\xa4 Found\r\nContent-Length: 0\r\n\r\n", reading{status: 404, proto: "HTTP/1.1", phrase: "404 Not \xc3\xa4 Found", header: h("Content-Length", "0"), kept: true}},
		{"unknown status", "", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", reading{status: 799, proto: "HTTP/1.1", phrase: "799 Odd", header: h("Content-Length", "0"), kept: true}},
		{"lines end in LF alone", "", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", ok("ok", true, h("Content-Length", "2"))},

		{"Connection: close", "", head("Content-Length: 2", "Connection: close") + "ok", ok("ok", false, h("Content-Length", "2", "Connection", "close"))},
		{"close in a list", "", head("Content-Length: 2", "Connection: x, Close") + "ok", ok("ok", false, h("Content-Length", "2", "Connection", "x, Close"))},
		{"close in a second line", "", head("Content-Length: 2", "Connection: x", "Connection: close") + "ok", ok("ok", false, h("Content-Length", "2", "Connection", "x", "Connection", "close"))},
		{"HTTP/1.0", "", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", reading{status: 200, proto: "HTTP/1.0", phrase: "200 OK", header: h("Content-Length", "2"), body: "ok", length: 2, closes: true}},
		{"HTTP/1.0 kept alive", "", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok", reading{status: 200, proto: "HTTP/1.0", phrase: "200 OK", header: h("Content-Length", "2", "Connection", "Keep-Alive"), body: "ok", length: 2, kept: true}},
		{"HTTP/1.0 until closed", "", "HTTP/1.0 200 OK\r\n\r\nok", reading{status: 200, proto: "HTTP/1.0", phrase: "200 OK", header: h(), body: "ok", length: -1, closes: true}},
		{"HTTP/1.0 with a coding", "", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", bad(Protocol)},

		{"HEAD", "HEAD", head("Content-Length: 99"), reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: h("Content-Length", "99"), length: 99, kept: true}},
		{"HEAD without a length", "HEAD", head("X-A: b"), reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: h("X-A", "b"), length: -1, kept: true}},
		{"HEAD in chunks", "HEAD", head(chunked), reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: h(), length: -1, kept: true, coding: []string{"chunked"}}},
		{"HEAD answered with a body", "HEAD", head("Content-Length: 2") + "ok", reading{status: 200, proto: "HTTP/1.1", phrase: "200 OK", header: h("Content-Length", "2"), length: 2, left: 2}},
		{"204", "", "HTTP/1.1 204 No Content\r\n\r\n", reading{status: 204, proto: "HTTP/1.1", phrase: "204 No Content", header: h(), kept: true}},
		{"204 with a length", "", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", reading{status: 204, proto: "HTTP/1.1", phrase: "204 No Content", header: h("Content-Length", "5"), kept: true}},
		{"304 with the length of what is not sent", "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nEtag: x\r\n\r\n", reading{status: 304, proto: "HTTP/1.1", phrase: "304 Not Modified", header: h("Content-Length", "500", "Etag", "x"), kept: true}},
		{"304 with a body all the same", "", "HTTP/1.1 304 Not Modified\r\n\r\nbody", reading{status: 304, proto: "HTTP/1.1", phrase: "304 Not Modified", header: h(), left: 4}},

		{"100", "", "HTTP/1.1 100 Continue\r\n\r\n" + head("Content-Length: 2") + "ok", ok("ok", true, h("Content-Length", "2"))},
		{"103 with fields, twice", "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 2) + head("Content-Length: 2") + "ok", ok("ok", true, h("Content-Length", "2"))},
		{"five interim answers", "", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5) + head("Content-Length: 2") + "ok", ok("ok", true, h("Content-Length", "2"))},
		{"six interim answers", "", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 6) + head("Content-Length: 2") + "ok", bad(Protocol)},
		{"nothing after an interim answer", "", "HTTP/1.1 100 Continue\r\n\r\n", bad(Truncated)},
		{"101", "", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw", reading{status: 101, proto: "HTTP/1.1", phrase: "101 Switching Protocols", header: h("Upgrade", "x"), left: 3}},

		{"chunks", "", head(chunked) + "2\r\nok\r\nA;x=y;z=\"q\"\r\n0123456789\r\n0\r\n\r\n", inChunks("ok0123456789", h(), nil)},
		{"no chunk but the last", "", head(chunked) + "0\r\n\r\n", inChunks("", h(), nil)},
		{"last chunk of many zeros, with an extension", "", head(chunked) + "1\r\nx\r\n000;end\r\n\r\n", inChunks("x", h(), nil)},
		{"coding in capitals", "", head("transfer-encoding: CHUNKED") + "0\r\n\r\n", inChunks("", h(), nil)},
		{"size in either case, and space after it", "", head(chunked) + "a \r\n0123456789\r\nB\t;x\r\n0123456789a\r\n0\r\n\r\n", inChunks("01234567890123456789a", h(), nil)},
		{"long chunk", "", head(chunked) + "186A0\r\n" + long + "\r\n0\r\n\r\n", inChunks(long, h(), nil)},
		{"trailer", "", head(chunked, "Trailer: X-Sum, X-No") + "2\r\nok\r\n0\r\nX-Sum: 1\r\nx-more: 2\r\n\r\n", inChunks("ok", h(), http.Header{"X-Sum": {"1"}, "X-No": nil, "X-More": {"2"}})},
		{"trailer not announced", "", head(chunked) + "0\r\nX-Sum: 1\r\n\r\n", inChunks("", h(), h("X-Sum", "1"))},
		{"announced trailer that must not be", "", head(chunked, "Trailer: content-length") + "0\r\n\r\n", bad(Protocol)},
		{"chunks and a length", "", head(chunked, "Content-Length: 2") + "2\r\nok\r\n0\r\n\r\n", func() reading {
			r := inChunks("ok", h(), nil)
			r.kept = false
			return r
		}()},
		{"chunks and lengths that differ", "", head(chunked, "Content-Length: 2", "Content-Length: 3") + "0\r\n\r\n", bad(Protocol)},
		{"other coding", "", head("Transfer-Encoding: gzip") + "x", bad(Protocol)},
		{"two codings", "", head("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n", bad(Protocol)},
		{"coding twice", "", head(chunked, chunked) + "0\r\n\r\n", bad(Protocol)},
		{"chunk size is no number", "", head(chunked) + "zz\r\n", bad(Protocol)},
		{"chunk size is empty", "", head(chunked) + "\r\n", bad(Protocol)},
		{"chunk size with a sign", "", head(chunked) + "+2\r\nok\r\n0\r\n\r\n", bad(Protocol)},
		{"chunk size with a prefix", "", head(chunked) + "0x2\r\nok\r\n0\r\n\r\n", bad(Protocol)},
		{"space before a chunk size", "", head(chunked) + " 2\r\nok\r\n0\r\n\r\n", bad(Protocol)},
		{"chunk size beyond 63 bits", "", head(chunked) + "8000000000000000\r\nok", bad(Protocol)},
		{"chunk size line ends in LF alone", "", head(chunked) + "2\nok\r\n0\r\n\r\n", bad(Protocol)},
		{"chunk size line is LF alone", "", head(chunked) + "\n", bad(Protocol)},
		{"CR in a chunk extension", "", head(chunked) + "2;a\rb\r\nok\r\n0\r\n\r\n", bad(Protocol)},
		{"chunk longer than it says", "", head(chunked) + "2\r\nokk\r\n0\r\n\r\n", bad(Protocol)},
		{"chunk extension without end", "", head(chunked) + "2;" + long, bad(Protocol)},
		{"little in much", "", head(chunked) + strings.Repeat("1;"+strings.Repeat("e", 2000)+"\r\nx\r\n", 20) + "0\r\n\r\n", bad(Protocol)},
		{"chunks end before a size", "", head(chunked) + "2\r\nok\r\n", bad(Truncated)},
		{"chunks end in a size", "", head(chunked) + "2\r\nok\r\n1", bad(Truncated)},
		{"chunks end in a chunk", "", head(chunked) + "5\r\nok", bad(Truncated)},
		{"chunks end before the trailer's end", "", head(chunked) + "0\r\n", bad(Truncated)},
		{"trailer is no field", "", head(chunked) + "0\r\nno field\r\n\r\n", bad(Protocol)},
		{"trailer ends in LF alone", "", head(chunked) + "0\r\n\n", bad(Protocol)},
		{"trailer too long", "", head(chunked) + "0\r\nX-A: " + long + "\r\n\r\n", bad(Protocol)},

		{"field names in any case", "", head("content-LENGTH: 2", "x_y.z!: 1") + "ok", ok("ok", true, h("Content-Length", "2", "X_y.z!", "1"))},
		{"spaces around a value", "", head("X-A: \t b c\t ", "Content-Length:0"), ok("", true, h("X-A", "b c", "Content-Length", "0"))},
		{"empty value", "", head("X-A:", "Content-Length: 0"), ok("", true, h("X-A", "", "Content-Length", "0"))},
		{"several of one name, in order", "", head("Set-Cookie: a", "X-A: b", "set-cookie: c", "Content-Length: 0"), ok("", true, h("Set-Cookie", "a", "Set-Cookie", "c", "X-A", "b", "Content-Length", "0"))},
		{"colons in a value", "", head("X-A: b: c", "Content-Length: 0"), ok("", true, h("X-A", "b: c", "Content-Length", "0"))},
		{"high bytes in a value", "", head("X-A: \xff\x80", "Content-Length: 0"), ok("", true, h("X-A", "\xff\x80", "Content-Length", "0"))},
		{"folded field", "", head("X-A: b", " c", "Content-Length: 0"), bad(Protocol)},
		{"folded first field", "", head(" X-A: b", "Content-Length: 0"), bad(Protocol)},
		{"space before the colon", "", head("X-A : b", "Content-Length: 0"), bad(Protocol)},
		{"no colon", "", head("X-A", "Content-Length: 0"), bad(Protocol)},
		{"no name", "", head(": b", "Content-Length: 0"), bad(Protocol)},
		{"NUL in a value", "", head("X-A: b\x00", "Content-Length: 0"), bad(Protocol)},
		{"CR in a value", "", head("X-A: b\rX-B: c", "Content-Length: 0"), bad(Protocol)},
		{"escape in a value", "", head("X-A: \x1b[2J", "Content-Length: 0"), bad(Protocol)},
		{"header just within its limit", "", head("X-A: "+strings.Repeat("x", testHeader-len(head("X-A: ", "Content-Length: 0"))), "Content-Length: 0"), ok("", true, h("X-A", strings.Repeat("x", testHeader-len(head("X-A: ", "Content-Length: 0"))), "Content-Length", "0"))},
		{"header beyond its limit", "", head("X-A: "+strings.Repeat("x", testHeader), "Content-Length: 0"), bad(Protocol)},
		{"header of many fields beyond its limit", "", head(strings.Repeat("X-A: b\r\n", testHeader/8) + "X-A: b"), bad(Protocol)},
		{"header without end", "", "HTTP/1.1 200 OK\r\n" + long, bad(Protocol)},

		{"nothing", "", "", bad(EOF)},
		{"the beginning of a version", "", "HTT", bad(Truncated)},
		{"half a status line", "", "HTTP/1.1 200 O", bad(Truncated)},
		{"half a header", "", "HTTP/1.1 200 OK\r\nX-A: b\r\n", bad(Truncated)},
		{"other protocol", "", "SSH-2.0-x\r\n", bad(Protocol)},
		{"other protocol, without a line", "", "\x15\x03\x01\x00\x02\x02", bad(Protocol)},
		{"HTTP/2", "", "HTTP/2.0 200 OK\r\n\r\n", bad(Protocol)},
		{"HTTP/0.9", "", "<html>\r\n\r\n", bad(Protocol)},
		{"version in small letters", "", "http/1.1 200 OK\r\n\r\n", bad(Protocol)},
		{"version of three digits", "", "HTTP/1.11 200 OK\r\n\r\n", bad(Protocol)},
		{"empty line first", "", "\r\n" + head("Content-Length: 0"), bad(Protocol)},
		{"two spaces before the status", "", "HTTP/1.1  200 OK\r\n\r\n", bad(Protocol)},
		{"status of two digits", "", "HTTP/1.1 20 OK\r\n\r\n", bad(Protocol)},
		{"status of four digits", "", "HTTP/1.1 2000 OK\r\n\r\n", bad(Protocol)},
		{"status below 100", "", "HTTP/1.1 099 OK\r\n\r\n", bad(Protocol)},
		{"status is no number", "", "HTTP/1.1 2x0 OK\r\n\r\n", bad(Protocol)},
		{"no status", "", "HTTP/1.1\r\n\r\n", bad(Protocol)},
		{"control character in a reason", "", "HTTP/1.1 200 O\x07K\r\n\r\n", bad(Protocol)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodGet
			}
			for how, from := range map[string]func(io.Reader) io.Reader{
				"at once":          func(r io.Reader) io.Reader { return r },
				"byte by byte":     iotest.OneByteReader,
				"in halves":        iotest.HalfReader,
				"end with the end": iotest.DataErrReader,
			} {
				got := readAll(t, c.method, from(strings.NewReader(c.bytes)))
				want := c.want
				if how == "byte by byte" || how == "in halves" {
					if want.left > 0 && want.status != http.StatusSwitchingProtocols {
						want.kept = got.left == 0 // what follows has not come yet
					}
					want.left = got.left
				}
				compare(t, how, got, want)
			}
		})
	}
}

func compare(t *testing.T, how string, got, want reading) {
	t.Helper()
	if got.kind != want.kind {
		t.Errorf("%s: the error is %v (%v), want %v", how, got.kind, got.err, want.kind)
	}
	if want.kind != 0 || got.err != nil {
		return
	}
	if got.status != want.status || got.proto != want.proto || got.phrase != want.phrase {
		t.Errorf("%s: status %d, %q, %q; want %d, %q, %q", how, got.status, got.proto, got.phrase, want.status, want.proto, want.phrase)
	}
	if !maps.EqualFunc(got.header, want.header, slices.Equal) {
		t.Errorf("%s: header %q, want %q", how, got.header, want.header)
	}
	if !maps.EqualFunc(got.trailer, want.trailer, slices.Equal) || (got.trailer == nil) != (want.trailer == nil) {
		t.Errorf("%s: trailer %q, want %q", how, got.trailer, want.trailer)
	}
	if got.body != want.body {
		t.Errorf("%s: body of %d bytes %.40q, want %d bytes %.40q", how, len(got.body), got.body, len(want.body), want.body)
	}
	if got.length != want.length || got.closes != want.closes || !slices.Equal(got.coding, want.coding) {
		t.Errorf("%s: length %d, close %v, coding %q; want %d, %v, %q", how, got.length, got.closes, got.coding, want.length, want.closes, want.coding)
	}
	if got.kept != want.kept || got.left != want.left {
		t.Errorf("%s: connection kept: %v with %d bytes left; want %v, %d", how, got.kept, got.left, want.kept, want.left)
	}
}

// A reset in the middle is not an end.
func TestResetIsNoEnd(t *testing.T) {
	reset := errors.New("reset")
	for _, text := range []string{head("X-A: b") + "ok", head("Content-Length: 3") + "ok", head("Transfer-Encoding: chunked") + "2\r\nok\r\n"} {
		got := readAll(t, http.MethodGet, io.MultiReader(bytes.NewReader([]byte(text)), iotest.ErrReader(reset)))
		if !errors.Is(got.err, reset) || got.kept {
			t.Errorf("%q: error %v, kept %v", text, got.err, got.kept)
		}
	}
}
