package record

import "time"

// A tally is a histogram under construction: the buckets of [Hist] by 64, a power of two, so that counting is two look-ups,
// and a tally of times that are alike is small. It is [Hist] in the end.
type tally struct {
	chunks   [maxBucket>>subBits + 1]*chunk
	total    uint64
	sum      time.Duration
	min, max time.Duration
}

// A chunk counts 64 buckets.
type chunk [1 << subBits]uint32

// chunks are empty ones, to be used again.
type chunks []*chunk

// maxChunks bounds how many of those are kept: 1 MiB.
const maxChunks = 4096

func (c *chunks) get() *chunk {
	n := len(*c)
	if n == 0 {
		return new(chunk)
	}
	k := (*c)[n-1]
	*c = (*c)[:n-1]
	return k
}

// add counts one duration; a negative one counts as zero.
func (t *tally) add(d time.Duration, from *chunks) {
	d = max(d, 0)
	b := bucketOf(d)
	c := t.chunks[b>>subBits]
	if c == nil {
		c = from.get()
		t.chunks[b>>subBits] = c
	}
	c[b&(1<<subBits-1)]++
	if t.total == 0 || d < t.min {
		t.min = d
	}
	t.max = max(t.max, d)
	t.total++
	t.sum += d
}

// hist is what was counted; nil if that is nothing.
func (t *tally) hist() *Hist {
	if t.total == 0 {
		return nil
	}
	n := 0
	t.each(func(int32, uint64) { n++ })
	h := &Hist{counts: make(map[int32]uint64, n), total: t.total, sum: t.sum, min: t.min, max: t.max}
	t.each(func(b int32, n uint64) { h.counts[b] = n })
	return h
}

func (t *tally) each(f func(bucket int32, n uint64)) {
	for i, c := range t.chunks {
		if c == nil {
			continue
		}
		for k, n := range c {
			if n > 0 {
				f(int32(i<<subBits+k), uint64(n))
			}
		}
	}
}

// free empties the tally.
func (t *tally) free(to *chunks) {
	if t.total == 0 {
		return
	}
	for i, c := range t.chunks {
		if c == nil {
			continue
		}
		t.chunks[i] = nil
		if len(*to) < maxChunks {
			*c = chunk{}
			*to = append(*to, c)
		}
	}
	t.total, t.sum, t.min, t.max = 0, 0, 0, 0
}
