package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

const (
	logLimit    = 1 << 20 // of each node's log
	logPatience = 3 * time.Second
	lastLines   = 20
)

// logs keeps each node's output in a file of its own.
type logs struct {
	api api
	dir string // "": none are kept
	say func(string)

	ctx    context.Context //nolint:containedctx // ends every follower; they outlive the call that starts them
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	files  map[string]*logFile
	closed bool
}

func openLogs(a api, dir string, say func(string)) (*logs, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("keep the nodes' logs: %w", err)
		}
	}
	l := &logs{api: a, dir: dir, say: say, files: make(map[string]*logFile)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// started follows a node's output from a start on. The engine ends the stream when
// the container ends, so every start has its own follower; they write in turn.
func (l *logs) started(node, id string) {
	if l.dir == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	f, again := l.files[node]
	if !again {
		f = &logFile{path: filepath.Join(l.dir, node+".log")}
		l.files[node] = f
	}
	since := f.since
	before := f.follower
	mine := make(chan struct{})
	f.follower = mine
	l.all.Add(1)
	go func() {
		defer l.all.Done()
		defer close(mine)
		if before != nil {
			select {
			case <-before:
			case <-l.ctx.Done():
				return
			}
		}
		if err := l.follow(f, id, since); err != nil && l.ctx.Err() == nil {
			l.say(fmt.Sprintf("the log of %s is incomplete: %v", node, err))
		}
	}()
}

// ended remembers where the next start's output begins. Its event "start" comes too
// late for that: the process may have written by then.
func (l *logs) ended(node string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.files[node]; ok {
		f.since = stamp(at.Add(time.Nanosecond))
	}
}

func (l *logs) follow(f *logFile, id, since string) error {
	body, err := l.api.ContainerLogs(l.ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true, Since: since})
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = stdcopy.StdCopy(f, f, body)
	return err
}

// close waits a little for the followers, whose containers have ended, and writes the
// ends of the logs.
func (l *logs) close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.mu.Unlock()
	done := make(chan struct{})
	go func() { l.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(logPatience):
	}
	l.cancel()
	<-done
	for node, f := range l.files {
		if err := f.close(); err != nil {
			l.say(fmt.Sprintf("the log of %s is incomplete: %v", node, err))
		}
	}
}

// logFile keeps the first and the last half of logLimit.
type logFile struct {
	path     string
	follower chan struct{} // closed when the last follower has ended
	since    string        // where the next follower begins; "": at the beginning

	mu   sync.Mutex
	file *os.File
	head int
	tail []byte // a ring, once full
	next int    // where the ring is written next
	cut  int64
	err  error
}

// Write never fails: a full disk must not stop a trial. The error is told at the end.
func (f *logFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(b)
	if f.err != nil {
		return n, nil
	}
	if f.file == nil {
		if f.file, f.err = os.Create(f.path); f.err != nil {
			return n, nil
		}
	}
	if room := logLimit/2 - f.head; room > 0 {
		first := b[:min(room, len(b))]
		var wrote int
		wrote, f.err = f.file.Write(first)
		f.head += wrote
		b = b[len(first):]
	}
	f.keep(b)
	return n, nil
}

// keep puts bytes into the ring.
func (f *logFile) keep(b []byte) {
	if room := logLimit/2 - len(f.tail); room > 0 {
		first := b[:min(room, len(b))]
		f.tail = append(f.tail, first...)
		b = b[len(first):]
	}
	f.cut += int64(len(b))
	if over := len(b) - logLimit/2; over > 0 {
		b = b[over:]
	}
	for len(b) > 0 {
		n := copy(f.tail[f.next:], b)
		f.next = (f.next + n) % len(f.tail)
		b = b[n:]
	}
}

func (f *logFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return f.err
	}
	var end bytes.Buffer
	if f.cut > 0 {
		fmt.Fprintf(&end, "\n[tutti: %d bytes cut here]\n", f.cut)
	}
	end.Write(f.tail[f.next:])
	end.Write(f.tail[:f.next])
	_, err := f.file.Write(end.Bytes())
	return errors.Join(f.err, err, f.file.Close())
}

// lastWords is the end of a container's output, for an error message; "" if it said nothing.
func (c *cluster) lastWords(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	body, err := c.d.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(lastLines)})
	if err != nil {
		return ""
	}
	defer body.Close()
	var words tail
	_, _ = stdcopy.StdCopy(&words, &words, io.LimitReader(body, logLimit))
	text := strings.TrimSpace(printable(words.String()))
	if text == "" {
		return "; it wrote nothing"
	}
	return "; it wrote last:\n  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// printable removes what could steer a terminal: text from targets is not to be trusted.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s))
}
