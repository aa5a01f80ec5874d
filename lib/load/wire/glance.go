package wire

import "bytes"

// A glimpse is what an answer's head says, as far as reading it takes.
type glimpse struct {
	status  int
	length  int64 // of the body, -1 if it is in chunks
	chunked bool
}

// glance reads a whole head of the usual kind where it lies: HTTP/1.1, a final status, and of the fields that say how the body
// ends one Content-Length or one Transfer-Encoding: chunked. It reports false for any other, be it good or bad, which
// then has to be read with care. What it takes is read the same by both, which a fuzz test holds.
func glance(head []byte, ofHEAD bool) (g glimpse, ok bool) {
	// "HTTP/1.1 NNN" and then an end, or a space and a reason.
	const least = len("HTTP/1.1 200")
	if len(head) < least+1 || string(head[:9]) != "HTTP/1.1 " {
		return g, false
	}
	for _, d := range head[9:least] {
		if !digit(d) {
			return g, false
		}
		g.status = g.status*10 + int(d-'0')
	}
	if g.status < 200 || g.status == 204 || g.status == 304 || ofHEAD {
		return g, false // no body, whatever the fields say
	}
	end := bytes.IndexByte(head, '\n')
	if line := chop(head[:end]); len(line) > least && (line[least] != ' ' || !allPrintable(line[least:])) {
		return g, false
	}
	g.length = -1
	for rest := head[end+1:]; ; rest = rest[end+1:] {
		if end = bytes.IndexByte(rest, '\n'); end < 0 {
			return g, false
		}
		line := chop(rest[:end])
		if len(line) == 0 {
			break
		}
		n := 0
		for n < len(line) && tokens[line[n]] {
			n++
		}
		if n == 0 || n == len(line) || line[n] != ':' || !allPrintable(line[n+1:]) {
			return g, false
		}
		if !g.field(line[:n], line[n+1:]) {
			return g, false
		}
	}
	return g, g.chunked != (g.length >= 0)
}

// field takes note of a field that says how the body ends. It reports false for what is not usual.
func (g *glimpse) field(name, value []byte) bool {
	switch len(name) {
	case len("Content-Length"):
		if !fold(name, "content-length") {
			return true
		}
		value = bytes.Trim(value, " \t")
		const most = 15 // digits; more may not fit
		if g.length >= 0 || g.chunked || len(value) == 0 || len(value) > most {
			return false
		}
		g.length = 0
		for _, d := range value {
			if !digit(d) {
				return false
			}
			g.length = g.length*10 + int64(d-'0')
		}
	case len("Transfer-Encoding"):
		if !fold(name, "transfer-encoding") {
			return true
		}
		if g.length >= 0 || g.chunked || !fold(bytes.Trim(value, " \t"), "chunked") {
			return false
		}
		g.chunked = true
	case len("Connection"):
		return !fold(name, "connection") || fold(bytes.Trim(value, " \t"), "keep-alive")
	case len("Trailer"):
		return !fold(name, "trailer")
	}
	return true
}

// chop cuts off the CR of a line's end.
func chop(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// fold reports whether a name is the one in lower case.
func fold(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}

// find returns a field's first value in a head that has been read, and false if it has no such field.
func find(head []byte, lower string) (value []byte, ok bool) {
	_, value, ok = after(head, lower)
	return value, ok
}

// after finds the next field of a name, and what comes after it.
func after(head []byte, lower string) (rest, value []byte, ok bool) {
	for {
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			return nil, nil, false
		}
		line := chop(head[:end])
		head = head[end+1:]
		if len(line) > len(lower) && line[len(lower)] == ':' && fold(line[:len(lower)], lower) {
			return head, bytes.Trim(line[len(lower)+1:], " \t"), true
		}
	}
}

// tokens are the characters of names (RFC 9110, 5.6.2).
var tokens = func() (t [256]bool) { //nolint:gochecknoglobals // a table
	for _, b := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[b] = true
	}
	return t
}()

// controls are the characters that no value has.
var controls = func() (t [256]bool) { //nolint:gochecknoglobals // a table
	for b := range 0x20 {
		t[b] = b != '\t'
	}
	t[0x7f] = true
	return t
}()

func allPrintable(b []byte) bool {
	for _, c := range b {
		if controls[c] {
			return false
		}
	}
	return true
}
