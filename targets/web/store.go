package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Limits on what a store takes.
const (
	maxValue = 64 << 10 // bytes of a value, and of a key
	maxKeys  = 1 << 20
)

// A store keeps values by key in memory and, if it has one, in a file that only grows; from that it starts. Its defects are
// planted: a client cannot tell them from those of a real store.
type store struct {
	late  time.Duration // values are kept so long after they were acknowledged
	stale time.Duration // reads see what was there so long ago
	every uint64        // every n-th write is acknowledged and never kept; 0 is none
	twice uint64        // every n-th write is kept twice over; 0 is none
	told  func(what, key, value string)

	mu      sync.Mutex
	file    *os.File
	size    int64 // bytes of it, all of them whole lines
	keys    map[string][]version
	writes  uint64
	closed  bool
	pending map[*time.Timer]bool // writes that are acknowledged and not kept yet
}

// A version is a value, and since when it is kept.
type version struct {
	value string
	since time.Time
}

// open reads the file and goes on in it; "" is memory alone.
func (s *store) open(path string) error {
	s.keys, s.pending = make(map[string][]version), make(map[*time.Timer]bool)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			// Half a line was never acknowledged, and the next one would become a part of it.
			if err = f.Truncate(s.size); err == nil {
				s.file = f
				return nil
			}
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read the store: %w", err), f.Close())
		}
		s.size += int64(len(line))
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok {
			s.keys[key] = []version{{value: value}}
		}
	}
}

// put acknowledges a value by returning nil, and keeps it as its defects say.
func (s *store) put(key, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.keys[key]; !there && len(s.keys) >= maxKeys {
		return errors.New("the store is full")
	}
	s.writes++
	kept := value
	if s.twice > 0 && s.writes%s.twice == 0 {
		s.told("doubled on purpose", key, value)
		kept = value + "," + value
	}
	switch {
	case s.every > 0 && s.writes%s.every == 0:
		s.told("forgotten on purpose", key, value)
	case s.late > 0:
		s.told("acknowledged", key, value)
		var t *time.Timer
		t = time.AfterFunc(s.late, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if delete(s.pending, t); !s.closed {
				_ = s.keep(key, kept) // nobody is there any more to be told
				s.told("kept", key, value)
			}
		})
		s.pending[t] = true
	default:
		return s.keep(key, kept)
	}
	return nil
}

// keep writes a value down. The caller holds the lock.
func (s *store) keep(key, value string) error {
	if s.file != nil {
		line := key + " " + value + "\n"
		if n, err := s.file.WriteString(line); err != nil {
			err = fmt.Errorf("the store cannot be written: %w", err)
			if n > 0 { // half a line would make the next one a part of it
				err = errors.Join(err, s.file.Truncate(s.size))
			}
			return err
		}
		s.size += int64(len(line))
	}
	now := time.Now()
	all := append(s.keys[key], version{value, now})
	// Of those that are old enough for every reader, the newest is the one that is seen.
	for len(all) > 1 && !all[1].since.After(now.Add(-s.stale)) {
		all = all[1:]
	}
	s.keys[key] = all
	return nil
}

func (s *store) get(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, then := s.keys[key], time.Now().Add(-s.stale)
	for i := len(all) - 1; i >= 0; i-- {
		if !all[i].since.After(then) {
			return all[i].value, true
		}
	}
	return "", false
}

// close ends the store. What is pending is lost: it was acknowledged too early.
func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for t := range s.pending {
		t.Stop()
	}
	if s.file != nil {
		_ = s.file.Close() // what was to be kept has been written
		s.file = nil
	}
}

// openStore opens the node's store, if it has one.
func (n *Node) openStore() error {
	if n.Store == "" {
		return nil
	}
	log := orSilent(n.Log)
	n.store = &store{
		late: n.StoreLate, stale: n.StoreStale, every: n.StoreForget, twice: n.StoreTwice,
		told: func(what, key, value string) { log.Info(what, "key", key, "value", value) },
	}
	path := n.Store
	if path == "memory" {
		path = ""
	}
	return n.store.open(path)
}

// keyValue answers for /kv/KEY: PUT keeps the body, GET has it.
func (n *Node) keyValue(w http.ResponseWriter, r *http.Request) {
	number, reset := n.arrive(r)
	if reset {
		orSilent(n.Log).Info("reset on purpose", "request", number)
		resetConnection(w)
		return
	}
	ctx := r.Context()
	err := errors.Join(n.hold(ctx), pause(ctx, n.delay(number)))
	n.mu.Lock()
	if err == nil {
		n.truth.OK++
	} else {
		n.truth.Gone++
	}
	n.mu.Unlock()
	if err != nil {
		return // nobody to tell
	}
	w.Header().Set(HeaderNode, n.Name)
	key := strings.TrimPrefix(r.URL.Path, "/kv/")
	switch r.Method {
	case http.MethodPut:
		b, err := io.ReadAll(io.LimitReader(r.Body, maxValue+1))
		value := string(b)
		if err != nil || key == "" || len(key)+len(value) > maxValue || strings.ContainsAny(key, " \n") || strings.Contains(value, "\n") {
			http.Error(w, "a key and a value on one line, please", http.StatusBadRequest)
			return
		}
		if err := n.store.put(key, value); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet:
		value, ok := n.store.get(key)
		if !ok {
			http.Error(w, "no such key", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, value) // the client has gone: nobody to tell
	default:
		http.Error(w, "PUT and GET are known here", http.StatusMethodNotAllowed)
	}
}
