package loadtest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A session is a connection of HTTP/2. Frame by frame, because a server that is made not to break does not.
type session struct {
	s     *Server
	c     net.Conn
	count int               // requests so far
	last  uint32            // the last stream that was taken
	gone  bool              // it takes no more
	reads map[uint32]*inbox // whose bodies are not complete

	mu     sync.Mutex // of what is written
	frames *http2.Framer
	header bytes.Buffer
	hpack  *hpack.Encoder
	open   map[uint32]int // streams without an answer, and their numbers in the log
}

// An inbox is a request that is not complete.
type inbox struct {
	e     Entry
	head  bool // of method HEAD
	bytes bytes.Buffer
}

func (s *Server) serveHTTP2(c net.Conn) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	h := &session{s: s, c: c, frames: http2.NewFramer(c, c), reads: make(map[uint32]*inbox), open: make(map[uint32]int)}
	h.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.hpack = hpack.NewEncoder(&h.header)
	if h.write(func() error { return h.frames.WriteSettings() }) != nil {
		return
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	for {
		f, err := h.frames.ReadFrame()
		if err != nil {
			return
		}
		in, id := h.take(f)
		if in == nil {
			continue
		}
		number, status, at := h.note(in, id)
		if status == 0 {
			if !h.gone && h.breakOff(id) {
				return
			}
			continue
		}
		answers.Go(func() {
			s.wait(at)
			h.answer(id, number, status, in.head)
		})
	}
}

// take takes in a frame. It returns the request that is complete with it, or nil.
func (h *session) take(f http2.Frame) (complete *inbox, id uint32) {
	id = f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		in := &inbox{e: Entry{
			At: time.Now(), Method: f.PseudoValue("method"), Path: f.PseudoValue("path"), Host: f.PseudoValue("authority"),
			Header: make(http.Header), Reused: h.count > 0,
		}}
		in.head = in.e.Method == http.MethodHead
		for _, field := range f.RegularFields() {
			in.e.Header.Add(field.Name, field.Value)
		}
		h.count++
		if f.StreamEnded() || h.gone {
			return in, id // after GOAWAY the rest need not come
		}
		h.reads[id] = in
	case *http2.DataFrame:
		if n := f.Header().Length; n > 0 {
			_ = h.write(func() error { return h.frames.WriteWindowUpdate(0, n) })
		}
		in := h.reads[id]
		if in == nil {
			return nil, id
		}
		in.bytes.Write(f.Data())
		if f.StreamEnded() {
			delete(h.reads, id)
			in.e.Body = in.bytes.String()
			return in, id
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = h.write(func() error { return h.frames.WriteSettingsAck() })
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = h.write(func() error { return h.frames.WritePing(true, f.Data) })
		}
	}
	return nil, id
}

// note logs a request. After GOAWAY those that came too late for it are broken, and no others: their client waits. So for a request behind
// which a later stream was taken there is no GOAWAY: it would promise this one an answer.
func (h *session) note(in *inbox, id uint32) (number int, status code, at time.Time) {
	number, status = h.s.note(in.e)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		status = http.StatusOK
		if id > h.last {
			status = 0
		}
		h.s.settle(number, status)
	} else if status == 0 && h.s.Break == GoAway && id < h.last {
		status = http.StatusOK
		h.s.settle(number, status)
	}
	if status != 0 {
		h.last = max(h.last, id)
		h.open[id] = number
	}
	return number, status, in.e.At
}

// settle changes what has become of a request.
func (s *Server) settle(number int, status code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log[number].Status = int(status)
}

func (h *session) write(frame func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return frame()
}

// begin writes an answer's header. The lock is held.
func (h *session) begin(id uint32, status code, length int, end bool) error {
	h.header.Reset()
	for _, f := range [][2]string{{":status", strconv.Itoa(int(status))}, {"content-length", strconv.Itoa(length)}} {
		if err := h.hpack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	return h.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.header.Bytes(), EndHeaders: true, EndStream: end})
}

func (h *session) answer(id uint32, number int, status code, head bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.open[id]; !ok {
		return // broken meanwhile
	}
	delete(h.open, id)
	const body = "ok\n"
	err := h.begin(id, status, len(body), head)
	if err == nil && !head {
		err = h.frames.WriteData(id, true, []byte(body))
	}
	if err == nil {
		h.s.answered(number)
	}
}

// breakOff breaks a stream, and says whether its connection ends with it.
func (h *session) breakOff(id uint32) (over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	how := h.s.Break
	if how == ResetInMid || how == EndInMid || how == ResetStreamInMid {
		_ = h.begin(id, http.StatusOK, 100, false)
		_ = h.frames.WriteData(id, false, []byte("half"))
		time.Sleep(time.Millisecond) // else a reset overtakes what was written
	}
	switch how {
	case ResetStream, ResetStreamInMid:
		_ = h.frames.WriteRSTStream(id, http2.ErrCodeInternal)
		return false
	case RefuseStream:
		_ = h.frames.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		return false
	case Reset, End, ResetInMid, EndInMid: // with the connection, below
	case GoAway:
		h.gone = true
		for late, in := range h.reads {
			if late > h.last {
				delete(h.reads, late)
				number, _ := h.s.note(in.e)
				h.s.settle(number, 0)
			}
		}
		_ = h.frames.WriteGoAway(h.last, http2.ErrCodeNo, nil)
		return false
	}
	for other, number := range h.open {
		h.s.settle(number, 0)
		delete(h.open, other)
	}
	if how == Reset || how == ResetInMid {
		reset(h.c)
		return true
	}
	h.finish()
	return true
}

// finish sends the end and reads what still comes: to close with something unread would be a reset.
func (h *session) finish() {
	const patience = 10 * time.Second
	_ = h.c.SetDeadline(time.Now().Add(patience))
	c := h.c
	if t, ok := c.(interface {
		CloseWrite() error
		NetConn() net.Conn
	}); ok { // TLS
		_ = t.CloseWrite()
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, c)
}
