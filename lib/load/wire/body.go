package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// A form is a way in which a body shows its end.
type form uint8

const (
	none form = iota
	counted
	inChunks
	untilClosed
)

const (
	// What is left of a body that is closed early is read for the connection's sake,
	// if it is not more than drainMost bytes and comes within drainFor.
	drainMost = 64 << 10
	drainFor  = 50 * time.Millisecond

	maxChunkLine = 4 << 10  // bytes, with its extensions
	maxTrailer   = 16 << 10 // bytes
	maxExcess    = 16 << 10 // bytes of framing beyond 16 a chunk and twice the data
)

// A body reads from the connection and hands it back at its end. It is safe to close it while
// it is read, which breaks the read off.
type body struct {
	form form
	keep bool   // whether the connection can be used after it
	turn uint64 // of the exchange
	stop func() bool
	resp *http.Response // for the trailer

	of *conn // to break it off, whoever has it now

	mu     sync.Mutex
	c      *conn // nil once it is handed back
	left   int64 // counted, inChunks: bytes of the body or of the chunk
	begun  bool  // inChunks: a chunk came
	excess int64 // inChunks: see maxExcess
	err    error // what Read returns from now on
}

// Read reads some of the body. With the last byte it returns io.EOF, where it is known to be the last.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	if err != nil {
		b.end(err)
		err = b.err
	}
	return n, err
}

// read returns io.EOF at the body's end, and never because the connection ended before it.
func (b *body) read(p []byte) (n int, err error) {
	switch b.form {
	case counted:
		n, err = b.some(p)
		if err == nil && b.left == 0 {
			err = io.EOF
		}
	case inChunks:
		if b.left == 0 {
			if err = b.nextChunk(); err != nil {
				return 0, err
			}
		}
		n, err = b.some(p)
		if err == nil && b.left == 0 {
			err = b.chunkEnd(n)
		}
	case untilClosed:
		n, err = b.c.pull(p)
	case none:
		err = io.EOF
	}
	return n, err
}

// some reads at most what is left.
func (b *body) some(p []byte) (int, error) {
	n, err := b.c.pull(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// pull reads what is buffered, or else past the buffer.
func (c *conn) pull(p []byte) (int, error) {
	if c.r < c.w {
		n := copy(p, c.buf[c.r:c.w])
		c.r += n
		return n, nil
	}
	if len(p) >= len(c.buf) {
		return c.read(p)
	}
	if err := c.fill(len(c.buf)); err != nil {
		return 0, err
	}
	return c.pull(p)
}

// line reads a line of at most that many bytes, and returns it with its end. It is valid until the next read.
func (c *conn) line(most int) ([]byte, error) {
	for at := 0; ; {
		have := c.buf[c.r:c.w]
		if i := bytes.IndexByte(have[at:], '\n'); i >= 0 {
			line := have[:at+i+1]
			if len(line) > most {
				return nil, protocolError("line of a chunked body beyond the limit")
			}
			c.r += len(line)
			return line, nil
		}
		if at = len(have); at >= most {
			return nil, protocolError("line of a chunked body beyond the limit")
		}
		if err := c.fill(max(most, len(c.buf))); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// chunkLine reads a line of the framing. Unlike in a header, its end must be CR LF.
func (b *body) chunkLine() ([]byte, error) {
	line, err := b.c.line(maxChunkLine)
	if err != nil {
		return nil, err
	}
	if i := bytes.IndexByte(line, '\r'); i < 0 || i != len(line)-2 {
		return nil, malformed("bad end of a line in a chunked body", line)
	}
	return line[:len(line)-2], nil
}

// nextChunk reads a chunk's head, and the end of the one before it if that is still to come. After the last chunk
// and the trailer it returns io.EOF.
func (b *body) nextChunk() error {
	if b.begun {
		line, err := b.chunkLine()
		if err != nil {
			return err
		}
		if len(line) > 0 {
			return malformed("chunk longer than announced", line)
		}
	}
	line, err := b.chunkLine()
	if err != nil {
		return err
	}
	size := line
	if i := bytes.IndexByte(size, ';'); i >= 0 {
		size = size[:i]
	}
	if size = bytes.TrimRight(size, " \t"); len(size) == 0 || len(size) > 15 { // 60 bits
		return malformed("bad size of a chunk", line)
	}
	n := int64(0)
	for _, d := range size {
		v := hex(d)
		if v < 0 {
			return malformed("bad size of a chunk", line)
		}
		n = n<<4 | v
	}
	b.begun = true
	if b.excess = max(0, b.excess+int64(len(line))+2-16-2*n); b.excess > maxExcess {
		return protocolError("chunked body with too little in its chunks")
	}
	if n == 0 {
		return b.trailer()
	}
	b.left = n
	return nil
}

// chunkEnd reads on from a chunk's end as far as that needs no waiting, so that a reader learns of the body's end
// with its last byte. N bytes have been read and are to be returned.
func (b *body) chunkEnd(n int) error {
	// "\r\n0\r\n\r\n": anything else is left to the next read.
	const last = "\r\n0\r\n\r\n"
	if n > 0 && b.c.w-b.c.r >= len(last) && string(b.c.buf[b.c.r:b.c.r+len(last)]) == last {
		b.c.r += len(last)
		return io.EOF
	}
	return nil
}

func (b *body) trailer() error {
	var text []byte
	lines := 0
	for {
		line, err := b.c.line(maxTrailer - len(text))
		if err != nil {
			return err
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return malformed("bad end of a line in a trailer", line)
		}
		text = append(text, line...)
		if len(line) == len("\r\n") {
			break
		}
		lines++
	}
	if lines == 0 {
		return io.EOF
	}
	h, err := fields(string(text), lines)
	if err != nil {
		return err
	}
	if b.resp.Trailer == nil {
		b.resp.Trailer = make(http.Header, len(h))
	}
	for name, values := range h {
		b.resp.Trailer[name] = values
	}
	return io.EOF
}

func hex(d byte) int64 {
	switch {
	case digit(d):
		return int64(d - '0')
	case 'a' <= d && d <= 'f':
		return int64(d-'a') + 10
	case 'A' <= d && d <= 'F':
		return int64(d-'A') + 10
	}
	return -1
}

// Close ends the exchange. What is left of a short body is read, so that the connection can be used again.
func (b *body) Close() error {
	if !b.mu.TryLock() {
		// Someone reads, and may wait for long. If the exchange ends meanwhile, this does nothing.
		b.of.breakOff(b.turn)
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.c != nil {
		b.end(b.drain())
	}
	if b.err == nil || errors.Is(b.err, io.EOF) {
		b.err = http.ErrBodyReadAfterClose
	}
	return nil
}

// drain reads what is left, within bounds, and returns io.EOF if it came to the end.
func (b *body) drain() error {
	if !b.keep || b.form == untilClosed || b.form == counted && b.left > drainMost {
		return errUnread
	}
	b.c.limit = min(b.c.limit, b.c.now()+drainFor)
	b.c.arm(b.c.now())
	var scratch [2 << 10]byte
	for total := 0; total <= drainMost; {
		n, err := b.read(scratch[:])
		total += n
		if err != nil {
			return err
		}
	}
	return errUnread
}

var errUnread = errors.New("body closed before its end")

// end hands the connection back. Whatever is read from now on is err.
func (b *body) end(err error) {
	c := b.c
	if c == nil {
		return
	}
	b.c = nil
	quiet := b.stop == nil || b.stop()
	if errors.Is(err, io.EOF) {
		b.err = io.EOF
		c.pool.finish(c, b.keep && quiet, nil)
		return
	}
	if err == errUnread { //nolint:errorlint // ours, and never wrapped
		c.pool.finish(c, false, nil)
		return
	}
	e := c.failure(b.resp.Request.Context(), doingRead, err, true)
	b.err = e
	c.pool.finish(c, false, e)
}
