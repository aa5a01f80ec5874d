package record

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Example is one request in full, as an example of others.
type Example struct {
	Seq     uint64        `json:"seq"`
	Request int           `json:"r"` // index into [Header.Requests]
	Due     time.Duration `json:"due"`
	Sent    time.Duration `json:"sent"` // [None] if it did not go out
	Done    time.Duration `json:"done"`
	Class   Class         `json:"c"`
	Node    string        `json:"n,omitempty"`
	Tried   []string      `json:"tried,omitempty"`
	Status  int           `json:"status,omitempty"`
	Error   string        `json:"error,omitempty"` // see [CleanError]
}

// Response is done − due.
func (e *Example) Response() time.Duration { return e.Done - e.Due }

// Limits on examples.
const (
	MaxFailures = 50 // of failures that a recording keeps
	MaxSlowest  = 20 // of the slowest requests
	maxInBin    = 4  // of failures in one bin
	maxError    = 300
	maxStatuses = 16 // distinct ones in one cell
	rawError    = 2 * maxError
)

func exampleOf(s *Sample) Example {
	e := Example{
		Seq: s.Seq, Request: s.Request, Due: s.Due, Sent: s.Sent, Done: s.Done, Class: s.Class, Node: cutName(s.Node),
		Status: s.Status, Error: CleanError(s.Error),
	}
	for _, n := range s.Tried[:min(len(s.Tried), maxAttempt)] {
		e.Tried = append(e.Tried, cutName(n))
	}
	return e
}

// hold returns a copy to be kept, which holds no more of an error's text than will be shown.
func hold(s *Sample) Sample {
	k := *s
	k.Error = CutError(k.Error)
	return k
}

// CutError is the beginning of an error's text that is looked at by [CleanError], as a text of its own: a target's answer may be quoted
// in it, with a whole megabyte.
func CutError(text string) string {
	if len(text) > rawError {
		return strings.Clone(text[:rawError])
	}
	return text
}

func cutName(n string) string {
	if len(n) > MaxName {
		n = n[:MaxName]
	}
	return strings.ToValidUTF8(n, "?")
}

// An ephemeral port differs with each connection, and says nothing: it is that of our own end.
var ephemeral = regexp.MustCompile(`((?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-fA-F:.%a-z]+\]):\d+->`)

// CleanError makes of an error's text one that can be shown and counted: valid UTF-8 of at most 300 bytes, in one line without control
// characters, and without the port of our own end, so that equal errors have equal texts.
func CleanError(text string) string {
	if text == "" {
		return ""
	}
	if len(text) > rawError {
		text = text[:rawError]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = ephemeral.ReplaceAllString(strings.Join(strings.Fields(text), " "), "$1:*->")
	if len(text) <= maxError {
		return text
	}
	text = text[:maxError-len("…")]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}

// status counts the status of one bad request; 0 is none.
func (c *openCell) status(code int) {
	if code == 0 {
		return
	}
	c.statuses = countStatus(c.statuses, code, 1)
}

func countStatus(in []StatusCount, code int, n uint64) []StatusCount {
	if code < 100 || code > 999 {
		code = 0
	}
	at := func(code int) int { return slices.IndexFunc(in, func(s StatusCount) bool { return s.Status == code }) }
	i := at(code)
	if i < 0 && len(in) >= maxStatuses {
		code = 0
		i = at(0)
	}
	if i < 0 {
		return append(in, StatusCount{code, n})
	}
	in[i].Count += n
	return in
}

func sortStatuses(s []StatusCount) {
	slices.SortFunc(s, func(a, b StatusCount) int { return cmp.Compare(a.Status, b.Status) })
}

// exemplify gives examples to the first cells of failures, by number: one for each class and node, a few in all. Those of the warm-up
// have none.
func (o *openBin) exemplify(b *Bin) {
	if o.total == o.goodTotal || b.Index < 0 {
		return
	}
	var bad []int
	for i, c := range o.list[:len(o.cells)] {
		if !c.key.class.Good() {
			bad = append(bad, i)
		}
	}
	slices.SortFunc(bad, func(x, y int) int { return cmp.Compare(o.list[x].worst.Seq, o.list[y].worst.Seq) })
	type kind struct {
		node  int16
		class Class
	}
	told := make(map[kind]bool)
	for _, i := range bad {
		c := o.list[i]
		if k := (kind{c.key.node, c.key.class}); len(told) < maxInBin && !told[k] {
			told[k] = true
			e := exampleOf(&c.worst)
			e.Node = b.Cells[i].Node
			b.Cells[i].Example = &e
		}
	}
}

// TakeExamples takes the examples out of a bin, and returns them in the order of its cells.
func (b *Bin) TakeExamples() []Example {
	var all []Example
	for i := range b.Cells {
		if e := b.Cells[i].Example; e != nil {
			all = append(all, *e)
			b.Cells[i].Example = nil
		}
	}
	return all
}

// Spread chooses at most n of the examples so that every group has as many as any other, as far as it goes: the first of each group by number, then
// the second, and so on. It returns them by number. The same examples, in whatever order, give the same choice.
func Spread(all []Example, n int, group func(*Example) string) []Example {
	all = slices.Clone(all)
	slices.SortFunc(all, bySeq)
	all = slices.CompactFunc(all, func(a, b Example) bool { return a.Seq == b.Seq })
	type ranked struct{ rank, i int }
	order, seen := make([]ranked, len(all)), make(map[string]int)
	for i := range all {
		g := group(&all[i])
		order[i] = ranked{seen[g], i}
		seen[g]++
	}
	slices.SortStableFunc(order, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	var some []Example
	for _, r := range order[:min(n, len(order))] {
		some = append(some, all[r.i])
	}
	slices.SortFunc(some, bySeq)
	return some
}

func bySeq(a, b Example) int { return cmp.Compare(a.Seq, b.Seq) }

// SortSlowest puts examples into the order of their response times, the slowest first, and keeps the first [MaxSlowest].
func SortSlowest(all []Example) []Example {
	slices.SortFunc(all, func(a, b Example) int {
		return cmp.Or(cmp.Compare(b.Response(), a.Response()), bySeq(a, b))
	})
	return all[:min(len(all), MaxSlowest)]
}

// slowest keeps the slowest answered requests of measured load.
type slowest struct {
	kept  []Sample
	least int // index of the one that goes next
}

// slower reports whether a goes before b.
func slower(a, b *Sample) bool {
	x, y := a.Done-a.Due, b.Done-b.Due
	return x > y || x == y && a.Seq < b.Seq
}

// note takes note of a request, if it is one of the slowest.
func (l *slowest) note(s *Sample) {
	if s.Due < 0 || s.Class != OK && s.Class != Slow && s.Class != Wrong {
		return
	}
	switch {
	case len(l.kept) < MaxSlowest:
		l.kept = append(l.kept, hold(s))
	case slower(s, &l.kept[l.least]):
		l.kept[l.least] = hold(s)
	default:
		return
	}
	for i := range l.kept {
		if slower(&l.kept[l.least], &l.kept[i]) {
			l.least = i
		}
	}
}

func (l *slowest) examples() []Example {
	var all []Example
	for i := range l.kept {
		all = append(all, exampleOf(&l.kept[i]))
	}
	return SortSlowest(all)
}
