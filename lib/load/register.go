package load

import (
	"maps"
	"regexp"

	"github.com/tutti-bench/tutti/lib/record"
)

// Limits on the histories of keys. What is judged is how their operations can be put into one order, and the work for that grows
// with their number.
const (
	MaxOps    = 2_000   // of one key
	MaxAllOps = 200_000 // of all
	// MeanOps is how many a key may have on average: which key a request has is as if drawn.
	MeanOps = MaxOps * 3 / 4
)

// values matches what .Value stands for.
var values = regexp.MustCompile(`v[0-9a-f]{16}`)

// Judged is a plan's request whose answers say what a verification's writes have done: the one that reads as the verification does.
// It is -1 where there is none, or where every write has a key of its own.
func (p Plan) Judged(v Verify) int {
	if p.Keys == 0 {
		return -1
	}
	for i, q := range p.Requests {
		if q.Method == v.Read.Method && q.Path == v.Read.Path && q.Body == v.Read.Body && maps.Equal(q.Headers, v.Read.Headers) {
			return i
		}
	}
	return -1
}

// See is what an answer to a read holds.
func (p Plan) See(status int, body string) record.Saw {
	switch {
	case status == 404 || status == 410:
		return record.Saw{State: record.SawAbsent}
	case status < 200 || status > 399:
		return record.Saw{}
	}
	saw := record.Saw{State: record.SawAbsent}
	first := ""
	for _, at := range values.FindAllStringIndex(body, -1) {
		v := body[at[0]:at[1]]
		switch {
		case first == "":
			first = v
		case first != v:
			return record.Saw{State: record.SawMany}
		}
	}
	if first == "" {
		return saw
	}
	client, ok := ClientOf(p.Seed, first)
	if !ok || client >= p.Schedule.Count() {
		return record.Saw{State: record.SawStrange}
	}
	return record.Saw{State: record.SawValue, Client: client}
}
