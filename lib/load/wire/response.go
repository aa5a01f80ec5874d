package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxInterim bounds how many interim answers (1xx) may come before the final one.
const maxInterim = 5

// An answer is a response and its body, made at once.
type answer struct {
	resp http.Response
	body body
}

// receive reads an answer's head. The body that it returns is not yet anyone's to end: its
// conn is nil if there is nothing to read, and keep says whether the connection is good for another exchange.
func (c *conn) receive(req *http.Request, maxHeader int) (*answer, error) {
	for interim := 0; ; interim++ {
		a := new(answer)
		a.resp.Request = req
		head, lines, err := c.head(maxHeader)
		if err != nil {
			return nil, err
		}
		if err := a.parse(string(head), lines); err != nil {
			return nil, err
		}
		if err := a.frame(req.Method); err != nil {
			return nil, err
		}
		if code := a.resp.StatusCode; code >= 200 || code == http.StatusSwitchingProtocols {
			return a, nil
		}
		if interim == maxInterim {
			return nil, protocolError("too many interim answers (1xx) before the final one")
		}
	}
}

var versions = []byte("HTTP/1.")

// head reads up to and with the empty line, and counts the lines before it. What it
// returns is valid until the next read.
func (c *conn) head(most int) (head []byte, lines int, err error) {
	for at := 0; ; { // relative to c.r, which fill may move
		have := c.buf[c.r:c.w]
		if n := min(len(have), len(versions)); !bytes.Equal(have[:n], versions[:n]) {
			return nil, 0, malformed("not the beginning of an HTTP/1 answer", firstLine(have))
		}
		for {
			i := bytes.IndexByte(have[at:], '\n')
			if i < 0 {
				break
			}
			line := have[at : at+i]
			at += i + 1
			if at > most {
				return nil, 0, protocolError("header beyond the limit")
			}
			if len(line) == 0 || len(line) == 1 && line[0] == '\r' {
				c.r += at
				return have[:at], lines, nil
			}
			lines++
		}
		switch err := c.fill(most); {
		case errors.Is(err, io.ErrShortBuffer):
			return nil, 0, protocolError("header beyond the limit")
		case err == nil:
		case errors.Is(err, io.EOF) && c.r < c.w:
			return nil, 0, io.ErrUnexpectedEOF
		default:
			return nil, 0, err
		}
	}
}

func firstLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimRight(b, "\r")
}

// parse reads a whole head, which all strings of the answer are then parts of.
func (a *answer) parse(head string, lines int) error {
	line, rest := cutLine(head)
	// "HTTP/1.x NNN" and then nothing or a space and a reason.
	const least = len("HTTP/1.1 200")
	if len(line) < least || !digit(line[7]) || line[8] != ' ' || len(line) > least && line[least] != ' ' {
		return malformed("bad status line", []byte(line))
	}
	code := 0
	for _, d := range []byte(line[9:least]) {
		if !digit(d) {
			return malformed("bad status", []byte(line))
		}
		code = code*10 + int(d-'0')
	}
	if code < 100 || !printable(line) {
		return malformed("bad status line", []byte(line))
	}
	a.resp.Proto, a.resp.ProtoMajor, a.resp.ProtoMinor = line[:8], 1, int(line[7]-'0')
	a.resp.Status, a.resp.StatusCode = line[9:], code
	h, err := fields(rest, lines-1)
	a.resp.Header = h
	return err
}

// fields reads field lines up to the empty one.
func fields(text string, lines int) (http.Header, error) {
	h := make(http.Header, lines)
	values := make([]string, lines)
	for {
		line, rest := cutLine(text)
		if line == "" {
			return h, nil
		}
		text = rest
		colon := strings.IndexByte(line, ':')
		// A folded line begins with a space, which is no token.
		if colon < 0 || !httpguts.ValidHeaderFieldName(line[:colon]) {
			return nil, malformed("bad field line", []byte(line))
		}
		value := strings.Trim(line[colon+1:], " \t")
		if !printable(value) {
			return nil, malformed("control character in a field", []byte(line))
		}
		name := textproto.CanonicalMIMEHeaderKey(line[:colon]) // itself, if it is canonical
		if before, ok := h[name]; ok {
			h[name] = append(before, value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
}

// cutLine cuts text after its first line, which it returns without its end. All text
// that comes here ends with a line's end.
func cutLine(text string) (line, rest string) {
	i := strings.IndexByte(text, '\n')
	if i < 0 {
		return text, ""
	}
	line, rest = text[:i], text[i+1:]
	return strings.TrimSuffix(line, "\r"), rest
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// printable reports whether there are no control characters but tabs in s.
func printable(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// frame finds out how long the body is and whether the connection can be used after it, and sets the
// fields of the response that say so.
func (a *answer) frame(method string) error {
	r := &a.resp
	old := r.ProtoMinor == 0
	chunked, err := codings(r.Header, old)
	if err != nil {
		return err
	}
	length, err := contentLength(r.Header)
	if err != nil {
		return err
	}
	connection := r.Header["Connection"]
	r.Close = tokenIn(connection, "close") || old && !tokenIn(connection, "keep-alive")
	// Both: one of the two ends has been fooled. RFC 9112, 6.3, lets the coding win.
	doubtful := chunked && length >= 0
	if chunked {
		r.TransferEncoding = []string{"chunked"}
		if r.Trailer, err = trailer(r.Header); err != nil {
			return err
		}
	}
	bodiless := method == http.MethodHead || r.StatusCode < 200 ||
		r.StatusCode == http.StatusNoContent || r.StatusCode == http.StatusNotModified
	a.body.form = none
	switch {
	case bodiless && method == http.MethodHead:
		r.ContentLength = length
	case bodiless:
	case chunked:
		delete(r.Header, "Content-Length")
		r.ContentLength, a.body.form = -1, inChunks
	case length < 0:
		r.ContentLength, r.Close, a.body.form = -1, true, untilClosed
	case length > 0:
		r.ContentLength, a.body.form, a.body.left = length, counted, length
	}
	a.body.keep = !r.Close && !doubtful && r.StatusCode >= 200
	return nil
}

// codings reports whether the body is in chunks, which is the only transfer coding known.
func codings(h http.Header, old bool) (chunked bool, err error) {
	all, ok := h["Transfer-Encoding"]
	if !ok {
		return false, nil
	}
	delete(h, "Transfer-Encoding")
	switch {
	case old:
		return false, protocolError("transfer coding in an HTTP/1.0 answer")
	case len(all) != 1 || !strings.EqualFold(all[0], "chunked"):
		return false, malformed("unknown transfer coding", []byte(strings.Join(all, ", ")))
	}
	return true, nil
}

// contentLength returns the length that is announced, or -1. Several that agree become one.
func contentLength(h http.Header) (int64, error) {
	all := h["Content-Length"]
	if len(all) == 0 {
		return -1, nil
	}
	for _, other := range all[1:] {
		if other != all[0] {
			return 0, malformed("lengths that differ", []byte(strings.Join(all, ", ")))
		}
	}
	if len(all) > 1 {
		h["Content-Length"] = all[:1:1]
	}
	n := int64(0)
	for _, d := range []byte(all[0]) {
		if !digit(d) || n > (1<<63-1-int64(d-'0'))/10 {
			return 0, malformed("bad length", []byte(all[0]))
		}
		n = n*10 + int64(d-'0')
	}
	if all[0] == "" {
		return 0, protocolError("empty length")
	}
	return n, nil
}

// trailer makes the announced trailer, with its values still to come.
func trailer(h http.Header) (http.Header, error) {
	all, ok := h["Trailer"]
	if !ok {
		return nil, nil
	}
	delete(h, "Trailer")
	t := make(http.Header)
	for _, list := range all {
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t"))
			switch name {
			case "":
				continue
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return nil, malformed("announced for the trailer, where it must not be", []byte(name))
			}
			t[name] = nil
		}
	}
	if len(t) == 0 {
		return nil, nil
	}
	return t, nil
}

func tokenIn(values []string, token string) bool {
	return len(values) > 0 && httpguts.HeaderValuesContainsToken(values, token)
}
