// Package linear judges what happened to keys: whether each behaved as one register, and which reads were stale.
//
// Whether the operations on a register can be put into one order, in which each takes effect between its beginning and its end, is
// found by a search (porcupine) that can take longer than anybody waits. It has a limit, and what it did not settle is unknown.
package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tutti-bench/tutti/lib/record"
)

// Limits on the search.
const (
	KeyLimit = 2 * time.Second  // for one key
	AllLimit = 30 * time.Second // for all of a trial
	maxBad   = 5                // keys of which is told what is wrong
)

// A Result is what is known of one key.
type Result int

// The results. The zero value is nothing.
const (
	Unknown Result = iota
	Linearizable
	Violated
)

// Judge judges the histories of one request's keys. It may take as long as [AllLimit].
func Judge(histories []record.History) record.Registers { return judge(histories, KeyLimit, AllLimit) }

func judge(histories []record.History, each, all time.Duration) record.Registers {
	r := record.Registers{Keys: uint64(len(histories))}
	end := time.Now().Add(all)
	for _, h := range histories {
		ops, unjudged := judged(h.Ops)
		stale := stales(ops)
		r.Unjudged += uint64(unjudged)
		r.Stale += uint64(len(stale))
		for _, o := range ops {
			if !o.Write {
				r.Reads++
			}
		}
		result, why := Check(h, min(each, time.Until(end)))
		switch result {
		case Linearizable:
			r.Linearizable++
		case Violated:
			r.Violated++
			if len(r.Bad) < maxBad {
				r.Bad = append(r.Bad, describe(h.Key, ops, stale))
			}
		case Unknown:
			r.Unknown++
			if r.Why == "" {
				r.Why = why
			}
		}
	}
	return r
}

// Check searches for an order of one key's operations, for so long. If the result is unknown, why says why.
func Check(h record.History, limit time.Duration) (result Result, why string) {
	if h.Cut {
		return Unknown, fmt.Sprintf("more happened to a key than is kept (%d operations)", len(h.Ops))
	}
	ops, _ := judged(h.Ops)
	ops, sound := bounded(ops)
	if !sound || clash(ops) {
		return Violated, ""
	}
	if limit <= 0 {
		return Unknown, "there was no time left for the search"
	}
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		history[i] = porcupine.Operation{Input: o, Call: int64(o.Start), Return: int64(o.End)}
	}
	switch porcupine.CheckOperationsTimeout(register(), history, limit) {
	case porcupine.Ok:
		return Linearizable, ""
	case porcupine.Illegal:
		return Violated, ""
	case porcupine.Unknown:
	}
	return Unknown, fmt.Sprintf("the search took longer than %v", limit.Round(time.Millisecond))
}

// clash reports whether two values cannot both have been there when they must have been: a search would find no order, but only after having
// tried all of them. No two writes have the same value, so that the operations on one value are known.
//
// A value must have been there from the first end of an operation on it to the last beginning of one (a forward zone), if these do not overlap all
// at one time (a backward zone, somewhere in which it was there). There is no order if two forward zones overlap, or a backward one lies within a
// forward one (Gibbons, Korach: "Testing shared memories", SIAM J. Comput. 26(4), 1997, section 4.2).
func clash(ops []record.Op) bool {
	type zone struct{ from, to time.Duration }
	first, last := make(map[uint64]time.Duration), make(map[uint64]time.Duration)
	first[record.AbsentValue], last[record.AbsentValue] = math.MinInt64, math.MinInt64 // as if written before all else
	for _, o := range ops {
		if end, ok := first[o.Value]; !ok || o.End < end {
			first[o.Value] = o.End
		}
		if start, ok := last[o.Value]; !ok || o.Start > start {
			last[o.Value] = o.Start
		}
	}
	var forward, backward []zone
	for v := range first {
		if first[v] < last[v] {
			forward = append(forward, zone{first[v], last[v]})
		} else {
			backward = append(backward, zone{last[v], first[v]})
		}
	}
	byFrom := func(a, b zone) int { return cmp.Compare(a.from, b.from) }
	slices.SortFunc(forward, byFrom)
	for i, z := range forward {
		if i > 0 && z.from < forward[i-1].to {
			return true
		}
	}
	for _, b := range backward { // forward zones do not overlap: only the last that begins before b can hold it
		i, _ := slices.BinarySearchFunc(forward, b, byFrom)
		if i > 0 && b.to < forward[i-1].to {
			return true
		}
	}
	return false
}

// register is a register that begins without a value: a write sets it, a read has it.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(record.AbsentValue) },
		Step: func(state, input, _ any) (bool, any) {
			o := input.(record.Op) //nolint:forcetypeassert // Check puts nothing else in
			if o.Write {
				return true, o.Value
			}
			return o.Value == state, state
		},
	}
}

// judged are the operations that say something, and how many reads do not.
func judged(all []record.Op) (ops []record.Op, unjudged int) {
	for _, o := range all {
		if o.Value == record.ManyValues {
			unjudged++
			continue
		}
		ops = append(ops, o)
	}
	return ops, unjudged
}

// bounded gives an end to every write of which nobody knows: the first read that has its value ended after it took effect. One
// that no read has is left out, because it can always be put last. It reports false if a read has what was never written, or was written only
// after the read had ended: then there is no order.
//
// No two writes have the same value, so that a read names its write.
func bounded(all []record.Op) (ops []record.Op, sound bool) {
	writes := make(map[uint64]record.Op)
	for _, o := range all {
		if o.Write {
			writes[o.Value] = o
		}
	}
	seen := make(map[uint64]time.Duration) // the earliest end of a read, by value
	for _, o := range all {
		if o.Write {
			continue
		}
		if w, ok := writes[o.Value]; o.Value != record.AbsentValue && (!ok || w.Start > o.End) {
			return nil, false
		}
		if end, ok := seen[o.Value]; !ok || o.End < end {
			seen[o.Value] = o.End
		}
	}
	for _, o := range all {
		if o.Write && o.End == record.None {
			end, ok := seen[o.Value]
			if !ok {
				continue
			}
			o.End = end
		}
		ops = append(ops, o)
	}
	return ops, true
}

// stales are the reads that held less than had been acknowledged when they began: their value was written, and its writer had his
// answer, before another write began that had its answer before the read began; or they held none.
func stales(all []record.Op) []record.Op {
	ops, sound := bounded(all)
	if !sound { // judge those reads that can be
		known := make(map[uint64]bool)
		for _, o := range all {
			known[o.Value] = known[o.Value] || o.Write
		}
		ops, _ = bounded(slices.DeleteFunc(slices.Clone(all), func(o record.Op) bool {
			return !o.Write && o.Value != record.AbsentValue && !known[o.Value]
		}))
	}
	ended := make(map[uint64]time.Duration) // when each value's writer had his answer, or could have had it
	var writes []record.Op
	for _, o := range ops {
		if o.Write {
			ended[o.Value] = o.End
		}
	}
	for _, o := range all {
		if o.Write && o.End != record.None {
			writes = append(writes, o)
		}
	}
	slices.SortFunc(writes, func(a, b record.Op) int { return cmp.Compare(a.End, b.End) })
	latest := make([]time.Duration, len(writes)) // the latest beginning of the writes up to here
	for i, w := range writes {
		latest[i] = w.Start
		if i > 0 {
			latest[i] = max(latest[i], latest[i-1])
		}
	}
	var stale []record.Op
	for _, o := range ops {
		if o.Write {
			continue
		}
		n, _ := slices.BinarySearchFunc(writes, o.Start, func(w record.Op, at time.Duration) int { return cmp.Compare(w.End, at) })
		if n == 0 {
			continue // nothing was acknowledged before it began
		}
		if end, written := ended[o.Value]; !written || end < latest[n-1] {
			stale = append(stale, o)
		}
	}
	return stale
}

// describe says what is wrong with a key, in a few words.
func describe(key uint64, ops, stale []record.Op) string {
	if len(stale) == 0 {
		return fmt.Sprintf("key %d: its %d operations have no order", key, len(ops))
	}
	return fmt.Sprintf("key %d: a read from %v to %v held what had been overwritten", key,
		stale[0].Start.Round(time.Millisecond), stale[0].End.Round(time.Millisecond))
}
