package load

import (
	"fmt"
	"math"
	"math/bits"
	"sort"
	"time"
)

// A Session is what one client sends: several requests in order, each when the one before it has ended. They
// stand one after the other in [Plan.Requests].
//
// Its steps are requests of the schedule like all others, each with a due time of its own: when a step is due does
// not depend on how the ones before it went. A client that was kept waiting sends late, and the wait counts.
type Session struct {
	Name   string  `json:"name"`
	First  int     `json:"first"`  // index of its first step in Plan.Requests
	Steps  int     `json:"steps"`  // how many it has
	Weight float64 `json:"weight"` // how often one begins, against the other requests and sessions; 0 counts as 1
	// Think is the time between the due times of two steps, on average, at the mean rate of measured load. Steps are counted and not
	// clocked: where the rate is twice the mean, clients think half as long, so that there are always as many of them.
	Think time.Duration `json:"think"`
}

// A Turn says what the request with one number is, and whose.
type Turn struct {
	Seq     uint64
	Request int    // index into the plan's requests
	Client  uint64 // who sends it, named by the number of its first request: Seq, if it belongs to no session
	Step    int    // which of the client's requests it is, from 0
	Steps   int    // how many requests the client sends, 0 if it belongs to no session
}

// A mix says which number of the schedule is whose turn, without counting from the start.
//
//	numbers    0 1 2 3 4 5 6 7 …    a stretch of them holds each part's share, shuffled
//	a part     · 0 1 · 2 · 3 4 …    the numbers of one session, counted: its indices
//	its lanes  a b c d | c a b d |  a client at a time in each; a row is every lane once, shuffled by stretches
//
// A client holds a lane for as many rows as it has steps, and the next one follows it. So steps of one client
// are a row apart, give or take a stretch, and as many lanes make a row as `think` wants.
//
// The shuffles keep a balancer that takes its nodes in turn from meeting the same client at the same node by the
// accident of a rate: without them three nodes and a row of 300 would look like sticky sessions.
type mix struct {
	seed  int64
	parts []part
}

// A part is one session, or all requests of none.
type part struct {
	share   uint64 // of what the parts before it left over, in 1/2³²; the last takes the rest
	session int    // index into the plan's sessions; -1: the requests of none
	first   int
	steps   uint64
	lanes   uint64
}

// stretch is how many numbers are shuffled among one another.
const stretch = 16

// maxParts bounds the sessions of a plan.
const maxParts = 200

// newMix reads the sessions of a plan. Alone is the sum of the weights of requests that belong to none.
func newMix(p Plan, alone float64) (*mix, error) {
	m := &mix{seed: p.Seed}
	if len(p.Sessions) > maxParts {
		return nil, fmt.Errorf("%d sessions: at most %d", len(p.Sessions), maxParts)
	}
	var weights []float64
	if alone > 0 {
		m.parts, weights = append(m.parts, part{session: -1}), append(weights, alone)
	}
	for i, s := range p.Sessions {
		w := s.Weight
		if w == 0 {
			w = 1
		}
		m.parts = append(m.parts, part{session: i, first: s.First, steps: uint64(s.Steps)})
		weights = append(weights, w*float64(s.Steps))
	}
	left := 0.0
	for i := len(m.parts) - 1; i >= 0; i-- {
		left += weights[i]
		m.parts[i].share = min(uint64(math.Round(weights[i]/left*(1<<32))), 1<<32)
	}
	for i := range m.parts {
		if one := &m.parts[i]; one.session >= 0 {
			rate := p.Schedule.Mean() * weights[i] / left
			one.lanes = max(1, uint64(math.Round(rate*p.Sessions[one.session].Think.Seconds())))
		}
	}
	return m, m.whole(p)
}

// An UnreachedError says that load ends before a client of a session could take all of its steps.
type UnreachedError struct {
	Session int // index into the plan's sessions
	Name    string
	Lasts   time.Duration // from the first step to the last
	Load    time.Duration // warm-up included
}

func (e *UnreachedError) Error() string {
	return fmt.Sprintf("session %q: from its first step to its last it takes %v, and load with its warm-up lasts %v",
		e.Name, e.Lasts.Round(time.Millisecond), e.Load)
}

// whole reports a session that nobody could finish. A plan without a schedule is not looked at.
func (m *mix) whole(p Plan) error {
	count := p.Schedule.Count()
	if count == 0 {
		return nil
	}
	for i, one := range m.parts {
		if one.session < 0 || (one.steps-1)*one.lanes < m.before(i, count) {
			continue
		}
		s := p.Sessions[one.session]
		lasts := time.Duration(one.steps-1) * s.Think
		if n := m.before(i, count); n > 0 { // think is rounded to whole lanes
			rows := float64((one.steps-1)*one.lanes) / float64(n)
			lasts = time.Duration(min(rows*float64(p.Schedule.Warmup+p.Schedule.For()), math.MaxInt64/2))
		}
		return &UnreachedError{Session: one.session, Name: s.Name, Lasts: lasts, Load: p.Schedule.Warmup + p.Schedule.For()}
	}
	return nil
}

// turn is whose turn a number is; of a request that belongs to no session, all but the request.
func (m *mix) turn(seq uint64) (t Turn, ofSession bool) {
	t = Turn{Seq: seq, Client: seq}
	i, index := m.locate(seq)
	one := &m.parts[i]
	if one.session < 0 {
		return t, false
	}
	row := index / one.lanes
	lane := m.lane(i, row, index%one.lanes)
	// The first client of a lane leaves early, in some lanes after one step, in others after two: so every
	// step is as frequent as the others once the first could be there, and clients do not go in waves.
	steps := one.steps - lane%one.steps
	began := uint64(0)
	if row >= steps {
		began = row - (row-steps)%one.steps
		steps = one.steps
	}
	t.Step, t.Steps = int(row-began), int(steps)
	t.Request = one.first + t.Step
	if t.Step > 0 {
		t.Client = m.number(i, began*one.lanes+m.place(i, began, lane))
	}
	return t, true
}

// before is how many of the first n numbers are a part's. It never falls as n rises.
func (m *mix) before(i int, n uint64) uint64 {
	for k := range i {
		n -= share(n, m.parts[k].share)
	}
	if i == len(m.parts)-1 {
		return n
	}
	return share(n, m.parts[i].share)
}

// share is n × s / 2³², rounded down.
func share(n, s uint64) uint64 {
	hi, lo := bits.Mul64(n, s)
	return hi<<32 | lo>>32
}

// owners says whose the numbers of one stretch are.
func (m *mix) owners(block uint64) [stretch]uint8 {
	var of [stretch]uint8
	n := 0
	from, to := block*stretch, block*stretch+stretch
	for i := range m.parts {
		a, b := from, to
		if i < len(m.parts)-1 {
			a, b = share(from, m.parts[i].share), share(to, m.parts[i].share)
		}
		for ; a < b; a++ {
			of[n] = uint8(i)
			n++
		}
		if i < len(m.parts)-1 {
			from, to = from-share(from, m.parts[i].share), to-share(to, m.parts[i].share)
		}
	}
	shuffle(of[:], hash(m.seed, block, saltOwner))
	return of
}

// locate is the part that a number belongs to, and its index there.
func (m *mix) locate(seq uint64) (i int, index uint64) {
	if len(m.parts) == 1 {
		return 0, seq
	}
	block := seq / stretch
	of := m.owners(block)
	own := of[seq%stretch]
	index = m.before(int(own), block*stretch)
	for _, other := range of[:seq%stretch] {
		if other == own {
			index++
		}
	}
	return int(own), index
}

// number is the inverse of locate.
func (m *mix) number(i int, index uint64) uint64 {
	if len(m.parts) == 1 {
		return index
	}
	// The stretch that holds it is the last one with no more than index of them before it.
	high := uint64(1)
	for m.before(i, high*stretch) <= index {
		high *= 2
	}
	block := uint64(sort.Search(int(high), func(b int) bool { return m.before(i, (uint64(b)+1)*stretch) > index }))
	left := index - m.before(i, block*stretch)
	for k, own := range m.owners(block) {
		if int(own) != i {
			continue
		}
		if left == 0 {
			return block*stretch + uint64(k)
		}
		left--
	}
	panic("load: a number that is in its stretch is not") // before and owners count by the same shares
}

// lane is whose place it is in a row.
func (m *mix) lane(i int, row, place uint64) uint64 {
	from, order := m.row(i, row, place)
	return from + uint64(order[place-from])
}

// place is the inverse of lane: where a lane stands in a row.
func (m *mix) place(i int, row, lane uint64) uint64 {
	from, order := m.row(i, row, lane)
	for k, l := range order {
		if from+uint64(l) == lane {
			return from + uint64(k)
		}
	}
	panic("load: a lane is not in its row") // order is a permutation
}

// row is the stretch of a row that a place lies in, which is also that of the lanes in it: where it begins,
// and its lanes in the order of their turns. A row is cut into stretches of nearly equal length, no longer than
// a third of it where that leaves something to shuffle: so two steps of a client are never close.
func (m *mix) row(i int, row, place uint64) (from uint64, order []uint8) {
	lanes := m.parts[i].lanes
	pieces := max(1, lanes/min(max(lanes/3, 4), stretch))
	piece := ((place+1)*pieces - 1) / lanes
	from = piece * lanes / pieces
	order = make([]uint8, (piece+1)*lanes/pieces-from)
	for k := range order {
		order[k] = uint8(k)
	}
	shuffle(order, mix64(hash(m.seed, row, saltRow)+uint64(i)<<48+piece))
	return from, order
}

// shuffle puts a list into an order that depends on the key alone (Fisher and Yates).
func shuffle(list []uint8, key uint64) {
	for n := len(list) - 1; n > 0; n-- {
		key = mix64(key)
		k := key % uint64(n+1) // at most 32 of 2⁶⁴: the bias is nothing
		list[n], list[k] = list[k], list[n]
	}
}
