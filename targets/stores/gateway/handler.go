package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	maxValue    = 64 << 10 // bytes of a value
	maxKey      = 200      // bytes of a key
	maxInFlight = 512      // requests to the store at once; more are refused, since a store that hangs holds each for the whole limit
	logEvery    = time.Second
	readyLimit  = 5 * time.Second // for all that /readyz asks
)

// Headers of the answers.
const (
	HeaderNode    = "X-Node"    // the node that answers for the store, where known
	HeaderOutcome = "X-Outcome" // of a write that failed: not-done or unknown
)

type handler struct {
	store Store
	limit time.Duration
	log   *slog.Logger
	slots chan struct{}

	mu     sync.Mutex
	failed int       // writes since the last line about them
	logged time.Time // when that was
}

// Handler serves a store. No request to it takes longer than limit.
func Handler(s Store, limit time.Duration, log *slog.Logger) http.Handler {
	h := &handler{store: s, limit: limit, log: log, slots: make(chan struct{}, maxInFlight)}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /kv/{key}", h.bounded(h.put))
	mux.HandleFunc("GET /kv/{key}", h.bounded(h.get))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
	return mux
}

// bounded refuses a request with a key that no store would take, and one too many.
func (h *handler) bounded(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !validKey(r.PathValue("key")) {
			http.Error(w, fmt.Sprintf("a key is 1 to %d of the characters a-z A-Z 0-9 - _", maxKey), http.StatusBadRequest)
			return
		}
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
			serve(w, r)
		default:
			refuse(w, NotDone(fmt.Errorf("%d requests wait for the store already", maxInFlight)), r.Method == http.MethodPut)
		}
	}
}

// validKey keeps to what is a key in every store: no slash, no dot, nothing to escape.
func validKey(key string) bool {
	if key == "" || len(key) > maxKey {
		return false
	}
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func (h *handler) put(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
	if err != nil {
		status := http.StatusBadRequest
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			status = http.StatusRequestEntityTooLarge
		}
		w.Header().Set(HeaderOutcome, "not-done")
		http.Error(w, "read the value: "+err.Error(), status)
		return
	}
	// Not the request's own context: a client that goes away ends no write half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.limit)
	defer cancel()
	node, err := h.store.Put(ctx, r.PathValue("key"), value)
	h.note(err)
	if err != nil {
		refuse(w, err, true)
		return
	}
	nodeHeader(w, node)
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.limit)
	defer cancel()
	value, node, err := h.store.Get(ctx, r.PathValue("key"))
	switch {
	case errors.Is(err, ErrNotFound):
		nodeHeader(w, node)
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		refuse(w, err, false)
	default:
		nodeHeader(w, node)
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(value)
	}
}

func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
	defer cancel()
	if err := h.store.Ready(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if _, err := h.store.Put(ctx, ReadyKey, []byte(ReadyKey)); err != nil {
		http.Error(w, "write the key "+ReadyKey+": "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// refuse answers a request whose error is not about the key.
func refuse(w http.ResponseWriter, err error, write bool) {
	status, outcome := http.StatusBadGateway, "unknown"
	switch {
	case IsNotDone(err):
		status, outcome = http.StatusServiceUnavailable, "not-done"
	case errors.Is(err, context.DeadlineExceeded):
		status = http.StatusGatewayTimeout
	}
	if write {
		w.Header().Set(HeaderOutcome, outcome)
	}
	http.Error(w, err.Error(), status)
}

func nodeHeader(w http.ResponseWriter, node string) {
	if node != "" {
		w.Header().Set(HeaderNode, node)
	}
}

// note logs that writes fail and that they are acknowledged again, each at most once in logEvery.
func (h *handler) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.failed++
	}
	if h.failed == 0 || time.Since(h.logged) < logEvery {
		return
	}
	h.logged = time.Now()
	if err != nil {
		h.log.Warn("writes fail", "since", h.failed, "not-done", IsNotDone(err), "err", err)
	} else {
		h.log.Info("writes are acknowledged again", "failed", h.failed)
	}
	h.failed = 0
}
