package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxWaiting bounds the requests that wait for their turn at a node.
const maxWaiting = 20_000

var errBusy = errors.New("too many requests wait")

// turns lets so many requests work at once; the others wait, in order. Its zero value lets all.
type turns struct {
	once    sync.Once
	slots   chan struct{}
	waiting chan struct{}
}

// take waits for a turn, however long, and returns what gives it back. Who waits does not notice that his client has
// gone: that is how most programs are, and what makes a retry cost as much as the request that it repeats.
func (t *turns) take(n int) (done func(), err error) {
	if n <= 0 {
		return func() {}, nil
	}
	t.once.Do(func() { t.slots, t.waiting = make(chan struct{}, n), make(chan struct{}, maxWaiting) })
	select {
	case t.waiting <- struct{}{}:
	default:
		return nil, errBusy
	}
	t.slots <- struct{}{}
	<-t.waiting
	return func() { <-t.slots }, nil
}

// A Dependency is what a node asks before it answers. The zero value is none.
type Dependency struct {
	URL     string        // asked with GET; "" is none
	Limit   int           // requests that ask it at once; one more is turned away. 0: all may
	Timeout time.Duration // of asking it

	once   sync.Once
	client *http.Client
	asking chan struct{}
}

var errDependency = errors.New("the dependency is not to be had")

// ask asks the dependency, and says why there is no good answer.
func (d *Dependency) ask(ctx context.Context) error {
	if d.URL == "" {
		return nil
	}
	d.once.Do(func() {
		d.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}
		d.asking = make(chan struct{}, max(d.Limit, 1))
	})
	if d.Limit > 0 {
		select {
		case d.asking <- struct{}{}:
			defer func() { <-d.asking }()
		default:
			return fmt.Errorf("%w: %d ask it already", errDependency, d.Limit)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errDependency, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return fmt.Errorf("%w: %w", errDependency, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: it answers %d", errDependency, resp.StatusCode)
	}
	return nil
}

// leak is memory that is never given back.
type leak struct {
	mu   sync.Mutex
	kept [][]byte
}

// more keeps so many bytes more. They are written to, so that they are memory and not a promise.
func (l *leak) more(bytes int) {
	if bytes <= 0 {
		return
	}
	b := make([]byte, bytes)
	for i := 0; i < len(b); i += 1024 {
		b[i] = 1
	}
	l.mu.Lock()
	l.kept = append(l.kept, b)
	l.mu.Unlock()
}
