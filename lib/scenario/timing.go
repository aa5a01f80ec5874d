package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
)

// Trigger says when a fault comes, as a sentence goes on: "at 10s", "2s after crash healed", "when p99 > 200ms".
func (f Fault) Trigger() string {
	switch {
	case f.After != nil && f.After.Delay > 0:
		return fmt.Sprintf("%s after %s %s", short(f.After.Delay), f.After.Fault, f.After.Event)
	case f.After != nil:
		return fmt.Sprintf("after %s %s", f.After.Fault, f.After.Event)
	case f.When != nil:
		return "when " + f.When.Text
	}
	return "at " + short(f.At)
}

// Draws are the moments at which a random fault begins what it draws, in load that is measured for so long. Others have none.
func (f Fault) Draws(load time.Duration) []time.Duration {
	if f.Random == nil {
		return nil
	}
	at := make([]time.Duration, draws(f.At, f.For, f.Random.Every, load))
	for k := range at {
		at[k] = f.At + time.Duration(k)*f.Random.Every
	}
	return at
}

// DrawName is how the fault drawn at [Fault.Draws] k is called.
func (f Fault) DrawName(k int) string { return fmt.Sprintf("%s-%d", f.Name, k+1) }

// draws is how many times a nemesis strikes, from its beginning on.
func draws(at, length, every, load time.Duration) int {
	end := load
	if length > 0 {
		end = min(at+length, load)
	}
	if end <= at || every <= 0 {
		return 0
	}
	return int((end - at + every - 1) / every)
}

// links checks that the faults that wait for others can.
func (b *builder) links(all []Fault, read []*fields, load Load, whole bool) {
	errors := len(b.errs)
	var names []string
	for _, f := range all {
		if f.Random == nil {
			names = append(names, f.Name)
		}
	}
	for i, f := range all {
		if f.After == nil || f.After.Fault == "" {
			continue
		}
		at := get[*fields](read[i], "after", nil).at["fault"].node
		others := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == f.Name })
		want := list(others, "or")
		if want == "" {
			want = "at: there is no other fault to wait for"
		}
		j := slices.IndexFunc(all, func(o Fault) bool { return o.Name == f.After.Fault })
		switch of := drawing(all, f.After.Fault, load.For()); {
		case j == i:
			b.wrong(at, "a fault cannot wait for itself").expect("%s", want)
		case j >= 0 && all[j].Random != nil:
			b.wrong(at, "%s is a random fault: it has no onset of its own, and what it draws cannot be waited for", f.After.Fault).expect("%s", want)
		case j < 0 && of != "":
			b.wrong(at, "%s is drawn by %s, and what is drawn cannot be waited for", f.After.Fault, of).expect("%s", want)
		case j < 0 && whole:
			b.wrong(at, "no fault of this list is named %s", quote(f.After.Fault)).near(f.After.Fault, others).expect("%s", want)
		}
	}
	if len(b.errs) == errors {
		b.circles(all, read)
	}
	if len(b.errs) == 0 && whole { // else times may be missing because they are wrong
		b.late(all, read, load.For())
	}
}

// drawing is the random fault that draws one of this name, or "".
func drawing(all []Fault, name string, load time.Duration) string {
	for _, f := range all {
		if f.Random == nil || !strings.HasPrefix(name, f.Name+"-") {
			continue
		}
		for k := range f.Draws(load) {
			if f.DrawName(k) == name {
				return f.Name
			}
		}
	}
	return ""
}

// circles refuses faults that wait for one another.
func (b *builder) circles(all []Fault, read []*fields) {
	by := make(map[string]int)
	for i, f := range all {
		by[f.Name] = i
	}
	told := make(map[int]bool)
	for i := range all {
		var path []int
		for k := i; ; {
			if at := slices.Index(path, k); at >= 0 {
				if at == 0 && !told[i] { // else one of the circle has its turn
					var names []string
					for _, p := range append(path, i) {
						told[p] = true
						names = append(names, all[p].Name)
					}
					b.wrong(get[*fields](read[i], "after", nil).at["fault"].node, "these faults wait for one another: %s", strings.Join(names, " → ")).
						expect("one of them at a time of its own")
				}
				break
			}
			path = append(path, k)
			next, ok := 0, all[k].After != nil
			if ok {
				next, ok = by[all[k].After.Fault]
			}
			if !ok {
				break
			}
			k = next
		}
	}
}

// late refuses faults whose moment never comes within measured load.
func (b *builder) late(all []Fault, read []*fields, load time.Duration) {
	ws := windows(all, b.kinds, load)
	for i, w := range ws {
		if all[i].After == nil {
			continue
		}
		after := get[*fields](read[i], "after", nil)
		j := slices.IndexFunc(all, func(o Fault) bool { return o.Name == all[i].After.Fault })
		switch of := ws[j]; {
		case all[i].After.Event == Healed && of.to >= load && of.from < load:
			b.wrong(after.at["event"].node, "fault %s is in force until measured load ends: nothing comes after it", all[j].Name).
				expect("a fault whose \"for\" ends earlier, or onset")
		case w.from >= load && of.from < load:
			b.wrong(after.valueOf("delay"), "measured load is over by then: it is %s after its start at the earliest", short(w.from)).
				expect("a shorter delay, or a longer load.for")
		}
	}
}

// A window is when a fault is in force, as far as the file says it.
type window struct {
	from, to time.Duration
	// open: it is told by what is measured; then from is 0, and to what it is at the earliest.
	open bool
}

// windows are those of faults among which no circle is, in their order. For a random one it is the nemesis as a whole.
func windows(all []Fault, kinds fault.Kinds, load time.Duration) []window {
	by := make(map[string]int)
	for i, f := range all {
		by[f.Name] = i
	}
	ws, known := make([]window, len(all)), make([]bool, len(all))
	var of func(i int) window
	of = func(i int) window {
		if known[i] {
			return ws[i]
		}
		known[i] = true
		f := all[i]
		w := window{from: f.At, open: f.When != nil}
		if f.After != nil {
			if j, ok := by[f.After.Fault]; ok {
				first := of(j)
				w.from, w.open = first.from+f.After.Delay, first.open
				if f.After.Event == Healed {
					w.from = first.to + f.After.Delay
				}
			}
		}
		switch {
		case f.Random != nil:
			last := f.At
			if at := f.Draws(load); len(at) > 0 {
				last = at[len(at)-1]
			}
			w.to = last + f.Random.Max
		case kinds[f.Verb].NoFor:
			w.to = w.from
		case f.For == 0:
			w.to = load
		default:
			w.to = w.from + f.For
		}
		w.to = max(w.from, min(w.to, load))
		ws[i] = w
		return w
	}
	for i := range all {
		of(i)
	}
	return ws
}

// A timed is a fault by the name that it has in a trial, and its window.
type timed struct {
	name, of string // of: the random fault that draws it, or ""
	window
}

// trialFaults are the faults that a trial has, drawn ones instead of their random fault. The end of a drawn one is the latest
// that it can have.
func trialFaults(all []Fault, kinds fault.Kinds, load time.Duration) []timed {
	var out []timed
	ws := windows(all, kinds, load)
	for i, f := range all {
		if f.Random == nil {
			out = append(out, timed{f.Name, "", ws[i]})
			continue
		}
		for k, at := range f.Draws(load) {
			out = append(out, timed{f.DrawName(k), f.Name, window{from: at, to: min(at+f.Random.Max, load)}})
		}
	}
	return out
}
