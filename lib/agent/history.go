package agent

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// histories are what happened to keys that several writes share. Without such keys they are empty. They are safe for concurrent use.
type histories struct {
	plan  load.Plan
	turns *load.Templates

	mu    sync.Mutex
	items []itemHistory // by verification
	total int
}

type itemHistory struct {
	of          string
	write, read int // requests; read is -1 if the load has none
	keys        map[uint64]*record.History
}

func newHistories(p load.Plan, turns *load.Templates) *histories {
	h := &histories{plan: p, turns: turns}
	if p.Keys == 0 {
		return h
	}
	for _, v := range p.Verify {
		write := slices.IndexFunc(p.Requests, func(q load.Request) bool { return q.Name == v.Of })
		h.items = append(h.items, itemHistory{of: v.Of, write: write, read: p.Judged(v), keys: make(map[uint64]*record.History)})
	}
	return h
}

// note takes note of a request that has ended.
func (h *histories) note(s record.Sample) {
	for i := range h.items {
		it := &h.items[i]
		op, ok := h.op(it, s)
		if !ok {
			continue
		}
		client := h.turns.Turn(s.Seq).Client
		if op.Write {
			op.Value = client + 1
		}
		h.add(it, load.KeyOf(h.plan.Seed, client, h.plan.Keys), op)
	}
}

// op is what a request did to its key.
func (h *histories) op(it *itemHistory, s record.Sample) (op record.Op, ok bool) {
	op = record.Op{Start: s.Sent, End: s.Done}
	switch {
	case s.Request == it.write:
		op.Write = true
		switch load.OutcomeOf(s) {
		case load.Acknowledged:
			return op, true
		case load.Uncertain:
			op.End = record.None
			return op, true
		case load.Unwritten, load.Settled:
		}
		return op, false
	case s.Request != it.read:
		return op, false
	}
	switch s.Saw.State {
	case record.SawAbsent:
		op.Value = record.AbsentValue
	case record.SawValue:
		op.Value = s.Saw.Client + 1
	case record.SawStrange:
		op.Value = record.StrangeValue
	case record.SawMany:
		op.Value = record.ManyValues
	case record.SawNothing:
		return op, false
	}
	return op, true
}

func (h *histories) add(it *itemHistory, key uint64, op record.Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := it.keys[key]
	if k == nil {
		k = &record.History{Of: it.of, Key: key}
		it.keys[key] = k
	}
	if len(k.Ops) >= load.MaxOps || h.total >= load.MaxAllOps {
		k.Cut = true
		return
	}
	h.total++
	k.Ops = append(k.Ops, op)
}

// each hands out the histories in order, so many operations at a time, give or take one key's. The load must have ended.
func (h *histories) each(ops int, f func([]record.History)) {
	for _, it := range h.items {
		if it.read < 0 {
			continue // nothing that could be judged
		}
		var some []record.History
		n := 0
		for _, key := range slices.Sorted(maps.Keys(it.keys)) {
			k := *it.keys[key]
			k.Ops = slices.SortedStableFunc(slices.Values(k.Ops), func(a, b record.Op) int { return cmp.Compare(a.Start, b.Start) })
			some, n = append(some, k), n+len(k.Ops)
			if n >= ops {
				f(some)
				some, n = nil, 0
			}
		}
		if some != nil {
			f(some)
		}
	}
}

// last leaves of the writes that share a key only one to be read back, the one that was acknowledged and began last: the others have been
// overwritten, and count as kept. What is uncertain cannot be looked for.
func (v *verification) last() {
	lasts := make(map[uint64]uint64) // by key
	keyOf := func(seq uint64) uint64 { return load.KeyOf(v.plan.Seed, v.turns.Turn(seq).Client, v.plan.Keys) }
	v.each(func(seq uint64, o load.Outcome) bool {
		if o == load.Acknowledged {
			lasts[keyOf(seq)] = seq
		}
		return true
	})
	v.each(func(seq uint64, o load.Outcome) bool {
		if o == load.Acknowledged && lasts[keyOf(seq)] == seq {
			return true
		}
		v.ledger.Set(seq, load.Settled)
		if o == load.Acknowledged {
			v.writes.Kept++
		}
		return true
	})
	v.open = uint64(len(lasts))
}

// sharedCopies is how often an answer holds a value that its key may have at the end: one that no acknowledged write came after.
// says is false if that cannot be told.
func (v *verification) sharedCopies(write load.Turn, a load.Answer) (copies int, says bool) {
	saw := v.plan.See(a.Status, string(a.Body))
	if saw.State == record.SawMany {
		return 0, false
	}
	key := load.KeyOf(v.plan.Seed, write.Client, v.plan.Keys)
	if cut := v.histories.cut(v.item, key); cut || saw.State != record.SawValue || !v.histories.mayLast(v.item, key, saw.Client+1) {
		return 0, !cut
	}
	return strings.Count(string(a.Body), load.Value(v.plan.Seed, saw.Client)), true
}

// cut reports whether more happened to a key than is kept.
func (h *histories) cut(item int, key uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.items[item].keys[key]
	return k != nil && k.Cut
}

// mayLast reports whether a value may be the one that a key has at the end.
func (h *histories) mayLast(item int, key, value uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.items[item].keys[key]
	if k == nil {
		return false
	}
	i := slices.IndexFunc(k.Ops, func(o record.Op) bool { return o.Write && o.Value == value })
	if i < 0 {
		return false
	}
	end := k.Ops[i].End
	return end == record.None || !slices.ContainsFunc(k.Ops, func(o record.Op) bool { return o.Write && o.End != record.None && o.Start > end })
}
