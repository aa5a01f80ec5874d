package record

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Limits on what a target can make us remember: names are its input.
const (
	MaxName = 128 // bytes kept of a node's name

	maxNodes   = 64 // distinct node names in one bin; the rest count as [OtherNode]
	maxAttempt = 16 // attempts kept of one request
)

// few is how many names and cells are looked through before a map is asked: that takes longer than all of these.
const few = 8

// OtherNode stands for all names beyond the first 64 in one bin.
const OtherNode = "(other)"

const (
	shards    = 16 // where samples wait to be summed up; by their numbers, so that workers seldom meet
	batchSize = 32 // samples that wait in one of them at most
)

// A Binner sums samples into bins. It is safe for concurrent use.
//
// It holds only bins with requests still open: with a deadline on every request
// these are the last `timeout` of the schedule.
//
//	workers ─Put→ 16 batches ─when full, or Flush→ open bins ─when complete→ emit
//
// Add sums up at once. Put, for those who send much from many goroutines, leaves the sample in a batch: who uses it calls Flush
// every so often, so that complete bins come out as soon as that.
type Binner struct {
	due     func(n uint64) time.Duration
	count   uint64
	timeout time.Duration
	emit    func(Bin)
	watch   func(*Sample)
	index   uint64 // of the part that it sums up
	of      uint64

	shards  [shards]shard
	batches sync.Pool // of *[]Sample, empty

	mu      sync.Mutex
	open    map[int]*openBin
	hot     *openBin // where the latest sample went: so will the next, most likely
	next    uint64   // the first request that no opened bin covers
	told    uint64
	refused uint64
	whole   []*openBin // complete, and not yet emitted
	slow    slowest
	spare   spare

	emitting sync.Mutex // held for each call of emit; never waits for mu's holder
}

// A shard is a batch of samples that wait.
type shard struct {
	mu    sync.Mutex
	batch *[]Sample
	_     [64]byte // a cache line of its own
}

// NewBinner makes a Binner for a schedule of count requests, the n-th due at due(n),
// which must not fall as n rises. It calls emit with each bin once it is complete, one call at a time;
// emit must not call the Binner. Bins can be emitted out of order.
func NewBinner(due func(n uint64) time.Duration, count uint64, timeout time.Duration, emit func(Bin)) *Binner {
	b := &Binner{due: due, count: count, of: 1, timeout: timeout, emit: emit, open: make(map[int]*openBin)}
	b.batches.New = func() any { s := make([]Sample, 0, batchSize); return &s }
	return b
}

// Watch has f see each sample that counts, once, one call at a time; f must neither keep it nor call the Binner. It is to be called
// before the first sample.
func (b *Binner) Watch(f func(*Sample)) { b.watch = f }

// Part makes it one of several Binners that sum up one schedule together: due and count are then of those requests alone whose number leaves index
// when it is divided by of, the n-th of which has the number n × of + index in its samples. Its bins are for a [Merger]. It is to be called before the first sample.
func (b *Binner) Part(index, of int) { b.index, b.of = uint64(index), uint64(of) }

// Add accounts for one request. A request counts once: Add reports false for a
// number it has seen or that is not in the schedule, and changes nothing.
func (b *Binner) Add(s Sample) bool {
	b.mu.Lock()
	ok := b.tell(&s)
	b.mu.Unlock()
	b.emitWhole()
	return ok
}

// Put accounts for one request, soon: at the latest with the next Flush or Close. It costs less than Add, and hardly ever waits for anybody. Whether the
// request counted, Counts tells.
func (b *Binner) Put(s Sample) {
	sh := &b.shards[s.Seq%shards]
	sh.mu.Lock()
	if sh.batch == nil {
		sh.batch = b.batches.Get().(*[]Sample)
	}
	*sh.batch = append(*sh.batch, s)
	var full *[]Sample
	if len(*sh.batch) == batchSize {
		full, sh.batch = sh.batch, nil
	}
	sh.mu.Unlock()
	if full != nil {
		b.take(full)
	}
}

// take sums up a batch. What has become complete waits for Flush: making a bin of it takes longer than a worker should.
func (b *Binner) take(batch *[]Sample) {
	b.mu.Lock()
	for i := range *batch {
		b.tell(&(*batch)[i])
	}
	b.mu.Unlock()
	clear(*batch) // of what they point to
	*batch = (*batch)[:0]
	b.batches.Put(batch)
}

// Flush sums up every sample that was put, and emits the bins that are complete.
func (b *Binner) Flush() {
	for i := range b.shards {
		sh := &b.shards[i]
		sh.mu.Lock()
		batch := sh.batch
		sh.batch = nil
		sh.mu.Unlock()
		if batch != nil {
			b.take(batch)
		}
	}
	b.emitWhole()
}

// Counts is how many requests were accounted for by Add, or by Put and since summed up; and how often one was refused: told twice, or not of the schedule.
func (b *Binner) Counts() (told, refused uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told, b.refused
}

// Slowest returns the requests of measured load whose answers took longest from their due times, the slowest first: at most [MaxSlowest].
func (b *Binner) Slowest() []Example {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slow.examples()
}

// tell counts a sample that somebody has told of. It sets its due time.
func (b *Binner) tell(s *Sample) bool {
	if !b.add(s) {
		b.refused++
		return false
	}
	b.told++
	if b.watch != nil {
		b.watch(s)
	}
	return true
}

func (b *Binner) add(s *Sample) bool {
	n := s.Seq
	if b.of > 1 {
		if n%b.of != b.index {
			return false
		}
		n /= b.of
	}
	if n >= b.count {
		return false
	}
	s.Due = b.due(n)
	for b.next <= n {
		b.openNext()
	}
	o := b.hot
	if o == nil || n-o.first >= o.count { // a number before first wraps around
		if o = b.open[IndexOf(s.Due)]; o == nil {
			return false // complete and gone: every request in it was seen
		}
		b.hot = o
	}
	bit := n - o.first
	if o.seen[bit/64]&(1<<(bit%64)) != 0 {
		return false
	}
	o.seen[bit/64] |= 1 << (bit % 64)
	o.put(s, b.timeout, bit)
	b.slow.note(s)
	if o.left--; o.left == 0 {
		delete(b.open, o.index)
		b.hot = nil
		b.whole = append(b.whole, o)
	}
	return true
}

// openNext opens the bin of request b.next and moves b.next behind it.
func (b *Binner) openNext() {
	first := b.next
	i := IndexOf(b.due(first))
	end := time.Duration(i+1) * Grid
	n := uint64(sort.Search(int(b.count-first), func(k int) bool { return b.due(first+uint64(k)) >= end }))
	b.next = first + n
	b.open[i] = b.spare.bin(i, first, n)
}

// emitWhole emits the bins that are complete, unless somebody else takes them.
func (b *Binner) emitWhole() {
	b.mu.Lock()
	none := len(b.whole) == 0
	b.mu.Unlock()
	if !none {
		b.emitAll()
	}
}

// emitAll emits the bins that are complete, in the order in which they became so. All that were taken before are emitted when it returns.
func (b *Binner) emitAll() {
	b.emitting.Lock()
	defer b.emitting.Unlock()
	for {
		b.mu.Lock()
		if len(b.whole) == 0 {
			b.mu.Unlock()
			return
		}
		o := b.whole[0]
		b.whole = append(b.whole[:0], b.whole[1:]...)
		b.mu.Unlock()
		bin := o.close()
		if b.of > 1 {
			bin.Mask = o.mask()
		}
		b.emit(bin)
		b.mu.Lock()
		b.spare.keep(o)
		b.mu.Unlock()
	}
}

// Close accounts for every request nobody told of as [Unsent] and emits what is left.
func (b *Binner) Close() {
	b.Flush()
	b.mu.Lock()
	for b.next < b.count {
		b.openNext()
	}
	indices := make([]int, 0, len(b.open))
	for i := range b.open {
		indices = append(indices, i)
	}
	b.mu.Unlock()
	sort.Ints(indices)
	for _, i := range indices {
		b.mu.Lock()
		if o := b.open[i]; o != nil {
			b.finish(o)
		}
		b.mu.Unlock()
		b.emitWhole()
	}
	b.emitAll() // somebody else may emit the last one
}

// finish accounts for all that is open in a bin.
func (b *Binner) finish(o *openBin) {
	for bit, count := uint64(0), o.count; bit < count; bit++ {
		if o.seen[bit/64]&(1<<(bit%64)) == 0 {
			n := o.first + bit
			b.add(&Sample{Seq: n*b.of + b.index, Sent: None, Free: None, Done: b.due(n), Class: Unsent, Traced: true})
		}
	}
}

// An openBin is a bin with requests that are not yet accounted for.
type openBin struct {
	index int
	start time.Duration
	first uint64 // number of the first request due in it
	count uint64 // how many are
	left  uint64 // of those, not yet accounted for

	good []uint64 // a bit for each request due in the bin: was it good?
	seen []uint64 // a bit for each: was it accounted for?
	at   []int32  // due − start, of each seen

	numbers map[string]int // of the names; 0 is nobody, 1 all that are too many
	names   []string
	lately  string // the latest name and its number
	number  int

	cells map[cellKey]*openCell
	list  []*openCell // the same, in the order in which they came, and behind them those that can be used again
	cell  *openCell   // the latest

	total, goodTotal  uint64
	tried             []uint64 // by a name's number
	untraced, excused uint64
	lag, own          tally
	chunks            *chunks
}

type cellKey struct {
	request int32
	node    int16
	class   Class
}

type openCell struct {
	key                         cellKey
	count                       uint64
	first, last                 time.Duration
	response, unlagged, service tally
	statuses                    []StatusCount
	worst                       Sample // of a bad class: the one with the lowest number
}

// spare keeps what emitted bins were made of.
type spare struct {
	bins   []*openBin
	chunks chunks
}

const maxSpare = 4

// bin returns an empty bin for n requests.
func (p *spare) bin(index int, first, n uint64) *openBin {
	o := new(openBin)
	if k := len(p.bins); k > 0 {
		o, p.bins = p.bins[k-1], p.bins[:k-1]
	} else {
		o.numbers, o.cells, o.chunks = make(map[string]int), make(map[cellKey]*openCell), &p.chunks
	}
	o.index, o.start = index, time.Duration(index)*Grid
	o.first, o.count, o.left = first, n, n
	words := int((n + 63) / 64)
	o.good, o.seen = zeros(o.good, words), zeros(o.seen, words)
	if cap(o.at) < int(n) {
		o.at = make([]int32, n)
	}
	o.at = o.at[:n]
	o.names, o.tried = append(o.names[:0], "", OtherNode), append(o.tried[:0], 0, 0)
	o.lately, o.number = "", 0
	o.cell, o.total, o.goodTotal, o.untraced, o.excused = nil, 0, 0, 0, 0
	return o
}

func zeros(s []uint64, n int) []uint64 {
	if cap(s) < n {
		return make([]uint64, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// keep takes back a bin that was emitted.
func (p *spare) keep(o *openBin) {
	o.lag.free(&p.chunks)
	o.own.free(&p.chunks)
	for _, c := range o.list[:len(o.cells)] {
		c.response.free(&p.chunks)
		c.unlagged.free(&p.chunks)
		c.service.free(&p.chunks)
		c.worst = Sample{}
	}
	if len(p.bins) >= maxSpare {
		return
	}
	clear(o.numbers)
	clear(o.cells)
	p.bins = append(p.bins, o)
}

func (o *openBin) put(s *Sample, timeout time.Duration, bit uint64) {
	o.at[bit] = int32(s.Due - o.start)
	o.total++
	if s.Class.Good() {
		o.goodTotal++
		o.good[bit/64] |= 1 << (bit % 64)
	}
	c := o.find(cellKey{int32(s.Request), int16(o.name(s.Node)), s.Class})
	if c.count == 0 {
		c.first, c.last = s.Due, s.Due
	}
	c.count++
	c.first, c.last = min(c.first, s.Due), max(c.last, s.Due)
	if !s.Class.Good() {
		if c.count == 1 || s.Seq < c.worst.Seq {
			c.worst = hold(s)
		}
		c.status(s.Status)
	}
	own := s.OwnLag()
	if s.Sent != None {
		c.response.add(s.Done-s.Due, o.chunks)
		c.unlagged.add(s.Done-s.Due-own, o.chunks)
		c.service.add(s.Done-s.Sent, o.chunks)
		o.lag.add(s.Sent-s.Due, o.chunks)
		o.own.add(own, o.chunks)
	}
	if own > 0 && s.excused(own, timeout) {
		o.excused++
	}
	if !s.Traced {
		o.untraced++
	}
	if len(s.Tried) == 0 {
		return
	}
	var told [maxAttempt]int
	for i, n := range s.Tried[:min(len(s.Tried), maxAttempt)] {
		k := o.name(n)
		told[i] = -1
		if !slices.Contains(told[:i], k) {
			told[i] = k
			o.tried[k]++
		}
	}
}

// find returns the cell of a key.
func (o *openBin) find(k cellKey) *openCell {
	if o.cell != nil && o.cell.key == k {
		return o.cell
	}
	for _, c := range o.list[:min(len(o.cells), few)] {
		if c.key == k {
			o.cell = c
			return c
		}
	}
	c := o.cells[k]
	if c == nil {
		n := len(o.cells)
		if n == len(o.list) {
			o.list = append(o.list, new(openCell))
		}
		c = o.list[n]
		c.key, c.count, c.statuses = k, 0, nil
		o.cells[k] = c
	}
	o.cell = c
	return c
}

// name bounds the names that a target can make us keep, and gives each a number.
func (o *openBin) name(n string) int {
	if n == o.lately {
		return o.number
	}
	k := o.numberOf(n)
	o.lately, o.number = n, k
	return k
}

func (o *openBin) numberOf(n string) int {
	if n == "" {
		return 0
	}
	for k := 2; k < min(len(o.names), few+2); k++ {
		if o.names[k] == n {
			return k
		}
	}
	if k := o.numbers[n]; k > 0 {
		return k
	}
	return o.newName(n)
}

func (o *openBin) newName(n string) int {
	if len(n) > MaxName {
		n = n[:MaxName]
	}
	n = strings.ToValidUTF8(n, "?") // JSON would change it, differently each time
	if k := o.numbers[n]; k > 0 {
		return k
	}
	k := len(o.names)
	if n == OtherNode || k-2 >= maxNodes {
		return 1
	}
	n = strings.Clone(n) // not all of what it is a part of
	o.numbers[n] = k
	o.names, o.tried = append(o.names, n), append(o.tried, 0)
	return k
}

// close makes the bin.
func (o *openBin) close() Bin {
	b := Bin{
		Index: o.index, Due: o.total, Good: o.goodTotal, GoodFirst: None, GoodLast: None, GoodGap: None,
		Untraced: o.untraced, Excused: o.excused, Lag: o.lag.hist(), Own: o.own.hist(),
	}
	last := None
	for bit := uint64(0); bit < o.count; bit++ {
		if o.good[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		at := o.start + time.Duration(o.at[bit])
		if last == None {
			b.GoodFirst = at
		} else {
			b.GoodGap = max(b.GoodGap, at-last)
		}
		last = at
	}
	b.GoodLast = last
	b.Cells = make([]Cell, 0, len(o.cells))
	for _, c := range o.list[:len(o.cells)] {
		sortStatuses(c.statuses)
		b.Cells = append(b.Cells, Cell{
			Request: int(c.key.request), Node: o.names[c.key.node], Class: c.key.class, Count: c.count, First: c.first, Last: c.last,
			Response: c.response.hist(), Unlagged: c.unlagged.hist(), Service: c.service.hist(), Statuses: c.statuses,
		})
	}
	o.exemplify(&b)
	sortCells(b.Cells)
	for k, n := range o.tried {
		if n > 0 {
			if b.Tried == nil {
				b.Tried = make(map[string]uint64)
			}
			b.Tried[o.names[k]] += n
		}
	}
	return b
}
