package httpload

import (
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// clients are those whose sessions are under way. What is known of a client is forgotten with its
// last step, so that there are never more than a session lasts.
type clients struct {
	mu   sync.Mutex
	open map[uint64]*client
}

// A client is one session: its steps in order, its cookies, and what it captured.
type client struct {
	jar jar

	// Guarded by clients.mu.
	ended []bool        // by step
	left  int           // steps that have not ended
	held  map[int]claim // steps that came before those ahead of them had ended

	mu       sync.Mutex
	captured map[string]string
	lost     map[string]record.Class // what could not be captured, and why
}

// join returns the client whose turn it is, nil for a request that belongs to no session. Each step calls it
// once, in any order, and then begin.
func (s *clients) join(t load.Turn) *client {
	if t.Steps == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.open[t.Client]; c != nil {
		return c
	}
	c := &client{
		ended: make([]bool, t.Steps), left: t.Steps,
		captured: make(map[string]string), lost: make(map[string]record.Class),
	}
	if s.open == nil {
		s.open = make(map[uint64]*client)
	}
	s.open[t.Client] = c
	return c
}

// begin reports whether a step may go now. If not, it is held until those before it have ended: leave of the last of them returns
// it. So a step that waits takes up nobody's time, and no connection. A step that may go calls leave in the end.
func (s *clients) begin(c *client, t load.Turn, of claim) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.may(t.Step) {
		return true
	}
	if c.held == nil {
		c.held = make(map[int]claim)
	}
	c.held[t.Step] = of
	return false
}

// may reports whether all steps before this one have ended. The clients' lock is held.
func (c *client) may(step int) bool { return !slices.Contains(c.ended[:step], false) }

// leave ends a step, and returns the one that was held for it.
func (s *clients) leave(c *client, t load.Turn) (next claim, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ended[t.Step] = true
	if c.left--; c.left == 0 {
		delete(s.open, t.Client)
	}
	for step, of := range c.held {
		if c.may(step) {
			delete(c.held, step)
			return of, true
		}
	}
	return claim{}, false
}

// has returns all that was captured; or the class of the step that should have captured what is lacking.
func (c *client) has(names []string) (captured map[string]string, lost record.Class, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if _, ok := c.captured[name]; !ok {
			return nil, c.lost[name], false
		}
	}
	return maps.Clone(c.captured), 0, true
}

// keep takes note of what a step captured, or why it did not. A value captured earlier stays if a later
// step fails to capture it anew.
func (c *client) keep(names []string, found map[string]string, class record.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if v, ok := found[name]; ok {
			c.captured[name] = v
		} else {
			c.lost[name] = class
		}
	}
}

// Limits on what a target can make a client remember. They are at or above what a browser must keep
// (RFC 6265, 6.1), but for the sum.
const (
	maxCookie  = 4 << 10  // bytes of one, its attributes included
	maxCookies = 16 << 10 // bytes of all
)

// A jar keeps a client's cookies as a browser does. Its zero value is empty.
type jar struct {
	mu      sync.Mutex
	cookies *cookiejar.Jar
	sizes   map[string]int
	size    int
}

// set keeps an answer's cookies; those beyond the limits are dropped.
func (j *jar) set(u *url.URL, header http.Header) {
	got := (&http.Response{Header: header}).Cookies()
	if len(got) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cookies == nil {
		j.cookies, _ = cookiejar.New(nil) // never fails
		j.sizes = make(map[string]int)
	}
	for _, c := range got {
		id := c.Name + "\n" + c.Domain + "\n" + c.Path
		n := len(c.Raw)
		if n > maxCookie || j.size-j.sizes[id]+n > maxCookies {
			continue
		}
		j.size += n - j.sizes[id]
		j.sizes[id] = n
		j.cookies.SetCookies(u, []*http.Cookie{c})
	}
}

// add returns the header with the cookies for u in it; the same one if there are none.
func (j *jar) add(u *url.URL, header http.Header) http.Header {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cookies == nil {
		return header
	}
	all := j.cookies.Cookies(u)
	if len(all) == 0 {
		return header
	}
	r := &http.Request{Header: header.Clone()}
	for _, c := range all {
		r.AddCookie(c)
	}
	return r.Header
}

// cookieURL is where a message's cookies are from: a Host header of the user's goes before the address.
func cookieURL(m load.Message) *url.URL {
	if m.Host == "" {
		return m.URL
	}
	u := *m.URL
	u.Host = m.Host
	return &u
}
