package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// What -sessions takes beside a folder.
const (
	sessionsWithClient = "client"
	sessionsInMemory   = "memory"
)

// maxSessions is how many sessions a node keeps in memory; there are no more.
const maxSessions = 100_000

// saveEvery is how often a node that acknowledges early looks for what is due to be stored.
const saveEvery = 50 * time.Millisecond

var (
	errUnknownSession = errors.New("no such session")
	errSessions       = errors.New("there are too many sessions")
)

// Sessions is where a node keeps what its clients' sessions are. PUT /session/ID/0 begins one, and any other step of it,
// PUT /session/ID/n, is answered with 409 by a node that does not know it. The zero value keeps them with the client, as a
// signed cookie does: every step is known everywhere.
type Sessions struct {
	InMemory bool          // in the node's memory, and nowhere else
	Dir      string        // in a folder, which nodes may share
	Late     time.Duration // they are stored in Dir this much after the answer; until then they are in memory

	mu    sync.Mutex
	known map[string]time.Time // in memory: when it is due to be stored
}

// step does one step of a session, and says why it cannot.
func (s *Sessions) step(id, step string) error {
	if !s.InMemory && s.Dir == "" {
		return nil
	}
	if step == "0" {
		return s.begin(id)
	}
	s.mu.Lock()
	_, here := s.known[id]
	s.mu.Unlock()
	if here {
		return nil
	}
	if s.Dir != "" {
		_, err := os.Stat(filepath.Join(s.Dir, id))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errUnknownSession
}

func (s *Sessions) begin(id string) error {
	if s.Dir != "" && s.Late == 0 {
		return s.save(id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxSessions {
		return errSessions
	}
	if s.known == nil {
		s.known = make(map[string]time.Time)
	}
	s.known[id] = time.Now().Add(s.Late)
	return nil
}

func (s *Sessions) save(id string) error {
	return os.WriteFile(filepath.Join(s.Dir, id), nil, 0o600)
}

// run stores what was acknowledged early, until ctx ends, and then the rest: an orderly end loses nothing.
func (s *Sessions) run(ctx context.Context) error {
	if s.Dir == "" || s.Late == 0 {
		return nil
	}
	every := time.NewTicker(saveEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.saveDue(time.Now().Add(s.Late))
		case now := <-every.C:
			if err := s.saveDue(now); err != nil {
				return err
			}
		}
	}
}

// saveDue stores what is due at a time.
func (s *Sessions) saveDue(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, due := range s.known {
		if due.After(now) {
			continue
		}
		if err := s.save(id); err != nil {
			return fmt.Errorf("store a session: %w", err)
		}
		delete(s.known, id)
	}
	return nil
}

// set reads what -sessions says.
func (s *Sessions) set(where string) {
	switch where {
	case "", sessionsWithClient:
	case sessionsInMemory:
		s.InMemory = true
	default:
		s.Dir = where
	}
}

// sessionOf finds a session and its step in a request for /session/ID/STEP. An ID is letters, digits and dashes: it
// becomes the name of a file.
func sessionOf(r *http.Request) (id, step string, ok bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/session/")
	if !ok {
		return "", "", false
	}
	id, step, ok = strings.Cut(rest, "/")
	if !ok || id == "" || len(id) > 64 || step == "" || strings.ContainsFunc(id, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return "", "", false
	}
	return id, step, true
}
