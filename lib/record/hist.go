package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sort"
	"time"
)

// subBits gives 64 buckets in each power of two: a bucket is at most 1/64 of
// its value wide, so that its middle is off by less than 0.8 %.
const subBits = 6

// maxBucket bounds what a recording read from disk may claim.
const maxBucket = (64-subBits)<<subBits + 1<<subBits

// A Hist counts durations in log-linear buckets: exact below 64 ns, and within
// 0.8 % above. Sum, smallest and largest value are exact. The zero value is empty.
// Histograms are merged; percentiles are never averaged.
type Hist struct {
	counts   map[int32]uint64
	total    uint64
	sum      time.Duration
	min, max time.Duration
}

func bucketOf(d time.Duration) int32 {
	v := uint64(max(d, 0))
	if v < 1<<subBits {
		return int32(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return int32(shift<<subBits) + int32(v>>shift)
}

// boundsOf returns the bucket's values, the upper end excluded.
func boundsOf(b int32) (lo, hi time.Duration) {
	if b < 1<<subBits {
		return time.Duration(b), time.Duration(b) + 1
	}
	shift := b>>subBits - 1
	m := int64(b&(1<<subBits-1) + 1<<subBits)
	return time.Duration(m << shift), time.Duration((m + 1) << shift)
}

// Add counts one duration; a negative one counts as zero.
func (h *Hist) Add(d time.Duration) { h.AddN(d, 1) }

// AddN counts n equal durations.
func (h *Hist) AddN(d time.Duration, n uint64) {
	if n == 0 {
		return
	}
	d = max(d, 0)
	if h.counts == nil {
		h.counts = make(map[int32]uint64)
	}
	if h.total == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.counts[bucketOf(d)] += n
	h.total += n
	h.sum += d * time.Duration(n)
}

// Merge adds all of o to h. A nil o is empty.
func (h *Hist) Merge(o *Hist) {
	if o == nil || o.total == 0 {
		return
	}
	if h.counts == nil {
		h.counts = make(map[int32]uint64, len(o.counts))
	}
	if h.total == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	for b, n := range o.counts {
		h.counts[b] += n
	}
	h.total += o.total
	h.sum += o.sum
}

// Total is the number of durations counted.
func (h *Hist) Total() uint64 {
	if h == nil {
		return 0
	}
	return h.total
}

// Sum is the exact sum of the durations counted.
func (h *Hist) Sum() time.Duration {
	if h == nil {
		return 0
	}
	return h.sum
}

// Min is the smallest duration counted, 0 if there is none.
func (h *Hist) Min() time.Duration {
	if h == nil {
		return 0
	}
	return h.min
}

// Max is the largest duration counted, 0 if there is none.
func (h *Hist) Max() time.Duration {
	if h == nil {
		return 0
	}
	return h.max
}

// Rank returns the k-th smallest duration, k from 1 to Total, within 0.8 %.
// Outside that range it returns 0 and false.
func (h *Hist) Rank(k uint64) (time.Duration, bool) {
	if h == nil || k == 0 || k > h.total {
		return 0, false
	}
	if k == h.total {
		return h.max, true
	}
	for _, b := range h.sorted() {
		n := h.counts[b]
		if k <= n {
			return h.middle(b), true
		}
		k -= n
	}
	return h.max, true
}

// Quantile returns the value of rank ⌈q · Total⌉, q from above 0 to 1; false if the histogram is empty.
func (h *Hist) Quantile(q float64) (time.Duration, bool) {
	n := h.Total()
	return h.Rank(min(max(uint64(math.Ceil(q*float64(n)-1e-9)), 1), n))
}

// middle is the value that stands for a bucket, never outside what was counted.
func (h *Hist) middle(b int32) time.Duration {
	lo, hi := boundsOf(b)
	return min(max(lo+(hi-1-lo)/2, h.min), h.max) // not (lo+hi)/2: that overflows
}

// Each calls f for every non-empty bucket in rising order, with the value that
// stands for it.
func (h *Hist) Each(f func(value time.Duration, count uint64)) {
	if h == nil {
		return
	}
	for _, b := range h.sorted() {
		f(h.middle(b), h.counts[b])
	}
}

// Within is how many of the durations are at most d, to the bucket.
func (h *Hist) Within(d time.Duration) uint64 {
	if h == nil {
		return 0
	}
	if d >= h.max {
		return h.total
	}
	limit, n := bucketOf(d), uint64(0)
	for b, c := range h.counts {
		if b <= limit {
			n += c
		}
	}
	return n
}

func (h *Hist) sorted() []int32 {
	bs := make([]int32, 0, len(h.counts))
	for b := range h.counts {
		bs = append(bs, b)
	}
	sort.Slice(bs, func(i, j int) bool { return bs[i] < bs[j] })
	return bs
}

// histJSON is the wire form: bucket numbers as differences, so that it stays small.
type histJSON struct {
	Sum     time.Duration `json:"sum"`
	Min     time.Duration `json:"min"`
	Max     time.Duration `json:"max"`
	Buckets []uint64      `json:"b"` // step from the bucket before, count, step, count …
}

// MarshalJSON writes the non-empty buckets in rising order.
func (h *Hist) MarshalJSON() ([]byte, error) {
	w := histJSON{Sum: h.sum, Min: h.min, Max: h.max, Buckets: make([]uint64, 0, 2*len(h.counts))}
	last := int32(0)
	for _, b := range h.sorted() {
		w.Buckets = append(w.Buckets, uint64(b-last), h.counts[b])
		last = b
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what [Hist.MarshalJSON] wrote.
func (h *Hist) UnmarshalJSON(data []byte) error {
	var w histJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if len(w.Buckets)%2 != 0 {
		return fmt.Errorf("histogram has an odd number of fields (%d)", len(w.Buckets))
	}
	got := Hist{sum: w.Sum, min: w.Min, max: w.Max}
	if len(w.Buckets) > 0 {
		got.counts = make(map[int32]uint64, len(w.Buckets)/2)
	}
	b := uint64(0)
	for i := 0; i < len(w.Buckets); i += 2 {
		step, n := w.Buckets[i], w.Buckets[i+1]
		switch {
		case step > maxBucket || b+step > maxBucket:
			return fmt.Errorf("histogram has a bucket beyond %d", maxBucket)
		case step == 0 && i > 0:
			return fmt.Errorf("histogram has bucket %d twice", b)
		case n == 0 || got.total+n < n:
			return fmt.Errorf("histogram counts %d in bucket %d", n, b+step)
		}
		b += step
		got.counts[int32(b)] = n
		got.total += n
	}
	if err := got.check(); err != nil {
		return err
	}
	*h = got
	return nil
}

// check reports whether smallest, largest and sum are possible for the buckets.
func (h *Hist) check() error {
	bs := h.sorted()
	if len(bs) == 0 {
		if h.sum != 0 || h.min != 0 || h.max != 0 {
			return errors.New("histogram without buckets has a sum or an extreme")
		}
		return nil
	}
	if h.min < 0 || h.min > h.max || bucketOf(h.min) != bs[0] || bucketOf(h.max) != bs[len(bs)-1] {
		return fmt.Errorf("histogram from %d to %d has other buckets", h.min, h.max)
	}
	overLeast, least := bits.Mul64(h.total, uint64(h.min))
	overMost, most := bits.Mul64(h.total, uint64(h.max))
	if h.sum < 0 || overLeast > 0 || uint64(h.sum) < least || overMost == 0 && uint64(h.sum) > most {
		return fmt.Errorf("histogram of %d values from %d to %d cannot have the sum %d", h.total, h.min, h.max, h.sum)
	}
	return nil
}
