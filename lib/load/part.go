package load

import "time"

// A Part is what one of several agents sends of a schedule: the requests whose number leaves Index when it is divided by Of. The parts of
// one schedule have every number once. The zero value is the whole of it.
type Part struct {
	Index int `json:"index,omitempty"`
	Of    int `json:"of,omitempty"`
}

func (p Part) of() uint64 { return uint64(max(p.Of, 1)) }

// Share is what of the whole rate is the part's.
func (p Part) Share() float64 { return 1 / float64(p.of()) }

// Seq is the schedule's number of the part's k-th request, k from 0.
func (p Part) Seq(k uint64) uint64 { return k*p.of() + uint64(p.Index) }

// Count is how many of the first n numbers of the schedule are the part's.
func (p Part) Count(n uint64) uint64 {
	if n <= uint64(p.Index) {
		return 0
	}
	return (n-uint64(p.Index)-1)/p.of() + 1
}

// Pacer says when the part's own requests are due, by their own count.
func (p Part) Pacer(whole Pacer) Pacer {
	if p.Of <= 1 {
		return whole
	}
	return partial{p, whole}
}

type partial struct {
	part  Part
	whole Pacer
}

func (p partial) Due(k uint64) time.Duration { return p.whole.Due(p.part.Seq(k)) }
func (p partial) Count() uint64              { return p.part.Count(p.whole.Count()) }

// Zero is the zero of the schedule: the one that the plan names, or else the one for which the first request, due at first, is due after lead.
func (p Plan) Zero(first, lead time.Duration) time.Time {
	now := time.Now()
	if p.At == 0 {
		return now.Add(lead - first)
	}
	// The clock on the wall tells it once; from then on it is counted by the one that nobody sets.
	return now.Add(time.Unix(0, p.At).Sub(now.Round(0)))
}
