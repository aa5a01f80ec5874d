package wire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// check reports what makes a request one that cannot be sent.
func check(req *http.Request) error {
	switch {
	case req.URL == nil:
		return errors.New("the request has no URL")
	case req.URL.Scheme != "http":
		return fmt.Errorf("scheme %q: only http is sent here", req.URL.Scheme)
	case req.URL.Host == "" && req.Host == "":
		return errors.New("the request's URL has no host")
	case req.Method == http.MethodConnect:
		return errors.New("method CONNECT makes a tunnel and not a request")
	case req.Method != "" && !httpguts.ValidHeaderFieldName(req.Method): // both are tokens (RFC 9110, 5.6.2)
		return fmt.Errorf("method %q: want one such as GET", req.Method)
	case !httpguts.ValidHostHeader(host(req)):
		return fmt.Errorf("host %q: not one for a Host header", host(req))
	case !printable(req.URL.RawQuery) || !printable(req.URL.Opaque): // a path's are escaped
		return errors.New("a control character in the request's URL")
	case req.ContentLength > 0 && req.Body == nil:
		return fmt.Errorf("a length of %d without a body", req.ContentLength)
	}
	for name, values := range req.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header name %q: has a character that it must not have", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("value of header %s: has a control character", name) // it may be a secret
			}
		}
	}
	return nil
}

func host(req *http.Request) string {
	h := req.Host
	if h == "" {
		h = req.URL.Host
	}
	if strings.HasPrefix(h, "[") { // the zone of an address is nobody else's business
		if end := strings.IndexByte(h, ']'); end > 0 {
			if zone := strings.IndexByte(h[:end], '%'); zone > 0 {
				return h[:zone] + h[end:]
			}
		}
	}
	return ascii(h)
}

// ascii is a host name as it is resolved and sent. One that has no such form stays, and check refuses it.
func ascii(host string) string {
	if a, err := httpguts.PunycodeHostPort(host); err == nil {
		return a
	}
	return host
}

// closes reports whether the request asks for the connection to be closed after it.
func closes(req *http.Request) bool {
	return req.Close || tokenIn(req.Header["Connection"], "close")
}

// A scratch is what is needed to write a request, and only then.
type scratch struct {
	out, body []byte
	names     []string
}

// oneWrite bounds, in bytes, what is gathered to go out in one write.
const oneWrite = 64 << 10

var scratches = sync.Pool{New: func() any { return &scratch{out: make([]byte, 0, 1<<10)} }} //nolint:gochecknoglobals // a cache

// A bodyError is an error of the request's own body.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read the request's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// send writes the request, in one system call if it is small. After an error the
// connection cannot be used again. The request's own body is read with no deadline.
func (c *conn) send(req *http.Request) error {
	s, _ := scratches.Get().(*scratch)
	defer func() {
		clear(s.names)
		if cap(s.out)+cap(s.body) <= 4*oneWrite {
			scratches.Put(s)
		}
	}()
	s.head(req)
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return s.empty(c, req.Method)
	case req.ContentLength > 0:
		return s.counted(c, req.Body, req.ContentLength)
	default:
		return s.uncounted(c, req.Method, req.Body)
	}
}

// head writes all but the body's framing and the empty line.
func (s *scratch) head(req *http.Request) {
	b := s.out[:0]
	if req.Method == "" {
		b = append(b, http.MethodGet...)
	} else {
		b = append(b, req.Method...)
	}
	b = append(b, ' ')
	b = append(b, req.URL.RequestURI()...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host(req)...)
	b = append(b, "\r\n"...)
	s.names = s.names[:0]
	for name := range req.Header {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names) // the same bytes each time
	for _, name := range s.names {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue // said by the request's fields, or not at all
		case "Connection":
			if req.Close {
				continue
			}
		}
		for _, v := range req.Header[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, strings.Trim(v, " \t")...)
			b = append(b, "\r\n"...)
		}
	}
	if req.Close {
		b = append(b, "Connection: close\r\n"...)
	}
	s.out = b
}

func (s *scratch) length(n int64) {
	s.out = append(s.out, "Content-Length: "...)
	s.out = strconv.AppendInt(s.out, n, 10)
	s.out = append(s.out, "\r\n\r\n"...)
}

func (s *scratch) empty(c *conn, method string) error {
	s.nothing(method)
	return c.write(s.out)
}

// nothing writes the end of a head that no body follows.
func (s *scratch) nothing(method string) {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		s.length(0)
	default:
		s.out = append(s.out, "\r\n"...)
	}
}

func (s *scratch) counted(c *conn, body io.Reader, length int64) error {
	s.length(length)
	for left := length; ; {
		n := int(min(left, int64(max(oneWrite-len(s.out), 4<<10))))
		at := len(s.out)
		s.out = slices.Grow(s.out, n)[:at+n]
		got, err := io.ReadFull(body, s.out[at:])
		left -= int64(got)
		if err != nil {
			return &bodyError{fmt.Errorf("%w, %d bytes before its announced end", err, left)}
		}
		if left == 0 {
			if n, _ := body.Read(make([]byte, 1)); n > 0 {
				return &bodyError{fmt.Errorf("longer than the announced %d bytes", length)}
			}
		}
		if err := c.write(s.out); err != nil || left == 0 {
			return err
		}
		s.out = s.out[:0]
	}
}

// uncounted sends a body whose length is not told: with its length if that is short, else in chunks.
func (s *scratch) uncounted(c *conn, method string, body io.Reader) error {
	for first := true; ; first = false {
		s.body = slices.Grow(s.body[:0], oneWrite)[:oneWrite]
		n, err := io.ReadFull(body, s.body)
		s.body = s.body[:n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case err != nil && !last:
			return &bodyError{err}
		case first && last && n == 0:
			return s.empty(c, method)
		case first && last:
			s.length(int64(n))
			s.out = append(s.out, s.body...)
			return c.write(s.out)
		case first:
			s.out = append(s.out, "Transfer-Encoding: chunked\r\n\r\n"...)
		}
		if n > 0 {
			s.out = strconv.AppendInt(s.out, int64(n), 16)
			s.out = append(s.out, "\r\n"...)
			s.out = append(s.out, s.body...)
			s.out = append(s.out, "\r\n"...)
		}
		if last {
			s.out = append(s.out, "0\r\n\r\n"...)
		}
		if err := c.write(s.out); err != nil || last {
			return err
		}
		s.out = s.out[:0]
	}
}
