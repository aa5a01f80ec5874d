package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// A Capture keeps a part of a good answer under a name, for the templates of the session's later steps. It is
// of a header if Header is set, else of the body; of JSON in it if JSON is set.
type Capture struct {
	Name   string `json:"name"`             // {{.Captured.NAME}}
	Header string `json:"header,omitempty"` // a header's name
	JSON   string `json:"json,omitempty"`   // a path such as $.order.items[0]['a b']
	Match  string `json:"match,omitempty"`  // a regular expression: its first group, or else all that it matches
}

// MaxCaptured bounds a captured value, in bytes. A longer one is none.
const MaxCaptured = 4 << 10

// A CaptureError says what is wrong with a capture, and in which part of which field.
type CaptureError struct {
	Field          string // "name", "header", "json" or "match"
	Offset, Length int    // in bytes of the field's text
	Msg            string
}

func (e *CaptureError) Error() string { return "capture: " + e.Field + ": " + e.Msg }

var captureName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Check reports what makes a capture one that cannot work, as a [*CaptureError].
func (c Capture) Check() error {
	_, err := newCaptor(c)
	return err
}

// A captor is a capture, ready to be used.
type captor struct {
	name   string
	header string
	path   []any // of strings and ints
	match  *regexp.Regexp
}

func newCaptor(c Capture) (captor, error) {
	got := captor{name: c.Name, header: c.Header}
	bad := func(field, text, msg string) (captor, error) {
		return captor{}, &CaptureError{Field: field, Length: len(text), Msg: msg}
	}
	switch {
	case !captureName.MatchString(c.Name):
		return bad("name", c.Name, fmt.Sprintf("%q cannot be written as {{.Captured.NAME}}", c.Name))
	case c.Header == "" && c.JSON == "" && c.Match == "":
		return bad("match", "", "nothing says where the value stands")
	case c.Header != "" && c.JSON != "":
		return bad("json", c.JSON, "a value is of a header or of JSON, not of both")
	case c.Header != "" && !httpguts.ValidHeaderFieldName(c.Header):
		return bad("header", c.Header, fmt.Sprintf("%q is no header's name", c.Header))
	}
	if c.JSON != "" {
		path, err := parsePath(c.JSON)
		if err != nil {
			return captor{}, err
		}
		got.path = path
	}
	if c.Match != "" {
		match, err := regexp.Compile(c.Match)
		if err != nil {
			return captor{}, badPattern(c.Match, err)
		}
		if n := match.NumSubexp(); n > 1 {
			return bad("match", c.Match, fmt.Sprintf("it has %d groups, and one value is kept; (?:…) groups without keeping", n))
		}
		got.match = match
	}
	return got, nil
}

// badPattern says what a regular expression has wrong, and where.
func badPattern(text string, err error) *CaptureError {
	e := &CaptureError{Field: "match", Length: len(text), Msg: err.Error()}
	if s, ok := errors.AsType[*syntax.Error](err); ok {
		e.Msg = "not a regular expression: " + string(s.Code)
		if i := strings.Index(text, s.Expr); i >= 0 && s.Expr != "" {
			e.Offset, e.Length = i, len(s.Expr)
		}
	}
	return e
}

// parsePath reads the singular queries of RFC 9535: $, then names and indices.
func parsePath(text string) ([]any, error) {
	bad := func(at, length int, format string, args ...any) ([]any, error) {
		return nil, &CaptureError{Field: "json", Offset: at, Length: length, Msg: fmt.Sprintf(format, args...)}
	}
	if !strings.HasPrefix(text, "$") {
		return bad(0, len(text), "a path begins with $")
	}
	path := []any{}
	for at := 1; at < len(text); {
		switch rest := text[at:]; {
		case strings.HasPrefix(rest, ".."):
			return bad(at, 2, ".. finds many values, and one is kept")
		case rest[0] == '.':
			n := strings.IndexAny(rest[1:], ".[")
			if n < 0 {
				n = len(rest) - 1
			}
			name := rest[1 : 1+n]
			if !member.MatchString(name) {
				return bad(at, 1+n, "no name after the dot; one with other characters than letters, digits and _ is written ['NAME']")
			}
			path, at = append(path, name), at+1+n
		case rest[0] == '[':
			n, key, ok := bracket(rest)
			if !ok {
				return bad(at, n, "%s is neither an index, such as [0], nor a name, such as ['id']", rest[:n])
			}
			path, at = append(path, key), at+n
		default:
			_, n := utf8.DecodeRuneInString(rest)
			return bad(at, n, "%q where a . or a [ should be", rest[:n])
		}
	}
	return path, nil
}

// member is what may stand after a dot; letters of all alphabets are names (RFC 9535, 2.5.1.1), and so are hyphens here.
var member = regexp.MustCompile(`^[A-Za-z_\x{80}-\x{10FFFF}][A-Za-z0-9_\x{80}-\x{10FFFF}-]*$`)

var (
	indexed = regexp.MustCompile(`^\[(-?[0-9]{1,9})\]`)
	named   = regexp.MustCompile(`^\[(?:'([^'\\]*)'|"([^"\\]*)")\]`)
)

// bracket reads what a text begins with; n is how much of it that is.
func bracket(text string) (n int, key any, ok bool) {
	if m := indexed.FindStringSubmatch(text); m != nil {
		i, err := strconv.Atoi(m[1])
		return len(m[0]), i, err == nil
	}
	if m := named.FindStringSubmatch(text); m != nil {
		return len(m[0]), m[1] + m[2], true
	}
	n = strings.IndexByte(text, ']') + 1
	if n == 0 {
		n = len(text)
	}
	return n, nil, false
}

// A Wanted is what a request keeps of its answer.
type Wanted struct{ captors []captor }

// Body reports whether it is looked for in the body.
func (w *Wanted) Body() bool {
	for _, c := range w.captors {
		if c.header == "" {
			return true
		}
	}
	return false
}

// Names are the names under which it is kept.
func (w *Wanted) Names() []string {
	var names []string
	for _, c := range w.captors {
		names = append(names, c.name)
	}
	return names
}

// From finds all that is wanted in an answer. An error says what is not there.
func (w *Wanted) From(header http.Header, body []byte) (map[string]string, error) {
	if len(w.captors) == 0 {
		return nil, nil
	}
	found := make(map[string]string, len(w.captors))
	for _, c := range w.captors {
		v, err := c.find(header, body)
		if err != nil {
			return nil, fmt.Errorf("capture %s: %w", c.name, err)
		}
		found[c.name] = v
	}
	return found, nil
}

func (c *captor) find(header http.Header, body []byte) (string, error) {
	var text string
	switch {
	case c.header != "":
		text = header.Get(c.header)
	case c.path != nil:
		var err error
		if text, err = lookUp(body, c.path); err != nil {
			return "", err
		}
	default:
		text = string(body)
	}
	if c.match != nil {
		m := c.match.FindStringSubmatch(text)
		if m == nil {
			return "", errors.New("no match")
		}
		text = m[len(m)-1]
	}
	switch {
	case text == "":
		return "", errors.New("nothing there")
	case len(text) > MaxCaptured:
		return "", fmt.Errorf("%d bytes; at most %d are kept", len(text), MaxCaptured)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", errors.New("not printable text") // it would break a request into two
	}
	return strings.Clone(text), nil // not the whole body
}

// lookUp finds a text, a number or a boolean in JSON.
func lookUp(body []byte, path []any) (string, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var at any
	if err := d.Decode(&at); err != nil {
		return "", fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("not JSON: something comes after it")
	}
	for _, key := range path {
		switch in := at.(type) {
		case map[string]any:
			name, isName := key.(string)
			v, ok := in[name]
			if !isName || !ok {
				return "", fmt.Errorf("no %v in an object", key)
			}
			at = v
		case []any:
			i, ok := key.(int)
			if i < 0 {
				i += len(in)
			}
			if !ok || i < 0 || i >= len(in) {
				return "", fmt.Errorf("no %v in a list of %d", key, len(in))
			}
			at = in[i]
		default:
			return "", fmt.Errorf("no %v: neither object nor list", key)
		}
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("neither a text nor a number nor a boolean")
}
