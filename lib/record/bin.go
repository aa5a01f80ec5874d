package record

import (
	"slices"
	"sort"
	"time"
)

// Grid is the length of a bin, and the resolution of phases and of recovery.
const Grid = 100 * time.Millisecond

// None stands for a time that does not exist.
const None = time.Duration(-1 << 63)

// A Sample is one scheduled request and what became of it.
type Sample struct {
	Seq     uint64        // number in the schedule, from 0
	Request int           // index into [Header.Requests]
	Due     time.Duration // when it was to be sent: a pure function of Seq; in a closed loop when its user was ready
	Sent    time.Duration // when it went out; [None] if it did not
	Free    time.Duration // when it could go out: a connection was free, its session had come to it; [None] if at once
	Late    time.Duration // how long after its due time the generator came to it at all, being late itself; not what Free is about
	Done    time.Duration // when its outcome was known
	Class   Class
	Node    string   // who answered, as the node header said; "" if nobody did
	Tried   []string // every node that the balancer tried, in order
	Traced  bool     // Tried is known, even if empty
	Saw     Saw      // what the answer held, of a read that is judged

	Status            int    // of the answer; 0 if none came
	BytesIn, BytesOut uint64 // of the bodies
	Error             string // what went wrong, for people; it can hold what the target said

	// Of a closed loop: who sent it, counted from 0, and when that user's next request is due, known as soon as this one has ended; [None] if there is none.
	User int
	Next time.Duration
}

// OwnLag is what the generator itself added: how late it came to the request, and from then on sent − the moment a
// connection was free. What lies between the two, the target held. Of a request that never went out it is how late it came to it.
func (s *Sample) OwnLag() time.Duration {
	late := max(s.Late, 0)
	if s.Sent == None {
		return late
	}
	from := s.Due + late
	if s.Free != None {
		from = max(from, s.Free)
	}
	return late + max(s.Sent-from, 0)
}

// excused reports whether a bad request might have been a good one but for the generator's own lag.
func (s *Sample) excused(own, timeout time.Duration) bool {
	if s.Class.Good() || s.Class.Own() {
		return false // of what the generator itself spoiled there is another limit
	}
	return own > timeout/10 || s.Class == Slow && own > (s.Done-s.Due)/10
}

// A Bin sums the requests that were due in [Index × Grid, (Index+1) × Grid).
type Bin struct {
	Index int    `json:"i"`
	Due   uint64 `json:"due"` // all requests due; equals the sum over Cells
	Good  uint64 `json:"good"`

	// Due times of the first and last good request, and the largest gap between
	// consecutive ones inside the bin. [None] where there is none.
	GoodFirst time.Duration `json:"gf"`
	GoodLast  time.Duration `json:"gl"`
	GoodGap   time.Duration `json:"gg"`

	Cells []Cell `json:"cells,omitempty"` // by request, node, class, in order

	// Tried counts requests by each node the balancer tried for them; Untraced
	// those of which nobody told (no answer came), so that any node is possible.
	Tried    map[string]uint64 `json:"tried,omitempty"`
	Untraced uint64            `json:"untraced,omitempty"`

	// Lag is sent − due. Excused counts bad requests of which the generator's own lag
	// took more than a tenth of the timeout, or, of class slow, of their response time: a punctual generator might have had an answer in time.
	Lag     *Hist  `json:"lag,omitempty"`
	Excused uint64 `json:"excused,omitempty"`
	// Own is the part of the lag that is the generator's own: [Sample.OwnLag]. From version 3 on.
	Own *Hist `json:"own,omitempty"`

	// Mask says which requests were good, in a part of a bin on its way to a [Merger]: a bit for each, the lowest of the first byte for the first.
	Mask []byte `json:"mask,omitempty"`
}

// Start is the beginning of the bin.
func (b *Bin) Start() time.Duration { return time.Duration(b.Index) * Grid }

// A Cell is the part of a bin with one request, node and class.
type Cell struct {
	Request  int           `json:"r"`
	Node     string        `json:"n,omitempty"`
	Class    Class         `json:"c"`
	Count    uint64        `json:"k"`
	First    time.Duration `json:"f"` // due time of the first
	Last     time.Duration `json:"l"` // and of the last
	Response *Hist         `json:"resp,omitempty"`
	Unlagged *Hist         `json:"unlag,omitempty"` // response less the generator's own lag
	Service  *Hist         `json:"svc,omitempty"`   // done − sent

	// Statuses counts the bad requests that were answered, by the status of the answer, rising. From version 3 on.
	Statuses []StatusCount `json:"st,omitempty"`
	// Example is one of the bad requests, in few of the cells, on its way from the agent: see [Bin.TakeExamples].
	Example *Example `json:"ex,omitempty"`
}

// A StatusCount is how many answers had a status; 0 stands for all that are no status of HTTP, and those beyond the first 16 in one cell.
type StatusCount struct {
	Status int    `json:"s"`
	Count  uint64 `json:"k"`
}

// IndexOf returns the bin to which a due time belongs.
func IndexOf(due time.Duration) int {
	i := due / Grid
	if due < 0 && due%Grid != 0 {
		i--
	}
	return int(i)
}

// sortCells puts the cells into their one order, so that equal bins have equal bytes.
func sortCells(cells []Cell) {
	sort.Slice(cells, func(i, j int) bool {
		a, b := &cells[i], &cells[j]
		if a.Request != b.Request {
			return a.Request < b.Request
		}
		if a.Node != b.Node {
			return a.Node < b.Node
		}
		return a.Class < b.Class
	})
}

// Rename replaces node names in the bin by what name returns for them, merging
// cells that come to have the same name. Copies of the bin, which share its cells, stay as they are.
func (b *Bin) Rename(name func(string) string) {
	type key struct {
		request int
		node    string
		class   Class
	}
	at := make(map[key]int, len(b.Cells))
	kept := make([]Cell, 0, len(b.Cells))
	for _, c := range b.Cells {
		if c.Node != "" {
			c.Node = name(c.Node)
			if c.Example != nil {
				e := *c.Example
				e.Node = c.Node
				c.Example = &e
			}
		}
		k := key{c.Request, c.Node, c.Class}
		i, seen := at[k]
		if !seen {
			at[k] = len(kept)
			kept = append(kept, c)
			continue
		}
		kept[i].own()
		kept[i].merge(&c)
	}
	b.Cells = kept
	sortCells(b.Cells)
	if b.Tried != nil {
		tried := make(map[string]uint64, len(b.Tried))
		for n, k := range b.Tried {
			tried[name(n)] += k
		}
		b.Tried = tried
	}
}

// own makes copies of what the cell may share with others.
func (c *Cell) own() {
	c.Statuses = slices.Clone(c.Statuses)
	for _, h := range []**Hist{&c.Response, &c.Unlagged, &c.Service} {
		if *h != nil {
			one := new(Hist)
			one.Merge(*h)
			*h = one
		}
	}
}

func (c *Cell) merge(o *Cell) {
	c.Count += o.Count
	c.First, c.Last = min(c.First, o.First), max(c.Last, o.Last)
	for _, h := range []struct{ to, from **Hist }{
		{&c.Response, &o.Response}, {&c.Unlagged, &o.Unlagged}, {&c.Service, &o.Service},
	} {
		mergeHist(h.to, *h.from)
	}
	for _, s := range o.Statuses {
		c.Statuses = countStatus(c.Statuses, s.Status, s.Count)
	}
	sortStatuses(c.Statuses)
	if e := o.Example; e != nil && (c.Example == nil || e.Seq < c.Example.Seq) {
		c.Example = e
	}
}
