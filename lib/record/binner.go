package record

import (
	"sort"
	"strings"
	"sync"
	"time"
)

// Limits on what a target can make us remember: names are its input.
const (
	maxNodes   = 64  // distinct node names in one bin; the rest count as [OtherNode]
	maxName    = 128 // bytes kept of a node's name
	maxAttempt = 16  // attempts kept of one request
)

// OtherNode stands for all names beyond the first 64 in one bin.
const OtherNode = "(other)"

// A Binner sums samples into bins. It is safe for concurrent use.
//
// It holds only bins with requests still open: with a deadline on every request
// these are the last `timeout` of the schedule.
type Binner struct {
	due     func(n uint64) time.Duration
	count   uint64
	timeout time.Duration
	emit    func(Bin)

	mu   sync.Mutex
	open map[int]*openBin
	next uint64 // the first request that no opened bin covers
}

type cellKey struct {
	request int
	node    string
	class   Class
}

type openBin struct {
	Bin
	first   uint64 // number of the first request due in it
	left    uint64 // requests not yet accounted for
	cells   map[cellKey]*Cell
	good    []uint64 // a bit for each request due in the bin: was it good?
	seen    []uint64 // a bit for each: was it accounted for?
	strange map[string]bool
}

// NewBinner makes a Binner for a schedule of count requests, the n-th due at due(n),
// which must not fall as n rises. It calls emit with each bin once it is complete, one call at a time;
// emit must not call the Binner. Bins can be emitted out of order.
func NewBinner(due func(n uint64) time.Duration, count uint64, timeout time.Duration, emit func(Bin)) *Binner {
	return &Binner{due: due, count: count, timeout: timeout, emit: emit, open: make(map[int]*openBin)}
}

// Add accounts for one request. A request counts once: Add reports false for a
// number it has seen or that is not in the schedule, and changes nothing.
func (b *Binner) Add(s Sample) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.add(s)
}

func (b *Binner) add(s Sample) bool {
	if s.Seq >= b.count {
		return false
	}
	s.Due = b.due(s.Seq)
	i := IndexOf(s.Due)
	for b.next <= s.Seq {
		b.openNext()
	}
	o := b.open[i]
	if o == nil {
		return false // complete and gone: every request in it was seen
	}
	bit := s.Seq - o.first
	if o.seen[bit/64]&(1<<(bit%64)) != 0 {
		return false
	}
	o.seen[bit/64] |= 1 << (bit % 64)
	o.put(s, b.timeout, bit)
	if o.left--; o.left == 0 {
		delete(b.open, i)
		b.emit(o.close(b.due))
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
	words := (n + 63) / 64
	b.open[i] = &openBin{
		Bin:   Bin{Index: i, GoodFirst: None, GoodLast: None, GoodGap: None},
		first: first, left: n, cells: make(map[cellKey]*Cell),
		good: make([]uint64, words), seen: make([]uint64, words),
	}
}

// Close accounts for every request nobody told of as [Unsent] and emits what is left.
func (b *Binner) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.next < b.count {
		b.openNext()
	}
	for _, i := range b.openIndices() {
		o := b.open[i]
		for bit, n := uint64(0), o.Due+o.left; bit < n; bit++ {
			if o.seen[bit/64]&(1<<(bit%64)) == 0 {
				seq := o.first + bit
				b.add(Sample{Seq: seq, Sent: None, Free: None, Done: b.due(seq), Class: Unsent, Traced: true})
			}
		}
	}
}

func (b *Binner) openIndices() []int {
	is := make([]int, 0, len(b.open))
	for i := range b.open {
		is = append(is, i)
	}
	sort.Ints(is)
	return is
}

func (o *openBin) put(s Sample, timeout time.Duration, bit uint64) {
	o.Due++
	if s.Class.Good() {
		o.Good++
		o.good[bit/64] |= 1 << (bit % 64)
	}
	k := cellKey{s.Request, o.name(s.Node), s.Class}
	c := o.cells[k]
	if c == nil {
		c = &Cell{Request: k.request, Node: k.node, Class: k.class, First: s.Due, Last: s.Due}
		o.cells[k] = c
	}
	c.Count++
	c.First, c.Last = min(c.First, s.Due), max(c.Last, s.Due)
	if s.Sent != None {
		add(&c.Response, s.Done-s.Due)
		add(&c.Unlagged, s.Done-s.Due-s.OwnLag())
		add(&c.Service, s.Done-s.Sent)
		add(&o.Lag, s.Sent-s.Due)
		if !s.Class.Good() && s.OwnLag() > timeout/10 {
			o.Excused++
		}
	}
	if !s.Traced {
		o.Untraced++
	}
	if len(s.Tried) == 0 {
		return
	}
	told := make(map[string]bool, 2)
	for _, n := range s.Tried[:min(len(s.Tried), maxAttempt)] {
		if n = o.name(n); !told[n] {
			told[n] = true
			if o.Tried == nil {
				o.Tried = make(map[string]uint64)
			}
			o.Tried[n]++
		}
	}
}

func add(h **Hist, d time.Duration) {
	if *h == nil {
		*h = new(Hist)
	}
	(*h).Add(d)
}

// name bounds the names that a target can make us keep.
func (o *openBin) name(n string) string {
	if n == "" {
		return ""
	}
	if len(n) > maxName {
		n = n[:maxName]
	}
	n = strings.ToValidUTF8(n, "?") // JSON would change it, differently each time
	if o.strange == nil {
		o.strange = make(map[string]bool)
	}
	if !o.strange[n] {
		if len(o.strange) >= maxNodes {
			return OtherNode
		}
		o.strange[n] = true
	}
	return n
}

func (o *openBin) close(due func(uint64) time.Duration) Bin {
	last := None
	for bit := uint64(0); bit < o.Due; bit++ {
		if o.good[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		at := due(o.first + bit)
		if last == None {
			o.GoodFirst = at
		} else {
			o.GoodGap = max(o.GoodGap, at-last)
		}
		last = at
	}
	o.GoodLast = last
	o.Cells = make([]Cell, 0, len(o.cells))
	for _, c := range o.cells {
		o.Cells = append(o.Cells, *c)
	}
	sortCells(o.Cells)
	return o.Bin
}
