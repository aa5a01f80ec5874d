package httpload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/wire"
	"github.com/tutti-bench/tutti/lib/record"
)

// A claim is a request of the schedule that somebody has.
type claim struct {
	seq  uint64
	due  time.Duration
	free time.Duration // when a connection was free for it; [record.None] if one was when it was due
	held bool          // the step before it in its session had not ended when it was due
}

// claim is the n-th request that is ours.
func (r *run) claim(n uint64) claim {
	return claim{seq: r.plan.Part.Seq(n), due: r.times.Due(n), free: record.None}
}

// A kind is what is known beforehand of one of the plan's requests.
type kind struct {
	expect *load.Expect
	wanted *load.Wanted
	judged bool // what the answer holds is told
	// lean: of the answer no more is needed than a few fields and a beginning, so that it goes over a lane.
	lean    bool
	keep    int               // bytes of the body that are looked at
	fixed   *wire.Message     // the same each time; nil if it is a template
	headers map[string]string // of expect, with names in lower case
}

func newKind(p load.Plan, templates *load.Templates, i int) kind {
	expect := &p.Requests[i].Expect
	k := kind{expect: expect, wanted: templates.Wanted(i), keep: keeps(expect), headers: make(map[string]string)}
	for name, want := range expect.Header {
		k.headers[strings.ToLower(name)] = want
	}
	k.lean = lean(p) && len(k.wanted.Names()) == 0
	if !k.lean || !templates.Fixed(i) {
		return k
	}
	m, err := templates.Message(load.Turn{Request: i}, nil)
	if err != nil {
		return k // as it will be told when it is sent
	}
	if k.fixed, err = wire.NewMessage(plainRequest(m)); err != nil {
		k.fixed, k.lean = nil, false // it is the same each time
	}
	return k
}

// A sender is what one goroutine needs to send requests.
type sender struct {
	lane *wire.Lane // nil: not yet, or there are none

	// What is known of the request under way. It is here and not on the stack, because it may be parked; and a goroutine that waits then needs
	// 4 KiB and not 8.
	sample record.Sample
	kind   *kind

	// ready has the request go on that was parked; nil: none is to be parked.
	ready func()

	// What was read before is mostly what is read next.
	nodes map[string]string
	tried map[string][]string // by the attempts header, if that was one line
}

// Bounds on what a sender remembers of names, which are the target's input: there may be thousands of senders.
const (
	maxSeen  = 64
	maxTried = 16
	maxLine  = 512 // bytes of an attempts header
)

// node is a node's name, without a copy of its own for each answer.
func (s *sender) node(name []byte) string {
	name = name[:min(len(name), record.MaxName)]
	if seen, ok := s.nodes[string(name)]; ok {
		return seen
	}
	if s.nodes == nil || len(s.nodes) >= maxSeen {
		s.nodes = make(map[string]string)
	}
	seen := string(name)
	s.nodes[seen] = seen
	return seen
}

// attempts are those that an answer names, nil if it has no such header.
func (s *sender) attempts(a *wire.Answer, header, lower string) []string {
	line := a.Get(lower)
	if line == nil || len(line) > maxLine || a.Count(lower) != 1 {
		return attempts(a.Header().Values(header))
	}
	if seen, ok := s.tried[string(line)]; ok {
		return seen
	}
	if s.tried == nil || len(s.tried) >= maxTried {
		s.tried = make(map[string][]string)
	}
	seen := attempts([]string{string(line)})
	s.tried[string(line)] = seen
	return seen
}

func (s *sender) close() {
	if s.lane != nil {
		s.lane.Close()
	}
}

// process sends a request, or leaves it to whoever sends the step before it; then it goes on with the step that was left to it. It reports
// whether the request was parked, with which it and the sender are the business of the sender's ready.
func (r *run) process(ctx context.Context, c claim, by *sender) (parked bool) {
	for more := true; more; {
		turn := r.templates.Turn(c.seq)
		client := r.clients.join(turn)
		if client != nil && !r.clients.begin(client, turn, c) {
			return false
		}
		s := r.send(ctx, c, turn, client, by)
		if s == nil {
			return true
		}
		more = false
		if client != nil {
			if c, more = r.clients.leave(client, turn); more {
				c.held = true
				if now := r.now(); now > c.due {
					c.free = now // the wait was the target's doing, and no lag of our own
				}
			}
		}
		r.account(ctx, s)
	}
	return false
}

// resume is what is left of a process that was parked. No step of a session is.
func (r *run) resume(ctx context.Context, by *sender) {
	a, err := by.lane.Resume(ctx)
	r.answered(ctx, by, a, err)
	r.open.Add(-1)
	r.account(ctx, &by.sample)
}

// account tells what became of a request.
func (r *run) account(ctx context.Context, s *record.Sample) {
	if ctx.Err() == nil || s.Class != record.Unsent {
		r.sent.Add(1)
	}
	r.emit(*s)
}

// begin makes a request's sample before anything is known of it.
func (r *run) begin(s *record.Sample, c claim, request int, now time.Duration) {
	*s = record.Sample{
		Seq: c.seq, Request: request, Due: c.due,
		Sent: record.None, Free: c.free, Late: r.lateness(c.due), Done: now, Class: record.Unsent,
	}
}

// tooLate is what becomes of a request that is still to be sent when its time is up. If its session had not come to it, or others
// had the connections, then the target took the time. Else it is our own fault, and no timeout of the target's.
func (r *run) tooLate(s *record.Sample, c claim) {
	deadline := s.Due + r.plan.Timeout
	switch {
	case c.held:
		s.Class, s.Done, s.Traced, s.Error = record.Timeout, deadline, true, "the session's steps before it took all of its time"
	case s.Free != record.None && s.Late < r.plan.Timeout:
		s.Class, s.Done, s.Traced, s.Error = record.Shed, deadline, true, "no connection came free before its deadline"
	default:
		s.Error = "the generator came to it after its deadline"
	}
}

// send sends one request if it still can be sent, and says what became of it, which holds until the sender's next one; nil says that it was
// parked.
func (r *run) send(ctx context.Context, c claim, turn load.Turn, client *client, by *sender) *record.Sample {
	open := r.open.Add(1)
	now := r.now()
	s := &by.sample
	r.begin(s, c, turn.Request, now)
	switch {
	case ctx.Err() != nil:
	case now >= c.due+r.plan.Timeout:
		r.tooLate(s, c)
	default:
		for peak := r.peak.Load(); open > peak && !r.peak.CompareAndSwap(peak, open); peak = r.peak.Load() {
		}
		s.Sent = now
		if r.sendNow(ctx, s, turn, client, by) {
			return nil
		}
	}
	if client != nil && s.Class != record.OK && s.Class != record.Slow { // else it has kept what it captured
		client.keep(r.kinds[turn.Request].wanted.Names(), nil, s.Class)
	}
	r.open.Add(-1)
	return s
}

// sendNow sends the request and fills in the sample, if it is not parked.
func (r *run) sendNow(ctx context.Context, s *record.Sample, turn load.Turn, client *client, by *sender) (parked bool) {
	k := &r.kinds[turn.Request]
	if k.fixed != nil {
		return r.overLane(ctx, k, k.fixed, by)
	}
	return r.sendMade(ctx, s, k, turn, client, by)
}

// sendMade makes a request from its template, and does that.
func (r *run) sendMade(ctx context.Context, s *record.Sample, k *kind, turn load.Turn, client *client, by *sender) (parked bool) {
	var captured map[string]string
	if client != nil {
		var lost record.Class
		var ok bool
		if captured, lost, ok = client.has(r.templates.Needs(turn.Request)); !ok {
			// Nobody was asked: what a step before it should have captured is not there.
			s.Class, s.Sent, s.Done, s.Traced, s.Error = lost, record.None, r.now(), true, "a step before it failed, whose answer it needs"
			return false
		}
	}
	m, err := r.templates.Message(turn, captured)
	if err != nil {
		r.unsendable(s, err)
		return false
	}
	if k.lean {
		// What a lane does not take, such as the wish for the connection to be closed, the transport sends, or refuses itself.
		if written, err := wire.NewMessage(plainRequest(m)); err == nil {
			return r.overLane(ctx, k, written, by)
		}
	}
	r.exchange(ctx, s, m, client)
	return false
}

// unsendable takes note of a request that cannot be made. What a target gave to be captured can be at fault: that
// is a wrong answer of its own. All else is ours.
func (r *run) unsendable(s *record.Sample, err error) {
	s.Sent, s.Done, s.Error = record.None, r.now(), record.CutError(err.Error())
	if len(r.templates.Needs(s.Request)) > 0 {
		s.Class = record.Wrong
		return
	}
	s.Class = record.Unsent
	r.fail(fmt.Errorf("request %q, number %d: %w", r.plan.Requests[s.Request].Name, s.Seq, err))
}

// overLane sends what was written down, and reads no more of the answer than is looked at.
func (r *run) overLane(ctx context.Context, k *kind, m *wire.Message, by *sender) (parked bool) {
	if by.lane == nil {
		by.lane = r.carrier.lane(m)
		if by.ready != nil {
			by.lane.Park(by.ready)
		}
	}
	by.kind = k
	by.sample.BytesOut = uint64(m.Body())
	a, err := by.lane.Do(ctx, r.zero.Add(by.sample.Due+r.plan.Timeout), m, k.keep)
	if errors.Is(err, wire.ErrParked) {
		return true
	}
	r.answered(ctx, by, a, err)
	return false
}

// answered fills in the sample of what went over a lane.
func (r *run) answered(ctx context.Context, by *sender, a *wire.Answer, err error) {
	defer by.lane.Forget() // a lane is idle for longer than it is busy
	s, k := &by.sample, by.kind
	if err != nil {
		s.Done, s.Class, s.Error = r.now(), classified{}.class(err), record.CutError(err.Error())
		r.conclude(ctx, s, k, err)
		return
	}
	s.Done, s.Status, s.BytesIn, s.Class = a.Ended.Sub(r.zero), a.Status, a.Length, record.Wrong
	if k.likes(a) {
		s.Class = record.OK
	}
	if r.plan.NodeHeader != "" {
		s.Node = by.node(a.Get(r.nodeHeader))
	}
	if r.plan.AttemptsHeader != "" {
		s.Tried = by.attempts(a, r.plan.AttemptsHeader, r.attemptsHeader)
		r.traced(s)
	}
	r.conclude(ctx, s, k, nil)
}

// likes reports whether an answer is as expected.
func (k *kind) likes(a *wire.Answer) bool {
	if !statusGood(a.Status, k.expect) {
		return false
	}
	for name, want := range k.headers {
		if string(a.Get(name)) != want {
			return false
		}
	}
	if k.expect.Body != nil && (uint64(len(a.Body)) != a.Length || string(a.Body) != *k.expect.Body) {
		return false
	}
	return k.expect.Contains == "" || strings.Contains(string(a.Body[:min(len(a.Body), maxKeep)]), k.expect.Contains)
}

// exchange sends m by the carrier and fills in the sample.
func (r *run) exchange(ctx context.Context, s *record.Sample, m load.Message, client *client) {
	k := &r.kinds[s.Request]
	got := do(ctx, r.carrier, r.zero.Add(s.Due+r.plan.Timeout), m, k.expect, k.wanted, client, k.judged, r.plan.Redirects)
	s.Done, s.Class, s.Node, s.Status = r.now(), got.class, clean(got.header.Get(r.plan.NodeHeader)), got.status
	s.BytesIn, s.BytesOut = got.length, uint64(len(m.Body))
	if got.err != nil {
		s.Error = record.CutError(got.err.Error())
	}
	if got.header != nil && r.plan.AttemptsHeader != "" {
		s.Tried = attempts(got.header.Values(r.plan.AttemptsHeader))
		r.traced(s)
	}
	r.conclude(ctx, s, k, got.err)
	whole := got.err == nil && got.header != nil
	if k.judged && whole && (s.Class == record.OK || s.Class == record.Slow || s.Class == record.Wrong) {
		s.Saw = r.plan.See(got.status, string(got.body))
	}
	if client != nil && (s.Class == record.OK || s.Class == record.Slow) { // else the client had gone
		client.keep(k.wanted.Names(), got.captured, s.Class)
	}
}

// traced says whether it is known whom the balancer tried.
func (r *run) traced(s *record.Sample) {
	if s.Traced = s.Tried != nil; !s.Traced && s.Node != "" {
		s.Tried = []string{s.Node}
	}
}

// conclude settles what became of a request that was sent: by the class of its answer, or of its failure, and by the time.
func (r *run) conclude(ctx context.Context, s *record.Sample, k *kind, err error) {
	deadline := s.Due + r.plan.Timeout
	limit := k.expect.Within
	switch {
	case ctx.Err() != nil && err != nil:
		s.Class, s.Sent = record.Unsent, record.None
	case s.Done >= deadline:
		s.Class, s.Done = record.Timeout, deadline
	case s.Class == record.Timeout:
		s.Done = deadline
	case s.Class == record.Local:
		s.Sent = record.None
	case s.Class == record.Unsent:
		r.unsendable(s, err)
	case s.Class == record.OK && limit > 0 && s.Done-s.Due > limit:
		s.Class = record.Slow
	}
}
