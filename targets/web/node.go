package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Headers of the answers.
const (
	HeaderNode     = "X-Node"     // the node that answered
	HeaderUpstream = "X-Upstream" // every node that the balancer tried, in order
)

// A Node answers every path after a little work, but for two: /healthz says
// whether it wants requests, and /__truth what it did ([Truth]). It keeps no state that a client
// could miss, unless it has a Store.
//
// The fields from SlowReplica on make it misbehave in a known way.
type Node struct {
	Name   string        // service-n; what it calls itself in [HeaderNode]
	Listen string        // address to listen on
	Delay  time.Duration // pause before each answer
	Jitter time.Duration // longest addition to Delay; a function of the request's number
	Work   int           // rounds of SHA-256 for each answer
	AtOnce int           // requests that are worked on at once; the others wait. 0: all are

	Sessions   Sessions   // where /session/ID/STEP is kept; all the state that a client can miss
	Dependency Dependency // what is asked before each answer

	// Journal is a file to which every answer is appended before it is given. While it cannot be written requests get a
	// 500, and /healthz says no. "" is none.
	Journal string

	// Store makes /kv/KEY a store: PUT keeps the body under the key, GET has it. "" is none, "memory" keeps nothing beyond
	// the process, anything else is a file, from which the node starts.
	Store string

	StartDelay time.Duration // how long /healthz says no after the start
	LameDuck   time.Duration // how long it still serves after it was asked to stop, /healthz saying no
	Drain      time.Duration // limit on everything between being asked to stop and the end

	SlowReplica int           // the replica (1, 2, …) that is slow; 0 is none, unless SlowShare is set
	SlowShare   int           // percent of its requests that are slow; 0 is all. Without SlowReplica: of every node's
	SlowDelay   time.Duration // what it adds to Delay
	Leak        int           // bytes that each request leaves in memory
	HideDrain   bool          // /healthz goes on saying yes after it was asked to stop
	FailEvery   uint64        // every n-th request gets a 500; 0 is none
	ResetEvery  uint64        // every n-th request on a reused connection is reset; 0 is none
	FreezeAt    time.Duration // when it freezes, once, counted from the first request
	FreezeFor   time.Duration // for how long nothing gets an answer; 0 is not at all

	StoreLate   time.Duration // writes are acknowledged so long before they are kept
	StoreStale  time.Duration // reads see what was kept so long ago
	StoreForget uint64        // every n-th write is acknowledged and never kept; 0 is none
	StoreTwice  uint64        // every n-th write is kept twice over; 0 is none

	Log *slog.Logger // told of starting and stopping; nil is silent

	turns    turns
	leak     leak
	draining atomic.Bool
	started  time.Time
	journal  journal
	store    *store // nil if Store is ""

	mu    sync.Mutex
	truth Truth
}

// Truth is what a node saw and did, /healthz and /__truth left out.
type Truth struct {
	Node     string    `json:"node"`
	Requests uint64    `json:"requests"`       // all that arrived
	OK       uint64    `json:"ok"`             // answered with 200
	Failed   uint64    `json:"failed"`         // answered with 500 on purpose
	Unkept   uint64    `json:"unkept"`         // answered with 500 because the journal could not be written
	Unknown  uint64    `json:"unknown"`        // answered with 409: a step of a session that it does not know
	Without  uint64    `json:"without"`        // answered with 503: the dependency was not to be had, or too many waited
	Reset    uint64    `json:"reset"`          // connection reset on purpose
	Gone     uint64    `json:"gone"`           // the client left first
	Reused   uint64    `json:"reused"`         // came on a connection that had carried a request before
	Held     uint64    `json:"held"`           // arrived during the freeze
	First    time.Time `json:"first,omitzero"` // when the first request arrived; zero if none did
	Last     time.Time `json:"last,omitzero"`
	// Frozen from, to: zero if it never froze. Set when the first request arrives.
	FrozenFrom time.Time `json:"frozen_from,omitzero"`
	FrozenTo   time.Time `json:"frozen_to,omitzero"`
}

// Run listens and serves until ctx ends, then drains. It returns nil after an
// orderly end, and an error if it cannot listen or requests were left when Drain was over.
func (n *Node) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", n.Listen)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return n.Serve(ctx, l)
}

// Serve is Run on a listener, which it closes. A Node serves once.
func (n *Node) Serve(ctx context.Context, l net.Listener) error {
	log := orSilent(n.Log)
	n.started = time.Now()
	if err := n.journal.open(n.Journal); err != nil {
		return errors.Join(fmt.Errorf("node %s: %w", n.Name, err), l.Close())
	}
	defer n.journal.close()
	if err := n.openStore(); err != nil {
		return errors.Join(fmt.Errorf("node %s: %w", n.Name, err), l.Close())
	}
	if n.store != nil {
		defer n.store.close()
	}
	n.mu.Lock()
	n.truth.Node = n.Name
	n.mu.Unlock()
	srv := &http.Server{
		Handler:           n.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, new(atomic.Uint64))
		},
	}
	storing, stop := context.WithCancel(context.WithoutCancel(ctx))
	stored := make(chan error, 1)
	go func() { stored <- n.Sessions.run(storing) }()
	log.Info("node serves", "node", n.Name, "address", l.Addr().String())
	err := serve(ctx, srv, l, n.Drain, func(end context.Context) {
		n.draining.Store(true)
		_ = pause(end, n.LameDuck) // cut short by Drain, which Shutdown then says
	})
	stop()
	err = errors.Join(err, <-stored)
	log.Info("node ends", "node", n.Name, "error", err)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

// Truth returns the counts so far.
func (n *Node) Truth() Truth {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.truth
}

// connKey is where a connection keeps its number of requests.
type connKey struct{}

func (n *Node) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", n.health)
	mux.HandleFunc("/__truth", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(n.Truth()) // the client has gone: nobody to tell
	})
	if n.store != nil {
		mux.HandleFunc("/kv/", n.keyValue)
	}
	mux.HandleFunc("/", n.answer)
	return mux
}

func (n *Node) health(w http.ResponseWriter, r *http.Request) {
	if n.hold(r.Context()) != nil {
		return
	}
	w.Header().Set(HeaderNode, n.Name)
	switch {
	case n.draining.Load() && !n.HideDrain:
		http.Error(w, "draining", http.StatusServiceUnavailable)
	case time.Since(n.started) < n.StartDelay:
		http.Error(w, "starting", http.StatusServiceUnavailable)
	case n.journal.write("health\n") != nil:
		http.Error(w, "the journal cannot be written", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}

func (n *Node) answer(w http.ResponseWriter, r *http.Request) {
	number, reset := n.arrive(r)
	if reset {
		orSilent(n.Log).Info("reset on purpose", "request", number)
		resetConnection(w)
		return
	}
	sum, err := n.handle(r, number)
	n.mu.Lock()
	status, count := n.meaning(err)
	*count++
	n.mu.Unlock()
	w.Header().Set(HeaderNode, n.Name)
	switch {
	case r.Context().Err() != nil: // nobody to tell
	case err == nil:
		fmt.Fprintf(w, "hello from %s (%x)\n", n.Name, sum[:4])
	default:
		http.Error(w, err.Error(), status)
	}
}

var (
	errOnPurpose = errors.New("failed on purpose")
	errJournal   = errors.New("the journal cannot be written")
)

// handle does all that comes before an answer, and says why it is not to be a good one. The sum depends on all the work.
func (n *Node) handle(r *http.Request, number uint64) (sum [sha256.Size]byte, err error) {
	ctx := r.Context()
	if err := n.hold(ctx); err != nil {
		return sum, err
	}
	done, err := n.turns.take(n.AtOnce)
	if err != nil {
		return sum, err
	}
	defer done()
	working := ctx
	if n.AtOnce > 0 {
		working = context.WithoutCancel(ctx)
	}
	if err := pause(working, n.delay(number)); err != nil {
		return sum, err
	}
	sum = work(number, n.Work)
	n.leak.more(n.Leak)
	if err := n.hold(ctx); err != nil { // one frozen while it works cannot answer either
		return sum, err
	}
	if n.FailEvery > 0 && number%n.FailEvery == 0 {
		orSilent(n.Log).Info("failed on purpose", "request", number)
		return sum, errOnPurpose
	}
	if err := n.Dependency.ask(ctx); err != nil {
		return sum, err
	}
	if id, step, ok := sessionOf(r); ok {
		if err := n.Sessions.step(id, step); err != nil {
			return sum, err
		}
	}
	if n.journal.write(fmt.Sprintf("%d %x\n", number, sum)) != nil {
		return sum, errJournal
	}
	return sum, nil
}

// meaning is the status that an outcome is answered with, and where it is counted. The caller holds the lock.
func (n *Node) meaning(err error) (status int, count *uint64) {
	t := &n.truth
	switch {
	case err == nil:
		return http.StatusOK, &t.OK
	case errors.Is(err, errOnPurpose):
		return http.StatusInternalServerError, &t.Failed
	case errors.Is(err, errUnknownSession):
		return http.StatusConflict, &t.Unknown
	case errors.Is(err, errDependency), errors.Is(err, errBusy), errors.Is(err, errSessions):
		return http.StatusServiceUnavailable, &t.Without
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return 0, &t.Gone
	}
	return http.StatusInternalServerError, &t.Unkept
}

// arrive counts a request, gives it its number, from 1, and says whether its
// connection is to be reset.
func (n *Node) arrive(r *http.Request) (number uint64, reset bool) {
	reused := false
	if c, ok := r.Context().Value(connKey{}).(*atomic.Uint64); ok {
		reused = c.Add(1) > 1
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &n.truth
	now := time.Now()
	if t.Requests == 0 {
		t.First = now
		if n.FreezeFor > 0 {
			t.FrozenFrom = now.Add(n.FreezeAt)
			t.FrozenTo = t.FrozenFrom.Add(n.FreezeFor)
		}
	}
	t.Requests++
	t.Last = now
	if reused {
		t.Reused++
		reset = n.ResetEvery > 0 && t.Reused%n.ResetEvery == 0
	}
	if reset {
		t.Reset++
	}
	if n.frozen(now) > 0 {
		t.Held++
	}
	return t.Requests, reset
}

// frozen is how much of the freeze is left at a time. The caller holds the lock.
func (n *Node) frozen(now time.Time) time.Duration {
	if now.Before(n.truth.FrozenFrom) {
		return 0
	}
	return max(n.truth.FrozenTo.Sub(now), 0)
}

// hold returns when the node is not frozen.
func (n *Node) hold(ctx context.Context) error {
	n.mu.Lock()
	d := n.frozen(time.Now())
	n.mu.Unlock()
	return pause(ctx, d)
}

// delay is a request's pause: the same for the same number on every run.
func (n *Node) delay(number uint64) time.Duration {
	d := n.Delay
	if n.slow(number) {
		d += n.SlowDelay
	}
	if n.Jitter > 0 {
		d += time.Duration(rand.NewPCG(number, 0).Uint64() % uint64(n.Jitter+1))
	}
	return d
}

// slow says whether a request is one of the slow ones. 61 has no divisor in common with 100, so that any
// hundred requests in a row have their share, spread over them.
func (n *Node) slow(number uint64) bool {
	switch {
	case n.SlowReplica == 0 && n.SlowShare == 0:
		return false
	case n.SlowReplica > 0 && replica(n.Name) != n.SlowReplica:
		return false
	}
	return n.SlowShare == 0 || number*61%100 < uint64(n.SlowShare)
}

// work costs time on a processor, and returns something that depends on all of it.
func work(number uint64, rounds int) [sha256.Size]byte {
	sum := sha256.Sum256(strconv.AppendUint(nil, number, 10))
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

// replica is the number at the end of a replica's name, 0 if there is none.
func replica(name string) int {
	n, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	if err != nil {
		return 0
	}
	return n
}

// resetConnection ends the request's connection with a TCP reset.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 cannot be hijacked: the server resets the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a connection that is gone, as was wanted
	}
	_ = conn.Close()
}

// serve serves until ctx ends, then calls ending, lets requests finish and returns. From
// the end of ctx on, all of it takes at most limit; so long does ending's context last.
func serve(ctx context.Context, srv *http.Server, l net.Listener, limit time.Duration, ending func(context.Context)) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	ending(end)
	err := srv.Shutdown(end)
	if err != nil {
		err = fmt.Errorf("requests were left after %v of draining: %w", limit, errors.Join(err, srv.Close()))
	}
	if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// pause waits, and returns early with an error when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func orSilent(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
