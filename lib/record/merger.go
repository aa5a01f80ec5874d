package record

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"
)

// A Merger makes whole bins of those that several Binners have summed up parts of one schedule in: see [Binner.Part]. The result is what one
// Binner would have made of all samples. It is not safe for concurrent use.
type Merger struct {
	due   func(n uint64) time.Duration
	count uint64
	of    uint64
	emit  func(Bin)
	open  map[int]*merging
	done  map[int]bool
}

// A merging is a bin of which parts are missing.
type merging struct {
	parts       []*Bin // by part; nil: not yet there
	missing     int
	first, many uint64 // numbers of the requests due in it
}

// NewMerger makes a Merger of the parts of a schedule of count requests, the n-th due at due(n). It calls emit with each bin once all of
// its parts are there.
func NewMerger(due func(n uint64) time.Duration, count uint64, of int, emit func(Bin)) *Merger {
	return &Merger{due: due, count: count, of: uint64(of), emit: emit, open: make(map[int]*merging), done: make(map[int]bool)}
}

// Add adds a part's bin. An error says that it cannot be one.
func (m *Merger) Add(part int, b Bin) error {
	o, err := m.at(b.Index)
	if err != nil {
		return err
	}
	if uint64(part) >= m.of || o.parts[part] != nil {
		return fmt.Errorf("merge bins: part %d of bin %d came twice", part, b.Index)
	}
	if n := o.requests(uint64(part), m.of); n != b.Due || uint64(len(b.Mask)) != (n+7)/8 {
		return fmt.Errorf("merge bins: part %d of bin %d has %d requests and %d bytes of a mask, and must have %d requests", part, b.Index, b.Due, len(b.Mask), n)
	}
	o.parts[part] = &b
	if o.missing--; o.missing > 0 {
		return nil
	}
	delete(m.open, b.Index)
	m.done[b.Index] = true
	m.emit(m.merge(b.Index, o))
	return nil
}

func (m *Merger) at(index int) (*merging, error) {
	if o := m.open[index]; o != nil {
		return o, nil
	}
	if m.done[index] {
		return nil, fmt.Errorf("merge bins: part of bin %d, which was whole", index)
	}
	from, to := time.Duration(index)*Grid, time.Duration(index+1)*Grid
	before := func(d time.Duration) uint64 {
		return uint64(sort.Search(int(m.count), func(k int) bool { return m.due(uint64(k)) >= d }))
	}
	o := &merging{parts: make([]*Bin, m.of), first: before(from)}
	if o.many = before(to) - o.first; o.many == 0 {
		return nil, fmt.Errorf("merge bins: nothing is due in bin %d", index)
	}
	o.missing = int(min(o.many, m.of)) // the numbers follow one another
	m.open[index] = o
	return o, nil
}

// requests is how many requests of the bin are a part's.
func (o *merging) requests(part, of uint64) uint64 {
	skip := (part + of - o.first%of) % of // to the first of them
	if skip >= o.many {
		return 0
	}
	return (o.many-skip-1)/of + 1
}

func (m *Merger) merge(index int, o *merging) Bin {
	b := Bin{Index: index, GoodFirst: None, GoodLast: None, GoodGap: None}
	type key struct {
		request int
		node    string
		class   Class
	}
	at := make(map[key]int)
	for _, part := range o.parts {
		if part == nil {
			continue
		}
		b.Due, b.Good, b.Untraced, b.Excused = b.Due+part.Due, b.Good+part.Good, b.Untraced+part.Untraced, b.Excused+part.Excused
		mergeHist(&b.Lag, part.Lag)
		mergeHist(&b.Own, part.Own)
		if len(part.Tried) > 0 && b.Tried == nil {
			b.Tried = make(map[string]uint64)
		}
		for n, k := range part.Tried {
			b.Tried[n] += k
		}
		for i := range part.Cells {
			c := &part.Cells[i]
			k := key{c.Request, c.Node, c.Class}
			if j, there := at[k]; there {
				b.Cells[j].merge(c)
				continue
			}
			at[k] = len(b.Cells)
			b.Cells = append(b.Cells, *c)
		}
	}
	sortCells(b.Cells)
	b.fewExamples()
	m.good(&b, o)
	return b
}

// good finds when good answers were due, in the order of the schedule.
func (m *Merger) good(b *Bin, o *merging) {
	next := make([]uint64, m.of) // by part: which of its requests comes next
	for n := o.first; n < o.first+o.many; n++ {
		part := n % m.of
		k := next[part]
		next[part]++
		if o.parts[part].Mask[k/8]&(1<<(k%8)) == 0 {
			continue
		}
		at := m.due(n)
		if b.GoodLast == None {
			b.GoodFirst = at
		} else {
			b.GoodGap = max(b.GoodGap, at-b.GoodLast)
		}
		b.GoodLast = at
	}
}

// fewExamples leaves one example for each class and node, and few in all, as in a bin that was never parted.
func (b *Bin) fewExamples() {
	var with []*Cell
	for i := range b.Cells {
		if b.Cells[i].Example != nil {
			with = append(with, &b.Cells[i])
		}
	}
	slices.SortFunc(with, func(x, y *Cell) int { return cmp.Compare(x.Example.Seq, y.Example.Seq) })
	type kind struct {
		class Class
		node  string
	}
	told := make(map[kind]bool)
	for _, c := range with {
		k := kind{c.Class, c.Node}
		if told[k] || len(told) == maxInBin {
			c.Example = nil
			continue
		}
		told[k] = true
	}
}

// mask is the bin's good requests, for a Merger.
func (o *openBin) mask() []byte {
	mask := make([]byte, (o.count+7)/8)
	for i := range mask {
		mask[i] = byte(o.good[i/8] >> (i % 8 * 8))
	}
	return mask
}

func mergeHist(to **Hist, from *Hist) {
	if from == nil {
		return
	}
	if *to == nil {
		*to = new(Hist)
	}
	(*to).Merge(from)
}
