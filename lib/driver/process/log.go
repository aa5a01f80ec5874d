package process

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"unicode"
)

const (
	maxLog  = 1 << 20 // bytes of a node's log that are kept: the first and the last half
	maxTail = 8 << 10 // bytes of output that an error may quote
)

// A nodeLog keeps the first and the last part of what a node prints, over all
// its lives. The first part is on the disk at once, the last when the log is closed.
type nodeLog struct {
	mu    sync.Mutex
	file  *os.File // nil: only the end is kept, for errors
	wrote int
	total int
	last  []byte // ring
	next  int    // where the ring goes on
	full  bool
	err   error
}

func newLog(file string) (*nodeLog, error) {
	if file == "" {
		return &nodeLog{last: make([]byte, maxTail)}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("keep a node's log: %w", err)
	}
	return &nodeLog{file: f, last: make([]byte, maxLog/2)}, nil
}

// Write never fails, so that a full disk does not stop a node; close tells.
func (l *nodeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	l.total += n
	if l.file != nil && l.wrote < maxLog/2 {
		first := p[:min(len(p), maxLog/2-l.wrote)]
		if _, err := l.file.Write(first); err != nil && l.err == nil {
			l.err = err
		}
		l.wrote += len(first)
	}
	for len(p) > 0 {
		k := copy(l.last[l.next:], p)
		p = p[k:]
		l.next += k
		if l.next == len(l.last) {
			l.next, l.full = 0, true
		}
	}
	return n, nil
}

// ring returns the last bytes in order.
func (l *nodeLog) ring() []byte {
	if !l.full {
		return append([]byte(nil), l.last[:l.next]...)
	}
	return append(append([]byte(nil), l.last[l.next:]...), l.last[:l.next]...)
}

// end returns the end of the log, safe to print.
func (l *nodeLog) end() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return printable(tail(l.ring(), maxTail))
}

// close writes the last part. It may be called twice.
func (l *nodeLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	if rest := l.total - l.wrote; rest > 0 {
		last := tail(l.ring(), rest)
		if cut := rest - len(last); cut > 0 {
			_, err := fmt.Fprintf(l.file, "\n… %d bytes are left out here: the log was longer than %d bytes …\n", cut, maxLog)
			l.keep(err)
		}
		_, err := l.file.Write(last)
		l.keep(err)
	}
	l.keep(l.file.Close())
	l.file = nil
	return l.err
}

func (l *nodeLog) keep(err error) {
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("keep a node's log: %w", err)
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// printable drops what a terminal would obey: a node's output is not to be trusted.
func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(b)))
}
