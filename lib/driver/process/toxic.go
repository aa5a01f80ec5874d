package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

const (
	// A delay is short of what was asked if its median is, by more than both.
	delayTolerance      = time.Millisecond
	delayToleranceShare = 0.02
	// A rate is not kept to if more passed than it allows, by more than this share.
	rateToleranceShare = 0.05
)

// A tampering is what one fault does to what passes a front.
type tampering struct {
	names    []string // of the toxics
	toxics   []toxic
	refuses  bool // new connections
	word     string
	end      func(*passage) // what becomes of those that there are, if it refuses; word says it
	cutAfter time.Duration
	proofs   []proving

	began  time.Time
	cut    int            // connections that it has ended
	delays [2]record.Hist // of pieces, by direction
	bytes  [2]int64       // of them
}

// A toxic is one of toxiproxy's, in one direction.
type toxic struct {
	key       string
	direction stream.Direction
	wrap      func() *toxics.ToxicWrapper // one for each link
}

// A proving says what a tampering has delivered in the time that it was in force.
type proving func(t *tampering, held time.Duration) (asked, delivered string, short bool)

// newTampering reads what was asked for, in toxiproxy's words.
func newTampering(name string, asked []target.Toxic) (*tampering, error) {
	t := &tampering{}
	for i, a := range asked {
		var err error
		key := fmt.Sprintf("%s/%d", name, i)
		switch a.Type {
		case "latency":
			err = t.delay(key, a)
		case "bandwidth":
			err = t.throttle(key, a)
		case "down":
			err = attributes(a, &struct{}{})
			t.refuse("closed", (*passage).leave)
		case "reset_peer":
			r := &toxics.ResetToxic{}
			err = attributes(a, r)
			t.refuse("reset", (*passage).cut)
			t.cutAfter = time.Duration(r.Timeout) * time.Millisecond
		default:
			err = errors.New("there is no such toxic here")
		}
		if err != nil {
			return nil, fmt.Errorf("toxic %s: %w", a.Type, err)
		}
		t.names = append(t.names, a.Type)
	}
	return t, nil
}

func (t *tampering) delay(key string, a target.Toxic) error {
	d, err := stream.ParseDirection(a.Stream)
	if err != nil {
		return fmt.Errorf("%q is neither upstream nor downstream", a.Stream)
	}
	l := &toxics.LatencyToxic{}
	if err := attributes(a, l); err != nil {
		return err
	}
	if l.Latency < 0 || l.Jitter < 0 {
		return errors.New("a time below zero")
	}
	t.toxics = append(t.toxics, toxic{key, d, func() *toxics.ToxicWrapper {
		return &toxics.ToxicWrapper{Toxic: l, Toxicity: 1, BufferSize: l.GetBufferSize()}
	}})
	want, jitter := time.Duration(l.Latency)*time.Millisecond, time.Duration(l.Jitter)*time.Millisecond
	t.proofs = append(t.proofs, func(t *tampering, _ time.Duration) (string, string, bool) {
		asked := fmt.Sprintf("%s delay %v", heading(d), want)
		if jitter > 0 {
			asked += fmt.Sprintf(" ± %v", jitter)
		}
		h := &t.delays[d]
		if h.Total() == 0 {
			return asked, "nothing passed", true
		}
		median, _ := h.Rank((h.Total() + 1) / 2)
		short := want - median
		return asked, fmt.Sprintf("%.1f ms at the median of %d pieces", float64(median)/float64(time.Millisecond), h.Total()),
			short > jitter+delayTolerance && float64(short) > float64(jitter)+delayToleranceShare*float64(want)
	})
	return nil
}

func (t *tampering) throttle(key string, a target.Toxic) error {
	d, err := stream.ParseDirection(a.Stream)
	if err != nil {
		return fmt.Errorf("%q is neither upstream nor downstream", a.Stream)
	}
	b := &throttle{}
	if err := attributes(a, b); err != nil {
		return err
	}
	if b.Rate <= 0 {
		return errors.New("a rate of nothing")
	}
	t.toxics = append(t.toxics, toxic{key, d, func() *toxics.ToxicWrapper { return &toxics.ToxicWrapper{Toxic: b, Toxicity: 1} }})
	t.proofs = append(t.proofs, func(t *tampering, held time.Duration) (string, string, bool) {
		rate := float64(t.bytes[d]) / 1000 / max(held.Seconds(), 1e-3)
		// A piece that is cut into steps counts as a whole when its end has passed.
		limit := float64(b.Rate)*(1+rateToleranceShare) + pieceSize/1000/max(held.Seconds(), 1e-3)
		return fmt.Sprintf("%s at most %d KB/s", heading(d), b.Rate),
			fmt.Sprintf("%.1f KB/s over %v", rate, held.Round(time.Millisecond)), t.bytes[d] == 0 || rate > limit
	})
	return nil
}

func (t *tampering) refuse(word string, end func(*passage)) {
	t.refuses, t.word, t.end = true, word, end
	t.proofs = append(t.proofs, func(t *tampering, _ time.Duration) (string, string, bool) {
		return "new connections refused, others " + word, fmt.Sprintf("ports that refuse, %d connections %s", t.cut, word), false
	})
}

// goOn makes what was delivered before part of what is told: a fault that is renewed is one fault.
func (t *tampering) goOn(old *tampering) {
	t.began, t.cut, t.bytes = old.began, old.cut, old.bytes
	for d := range t.delays {
		t.delays[d].Merge(&old.delays[d])
	}
}

// heading says where a direction leads.
func heading(d stream.Direction) string {
	if d == stream.Upstream {
		return "to the node"
	}
	return "from the node"
}

// attributes reads a toxic's attributes as toxiproxy's API does. One that it does not have is an error.
func attributes(a target.Toxic, into any) error {
	if len(a.Attributes) == 0 {
		return nil
	}
	text, err := json.Marshal(a.Attributes)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
