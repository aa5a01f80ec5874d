package record_test

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// An oracle is a Binner that is slow and plain: a lock, maps, and a histogram for everything.
type oracle struct {
	due     func(n uint64) time.Duration
	count   uint64
	timeout time.Duration
	emit    func(record.Bin)

	mu   sync.Mutex
	open map[int]*oracleBin
	next uint64
}

const (
	maxNodes   = 64
	maxName    = 128
	maxAttempt = 16
)

type cellKey struct {
	request int
	node    string
	class   record.Class
}

func newOracle(due func(n uint64) time.Duration, count uint64, timeout time.Duration, emit func(record.Bin)) *oracle {
	return &oracle{due: due, count: count, timeout: timeout, emit: emit, open: make(map[int]*oracleBin)}
}

type oracleBin struct {
	record.Bin
	first   uint64 // number of the first request due in it
	left    uint64 // requests not yet accounted for
	cells   map[cellKey]*record.Cell
	good    []uint64 // a bit for each request due in the bin: was it good?
	seen    []uint64 // a bit for each: was it accounted for?
	strange map[string]bool
}

// Add accounts for one request. A request counts once: Add reports false for a
// number it has seen or that is not in the schedule, and changes nothing.
func (b *oracle) Add(s record.Sample) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.add(s)
}

func (b *oracle) add(s record.Sample) bool {
	if s.Seq >= b.count {
		return false
	}
	s.Due = b.due(s.Seq)
	i := record.IndexOf(s.Due)
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
func (b *oracle) openNext() {
	first := b.next
	i := record.IndexOf(b.due(first))
	end := time.Duration(i+1) * record.Grid
	n := uint64(sort.Search(int(b.count-first), func(k int) bool { return b.due(first+uint64(k)) >= end }))
	b.next = first + n
	words := (n + 63) / 64
	b.open[i] = &oracleBin{
		Bin:   record.Bin{Index: i, GoodFirst: record.None, GoodLast: record.None, GoodGap: record.None},
		first: first, left: n, cells: make(map[cellKey]*record.Cell),
		good: make([]uint64, words), seen: make([]uint64, words),
	}
}

// Close accounts for every request nobody told of as [record.Unsent] and emits what is left.
func (b *oracle) Close() {
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
				b.add(record.Sample{Seq: seq, Sent: record.None, Free: record.None, Done: b.due(seq), Class: record.Unsent, Traced: true})
			}
		}
	}
}

func (b *oracle) openIndices() []int {
	is := make([]int, 0, len(b.open))
	for i := range b.open {
		is = append(is, i)
	}
	sort.Ints(is)
	return is
}

func (o *oracleBin) put(s record.Sample, timeout time.Duration, bit uint64) {
	o.Due++
	if s.Class.Good() {
		o.Good++
		o.good[bit/64] |= 1 << (bit % 64)
	}
	k := cellKey{s.Request, o.name(s.Node), s.Class}
	c := o.cells[k]
	if c == nil {
		c = &record.Cell{Request: k.request, Node: k.node, Class: k.class, First: s.Due, Last: s.Due}
		o.cells[k] = c
	}
	c.Count++
	if !s.Class.Good() && s.Status != 0 {
		i := slices.IndexFunc(c.Statuses, func(x record.StatusCount) bool { return x.Status == s.Status })
		if i < 0 {
			i = len(c.Statuses)
			c.Statuses = append(c.Statuses, record.StatusCount{Status: s.Status})
		}
		c.Statuses[i].Count++
		slices.SortFunc(c.Statuses, func(a, b record.StatusCount) int { return cmp.Compare(a.Status, b.Status) })
	}
	c.First, c.Last = min(c.First, s.Due), max(c.Last, s.Due)
	if s.Sent != record.None {
		add(&c.Response, s.Done-s.Due)
		add(&c.Unlagged, s.Done-s.Due-s.OwnLag())
		add(&c.Service, s.Done-s.Sent)
		add(&o.Lag, s.Sent-s.Due)
		add(&o.Own, s.OwnLag())
	}
	if !s.Class.Good() && !s.Class.Own() && s.OwnLag() > timeout/10 {
		o.Excused++
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

func add(h **record.Hist, d time.Duration) {
	if *h == nil {
		*h = new(record.Hist)
	}
	(*h).Add(d)
}

// name bounds the names that a target can make us keep.
func (o *oracleBin) name(n string) string {
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
			return record.OtherNode
		}
		o.strange[n] = true
	}
	return n
}

func (o *oracleBin) close(due func(uint64) time.Duration) record.Bin {
	last := record.None
	for bit := uint64(0); bit < o.Due; bit++ {
		if o.good[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		at := due(o.first + bit)
		if last == record.None {
			o.GoodFirst = at
		} else {
			o.GoodGap = max(o.GoodGap, at-last)
		}
		last = at
	}
	o.GoodLast = last
	o.Cells = make([]record.Cell, 0, len(o.cells))
	for _, c := range o.cells {
		o.Cells = append(o.Cells, *c)
	}
	slices.SortFunc(o.Cells, func(a, b record.Cell) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Class, b.Class))
	})
	return o.Bin
}
